//! First starts that are cut off, and two at once.

use std::time::{Duration, Instant};

use rand::Rng as _;

use crate::shop::{Shop, audit_clean, expect_confirmed, keep_books_as_before, place_confirmed};

/// Directories, and starts in each that are killed before one is left alone.
const DIRECTORIES: usize = 4;
const KILLS: usize = 4;

#[tokio::test]
async fn a_first_start_killed_at_any_moment_starts_again() {
    let measured = Shop::new();
    let begun = Instant::now();
    measured.start().await.stop();
    let whole = u64::try_from(begun.elapsed().as_micros()).unwrap();
    for directory in 0..DIRECTORIES {
        let shop = Shop::new();
        let mut kills = Vec::new();
        for kill in 0..KILLS {
            let server = shop.spawn(&shop.data());
            // The moments matter, not their time: later kills in a directory come later in the start.
            let after = rand::rng().random_range(0..whole * (kill as u64 + 1) / KILLS as u64);
            tokio::time::sleep(Duration::from_micros(after)).await;
            server.kill();
            kills.push(after);
        }
        println!("directory {directory}: killed after {kills:?} µs");
        let server = shop.start().await;
        place_confirmed(&server.demo().await, 1).await;
        server.stop();
        audit_clean(&shop.data());
        let left: Vec<_> = std::fs::read_dir(shop.data()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(!left.iter().any(|name| name.to_string_lossy().contains("draft")), "{left:?}");
    }
}

#[tokio::test]
async fn of_two_first_starts_at_once_one_serves() {
    let shop = Shop::new();
    let mut both = [shop.spawn(&shop.data()), shop.spawn(&shop.data())];
    // One of them ends by itself; which one is the machine's choice.
    let begun = Instant::now();
    let refused = loop {
        assert!(begun.elapsed() < Duration::from_mins(1), "both run");
        if let Some(index) = both.iter().position(|server| server.log().contains("is in use by")) {
            break index;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(!both[refused].wait().success());
    let [first, second] = both;
    let mut serving = if refused == 0 { second } else { first };
    serving.ready().await;
    place_confirmed(&serving.demo().await, 1).await;
}

#[tokio::test]
async fn an_empty_secrets_file_of_a_cut_off_start_is_replaced() {
    let shop = Shop::new();
    std::fs::create_dir(shop.data()).unwrap();
    std::fs::write(shop.data().join("secrets.toml"), "").unwrap();
    let server = shop.start().await;
    place_confirmed(&server.demo().await, 1).await;
    server.stop();
    // Beside stores it is not: their key is lost.
    std::fs::write(shop.data().join("secrets.toml"), "").unwrap();
    let told = shop.start_refused(&shop.data());
    assert!(told.contains("amends restore"), "{told}");
}

#[tokio::test]
async fn a_store_that_is_gone_is_not_made_anew() {
    let shop = Shop::new();
    let server = shop.start().await;
    place_confirmed(&server.demo().await, 1).await;
    server.stop();
    std::fs::rename(shop.data().join("order.db"), shop.path("order.db")).unwrap();
    let told = shop.start_refused(&shop.data());
    assert!(told.contains("order.db is missing"), "{told}");
    assert!(!shop.data().join("order.db").exists());
    std::fs::rename(shop.path("order.db"), shop.data().join("order.db")).unwrap();
    shop.start().await.stop();
}

#[tokio::test]
async fn books_beside_the_payments_survive_killed_starts() {
    let shop = Shop::new();
    let server = shop.start().await;
    let orders = place_confirmed(&server.demo().await, 5).await;
    server.stop();
    keep_books_as_before(&shop.data());
    // Which did not know of the acquirer's file.
    std::fs::remove_file(shop.data().join("instance.toml")).unwrap();
    for _ in 0..KILLS {
        let server = shop.spawn(&shop.data());
        tokio::time::sleep(Duration::from_millis(rand::rng().random_range(0..400))).await;
        server.kill();
    }
    let server = shop.start().await;
    let demo = server.demo().await;
    expect_confirmed(&demo, &orders).await;
    audit_clean(&shop.data());
    let cancelled = demo.post(&format!("/v1/orders/{}/cancel", orders[0])).await.unwrap();
    assert!(cancelled.status.is_success(), "what was charged before is refunded");
    place_confirmed(&demo, 1).await;
    server.stop();
    audit_clean(&shop.data());
}
