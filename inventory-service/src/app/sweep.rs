//! Lets overdue reservations go, when they are due: it sleeps until the next one is, not for a fixed time.

use std::time::Duration;

use amends_primitives::Moment;
use tokio_util::sync::CancellationToken;

use super::Inventory;
use crate::ports::{Expired, StoreError};

/// After a failed batch, before the next try.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);
/// Old step keys are no hurry.
const BETWEEN_FORGETTING: Duration = Duration::from_hours(1);

/// Runs until `stop`.
pub(crate) async fn run_sweeper(inventory: Inventory, sleep_max: Duration, stop: CancellationToken) {
    let (mut forget_at, mut rebase_at) = (inventory.clock.moment(), inventory.clock.moment());
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = rebase(&inventory, &mut rebase_at, sleep_max) => {}
        }
        let pause = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            pause = sweep(&inventory, sleep_max) => pause,
        };
        if inventory.clock.moment() >= forget_at {
            forget_at = inventory.clock.moment() + BETWEEN_FORGETTING;
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = forget(&inventory) => {}
            }
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = inventory.wake_up.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

impl Inventory {
    /// Lets one batch of overdue reservations go.
    async fn expire_batch(&self) -> Result<Expired, StoreError> {
        let expired = self.store.expire(self.steady_now(), self.sweep_batch).await?;
        self.metrics.expired(expired.count);
        Ok(expired)
    }

    /// Moves one batch of holds that were made by a clock ahead of this one. Returns whether there may be more.
    async fn rebase_batch(&self) -> Result<bool, StoreError> {
        let moved = self.store.rebase(self.now(), self.sweep_batch).await?;
        if moved > 0 {
            tracing::warn!(reservations = moved, "the clock was set back: they are held from now on, and no longer");
        }
        Ok(moved == u64::from(self.sweep_batch))
    }

    /// Forgets one batch of step keys that are older than they are kept. Returns whether there may be more.
    async fn forget_batch(&self) -> Result<bool, StoreError> {
        let Some(kept_for) = self.keys_kept_for else { return Ok(false) };
        let forgotten = self.store.forget(self.now() - kept_for, self.sweep_batch).await?;
        Ok(forgotten == u64::from(self.sweep_batch))
    }
}

/// At start, and then once in `every`: it reads all that is held. Was the clock set back, nothing is held for the step.
async fn rebase(inventory: &Inventory, next: &mut Moment, every: Duration) {
    if inventory.clock.moment() < *next {
        return;
    }
    *next = inventory.clock.moment() + every;
    loop {
        match inventory.rebase_batch().await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                tracing::warn!(%error, "holds of a clock ahead of this one could not be looked for");
                return;
            }
        }
    }
}

/// Forgets old step keys, batch by batch.
async fn forget(inventory: &Inventory) {
    loop {
        match inventory.forget_batch().await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                tracing::warn!(%error, "old step keys could not be forgotten; tried again in an hour");
                return;
            }
        }
    }
}

