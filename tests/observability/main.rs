//! What an operator sees, by the programs that show it: a real Prometheus with the shipped rules and dashboards, and a real OpenTelemetry
//! Collector with the shipped configuration. `cargo xtask proof observability` runs it all, since each needs an outside program.
//!
//! A program that this machine lacks is announced as NOT RUN.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and tells what it did")]

mod collector;
mod dashboards;
mod load;
mod prometheus;
mod rules;

macro_rules! rows {
    ($($(#[$attribute:meta])* $module:ident :: $test:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            $(#[$attribute])*
            async fn $test() {
                if let Err(error) = Box::pin($module::$test()).await {
                    panic!("{error:#}");
                }
            }
        )*
    };
}

rows![
    #[ignore = "needs Prometheus: cargo xtask proof observability"]
    prometheus::panels_and_rules_have_data_after_an_outage,
    #[ignore = "needs the OpenTelemetry Collector: cargo xtask proof observability"]
    collector::spans_become_metrics_named_by_convention,
    #[ignore = "needs the OpenTelemetry Collector: cargo xtask proof observability"]
    collector::failed_traces_are_kept_when_no_others_are,
];
