//! Takes over lines that a payment service kept beside its payments, before the embedded acquirer had a file of its own.
//!
//! | cut off after         | what the next start finds                                                |
//! |-----------------------|--------------------------------------------------------------------------|
//! | nothing, or a page    | the old lines, all of them: those taken over before are left as they are |
//! | the last page         | the same; then the old ones are removed                                  |
//! | the old are removed   | nothing to take over                                                     |
//!
//! Nothing is charged here before that has ended, so that a line which is here already is the same line; or an older one, if an earlier
//! version went on with the old books after a start that was cut off. What came since is then taken over too.
//!
//! Must not know: where the old lines are.

use amends_sql::SqlError;

use super::{SqlLedger, writer::post_in_tx};
use crate::ledger::{LedgerError, decode};

/// A line as it was written down elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormerLine {
    /// The idempotency key of the charge or the authorization.
    pub key: String,
    /// Counts its changes.
    pub version: i64,
    /// As JSON.
    pub line: String,
}

impl SqlLedger {
    /// Writes those of the lines that are not here yet, or older, and what has moved under each onto the statement, all in one commit. The
    /// old ledger had no statement: the time is now, the order that of the lines. A line that cannot be read is taken over as it is.
    ///
    /// # Errors
    /// When the ledger cannot be written, or two charges have the key of one capture or refund.
    pub async fn take_over(&self, lines: &[FormerLine]) -> Result<(), LedgerError> {
        let sql = "INSERT INTO acquirer_lines (idempotency_key, version, line) VALUES ($1, $2, $3) \
                   ON CONFLICT (idempotency_key) DO NOTHING";
        let newer = "UPDATE acquirer_lines SET version = $2, line = $3 WHERE idempotency_key = $1 AND version < $2";
        let count = "SELECT COUNT(*) FROM acquirer_movements WHERE charge_key = $1";
        self.database
            .bounded(async {
                let mut tx = self.database.begin().await?;
                for FormerLine { key, version, line } in lines {
                    let write = |sql| sqlx::query(sql).bind(key.clone()).bind(*version).bind(line.clone());
                    let mut posted = 0_i64;
                    if write(sql).execute(&mut *tx).await?.rows_affected() == 0 {
                        if write(newer).execute(&mut *tx).await?.rows_affected() == 0 {
                            continue;
                        }
                        posted = sqlx::query_scalar(count).bind(key.clone()).fetch_one(&mut *tx).await?;
                    }
                    // Of one line in order, so that those posted are the first of them.
                    let movements =
                        decode(key, *version, line).map_or_else(|_unreadable| Vec::new(), |it| it.movements());
                    for movement in movements.into_iter().skip(usize::try_from(posted).unwrap_or(0)) {
                        post_in_tx(&mut tx, movement, self.clock.now()).await?;
                    }
                }
                tx.commit().await?;
                Ok::<_, SqlError>(())
            })
            .await?;
        Ok(())
    }
}
