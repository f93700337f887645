//! `amends audit`: every invariant that can be computed from the tables of the stores and from the bank's books, and every breach of one.
//! The invariants are listed in `docs/audit.md`, their codes in [`laws`].
//!
//! Memory is bounded whatever the stores hold: each pass reads pages in the order of keys, from both sides at once. It may run against
//! live stores, and writes nothing:
//!
//! - *Within one store* a check is one statement, which sees one moment, and every transaction keeps the invariants.
//! - *Between two stores* what looks wrong is read again, one side, the other, and the first once more: it is reported only when the
//!   first has not changed in between. Orders in flight are told apart: of them only what holds at any moment is checked.
//! - *Against the bank*, whose books are always ahead of ours: we record an intent first. What is in doubt is on record as such.

pub mod account;
pub mod bank;
pub mod books;
pub mod laws;
mod orders;
mod payments;
pub mod progress;
pub mod report;
mod within;

use self::{books::Books, progress::Progress, report::Report};

/// A record that changes between every two of this number of reads is in use, not wrong.
const READS_MAX: usize = 5;
/// Rows of one page.
const PAGE: u16 = 200;

/// Checks everything there is. What could not be checked is in the report.
///
/// # Errors
/// Never at present: whatever cannot be read is reported as not checked.
pub async fn run(books: &Books, progress: &mut Progress) -> anyhow::Result<Report> {
    let mut run = Run { books, report: Report::default(), progress };
    within::order_store(&mut run).await;
    within::inventory(&mut run).await;
    within::payment_store(&mut run).await;
    if let Err(error) = orders::check(&mut run).await {
        run.not_checked("orders against payments and stock", &error);
    }
    if let Err(error) = orders::orphans(&mut run).await {
        run.not_checked("payments and reservations without an order", &error);
    }
    if let Err(error) = payments::check(&mut run).await {
        run.not_checked("payments by themselves and against the bank", &error);
    }
    let Run { mut report, progress, .. } = run;
    report.sort();
    progress.end();
    Ok(report)
}

/// One audit under way.
struct Run<'a> {
    books: &'a Books,
    report: Report,
    progress: &'a mut Progress,
}

impl Run<'_> {
    fn not_checked(&mut self, what: &str, error: &anyhow::Error) {
        self.report.not_checked(what, format!("{error:#}"));
    }
}
