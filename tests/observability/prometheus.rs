//! A real Prometheus watches five services through an outage: each panel and each rule has data, and what must alert does.

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use amends_tests::{
    announce,
    platform::{PROGRAMS, Platform},
    process::{Launch, Process, eventually, free_port},
    setting,
};
use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{
    dashboards::{self, SERVICES},
    load, rules,
};

/// Where the programs of a proof are, if not in `PATH`.
const PROMETHEUS: &str = "AMENDS_PROMETHEUS";
/// Before the outage: enough for every window of the hurried rules.
const QUIET: Duration = Duration::from_secs(15);
/// As long as a breaker takes to open, a window to fill, and an alert to fire.
const OUTAGE_MAX: Duration = Duration::from_mins(2);
/// At the root of the outage, so that all that it does to others is seen.
const AWAY: &str = "payment";

pub(crate) async fn panels_and_rules_have_data_after_an_outage() -> Result<()> {
    let Some(program) = setting(PROMETHEUS) else {
        announce(&format!("NOT RUN: Prometheus: {PROMETHEUS} does not name it"));
        return Ok(());
    };
    // The limit per caller is not what is looked at here.
    let settings = serde_json::json!({"gateway": {"rate_limit": {"enabled": false}}});
    let mut platform = Platform::distributed_with(settings).await?.context("needs PostgreSQL, MongoDB and Redis")?;
    let dir = tempfile::tempdir()?;
    let server = Server::start(&program, &platform, dir.path()).await?;

    let begun = Instant::now();
    load::everything_once(&platform).await?;
    let quiet = load::order_for(&platform, QUIET).await?;
    for alert in ["OrdersFailing", "DependencyFailing"] {
        ensure!(!server.is_firing(alert).await?, "{alert} fires without an outage: {quiet:?}");
    }
    platform.kill(AWAY).await?;
    let outage = Instant::now();
    let mut fired = Vec::new();
    let mut answers = std::collections::BTreeMap::<u16, usize>::new();
    while fired.len() < 2 && outage.elapsed() < OUTAGE_MAX {
        for (status, count) in load::order_for(&platform, Duration::from_secs(2)).await? {
            *answers.entry(status).or_default() += count;
        }
        for alert in ["OrdersFailing", "DependencyFailing"] {
            if !fired.contains(&alert) && server.is_firing(alert).await? {
                println!("{alert} fires {:.0} s into the outage", outage.elapsed().as_secs_f64());
                fired.push(alert);
            }
        }
    }
    println!("answers before: {quiet:?}; in the outage: {answers:?}");
    ensure!(
        fired.len() == 2,
        "only {fired:?} fired within {OUTAGE_MAX:?}, answered {answers:?}: {}",
        server.alerts().await?
    );
    let runbook = server.alerts().await?;
    ensure!(runbook.contains("https://runbooks.test/"), "no alert has the address of its runbook: {runbook}");
    let seen = server.everything_asked().await?;
    platform.restart(AWAY).await?;
    platform.settled().await?;
    println!("{seen}; all in {:.0} s", begun.elapsed().as_secs_f64());
    platform.stop().await
}

/// A Prometheus of this test's own.
struct Server {
    _process: Process,
    http: reqwest::Client,
    url: String,
}

