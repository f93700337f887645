//! Orders against payments and stock, a page of orders at a time with the range of both other stores that belongs to it; and what
//! in those stores belongs to no order.

use std::collections::{BTreeSet, HashMap};

use amends_primitives::{Clock as _, SystemClock};
use anyhow::Context as _;
use inventory_service::audit::{AuditReservation, AuditStep};
use order_service::audit::{AuditOrder, orders_after, orders_of};
use payment_service::audit::{AuditPayment, Start};

use super::{
    PAGE, READS_MAX, Run,
    books::{Books, Kept},
    laws::{Finding, Found, goods, money, orders, orders::Standing},
};

/// Rows of the other stores at once.
const ROWS: u16 = 500;
/// An order has one payment and one reservation. Where it has more than fit in memory, the first of them are enough to report.
const PER_ORDER_MAX: usize = 1_000;

/// What the other stores have for one order.
#[derive(Default)]
struct Others {
    payments: Vec<AuditPayment>,
    reservations: Vec<AuditReservation>,
    step: Option<AuditStep>,
}

/// What the other stores have, by order. Only of the orders in it: what belongs to others is passed over.
type ByOrder = HashMap<String, Others>;

/// Every order against what the other stores have for it.
pub(super) async fn check(run: &mut Run<'_>) -> anyhow::Result<()> {
    let mut after = String::new();
    loop {
        let page = orders_after(&run.books.orders, &after, PAGE).await.context("the order store")?;
        let Some(last) = page.last().map(|last| last.id.clone()) else { return Ok(()) };
        let mut others: ByOrder = page.iter().map(|order| (order.id.clone(), Others::default())).collect();
        read_range(run.books, &after, &last, &mut others).await?;
        read_steps(run.books, &page, &mut others).await?;
        for order in &page {
            run.report.count(Standing::of(order));
            if !judge(run.books, order, others.get(&order.id).unwrap_or(&Others::default())).is_empty() {
                let found = look_again(run.books, &order.id).await?;
                run.report.add(found.into_iter().map(|found| Finding::of_order(&order.id, found)));
            }
        }
        after = last;
        run.progress.show(&run.report);
    }
}

fn judge(books: &Books, order: &AuditOrder, others: &Others) -> Vec<Found> {
    let Some(standing) = Standing::of(order) else { return Vec::new() };
    let mut found: Vec<Found> = orders::check(order, standing, SystemClock.now()).into_iter().collect();
    found.extend(money::check(order, standing, &others.payments));
    found.extend(goods::check(order, standing, &others.reservations));
    if let Some(key) = goods::deciding_step(order) {
        // The step came before the order was settled, but was not forgotten before it.
        let kept = order.settled_at.is_some_and(|at| at >= Kept::since(books.kept.steps));
        found.extend(goods::check_step(order, &key, others.step.as_ref(), kept));
    }
    found
}

/// Reads all of one order until it stands still, and judges that.
async fn look_again(books: &Books, id: &str) -> anyhow::Result<Vec<Found>> {
    let ids = [id.to_owned()];
    let order = async || Ok::<_, anyhow::Error>(orders_of(&books.orders, &ids).await.context("the order store")?.pop());
    let mut before = order().await?;
    for _ in 0..READS_MAX {
        let Some(read) = before else { return Ok(Vec::new()) };
        let mut others: ByOrder = HashMap::from([(id.to_owned(), Others::default())]);
        read_payments(books, Start::Order(id), Some(id), |payment| add_payment(&mut others, payment)).await?;
        read_reservations(books, (id, ""), Some(id), |reservation| add_reservation(&mut others, reservation)).await?;
        read_steps(books, std::slice::from_ref(&read), &mut others).await?;
        let after = order().await?;
        if after.as_ref() == Some(&read) {
            return Ok(judge(books, &read, others.get(id).unwrap_or(&Others::default())));
        }
        before = after;
    }
    Ok(Vec::new())
}

async fn read_range(books: &Books, after: &str, upto: &str, others: &mut ByOrder) -> anyhow::Result<()> {
    read_payments(books, Start::AfterOrder(after), Some(upto), |payment| add_payment(others, payment)).await?;
    // Ids are hexadecimal, so that no reservation of the order before sorts behind this.
    read_reservations(books, (after, "z"), Some(upto), |reservation| add_reservation(others, reservation)).await
}

fn add_payment(others: &mut ByOrder, payment: AuditPayment) {
    if let Some(others) = others.get_mut(&payment.order)
        && others.payments.len() < PER_ORDER_MAX
    {
        others.payments.push(payment);
    }
}

