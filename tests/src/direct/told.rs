//! What customers were told, against the rows of a data directory that no server serves: after a crash, before anything is settled.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result, ensure};

use super::{
    rows::{Order, Places, Rows, damage_of},
    strangers,
};

/// The last answer about an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It is taken, and under way.
    Taken,
    /// It is paid.
    Confirmed,
    /// It failed.
    Failed,
    /// It is cancelled.
    Cancelled,
}

impl Told {
    /// What may have become of it since.
    const fn may_be(self) -> &'static [&'static str] {
        match self {
            Self::Taken => &["pending", "confirmed", "shipped", "failed", "cancelling", "cancelled"],
            Self::Confirmed => &["confirmed", "shipped", "cancelling", "cancelled"],
            Self::Failed => &["failed"],
            Self::Cancelled => &["cancelled"],
        }
    }
}

/// Every store in the folder can be opened, and is sound by SQLite's own check.
///
/// # Errors
/// Names the first that is not.
pub async fn whole(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "db") {
            let damage = damage_of(&file).await.with_context(|| format!("{} cannot be read", file.display()))?;
            ensure!(damage.is_empty(), "{} is damaged: {damage:?}", file.display());
        }
    }
    Ok(())
}

/// Checks every answer, and the money first. An order that is confirmed keeps its total, of one payment, and has its goods; one that failed or
/// is cancelled keeps nothing; none keeps more than its total; no payment is without its order. Sagas may be under way.
///
/// # Errors
/// Names every order of which the rows say something else than its customer was told.
pub async fn still_true(folder: &Path, told: &BTreeMap<String, Told>) -> Result<()> {
    let rows = Rows::read(&Places::below(folder)?).await.context("the stores cannot be read directly")?;
    let mut wrong = Vec::new();
    for (id, told) in told {
        match rows.orders.get(id) {
            None => wrong.push(format!("order {id} was answered {told:?}, and is gone")),
            Some(order) if !told.may_be().contains(&order.status.as_str()) => {
                wrong.push(format!("order {id} was answered {told:?}, and is {}", order.status));
            }
            Some(_) => {}
        }
    }
    for (id, order) in &rows.orders {
        balance(&rows, id, order, &mut wrong);
    }
    strangers(&rows, &mut wrong);
    ensure!(wrong.is_empty(), "{} things are not as customers were told:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

fn balance(rows: &Rows, id: &str, order: &Order, wrong: &mut Vec<String>) {
    let payments: Vec<i64> = rows.payments.iter().filter(|p| p.order == id).map(|p| p.captured - p.refunded).collect();
    let (kept, kept_by) = (payments.iter().sum::<i64>(), payments.iter().filter(|kept| **kept != 0).count());
    let sold: Vec<_> = rows.reservations.values().filter(|r| r.order == id && r.state == "committed").collect();
    let right = match order.status.as_str() {
        "confirmed" | "shipped" => {
            kept == order.total && kept_by == 1 && sold.len() == 1 && sold.iter().all(|r| r.goods == order.goods)
        }
        "failed" | "cancelled" => kept == 0 && kept_by == 0 && sold.is_empty(),
        _ => (0..=order.total).contains(&kept) && kept_by <= 1,
    };
    if !right {
        let (status, total, sold) = (&order.status, order.total, sold.len());
        wrong.push(format!(
            "order {id} is {status} over {total}, keeps {kept} of {kept_by} payments, and has {sold} sales"
        ));
    }
}
