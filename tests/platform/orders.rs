//! Placing, reading and cancelling orders over REST.

use amends_tests::platform::Platform;
use anyhow::{Result, ensure};
use reqwest::Method;
use serde_json::json;

use amends::client::order_of;
use amends_tests::check::{Books, expect, key};

pub(crate) async fn a_confirmed_order_is_paid_and_its_goods_are_sold(platform: &Platform) -> Result<()> {
    let demo = platform.demo().await?;
    let before = platform.available("case-confirmed").await?;
    let placed = demo.place(&key(), &order_of("case-confirmed", 2, "pm_ok")).await?;
    expect(&placed, 201, "/status", "confirmed")?;
    let id = placed.text("/id");
    ensure!(placed.header("location") == format!("/v1/orders/{id}"), "location: {}", placed.header("location"));
    ensure!(placed.body["total"] == json!({"amount_minor": 3700, "currency": "EUR"}), "{}", placed.body);
    ensure!(
        placed.text("/payment/status") == "captured" && placed.text("/saga/status") == "completed",
        "{}",
        placed.body
    );
    ensure!(placed.text("/customer_id") == "demo" && !placed.text("/trace_id").is_empty(), "{}", placed.body);

    let read = demo.get(&format!("/v1/orders/{id}")).await?;
    expect(&read, 200, "/status", "confirmed")?;
    ensure!(platform.available("case-confirmed").await? == before - 2, "two units were sold");
    let expected = Books { captured: 3700, refunded: 0, payments: 1, held: 0, committed: 1 };
    ensure!(platform.books(id).await? == expected, "{:?}", platform.books(id).await?);
    Ok(())
}

pub(crate) async fn a_declined_payment_is_402_and_the_stock_is_back(platform: &Platform) -> Result<()> {
    for method in ["pm_declined", "pm_insufficient_funds"] {
        let before = platform.available("case-declined").await?;
        let refused = platform.demo().await?.place(&key(), &order_of("case-declined", 3, method)).await?;
        expect(&refused, 402, "/code", "payment_declined")?;
        ensure!(refused.header("content-type").starts_with("application/problem+json"), "{:?}", refused.headers);
        ensure!(platform.available("case-declined").await? == before, "the stock is not back");
        nothing_kept(platform, &order_in_location(&refused)?).await?;
    }
    Ok(())
}

pub(crate) async fn a_total_over_the_processors_limit_is_declined(platform: &Platform) -> Result<()> {
    // The simulated processor declines 1 000.00 and more: 999.99 passes, 1 000.00 does not.
    let demo = platform.demo().await?;
    let below = demo.place(&key(), &order_of("case-cent", 99_999, "pm_ok")).await?;
    expect(&below, 201, "/status", "confirmed")?;
    let at_limit = demo.place(&key(), &order_of("case-cent", 100_000, "pm_ok")).await?;
    expect(&at_limit, 402, "/code", "payment_declined")?;
    nothing_kept(platform, &order_in_location(&at_limit)?).await
}

pub(crate) async fn insufficient_stock_is_409_and_nothing_is_charged(platform: &Platform) -> Result<()> {
    let before = platform.available("case-scarce").await?;
    let refused =
        platform.demo().await?.place(&key(), &order_of("case-scarce", u32::try_from(before)? + 1, "pm_ok")).await?;
    expect(&refused, 409, "/code", "insufficient_stock")?;
    ensure!(platform.available("case-scarce").await? == before, "stock changed");
    nothing_kept(platform, &order_in_location(&refused)?).await
}

pub(crate) async fn a_price_that_is_not_the_catalogues_is_409(platform: &Platform) -> Result<()> {
    let demo = platform.demo().await?;
    let order = |minor: i64| json!({"payment_method": "pm_ok", "items": [{"sku": "case-price", "quantity": 1, "unit_price": {"amount_minor": minor, "currency": "EUR"}}]});
    let refused = demo.place(&key(), &order(1)).await?;
    expect(&refused, 409, "/code", "price_mismatch")?;
    nothing_kept(platform, &order_in_location(&refused)?).await?;
    let agreed = demo.place(&key(), &order(1850)).await?;
    expect(&agreed, 201, "/status", "confirmed")
}

