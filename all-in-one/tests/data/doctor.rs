//! What the doctor says of whole and of broken shops.

use serde_json::Value;

use crate::shop::{Shop, amends, place_confirmed, run, said};

fn wrong(report: &Value) -> Vec<String> {
    let findings = report["findings"].as_array().unwrap().iter();
    findings
        .filter(|finding| finding["level"] == "wrong")
        .map(|finding| finding["what"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_shop_that_serves_is_well() {
    let shop = Shop::new();
    let server = shop.start().await;
    place_confirmed(&server.demo().await, 1).await;
    let admin = server.addresses()["admin"].as_str().unwrap().to_owned();
    let examined = amends(&["doctor", "--json", "--full", "--set", &format!("admin.listen={admin}"), "--data-dir"])
        .arg(shop.data())
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&examined.stdout).unwrap();
    assert!(examined.status.success() && report["well"] == true, "{}", said(&examined));
    let told = said(&examined);
    assert!(told.contains(&format!("is served by process {}", server.process())), "{told}");
    assert!(told.contains("1 signing keys can be read") && told.contains("the server is ready"), "{told}");
}

#[tokio::test]
async fn a_broken_shop_is_told_with_what_to_type() {
    let shop = Shop::new();
    shop.start().await.stop();
    // Another shop's key, and a store that is no database.
    let secrets = shop.data().join("secrets.toml");
    let text = std::fs::read_to_string(&secrets).unwrap();
    let changed: String = text
        .lines()
        .map(|line| match line.strip_prefix("key_encryption_key") {
            Some(_) => "key_encryption_key = \"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"\n".to_owned(),
            None => format!("{line}\n"),
        })
        .collect();
    std::fs::write(&secrets, changed).unwrap();
    std::fs::write(shop.data().join("payment.db"), "x".repeat(5000)).unwrap();
    let examined = run(&["doctor", "--json"], &shop.data());
    assert!(!examined.status.success(), "{}", said(&examined));
    let report: Value = serde_json::from_slice(&examined.stdout).unwrap();
    let found = wrong(&report).join("\n");
    assert!(found.contains("payment.db cannot be read"), "{found}");
    assert!(found.contains("signing keys cannot be read"), "{found}");
    let remedies = said(&examined);
    assert!(remedies.contains("amends restore --from BACKUP --replace"), "{remedies}");
    assert!(!remedies.contains("AAAAAAAA"), "a key was shown");
}
