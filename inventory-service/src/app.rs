//! The use cases: what the time is, how long goods are held, what is counted. Rules are in `domain`, rows in `store`.

use std::{
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use amends_primitives::{Clock, IdSource, Moment, OrderId, ReservationId, SteadyTime, Timestamp};
use saga_engine::participant::ActionKey;
use service_kit::{Runtime, faults::Faults};

use crate::{
    config::{Config, HoldsConfig},
    domain::{Item, Line, NewItem, Rejection, Reservation, Sku},
    faults,
    metrics::StepMetrics,
    store::{
        Answer, CloseCommit, Commit, Expire, Expired, Forget, ItemPage, PutItem, Rebase, Release, Released,
        ReservationPage, Reserve, Restock, Seed, StepKey, Store, StoreError, Unputtable,
    },
    sweeper::WakeUp,
};

/// The inventory.
#[derive(Clone)]
pub struct Inventory {
    store: Store,
    clock: Arc<dyn Clock>,
    /// By which holds end: if the clock is set forward, they do not end under the sagas that made them.
    steady: Arc<Mutex<SteadyTime>>,
    ids: Arc<dyn IdSource>,
    holds: HoldsConfig,
    sweep_batch: u32,
    keys_kept_for: Option<Duration>,
    faults: Faults,
    metrics: StepMetrics,
    wake_up: WakeUp,
}

/// What a reservation is asked for.
#[derive(Debug)]
pub struct ReserveRequest {
    /// The step's key.
    pub key: StepKey,
    /// Whose goods.
    pub order: OrderId,
    /// At least one; each SKU once.
    pub lines: Vec<Line>,
    /// How long; `None` takes the default. Cut to the maximum.
    pub hold_for: Option<Duration>,
}

impl Inventory {
    /// Over a store.
    pub fn new(store: Store, config: &Config, faults: Faults, runtime: &Runtime) -> Self {
        Self {
            store,
            clock: Arc::clone(&runtime.clock),
            steady: Arc::new(Mutex::new(SteadyTime::new(Duration::from_secs(config.holds.max_secs)))),
            ids: Arc::clone(&runtime.ids),
            holds: config.holds.clone(),
            sweep_batch: config.sweeper.batch,
            keys_kept_for: config.sweeper.keys_kept_for(),
            faults,
            metrics: StepMetrics::new(&runtime.metrics),
            wake_up: WakeUp::default(),
        }
    }

    /// What goes wrong on purpose.
    pub const fn faults(&self) -> &Faults {
        &self.faults
    }

    pub(crate) const fn wake_up(&self) -> &WakeUp {
        &self.wake_up
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn moment(&self) -> Moment {
        self.clock.moment()
    }

    /// The time by which holds end.
    pub(crate) fn steady_now(&self) -> Timestamp {
        self.steady.lock().unwrap_or_else(PoisonError::into_inner).now(self.clock.now(), self.clock.moment())
    }

    /// Creates the items that are missing and leaves the others alone; returns how many were missing.
    ///
    /// # Errors
    /// When the database cannot.
    pub async fn seed(&self, items: Vec<NewItem>) -> Result<u64, StoreError> {
        if items.is_empty() {
            return Ok(0);
        }
        self.store.run(Seed { items, now: self.now() }).await
    }

    /// The items of these SKUs that exist.
    ///
    /// # Errors
    /// When the database cannot say.
    pub async fn items(&self, skus: &[Sku]) -> Result<Vec<Item>, StoreError> {
        self.store.items(skus).await
    }

    /// A page of the catalogue.
    ///
    /// # Errors
    /// When the database cannot say.
    pub async fn list_items(&self, after: Option<&Sku>, limit: usize) -> Result<ItemPage, StoreError> {
        self.store.list_items(after, limit).await
    }

    /// Creates or changes an item.
    ///
    /// # Errors
    /// When the database cannot.
    pub async fn put_item(&self, item: NewItem) -> Result<Result<Item, Unputtable>, StoreError> {
        self.store.run(PutItem { item, now: self.now() }).await
    }

    /// Sets goods aside.
    ///
    /// # Errors
    /// When the database cannot.
    pub async fn reserve(&self, request: ReserveRequest) -> Result<Answer<Reservation>, StoreError> {
        let now = self.now();
        let hold_max = Duration::from_secs(self.holds.max_secs);
        let hold_for = request.hold_for.unwrap_or(Duration::from_secs(self.holds.default_secs)).min(hold_max);
        let expires_at = now + hold_for;
        let ReserveRequest { key, order, lines, .. } = request;
        let id = ReservationId::new(self.ids.next_id());
        let refuse_skus = faults::skus(&self.faults.current().refuse);
        let lost = AtomicBool::default();
        let answer = self.store.run(Reserve { key, id, order, lines, now, expires_at, refuse_skus, lost }).await?;
        self.metrics.step("reserve_stock", &answer);
        if answer.is_ok() {
            let now = self.steady_now();
            self.wake_up.at(now + hold_for, now);
        }
        Ok(answer)
    }

    /// Undoes a reservation.
    ///
    /// # Errors
    /// When the database cannot.
    pub async fn release(&self, key: ActionKey) -> Result<Result<Released, Rejection>, StoreError> {
        let released = self.store.run(Release { key, now: self.now() }).await?;
        self.metrics.released(&released);
        Ok(released)
    }

    /// Sells the goods of a reservation.
    ///
    /// # Errors
    /// When the database cannot.
    pub async fn commit(&self, key: StepKey, reservation: ReservationId) -> Result<Answer<Reservation>, StoreError> {
        let expire_skus = faults::skus(&self.faults.current().refuse_commit_skus);
        let answer = self.store.run(Commit { key, reservation, now: self.steady_now(), expire_skus }).await?;
        self.metrics.step("commit_stock", &answer);
        Ok(answer)
    }

    /// Makes sure that a commit can no longer happen; tells whether it has.
    ///
    /// # Errors
    /// When the database cannot.
    pub async fn close_commit(&self, key: ActionKey) -> Result<bool, StoreError> {
        let was_committed = self.store.run(CloseCommit { key, now: self.now() }).await?;
        self.metrics.closed(was_committed);
        Ok(was_committed)
    }

    /// Puts sold goods back on sale.
    ///
    /// # Errors
    /// When the database cannot.
    pub async fn restock(&self, key: StepKey, reservation: ReservationId) -> Result<Answer<Reservation>, StoreError> {
        let answer = self.store.run(Restock { key, reservation, now: self.now() }).await?;
        self.metrics.step("restock", &answer);
        Ok(answer)
    }

    /// One reservation.
    ///
    /// # Errors
    /// When the database cannot say.
    pub async fn reservation(&self, id: ReservationId) -> Result<Option<Reservation>, StoreError> {
        self.store.reservation(id).await
    }

    /// A page of reservations.
    ///
    /// # Errors
    /// When the database cannot say.
    pub async fn reservations(
        &self,
        order: Option<OrderId>,
        after: Option<ReservationId>,
        limit: usize,
    ) -> Result<ReservationPage, StoreError> {
        self.store.reservations(order, after, limit).await
    }

    /// When the next open reservation is due.
    ///
    /// # Errors
    /// When the database cannot say.
    pub async fn next_expiry(&self) -> Result<Option<Timestamp>, StoreError> {
        self.store.next_expiry().await
    }

    /// Lets one batch of overdue reservations go.
    ///
    /// # Errors
    /// When the database cannot.
    pub async fn expire_batch(&self) -> Result<Expired, StoreError> {
        let expired = self.store.run(Expire { now: self.steady_now(), limit: self.sweep_batch }).await?;
        self.metrics.expired(expired.count);
        Ok(expired)
    }

    /// Moves one batch of holds that were made by a clock ahead of this one. Returns whether there may be more.
    ///
    /// # Errors
    /// When the database cannot.
    pub async fn rebase_batch(&self) -> Result<bool, StoreError> {
        let moved = self.store.run(Rebase { now: self.now(), limit: self.sweep_batch }).await?;
        if moved > 0 {
            tracing::warn!(reservations = moved, "the clock was set back: they are held from now on, and no longer");
        }
        Ok(moved == u64::from(self.sweep_batch))
    }

    /// Forgets one batch of step keys that are older than they are kept. Returns whether there may be more.
    ///
    /// # Errors
    /// When the database cannot.
    pub async fn forget_batch(&self) -> Result<bool, StoreError> {
        let Some(kept_for) = self.keys_kept_for else { return Ok(false) };
        let forgotten = self.store.run(Forget { before: self.now() - kept_for, limit: self.sweep_batch }).await?;
        Ok(forgotten == u64::from(self.sweep_batch))
    }
}

impl std::fmt::Debug for Inventory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inventory").field("store", &self.store).finish_non_exhaustive()
    }
}
