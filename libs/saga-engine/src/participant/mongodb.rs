//! The barrier in MongoDB, inside the participant's own document: the key's record and the effect are one document, so that one atomic
//! write changes both, and a standalone server serves as well as a replica set. No multi-document transaction is needed.
//!
//! ```json
//! {"_id": "<saga id>/<step>", "barrier": {"state": "done", "fingerprint": "…", "answer": "…", "created_at": 0, "updated_at": 0}, …}
//! ```
//!
//! The collection's client decides how durable an acknowledged write is: use write concern `majority` with journaling and read concern
//! `majority`, or a failover forgets what was answered.

use std::time::Duration;

use amends_primitives::Timestamp;
use mongodb::{
    Collection, IndexModel,
    bson::{Bson, Document, doc},
    error::{Error, ErrorKind, WriteFailure},
};
use serde_json::Value;

use super::{
    ActionKey, BeginClose, BeginCompensation,
    decide::{self, Record},
};

const DUPLICATE_KEY: i32 = 11000;

/// The barrier of one collection, of which each document is one step's effect. Clones share the client's connections.
#[derive(Debug, Clone)]
pub struct DocumentBarrier {
    collection: Collection<Document>,
}

/// How an action ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// It takes effect.
    Done {
        /// What repeats will be answered.
        answer: Value,
        /// The effect: the participant's own fields of the document. Not `_id` and not `barrier`.
        effect: Document,
    },
    /// It is refused, and repeats are refused the same.
    Refused {
        /// What repeats will be answered.
        answer: Value,
    },
}

/// What became of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Acted {
    /// The ending is on record, with its effect: answer it.
    First,
    /// It was performed before: answer the same again. This call's ending was not written.
    Repeat(Value),
    /// It was refused before: refuse the same again. This call's ending was not written.
    RepeatRefusal(Value),
    /// It was compensated or closed before: refuse it for good.
    Compensated,
    /// The key was used for another request: refuse it.
    Mismatch,
}

/// Why the barrier could not decide.
#[derive(Debug, thiserror::Error)]
pub enum DocumentBarrierError {
    /// The database failed; a write may or may not have happened. Repeat the call.
    #[error("the barrier's collection cannot be used")]
    Database(#[source] Error),
    /// What is on record is not what this writes.
    #[error("what is on record for {0} cannot be read")]
    Corrupt(String),
    /// An effect has a field of the barrier's.
    #[error("an effect may not have a field {0}")]
    Reserved(&'static str),
    /// The record kept changing under every attempt, which no order of arrivals explains.
    #[error("the record of {0} kept changing")]
    Contended(String),
}

impl From<Error> for DocumentBarrierError {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}

type Result<T> = std::result::Result<T, DocumentBarrierError>;

impl DocumentBarrier {
    /// The barrier of this collection.
    pub const fn new(collection: Collection<Document>) -> Self {
        Self { collection }
    }

    /// Creates the index that [`purge`](Self::purge) needs. Call it at start-up; replicas may do so at once.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn migrate(&self) -> Result<()> {
        self.collection.create_index(IndexModel::builder().keys(doc! {"barrier.updated_at": 1}).build()).await?;
        Ok(())
    }

    /// An action arrives, and would end so. `fingerprint` is a digest of what is asked for, without what may differ between attempts.
    ///
    /// An action that asks somebody else (a bank, say) has no ending before it has asked: it needs an intent on record first, and
    /// somebody who can be asked again under the same key.
    ///
    /// # Errors
    /// When the database fails, or the effect has a field of the barrier's.
    pub async fn act(&self, key: &ActionKey, fingerprint: &str, ending: Ending, now: Timestamp) -> Result<Acted> {
        let (state, answer, effect) = match ending {
            Ending::Done { answer, effect } => ("done", answer, effect),
            Ending::Refused { answer } => ("refused", answer, Document::new()),
        };
        check(&effect)?;
        let barrier = doc! {
            "state": state,
            "fingerprint": fingerprint,
            "answer": answer.to_string(),
            "created_at": now.as_micros(),
            "updated_at": now.as_micros(),
        };
        if self.insert(key, barrier, effect).await? {
            return Ok(Acted::First);
        }
        Ok(match decide::action(Some(&self.existing(key).await?), fingerprint) {
            decide::Action::Perform => return Err(DocumentBarrierError::Corrupt(key.to_string())),
            decide::Action::Repeat(answer) => Acted::Repeat(answer),
            decide::Action::RepeatRefusal(answer) => Acted::RepeatRefusal(answer),
            decide::Action::Compensated => Acted::Compensated,
            decide::Action::Mismatch => Acted::Mismatch,
        })
    }

    /// A compensation arrives. If the action took effect, `undo` is set on its document in the write that buries the key.
    ///
    /// # Errors
    /// When the database fails, or `undo` has a field of the barrier's.
    pub async fn compensate(&self, key: &ActionKey, undo: Document, now: Timestamp) -> Result<BeginCompensation> {
        check(&undo)?;
        if self.insert(key, tombstone(now), Document::new()).await? {
            return Ok(BeginCompensation::NeverSeen);
        }
        // Done or refused becomes a tombstone, and a tombstone stays one: whoever loses once finds a tombstone.
        for _ in 0..2 {
            let swapped = match decide::compensation(Some(&self.existing(key).await?)) {
                decide::Compensation::Undo(answer) => {
                    let undone = self.bury(key, "done", undo.clone(), now).await?;
                    undone.then_some(BeginCompensation::WasDone(answer))
                }
                decide::Compensation::Bury => {
                    self.bury(key, "refused", Document::new(), now).await?.then_some(BeginCompensation::NeverSeen)
                }
                decide::Compensation::Already(answer) => Some(BeginCompensation::Already(answer)),
            };
            if let Some(found) = swapped {
                return Ok(found);
            }
        }
        Err(DocumentBarrierError::Contended(key.to_string()))
    }

    /// A close of a pivot arrives.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn close(&self, key: &ActionKey, now: Timestamp) -> Result<BeginClose> {
        if self.insert(key, tombstone(now), Document::new()).await? {
            return Ok(BeginClose::Closed);
        }
        for _ in 0..2 {
            match decide::close(Some(&self.existing(key).await?)) {
                decide::Close::WasDone(answer) => return Ok(BeginClose::WasDone(answer)),
                decide::Close::Already => return Ok(BeginClose::Closed),
                decide::Close::Bury => {
                    if self.bury(key, "refused", Document::new(), now).await? {
                        return Ok(BeginClose::Closed);
                    }
                }
            }
        }
        Err(DocumentBarrierError::Contended(key.to_string()))
    }

