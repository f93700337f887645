//! One caller, one request at a time, on `amends up` with its defaults.
//!
//! The figures are taken around each single request, from a moment in which the program is idle to the next such moment; so what goes on
//! after the answer is part of the price. The program also does some things by the clock (heartbeats, sweepers, checkpoints), and a page of
//! an index is split now and then. These fall into few of the requests, and therefore each figure is the median over all requests: it is
//! the same number in each run, where it does not depend on how threads take turns.

use std::{collections::BTreeMap, time::Duration};

use amends_tests::{
    kit::meter::Meter,
    platform::{Platform, Setup},
    process::Launch,
};
use anyhow::{Context, Result};
use serde_json::json;

use crate::{
    figures::{Figures, Measured, of_page, of_reading, since},
    journeys::Journey,
};

/// Nothing counted for so long, and the program is idle. A debug build on a busy machine is off the processor for several milliseconds.
const QUIET: Duration = Duration::from_millis(15);
/// An order is over long before, and so is all that it leaves to be done.
const IDLE_WITHIN: Duration = Duration::from_secs(20);
/// Connections are open, statements prepared and caches filled after so many.
const WARM_UP: usize = 20;

/// The median of each figure over so many requests of each kind.
pub(crate) async fn measure(orders: usize) -> Result<Measured> {
    let meter = Meter::new().map_err(anyhow::Error::msg)?;
    // As it is delivered: the tests' own configuration says otherwise.
    let settings = json!({"telemetry": {"log_format": "auto", "filter": "info"}});
    let launch = meter.in_launch(Launch::default());
    let platform = Platform::embedded_as(Setup { settings, launch, ..Setup::default() }).await?;
    let samples = sample(&platform, &meter, orders).await.with_context(|| platform.logs())?;
    platform.stop().await?;
    Ok(samples.into_iter().map(|(journey, samples)| (journey, medians(&samples))).collect())
}

async fn sample(platform: &Platform, meter: &Meter, orders: usize) -> Result<BTreeMap<&'static str, Vec<Figures>>> {
    let client = platform.demo().await?;
    let http = service_base::client::internal().timeout(Duration::from_secs(10)).build()?;
    let metrics = format!("http://{}/metrics", platform.admin_address("amends")?);
    let scrape = || async {
        let page = http.get(&metrics).send().await?.error_for_status()?.text().await?;
        of_page(&page)
    };
    let mut last = None;
    for _ in 0..WARM_UP {
        for journey in Journey::ALL {
            journey.make(&client, &mut last).await?;
        }
    }
    let mut samples = BTreeMap::<_, Vec<Figures>>::new();
    meter.read_when_quiet(QUIET, IDLE_WITHIN).await?;
    let mut counted = scrape().await?;
    for _ in 0..orders {
        for journey in Journey::ALL {
            // Being asked for its metrics costs the program something, too: that is between two requests, and in none.
            let before = of_reading(&meter.read_when_quiet(QUIET, IDLE_WITHIN).await?);
            journey.make(&client, &mut last).await?;
            let after = of_reading(&meter.read_when_quiet(QUIET, IDLE_WITHIN).await?);
            let now = scrape().await?;
            let mut figures = since(&after, &before);
            figures.extend(since(&now, &counted));
            samples.entry(journey.name()).or_default().push(figures);
            counted = now;
        }
    }
    Ok(samples)
}

fn medians(samples: &[Figures]) -> Figures {
    let names: std::collections::BTreeSet<&String> = samples.iter().flat_map(BTreeMap::keys).collect();
    let median = |name: &String| {
        let mut values: Vec<u64> = samples.iter().map(|figures| figures.get(name).copied().unwrap_or(0)).collect();
        values.sort_unstable();
        values.get(values.len() / 2).copied().unwrap_or(0)
    };
    names.into_iter().map(|name| (name.clone(), median(name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_by_the_clock_is_in_no_median() {
        let of = |commits: u64| Figures::from([("commits".to_owned(), commits)]);
        assert_eq!(medians(&[of(3), of(4), of(3), of(9), of(3)]), of(3));
    }
}
