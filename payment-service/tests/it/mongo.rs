//! What only MongoDB does: validation, and servers that go away.

use std::time::{Duration, Instant};

use mongodb::bson::doc;
use payment_service::{
    app::{Error, Failure},
    domain::Status,
    store::{
        PaymentStore, StoreError,
        mongo::{MongoOptions, MongoStore},
    },
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::support::{Place, World, charge_of, mongo, mongo_options};

#[tokio::test]
async fn a_hand_in_the_database_cannot_make_money() {
    let Some(place) = mongo().await else { return };
    let world = place.world().await;
    let payment = world.payments.charge(&charge_of(100, "pm_ok")).await.unwrap();
    let Place::Mongo { uri, database, .. } = &place else { unreachable!() };
    let client = mongodb::Client::with_uri_str(uri).await.unwrap();
    let collection = client.database(database).collection::<mongodb::bson::Document>("payments");
    let of_payment = doc! { "payment_id": payment.id.to_string() };
    for (wrong, set) in [
        ("more given back than taken", doc! { "refunded_minor": 101_i64 }),
        ("more taken than asked for", doc! { "captured_minor": 101_i64 }),
        ("less than nothing", doc! { "refunded_minor": -1_i64 }),
        ("a fraction", doc! { "captured_minor": 99.5 }),
        ("no state", doc! { "status": "paid" }),
        ("no kind", doc! { "kind": "gift" }),
        ("no fingerprint", doc! { "fingerprint": "?" }),
        ("no currency", doc! { "currency": "euro" }),
        (
            "a refund of nothing",
            doc! { "refunds": [{ "key": "k", "amount_minor": 0_i64, "at": 1_i64, "state": "done" }] },
        ),
        ("no mode", doc! { "mode": "gift" }),
        ("more held than asked for", doc! { "hold": hold(101, "void") }),
        ("a hold of nothing", doc! { "hold": hold(0, "void") }),
        ("a hold that ends otherwise", doc! { "hold": hold(100, "gift") }),
    ] {
        let refused = collection.update_one(of_payment.clone(), doc! { "$set": set }).await;
        assert!(refused.is_err(), "{wrong} was let in");
    }
    let right = collection.update_one(of_payment, doc! { "$set": { "hold": hold(100, "void") } }).await;
    assert!(right.is_ok(), "{right:?}");
    let unset = doc! { "$unset": { "hold": "" } };
    collection.update_one(doc! { "payment_id": payment.id.to_string() }, unset).await.unwrap();
    assert!(collection.insert_one(doc! { "_id": "x", "kind": "payment" }).await.is_err());
    assert_eq!(world.payments.get(payment.id).await.unwrap(), payment);
    place.clean().await;
}

fn hold(amount_minor: i64, verb: &str) -> mongodb::bson::Document {
    let ending = doc! { "key": "k", "fingerprint": "f", "at": 1_i64, "verb": verb, "state": "pending" };
    doc! { "amount_minor": amount_minor, "receipt": "r", "at": 1_i64, "endings": [ending] }
}

#[tokio::test]
async fn an_older_validation_is_replaced() {
    let Some(place) = mongo().await else { return };
    let Place::Mongo { uri, database, .. } = &place else { unreachable!() };
    let client = mongodb::Client::with_uri_str(uri).await.unwrap();
    client.database(database).create_collection("payments").await.unwrap();
    place.open().await;
    let collection = client.database(database).collection::<mongodb::bson::Document>("payments");
    assert!(collection.insert_one(doc! { "_id": "x", "kind": "payment" }).await.is_err());
    place.clean().await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable_within_its_bound() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap(); // and dropped
    let options = MongoOptions { server_selection_timeout: Duration::from_millis(300), ..mongo_options() };
    let uri = format!("mongodb://{closed}/");
    let store = MongoStore::open(&uri.into(), "amends", &options).await.unwrap();
    let begun = Instant::now();
    let refused = store.ping().await.unwrap_err();
    assert!(refused.is_transient() && matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_uri_that_is_none_says_so_and_keeps_its_password() {
    for uri in ["postgres://user:hunter2@host/db", "mongodb://user:hunter2@host:notaport/db"] {
        let error = MongoStore::open(&uri.to_owned().into(), "amends", &mongo_options()).await.map(|_| ()).unwrap_err();
        assert!(matches!(error, StoreError::Misconfigured(_)), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}

/// Between us and the server: can be cut and repaired.
pub(crate) struct Proxy {
    pub(crate) uri: String,
    pub(crate) open: watch::Sender<bool>,
}

impl Proxy {
    /// To the test server.
    pub(crate) async fn to_the_server() -> Self {
        let options = mongodb::options::ClientOptions::parse(amends_testing::mongodb().unwrap()).await.unwrap();
        let server = options.hosts[0].to_string();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("mongodb://{}/?directConnection=true", listener.local_addr().unwrap());
        let (open, is_open) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((mut here, _)) = listener.accept().await {
                let (server, mut is_open) = (server.clone(), is_open.clone());
                if !*is_open.borrow() {
                    continue; // dropped: the connection is closed at once
                }
                tokio::spawn(async move {
                    let mut there = TcpStream::connect(server).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut here, &mut there) => {}
                        _ = is_open.wait_for(|open| !open) => {}
                    }
                });
            }
        });
        Self { uri, open }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_server_is_unavailable_and_found_when_it_returns() {
    let Some(place) = mongo().await else { return };
    let Place::Mongo { database, .. } = &place else { unreachable!() };
    let proxy = Proxy::to_the_server().await;
    let options = MongoOptions { server_selection_timeout: Duration::from_millis(500), ..mongo_options() };
    let store = MongoStore::open(&proxy.uri.clone().into(), database, &options).await.unwrap();
    let world = World::new(crate::support::Opened::of(store, place.ledger().await).await);
    let before = charge_of(100, "pm_ok");
    world.payments.charge(&before).await.unwrap();

    proxy.open.send(false).unwrap();
    let during = charge_of(100, "pm_ok");
    for _ in 0..2 {
        let begun = Instant::now();
        let failed = world.payments.charge(&during).await;
        assert!(matches!(failed, Err(Error::Failed(Failure::Store(StoreError::Unavailable(_))))), "{failed:?}");
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    }

    proxy.open.send(true).unwrap();
    let mut tries = 0;
    while world.payments.charge(&during).await.is_err() {
        tries += 1;
        assert!(tries < 100, "not found again");
    }
    for charge in [&before, &during] {
        assert_eq!(world.payments.charge(charge).await.unwrap().status(), Status::Captured);
        assert_eq!(world.ledger_of(&charge.key).await, (100, 0));
    }
    place.clean().await;
}
