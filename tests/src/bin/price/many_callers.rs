//! Many callers at once, so that stores commit several orders together and threads do not fall asleep in between.
//!
//! The figures are totals from idle to idle, divided by the orders: what is done by the clock is part of them, and small beside the rest.
//! How orders meet differs from run to run; so each figure is the median of several.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use futures::future::try_join_all;

use crate::{
    figures::{Measured, median_of, since},
    journeys::Journey,
    subject::Subject,
};

/// Callers at once.
pub(crate) const CALLERS: usize = 32;
/// Runs, of which the median counts; one before them warms up.
const RUNS: usize = 5;
/// Requests of each kind by each caller in each run.
const EACH: usize = 10;

/// The median of five runs, each the mean over its orders.
pub(crate) async fn measure(subject: &Subject) -> Result<Measured> {
    let mut runs = BTreeMap::<_, Vec<_>>::new();
    for run in 0..=RUNS {
        // What was confirmed in this run is cancelled in this run.
        let mut confirmed: Vec<Vec<Option<String>>> = vec![vec![None; EACH]; CALLERS];
        for journey in Journey::ALL {
            let (before, said) = (subject.when_idle().await?, subject.says().await?);
            let callers = confirmed.iter_mut().map(|mine| async {
                for order in mine {
                    journey.make(&subject.client, order).await?;
                }
                anyhow::Ok(())
            });
            try_join_all(callers).await.with_context(|| format!("run {run}"))?;
            let (after, says) = (subject.when_idle().await?, subject.says().await?);
            let mut figures = since(&after, &before, CALLERS * EACH);
            figures.extend(since(&says, &said, CALLERS * EACH));
            if run > 0 {
                runs.entry(journey.name()).or_default().push(figures);
            }
        }
    }
    Ok(runs.into_iter().map(|(journey, runs)| (journey, median_of(&runs))).collect())
}
