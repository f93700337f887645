//! Whether each store can be opened, is whole, and has the schema that this program knows.

use std::{path::Path, time::Duration};

use amends_sql::{Database, Options, Schema, claim};
use rusqlite::{Connection, OpenFlags};
use service_base::config::load_from;

use super::{
    Inspection, Report,
    pages::{Pages, check_fully, check_quickly},
};
use crate::{
    data_dir,
    stores::{Name, StoreLocation},
};

const CHECK: &str = "stores";
/// For the pages of one store: some gigabytes.
const QUICK_MAX: Duration = Duration::from_secs(5);

pub(super) async fn check(inspection: &Inspection, report: &mut Report) {
    if let Some(dir) = &inspection.data_dir
        && let Err(error) = data_dir::check_whole(dir, &data_dir::files(&inspection.locations)).await
    {
        report.wrong(CHECK, format!("{error:#}"), "do as it says, with every server stopped");
    }
    for location in &inspection.locations {
        match &location.file {
            Some(file) => check_file(location.name, file, inspection.full, report).await,
            None if location.name == Name::Payment => check_mongo(inspection, report).await,
            None => check_server(location, report).await,
        }
    }
}

/// What this program makes of a store.
fn schemas(name: Name) -> Vec<Schema> {
    match name {
        Name::Order => order_service::schemas().into(),
        Name::Inventory => inventory_service::schemas().into(),
        Name::Identity => vec![identity_service::SCHEMA],
        Name::Payment => payment_service::schemas().into(),
        Name::Acquirer => vec![acquirer::store::SCHEMA],
    }
}

async fn check_file(name: Name, file: &Path, full: bool, report: &mut Report) {
    let (section, shown) = (name.section(), file.display());
    if !file.exists() {
        report.notice(CHECK, format!("{section}: {shown} is not there"), "the first start makes it");
        return;
    }
    if matches!(claim::find_torn(file).await, Ok(Some(_))) {
        // Told above, where there is a directory; opening it would make a -wal, and hide what is missing.
        report.wrong(
            CHECK,
            format!("{section}: {shown} lacks its -wal"),
            "bring the -wal back, or amends restore --from BACKUP --replace",
        );
        return;
    }
    let pages = if full { check_fully(file) } else { check_quickly(file, QUICK_MAX) };
    let restore = "stop the server, then: amends restore --from BACKUP --replace";
    match pages {
        Err(error) => return report.wrong(CHECK, format!("{section}: {shown} cannot be read: {error}"), restore),
        Ok(Pages::Damaged(lines)) => {
            return report.wrong(CHECK, format!("{section}: {shown} is damaged: {}", lines.join("; ")), restore);
        }
        Ok(Pages::Unfinished) => {
            let what = format!("{section}: {shown} was sound as far as {} s went", QUICK_MAX.as_secs());
            report.notice(CHECK, what, "amends doctor --full reads all of it");
        }
        Ok(Pages::Whole) => report.passed(CHECK, format!("{section}: the pages of {shown} are whole")),
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let found = Connection::open_with_flags(file, flags).and_then(|connection| crate::backup::schemas_of(&connection));
    match found {
        Ok(found) => {
            for schema in schemas(name) {
                judge(section, &schema, found.get(schema.component).copied(), report);
            }
        }
        Err(error) => report.wrong(CHECK, format!("{section}: the schema of {shown} cannot be read: {error}"), restore),
    }
}

fn judge(section: &str, schema: &Schema, found: Option<i64>, report: &mut Report) {
    let known = schema.migrations.iter().map(|migration| migration.version).max().unwrap_or(0);
    let component = schema.component;
    match found {
        Some(found) if found > known => report.wrong(
            CHECK,
            format!("{section}: the schema {component} is at version {found}, and this program knows {known}"),
            "run the version of amends that wrote it, or a newer one",
        ),
        Some(found) if found == known => {}
        found => report.notice(
            CHECK,
            format!("{section}: the schema {component} is at version {} of {known}", found.unwrap_or(0)),
            "the next start brings it up to date, or now, with the server stopped: amends migrate",
        ),
    }
}

async fn check_server(location: &StoreLocation, report: &mut Report) {
    let section = location.name.section();
    let key = location.name.url_key();
    let start = format!("start the server, and see that {key} names it with the right password");
    let database = match Database::connect_lazy(location.url.expose(), &Options::default()) {
        Ok(database) => database,
        Err(error) => {
            return report.wrong(
                CHECK,
                format!("{section}: {}", amends_sql::in_words(&error)),
                format!("correct {key}"),
            );
        }
    };
    if let Err(error) = database.ping().await {
        report.wrong(CHECK, format!("{section}: {}", amends_sql::in_words(&error)), start);
    } else {
        report.passed(CHECK, format!("{section}: the database answers"));
        for schema in schemas(location.name) {
            let sql = format!("SELECT COALESCE(MAX(version), 0) FROM _{}_migrations", schema.component);
            let found = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(database.reader()).await;
            // Without the table nothing was migrated yet.
            judge(section, &schema, found.ok(), report);
        }
    }
    database.close().await;
}

async fn check_mongo(inspection: &Inspection, report: &mut Report) {
    let section = Name::Payment.section();
    let payment: payment_service::Config = match load_from(section, &inspection.sources) {
        Ok(config) => config,
        Err(errors) => return report.wrong(CHECK, errors.to_string(), "correct each key"),
    };
    let opened = match payment_service::OpenedStore::open(&payment.database).await {
        Ok(opened) => opened,
        Err(error) => {
            return report.wrong(
                CHECK,
                format!("{section}: {}", amends_sql::in_words(&error)),
                "correct payment.database.url",
            );
        }
    };
    match opened.payments.ping().await {
        Ok(()) => report.passed(CHECK, format!("{section}: the database answers")),
        Err(error) => {
            let remedy = "start the server, and see that payment.database.url names it with the right password";
            report.wrong(CHECK, format!("{section}: {}", amends_sql::in_words(&error)), remedy);
        }
    }
    opened.payments.close().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_damaged_store_is_told_in_its_files_own_terms() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("order.db");
        std::fs::write(&file, "x".repeat(5000)).unwrap();
        let mut report = Report::default();
        check_file(Name::Order, &file, false, &mut report).await;
        let said = report.complaints().join("\n");
        assert!(
            said.contains("order.db cannot be read: file is not a database") && said.contains("amends restore"),
            "{said}"
        );
    }

    #[test]
    fn a_schema_of_another_version_is_told() {
        let schema = order_service::schemas()[0];
        let known = schema.migrations.iter().map(|migration| migration.version).max().unwrap();
        for (found, said) in
            [(Some(known), ""), (Some(known + 1), "wrong"), (Some(known - 1), "notice"), (None, "notice")]
        {
            let mut report = Report::default();
            judge("order", &schema, found, &mut report);
            assert!(report.complaints().join("").starts_with(said), "{found:?}: {report:?}");
            assert_eq!(report.findings.is_empty(), said.is_empty());
        }
    }
}
