//! What every store must do for webhooks, with the workers on top and real receivers on loopback: one list of cases, run on every
//! backend.

mod crash;
mod deliver;
mod outbox;
mod run;
pub(crate) mod support;

use crate::support::{Place, on_every_backend};

on_every_backend![
    nothing_is_stored_without_endpoints,
    an_event_and_its_change_are_stored_together_or_not_at_all,
    a_crash_anywhere_leaves_event_and_change_together,
    each_endpoint_is_told_what_it_wants_in_signed_calls,
    an_endpoint_that_was_down_is_told_once_it_is_up,
    only_an_accepted_call_is_delivered,
    a_pause_that_is_asked_for_is_kept,
    a_clock_set_back_prolongs_no_pause,
    a_clock_set_forward_loses_no_webhook,
    a_dead_letter_waits_for_an_operator,
    an_endpoint_that_is_gone_is_left_alone,
    all_dead_letters_of_an_endpoint_are_redelivered_at_once,
    what_a_crashed_process_left_is_told_by_the_next,
    an_attempt_that_crashed_is_made_again_when_its_lease_ends,
    two_processes_at_once_tell_once,
    a_late_answer_changes_nothing,
    deliveries_are_filtered_and_paged,
    old_deliveries_are_forgotten,
    a_commit_is_told_at_once,
    a_slow_endpoint_does_not_delay_others,
    the_service_tells_what_it_is_asked_to_do,
];

macro_rules! cases {
    ($($module:ident: $($case:ident),+;)+) => {
        $($(async fn $case(place: &Place) {
            $module::$case(place).await;
        })+)+
    };
}

cases! {
    outbox:
        nothing_is_stored_without_endpoints,
        an_event_and_its_change_are_stored_together_or_not_at_all;
    crash:
        a_crash_anywhere_leaves_event_and_change_together,
        what_a_crashed_process_left_is_told_by_the_next,
        an_attempt_that_crashed_is_made_again_when_its_lease_ends,
        two_processes_at_once_tell_once,
        a_late_answer_changes_nothing;
    deliver:
        each_endpoint_is_told_what_it_wants_in_signed_calls,
        an_endpoint_that_was_down_is_told_once_it_is_up,
        only_an_accepted_call_is_delivered,
        a_pause_that_is_asked_for_is_kept,
        a_clock_set_back_prolongs_no_pause,
        a_clock_set_forward_loses_no_webhook,
        a_dead_letter_waits_for_an_operator,
        an_endpoint_that_is_gone_is_left_alone,
        all_dead_letters_of_an_endpoint_are_redelivered_at_once,
        deliveries_are_filtered_and_paged,
        old_deliveries_are_forgotten;
    run:
        a_commit_is_told_at_once,
        a_slow_endpoint_does_not_delay_others,
        the_service_tells_what_it_is_asked_to_do;
}
