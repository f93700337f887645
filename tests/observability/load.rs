//! What customers do meanwhile: all that the panels are about, over HTTP and gRPC, well and ill.

use std::time::{Duration, Instant};

use amends::client::{Client, order_of};
use amends_protos::orders::v1::{
    CreateOrderRequest, NewOrderLine, WatchOrderRequest, order_service_client::OrderServiceClient,
};
use amends_tests::{check::key, platform::Platform};
use anyhow::{Context, Result};
use reqwest::Method;
use tonic::Request;

/// From one order of a customer to the next.
const PACE: Duration = Duration::from_millis(100);
const CUSTOMERS: usize = 4;

/// One of everything, so that each counter has counted.
pub(crate) async fn everything_once(platform: &Platform) -> Result<()> {
    let demo = platform.demo().await?;
    let confirmed = demo.place(&key(), &order_of("espresso-1kg", 1, "pm_ok")).await?;
    let id = confirmed.text("/id").to_owned();
    demo.post(&format!("/v1/orders/{id}/cancel")).await?;
    demo.place(&key(), &order_of("espresso-1kg", 1, "pm_declined")).await?;
    demo.place(&key(), &order_of(amends::catalogue::REFUSED_AT_PIVOT, 1, "pm_ok")).await?;
    demo.place(&key(), &order_of("no-such-sku", 1, "pm_ok")).await?;
    demo.get("/v1/orders?limit=5").await?;
    demo.get("/no-such-route").await?;
    // A token that is none, and none at all.
    demo.with_token("not.a.token").get("/v1/orders").await?;
    platform.anonymous()?.get("/v1/orders").await?;
    over_grpc(platform, &demo).await
}

async fn over_grpc(platform: &Platform, demo: &Client) -> Result<()> {
    let mut client = OrderServiceClient::connect(format!("http://{}", platform.gateway)).await?;
    let bearer = format!("Bearer {}", demo.token().context("the demo user is logged in")?);
    let with_token = |mut request: Request<CreateOrderRequest>| -> Result<_> {
        request.metadata_mut().insert("authorization", bearer.parse()?);
        Ok(request)
    };
    let item = NewOrderLine { sku: "case-grpc".to_owned(), quantity: 1, unit_price: None };
    let order = CreateOrderRequest {
        idempotency_key: key(),
        items: vec![item],
        payment_method: "pm_ok".to_owned(),
        respond_async: false,
    };
    let placed = client.create_order(with_token(Request::new(order))?).await?.into_inner().order.unwrap_or_default();
    let mut watch = Request::new(WatchOrderRequest { order_id: placed.id });
    watch.metadata_mut().insert("authorization", bearer.parse()?);
    let mut stream = client.watch_order(watch).await?.into_inner();
    while stream.message().await?.is_some() {}
    Ok(())
}

/// Customers order until the time is over, whatever they are answered; how many were, by status.
pub(crate) async fn order_for(
    platform: &Platform,
    lasting: Duration,
) -> Result<std::collections::BTreeMap<u16, usize>> {
    let until = Instant::now() + lasting;
    let client = platform.demo().await?;
    let shopping: Vec<_> = (0..CUSTOMERS).map(|customer| tokio::spawn(shop(client.clone(), customer, until))).collect();
    let mut answers = std::collections::BTreeMap::new();
    for customer in shopping {
        for status in customer.await? {
            *answers.entry(status).or_default() += 1;
        }
    }
    Ok(answers)
}

async fn shop(client: Client, customer: usize, until: Instant) -> Vec<u16> {
    let mut answers = Vec::new();
    while Instant::now() < until {
        let method = if customer == 0 { "pm_declined" } else { "pm_ok" };
        let request = client.request(Method::POST, "/v1/orders").header("idempotency-key", key()).json(&order_of(
            "espresso-1kg",
            1,
            method,
        ));
        answers.push(client.send(request).await.map_or(0, |answer| answer.status.as_u16()));
        tokio::time::sleep(PACE).await;
    }
    answers
}
