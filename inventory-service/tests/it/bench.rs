//! A fresh store per test, commands in a few words, and the books checked at the end.

use std::{collections::HashMap, sync::Arc, time::Duration};

use amends_primitives::{
    Clock, Currency, Fingerprint, IdSource, ManualClock, Money, OrderId, ReservationId, SagaId, SeededIds, StepKey,
    Timestamp,
};
use amends_sql::{Database, Options};
use amends_testing::TestDatabase;
use inventory_service::{
    domain::{Item, Line, NewItem, Quantity, Reservation, Sku, State},
    ports::{ActionKey, Answer, Commit, Expired, Released, Reserve, Restock, StockStore},
    store::Store,
};

/// How long the tests' reservations hold.
pub(crate) const HOLD: Duration = Duration::from_mins(1);

/// A store with its clock.
pub(crate) struct Bench {
    pub(crate) store: Arc<dyn StockStore>,
    pub(crate) database: Database,
    pub(crate) clock: ManualClock,
    ids: SeededIds,
    put: parking_lot::Mutex<HashMap<Sku, i64>>,
    /// What buyers expect an item to cost; none takes any price.
    expected: Option<Money>,
    own: TestDatabase,
}

impl Bench {
    pub(crate) async fn sqlite() -> Option<Arc<Self>> {
        Some(Self::over(TestDatabase::sqlite(), Some(PRICE)).await)
    }

    pub(crate) async fn sqlite_at_any_price() -> Option<Arc<Self>> {
        Some(Self::over(TestDatabase::sqlite(), None).await)
    }

    /// `None` only when the embedded backends alone were asked for.
    pub(crate) async fn postgres() -> Option<Arc<Self>> {
        Some(Self::over(TestDatabase::postgres().await?, Some(PRICE)).await)
    }

    async fn over(own: TestDatabase, expected: Option<Money>) -> Arc<Self> {
        // Hundreds of tasks at once on two cores: the suite checks what is decided, not how fast.
        let patient = Duration::from_secs(30);
        let options = Options { acquire_timeout: patient, statement_timeout: patient, ..Options::default() };
        let database = own.open_with(&options);
        let store = Store::new(database.clone());
        store.migrate(Duration::from_secs(10)).await.unwrap();
        Arc::new(Self {
            store: Arc::new(store),
            database,
            clock: ManualClock::default(),
            ids: SeededIds::new(7),
            put: parking_lot::Mutex::default(),
            expected,
            own,
        })
    }

    /// Forgets everything but the time.
    pub(crate) async fn empty(&self) {
        for table in ["reservations", "items", "saga_barrier"] {
            sqlx::query(sqlx::AssertSqlSafe(format!("DELETE FROM {table}")))
                .execute(self.database.writer())
                .await
                .unwrap();
        }
        self.put.lock().clear();
    }

    /// The end of every test: no unit was lost, none came from nowhere, and no open reservation is left out of the count.
    pub(crate) async fn assert_books_balance(&self) {
        let (mut held, mut sold) = (HashMap::<Sku, i64>::new(), HashMap::<Sku, i64>::new());
        for reservation in self.all_reservations().await {
            let into = match reservation.state {
                State::Held => &mut held,
                State::Committed => &mut sold,
                State::Released | State::Expired | State::Restocked => continue,
            };
            for line in reservation.lines {
                *into.entry(line.sku).or_default() += i64::from(line.quantity);
            }
        }
        let put = self.put.lock().clone();
        for (sku, on_hand) in put {
            let stock = self.item(sku.as_str()).await.stock;
            assert_eq!(stock.reserved(), held.get(&sku).copied().unwrap_or(0), "{sku}: reserved");
            assert_eq!(stock.on_hand(), on_hand - sold.get(&sku).copied().unwrap_or(0), "{sku}: on hand");
        }
    }

