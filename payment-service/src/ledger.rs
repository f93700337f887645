//! The books of the simulated acquirer in this process: the acquirer's own store, in a file of its own. Lines that earlier versions kept
//! beside the payments are taken over at the start, before anything is charged.
//!
//! Must not know: what the lines say.

use std::{sync::Arc, time::Duration};

use acquirer::store::SqlLedger;
use amends_primitives::Clock;
use anyhow::Context as _;

use crate::{
    config::{Config, ProcessorKind},
    store::former::FormerLedger,
};

/// Lines taken over by one commit: far below the bound of a call.
const PAGE: u32 = 50;
/// Names the file.
const KEY: &str = "payment.processor.ledger_url";

/// Opens the books for this process alone, and brings them up to date. None where the processor is another party; old lines are then
/// taken over all the same, but for those in MongoDB, which several replicas share, and none of them may take away from the others.
pub(crate) async fn open(
    config: &Config,
    former: &dyn FormerLedger,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Option<SqlLedger>> {
    let mut page = former.former_lines("", PAGE).await.context("the old books of the simulated acquirer")?;
    if config.processor.kind == ProcessorKind::Http && (page.is_empty() || config.database.is_mongo()) {
        if !page.is_empty() {
            tracing::warn!(
                "the old books of the simulated acquirer stay in MongoDB: a start as `simulated` takes them over"
            );
        }
        return Ok(None);
    }
    let url = config.ledger_url()?;
    let ledger = SqlLedger::open(&url, &config.ledger_options(), Arc::clone(clock)).context(KEY)?;
    ledger.serve_alone(&url).await.context(KEY)?;
    let patience = Duration::from_secs(config.database.start_patience_secs);
    ledger.migrate(patience).await.context("the simulated acquirer's books cannot be brought up to date")?;
    while let Some(last) = page.last().map(|line| line.key.clone()) {
        ledger.take_over(&page).await.context("the old books of the simulated acquirer cannot be taken over")?;
        page = former.former_lines(&last, PAGE).await?;
    }
    former.forget_former().await.context("the old books of the simulated acquirer cannot be removed")?;
    if config.processor.kind == ProcessorKind::Http {
        ledger.close().await;
        return Ok(None);
    }
    Ok(Some(ledger))
}
