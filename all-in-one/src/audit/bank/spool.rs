//! A copy of the bank's statement, in a temporary SQLite file that is gone with it: written in the order of time, read by key.

use amends_sql::{Database, Options, SqlError};
use payment_service::processor::http::statement::StatementPage;
use serde_json::json;
use sqlx::AssertSqlSafe;
use tempfile::TempDir;

use crate::audit::account::{Account, Movement};

const CREATE: &str = "CREATE TABLE movements (charge TEXT NOT NULL, seq BIGINT NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL, \
    amount_minor BIGINT NOT NULL, currency TEXT NOT NULL, receipt TEXT NOT NULL, PRIMARY KEY (charge, seq)) WITHOUT ROWID";

/// The copy.
pub(super) struct Spool {
    database: Database,
    next: i64,
    movements: u64,
    // Dropped last: the file must outlive its connections.
    _dir: TempDir,
}

impl Spool {
    pub(super) async fn create() -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("amends-audit-").tempdir()?;
        let url = format!("sqlite://{}?mode=rwc", dir.path().join("statement.db").display());
        let database = Database::connect_lazy(&url, &Options::administration())?;
        // Lost with the process anyway: it need not be on the disk.
        sqlx::query("PRAGMA synchronous = OFF").execute(database.writer()).await?;
        sqlx::query(CREATE).execute(database.writer()).await?;
        Ok(Self { database, next: 0, movements: 0, _dir: dir })
    }

    /// Where the statement goes on.
    pub(super) const fn next(&self) -> i64 {
        self.next
    }

    pub(super) const fn movements(&self) -> u64 {
        self.movements
    }

    /// Adds a page in one statement.
    pub(super) async fn add(&mut self, page: &StatementPage) -> Result<(), SqlError> {
        let lines: Vec<_> = page
            .movements
            .iter()
            .map(|line| {
                let (minor, currency) = (line.amount.amount_minor(), line.amount.currency().code().to_owned());
                json!([line.charge, line.seq, line.kind, line.key, minor, currency, line.receipt])
            })
            .collect();
        let sql = "INSERT OR REPLACE INTO movements SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, \
                   value ->> 5, value ->> 6 FROM json_each($1)";
        if !lines.is_empty() {
            sqlx::query(sql).bind(json!(lines).to_string()).execute(self.database.writer()).await?;
        }
        self.movements += page.movements.len() as u64;
        self.next = page.next.max(self.next);
        Ok(())
    }

    pub(super) async fn accounts(&self, after: &str, upto: Option<&str>, limit: u32) -> Result<Vec<Account>, SqlError> {
        let to = if upto.is_some() { " AND charge <= $2" } else { "" };
        let which =
            format!("SELECT DISTINCT charge FROM movements WHERE charge > $1{to} ORDER BY charge LIMIT {limit}");
        let mut values = vec![after];
        values.extend(upto);
        self.read(&which, &values).await
    }

    pub(super) async fn account(&self, key: &str) -> Result<Option<Account>, SqlError> {
        Ok(self.read("SELECT $1", &[key]).await?.pop())
    }

    async fn read(&self, which: &str, values: &[&str]) -> Result<Vec<Account>, SqlError> {
        let sql = format!(
            "SELECT charge, kind, key, amount_minor, currency, receipt FROM movements WHERE charge IN ({which}) ORDER BY charge, seq"
        );
        let query =
            values.iter().fold(sqlx::query_as(AssertSqlSafe(sql)), |query, value| query.bind((*value).to_owned()));
        let rows: Vec<(String, String, String, i64, String, String)> = query.fetch_all(self.database.reader()).await?;
        let mut accounts: Vec<Account> = Vec::new();
        for (charge, kind, key, amount_minor, currency, receipt) in rows {
            if accounts.last().is_none_or(|last| last.key != charge) {
                accounts.push(Account { key: charge, ..Account::default() });
            }
            if let Some(account) = accounts.last_mut() {
                let movements = if kind == "capture" { &mut account.captures } else { &mut account.refunds };
                movements.push(Movement { key, amount_minor, currency, receipt });
            }
        }
        Ok(accounts)
    }
}
