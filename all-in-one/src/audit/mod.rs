//! `amends audit`: reconciles the order, inventory and payment stores and reports every breach of the money law.
//!
//! Memory is bounded whatever the stores hold: each pass reads pages, and each order is checked by itself. It may run against live
//! stores: orders in flight are told apart, and what looks wrong is read again before it is reported, because an order may have
//! moved between two reads.

pub mod books;
pub mod law;
pub mod progress;
pub mod report;

use std::collections::HashSet;

use amends_primitives::OrderId;
use futures::{StreamExt, TryStreamExt, stream};

use self::{
    books::{Books, ReadOrder},
    law::{Discrepancy, Standing, check, check_orphans},
    progress::Progress,
    report::{Finding, Report},
};

/// Orders checked at once: enough to hide a round trip to each store, too few to be a load.
const CONCURRENT: usize = 16;
/// An order that moves between every two of so many reads is alive, not wrong.
const READS_MAX: usize = 5;

/// Checks everything there is.
///
/// # Errors
/// When a store cannot be read.
pub async fn run(books: &Books, progress: &mut Progress) -> anyhow::Result<Report> {
    let mut report = Report::default();
    check_orders(books, &mut report, progress).await?;
    find_orphans(books, &mut report, progress).await?;
    progress.end();
    Ok(report)
}

async fn check_orders(books: &Books, report: &mut Report, progress: &mut Progress) -> anyhow::Result<()> {
    let mut after = None;
    loop {
        let page = books.orders_after(after).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.facts.id);
        report.count(page.iter().map(|order| order.facts.standing));
        let found: Vec<Vec<Finding>> =
            stream::iter(page).map(|order| check_one(books, order)).buffered(CONCURRENT).try_collect().await?;
        report.findings.extend(found.into_iter().flatten());
        progress.show(report);
    }
}

async fn check_one(books: &Books, mut order: ReadOrder) -> anyhow::Result<Vec<Finding>> {
    for _ in 0..READS_MAX {
        let id = order.facts.id;
        let (payments, reservations) = match order.facts.standing {
            // Nothing to compare, and the reads would only disturb the saga at work.
            Standing::InFlight => (Vec::new(), Vec::new()),
            Standing::Confirmed | Standing::Undone => {
                tokio::try_join!(books.payments_of(id), books.reservations_of(id))?
            }
        };
        let found = check(&order.facts, &payments, &reservations);
        if found.is_empty() {
            return Ok(Vec::new());
        }
        match books.order(id).await? {
            Some(again) if again.version != order.version => order = again,
            _ => return Ok(found.into_iter().map(|discrepancy| Finding { order: id, discrepancy }).collect()),
        }
    }
    Ok(Vec::new())
}

async fn find_orphans(books: &Books, report: &mut Report, progress: &mut Progress) -> anyhow::Result<()> {
    let mut after = None;
    loop {
        let (page, next) = books.payments_after(after).await?;
        report.payments += page.len() as u64;
        let unknown = unknown_orders(books, page.iter().map(|(order, _)| *order)).await?;
        for (order, payment) in page.iter().filter(|(order, _)| unknown.contains(order)) {
            report.add(*order, check_orphans(std::slice::from_ref(payment), &[]));
        }
        progress.show(report);
        match next {
            Some(_) => after = next,
            None => break,
        }
    }
    let mut after = None;
    loop {
        let (page, next) = books.reservations_after(after).await?;
        report.reservations += page.len() as u64;
        let unknown = unknown_orders(books, page.iter().map(|(order, _)| *order)).await?;
        for (order, reservation) in page.iter().filter(|(order, _)| unknown.contains(order)) {
            report.add(*order, check_orphans(&[], std::slice::from_ref(reservation)));
        }
        progress.show(report);
        match next {
            Some(_) => after = next,
            None => return Ok(()),
        }
    }
}

/// Which of these orders the order store does not know. An order is committed before its saga acts, so none is too new to be there.
async fn unknown_orders(books: &Books, ids: impl Iterator<Item = OrderId>) -> anyhow::Result<HashSet<OrderId>> {
    let mut unknown: HashSet<OrderId> = ids.collect();
    let distinct: Vec<OrderId> = unknown.iter().copied().collect();
    for known in books.known_orders(&distinct).await? {
        unknown.remove(&known);
    }
    Ok(unknown)
}

impl Report {
    fn count(&mut self, standings: impl Iterator<Item = Standing>) {
        for standing in standings {
            self.orders += 1;
            match standing {
                Standing::InFlight => self.in_flight += 1,
                Standing::Confirmed => self.confirmed += 1,
                Standing::Undone => self.undone += 1,
            }
        }
    }

    fn add(&mut self, order: OrderId, found: Vec<Discrepancy>) {
        self.findings.extend(found.into_iter().map(|discrepancy| Finding { order, discrepancy }));
    }
}
