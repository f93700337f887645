//! The bank's books, as far as it shows them: the simulated acquirer's ledger, or another party's statement.
//!
//! Must not know: what the books should say.

mod spool;

use std::{collections::BTreeMap, time::Duration};

use acquirer::{
    domain::{Fate, MovementKind},
    store::{Line, SqlLedger},
};
use anyhow::Context as _;
use payment_service::processor::http::statement::Statement;
use tokio::time::Instant;

use self::spool::Spool;
use super::{
    account::{Account, Movement},
    laws::{Found, Law},
};

/// What cannot be read, where it cannot.
const LEDGER: &str = "the simulated acquirer's ledger";
/// A statement of some ten million movements takes that long over a network.
const STATEMENT_MAX: Duration = Duration::from_mins(15);

/// Where the bank's books are.
#[derive(Clone)]
pub enum Source {
    /// In the simulated acquirer's own store, and nowhere else.
    Simulated,
    /// At an acquirer, which is asked for its statement.
    Acquirer(Statement),
    /// Not to be looked at, and why.
    LeftOut(String),
}

impl From<Line> for Account {
    fn from(line: Line) -> Self {
        let mut account = Self { key: line.key, ..Self::default() };
        match line.entry {
            Err(why) => account.unreadable = Some(why),
            Ok(entry) => {
                if let Fate::Held { asked } = &entry.fate {
                    account.held = Some((asked.amount.amount_minor(), asked.amount.currency().code().to_owned()));
                }
                for moved in entry.movements() {
                    let movement = Movement {
                        key: moved.key.to_string(),
                        amount_minor: moved.amount.amount_minor(),
                        currency: moved.amount.currency().code().to_owned(),
                        receipt: moved.receipt,
                    };
                    match moved.kind {
                        MovementKind::Capture => account.captures.push(movement),
                        MovementKind::Refund => account.refunds.push(movement),
                    }
                }
            }
        }
        account
    }
}

/// The bank's books, ready to be read in the order of keys.
pub struct Bank {
    ledger: Option<SqlLedger>,
    statement: Option<(Statement, Spool)>,
}

impl Bank {
    /// Opens the books. A statement is in the order of time, so it is first copied to a temporary file: memory stays bounded however
    /// long it is. What is wrong with it as a whole is added to `found`.
    ///
    /// # Errors
    /// When the statement cannot be had.
    pub async fn open(
        source: &Source,
        ledger: Option<SqlLedger>,
        found: &mut Vec<Found>,
    ) -> anyhow::Result<Option<Self>> {
        let statement = match source {
            Source::LeftOut(_) => return Ok(None),
            Source::Simulated => None,
            Source::Acquirer(statement) => {
                let mut spool = Spool::create().await.context("no room for a copy of the statement")?;
                read_on(statement, &mut spool, found).await?;
                Some((statement.clone(), spool))
            }
        };
        Ok(Some(Self { ledger, statement }))
    }

    /// How many movements a statement has.
    pub fn movements(&self) -> u64 {
        self.statement.as_ref().map_or(0, |(_, spool)| spool.movements())
    }

    /// Accounts by key, after `after` and not after `upto`, about `limit` of them; none at the end. Payments made by an earlier,
    /// simulated processor are in its ledger still, so that is read beside a statement too.
    pub async fn accounts(&self, after: &str, upto: Option<&str>, limit: u32) -> anyhow::Result<Vec<Account>> {
        let lines = match &self.ledger {
            None => Vec::new(),
            Some(ledger) => ledger.lines(after, upto, limit).await.context(LEDGER)?,
        };
        let full = lines.len() == limit as usize;
        let end = lines.last().filter(|_| full).map(|line| line.key.clone());
        let mut accounts: BTreeMap<String, Account> =
            lines.into_iter().map(|line| (line.key.clone(), Account::from(line))).collect();
        let Some((_, spool)) = &self.statement else { return Ok(accounts.into_values().collect()) };
        let posted = spool.accounts(after, end.as_deref().or(upto), limit).await?;
        let end = posted.last().filter(|_| posted.len() == limit as usize).map(|account| account.key.clone());
        if let Some(end) = end {
            accounts.retain(|key, _| *key <= end);
        }
        for account in posted {
            merge(&mut accounts, account);
        }
        Ok(accounts.into_values().collect())
    }

    /// The account of one key as it is now: what has moved since the statement was copied is on it.
    pub async fn account_now(&mut self, key: &str) -> anyhow::Result<Option<Account>> {
        let line = match &self.ledger {
            None => None,
            Some(ledger) => ledger.line(key).await.context(LEDGER)?,
        };
        let mut accounts: BTreeMap<String, Account> =
            line.into_iter().map(|line| (line.key.clone(), Account::from(line))).collect();
        if let Some((statement, spool)) = &mut self.statement {
            // What is wrong with the rest of it was found, or will be at the next audit.
            read_on(statement, spool, &mut Vec::new()).await?;
            if let Some(account) = spool.account(key).await? {
                merge(&mut accounts, account);
            }
        }
        Ok(accounts.into_values().next())
    }
}

fn merge(accounts: &mut BTreeMap<String, Account>, account: Account) {
    match accounts.get_mut(&account.key) {
        None => {
            accounts.insert(account.key.clone(), account);
        }
        Some(known) => {
            known.captures.extend(account.captures);
            known.refunds.extend(account.refunds);
        }
    }
}

/// Copies what the statement has gained.
async fn read_on(statement: &Statement, spool: &mut Spool, found: &mut Vec<Found>) -> anyhow::Result<()> {
    let until = Instant::now() + STATEMENT_MAX;
    loop {
        anyhow::ensure!(Instant::now() < until, "it was not read within {} minutes", STATEMENT_MAX.as_secs() / 60);
        let page = statement.page(spool.next()).await?;
        let mut place = spool.next();
        for line in &page.movements {
            place += 1;
            if line.seq != place {
                let detail = format!("place {place} should come next on the statement, {} does", line.seq);
                found.push(Found::new(Law::BankStatementMalformed, detail));
                place = line.seq;
            }
            if line.amount.amount_minor() < 1 || !["capture", "refund"].contains(&line.kind.as_str()) {
                let detail = format!("place {} of the statement is a {} of {}", line.seq, line.kind, line.amount);
                found.push(Found::new(Law::BankStatementMalformed, detail));
            }
        }
        spool.add(&page).await.context("the copy of the statement")?;
        if !page.more {
            return Ok(());
        }
    }
}
