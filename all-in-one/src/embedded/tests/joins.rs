//! Orders taken with participants called within the process, and over loopback.

use std::collections::BTreeSet;

use super::shop::Shop;
use crate::{client::order_of, embedded::*};

/// The ports to which this process has made connections, of those that are asked about.
#[cfg(target_os = "linux")]
fn connected_to(ports: &[u16]) -> BTreeSet<u16> {
    const ESTABLISHED: &str = "01";
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let remote = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let port = fields.get(2)?.rsplit(':').next()?;
        (fields.get(3) == Some(&ESTABLISHED)).then(|| u16::from_str_radix(port, 16).ok())?
    };
    table.lines().filter_map(remote).filter(|port| ports.contains(port)).collect()
}

/// Confirmed, declined, refused at the pivot, cancelled.
async fn takes_orders(join: &str) -> (Addresses, Shop, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let shop = Shop::open(dir.path(), Sources::none().set("embedded.join", join)).await;
    let customer = shop.customer().await;
    let placed = customer.place("one", &order_of("espresso-1kg", 1, "pm_ok")).await.unwrap();
    assert_eq!((placed.status.as_u16(), placed.text("/status")), (201, "confirmed"), "{}", placed.body);
    let declined = customer.place("two", &order_of("espresso-1kg", 1, "pm_declined")).await.unwrap();
    assert_eq!((declined.status.as_u16(), declined.text("/code")), (402, "payment_declined"), "{}", declined.body);
    let expired = customer.place("three", &order_of(catalogue::REFUSED_AT_PIVOT, 1, "pm_ok")).await.unwrap();
    assert_eq!((expired.status.as_u16(), expired.text("/code")), (409, "reservation_expired"), "{}", expired.body);
    let cancelled = customer.post(&format!("/v1/orders/{}/cancel", placed.text("/id"))).await.unwrap();
    assert_eq!((cancelled.status.as_u16(), cancelled.text("/status")), (200, "cancelled"), "{}", cancelled.body);
    (shop.addresses, shop, dir)
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_memory_no_connection_is_made_to_a_participant() {
    let (addresses, shop, _dir) = takes_orders("memory").await;
    assert_eq!(connected_to(&[addresses.payment.port(), addresses.inventory.port()]), BTreeSet::new());
    // What is not joined so shows that connections can be seen.
    let gateways = [addresses.order_http.port()];
    assert_eq!(connected_to(&gateways), BTreeSet::from(gateways));
    // Other programs still find the participants' listeners.
    for listener in [addresses.payment, addresses.inventory] {
        tokio::net::TcpStream::connect(listener).await.unwrap();
    }
    shop.close().await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_loopback_each_participant_is_connected_to() {
    let (addresses, shop, _dir) = takes_orders("loopback").await;
    let participants = [addresses.payment.port(), addresses.inventory.port()];
    assert_eq!(connected_to(&participants), BTreeSet::from(participants));
    shop.close().await;
}

#[test]
fn an_unknown_join_is_refused_by_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let error = Embedded::settings(dir.path(), Sources::none().set("embedded.join", "shouting"), None).err().unwrap();
    let error = error.to_string();
    assert!(error.contains("embedded.join") && error.contains("loopback"), "{error}");
}
