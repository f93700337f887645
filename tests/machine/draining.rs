//! Being told to stop, and being told what is no reason to stop.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use amends::client::{Client, order_of};
use amends_tests::{
    check::key,
    kit::report::healed,
    platform::Platform,
    process::{Launch, Process, eventually, free_port, program},
};
use anyhow::{Context, Result, ensure};
use tokio::task::JoinHandle;

use crate::{
    bare::Bare,
    support::{confirmed, sound},
};

const CUSTOMERS: usize = 16;
/// Longer than any program of ours may take to end.
const ENDED_MAX: Duration = Duration::from_secs(30);

/// Each service by itself, as its own program on a file of its own: it lives on, and ends in order when it is asked to.
pub(crate) async fn hangups_of_the_terminal_end_no_service() -> Result<()> {
    let dir = tempfile::Builder::new().prefix("amends-hangup-").tempdir()?;
    let port = || SocketAddr::from(([127, 0, 0, 1], free_port()));
    let file = |name: &str| format!("sqlite://{}?mode=rwc", dir.path().join(name).display());
    let listens = |keys: &[&str]| keys.iter().map(|key| format!("{key}={}", port())).collect::<Vec<_>>();
    let services = [
        ("gateway", listens(&["gateway.listen"]), vec![]),
        (
            "identity-service",
            listens(&["identity.http.listen"]),
            vec![
                format!("identity.database.url={}", file("identity.db")),
                "identity.key_encryption_key=dGVzdHMgb25seTogMzIgYnl0ZXMgb2Yga2V5IHg5ISE=".to_owned(),
            ],
        ),
        (
            "order-service",
            listens(&["order.http.listen", "order.grpc.listen"]),
            vec![
                format!("order.database.url={}", file("order.db")),
                "order.service_token.client_id=order-service".to_owned(),
                "order.service_token.client_secret=for-tests-only".to_owned(),
            ],
        ),
        (
            "payment-service",
            listens(&["payment.grpc.listen"]),
            vec![format!("payment.database.url={}", file("payment.db"))],
        ),
        (
            "inventory-service",
            listens(&["inventory.grpc.listen"]),
            vec![format!("inventory.database.url={}", file("inventory.db"))],
        ),
        (
            "acquirer",
            listens(&["acquirer.http.listen"]),
            vec![
                format!("acquirer.database.url={}", file("acquirer.db")),
                "acquirer.secret=a-merchant-secret-for-tests-only".to_owned(),
            ],
        ),
    ];
    for (name, listens, more) in services {
        let sets = [listens, more].concat();
        survives_a_hangup(name, &sets, port(), dir.path()).await.with_context(|| name.to_owned())?;
    }
    let mut platform = Platform::embedded().await?;
    for _ in 0..3 {
        platform.signal("amends", "HUP").await?;
    }
    confirmed(&platform.demo().await?).await.context("amends up, after SIGHUP")?;
    sound(&platform).await?;
    let code = platform.terminate("amends", ENDED_MAX).await?;
    ensure!(code == Some(0), "amends up ended with {code:?}");
    Ok(())
}

