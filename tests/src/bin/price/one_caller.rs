//! One caller, one request at a time.
//!
//! The figures are taken around each single request, from a moment in which the programs are idle to the next such moment; so what goes on
//! after the answer is part of the price. The programs also do some things by the clock (heartbeats, sweepers, checkpoints), and a page of
//! an index is split now and then. These fall into few of the requests, and therefore each figure is the median over all requests: it is
//! the same number in each run, where it does not depend on how threads take turns.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::{
    figures::{Figures, Measured, median_of, since},
    journeys::Journey,
    subject::Subject,
};

/// Connections are open, statements prepared and caches filled after so many.
const WARM_UP: usize = 20;

/// The median of each figure over so many requests of each kind.
pub(crate) async fn measure(subject: &Subject, orders: usize) -> Result<Measured> {
    let mut last = None;
    for _ in 0..WARM_UP {
        for journey in Journey::ALL {
            journey.make(&subject.client, &mut last).await?;
        }
    }
    let mut samples = BTreeMap::<_, Vec<Figures>>::new();
    subject.when_idle().await?;
    let mut said = subject.says().await?;
    for _ in 0..orders {
        for journey in Journey::ALL {
            let before = subject.when_idle().await?;
            journey.make(&subject.client, &mut last).await?;
            let after = subject.when_idle().await?;
            let says = subject.says().await?;
            let mut figures = since(&after, &before, 1);
            figures.extend(since(&says, &said, 1));
            samples.entry(journey.name()).or_default().push(figures);
            said = says;
        }
    }
    Ok(samples.into_iter().map(|(journey, samples)| (journey, median_of(&samples))).collect())
}
