//! One server per data directory.

use crate::shop::{Shop, amends, audit_clean, expect_confirmed, place_confirmed, run, said};

#[tokio::test]
async fn a_second_server_is_refused_and_names_the_first() {
    let shop = Shop::new();
    let first = shop.start().await;
    let before = std::fs::read(shop.data().join("secrets.toml")).unwrap();
    let told = shop.start_refused(&shop.data());
    assert!(told.contains(&format!("is in use by process {}", first.process())), "{told}");
    let gateway = first.addresses()["gateway"].as_str().unwrap().to_owned();
    assert!(told.contains(&gateway) && told.contains("amends up"), "{told}");
    assert_eq!(std::fs::read(shop.data().join("secrets.toml")).unwrap(), before);
    // The first server is not affected.
    place_confirmed(&first.demo().await, 1).await;
}

#[tokio::test]
async fn tools_work_beside_a_server() {
    let shop = Shop::new();
    let server = shop.start().await;
    place_confirmed(&server.demo().await, 2).await;
    for verb in [&["audit"][..], &["saga", "list"], &["saga", "stats"], &["webhook", "list"]] {
        let done = run(verb, &shop.data());
        assert!(done.status.success(), "{verb:?}: {}", said(&done));
    }
    for verb in [&["migrate"][..], &["reset"], &["accept"]] {
        let refused = run(verb, &shop.data());
        assert!(
            !refused.status.success() && said(&refused).contains("is in use by process"),
            "{verb:?}: {}",
            said(&refused)
        );
    }
    server.stop();
    audit_clean(&shop.data());
}

#[tokio::test]
async fn a_killed_servers_directory_is_free() {
    let shop = Shop::new();
    let first = shop.start().await;
    let orders = place_confirmed(&first.demo().await, 2).await;
    first.kill();
    let next = shop.start().await;
    expect_confirmed(&next.demo().await, &orders).await;
    next.stop();
}

#[tokio::test]
async fn a_single_service_is_refused_a_servers_store() {
    let shop = Shop::new();
    let server = shop.start().await;
    for (service, key, file) in [
        ("order", "order.database.url", "order.db"),
        ("payment", "payment.database.url", "payment.db"),
        ("inventory", "inventory.database.url", "inventory.db"),
        ("identity", "identity.database.url", "identity.db"),
    ] {
        let url = format!("{key}=sqlite://{}?mode=rwc", shop.data().join(file).display());
        let mut command = amends(&[service, "--set", &url, "--set", "admin.listen=127.0.0.1:0"]);
        match service {
            "identity" => {
                command.args(["--set", "identity.key_encryption_key=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="])
            }
            "order" => command.args([
                "--set",
                "order.service_token.client_id=order-service",
                "--set",
                "order.service_token.client_secret=a-secret-that-is-long-enough",
            ]),
            _ => &mut command,
        };
        let refused = command.output().unwrap();
        let told = said(&refused);
        assert!(!refused.status.success(), "{service}: {told}");
        assert!(told.contains(&format!("{file} is in use by process {}", server.process())), "{service}: {told}");
    }
}

#[tokio::test]
async fn a_copy_of_a_stopped_directory_starts() {
    let shop = Shop::new();
    let first = shop.start().await;
    let orders = place_confirmed(&first.demo().await, 2).await;
    first.stop();
    let copy = shop.path("copy");
    std::fs::create_dir(&copy).unwrap();
    for entry in std::fs::read_dir(shop.data()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    // Both at once: a copied lock locks nothing.
    let (original, copied) = (shop.start().await, shop.start_on(&copy).await);
    expect_confirmed(&original.demo().await, &orders).await;
    expect_confirmed(&copied.demo().await, &orders).await;
}
