//! Backups of a shop that sells, and what can be restored from them.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::shop::{
    Shop, amends, audit_clean, expect_confirmed, keep_books_as_before, place, place_confirmed, run, said,
};

/// Customers that order all the time.
const CUSTOMERS: usize = 8;

fn backup(shop: &Shop, to: &std::path::Path) -> std::process::Output {
    run(&["backup", "--to", &to.display().to_string()], &shop.data())
}

fn restore(from: &std::path::Path, to: &std::path::Path, more: &[&str]) -> std::process::Output {
    amends(&["restore"]).arg("--from").arg(from).arg("--data-dir").arg(to).args(more).output().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_has_every_order_acknowledged_before() {
    let shop = Shop::new();
    let server = shop.start().await;
    let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
    let demo = server.demo().await;
    let customers: Vec<_> = (0..CUSTOMERS)
        .map(|_| {
            let (demo, stop, acknowledged) = (demo.clone(), Arc::clone(&stop), Arc::clone(&acknowledged));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    if let Some((order, _)) = place(&demo).await {
                        acknowledged.lock().unwrap().push(order);
                    }
                }
            })
        })
        .collect();
    while acknowledged.lock().unwrap().len() < 30 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut backups = Vec::new();
    for number in 0..3 {
        let before = acknowledged.lock().unwrap().clone();
        let to = shop.path(&format!("backup-{number}"));
        let taking = to.clone();
        let data = shop.data();
        let taken = tokio::task::spawn_blocking(move || run(&["backup", "--to", &taking.display().to_string()], &data));
        let taken = taken.await.unwrap();
        assert!(taken.status.success(), "{}", said(&taken));
        println!("{} orders before: {}", before.len(), said(&taken));
        backups.push((to, before));
    }
    // The shop sells on.
    let after = acknowledged.lock().unwrap().len();
    while acknowledged.lock().unwrap().len() == after {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.store(true, Ordering::Relaxed);
    for customer in customers {
        customer.await.unwrap();
    }
    server.kill();

    for (from, before) in backups {
        let restored = shop.path(&format!("{}-restored", from.file_name().unwrap().to_string_lossy()));
        let done = restore(&from, &restored, &[]);
        assert!(done.status.success(), "{}", said(&done));
        audit_clean(&restored);
        let server = shop.start_on(&restored).await;
        expect_confirmed(&server.demo().await, &before).await;
        place_confirmed(&server.demo().await, 1).await;
        server.stop();
        audit_clean(&restored);
    }
}

#[tokio::test]
async fn a_backup_is_private_and_never_over_another() {
    let shop = Shop::new();
    let server = shop.start().await;
    place_confirmed(&server.demo().await, 1).await;
    let to = shop.path("backup");
    let taken = backup(&shop, &to);
    assert!(taken.status.success(), "{}", said(&taken));
    let mut names: Vec<String> =
        std::fs::read_dir(&to).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(
        names,
        ["acquirer.db", "identity.db", "inventory.db", "manifest.json", "order.db", "payment.db", "secrets.toml"]
    );
    for name in names.iter().filter(|name| *name != "manifest.json") {
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(to.join(name)).unwrap());
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let again = backup(&shop, &to);
    assert!(!again.status.success() && said(&again).contains("is not empty"), "{}", said(&again));
    server.stop();
    // Also without a server, and what a killed backup left is no hindrance.
    let left = shop.path(".offline.part");
    std::fs::create_dir(&left).unwrap();
    std::fs::write(left.join("order.db"), "half").unwrap();
    let offline = backup(&shop, &shop.path("offline"));
    assert!(offline.status.success() && !left.exists(), "{}", said(&offline));
}