impl Server {
    async fn start(program: &str, platform: &Platform, dir: &Path) -> Result<Self> {
        for file in ["recording.yml", "alerts.yml"] {
            fs::write(dir.join(file), rules::hurried(&rules::text(file)?))?;
        }
        // The shipped file finds services by their names in compose's network; who is scraped is all that differs here.
        let shipped = fs::read_to_string(dashboards::shipped().join("prometheus/prometheus.yml"))?;
        let (head, _) = shipped.split_once("scrape_configs:").context("prometheus.yml has scrape_configs")?;
        let (head, _) = head.split_once("alerting:").context("prometheus.yml has alerting")?;
        let mut config = head
            .replace("scrape_interval: 10s", "scrape_interval: 1s")
            .replace("evaluation_interval: 15s", "evaluation_interval: 1s")
            .replace("[rules/*.yml]", "[recording.yml, alerts.yml]");
        config.push_str("scrape_configs:\n");
        for name in PROGRAMS {
            let job = if matches!(name, "gateway" | "acquirer") { name.to_owned() } else { format!("{name}-service") };
            let admin = platform.admin_address(name)?;
            writeln!(config, "  - job_name: {job}\n    static_configs: [{{ targets: [\"{admin}\"] }}]")?;
        }
        fs::write(dir.join("prometheus.yml"), config)?;
        let address = format!("127.0.0.1:{}", free_port());
        let arguments = [
            format!("--config.file={}", dir.join("prometheus.yml").display()),
            format!("--storage.tsdb.path={}", dir.join("data").display()),
            format!("--web.listen-address={address}"),
            "--enable-feature=exemplar-storage,expand-external-labels".to_owned(),
        ];
        let launch = Launch::default().env("RUNBOOKS_URL", "https://runbooks.test");
        let process = Process::start("prometheus", Path::new(program), &arguments, &launch, dir)?;
        let http = service_base::client::internal().timeout(Duration::from_secs(10)).build()?;
        let server = Self { _process: process, http, url: format!("http://{address}") };
        eventually("Prometheus scrapes every service", Duration::from_mins(1), || async {
            let up = server.ask(&format!("count(up == 1) == {}", PROGRAMS.len())).await;
            up.is_ok_and(|answer| !answer.is_empty())
        })
        .await?;
        Ok(server)
    }

    /// The result of an instant query.
    async fn ask(&self, expression: &str) -> Result<Vec<Value>> {
        let form = [("query", expression)];
        let answer = self.http.post(format!("{}/api/v1/query", self.url)).form(&form).send().await?;
        let body: Value = answer.json().await?;
        ensure!(body["status"] == "success", "{expression}: {body}");
        Ok(body["data"]["result"].as_array().cloned().unwrap_or_default())
    }

    async fn is_firing(&self, alert: &str) -> Result<bool> {
        let firing = format!(r#"ALERTS{{alertname="{alert}", alertstate="firing"}}"#);
        Ok(!self.ask(&firing).await?.is_empty())
    }

    /// All alerts, for a failure message.
    async fn alerts(&self) -> Result<String> {
        Ok(self.http.get(format!("{}/api/v1/alerts", self.url)).send().await?.text().await?)
    }

    /// Asks for each panel and each rule; how many had data, and which need none.
    async fn everything_asked(&self) -> Result<String> {
        let (mut with, mut excused, mut empty) = (0, Vec::new(), Vec::new());
        for asked in dashboards::expressions()? {
            let mut has_data = false;
            for service in SERVICES {
                has_data = has_data || !self.ask(&asked.expression.replace("$service", service)).await?.is_empty();
            }
            match (has_data, dashboards::excuse(&asked.expression)) {
                (true, _) => with += 1,
                (false, Some(why)) => excused.push(format!("  {} / {}: {why}", asked.dashboard, asked.panel)),
                (false, None) => empty.push(format!("{} / {}: {}", asked.dashboard, asked.panel, asked.expression)),
            }
        }
        let (recording, alerts) = (rules::text("recording.yml")?, rules::text("alerts.yml")?);
        let mut names: std::collections::BTreeSet<String> =
            rules::recorded(&recording).into_iter().map(str::to_owned).collect();
        let recorded = names.len();
        let alerts = rules::alerts(&alerts);
        names.extend(alerts.iter().flat_map(|(_, expression)| rules::names(expression)));
        for name in &names {
            if self.ask(name).await?.is_empty() {
                match excuse_of_series(name) {
                    Some(why) => excused.push(format!("  series {name}: {why}")),
                    None => empty.push(format!("series {name} of the rules")),
                }
            }
        }
        ensure!(empty.is_empty(), "{} without data:\n{}", empty.len(), empty.join("\n"));
        excused.sort();
        excused.dedup();
        println!("without data, and rightly so:\n{}", excused.join("\n"));
        Ok(format!(
            "{with} expressions of panels, {recorded} recorded series and the series of {} alerts have data",
            alerts.len()
        ))
    }
}

/// Why a series that rules name is not there.
fn excuse_of_series(name: &str) -> Option<&'static str> {
    match name {
        "otelcol_exporter_send_failed_spans_total" | "otelcol_exporter_send_failed_spans" => {
            Some("the collector's own, which this proof runs by itself")
        }
        "dependency:failures:ratio5m" => None,
        _ => dashboards::excuse(name),
    }
}
