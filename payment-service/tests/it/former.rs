//! Books that an earlier version kept beside the payments, taken over by the acquirer's own store, whatever cuts that off.

use std::{
    future::{Future, poll_fn},
    sync::Arc,
    task::Poll,
};

use acquirer::{
    domain::{CaptureAsk, ChargeAsk, Entry, Key, Method, RefundAsk, Rules},
    ledger::encode,
    store::{FormerLine, SqlLedger},
};
use amends_sql::{Database, Options};
use mongodb::bson::{Document, doc};
use payment_service::{
    Config,
    config::ProcessorKind,
    processor::{ChargeOutcome, PaymentProcessor as _, simulated::SimulatedProcessor},
};
use sqlx::AssertSqlSafe;

use crate::{
    service::config_at,
    support::{Place, eur, on_every_backend, rules, saga, step, their_key},
};

on_every_backend![
    old_books_are_taken_over_with_their_statement,
    a_cut_at_any_point_forgets_nothing,
    old_books_taken_over_and_not_removed_are_not_posted_twice,
    lines_that_changed_after_a_cut_are_taken_over_as_they_are,
    old_books_are_kept_where_the_acquirer_is_another_party,
    an_unreadable_line_is_taken_over_as_it_is,
];

/// More than two pages of them.
const LIVES: usize = 60;
const EACH: usize = 8;

fn after<T>((_, next): (T, Option<Entry>)) -> Entry {
    next.unwrap()
}

/// One line of each kind.
fn life() -> [Entry; EACH] {
    let key = || their_key(&step(saga(), "charge_payment"));
    let method = |name| Method::try_new(name).unwrap();
    let ask = |hold, name| ChargeAsk { key: key(), hold, amount: eur(500), method: method(name) };
    let opened = |hold, name| Entry::opened(&ask(hold, name), &Rules { flaky_failures: 2, ..rules() });
    let refund = |of: &Entry, minor| RefundAsk { key: key(), charge: of.key.clone(), amount: eur(minor) };
    let capture = |of: &Entry| CaptureAsk { key: key(), authorization: of.key.clone(), amount: eur(300) };
    let captured = opened(false, "pm_ok");
    let refunded = after(captured.refund(&refund(&captured, 100)));
    let held = opened(true, "pm_ok");
    let taken = opened(true, "pm_ok");
    let taken = after(taken.capture(&capture(&taken)));
    let given_back = after(taken.refund(&refund(&taken, 300)));
    [
        opened(false, "pm_ok"),
        after(refunded.refund(&refund(&captured, 150))),
        held,
        given_back,
        opened(false, "pm_declined"),
        opened(true, "pm_insufficient_funds"),
        opened(false, "pm_flaky"),
        Entry::voided(key()),
    ]
}

fn lives() -> Vec<Entry> {
    (0..LIVES).flat_map(|_| life()).collect()
}

fn lines_of(entries: &[Entry]) -> Vec<FormerLine> {
    let line =
        |entry: &Entry| FormerLine { key: entry.key.to_string(), version: entry.version, line: encode(entry).unwrap() };
    entries.iter().map(line).collect()
}

/// Writes the books as the earlier version did.
async fn keep_as_before(place: &Place, lines: &[FormerLine]) {
    match place {
        Place::Sqlite(_) => {
            let database = payments_file(place);
            let values: Vec<String> =
                lines.iter().map(|it| format!("('{}', {}, '{}')", it.key, it.version, it.line)).collect();
            for sql in [
                "CREATE TABLE simulated_processor (idempotency_key TEXT NOT NULL PRIMARY KEY, version BIGINT NOT NULL, \
                 line TEXT NOT NULL)"
                    .to_owned(),
                "CREATE TABLE _simulated_processor_migrations (version BIGINT)".to_owned(),
                format!("INSERT INTO simulated_processor VALUES {}", values.join(", ")),
            ] {
                sqlx::query(AssertSqlSafe(sql)).execute(database.writer()).await.unwrap();
            }
            database.close().await;
        }
        Place::Mongo { uri, database, .. } => {
            let client = mongodb::Client::with_uri_str(uri).await.unwrap();
            let old = client.database(database).collection::<Document>("simulated_processor");
            let document = |it: &FormerLine| doc! { "_id": &it.key, "version": it.version, "entry": &it.line };
            old.insert_many(lines.iter().map(document)).await.unwrap();
        }
    }
}

fn payments_file(place: &Place) -> Database {
    Database::connect_lazy(config_at(place).database.url.expose(), &Options::default()).unwrap()
}

/// How many lines the earlier version would find.
async fn left_as_before(place: &Place) -> u64 {
    match place {
        Place::Sqlite(_) => {
            let database = payments_file(place);
            let sql = "SELECT COUNT(*) FROM sqlite_schema WHERE name LIKE '%simulated_processor%'";
            let (tables,): (i64,) = sqlx::query_as(sql).fetch_one(database.reader()).await.unwrap();
            database.close().await;
            tables.unsigned_abs()
        }
        Place::Mongo { uri, database, .. } => {
            let client = mongodb::Client::with_uri_str(uri).await.unwrap();
            let old = client.database(database).collection::<Document>("simulated_processor");
            old.count_documents(doc! {}).await.unwrap()
        }
    }
}

async fn started(config: &Config) {
    payment_service::migrate(config).await.unwrap();
}

