//! What a collector sees of an order: one trace, whole, from the gateway to every store, and a service graph in which nothing is missing.
//! From five processes, by a receiver of our own.

use std::{collections::BTreeSet, time::Duration};

use amends::client::{Answer, order_of};
use amends_tests::{
    check::{expect, key},
    kit::otlp::{Collector, Received, Tree},
    platform::Platform,
};
use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};

use super::orders::order_in_location;

pub(crate) fn settings(collector: &Collector) -> Value {
    json!({
        "telemetry": {"otlp_endpoint": collector.endpoint(), "traces_per_second": 10_000},
        // So that a payment can be waited for until a replica has been killed.
        "order": {"saga": {"attempt_timeout_ms": 10_000}, "payment": {"resilience": {"timeout_ms": 10_000}}},
    })
}

/// Every edge of a confirmed order between five services, an acquirer and their stores.
const EDGES: [(&str, &str); 10] = [
    ("gateway", "order-service"),
    ("gateway", "redis"),
    ("order-service", "inventory-service"),
    ("order-service", "payment-service"),
    ("order-service", "postgresql"),
    ("inventory-service", "postgresql"),
    ("payment-service", "acquirer"),
    ("payment-service", "mongodb"),
    ("payment-service", "redis"),
    ("inventory-service", "redis"),
];

pub(crate) async fn each_order_is_one_whole_trace(platform: &Platform, collector: &Collector) -> Result<()> {
    let demo = platform.demo().await?;

    let placed = demo.place(&key(), &order_of("case-trace", 1, "pm_ok")).await?;
    expect(&placed, 201, "/status", "confirmed")?;
    let confirmed = whole(collector, placed.text("/trace_id"), "completed", &EDGES).await?;
    for (name, kind, service, parent) in [
        ("POST /v1/orders", "SERVER", "gateway", None),
        ("POST /v1/orders", "CLIENT", "gateway", Some("POST /v1/orders")),
        ("POST /v1/orders", "SERVER", "order-service", Some("POST /v1/orders")),
        ("saga place-order", "INTERNAL", "order-service", Some("POST /v1/orders")),
        ("reserve_stock", "INTERNAL", "order-service", Some("saga place-order")),
        ("charge_payment", "INTERNAL", "order-service", Some("saga place-order")),
        ("confirm_order", "INTERNAL", "order-service", Some("saga place-order")),
        ("amends.payments.v1.PaymentService/Charge", "CLIENT", "order-service", Some("charge_payment")),
        (
            "amends.payments.v1.PaymentService/Charge",
            "SERVER",
            "payment-service",
            Some("amends.payments.v1.PaymentService/Charge"),
        ),
    ] {
        ensure!(
            has(&confirmed, name, kind, service, parent),
            "no {service} {kind} {name} under {parent:?}:\n{confirmed}"
        );
    }
    let order = placed.text("/id");
    ensure!(
        confirmed.spans().iter().any(|one| one.text("order.id").as_deref() == Some(order)),
        "no order.id:\n{confirmed}"
    );
    ensure!(confirmed.spans().iter().all(|one| !one.failed()), "nothing failed:\n{confirmed}");
    each_span_is_well_formed(&confirmed)?;

    let declined = demo.place(&key(), &order_of("case-declined", 1, "pm_declined")).await?;
    expect(&declined, 402, "/code", "payment_declined")?;
    let tree = whole(collector, &trace_of(&demo.get(&location(&declined)?).await?), "unwound", &[]).await?;
    ensure!(step(&tree, "charge_payment")?.text("saga.outcome").as_deref() == Some("refused"), "{tree}");
    let undone = one(&tree, |one| one.text("saga.phase").as_deref() == Some("compensation"))?;
    ensure!(undone.span.name == "reserve_stock", "{tree}");

    let refunded = demo.place(&key(), &order_of(amends::catalogue::REFUSED_AT_PIVOT, 1, "pm_ok")).await?;
    expect(&refunded, 409, "/code", "reservation_expired")?;
    let tree = whole(collector, &trace_of(&demo.get(&location(&refunded)?).await?), "unwound", &[]).await?;
    let refund = one(&tree, |one| {
        one.text("saga.phase").as_deref() == Some("compensation") && one.span.name == "charge_payment"
    })?;
    ensure!(refund.text("saga.outcome").as_deref() == Some("undone"), "{tree}");

    let trace = "0af7651916cd43dd8448eb211c80319c";
    let cancel = demo.request(Method::POST, &format!("/v1/orders/{order}/cancel"));
    let cancel = cancel.header("traceparent", format!("00-{trace}-b7ad6b7169203331-00"));
    expect(&demo.send(cancel.header("tracestate", "vendor=1")).await?, 200, "/status", "cancelled")?;
    let tree = part(collector, trace, "completed").await?;
    let steps = tree.spans().iter().filter(|one| one.text("saga.step").is_some() && one.kind() == "INTERNAL");
    ensure!(steps.clone().all(|one| one.span.trace_state.contains("vendor=1")), "tracestate is lost:\n{tree}");
    ensure!(steps.count() >= 2, "{tree}");
    Ok(())
}

