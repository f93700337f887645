//! Copies of the stores' files without what was committed last.

use std::path::Path;

use crate::shop::{Shop, audit_clean, place_confirmed, run, said};

const STORES: [&str; 5] = ["order.db", "payment.db", "acquirer.db", "inventory.db", "identity.db"];

fn copy(from: &Path, to: &Path, names: &[&str]) {
    std::fs::create_dir(to).unwrap();
    for name in names {
        std::fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

#[tokio::test]
async fn stores_copied_without_their_wal_are_refused() {
    let shop = Shop::new();
    let server = shop.start().await;
    place_confirmed(&server.demo().await, 3).await;
    let (bare, with_secrets) = (shop.path("bare"), shop.path("with-secrets"));
    copy(&shop.data(), &bare, &STORES);
    copy(&shop.data(), &with_secrets, &[&STORES[..], &["secrets.toml"]].concat());
    assert!(shop.start_refused(&bare).contains("secrets.toml is missing or empty"));
    assert!(shop.start_refused(&with_secrets).contains("order.db-wal"));
    for verb in [&["audit"][..], &["doctor"], &["saga", "list"]] {
        let looked = run(verb, &with_secrets);
        assert!(!looked.status.success() && said(&looked).contains("-wal"), "{verb:?}: {}", said(&looked));
    }
    let backup = shop.path("backup");
    let backed_up = run(&["backup", "--to", &backup.display().to_string()], &with_secrets);
    assert!(!backed_up.status.success() && !backup.exists(), "{}", said(&backed_up));
    server.stop();
    audit_clean(&shop.data());
}

#[tokio::test]
async fn a_copy_that_is_accepted_starts_without_what_was_lost() {
    let shop = Shop::new();
    let server = shop.start().await;
    place_confirmed(&server.demo().await, 1).await;
    let copied = shop.path("copied");
    copy(&shop.data(), &copied, &[&STORES[..], &["secrets.toml"]].concat());
    server.stop();
    let accepted = run(&["accept"], &copied);
    assert!(accepted.status.success() && said(&accepted).contains("is taken as it is"), "{}", said(&accepted));
    assert!(said(&accepted).contains("run `amends audit`"), "the stores may be of different moments");
    let server = shop.start_on(&copied).await;
    place_confirmed(&server.demo().await, 1).await;
    server.stop();
}

#[tokio::test]
async fn a_crashed_shop_opened_by_another_program_starts() {
    let shop = Shop::new();
    let server = shop.start().await;
    place_confirmed(&server.demo().await, 3).await;
    server.kill();
    // As `sqlite3` does: the last to close moves the -wal into the file and removes it.
    for name in STORES {
        let connection = rusqlite::Connection::open(shop.data().join(name)).unwrap();
        let tables: i64 = connection.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
        assert!(tables > 0);
        drop(connection);
        assert!(!shop.data().join(format!("{name}-wal")).exists());
    }
    let server = shop.start().await;
    place_confirmed(&server.demo().await, 1).await;
    server.stop();
    audit_clean(&shop.data());
}
