//! Stores of their own for each test, and the words that tests are written in.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use amends_primitives::{Clock, Currency, ManualClock, Money, OrderId, RandomIds, SagaId, SystemClock, Timestamp};
use amends_sql::sqlite_url;
use amends_webhooks::{outbox::Outbox, store::WebhookStore};
use futures::future::join_all;
use payment_service::{
    app::{Error, Payments},
    domain::{
        Charge, CustomerId, Fingerprint, Mode, Payment, PaymentMethod, RefundAsked, Rejection, SettlementAsked,
        SettlementVerb, StepKey,
    },
    metrics::Attempts,
    processor::{
        PaymentProcessor,
        simulated::{Rules, SimulatedProcessor, SqlLedger},
    },
    store::{
        ListQuery, PAGE_SIZE_MAX, PaymentStore,
        audit::AuditStore,
        mongo::{MongoOptions, MongoStore},
        sqlite::SqliteStore,
    },
};
use service_base::metrics::Metrics;
use uuid::Uuid;

/// Runs each case on every backend, each on a store of its own.
macro_rules! on_every_backend {
    ($($case:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                if let Some(place) = crate::support::sqlite().await {
                    super::$case(&place).await;
                    place.clean().await;
                }
            })+
        }
        mod on_mongodb {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                if let Some(place) = crate::support::mongo().await {
                    super::$case(&place).await;
                    place.clean().await;
                }
            })+
        }
    };
}
pub(crate) use on_every_backend;

/// As many as an impatient caller and its load balancer can produce.
pub(crate) const REPEATS: usize = 64;

/// `REPEATS` calls at once.
pub(crate) async fn repeat<F, T>(payments: &Payments, call: impl Fn(Payments) -> F) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let calls: Vec<_> = (0..REPEATS).map(|_| tokio::spawn(call(payments.clone()))).collect();
    join_all(calls).await.into_iter().map(Result::unwrap).collect()
}

/// Where one test's data is. It can be opened again, as after a restart.
pub(crate) enum Place {
    Sqlite(tempfile::TempDir),
    /// The folder is the acquirer's.
    Mongo {
        uri: String,
        database: String,
        dir: tempfile::TempDir,
    },
}

/// What is in that folder.
pub(crate) fn place_in(dir: tempfile::TempDir) -> Place {
    Place::Sqlite(dir)
}

pub(crate) async fn sqlite() -> Option<Place> {
    Some(Place::Sqlite(tempfile::tempdir().unwrap()))
}

/// `None` where the run is asked to do without servers.
pub(crate) async fn mongo() -> Option<Place> {
    let uri = amends_testing::mongodb()?;
    let now = SystemClock.now().as_micros();
    let database = format!("amends_test_{}_{now}_{}", std::process::id(), next_number());
    Some(Place::Mongo { uri, database, dir: tempfile::tempdir().unwrap() })
}

/// How often races are run: one miss in a thousand is a miss. `AMENDS_CONFORMANCE_ROUNDS`, 3 where it is not set.
#[expect(clippy::disallowed_methods, reason = "tests are told by the environment how long to look")]
pub(crate) fn rounds() -> u32 {
    match std::env::var("AMENDS_CONFORMANCE_ROUNDS") {
        // A mistake here must not look like a thousand rounds that passed.
        Ok(rounds) => rounds.parse::<std::num::NonZeroU32>().expect("AMENDS_CONFORMANCE_ROUNDS must be a number").get(),
        Err(_) => 3,
    }
}

fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::SeqCst)
}

pub(crate) fn sqlite_options() -> amends_sql::Options {
    amends_sql::Options { statement_timeout: Duration::from_secs(20), ..Default::default() }
}

pub(crate) fn mongo_options() -> MongoOptions {
    MongoOptions {
        connections_max: 32,
        server_selection_timeout: Duration::from_secs(2),
        // Generous: the test server syncs each of 64 concurrent writes on its own, on a machine that is busy compiling.
        operation_timeout: Duration::from_secs(20),
    }
}

