//! Payments in MongoDB: one document per payment, keyed by the charge's step key. Barrier,
//! fingerprint and state are in that one document, so each change is one atomic compare-and-set, and no multi-document transaction
//! is needed: a replica set and a standalone serve alike.
//!
//! What is acknowledged is on the disks of a majority (`w: majority, j: true`); what is read cannot be rolled back
//! (`readConcern: majority`, from the primary). Writes are retried once by the driver under a transaction number, where the
//! deployment has them.
//!
//! Must not know: when a payment may change.

mod audit;
mod error;
mod former;
mod schema;
mod webhooks;

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use amends_primitives::PaymentId;
use async_trait::async_trait;
use futures::TryStreamExt as _;
use mongodb::{
    Client, Collection, Database,
    bson::{self, doc},
    options::{Acknowledgment, ClientOptions, ReadConcern, ReadPreference, SelectionCriteria, WriteConcern},
};
use parking_lot::Mutex;
use secrecy::{ExposeSecret as _, SecretString};

use self::error::is_duplicate_key;
use super::{
    Claimed, ListQuery, PAGE_SIZE_MAX, Page, PaymentStore, StoreError, Swapped,
    document::{Document, PAYMENT, webhook::DeliveryDocument},
};
use crate::domain::{Payment, Record, StepKey};
use amends_webhooks::event::Outgoing;

pub use webhooks::WEBHOOK_DELIVERIES;

/// The collection of payments.
pub const PAYMENTS: &str = "payments";
/// The collection in which earlier versions kept the books of the simulated acquirer.
const SIMULATED_PROCESSOR: &str = "simulated_processor";

/// The collection whose one document is written to see whether the store can be.
const READINESS: &str = "readiness";
/// For how long a write of that document shows that it can: a probe each second then costs a write each five.
const WRITE_SHOWS: Duration = Duration::from_secs(5);

/// Bounds of the connection.
#[derive(Debug, Clone)]
pub struct MongoOptions {
    /// Connections per server at the most.
    pub connections_max: u32,
    /// How long a call waits for a primary; also for a connection.
    pub server_selection_timeout: Duration,
    /// How long a call may take in all.
    pub operation_timeout: Duration,
}

/// A MongoDB database. Clones share its connections.
#[derive(Clone)]
pub struct MongoStore {
    client: Client,
    database: Database,
    payments: Collection<Document>,
    deliveries: Collection<DeliveryDocument>,
    bound: Duration,
    /// When the store was last seen to take a write.
    written: Arc<Mutex<Option<Instant>>>,
}

impl MongoStore {
    /// Prepares the connections; servers are connected to at the first call.
    ///
    /// # Errors
    /// When the URI is not one of MongoDB's. The URI is not repeated: it may hold a password.
    pub async fn open(uri: &SecretString, database: &str, options: &MongoOptions) -> Result<Self, StoreError> {
        let mut client_options = ClientOptions::parse(uri.expose_secret()).await?;
        client_options.app_name.get_or_insert_with(|| "amends-payment".to_owned());
        client_options.max_pool_size = Some(options.connections_max);
        client_options.server_selection_timeout = Some(options.server_selection_timeout);
        client_options.connect_timeout = Some(options.server_selection_timeout);
        client_options.retry_writes = Some(true);
        client_options.retry_reads = Some(true);
        // Money is not left to the URI: whatever it says about these is overruled.
        client_options.read_concern = Some(ReadConcern::majority());
        client_options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
        client_options.write_concern = Some(
            WriteConcern::builder()
                .w(Acknowledgment::Majority)
                .journal(true)
                .w_timeout(options.operation_timeout)
                .build(),
        );
        let client = Client::with_options(client_options)?;
        let database = client.database(database);
        Ok(Self {
            payments: database.collection(PAYMENTS),
            deliveries: database.collection(WEBHOOK_DELIVERIES),
            client,
            database,
            bound: options.operation_timeout,
            written: Arc::default(),
        })
    }

    /// Ends a call that takes too long. A write cut short may or may not have happened.
    async fn bounded<T>(
        &self,
        call: impl Future<Output = Result<T, mongodb::error::Error>> + Send,
    ) -> Result<T, mongodb::error::Error> {
        tokio::time::timeout(self.bound, call).await.unwrap_or_else(|_elapsed| {
            Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer within the operation's bound").into())
        })
    }

    /// What is on record under `key` now: the newest state, and as durable as a write. An update that changes nothing (no version
    /// is below 1) still waits for the write concern, and what is read after it is at least as new; a read alone could be of a
    /// moment ago, or of a primary that has been deposed.
    async fn newest(&self, key: &str) -> Result<Option<Document>, mongodb::error::Error> {
        self.bounded(async {
            self.payments.update_one(doc! { "_id": key }, doc! { "$max": { "version": 0_i64 } }).await?;
            self.payments.find_one(doc! { "_id": key }).await
        })
        .await
    }