pub(crate) async fn refused_at_the_pivot_refunds_and_releases(platform: &Platform) -> Result<()> {
    let before = platform.available(amends::catalogue::REFUSED_AT_PIVOT).await?;
    let demo = platform.demo().await?;
    let refused = demo.place(&key(), &order_of(amends::catalogue::REFUSED_AT_PIVOT, 1, "pm_ok")).await?;
    expect(&refused, 409, "/code", "reservation_expired")?;
    let id = order_in_location(&refused)?;
    let expected = Books { captured: 3200, refunded: 3200, payments: 1, held: 0, committed: 0 };
    ensure!(platform.books(&id).await? == expected, "{:?}", platform.books(&id).await?);
    ensure!(platform.available(amends::catalogue::REFUSED_AT_PIVOT).await? == before, "the stock is not back");

    let saga = demo.get(&format!("/v1/orders/{id}/saga")).await?;
    expect(&saga, 200, "/status", "unwound")?;
    let steps: Vec<(&str, &str)> = saga.body["steps"]
        .as_array()
        .map(|steps| steps.iter().filter_map(|step| Some((step["name"].as_str()?, step["phase"].as_str()?))).collect())
        .unwrap_or_default();
    let undone: Vec<&str> = steps.iter().filter(|(_, phase)| *phase == "compensation").map(|(name, _)| *name).collect();
    ensure!(undone == ["charge_payment", "reserve_stock"], "compensated in reverse: {steps:?}");
    Ok(())
}

pub(crate) async fn the_same_key_and_body_is_one_order_and_one_charge(platform: &Platform) -> Result<()> {
    let (demo, key) = (platform.demo().await?, key());
    let order = order_of("case-repeat", 1, "pm_ok");
    let first = demo.place(&key, &order).await?;
    expect(&first, 201, "/status", "confirmed")?;
    for _ in 0..3 {
        let again = demo.place(&key, &order).await?;
        expect(&again, 201, "/id", first.text("/id"))?;
        ensure!(again.header("idempotency-replayed") == "true", "not marked as a replay: {:?}", again.headers);
    }
    let books = platform.books(first.text("/id")).await?;
    ensure!(books.payments == 1 && books.captured == 1850, "{books:?}");
    Ok(())
}

pub(crate) async fn the_same_key_with_another_body_is_422(platform: &Platform) -> Result<()> {
    let (demo, key) = (platform.demo().await?, key());
    expect(&demo.place(&key, &order_of("case-reuse", 1, "pm_ok")).await?, 201, "/status", "confirmed")?;
    expect(&demo.place(&key, &order_of("case-reuse", 2, "pm_ok")).await?, 422, "/code", "idempotency_key_reused")?;
    // The key belongs to its caller: another customer's equal key is another key.
    expect(
        &platform.other().await?.place(&key, &order_of("case-reuse", 2, "pm_ok")).await?,
        201,
        "/status",
        "confirmed",
    )
}

pub(crate) async fn two_equal_requests_at_once_are_one_order(platform: &Platform) -> Result<()> {
    let (demo, key) = (platform.demo().await?, key());
    let order = order_of("case-twins", 1, "pm_ok");
    let before = platform.available("case-twins").await?;
    let answers = futures::future::try_join_all((0..8).map(|_| demo.place(&key, &order))).await?;
    for answer in &answers {
        expect(answer, 201, "/id", answers[0].text("/id"))?;
    }
    ensure!(platform.available("case-twins").await? == before - 1, "one unit was sold");
    let books = platform.books(answers[0].text("/id")).await?;
    ensure!(books.payments == 1 && books.captured == 1850 && books.committed == 1, "{books:?}");
    Ok(())
}

pub(crate) async fn a_refusal_is_replayed_as_it_was(platform: &Platform) -> Result<()> {
    let (demo, key) = (platform.demo().await?, key());
    let order = order_of("case-refused", 1, "pm_declined");
    let first = demo.place(&key, &order).await?;
    let again = demo.place(&key, &order).await?;
    expect(&again, 402, "/code", "payment_declined")?;
    ensure!(
        again.header("idempotency-replayed") == "true" && again.header("location") == first.header("location"),
        "{:?}",
        again.headers
    );
    Ok(())
}

pub(crate) async fn another_customers_order_does_not_exist(platform: &Platform) -> Result<()> {
    let placed = platform.demo().await?.place(&key(), &order_of("case-foreign", 1, "pm_ok")).await?;
    expect(&placed, 201, "/status", "confirmed")?;
    let (other, id) = (platform.other().await?, placed.text("/id"));
    expect(&other.get(&format!("/v1/orders/{id}")).await?, 404, "/code", "order_not_found")?;
    expect(&other.get(&format!("/v1/orders/{id}/saga")).await?, 404, "/code", "order_not_found")?;
    expect(&other.post(&format!("/v1/orders/{id}/cancel")).await?, 404, "/code", "order_not_found")?;
    let listed = other.get("/v1/orders?limit=100").await?;
    ensure!(!listed.body.to_string().contains(id), "another customer's order is listed");
    expect(&platform.admin().await?.get(&format!("/v1/orders/{id}")).await?, 200, "/id", id)
}

