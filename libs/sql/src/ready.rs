//! Whether a store can do its work: answer, and make a change durable. A disk that is full or read-only lets all reads pass.

use std::time::Duration;

use crate::{Database, Dialect, FileFault, SqlError};

/// Between two looks whether damage that was met is still there.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// As long as a probe can wait for it.
const LOOK_BOUND: Duration = Duration::from_secs(1);

impl Database {
    /// Whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), SqlError> {
        // On SQLite `SELECT 1` would not even look at the file.
        let sql = match self.dialect() {
            Dialect::Sqlite => "SELECT COUNT(*) FROM sqlite_schema",
            Dialect::Postgres => "SELECT 1",
        };
        self.bounded(async {
            sqlx::query(sql).fetch_optional(self.reader()).await.map_err(SqlError::from)?;
            Ok(())
        })
        .await
    }

    /// Whether the database answers and can be written, for readiness.
    ///
    /// Writing is tested by a change that does nothing, and only when no change was made durable lately
    /// ([`Options::write_shows`](crate::Options::write_shows)). After a failed write each call tests it until one succeeds. Damage that
    /// was met is reported until a check finds none.
    ///
    /// # Errors
    /// What is wrong, as far as it is known; [`in_words`](crate::in_words) says it with its causes.
    pub async fn ready(&self) -> Result<(), SqlError> {
        self.still_there().await?;
        self.ping().await?;
        self.not_damaged().await?;
        let known = self.health.known();
        if known.ill.is_none() && known.written.is_some_and(|at| at.elapsed() < self.write_shows) {
            return Ok(());
        }
        let Ok(_one) = self.health.testing.try_lock() else {
            // Another probe is at it; this one says what was known before.
            return known.ill.map_or(Ok(()), |why| Err(remembered(why)));
        };
        self.bounded(self.test_writing(known.ill.is_some())).await
    }

    /// An open file can be deleted, and then what is written to it is nowhere.
    async fn still_there(&self) -> Result<(), SqlError> {
        let Some(file) = &self.file else { return Ok(()) };
        if !file.looked_at.initialized() || tokio::fs::try_exists(&file.path).await.unwrap_or(true) {
            return Ok(());
        }
        let advice = "stop the service, put the file back from a backup, and start it again";
        Err(FileFault::new(&file.path, "the file has been removed while it was in use", advice).into())
    }

    async fn not_damaged(&self) -> Result<(), SqlError> {
        let Some((words, at)) = self.health.known().damaged else { return Ok(()) };
        if at.elapsed() < LOOK_AGAIN_AFTER {
            return Err(self.damaged(words));
        }
        let Some(file) = &self.file else {
            // A server's damage is its operator's to look for; it is reported while it is met.
            self.health.found_sound();
            return Ok(());
        };
        self.health.looked(None);
        let checked = self.check_quickly(LOOK_BOUND).await?;
        match checked.findings.first() {
            None if checked.complete => {
                self.health.found_sound();
                Ok(())
            }
            None => Err(self.damaged(words)),
            Some(found) => {
                self.health.looked(Some(found.clone()));
                Err(FileFault::damaged(&file.path, found).into())
            }
        }
    }

    fn damaged(&self, words: String) -> SqlError {
        match &self.file {
            Some(file) => FileFault::damaged(&file.path, &words).into(),
            None => SqlError::Damaged(sqlx::Error::Io(std::io::Error::other(words))),
        }
    }

    async fn test_writing(&self, was_ill: bool) -> Result<(), SqlError> {
        match self.dialect() {
            Dialect::Postgres => self.write_to_the_log().await?,
            Dialect::Sqlite if !was_ill => self.write_a_page().await?,
            // A disk that is full may have room for one page and none for an order: as much as some orders need.
            Dialect::Sqlite => {
                let mut tx = self.begin().await?;
                let fill = "DROP TABLE IF EXISTS amends_room; CREATE TABLE amends_room (filler BLOB); \
                            INSERT INTO amends_room VALUES (zeroblob(131072))";
                sqlx::raw_sql(fill).execute(&mut *tx).await?;
                tx.commit().await?;
                sqlx::query("DROP TABLE amends_room").execute(self.writer()).await?;
            }
        }
        self.health.wrote();
        Ok(())
    }

    /// Nothing reads this number; writing it, even as it is, is a page and a flush like any other. SQLite only.
    pub(crate) async fn write_a_page(&self) -> Result<(), SqlError> {
        sqlx::query("PRAGMA application_id = 0").execute(self.writer()).await?;
        Ok(())
    }

    /// A message in the write-ahead log, which is flushed with the commit and which nothing reads: it needs no table.
    async fn write_to_the_log(&self) -> Result<(), SqlError> {
        let sql = "SELECT CASE WHEN current_setting('transaction_read_only') = 'on' THEN 'read-only' \
                   ELSE pg_logical_emit_message(true, 'amends.readiness', '')::TEXT END";
        let (answer,): (String,) = sqlx::query_as(sql).fetch_one(self.writer()).await?;
        if answer == "read-only" {
            return Err(remembered("the server accepts no writes (it is a standby, or set to read-only)".to_owned()));
        }
        Ok(())
    }
}

fn remembered(why: String) -> SqlError {
    SqlError::Unavailable(sqlx::Error::Io(std::io::Error::other(why)))
}