/// Lets everything go that is due, batch by batch, and tells how long to sleep.
async fn sweep(inventory: &Inventory, sleep_max: Duration) -> Duration {
    loop {
        match inventory.expire_batch().await {
            Ok(expired) => {
                if expired.count > 0 {
                    tracing::info!(reservations = expired.count, "overdue reservations let go");
                }
                if expired.may_have_more {
                    continue;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "overdue reservations could not be let go");
                return PAUSE_AFTER_FAILURE.min(sleep_max);
            }
        }
        // The plan is published before the store is read: a reservation made in between is either seen here or wakes us.
        let now = inventory.steady_now();
        inventory.wake_up.plan(now + sleep_max);
        return match inventory.store.next_expiry().await {
            Ok(None) => sleep_max,
            Ok(Some(due)) => {
                let wake_at = due.min(now + sleep_max);
                inventory.wake_up.plan(wake_at);
                // At least a moment: a row that another replica holds right now stays due.
                wake_at.since(now).max(Duration::from_millis(10))
            }
            Err(error) => {
                tracing::warn!(%error, "the next overdue reservation could not be looked up");
                PAUSE_AFTER_FAILURE.min(sleep_max)
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use amends_primitives::{Fingerprint, ManualClock, OrderId, SagaId, SeededIds, StepKey};
    use amends_sql::{Database, Options};
    use futures::FutureExt as _;
    use service_kit::Runtime;
    use uuid::Uuid;

    use super::*;
    use crate::{
        app::ReserveRequest,
        config::{Config, SeedItem},
        domain::{Line, Quantity},
        ports::ActionKey,
        store::Store,
    };

    const SLEEP_MAX: Duration = Duration::from_secs(30);

    async fn shop(clock: &Arc<ManualClock>) -> (tempfile::TempDir, Inventory) {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}?mode=rwc", dir.path().join("inventory.db").display());
        let store = Store::new(Database::connect_lazy(&url, &Options::default()).unwrap());
        (dir, stocked(store, clock, 100).await)
    }

    async fn stocked(store: Store, clock: &Arc<ManualClock>, on_hand: i64) -> Inventory {
        store.migrate(Duration::ZERO).await.unwrap();
        let runtime = Runtime::with(Arc::clone(clock) as Arc<_>, Arc::new(SeededIds::new(1)));
        let mut config = Config::default();
        config.sweeper.batch = 2;
        let inventory = Inventory::new(Arc::new(store), &config, service_kit::faults::Faults::default(), &runtime);
        let item = SeedItem { sku: "tea".into(), name: "Tea".into(), amount_minor: 1, currency: "EUR".into(), on_hand };
        inventory.seed(vec![item.item().unwrap()]).await.unwrap();
        inventory
    }

    fn request(saga: u128, hold_for: Duration) -> ReserveRequest {
        let step = StepKey::of_definition(SagaId::new(Uuid::from_u128(saga)), "reserve_stock");
        let line =
            Line { sku: "tea".parse().unwrap(), quantity: Quantity::try_new(1).unwrap(), expected_unit_price: None };
        ReserveRequest {
            key: ActionKey { step, fingerprint: Fingerprint::new([0; 32]) },
            order: OrderId::new(Uuid::from_u128(saga)),
            lines: vec![line],
            hold_for: Some(hold_for),
        }
    }

    async fn reserve(inventory: &Inventory, saga: u128, hold_for: Duration) {
        inventory.reserve(request(saga, hold_for)).await.unwrap().unwrap();
    }

    fn is_woken(inventory: &Inventory) -> bool {
        inventory.wake_up.notified().now_or_never().is_some()
    }

    #[tokio::test]
    async fn it_sleeps_until_the_next_reservation_is_due() {
        let clock = Arc::new(ManualClock::default());
        let (_dir, inventory) = shop(&clock).await;
        assert_eq!(sweep(&inventory, SLEEP_MAX).await, SLEEP_MAX);

        reserve(&inventory, 1, Duration::from_mins(1)).await;
        assert!(!is_woken(&inventory), "it looks again before that anyway");
        assert_eq!(sweep(&inventory, SLEEP_MAX).await, SLEEP_MAX);
        clock.advance(Duration::from_secs(45));
        assert_eq!(sweep(&inventory, SLEEP_MAX).await, Duration::from_secs(15));

        reserve(&inventory, 2, Duration::from_secs(20)).await;
        assert!(!is_woken(&inventory), "it wakes up before that anyway");
        reserve(&inventory, 3, Duration::from_secs(5)).await;
        assert!(is_woken(&inventory), "it would sleep for too long");
        assert_eq!(sweep(&inventory, SLEEP_MAX).await, Duration::from_secs(5));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_full_disk_costs_the_reservations_that_meet_it() {
        let clock = Arc::new(ManualClock::default());
        let dir = tempfile::tempdir().unwrap();
        let url = amends_sql::sqlite_url(&dir.path().join("inventory.db")).unwrap();
        let database = Database::connect_lazy(&url, &Options::default()).unwrap();
        let inventory = stocked(Store::new(database.clone()), &clock, 10_000).await;
        let mut reserved = 0;
        for ail in [Database::fill_up, Database::turn_read_only] {
            ail(&database);
            let refused = loop {
                assert!(reserved < 10_000, "the disk never filled up");
                match inventory.reserve(request(reserved + 1, Duration::from_mins(1))).await {
                    Ok(answer) => answer.unwrap(),
                    Err(error) => break error,
                };
                reserved += 1;
            };
            assert!(refused.cause().is_transient(), "{refused:?}");
            // Several at once share a transaction.
            let together = (0..20).map(|n| inventory.reserve(request(20_000 + n, Duration::from_mins(1))));
            for answer in futures::future::join_all(together).await {
                assert!(answer.is_ok() || answer.is_err_and(|error| error.cause().is_transient()));
            }
            database.repair();
            reserved += 1;
            inventory.reserve(request(reserved, Duration::from_mins(1))).await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn step_keys_older_than_their_retention_are_deleted() {
        let clock = Arc::new(ManualClock::default());
        let (_dir, inventory) = shop(&clock).await;
        for saga in 1..=5 {
            reserve(&inventory, saga, Duration::from_mins(1)).await;
        }
        clock.advance(Duration::from_hours(24 * 89));
        reserve(&inventory, 6, Duration::from_mins(1)).await;
        forget(&inventory).await;
        assert!(!inventory.forget_batch().await.unwrap(), "nothing was old enough");
        let available = || async { inventory.items(&["tea".parse().unwrap()]).await.unwrap()[0].stock.reserved() };
        let held = available().await;
        // A repeat of a key on record takes nothing more.
        reserve(&inventory, 1, Duration::from_mins(1)).await;
        assert_eq!(available().await, held);

        clock.advance(Duration::from_hours(24 * 2));
        forget(&inventory).await;
        // The first five are forgotten: the same call is a new one. The sixth is not.
        reserve(&inventory, 6, Duration::from_mins(1)).await;
        assert_eq!(available().await, held);
        reserve(&inventory, 1, Duration::from_mins(1)).await;
        assert_eq!(available().await, held + 1);
    }

    async fn held(inventory: &Inventory) -> u32 {
        u32::try_from(inventory.items(&["tea".parse().unwrap()]).await.unwrap()[0].stock.reserved()).unwrap()
    }

    const STEP: Duration = Duration::from_hours(1);
    const MINUTE: Duration = Duration::from_mins(1);

    #[tokio::test]
    async fn a_clock_set_forward_ends_no_hold_before_its_time() {
        let clock = Arc::new(ManualClock::default());
        let (_dir, inventory) = shop(&clock).await;
        reserve(&inventory, 1, MINUTE).await;
        sweep(&inventory, SLEEP_MAX).await;
        clock.step_forward(STEP);
        assert_eq!(sweep(&inventory, SLEEP_MAX).await, SLEEP_MAX);
        assert_eq!(held(&inventory).await, 1, "it was not held for a minute");
        reserve(&inventory, 2, MINUTE).await;
        clock.advance(MINUTE);
        sweep(&inventory, SLEEP_MAX).await;
        assert_eq!(held(&inventory).await, 1, "the first one's time has passed");
        clock.advance(STEP);
        sweep(&inventory, SLEEP_MAX).await;
        assert_eq!(held(&inventory).await, 0);
    }

    #[tokio::test]
    async fn a_clock_set_back_holds_nothing_for_the_step() {
        let clock = Arc::new(ManualClock::default());
        let (_dir, inventory) = shop(&clock).await;
        reserve(&inventory, 1, MINUTE).await;
        clock.step_back(STEP);
        reserve(&inventory, 2, MINUTE).await;
        // As at the start of a process, which knows nothing of the step.
        rebase(&inventory, &mut inventory.clock.moment(), SLEEP_MAX).await;
        sweep(&inventory, SLEEP_MAX).await;
        assert_eq!(held(&inventory).await, 2, "neither has been held for a minute");
        clock.advance(MINUTE);
        sweep(&inventory, SLEEP_MAX).await;
        assert_eq!(held(&inventory).await, 0);
    }

    #[tokio::test]
    async fn it_lets_everything_go_that_is_due_batch_by_batch() {
        let clock = Arc::new(ManualClock::default());
        let (_dir, inventory) = shop(&clock).await;
        for saga in 0..5 {
            reserve(&inventory, saga, Duration::from_secs(1)).await;
        }
        reserve(&inventory, 9, Duration::from_secs(10)).await;
        clock.advance(Duration::from_secs(1));
        assert_eq!(sweep(&inventory, SLEEP_MAX).await, Duration::from_secs(9));
        let item = inventory.items(&["tea".parse().unwrap()]).await.unwrap().pop().unwrap();
        assert_eq!(item.stock.reserved(), 1);
    }
}