/// Every line is as it was, and the statement has each of its movements once, without a gap.
async fn assert_taken_over(place: &Place, entries: &[Entry]) -> SqlLedger {
    assert_eq!(left_as_before(place).await, 0);
    let ledger = place.ledger().await;
    for entry in entries {
        assert_eq!(ledger.load(&entry.key).await.unwrap().as_ref(), Some(entry));
    }
    let lines = ledger.lines("", None, u32::MAX).await.unwrap();
    assert_eq!(lines.iter().filter(|line| line.entry.is_ok()).count(), entries.len());
    let mut posted = Vec::new();
    loop {
        let page = ledger.movements(i64::try_from(posted.len()).unwrap(), u32::MAX).await.unwrap();
        if page.is_empty() {
            break;
        }
        posted.extend(page);
    }
    assert!(posted.iter().zip(1..).all(|(posted, place)| posted.seq == place));
    let mut posted: Vec<_> = posted.into_iter().map(|posted| posted.movement).collect();
    let mut moved: Vec<_> = entries.iter().flat_map(Entry::movements).collect();
    let by_key = |a: &acquirer::domain::Movement, b: &acquirer::domain::Movement| a.key.cmp(&b.key);
    posted.sort_by(by_key);
    moved.sort_by(by_key);
    assert_eq!(posted, moved);
    ledger
}

async fn old_books_are_taken_over_with_their_statement(place: &Place) {
    let entries = lives();
    keep_as_before(place, &lines_of(&entries)).await;
    let config = config_at(place);
    for _ in 0..2 {
        started(&config).await;
    }
    let ledger = assert_taken_over(place, &entries).await;
    // What was charged before is answered as it was.
    let charge = step(saga(), "charge_payment");
    let processor = SimulatedProcessor::new(ledger, rules());
    let known = payment_service::processor::ChargeAsk {
        key: entries[0].key.as_str().parse().unwrap(),
        amount: eur(500),
        method: payment_service::domain::PaymentMethod::try_new("pm_ok").unwrap(),
    };
    assert!(matches!(processor.charge(&known).await, ChargeOutcome::Captured { .. }));
    let other = payment_service::processor::ChargeAsk { amount: eur(501), ..known.clone() };
    assert!(matches!(processor.charge(&other).await, ChargeOutcome::Unknown(_)), "the key is of another charge");
    let new = payment_service::processor::ChargeAsk { key: charge, ..known };
    assert!(matches!(processor.charge(&new).await, ChargeOutcome::Captured { .. }));
}

/// The first `polls` of a future, as far as it comes in them.
async fn cut_after<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let (mut future, mut left) = (Box::pin(future), polls);
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

async fn a_cut_at_any_point_forgets_nothing(place: &Place) {
    let entries = lives();
    keep_as_before(place, &lines_of(&entries)).await;
    let config = Arc::new(config_at(place));
    let mut polls = 1;
    while !matches!(cut_after(polls, payment_service::migrate(&config)).await, Some(Ok(()))) {
        polls += 5;
        assert!(polls < 10_000, "it never ends");
    }
    assert!(polls > 1, "nothing was cut");
    assert_taken_over(place, &entries).await;
}

async fn old_books_taken_over_and_not_removed_are_not_posted_twice(place: &Place) {
    let entries = lives();
    let lines = lines_of(&entries);
    keep_as_before(place, &lines).await;
    let ledger = place.ledger().await;
    ledger.take_over(&lines[..lines.len() / 3]).await.unwrap();
    ledger.take_over(&lines).await.unwrap();
    ledger.close().await;
    started(&config_at(place)).await;
    assert_taken_over(place, &entries).await;
}

async fn lines_that_changed_after_a_cut_are_taken_over_as_they_are(place: &Place) {
    let before = life();
    let ledger = place.ledger().await;
    ledger.take_over(&lines_of(&before)).await.unwrap();
    ledger.close().await;
    let mut now = before;
    // An earlier version, started again after the cut, gave money back, took what was held, and released what was failing.
    let refund = |of: &Entry, minor| RefundAsk {
        key: their_key(&step(saga(), "refund")),
        charge: of.key.clone(),
        amount: eur(minor),
    };
    for index in [0, 1] {
        now[index] = after(now[index].refund(&refund(&now[index], 50)));
    }
    let key = their_key(&step(saga(), "capture"));
    now[2] = after(now[2].capture(&CaptureAsk { key, authorization: now[2].key.clone(), amount: eur(300) }));
    now[6] = after(now[6].void());
    keep_as_before(place, &lines_of(&now)).await;
    started(&config_at(place)).await;
    assert_taken_over(place, &now).await;
}

async fn old_books_are_kept_where_the_acquirer_is_another_party(place: &Place) {
    let mut config = config_at(place);
    config.processor.kind = ProcessorKind::Http;
    started(&config).await;
    let file = amends_sql::claim::sqlite_file(&place.ledger_url()).unwrap();
    assert!(!file.exists(), "there is nothing to keep");
    let entries = life();
    keep_as_before(place, &lines_of(&entries)).await;
    started(&config).await;
    if let Place::Mongo { .. } = place {
        assert!(!file.exists(), "replicas share what is in MongoDB: none of them takes it to its own disk");
        assert_ne!(left_as_before(place).await, 0);
        config.processor.kind = ProcessorKind::Simulated;
        started(&config).await;
    }
    assert_taken_over(place, &entries).await;
}

async fn an_unreadable_line_is_taken_over_as_it_is(place: &Place) {
    let entries = life();
    let mut lines = lines_of(&entries);
    lines.push(FormerLine { key: "spoilt".to_owned(), version: 1, line: "nonsense".to_owned() });
    keep_as_before(place, &lines).await;
    started(&config_at(place)).await;
    let ledger = assert_taken_over(place, &entries).await;
    assert!(ledger.line("spoilt").await.unwrap().unwrap().entry.is_err());
    assert!(ledger.load(&Key::try_new("spoilt").unwrap()).await.is_err(), "it is not charged anew");
}