fn add_reservation(others: &mut ByOrder, reservation: AuditReservation) {
    if let Some(others) = others.get_mut(&reservation.order)
        && others.reservations.len() < PER_ORDER_MAX
    {
        others.reservations.push(reservation);
    }
}

async fn read_payments(
    books: &Books,
    from: Start<'_>,
    upto: Option<&str>,
    mut each: impl FnMut(AuditPayment),
) -> anyhow::Result<()> {
    let mut last: Option<(String, String)> = None;
    loop {
        let from = last.as_ref().map_or(from, |(order, payment)| Start::After { order, payment });
        let page = books.payments.by_order(from, upto, u32::from(ROWS)).await.context("the payment store")?;
        let full = page.len() == usize::from(ROWS);
        last = page.last().map(|payment| (payment.order.clone(), payment.id.clone()));
        page.into_iter().for_each(&mut each);
        if !full {
            return Ok(());
        }
    }
}

async fn read_reservations(
    books: &Books,
    from: (&str, &str),
    upto: Option<&str>,
    mut each: impl FnMut(AuditReservation),
) -> anyhow::Result<()> {
    let mut last = (from.0.to_owned(), from.1.to_owned());
    loop {
        let page =
            books.inventory.audit_by_order((&last.0, &last.1), upto, ROWS).await.context("the inventory store")?;
        let full = page.len() == usize::from(ROWS);
        if let Some(reservation) = page.last() {
            last = (reservation.order.clone(), reservation.id.clone());
        }
        page.into_iter().for_each(&mut each);
        if !full {
            return Ok(());
        }
    }
}

async fn read_steps(books: &Books, orders: &[AuditOrder], others: &mut ByOrder) -> anyhow::Result<()> {
    let keys: HashMap<String, &str> =
        orders.iter().filter_map(|order| Some((goods::deciding_step(order)?, order.id.as_str()))).collect();
    let wanted: Vec<String> = keys.keys().cloned().collect();
    for step in books.inventory.audit_steps(&wanted).await.context("the inventory store")? {
        if let Some(others) = keys.get(&step.key).and_then(|order| others.get_mut(*order)) {
            others.step = Some(step);
        }
    }
    Ok(())
}

/// Payments and reservations that keep something for an order that does not exist. An order is committed before its saga acts, so none
/// is too new to be there.
pub(super) async fn orphans(run: &mut Run<'_>) -> anyhow::Result<()> {
    let mut from: Option<(String, String)> = None;
    loop {
        let start = from.as_ref().map_or(Start::Order(""), |(order, payment)| Start::After { order, payment });
        let page = run.books.payments.by_order(start, None, u32::from(ROWS)).await.context("the payment store")?;
        let Some(last) = page.last() else { break };
        from = Some((last.order.clone(), last.id.clone()));
        run.report.payments += page.len() as u64;
        let unknown = unknown(run.books, page.iter().map(|payment| payment.order.clone()).collect()).await?;
        for payment in page.iter().filter(|payment| unknown.contains(&payment.order)) {
            run.report.add(money::orphan(payment).map(|found| Finding::of_order(&payment.order, found)));
        }
        run.progress.show(&run.report);
    }
    let mut from = (String::new(), String::new());
    loop {
        let page =
            run.books.inventory.audit_by_order((&from.0, &from.1), None, ROWS).await.context("the inventory store")?;
        let Some(last) = page.last() else { return Ok(()) };
        from = (last.order.clone(), last.id.clone());
        run.report.reservations += page.len() as u64;
        let unknown = unknown(run.books, page.iter().map(|reservation| reservation.order.clone()).collect()).await?;
        for reservation in page.iter().filter(|reservation| unknown.contains(&reservation.order)) {
            run.report.add(goods::orphan(reservation).map(|found| Finding::of_order(&reservation.order, found)));
        }
        run.progress.show(&run.report);
    }
}

/// Which of these orders there are not.
async fn unknown(books: &Books, mut orders: BTreeSet<String>) -> anyhow::Result<BTreeSet<String>> {
    let ids: Vec<String> = orders.iter().cloned().collect();
    for known in orders_known(books, &ids).await? {
        orders.remove(&known);
    }
    Ok(orders)
}

async fn orders_known(books: &Books, ids: &[String]) -> anyhow::Result<Vec<String>> {
    order_service::audit::known(&books.orders, ids).await.context("the order store")
}
