//! What the machine does to us, and what callers do, short of a crash: each fault once, from outside, against the program itself.
//!
//! Every test ends with the same three questions: has everything settled, is the audit clean, and do the rows themselves agree
//! (`direct.rs`, which shares no code with the audit). What a fault needs and this machine lacks is announced as NOT RUN.
//!
//! Here runs what needs no tools. What needs root, libfaketime or the clock is `#[ignore]`d: `cargo xtask proof machine` runs it all, and
//! ends with a table of how soon orders were accepted after each fault.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bare;
mod callers;
mod clocks;
mod copies;
mod directories;
mod draining;
mod limits;
mod power;
mod sinks;
mod starving;
mod support;
mod writes;

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
    // Stores.
    writes::a_write_that_fails_for_a_moment_ends_nothing,
    #[ignore = "needs root: cargo xtask proof machine"]
    writes::a_full_disk_is_503_and_heals_by_itself,
    writes::a_disk_gone_read_only_parks_no_saga,
    writes::a_first_start_on_a_full_disk_can_be_repeated,
    writes::a_first_start_that_is_killed_can_be_repeated,
    directories::a_second_server_on_one_directory_is_refused,
    directories::a_path_is_a_path,
    directories::a_file_that_is_no_database_is_named,
    directories::a_damaged_index_is_named,
    #[ignore = "needs root: cargo xtask proof machine"]
    directories::a_read_only_directory_is_named,
    copies::a_backup_under_load_restores_every_answer,
    power::a_power_cut_loses_no_answer,
    #[ignore = "takes minutes: cargo xtask proof machine"]
    power::hundreds_of_power_cuts_lose_no_answer,
    // Time.
    #[ignore = "needs libfaketime: cargo xtask proof machine"]
    clocks::sagas_go_on_when_the_clock_is_set_back,
    #[ignore = "needs libfaketime: cargo xtask proof machine"]
    clocks::rate_limits_go_on_when_the_clock_is_set_back,
    #[ignore = "needs libfaketime: cargo xtask proof machine"]
    clocks::a_start_before_the_key_was_made_takes_orders,
    // Processes.
    sinks::unread_pipes_block_nothing,
    sinks::proxies_of_the_environment_hear_nothing,
    limits::idle_connections_leave_room_for_orders,
    limits::too_few_descriptors_are_said_at_start,
    draining::hangups_of_the_terminal_end_no_service,
    draining::a_stop_under_load_answers_what_it_took,
    #[ignore = "measures time: cargo xtask proof machine"]
    draining::a_stop_under_load_ends_within_five_seconds,
    draining::two_instances_need_two_ports_each,
    starving::a_process_without_processor_time_opens_no_breaker,
    #[ignore = "takes all processors: cargo xtask proof machine"]
    starving::orders_are_taken_with_the_processors_taken,
    // Callers.
    callers::streams_without_a_token_leave_room_for_others,
    callers::bodies_that_do_not_end_leave_room_for_others,
    callers::forged_tokens_are_throttled,
    callers::a_session_replayed_often_can_be_revoked,
    callers::a_flood_of_logins_leaves_room_for_others,
    callers::a_client_of_ones_own_replaces_no_other,
    callers::odd_forms_of_requests_are_answered_as_specified,
];