pub(crate) async fn respond_async_is_202_and_settles(platform: &Platform) -> Result<()> {
    let demo = platform.demo().await?;
    let request =
        demo.request(Method::POST, "/v1/orders").header("idempotency-key", key()).header("prefer", "respond-async");
    let accepted = demo.send(request.json(&order_of("case-async", 1, "pm_ok"))).await?;
    ensure!(accepted.status.as_u16() == 202, "{} {}", accepted.status, accepted.body);
    ensure!(accepted.header("preference-applied").contains("respond-async"), "{:?}", accepted.headers);
    let location = accepted.header("location").to_owned();
    amends_tests::process::eventually("the accepted order settles", std::time::Duration::from_secs(10), || async {
        demo.get(&location).await.is_ok_and(|order| order.text("/status") == "confirmed")
    })
    .await
}

pub(crate) async fn cancelling_refunds_and_restocks(platform: &Platform) -> Result<()> {
    let demo = platform.demo().await?;
    let before = platform.available("case-cancel").await?;
    let placed = demo.place(&key(), &order_of("case-cancel", 2, "pm_ok")).await?;
    expect(&placed, 201, "/status", "confirmed")?;
    let path = format!("/v1/orders/{}/cancel", placed.text("/id"));
    expect(&demo.post(&path).await?, 200, "/status", "cancelled")?;
    // Cancelling again changes nothing and says the same.
    expect(&demo.post(&path).await?, 200, "/status", "cancelled")?;
    let expected = Books { captured: 3700, refunded: 3700, payments: 1, held: 0, committed: 0 };
    ensure!(platform.books(placed.text("/id")).await? == expected, "{:?}", platform.books(placed.text("/id")).await?);
    ensure!(platform.available("case-cancel").await? == before, "the stock is not back");

    let refused = demo.place(&key(), &order_of("case-refused", 1, "pm_declined")).await?;
    let path = format!("/v1/orders/{}/cancel", order_in_location(&refused)?);
    expect(&demo.post(&path).await?, 409, "/code", "order_not_cancellable")
}

pub(crate) async fn lists_page_by_cursor_newest_first(platform: &Platform) -> Result<()> {
    let pager = platform.user("pager").await?;
    let mut placed = Vec::new();
    for _ in 0..5 {
        placed.push(pager.place(&key(), &order_of("case-list", 1, "pm_ok")).await?.text("/id").to_owned());
    }
    placed.reverse();
    let (mut listed, mut path) = (Vec::new(), "/v1/orders?limit=2".to_owned());
    loop {
        let page = pager.get(&path).await?;
        ensure!(page.status.is_success(), "{} {}", page.status, page.body);
        let orders = page.body["orders"].as_array().cloned().unwrap_or_default();
        ensure!(orders.len() <= 2, "a page of two has {}", orders.len());
        listed.extend(orders.iter().filter_map(|order| order["id"].as_str().map(str::to_owned)));
        match page.text("/next_cursor") {
            "" => break,
            next => path = format!("/v1/orders?limit=2&cursor={next}"),
        }
    }
    ensure!(listed == placed, "listed {listed:?}, placed {placed:?}");
    let none = pager.get("/v1/orders?status=failed").await?;
    ensure!(none.body["orders"].as_array().is_some_and(Vec::is_empty), "{}", none.body);
    expect(&pager.get("/v1/orders?limit=0").await?, 422, "/errors/0/field", "limit")?;
    expect(&pager.get("/v1/orders?cursor=nonsense").await?, 422, "/errors/0/field", "cursor")?;
    expect(&pager.get("/v1/orders?status=lost").await?, 422, "/errors/0/field", "status")
}

pub(crate) async fn correlation_and_trace_ids_come_back(platform: &Platform) -> Result<()> {
    let demo = platform.demo().await?;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let request = demo.request(Method::POST, "/v1/orders").header("idempotency-key", key());
    let request = request
        .header("x-correlation-id", "my-correlation-1")
        .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
    let placed = demo.send(request.json(&order_of("case-trace", 1, "pm_ok"))).await?;
    ensure!(placed.header("x-correlation-id") == "my-correlation-1", "{:?}", placed.headers);
    ensure!(placed.text("/trace_id") == trace, "{}", placed.body);
    let made = demo.get(&format!("/v1/orders/{}", placed.text("/id"))).await?;
    ensure!(!made.header("x-correlation-id").is_empty(), "no correlation id was made");
    Ok(())
}

pub(crate) fn order_in_location(answer: &amends::client::Answer) -> Result<String> {
    let id = answer.header("location").rsplit('/').next().unwrap_or_default().to_owned();
    ensure!(!id.is_empty(), "a refused order still exists, but no Location names it: {:?}", answer.headers);
    Ok(id)
}

async fn nothing_kept(platform: &Platform, order: &str) -> Result<()> {
    let books = platform.books(order).await?;
    ensure!(books.captured == books.refunded && books.held == 0 && books.committed == 0, "{books:?}");
    Ok(())
}
