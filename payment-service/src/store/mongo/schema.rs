//! The collection, its validation and its indexes: made at start-up, by every replica, as often as it likes.
//!
//! The service's user needs `readWrite`; `dbAdmin` only to change the validation of a collection that an older version made.

use mongodb::{
    Collection, Database, IndexModel,
    bson::{self, doc},
    error::{Error, ErrorKind},
    options::{IndexOptions, ValidationAction, ValidationLevel},
};

use super::{PAYMENTS, WEBHOOK_DELIVERIES};
use crate::{
    domain::Status,
    events::EventType,
    store::{
        StoreError,
        document::{AUTHORIZE, Document, PAYMENT, TOMBSTONE, webhook::DeliveryDocument},
    },
};
use amends_webhooks::delivery::DeliveryState;

const NAMESPACE_EXISTS: i32 = 48;

/// What a document must be. The rules repeat what the domain guarantees: a mistake in it, or a hand in the database, stops here
/// instead of becoming money.
fn validator() -> bson::Document {
    let statuses: Vec<&str> = Status::ALL.iter().map(|status| status.name()).collect();
    let text = || doc! { "bsonType": "string", "minLength": 1 };
    let minor = || doc! { "bsonType": "long", "minimum": 0_i64 };
    let time = || doc! { "bsonType": "long" };
    let refund = doc! {
        "bsonType": "object",
        "required": ["key", "amount_minor", "at", "state"],
        "properties": {
            "key": text(),
            "amount_minor": { "bsonType": "long", "minimum": 1_i64 },
            "at": time(),
            "state": { "enum": ["pending", "done", "refused"] },
        },
    };
    let ending = doc! {
        "bsonType": "object",
        "required": ["key", "fingerprint", "at", "verb", "state"],
        "properties": {
            "key": text(),
            "fingerprint": text(),
            "at": time(),
            "verb": { "enum": ["capture", "void"] },
            "amount_minor": { "bsonType": "long", "minimum": 1_i64 },
            "state": { "enum": ["pending", "done", "refused"] },
        },
    };
    let hold = doc! {
        "bsonType": "object",
        "required": ["amount_minor", "receipt", "at", "endings"],
        "properties": {
            "amount_minor": { "bsonType": "long", "minimum": 1_i64 },
            "receipt": text(),
            "at": time(),
            "endings": { "bsonType": "array", "items": ending },
        },
    };
    let event = doc! {
        "bsonType": "object",
        "required": ["id", "kind", "at", "body"],
        "properties": { "id": text(), "kind": { "enum": event_kinds() }, "at": time(), "body": text() },
    };
    doc! { "$and": [
        { "$jsonSchema": {
            "bsonType": "object",
            "required": ["_id", "kind", "payment_id", "version", "created_at", "updated_at"],
            "properties": {
                "_id": text(),
                "payment_id": text(),
                "version": { "bsonType": "long", "minimum": 1_i64 },
                "created_at": time(),
                "updated_at": time(),
                "closed_at": time(),
            },
            "oneOf": [
                { "required": ["closed_at"], "properties": { "kind": { "enum": [TOMBSTONE] } } },
                {
                    "required": [
                        "fingerprint", "order_id", "customer_id", "payment_method", "amount_minor", "currency", "status",
                        "captured_minor", "refunded_minor", "refunds",
                    ],
                    "properties": {
                        "kind": { "enum": [PAYMENT] },
                        "fingerprint": { "bsonType": "string", "pattern": "^[0-9a-f]{64}$" },
                        "order_id": text(),
                        "customer_id": text(),
                        "payment_method": text(),
                        "amount_minor": { "bsonType": "long", "minimum": 1_i64 },
                        "currency": { "bsonType": "string", "pattern": "^[A-Z]{3}$" },
                        "status": { "enum": statuses },
                        "captured_minor": minor(),
                        "refunded_minor": minor(),
                        "refunds": { "bsonType": "array", "items": refund },
                        "mode": { "enum": [AUTHORIZE] },
                        "hold": hold,
                        "outbox": { "bsonType": "array", "items": event },
                    },
                },
            ],
        } },
        // Never more taken than asked for, never more given back than taken. Absent fields (a tombstone's) compare as equal.
        { "$expr": { "$and": [
            { "$lte": ["$captured_minor", "$amount_minor"] },
            { "$lte": ["$refunded_minor", "$captured_minor"] },
            { "$lte": ["$hold.amount_minor", "$amount_minor"] },
        ] } },
    ] }
}

