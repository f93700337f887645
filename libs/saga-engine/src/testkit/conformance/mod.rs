//! What every journal has to do, as tests that any implementation can be put through: [`run`] gives each case a fresh store.

mod entries;
mod listing;
mod ownership;
mod requests;
mod world;

use amends_primitives::{SeededIds, Timestamp};

use world::World;
pub use world::{Backend, Probe};

macro_rules! cases {
    ($($group:ident::$case:ident)*) => {
        /// Puts a kind of store through the whole suite.
        ///
        /// # Panics
        /// When it does not do what a journal has to do.
        pub async fn run<B: Backend>(backend: &B) {
            $(
                let world = World {
                    backend,
                    journal: backend.fresh().await,
                    ids: SeededIds::new(0x00c0_ffee),
                    now: Timestamp::from_millis(1_700_000_000_000),
                };
                $group::$case(world).await;
                tracing::debug!(?backend, case = stringify!($case), "conforms");
            )*
        }
    };
}

cases! {
    entries::a_started_saga_is_stored_as_it_was_given
    entries::a_saga_exists_only_if_the_callers_transaction_commits
    entries::an_id_is_used_once
    entries::an_entry_moves_the_saga_and_keeps_its_events
    entries::an_entry_is_refused_unless_it_is_the_owners_next
    entries::a_repeated_entry_is_recognised
    entries::a_change_commits_with_its_entry
    entries::a_refused_change_leaves_nothing
    entries::concurrent_entries_do_not_share_their_failures
    ownership::the_sagas_of_a_dead_replica_are_claimed_once
    ownership::a_living_replica_keeps_its_sagas
    ownership::a_clock_set_back_prolongs_no_lease
    ownership::a_clock_set_forward_ends_no_lease
    ownership::stats_count_replicas_by_the_stores_clock
    ownership::what_is_not_known_is_left_alone
    ownership::released_and_retired_sagas_can_be_claimed_at_once
    ownership::evicted_replicas_lose_their_sagas
    ownership::finished_sagas_have_no_owner
    requests::requests_reach_the_owner_and_are_cleared_with_an_entry
    requests::requests_are_refused_where_they_make_no_sense
    requests::a_parked_saga_waits_for_a_request
    listing::lists_are_newest_first_and_paged
    listing::stats_count_what_is_unfinished
    listing::only_old_finished_sagas_are_purged
    listing::failures_and_causes_are_read_back
}
