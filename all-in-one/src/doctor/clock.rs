//! Whether the machine's clock runs, and is not behind what the stores have seen.

use std::time::{Duration, Instant, SystemTime};

use amends_primitives::Timestamp;
use amends_sql::{Database, Options};
use rusqlite::{Connection, OpenFlags};

use super::{Inspection, Report};
use crate::stores::{Name, StoreLocation};

const CHECK: &str = "clock";
/// Replicas' clocks may differ by this, and a write may be committed after this clock was read.
const TOLERATED: Duration = Duration::from_secs(5);
/// How long the two clocks of the machine are compared.
const COMPARED: Duration = Duration::from_millis(200);
/// 2026-01-01: no shop is older.
const BEGINNING: Timestamp = Timestamp::from_millis(1_767_225_600_000);

pub(super) async fn check(inspection: &Inspection, report: &mut Report) {
    let (wall, steady) = (SystemTime::now(), Instant::now());
    tokio::time::sleep(COMPARED).await;
    let passed = Timestamp::from(SystemTime::now()).as_micros() - Timestamp::from(wall).as_micros();
    let stepped = Duration::from_micros(passed.unsigned_abs()).abs_diff(steady.elapsed());
    if passed < 0 || stepped > COMPARED {
        report.wrong(CHECK, "the wall clock does not run as the machine's own does", "timedatectl set-ntp true");
    }
    let mut newest = None;
    for location in &inspection.locations {
        if let Some(time) = newest_of(location).await {
            newest = newest.max(Some((time, location.name)));
        }
    }
    judge(Timestamp::from(SystemTime::now()), newest, report);
}

fn judge(now: Timestamp, newest: Option<(Timestamp, Name)>, report: &mut Report) {
    let remedy = "set the clock: timedatectl set-ntp true";
    if now < BEGINNING {
        return report.wrong(CHECK, format!("it is not {now}"), remedy);
    }
    if let Some((time, name)) = newest
        && time.since(now) > TOLERATED
    {
        let what = format!(
            "now is {now}, and the {} store has seen {time}: the clock is {} s behind",
            name.section(),
            time.since(now).as_secs()
        );
        return report.wrong(CHECK, what, remedy);
    }
    report.passed(CHECK, format!("now is {now}"));
}

/// When a store was last changed, as far as a table tells that is small or has an index. `None` where there is nothing yet, or the store
/// cannot be asked, which another check tells.
async fn newest_of(location: &StoreLocation) -> Option<Timestamp> {
    // Ids count up with time, so the newest orders are found by the primary key.
    let sql = match location.name {
        Name::Order => {
            "SELECT MAX(updated_at) FROM (SELECT updated_at FROM orders ORDER BY id DESC LIMIT 100) AS newest"
        }
        Name::Inventory => "SELECT MAX(updated_at) FROM items",
        // Nothing in them is changed without an order, and keys are made ahead of their time.
        Name::Payment | Name::Acquirer | Name::Identity => return None,
    };
    let micros: Option<i64> = match &location.file {
        Some(file) if !file.exists() || matches!(amends_sql::claim::find_torn(file).await, Ok(Some(_))) => None,
        Some(file) => {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(file, flags).ok()?;
            connection.query_row(sql, [], |row| row.get(0)).ok()?
        }
        None => {
            let database = Database::connect_lazy(location.url.expose(), &Options::default()).ok()?;
            let newest = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(database.reader()).await.ok();
            database.close().await;
            newest?
        }
    };
    micros.map(Timestamp::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_behind_the_stores_is_told() {
        let now = BEGINNING + Duration::from_hours(1);
        let complaint = |now, newest| {
            let mut report = Report::default();
            judge(now, newest, &mut report);
            report.complaints().join("")
        };
        assert_eq!(complaint(now, None), "");
        assert_eq!(complaint(now, Some((now + Duration::from_secs(1), Name::Order))), "");
        let said = complaint(now, Some((now + Duration::from_hours(1), Name::Order)));
        assert!(said.contains("3600 s behind") && said.contains("timedatectl"), "{said}");
        assert!(complaint(Timestamp::from_millis(0), None).contains("it is not 1970"));
    }
}