/// Services that share a process are nodes of their own all the same.
pub(crate) async fn one_process_names_its_services(platform: &Platform, collector: &Collector) -> Result<()> {
    let placed = platform.demo().await?.place(&key(), &order_of("case-trace", 1, "pm_ok")).await?;
    expect(&placed, 201, "/status", "confirmed")?;
    let edges = [
        ("gateway", "order-service"),
        ("order-service", "inventory-service"),
        ("order-service", "payment-service"),
        ("order-service", "sqlite"),
        ("inventory-service", "sqlite"),
        ("payment-service", "sqlite"),
        ("payment-service", "acquirer"),
    ];
    let tree = whole(collector, placed.text("/trace_id"), "completed", &edges).await?;
    each_span_is_well_formed(&tree)
}

pub(crate) fn a_tenth(collector: &Collector) -> Value {
    let mut settings = settings(collector);
    settings["telemetry"]["sample_percent"] = json!(10.0);
    settings["gateway"] = json!({"rate_limit": {"enabled": false}});
    settings
}

/// So many exemplars are followed.
const EXEMPLARS: usize = 100;

/// With a tenth of all traces sampled, what a metric names is there: the trace at the collector, and the request's line in the log.
pub(crate) async fn each_exemplar_leads_to_its_trace_and_lines(
    platform: &Platform,
    collector: &Collector,
) -> Result<()> {
    let demo = platform.demo().await?;
    let placed = demo.place(&key(), &order_of("case-trace", 1, "pm_ok")).await?;
    let order = format!("/v1/orders/{}", placed.text("/id"));
    let metrics = format!("http://{}/metrics", platform.admin_address("amends")?);
    let client = service_base::client::internal().build()?;
    let (mut named, mut asked) = (BTreeSet::new(), 0);
    for _ in 0..400 {
        asked += 10;
        for read in futures::future::join_all((0..10).map(|_| demo.get(&order))).await {
            expect(&read?, 200, "/status", "confirmed")?;
        }
        let page = client.get(&metrics).header("accept", "application/openmetrics-text").send().await?.text().await?;
        // That a service looks at the keys is no caller's request, and logged at "debug".
        let of_callers = page.lines().filter(|line| !line.contains("/.well-known/"));
        named.extend(of_callers.filter_map(|line| line.split("# {trace_id=\"").nth(1)?.get(..32)).map(str::to_owned));
        if named.len() >= EXEMPLARS {
            break;
        }
    }
    ensure!(named.len() >= EXEMPLARS, "only {} exemplars in {asked} requests", named.len());
    let (mut unsent, mut unlogged) = (Vec::new(), Vec::new());
    for _ in 0..100 {
        let sent: BTreeSet<_> = collector.spans().iter().map(Received::trace).collect();
        let log = platform.output();
        unsent = named.iter().filter(|trace| !sent.contains(*trace)).cloned().collect();
        unlogged = named.iter().filter(|trace| !log.contains(trace.as_str())).cloned().collect();
        if unsent.is_empty() && unlogged.is_empty() {
            ensure!(sent.len() <= asked / 5, "{} traces of {asked} were sent, not a tenth", sent.len());
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let spans = collector.spans().into_iter().filter(|one| unlogged.contains(&one.trace()));
    anyhow::bail!("of {} exemplars no trace: {unsent:?}, no line: {unlogged:?}\n{}", named.len(), Tree::of(spans))
}

pub(crate) fn none(collector: &Collector) -> Value {
    let mut settings = settings(collector);
    settings["telemetry"]["sample_percent"] = json!(0.0);
    settings
}

/// With nothing sampled, an order that is undone is there all the same, and one that goes well is not.
pub(crate) async fn what_is_undone_is_sent(platform: &Platform, collector: &Collector) -> Result<()> {
    let demo = platform.demo().await?;
    let placed = demo.place(&key(), &order_of("case-trace", 1, "pm_ok")).await?;
    expect(&placed, 201, "/status", "confirmed")?;
    let declined = demo.place(&key(), &order_of("case-declined", 1, "pm_declined")).await?;
    expect(&declined, 402, "/code", "payment_declined")?;
    let undone = trace_of(&demo.get(&location(&declined)?).await?);
    let edges = [("gateway", "order-service"), ("order-service", "payment-service"), ("inventory-service", "sqlite")];
    whole(collector, &undone, "unwound", &edges).await?;
    let well = placed.text("/trace_id");
    ensure!(!collector.spans().iter().any(|one| one.trace() == well), "an order that went well was sent");
    Ok(())
}

/// A replica dies in the middle of an order; what it began and what another does about it are one trace.
pub(crate) async fn recovery_continues_the_trace(platform: &mut Platform, collector: &Collector) -> Result<()> {
    let demo = platform.demo().await?;
    platform.switch_faults("payment", json!({"delay_ms": 5_000})).await?;
    let request = demo.request(Method::POST, "/v1/orders").header("idempotency-key", key());
    let accepted =
        demo.send(request.header("prefer", "respond-async").json(&order_of("case-trace", 1, "pm_ok"))).await?;
    expect(&accepted, 202, "/status", "pending")?;
    let (order, trace) = (accepted.text("/id").to_owned(), accepted.text("/trace_id").to_owned());
    reached(platform, collector, &trace).await?;
    platform.kill("order").await?;
    platform.switch_faults("payment", json!({})).await?;
    platform.restart("order").await?;
    platform.settled().await?;
    let settled = demo.get(&format!("/v1/orders/{order}")).await?;
    expect(&settled, 200, "/status", "confirmed")?;
    for _ in 0..200 {
        let tree = Tree::of(collector.spans().into_iter().filter(|one| one.trace() == trace));
        let resumed = tree.spans().iter().find(|one| one.text("saga.resumed").as_deref() == Some("true"));
        if let Some(resumed) = resumed.filter(|one| one.text("saga.outcome").as_deref() == Some("completed")) {
            ensure!(resumed.span.links.len() == 1, "no link to where the saga came from:\n{tree}");
            ensure!(resumed.text("saga.fence").as_deref() == Some("2"), "{:?}", resumed.span.attributes);
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    anyhow::bail!("no span says that the saga was resumed: {:?}", collector.spans().len())
}

/// Waits until the order's first step has been asked for, which the inventory service says.
async fn reached(_: &Platform, collector: &Collector, trace: &str) -> Result<()> {
    for _ in 0..200 {
        if collector.spans().iter().any(|one| one.trace() == trace && one.service == "inventory-service") {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("the saga has not begun")
}

async fn whole(collector: &Collector, trace: &str, outcome: &str, edges: &[(&str, &str)]) -> Result<Tree> {
    let are_there = |tree: &Tree| {
        let found = tree.edges();
        edges.iter().all(|(from, to)| found.contains(&((*from).to_owned(), (*to).to_owned())))
    };
    let tree = collector.tree(trace, |tree| ended(tree, outcome) && are_there(tree)).await;
    tree.with_context(|| format!("these edges are to be there: {edges:?}"))
}

/// As [`whole`], of a trace that a caller has begun.
async fn part(collector: &Collector, trace: &str, outcome: &str) -> Result<Tree> {
    let mut tree = Tree::default();
    for _ in 0..200 {
        tree = Tree::of(collector.spans().into_iter().filter(|one| one.trace() == trace));
        if tree.gaps() == ["POST /v1/orders/{id}/cancel"] && ended(&tree, outcome) {
            return Ok(tree);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    anyhow::bail!("{trace} is not whole, gaps {:?}:\n{tree}", tree.gaps())
}

fn ended(tree: &Tree, outcome: &str) -> bool {
    tree.spans()
        .iter()
        .any(|one| one.span.name.starts_with("saga ") && one.text("saga.outcome").as_deref() == Some(outcome))
}

fn has(tree: &Tree, name: &str, kind: &str, service: &str, parent: Option<&str>) -> bool {
    tree.spans().iter().any(|one| {
        let its_parent = tree.parent(one).ok().map(|parent| parent.span.name.as_str());
        one.span.name == name && one.kind() == kind && one.service == service && its_parent == parent
    })
}

fn one(tree: &Tree, is: impl Fn(&&Received) -> bool) -> Result<&Received> {
    tree.spans().iter().find(is).with_context(|| format!("no such span:\n{tree}"))
}

fn step<'a>(tree: &'a Tree, name: &str) -> Result<&'a Received> {
    one(tree, |one| one.span.name == name && one.text("saga.phase").as_deref() == Some("action"))
}

fn trace_of(answer: &Answer) -> String {
    answer.text("/trace_id").to_owned()
}

fn location(answer: &Answer) -> Result<String> {
    Ok(format!("/v1/orders/{}", order_in_location(answer)?))
}

/// What holds for every span.
fn each_span_is_well_formed(tree: &Tree) -> Result<()> {
    for one in tree.spans() {
        let mut keys: Vec<_> = one.span.attributes.iter().map(|attribute| attribute.key.as_str()).collect();
        keys.sort_unstable();
        ensure!(keys.windows(2).all(|pair| pair[0] != pair[1]), "a key comes twice in {}: {keys:?}", one.span.name);
        ensure!(!keys.contains(&"service"), "{keys:?}");
        ensure!(one.schema_url.ends_with("/1.45.0"), "{}", one.schema_url);
        for key in ["service.instance.id", "service.version", "deployment.environment.name"] {
            ensure!(one.resource.contains_key(key), "{} has no {key}", one.service);
        }
        if one.kind() == "CLIENT" {
            ensure!(one.text("service.peer.name").is_some(), "{} has no peer", one.span.name);
        }
    }
    Ok(())
}
