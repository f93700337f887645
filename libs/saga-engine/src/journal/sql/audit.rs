//! Journals as they are stored, for reconciliation, and what must never be true of their tables.

use amends_primitives::Timestamp;
use amends_sql::{Database, SqlError, checks::Check};
use sqlx::{AssertSqlSafe, Row as _, any::AnyRow};

use crate::audit::StoredJournal;

/// A row that no program of ours leaves behind. A parked saga may have an owner: the one who is about to move it.
pub const SAGA_MALFORMED: Check = Check {
    code: "saga_malformed",
    about: "saga",
    sql: "SELECT s.id, s.subject, s.status || CASE WHEN s.finished_at IS NULL THEN ', not finished' ELSE ', finished' END \
            || CASE WHEN s.owner IS NULL THEN ', no owner' ELSE ', owned by ' || s.owner END \
            || CASE WHEN s.failure IS NULL THEN ', no failure' ELSE ', a failure' END \
            || CASE WHEN s.parked IS NULL THEN ', no cause' ELSE ', a cause' END \
            || ', seq ' || s.seq || ', fence ' || s.fence \
          FROM sagas s WHERE {range:s.id} AND (s.seq < 0 OR s.fence < 1 \
            OR (s.status IN ('completed', 'unwound') AND (s.finished_at IS NULL OR s.owner IS NOT NULL)) \
            OR (s.status NOT IN ('completed', 'unwound') AND s.finished_at IS NOT NULL))",
};

/// Entries of a saga that has no row.
pub const EVENTS_WITHOUT_SAGA: Check = Check {
    code: "events_without_saga",
    about: "saga",
    sql: "SELECT e.saga_id, '', 'the journal holds events from ' || e.seq || ' on, and no such saga' \
          FROM saga_entries e LEFT JOIN sagas s ON s.id = e.saga_id WHERE {range:e.saga_id} AND s.id IS NULL",
};

/// A page of sagas with their entries, by id, each of one moment.
///
/// # Errors
/// When the database fails.
pub async fn journals_after(database: &Database, after: &str, limit: u16) -> Result<Vec<StoredJournal>, SqlError> {
    let sql = "SELECT s.id, s.definition, s.version, s.subject, s.status, s.failure, s.parked, s.seq, s.created_at, \
            s.events AS first_entry, e.seq AS entry, e.events AS events \
        FROM (SELECT * FROM sagas WHERE id > $1 ORDER BY id LIMIT $2) s LEFT JOIN saga_entries e ON e.saga_id = s.id \
        ORDER BY s.id, e.seq";
    let work = async {
        let query = sqlx::query(AssertSqlSafe(sql)).bind(after.to_owned()).bind(i64::from(limit));
        let rows = query.fetch_all(database.reader()).await?;
        let mut journals: Vec<StoredJournal> = Vec::new();
        for row in &rows {
            let id: String = row.try_get("id")?;
            if journals.last().is_none_or(|last| last.id != id) {
                journals.push(journal(row, id)?);
            }
            if let (Some(last), Some(seq)) = (journals.last_mut(), row.try_get::<Option<i64>, _>("entry")?) {
                last.entries.push((seq, row.try_get("events")?));
            }
        }
        Ok(journals)
    };
    database.bounded(work).await
}

fn journal(row: &AnyRow, id: String) -> Result<StoredJournal, SqlError> {
    Ok(StoredJournal {
        id,
        definition: row.try_get("definition")?,
        version: row.try_get("version")?,
        subject: row.try_get("subject")?,
        status: row.try_get("status")?,
        failure: row.try_get("failure")?,
        parked: row.try_get("parked")?,
        seq: row.try_get("seq")?,
        created_at: Timestamp::from_micros(row.try_get("created_at")?),
        entries: row.try_get::<Option<String>, _>("first_entry")?.map(|events| (1, events)).into_iter().collect(),
    })
}