#[tokio::test]
async fn a_restore_refuses_what_it_would_harm() {
    let shop = Shop::new();
    let server = shop.start().await;
    let first = place_confirmed(&server.demo().await, 1).await;
    let to = shop.path("backup");
    assert!(backup(&shop, &to).status.success());
    let second = place_confirmed(&server.demo().await, 1).await;

    let served = restore(&to, &shop.data(), &["--replace"]);
    assert!(!served.status.success() && said(&served).contains("is in use by process"), "{}", said(&served));
    server.stop();
    let occupied = restore(&to, &shop.data(), &[]);
    assert!(!occupied.status.success() && said(&occupied).contains("--replace"), "{}", said(&occupied));

    let replaced = restore(&to, &shop.data(), &["--replace"]);
    assert!(replaced.status.success(), "{}", said(&replaced));
    let server = shop.start().await;
    let demo = server.demo().await;
    expect_confirmed(&demo, &first).await;
    assert_eq!(demo.get(&format!("/v1/orders/{}", second[0])).await.unwrap().status.as_u16(), 404);
    server.stop();
    // The former shop is aside, whole.
    let aside = std::fs::read_dir(shop.data())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.file_name().unwrap().to_string_lossy().starts_with("replaced-"))
        .expect("the former shop");
    let server = shop.start_on(&aside).await;
    expect_confirmed(&server.demo().await, &second).await;
}

#[tokio::test]
async fn a_damaged_backup_is_not_restored() {
    let shop = Shop::new();
    let server = shop.start().await;
    place_confirmed(&server.demo().await, 1).await;
    let to = shop.path("backup");
    assert!(backup(&shop, &to).status.success());
    server.stop();
    let file = to.join("payment.db");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let target = shop.path("restored");
    let refused = restore(&to, &target, &[]);
    assert!(
        !refused.status.success() && said(&refused).contains("payment.db is not what was backed up"),
        "{}",
        said(&refused)
    );
    assert!(!target.join("order.db").exists() && !target.join("secrets.toml").exists());
}

#[tokio::test]
async fn an_interrupted_restore_is_told_and_finished_by_another() {
    let shop = Shop::new();
    let server = shop.start().await;
    let orders = place_confirmed(&server.demo().await, 1).await;
    let to = shop.path("backup");
    assert!(backup(&shop, &to).status.success());
    server.stop();
    // As a restore that was killed between two files leaves it.
    let target = shop.path("restored");
    std::fs::create_dir(&target).unwrap();
    std::fs::write(target.join("restore-unfinished"), "").unwrap();
    for name in ["identity.db", "secrets.toml"] {
        std::fs::copy(to.join(name), target.join(name)).unwrap();
    }
    let told = shop.start_refused(&target);
    assert!(told.contains("was cut off"), "{told}");
    let done = restore(&to, &target, &["--replace"]);
    assert!(done.status.success(), "{}", said(&done));
    expect_confirmed(&shop.start_on(&target).await.demo().await, &orders).await;
}

#[tokio::test]
async fn a_backup_without_the_acquirers_file_is_brought_up_to_date() {
    let shop = Shop::new();
    let server = shop.start().await;
    let orders = place_confirmed(&server.demo().await, 3).await;
    let to = shop.path("backup");
    assert!(backup(&shop, &to).status.success());
    server.stop();
    keep_books_as_before(&to);
    let file = to.join("manifest.json");
    let mut manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let payments = std::fs::read(to.join("payment.db")).unwrap();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &payments);
    let nibbles = digest.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let sha256: String = nibbles.map(|nibble| char::from_digit(nibble.into(), 16).unwrap()).collect();
    manifest["format"] = 1.into();
    manifest["files"].as_object_mut().unwrap().remove("acquirer.db");
    manifest["files"]["payment.db"] = serde_json::json!({"bytes": payments.len(), "sha256": sha256});
    std::fs::write(&file, manifest.to_string()).unwrap();

    let restored = shop.path("restored");
    let done = restore(&to, &restored, &[]);
    assert!(done.status.success(), "{}", said(&done));
    let server = shop.start_on(&restored).await;
    expect_confirmed(&server.demo().await, &orders).await;
    server.stop();
    audit_clean(&restored);
}
