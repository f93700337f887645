//! The workers as they run: woken by a commit, each endpoint by itself, and ending with the process.

use std::{sync::Arc, time::Duration};

use amends_primitives::ManualClock;
use amends_webhooks::config::WebhooksConfig;

use super::support::{Answers, Process, Receiver, endpoint};
use crate::{
    service::{Service, charging, config_at},
    support::{Place, charge_of},
};

pub(super) async fn a_commit_is_told_at_once(place: &Place) {
    let clock = Arc::new(ManualClock::default());
    let shop = Receiver::start(&clock).await;
    let process = Process::start(place, &clock, vec![endpoint("shop", &shop.url)]).await;
    let shutdown = process.runtime.shutdown.clone();
    let running = tokio::spawn(process.webhooks.clone().run(shutdown.clone()));
    // The clock stands still, so nothing but the commit itself can be what wakes them, more than once.
    for round in 1..=3 {
        process.payments.charge(&charge_of(500, "pm_ok")).await.unwrap();
        shop.wait_for(round).await;
    }
    shutdown.trigger();
    tokio::time::timeout(Duration::from_mins(1), running).await.expect("they end").unwrap();
    assert_eq!(shop.received().len(), 3);
}

/// As configured by default.
const AT_ONCE: usize = 4;
const EVENTS: usize = 6;

pub(super) async fn a_slow_endpoint_does_not_delay_others(place: &Place) {
    let clock = Arc::new(ManualClock::default());
    let (slow, quick) = (Receiver::start(&clock).await, Receiver::start(&clock).await);
    slow.answers(Answers::Hangs);
    let endpoints = vec![endpoint("slow", &slow.url), endpoint("quick", &quick.url)];
    // Longer than any machine takes for the rest of this.
    let config = WebhooksConfig { endpoints, attempt_timeout_ms: 3_600_000, ..WebhooksConfig::default() };
    let process = Process::configured(place, &clock, &config).await;
    let shutdown = process.runtime.shutdown.clone();
    let running = tokio::spawn(process.webhooks.clone().run(shutdown.clone()));
    for _ in 0..EVENTS {
        process.payments.charge(&charge_of(500, "pm_ok")).await.unwrap();
    }
    quick.wait_for(EVENTS).await;
    slow.wait_for(AT_ONCE).await;
    // What hangs is cut off at shutdown, and is not lost.
    shutdown.trigger();
    tokio::time::timeout(Duration::from_mins(1), running).await.expect("they end").unwrap();
    assert_eq!(slow.received().len(), AT_ONCE, "as many at once as are configured");
    slow.answers(Answers::With(200));
    clock.advance(Duration::from_hours(2));
    process.tell("slow").await;
    assert_eq!(slow.received().len(), AT_ONCE + EVENTS);
}

pub(super) async fn the_service_tells_what_it_is_asked_to_do(place: &Place) {
    // The service's own clock, which its tests begin at the same moment.
    let shop = Receiver::start(&Arc::new(ManualClock::default())).await;
    let mut config = config_at(place);
    config.webhooks.endpoints = vec![endpoint("shop", &shop.url)];
    let service = Service::start(config).await;
    let payment = service.charge(charging(500, "pm_ok")).await.unwrap();
    let told = shop.wait_for(1).await;
    assert_eq!(told[0].json()["data"]["payment_id"], payment.id);
    assert!(service.charge(charging(500, "pm_declined")).await.is_err());
    assert_eq!(shop.wait_for(2).await[1].kind(), "payment.declined");
    let metrics = service.runtime.metrics.clone();
    service.stop().await;
    let page = metrics.encode();
    assert!(page.contains("webhook_delivered_total{endpoint=\"shop\"} 2"), "{page}");
    assert!(page.contains("webhook_attempts_total{endpoint=\"shop\",result=\"accepted\"} 2"), "{page}");
}