async fn survives_a_hangup(name: &str, sets: &[String], admin: SocketAddr, dir: &Path) -> Result<()> {
    let sets = sets.iter().cloned().chain([format!("admin.listen={admin}")]);
    let arguments: Vec<String> = sets.flat_map(|set| ["--set".to_owned(), set]).collect();
    let mut process = Process::start(name, &program(name), &arguments, &Launch::default(), dir)?;
    let probe = service_base::client::internal().timeout(Duration::from_secs(5)).build()?;
    let lives = || async {
        let answer = probe.get(format!("http://{admin}/healthz")).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    };
    let started = eventually("it answers its operators", Duration::from_mins(1), lives).await;
    started.with_context(|| process.tail())?;
    // Signals are listened to by the time that operators are answered.
    for _ in 0..3 {
        process.signal("HUP").await?;
    }
    for _ in 0..3 {
        ensure!(!process.has_ended() && lives().await, "SIGHUP ended it:\n{}", process.tail());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let code = process.stop(ENDED_MAX).await?;
    ensure!(code == Some(0), "it ended with {code:?}:\n{}", process.tail());
    Ok(())
}

/// What customers saw of a stop.
#[derive(Debug, Default)]
struct Seen {
    /// Orders that were accepted.
    accepted: usize,
    /// Answers that are no good in a stop: all but 201, 202, and a 503 that says when to come back.
    wrong: Vec<String>,
    /// Requests whose connection was made and broke without an answer.
    broken: Vec<String>,
    /// From the last answer to the end of the process.
    after_last: Duration,
}

/// What customers and the test tell each other.
#[derive(Debug, Default)]
struct Shop {
    accepted: AtomicUsize,
    /// From now on a 503 may be the last answer.
    is_stopping: AtomicBool,
}

/// Orders accepted, answers that were wrong, connections that broke, and when the last answer came.
type Heard = (usize, Vec<String>, Vec<String>, Instant);

/// Customers without a second try order until the listener is gone.
fn customers(demo: &Client, shop: &Arc<Shop>) -> Vec<JoinHandle<Heard>> {
    let customer = |_| {
        let (demo, shop) = (demo.clone(), Arc::clone(shop));
        tokio::spawn(async move {
            let (mut accepted, mut wrong, mut broken, mut last) = (0, Vec::new(), Vec::new(), Instant::now());
            loop {
                match demo.place(&key(), &order_of("espresso-1kg", 1, "pm_ok")).await {
                    Ok(answer) => {
                        last = Instant::now();
                        match answer.status.as_u16() {
                            201 | 202 => {
                                accepted += 1;
                                shop.accepted.fetch_add(1, Ordering::SeqCst);
                            }
                            503 if !answer.header("retry-after").is_empty() => {
                                if shop.is_stopping.load(Ordering::SeqCst) {
                                    break;
                                }
                            }
                            status => wrong.push(format!("{status} {}", answer.body)),
                        }
                    }
                    Err(error) if is_refused(&error) => break,
                    Err(error) => {
                        broken.push(format!("{error:#}"));
                        break;
                    }
                }
            }
            (accepted, wrong, broken, last)
        })
    };
    (0..CUSTOMERS).map(customer).collect()
}

fn is_refused(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_connect))
}

async fn stop_under_load(platform: &mut Platform) -> Result<Seen> {
    let shop = Arc::new(Shop::default());
    let customers = customers(&platform.demo().await?, &shop);
    eventually("customers are served", Duration::from_secs(30), || async {
        shop.accepted.load(Ordering::SeqCst) >= CUSTOMERS * 2
    })
    .await?;
    shop.is_stopping.store(true, Ordering::SeqCst);
    let code = platform.terminate("amends", ENDED_MAX).await?;
    let ended = Instant::now();
    ensure!(code == Some(0), "SIGTERM under load ended it with {code:?}");
    let mut seen = Seen::default();
    let mut last_of_all = None;
    for customer in customers {
        let (accepted, wrong, broken, last) = customer.await?;
        seen.accepted += accepted;
        seen.wrong.extend(wrong);
        seen.broken.extend(broken);
        last_of_all = last_of_all.max(Some(last));
    }
    seen.after_last = last_of_all.map(|last| ended.saturating_duration_since(last)).unwrap_or_default();
    Ok(seen)
}

async fn stops(rounds: usize) -> Result<Vec<Duration>> {
    let mut platform = Platform::embedded().await?;
    let mut took = Vec::new();
    for round in 1..=rounds {
        let seen = stop_under_load(&mut platform).await.with_context(|| format!("round {round}"))?;
        ensure!(seen.accepted > 0, "round {round}: no order was accepted before the stop");
        ensure!(seen.wrong.is_empty() && seen.broken.is_empty(), "round {round}: {seen:#?}");
        took.push(seen.after_last);
        platform.restart("amends").await?;
        platform.forget_log_ins().await;
        // What was left is taken up by the next start.
        sound(&platform).await.with_context(|| format!("round {round}"))?;
    }
    platform.stop().await?;
    Ok(took)
}

/// Each request that was taken is answered: no 502, no broken connection.
pub(crate) async fn a_stop_under_load_answers_what_it_took() -> Result<()> {
    stops(2).await.map(drop)
}

/// The same, more often, and measured.
pub(crate) async fn a_stop_under_load_ends_within_five_seconds() -> Result<()> {
    let took = stops(10).await?;
    let longest = took.iter().max().copied().unwrap_or_default();
    healed("from the last answer to the end of a stop under load, at the longest", longest);
    ensure!(longest < Duration::from_secs(5), "a stop took {took:?} from the last answer");
    Ok(())
}

/// Two instances on one machine, each told where callers and operators reach it and nothing else.
pub(crate) async fn two_instances_need_two_ports_each() -> Result<()> {
    let (first, second) = (Bare::start(&[]).await.context("the first")?, Bare::start(&[]).await.context("the second")?);
    ensure!(first.gateway != second.gateway, "two instances on one port");
    for instance in [first, second] {
        let tail = instance.tail();
        confirmed(&instance.demo().await?).await.context(tail)?;
        instance.stop().await?;
    }
    Ok(())
}
