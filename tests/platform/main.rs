//! The whole path, as a client sees it, on both ways of running: everything in one process, and one process per service on
//! PostgreSQL, MongoDB and Redis. Every case runs on both, through the gateway, and looks at the books, not only at the answer.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and tells what it did")]

mod acquirer;
mod audit;
mod bad_input;
mod dependencies;
mod grpc;
mod operator;
mod orders;
mod overload;
mod rush;
mod tokens;
mod traces;

use std::{future::Future, pin::Pin};

use amends_tests::{
    kit::otlp::Collector,
    platform::{Platform, spans_are_as_registered},
};

type Case = (&'static str, for<'a> fn(&'a Platform) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + 'a>>);

macro_rules! cases {
    ($($module:ident :: $case:ident),* $(,)?) => {
        &[$((concat!(stringify!($module), "::", stringify!($case)), |platform| Box::pin($module::$case(platform)))),*]
    };
}

const CASES: &[Case] = cases![
    orders::a_confirmed_order_is_paid_and_its_goods_are_sold,
    orders::a_declined_payment_is_402_and_the_stock_is_back,
    orders::a_total_over_the_processors_limit_is_declined,
    orders::insufficient_stock_is_409_and_nothing_is_charged,
    orders::a_price_that_is_not_the_catalogues_is_409,
    orders::refused_at_the_pivot_refunds_and_releases,
    orders::the_same_key_and_body_is_one_order_and_one_charge,
    orders::the_same_key_with_another_body_is_422,
    orders::two_equal_requests_at_once_are_one_order,
    orders::a_refusal_is_replayed_as_it_was,
    orders::another_customers_order_does_not_exist,
    orders::respond_async_is_202_and_settles,
    orders::cancelling_refunds_and_restocks,
    orders::lists_page_by_cursor_newest_first,
    orders::correlation_and_trace_ids_come_back,
    tokens::requests_without_a_valid_token_are_401,
    tokens::a_missing_scope_is_403,
    tokens::a_revoked_token_is_401,
    tokens::a_revoked_sessions_tokens_are_401_at_once,
    tokens::identity_headers_from_outside_are_ignored,
    grpc::an_order_is_placed_and_read,
    grpc::refusals_are_statuses_with_error_info,
    grpc::watching_an_order_streams_until_it_settles,
    grpc::a_call_without_a_token_is_unauthenticated,
    bad_input::bad_bodies_name_the_field_and_write_nothing,
    bad_input::bad_headers_are_refused,
    bad_input::a_body_of_ten_megabytes_is_413,
];

/// Of these, what depends on how the order service calls its participants.
const OVER_LOOPBACK: &[Case] = cases![
    orders::a_confirmed_order_is_paid_and_its_goods_are_sold,
    orders::a_declined_payment_is_402_and_the_stock_is_back,
    orders::insufficient_stock_is_409_and_nothing_is_charged,
    orders::refused_at_the_pivot_refunds_and_releases,
    orders::two_equal_requests_at_once_are_one_order,
    orders::cancelling_refunds_and_restocks,
    orders::correlation_and_trace_ids_come_back,
];

/// Runs the cases, at once as clients do, and names each one that fails.
async fn run(cases: &[Case], platform: Platform) {
    let shared = &platform;
    let outcomes =
        futures::future::join_all(cases.iter().map(|(name, case)| async move { (name, case(shared).await) })).await;
    let failed: Vec<String> = outcomes
        .iter()
        .filter_map(|(name, outcome)| outcome.as_ref().err().map(|error| format!("{name}: {error:#}")))
        .collect();
    for (name, outcome) in &outcomes {
        println!("case {name} ... {}", if outcome.is_ok() { "ok" } else { "FAILED" });
    }
    let audit = platform.audit().await;
    assert!(
        failed.is_empty(),
        "{} of {} cases failed:\n\n{}\n\n{}",
        failed.len(),
        cases.len(),
        failed.join("\n\n"),
        platform.logs()
    );
    audit.unwrap();
    // After everything that can be done from outside was done.
    let lines = platform.telemetry_is_as_registered().await.unwrap();
    assert!(lines > cases.len(), "{lines} log lines");
    platform.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_in_one_process() {
    run(CASES, Platform::embedded().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_over_loopback() {
    let settings = serde_json::json!({"embedded": {"join": "loopback"}});
    run(OVER_LOOPBACK, Platform::embedded_with(settings).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_processes_on_servers() {
    if let Some(platform) = Platform::distributed().await.unwrap() {
        run(CASES, platform).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traces_of_orders_are_whole() {
    let collector = Collector::start().await.unwrap();
    if let Some(mut platform) = Platform::distributed_with(traces::settings(&collector)).await.unwrap() {
        let mut looked = traces::each_order_is_one_whole_trace(&platform, &collector).await;
        if looked.is_ok() {
            looked = traces::recovery_continues_the_trace(&mut platform, &collector).await;
        }
        let looked = looked.and_then(|()| spans_are_as_registered(&collector.spans()).map(drop));
        if let Err(error) = looked {
            panic!("{error:#}\n\n{}", platform.logs());
        }
        platform.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traces_of_one_process_are_whole() {
    let collector = Collector::start().await.unwrap();
    let platform = Platform::embedded_with(traces::settings(&collector)).await.unwrap();
    let looked = traces::one_process_names_its_services(&platform, &collector).await;
    if let Err(error) = looked.and_then(|()| spans_are_as_registered(&collector.spans()).map(drop)) {
        panic!("{error:#}\n\n{}", platform.logs());
    }
    platform.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exemplars_lead_to_traces_and_lines() {
    let collector = Collector::start().await.unwrap();
    let platform = Platform::embedded_with(traces::a_tenth(&collector)).await.unwrap();
    if let Err(error) = traces::each_exemplar_leads_to_its_trace_and_lines(&platform, &collector).await {
        panic!("{error:#}\n\n{}", platform.logs());
    }
    platform.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undone_orders_are_traced_though_not_sampled() {
    let collector = Collector::start().await.unwrap();
    let platform = Platform::embedded_with(traces::none(&collector)).await.unwrap();
    if let Err(error) = traces::what_is_undone_is_sent(&platform, &collector).await {
        panic!("{error:#}\n\n{}", platform.logs());
    }
    platform.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_dependencies() {
    if let Some(mut platform) = Platform::distributed().await.unwrap() {
        if let Err(error) = dependencies::each_dependency_dies_and_returns(&mut platform).await {
            panic!("{error:#}\n\n{}", platform.logs());
        }
        platform.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acquirer_that_fails() {
    if let Some(mut platform) = Platform::distributed_with(acquirer::settings()).await.unwrap() {
        if let Err(error) = acquirer::an_acquirer_may_fail_in_every_way(&mut platform).await {
            panic!("{error:#}\n\n{}", platform.logs());
        }
        platform.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_help_parked_sagas() {
    if let Some(mut platform) = Platform::distributed_with(operator::settings()).await.unwrap() {
        if let Err(error) = operator::a_parked_saga_is_found_and_helped(&mut platform).await {
            panic!("{error:#}\n\n{}", platform.logs());
        }
        platform.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_audit_finds_what_was_planted() {
    let mut platform = Platform::embedded().await.unwrap();
    audit::every_planted_discrepancy_is_found(&mut platform).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_audit_finds_what_was_planted_on_servers() {
    if let Some(mut platform) = Platform::distributed().await.unwrap()
        && let Err(error) = audit::planted_on_servers_it_is_found(&mut platform).await
    {
        panic!("{error:#}\n\n{}", platform.logs());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_audit_of_busy_stores_is_silent() {
    let platform = Platform::embedded().await.unwrap();
    audit::nothing_is_found_while_orders_are_placed(&platform).await.unwrap();
    platform.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_audit_of_busy_servers_is_silent() {
    if let Some(platform) = Platform::distributed().await.unwrap() {
        audit::nothing_is_found_while_orders_are_placed(&platform).await.unwrap();
        platform.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_buyers_embedded() {
    let platform = Platform::embedded_with(rush::settings()).await.unwrap();
    rush::a_thousand_buyers_get_a_hundred_items(&platform).await.unwrap();
    platform.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_buyers_on_servers() {
    if let Some(platform) = Platform::distributed_with(rush::settings()).await.unwrap() {
        rush::a_thousand_buyers_get_a_hundred_items(&platform).await.unwrap();
        platform.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overload_embedded() {
    let platform = Platform::embedded_with(overload::settings()).await.unwrap();
    overload::what_is_let_in_is_finished_and_the_rest_was_never_there(&platform).await.unwrap();
    platform.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overload_on_servers() {
    if let Some(platform) = Platform::distributed_with(overload::settings()).await.unwrap() {
        overload::what_is_let_in_is_finished_and_the_rest_was_never_there(&platform).await.unwrap();
        platform.stop().await.unwrap();
    }
}
