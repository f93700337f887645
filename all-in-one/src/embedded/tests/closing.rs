//! All services in one process, stopped while they have work to do.

use std::sync::Mutex;

use reqwest::Method;
use tokio::task::JoinSet;

use super::shop::{PATIENCE, Shop};
use crate::client::{Answer, Client, order_of};
use crate::embedded::*;

/// Settings with which a machine that is busy with other tests is not taken for a participant that has failed.
fn patient() -> Sources {
    let ms = 60_000;
    let sources = Sources::none().set("order.saga.attempt_timeout_ms", ms).set("order.saga.deadline_secs", 600);
    ["payment", "inventory"].into_iter().fold(sources, |sources, participant| {
        let key = |name: &str| format!("order.{participant}.{name}");
        sources
            .set(key("resilience.timeout_ms"), ms)
            .set(key("resilience.deadline_ms_max"), 2 * ms)
            .set(key("channel.call_timeout_ms"), ms)
    })
}

/// Orders until the shop does not accept connections any more; every answer but the last, which is none.
async fn shop_till_you_drop(client: Client, name: usize, answered: Arc<Mutex<usize>>) -> Vec<Answer> {
    let mut answers = Vec::new();
    for number in 0.. {
        let order = order_of("espresso-1kg", 1, "pm_ok");
        match client.place(&format!("{name}-{number}"), &order).await {
            Ok(answer) => answers.push(answer),
            Err(error) => {
                let cause = error.chain().find_map(|cause| cause.downcast_ref::<reqwest::Error>());
                assert!(cause.is_some_and(reqwest::Error::is_connect), "not refused, but broken: {error:?}");
                return answers;
            }
        }
        *answered.lock().unwrap() += 1;
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_order_under_way_at_shutdown_is_answered() {
    every_order_is_answered("memory").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_loopback_every_order_under_way_is_answered() {
    every_order_is_answered("loopback").await;
}

async fn every_order_is_answered(join: &str) {
    let dir = tempfile::tempdir().unwrap();
    let shop = Shop::open(dir.path(), patient().set("embedded.join", join)).await;
    let (customer, answered) = (shop.customer().await, Arc::new(Mutex::new(0)));
    let mut customers = JoinSet::new();
    for name in 0..8 {
        customers.spawn(shop_till_you_drop(shop.another(&customer), name, Arc::clone(&answered)));
    }
    tokio::time::timeout(PATIENCE, async {
        while *answered.lock().unwrap() < 40 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("orders are answered");
    shop.runtime.shutdown.trigger();
    let answers: Vec<Answer> = customers.join_all().await.into_iter().flatten().collect();
    let bad = answers.iter().filter(|answer| !matches!(answer.status.as_u16(), 201 | 202));
    let bad: Vec<String> = bad.map(|answer| format!("{}: {}", answer.status, answer.text("/detail"))).collect();
    assert!(bad.is_empty(), "{} of {} orders: {bad:#?}", bad.len(), answers.len());
    shop.closed().await;
    // None was left for the next start.
    let next = Shop::open(dir.path(), Sources::none()).await;
    let confirmed = next.customer().await.get("/v1/orders?status=pending").await.unwrap();
    assert_eq!(confirmed.body["orders"].as_array().map(Vec::len), Some(0), "{}", confirmed.body);
    next.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_waiting_for_payment_ends_with_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    // So its first attempt is still waited for when the process ends.
    let shop = Shop::open(dir.path(), patient()).await;
    let customer = shop.customer().await;
    shop.switch_faults(json!({"payment": {"delay_ms": 60_000}})).await;
    let ordering = {
        let customer = shop.another(&customer);
        tokio::spawn(async move {
            let order = customer.request(Method::POST, "/v1/orders").header("idempotency-key", "one");
            let order = order.header("prefer", "wait=60").json(&order_of("grinder", 1, "pm_ok"));
            customer.send(order).await.unwrap()
        })
    };
    tokio::time::timeout(PATIENCE, async {
        while customer.get("/v1/orders?status=pending").await.unwrap().body["orders"][0].is_null() {}
    })
    .await
    .expect("the order is accepted");
    shop.runtime.shutdown.trigger();
    let answer = ordering.await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.header("connection")), (202, "close"), "{}", answer.body);
    let order = format!("/v1/orders/{}", answer.text("/id"));
    shop.closed().await;

    let next = Shop::open(dir.path(), patient()).await;
    let customer = next.customer().await;
    tokio::time::timeout(PATIENCE, async {
        while customer.get(&order).await.unwrap().text("/status") != "confirmed" {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the next start goes on with it");
    next.close().await;
}

#[test]
fn inner_listeners_are_private_unless_they_are_set() {
    let dir = tempfile::tempdir().unwrap();
    let settings = |sources| Embedded::settings(dir.path(), sources, None).unwrap().0;
    let inner = |settings: &Settings| {
        [
            settings.identity.http.listen,
            settings.order.http.listen,
            settings.order.grpc.listen,
            settings.payment.grpc.listen,
            settings.inventory.grpc.listen,
        ]
        .map(|listen| (listen.ip().is_loopback(), listen.port()))
    };
    let defaults = settings(Sources::none());
    assert_eq!(inner(&defaults), [(true, 0); 5]);
    assert_eq!((defaults.gateway.listen.port(), defaults.admin.listen.port()), (8080, 9090));
    let set = settings(Sources::none().set("order.http.listen", "127.0.0.1:8082"));
    assert_eq!(inner(&set)[1], (true, 8082));
    // Where they are processes of their own they must be found.
    let ports = |http: SocketAddr, grpc: SocketAddr| (http.port(), grpc.port());
    let order = order_service::Config::default();
    assert_eq!(ports(order.http.listen, order.grpc.listen), (8082, 50051));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_instances_on_one_machine_do_not_collide() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (first, second) =
        (Shop::open(dirs[0].path(), Sources::none()).await, Shop::open(dirs[1].path(), Sources::none()).await);
    for shop in [&first, &second] {
        assert_eq!(shop.customer().await.get("/v1/items").await.unwrap().status, 200);
    }
    first.close().await;
    assert_eq!(second.customer().await.get("/v1/items").await.unwrap().status, 200);
    second.close().await;
}