    /// Checks the books and removes the store.
    pub(crate) async fn close(self: Arc<Self>) {
        self.assert_books_balance().await;
        self.database.close().await;
        if let Some(bench) = Arc::into_inner(self) {
            bench.own.remove().await;
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) async fn put(&self, sku: &str, on_hand: i64) {
        let item = NewItem::try_new(sku.parse().unwrap(), sku.to_uppercase(), PRICE, on_hand).unwrap();
        self.store.put_item(item, self.now()).await.unwrap().unwrap();
        self.put.lock().insert(sku.parse().unwrap(), on_hand);
    }

    pub(crate) async fn item(&self, sku: &str) -> Item {
        self.store.items(&[sku.parse().unwrap()]).await.unwrap().pop().unwrap()
    }

    /// (on hand, reserved)
    pub(crate) async fn stock(&self, sku: &str) -> (i64, i64) {
        let stock = self.item(sku).await.stock;
        (stock.on_hand(), stock.reserved())
    }

    pub(crate) async fn all_reservations(&self) -> Vec<Reservation> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = self.store.reservations(None, after, 50).await.unwrap();
            all.extend(page.reservations);
            after = page.next;
            if after.is_none() {
                return all;
            }
        }
    }

    pub(crate) async fn state(&self, id: ReservationId) -> State {
        self.store.reservation(id).await.unwrap().unwrap().state
    }

    pub(crate) async fn reserve(&self, saga: u64, lines: &[(&str, u32)]) -> Answer<Reservation> {
        let line = |(sku, units): &(&str, u32)| Line { expected_unit_price: self.expected, ..line(sku, *units) };
        self.reserve_lines(saga, lines.iter().map(line).collect(), 1).await
    }

    pub(crate) async fn reserve_lines(&self, saga: u64, lines: Vec<Line>, fingerprint: u8) -> Answer<Reservation> {
        let reserve = Reserve {
            key: action(saga, "reserve_stock", fingerprint),
            id: ReservationId::new(self.ids.next_id()),
            order: OrderId::new(uuid::Uuid::from_u64_pair(9, saga)),
            lines,
            now: self.now(),
            expires_at: self.now() + HOLD,
            refuse_skus: Arc::default(),
        };
        self.store.reserve(reserve).await.unwrap()
    }

    pub(crate) async fn release(&self, saga: u64) -> Result<Released, inventory_service::domain::Rejection> {
        self.store.release(key(saga, "reserve_stock"), self.now()).await.unwrap()
    }

    pub(crate) async fn commit(&self, saga: u64, reservation: ReservationId) -> Answer<Reservation> {
        self.commit_refusing(saga, reservation, &[]).await
    }

    pub(crate) async fn commit_refusing(
        &self,
        saga: u64,
        reservation: ReservationId,
        skus: &[&str],
    ) -> Answer<Reservation> {
        let commit = Commit {
            key: action(saga, "commit_stock", 2),
            reservation,
            now: self.now(),
            expire_skus: skus.iter().map(|sku| sku.parse().unwrap()).collect(),
        };
        self.store.commit(commit).await.unwrap()
    }

    pub(crate) async fn close_commit(&self, saga: u64) -> bool {
        self.store.close_commit(key(saga, "commit_stock"), self.now()).await.unwrap()
    }

    pub(crate) async fn restock(&self, saga: u64, reservation: ReservationId) -> Answer<Reservation> {
        let key = action(saga, "restock", 3);
        self.store.restock(Restock { key, reservation, now: self.now() }).await.unwrap()
    }

    pub(crate) async fn rebase(&self, limit: u32) -> u64 {
        self.store.rebase(self.now(), limit).await.unwrap()
    }

    pub(crate) async fn expire(&self, limit: u32) -> Expired {
        self.store.expire(self.now(), limit).await.unwrap()
    }
}

pub(crate) fn key(saga: u64, step: &'static str) -> StepKey {
    StepKey::of_definition(SagaId::new(uuid::Uuid::from_u64_pair(8, saga)), step)
}

fn action(saga: u64, step: &'static str, fingerprint: u8) -> ActionKey {
    ActionKey { step: key(saga, step), fingerprint: Fingerprint::new([fingerprint; 32]) }
}

const PRICE: Money = Money::new(500, Currency::EUR);

pub(crate) fn eur(minor: i64) -> Money {
    Money::new(minor, Currency::EUR)
}

pub(crate) fn line(sku: &str, units: u32) -> Line {
    Line { sku: sku.parse().unwrap(), quantity: Quantity::try_new(units).unwrap(), expected_unit_price: None }
}

/// Runs `one(0..count)` all at once, as tasks, and returns their results in order.
pub(crate) async fn at_once<T, F>(count: u64, one: impl Fn(u64) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let tasks: Vec<_> = (0..count).map(|index| tokio::spawn(one(index))).collect();
    let mut results = Vec::with_capacity(tasks.len());
    for task in tasks {
        results.push(task.await.unwrap());
    }
    results
}