impl Place {
    /// Opens the store and the acquirer's ledger, as a starting process does.
    pub(crate) async fn open(&self) -> Opened {
        match self {
            Self::Sqlite(dir) => {
                let url = sqlite_url(&dir.path().join("payment.db")).unwrap();
                Opened::of(SqliteStore::open(&url, &sqlite_options()).unwrap(), self.ledger().await).await
            }
            Self::Mongo { uri, database, .. } => {
                let store = MongoStore::open(&uri.clone().into(), database, &mongo_options()).await.unwrap();
                Opened::of(store, self.ledger().await).await
            }
        }
    }

    /// Where the acquirer's ledger is.
    pub(crate) fn ledger_url(&self) -> String {
        let (Self::Sqlite(dir) | Self::Mongo { dir, .. }) = self;
        sqlite_url(&dir.path().join("acquirer.db")).unwrap()
    }

    /// Opens the acquirer's ledger.
    pub(crate) async fn ledger(&self) -> SqlLedger {
        let ledger = SqlLedger::open(&self.ledger_url(), &sqlite_options(), Arc::new(SystemClock)).unwrap();
        ledger.migrate(Duration::ZERO).await.unwrap();
        ledger
    }

    pub(crate) async fn world(&self) -> World {
        World::new(self.open().await)
    }

    /// Removes what the test left. Not in `drop`: it must wait.
    pub(crate) async fn clean(self) {
        if let Self::Mongo { uri, database, .. } = &self {
            let client = mongodb::Client::with_uri_str(uri).await.unwrap();
            client.database(database).drop().await.unwrap();
        }
    }
}

#[derive(Clone)]
pub(crate) struct Opened {
    pub(crate) store: Arc<dyn PaymentStore>,
    pub(crate) ledger: SqlLedger,
    pub(crate) webhooks: Arc<dyn WebhookStore<Error = payment_service::store::StoreError>>,
    pub(crate) audit: Arc<dyn AuditStore>,
}

impl Opened {
    pub(crate) async fn of<
        S: PaymentStore + WebhookStore<Error = payment_service::store::StoreError> + AuditStore + Clone,
    >(
        store: S,
        ledger: SqlLedger,
    ) -> Self {
        store.migrate().await.unwrap();
        Self { store: Arc::new(store.clone()), ledger, webhooks: Arc::new(store.clone()), audit: Arc::new(store) }
    }
}

pub(crate) fn rules() -> Rules {
    Rules { amount_limit_minor: 100_000, hang: Duration::from_hours(1), flaky_failures: 1 }
}

/// The use cases on a store, and the ledger beside them to check against.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) opened: Opened,
    pub(crate) payments: Payments,
}

impl World {
    pub(crate) fn new(opened: Opened) -> Self {
        let processor = Arc::new(SimulatedProcessor::new(opened.ledger.clone(), rules()));
        let payments = payments(Arc::clone(&opened.store), processor);
        Self { opened, payments }
    }

    /// Compensates until it is certain, as a saga does.
    pub(crate) async fn compensate_until_done(&self, key: &StepKey) {
        for _ in 0..100 {
            if self.payments.compensate_charge(key).await.is_ok() {
                return;
            }
        }
        panic!("{key} is not compensated after 100 calls");
    }

    /// What the processor has taken under a charge's key, and given back.
    pub(crate) async fn ledger_of(&self, key: &StepKey) -> (i64, i64) {
        let entry = self.opened.ledger.load(&their_key(key)).await.unwrap();
        entry.map_or((0, 0), |entry| (entry.taken_minor(), entry.given_back_minor()))
    }

    /// What the processor holds under an authorization's key.
    pub(crate) async fn held_of(&self, key: &StepKey) -> i64 {
        self.opened.ledger.load(&their_key(key)).await.unwrap().map_or(0, |entry| entry.held_minor())
    }