fn indexes() -> Vec<IndexModel> {
    let unique = || IndexOptions::builder().unique(true);
    let by = |field: &str| IndexModel::builder().keys(doc! { field: 1, "payment_id": 1 }).build();
    // Partial, because a unique index counts a missing key as a key.
    let keys = |field: &str| {
        let where_given = unique().partial_filter_expression(doc! { field: { "$exists": true } }).build();
        IndexModel::builder().keys(doc! { field: 1 }).options(where_given).build()
    };
    vec![
        IndexModel::builder().keys(doc! { "payment_id": 1 }).options(unique().build()).build(),
        keys("refunds.key"),
        keys("hold.endings.key"),
        // Listing is always in the order of ids, so each index ends with it.
        by("order_id"),
        by("customer_id"),
        by("status"),
        by("created_at"),
        // Holds only payments that something is to be told of, for the moment until it is.
        IndexModel::builder()
            .keys(doc! { "outbox.at": 1 })
            .options(
                IndexOptions::builder().partial_filter_expression(doc! { "outbox.at": { "$exists": true } }).build(),
            )
            .build(),
    ]
}

fn event_kinds() -> Vec<&'static str> {
    EventType::ALL.iter().map(|kind| kind.name()).collect()
}

/// What a delivery must be.
fn delivery_validator() -> bson::Document {
    let states: Vec<&str> = DeliveryState::ALL.iter().map(|state| state.name()).collect();
    let text = || doc! { "bsonType": "string", "minLength": 1 };
    let time = || doc! { "bsonType": "long" };
    let count = || doc! { "bsonType": "long", "minimum": 0_i64 };
    doc! { "$jsonSchema": {
        "bsonType": "object",
        "required": [
            "_id", "event_id", "endpoint", "kind", "payment_id", "order_id", "body", "created_at", "began_at", "state", "due_at",
            "leased", "attempts", "tries",
        ],
        "properties": {
            "_id": text(),
            "event_id": text(),
            "endpoint": text(),
            "kind": { "enum": event_kinds() },
            "payment_id": text(),
            "order_id": text(),
            "body": text(),
            "created_at": time(),
            "began_at": time(),
            "state": { "enum": states },
            "due_at": time(),
            "leased": { "bsonType": "bool" },
            "attempts": count(),
            "tries": count(),
            "attempted_at": time(),
            "answer": text(),
            "done_at": time(),
        },
    } }
}

fn delivery_indexes() -> Vec<IndexModel> {
    let pending = doc! { "state": DeliveryState::Pending.name() };
    // Only what is pending is looked for by time: these stay small, however much was delivered.
    let waiting = |field: &str| {
        IndexModel::builder()
            .keys(doc! { "endpoint": 1, field: 1 })
            .options(IndexOptions::builder().partial_filter_expression(pending.clone()).build())
            .build()
    };
    let by = |field: &str| IndexModel::builder().keys(doc! { field: 1, "_id": -1 }).build();
    vec![
        waiting("due_at"),
        waiting("began_at"),
        by("state"),
        by("endpoint"),
        by("order_id"),
        IndexModel::builder().keys(doc! { "done_at": 1 }).options(IndexOptions::builder().sparse(true).build()).build(),
    ]
}

pub(super) async fn migrate(
    database: &Database,
    payments: &Collection<Document>,
    deliveries: &Collection<DeliveryDocument>,
) -> Result<(), StoreError> {
    validated(database, PAYMENTS, validator()).await?;
    payments.create_indexes(indexes()).await?;
    validated(database, WEBHOOK_DELIVERIES, delivery_validator()).await?;
    deliveries.create_indexes(delivery_indexes()).await?;
    Ok(())
}

/// Makes the collection, or brings its validation up to date.
async fn validated(database: &Database, name: &str, validator: bson::Document) -> Result<(), StoreError> {
    let created = database
        .create_collection(name)
        .validator(validator.clone())
        .validation_level(ValidationLevel::Strict)
        .validation_action(ValidationAction::Error)
        .await;
    match created {
        Ok(()) => Ok(()),
        Err(error) if is_namespace_exists(&error) => update_validator(database, name, validator).await,
        Err(error) => Err(error.into()),
    }
}

/// Changes the validation where it is not as it should be: asking first spares the service's user a privilege.
async fn update_validator(database: &Database, name: &str, wanted: bson::Document) -> Result<(), StoreError> {
    use futures::TryStreamExt as _;
    let mut listed = database.list_collections().filter(doc! { "name": name }).await?;
    while let Some(collection) = listed.try_next().await? {
        if collection.options.validator.as_ref() == Some(&wanted) {
            return Ok(());
        }
    }
    let change =
        doc! { "collMod": name, "validator": wanted, "validationLevel": "strict", "validationAction": "error" };
    database.run_command(change).await?;
    Ok(())
}

fn is_namespace_exists(error: &Error) -> bool {
    matches!(&*error.kind, ErrorKind::Command(command) if command.code == NAMESPACE_EXISTS)
}