    /// Removes the collections of this store, and what is in them.
    ///
    /// # Errors
    /// When the server does not answer, or does not allow it.
    pub async fn erase(&self) -> Result<(), StoreError> {
        for name in [PAYMENTS, SIMULATED_PROCESSOR, WEBHOOK_DELIVERIES] {
            let collection = self.database.collection::<bson::Document>(name);
            self.bounded(collection.drop().into_future()).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl PaymentStore for MongoStore {
    async fn migrate(&self) -> Result<(), StoreError> {
        schema::migrate(&self.database, &self.payments, &self.deliveries).await
    }

    async fn claim(&self, record: &Record) -> Result<Claimed, StoreError> {
        let document = Document::from(record);
        match self.bounded(self.payments.insert_one(&document).into_future()).await {
            Ok(_) => Ok(Claimed::First),
            // Nothing is ever deleted, so what has the key is there; another unique index has nothing to refuse in a new record.
            Err(error) if is_duplicate_key(&error) => {
                let taken = self.newest(&document.step_key).await?.ok_or(StoreError::Contended)?;
                Ok(Claimed::Taken(Box::new(taken.try_into()?)))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn load(&self, key: &StepKey) -> Result<Option<Record>, StoreError> {
        self.newest(&key.to_string()).await?.map(TryInto::try_into).transpose()
    }

    async fn find(&self, id: PaymentId) -> Result<Option<Payment>, StoreError> {
        let find = self.payments.find_one(doc! { "payment_id": id.to_string(), "kind": PAYMENT });
        match self.bounded(find.into_future()).await?.map(TryInto::try_into).transpose()? {
            Some(Record::Payment(payment)) => Ok(Some(payment)),
            Some(Record::Tombstone { .. }) | None => Ok(None),
        }
    }

    async fn swap_with_event(&self, next: &Payment, event: Option<&Outgoing>) -> Result<Swapped, StoreError> {
        let document = Document::from(next);
        let mut fields = bson::to_document(&document.state).map_err(|error| StoreError::Bug(Box::new(error)))?;
        fields.insert("version", document.version);
        fields.insert("updated_at", document.updated_at);
        if let Some(closed_at) = document.closed_at {
            fields.insert("closed_at", closed_at);
        }
        let filter = doc! { "_id": document.step_key, "version": document.version - 1, "kind": PAYMENT };
        let mut update = doc! { "$set": fields };
        if let Some(event) = event {
            update.insert("$push", webhooks::append(event)?);
        }
        // One atomic command on one document. `updateOne` and not `findOneAndUpdate`, which is the same with the document in its
        // answer: the caller has it, and the server would keep an image of it for the driver's retry.
        match self.bounded(self.payments.update_one(filter, update).into_future()).await {
            Ok(updated) => Ok(if updated.matched_count == 1 { Swapped::Done } else { Swapped::Lost }),
            // The only unique indexes a swap can touch are those on the keys of refunds and of endings.
            Err(error) if is_duplicate_key(&error) => Err(StoreError::StepKeyTaken),
            Err(error) => Err(error.into()),
        }
    }

    async fn list(&self, query: &ListQuery) -> Result<Page, StoreError> {
        let limit = query.limit.clamp(1, PAGE_SIZE_MAX);
        let mut filter = bson::Document::new();
        if let Some(order) = query.order_id {
            filter.insert("order_id", order.to_string());
        }
        if let Some(customer) = &query.customer_id {
            filter.insert("customer_id", customer.as_str());
        }
        if let Some(status) = query.status {
            filter.insert("status", status.name());
        }
        filter.insert("kind", PAYMENT);
        let sort = if query.by_time() {
            doc! { "created_at": 1, "payment_id": 1 }
        } else {
            doc! { "payment_id": 1 }
        };
        let mut span = bson::Document::new();
        if let Some(from) = query.created_from {
            span.insert("$gte", from.as_micros());
        }
        if let Some(before) = query.created_before {
            span.insert("$lt", before.as_micros());
        }
        // Only where a page goes on: a range that excludes nothing has kept a planner from the index on what is asked for.
        match query.after {
            None => {}
            Some(after) if query.by_time() => {
                // Of one time, the order of ids: a page goes on after both of the last one's.
                if let Some(last) = self.find(after).await? {
                    let at = last.created_at.as_micros();
                    let later = doc! { "created_at": { "$gt": at } };
                    let same_time = doc! { "created_at": at, "payment_id": { "$gt": after.to_string() } };
                    filter.insert("$or", vec![later, same_time]);
                    span.insert("$gte", at);
                }
            }
            Some(after) => {
                filter.insert("payment_id", doc! { "$gt": after.to_string() });
            }
        }
        if !span.is_empty() {
            filter.insert("created_at", span);
        }
        let found: Vec<Document> = self
            .bounded(async {
                // One more than asked for tells whether there is another page.
                let wanted = limit + 1;
                let cursor = self
                    .payments
                    .find(filter)
                    .sort(sort)
                    .limit(i64::from(wanted))
                    .batch_size(wanted)
                    .max_time(self.bound)
                    .await?;
                cursor.try_collect().await
            })
            .await?;
        let more = found.len() > limit as usize;
        let mut payments = Vec::with_capacity(found.len());
        for document in found.into_iter().take(limit as usize) {
            if let Record::Payment(payment) = document.try_into()? {
                payments.push(payment);
            }
        }
        Ok(Page { payments, more })
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.bounded(self.database.run_command(doc! { "ping": 1 }).into_future()).await?;
        // A primary whose disk is full, or which has lost its majority, answers this all the same.
        if self.written.lock().is_some_and(|at| at.elapsed() < WRITE_SHOWS) {
            return Ok(());
        }
        // Until it succeeds each call tests it.
        *self.written.lock() = None;
        let probes = self.database.collection::<bson::Document>(READINESS);
        let write = probes.update_one(doc! { "_id": "readiness" }, doc! { "$inc": { "probes": 1_i64 } }).upsert(true);
        self.bounded(write.into_future()).await?;
        *self.written.lock() = Some(Instant::now());
        Ok(())
    }

    async fn close(&self) {
        self.client.clone().shutdown().immediate(true).await;
    }
}