    /// Forgets tombstones and refusals under which nothing was done for `age`, at most `limit`; returns how many. What took effect is
    /// the participant's own and stays. How old is old enough: see [`Barrier::purge`](super::Barrier::purge).
    ///
    /// # Errors
    /// When the database fails.
    pub async fn purge(&self, now: Timestamp, age: Duration, limit: u32) -> Result<u64> {
        let before = now.as_micros().saturating_sub(i64::try_from(age.as_micros()).unwrap_or(i64::MAX));
        let old = doc! {
            "barrier.updated_at": {"$lt": before},
            "barrier.state": {"$in": ["tombstone", "refused"]},
            // A tombstone with an answer is the grave of something that once took effect.
            "$or": [{"barrier.state": "refused"}, {"barrier.answer": {"$exists": false}}],
        };
        let mut keys = Vec::new();
        let mut found = self.collection.find(old.clone()).projection(doc! {"_id": 1}).limit(i64::from(limit)).await?;
        while found.advance().await? {
            keys.extend(found.deserialize_current()?.remove("_id"));
        }
        if keys.is_empty() {
            return Ok(0);
        }
        // The condition again: one of them may have changed since.
        let mut doomed = old;
        doomed.insert("_id", doc! {"$in": Bson::Array(keys)});
        Ok(self.collection.delete_many(doomed).await?.deleted_count)
    }

    /// Whether the key was new.
    async fn insert(&self, key: &ActionKey, barrier: Document, effect: Document) -> Result<bool> {
        let mut document = doc! {"_id": key.to_string(), "barrier": barrier};
        document.extend(effect);
        match self.collection.insert_one(document).await {
            Ok(_) => Ok(true),
            Err(error) if is_duplicate_key(&error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Turns a record in this state into a tombstone; false if it is in that state no more. A refusal's answer is not kept: a
    /// tombstone with an answer means that the action once took effect.
    async fn bury(&self, key: &ActionKey, from: &str, undo: Document, now: Timestamp) -> Result<bool> {
        let mut set = doc! {"barrier.state": "tombstone", "barrier.updated_at": now.as_micros()};
        set.extend(undo);
        let mut update = doc! {"$set": set};
        if from == "refused" {
            update.insert("$unset", doc! {"barrier.answer": ""});
        }
        let filter = doc! {"_id": key.to_string(), "barrier.state": from};
        Ok(self.collection.update_one(filter, update).await?.matched_count == 1)
    }

    async fn existing(&self, key: &ActionKey) -> Result<Record> {
        let corrupt = || DocumentBarrierError::Corrupt(key.to_string());
        let found = self.collection.find_one(doc! {"_id": key.to_string()}).projection(doc! {"barrier": 1}).await?;
        // Only `purge` deletes, and only what is old: a record that refused an insert a moment ago is there.
        let found = found.ok_or_else(corrupt)?;
        let barrier = found.get_document("barrier").map_err(|_| corrupt())?;
        let text = |field| barrier.get_str(field).ok();
        let answer = text("answer").map(serde_json::from_str::<Value>).transpose().map_err(|_| corrupt())?;
        match (text("state"), text("fingerprint"), answer) {
            (Some("done"), Some(fingerprint), Some(answer)) => {
                Ok(Record::Done { fingerprint: fingerprint.to_owned(), answer })
            }
            (Some("refused"), Some(fingerprint), Some(answer)) => {
                Ok(Record::Refused { fingerprint: fingerprint.to_owned(), answer })
            }
            (Some("tombstone"), _, answer) => Ok(Record::Tombstone { answer }),
            _ => Err(corrupt()),
        }
    }
}

fn tombstone(now: Timestamp) -> Document {
    doc! {"state": "tombstone", "created_at": now.as_micros(), "updated_at": now.as_micros()}
}

fn check(own: &Document) -> Result<()> {
    let reserved = |name: &&str| own.keys().any(|key| key == *name || key.starts_with(&format!("{name}.")));
    match ["_id", "barrier"].into_iter().find(|name| reserved(name)) {
        Some(name) => Err(DocumentBarrierError::Reserved(name)),
        None => Ok(()),
    }
}

fn is_duplicate_key(error: &Error) -> bool {
    match &*error.kind {
        ErrorKind::Command(command) => command.code == DUPLICATE_KEY,
        ErrorKind::Write(WriteFailure::WriteError(write)) => write.code == DUPLICATE_KEY,
        _ => false,
    }
}
