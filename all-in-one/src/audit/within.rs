//! The checks of each store against itself: along a table in slices, or in one statement where a sum is over all of it.

use amends_sql::{
    Database, SqlError,
    checks::{Breach, Check, Slice},
};
use anyhow::Context as _;
use inventory_service::audit::checks as stock;
use order_service::audit::{self as order_rows, checks as orders};
use saga_engine::journal::sql::audit as journal;

use super::{
    PAGE, Run,
    books::Kept,
    laws::{Finding, Found, Law},
};

/// A check, and the time it needs to know (see [`Check::sql`]).
type Timed = (Check, i64);

impl Run<'_> {
    /// Along the table, by its unique text column `key`; a check that fails is reported, and the others go on.
    async fn along(&mut self, database: &Database, table: &str, key: &str, checks: &[Timed]) -> anyhow::Result<()> {
        let mut left: Vec<&Timed> = checks.iter().collect();
        let mut after = Some(String::new());
        while let Some(from) = after {
            let slice = database.slice(table, key, &from).await.with_context(|| table.to_owned())?;
            let mut going_on = Vec::with_capacity(left.len());
            for timed in left {
                let (check, since) = timed;
                match database.breaches(check, &slice, *since).await {
                    Ok(found) => {
                        self.report.add(found.into_iter().filter_map(Finding::of_breach));
                        going_on.push(timed);
                    }
                    Err(error) => self.failed(check, error)?,
                }
            }
            left = going_on;
            self.progress.show(&self.report);
            after = slice.upto;
        }
        Ok(())
    }

    async fn at_once(&mut self, database: &Database, checks: &[Timed]) -> anyhow::Result<()> {
        for (check, since) in checks {
            match database.breaches(check, &Slice::whole(), *since).await {
                Ok(found) => self.report.add(found.into_iter().filter_map(Finding::of_breach)),
                Err(error) => self.failed(check, error)?,
            }
            self.progress.show(&self.report);
        }
        Ok(())
    }

    /// A database that is away fails every check; one that cannot do this statement, because of what is stored, fails only this one.
    fn failed(&mut self, check: &Check, error: SqlError) -> anyhow::Result<()> {
        if error.is_transient() {
            return Err(error.into());
        }
        self.not_checked(check.code, &error.into());
        Ok(())
    }
}

fn timed<const N: usize>(checks: [Check; N]) -> Vec<Timed> {
    checks.into_iter().map(|check| (check, 0)).collect()
}

/// Orders, keys, outbox and sagas.
pub(super) async fn order_store(run: &mut Run<'_>) {
    let (database, kept) = (run.books.orders.clone(), run.books.kept);
    let (keys, events) = (Kept::since(Some(kept.keys)).as_micros(), Kept::since(Some(kept.events)).as_micros());
    let sagas = Kept::since(kept.sagas).as_micros();
    let mut of_orders = timed(orders::OF_ORDERS);
    of_orders.extend(timed(orders::ORDER_AND_SAGA));
    of_orders.extend(orders::SAGA_MISSING.map(|check| (check, sagas)));
    of_orders.extend([
        (orders::KEY_MISSING, keys),
        (orders::EVENT_MISSING, events),
        (orders::EVENT_UNFOUNDED, 0),
        (orders::ORPHAN_SAGA, 0),
    ]);
    if let Err(error) = run.along(&database, "orders", "id", &of_orders).await {
        run.not_checked("the order store: orders", &error);
    }
    let for_micros = Kept::key_micros(kept);
    let of_keys = [(orders::KEY_NAMES_OTHER_ORDER, 0), (orders::TWO_ORDERS_UNDER_ONE_KEY, for_micros)];
    if let Err(error) = run.at_once(&database, &of_keys).await {
        run.not_checked("the order store: idempotency keys", &error);
    }
    if let Err(error) =
        run.along(&database, "sagas", "id", &timed([journal::SAGA_MALFORMED, journal::EVENTS_WITHOUT_SAGA])).await
    {
        run.not_checked("the order store: sagas", &error);
    }
    if let Err(error) = payloads(run, &database).await {
        run.not_checked("the order store: the outbox", &error);
    }
    if let Err(error) = journals(run, &database).await {
        run.not_checked("the order store: the sagas' journal", &error);
    }
}

async fn payloads(run: &mut Run<'_>, database: &Database) -> anyhow::Result<()> {
    let mut after = Some(String::new());
    while let Some(from) = after {
        let (found, next) = order_rows::payloads_after(database, &from, PAGE).await?;
        run.report.add(found.into_iter().filter_map(Finding::of_breach));
        run.progress.show(&run.report);
        after = next;
    }
    Ok(())
}

async fn journals(run: &mut Run<'_>, database: &Database) -> anyhow::Result<()> {
    let shapes = order_service::shapes();
    let mut after = String::new();
    loop {
        let page = journal::journals_after(database, &after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after.clone_from(&last.id);
        run.report.sagas += page.len() as u64;
        for stored in &page {
            if let Some(flaw) = saga_engine::audit::flaw(stored, &shapes) {
                let found = Found::new(Law::JournalBroken, flaw.to_string());
                let order = (!stored.subject.is_empty()).then(|| stored.subject.clone());
                run.report.add([Finding {
                    law: found.law,
                    about: "saga",
                    subject: stored.id.clone(),
                    order,
                    detail: found.detail,
                }]);
            }
        }
        run.progress.show(&run.report);
    }
}

/// Stock, reservations and step keys.
pub(super) async fn inventory(run: &mut Run<'_>) {
    let database = run.books.inventory.database().clone();
    let mut at_once = timed(stock::OF_ITEMS);
    at_once.push((stock::RESERVATION_OVERDUE, 0));
    if let Err(error) = run.at_once(&database, &at_once).await {
        run.not_checked("the inventory store: stock", &error);
    }
    if let Err(error) = run.along(&database, "reservations", "id", &timed(stock::OF_RESERVATIONS)).await {
        run.not_checked("the inventory store: reservations", &error);
    }
    if let Err(error) = run.along(&database, "saga_barrier", "step_key", &timed(stock::OF_STEPS)).await {
        run.not_checked("the inventory store: steps", &error);
    }
}

/// What the payment store has beside payments.
pub(super) async fn payment_store(run: &mut Run<'_>) {
    match run.books.payments.breaches().await {
        Ok(found) => {
            let found: Vec<Breach> = found;
            run.report.add(found.into_iter().filter_map(Finding::of_breach));
        }
        Err(error) => run.not_checked("the payment store: keys of refunds, and webhooks", &error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_has_its_law() {
        let of_orders = [&orders::OF_ORDERS[..], &orders::ORDER_AND_SAGA].concat();
        let others = [
            orders::KEY_MISSING,
            orders::KEY_NAMES_OTHER_ORDER,
            orders::TWO_ORDERS_UNDER_ONE_KEY,
            orders::EVENT_MISSING,
            orders::EVENT_UNFOUNDED,
            orders::ORPHAN_SAGA,
            journal::SAGA_MALFORMED,
            journal::EVENTS_WITHOUT_SAGA,
            stock::RESERVATION_OVERDUE,
        ];
        let pairs = [orders::SAGA_MISSING, stock::OF_ITEMS, stock::OF_RESERVATIONS, stock::OF_STEPS].concat();
        for check in of_orders.iter().chain(&others).chain(&pairs) {
            assert!(Law::from_code(check.code).is_some(), "no law has the code {}", check.code);
        }
        for code in ["effect_key_differs", "webhook_unfounded", "outbox_payload_differs"] {
            assert!(Law::from_code(code).is_some(), "no law has the code {code}");
        }
    }
}