    /// Every payment says what the processor's ledger says, and none is in doubt.
    pub(crate) async fn assert_books_balance(&self) {
        let mut query = ListQuery { limit: PAGE_SIZE_MAX, ..ListQuery::default() };
        loop {
            let page = self.opened.store.list(&query).await.unwrap();
            for payment in &page.payments {
                let books = (payment.captured().amount_minor(), payment.refunded().amount_minor());
                assert_eq!(books, self.ledger_of(&payment.charge.key).await, "{payment:?}");
                let held = payment.capturable().amount_minor();
                assert_eq!(held, self.held_of(&payment.charge.key).await, "{payment:?}");
            }
            match page.payments.last() {
                Some(last) if page.more => query.after = Some(last.id),
                _ => return,
            }
        }
    }
}

pub(crate) fn payments(store: Arc<dyn PaymentStore>, processor: Arc<dyn PaymentProcessor>) -> Payments {
    Payments {
        store,
        processor,
        // Generous: the processor writes to a store on a busy machine. `pm_timeout` has tests of its own.
        processor_timeout: Duration::from_secs(20),
        clock: Arc::new(ManualClock::default()),
        ids: Arc::new(RandomIds),
        attempts: Attempts::new(&Metrics::new()),
        outbox: Outbox::off(),
    }
}

/// The key under which the acquirer knows it.
pub(crate) fn their_key(key: &StepKey) -> acquirer::domain::Key {
    acquirer::domain::Key::try_new(&key.to_string()).unwrap()
}

pub(crate) fn eur(minor: i64) -> Money {
    Money::new(minor, Currency::EUR)
}

pub(crate) fn fingerprint(seed: u8) -> Fingerprint {
    Fingerprint::new([seed; 32])
}

/// A saga of a new id.
pub(crate) fn saga() -> SagaId {
    let now = SystemClock.now().as_micros().unsigned_abs();
    SagaId::new(Uuid::from_u64_pair(now, u64::from(std::process::id()) << 32 | next_number()))
}

pub(crate) fn step(saga: SagaId, step: &str) -> StepKey {
    StepKey::try_new(saga, step).unwrap()
}

/// A charge of a new saga.
pub(crate) fn charge_of(minor: i64, method: &str) -> Charge {
    let saga = saga();
    Charge {
        key: step(saga, "charge_payment"),
        fingerprint: fingerprint(1),
        order_id: OrderId::new(saga.as_uuid()),
        customer_id: CustomerId::try_new("demo").unwrap(),
        amount: eur(minor),
        method: PaymentMethod::try_new(method).unwrap(),
        mode: Mode::Charge,
    }
}

/// A refund of a payment by a step of a new saga; `None` is all that is left.
pub(crate) fn refund_of(payment: &Payment, minor: Option<i64>) -> RefundAsked {
    RefundAsked {
        key: step(saga(), "refund_payment"),
        fingerprint: fingerprint(2),
        payment_id: payment.id,
        amount: minor.map(eur),
    }
}

/// A capture of an authorization by a step of a new saga; `None` is all that is held.
pub(crate) fn capture_of(payment: &Payment, minor: Option<i64>) -> SettlementAsked {
    let verb = SettlementVerb::Capture(minor.map(eur));
    SettlementAsked { key: step(saga(), "capture_payment"), fingerprint: fingerprint(3), payment_id: payment.id, verb }
}

/// A void of an authorization by a step of a new saga.
pub(crate) fn void_of(payment: &Payment) -> SettlementAsked {
    SettlementAsked { key: step(saga(), "void_payment"), verb: SettlementVerb::Void, ..capture_of(payment, None) }
}

/// The rejection a call ended in.
pub(crate) fn rejection<T: std::fmt::Debug>(result: Result<T, Error>) -> Rejection {
    match result {
        Err(Error::Rejected(rejection)) => rejection,
        other => panic!("expected a rejection, got {other:?}"),
    }
}

/// `ManualClock`'s beginning, at which everything in these tests happens.
pub(crate) fn now() -> Timestamp {
    ManualClock::default().now()
}
