//! What every backend of the store must do. One list, run on each.

use std::{sync::Arc, time::Duration};

use amends_auth::{Revocable, session_name};
use amends_primitives::{Clock as _, IdSource as _, ManualClock, RandomIds, Timestamp};
use amends_sql::Database;
use uuid::Uuid;

use crate::{
    crypto::refresh_token::Presented,
    domain::{
        key_schedule::{KeyTimes, NewKey},
        principal::{Client, Grant, GrantSet, User},
        refresh::{Family, IssuedAccess, RefreshPolicy, Refusal},
        scope::ScopeSet,
        throttle::Failures,
    },
    ports::{Revocation, Rotated, Rotation, Store, StoreError, StoredKey},
    store::{SCHEMA, SqlStore},
};
use amends_testing::TestDatabase;

const POLICY: RefreshPolicy = RefreshPolicy {
    idle_max: Duration::from_secs(1000),
    age_max: Duration::from_secs(5000),
    grace: Duration::from_secs(10),
};

struct Place {
    store: Arc<SqlStore>,
    database: TestDatabase,
}

async fn every_store() -> Vec<Place> {
    let mut places = Vec::new();
    for test_database in TestDatabase::each().await {
        let database = Database::connect_lazy(&test_database.url, &amends_sql::Options::default()).unwrap();
        database.migrate(&SCHEMA).await.unwrap();
        places.push(Place { store: Arc::new(SqlStore::new(database)), database: test_database });
    }
    places
}

fn start() -> Timestamp {
    ManualClock::default().now()
}

fn secs(secs: u64) -> Timestamp {
    start() + Duration::from_secs(secs)
}

fn token(name: &str, end: u64) -> Revocation {
    Revocation { name: name.into(), expires_at: secs(end) }
}

fn access(jti: &str, end: u64) -> IssuedAccess {
    let scopes = ScopeSet::parse("a").unwrap();
    IssuedAccess { jti: jti.into(), iat: start().as_secs(), exp: secs(end).as_secs(), scopes }
}

/// The revocation of a session, kept until then.
fn session(id: Uuid, end: u64) -> Revocation {
    token(&session_name(&id.to_string()), end)
}

fn family() -> Family {
    Family {
        family_id: RandomIds.next_id(),
        username: "ann".into(),
        client_id: "web".into(),
        scopes: ScopeSet::parse("a b").unwrap(),
        generation: 1,
        rotated_at: start(),
        created_at: start(),
        expires_at: secs(1000),
        revoked: false,
        password_of: Some(secs(1)),
        access: None,
    }
}

/// How long the tests keep a session's revocation.
const KEPT: u64 = 4000;

/// As a refresh does it: with the family that was read before.
async fn rotate(store: &SqlStore, family_id: Uuid, generation: u32, access: &IssuedAccess, now: Timestamp) -> Rotated {
    let known = store.family(family_id).await.unwrap();
    rotate_known(store, (family_id, generation), known.as_ref(), access, now).await
}

async fn rotate_known(
    store: &SqlStore,
    (family_id, generation): (Uuid, u32),
    known: Option<&Family>,
    access: &IssuedAccess,
    now: Timestamp,
) -> Rotated {
    let presented = Presented { family_id, generation };
    let rotation = Rotation { presented, client_id: "web", known, access, revoked_until: secs(KEPT) };
    store.rotate(rotation, &POLICY, now).await.unwrap()
}

fn current(generation: u32, access: IssuedAccess, repeated: bool) -> Rotated {
    Rotated::Current { generation, access, repeated }
}

async fn is_revoked(store: &SqlStore, jti: &str) -> bool {
    store.is_revoked(Revocable::token(jti)).await.unwrap()
}

async fn is_session_revoked(store: &SqlStore, id: Uuid) -> bool {
    store.is_revoked(Revocable { jti: "any", sid: Some(&id.to_string()) }).await.unwrap()
}

#[tokio::test]
async fn users_and_clients_are_kept_and_replaced() {
    for Place { store, .. } in &every_store().await {
        assert!(store.user("ann").await.unwrap().is_none());
        let mut user = User {
            username: "ann".into(),
            password_hash: "h1".into(),
            scopes: ScopeSet::parse("a b").unwrap(),
            disabled: false,
            password_changed_at: secs(1),
        };
        store.put_user(&user, start()).await.unwrap();
        user.disabled = true;
        store.put_user(&user, start()).await.unwrap();
        store.rehash_user("ann", "stale", "h3").await.unwrap();
        let read = store.user("ann").await.unwrap().unwrap();
        assert_eq!((read.password_hash.as_str(), read.disabled), ("h1", true), "a stale rehash changes nothing");
        assert_eq!((read.scopes, read.password_changed_at), (user.scopes.clone(), secs(1)));
        store.rehash_user("ann", "h1", "h2").await.unwrap();
        assert_eq!(store.user("ann").await.unwrap().unwrap().password_hash, "h2");
        assert!(store.user("Ann").await.unwrap().is_none(), "names have one spelling");

        let mut client = Client {
            client_id: "web".into(),
            secret_mac: None,
            scopes: ScopeSet::default(),
            grants: [Grant::RefreshToken, Grant::TokenExchange].into_iter().collect::<GrantSet>(),
            disabled: false,
        };
        store.put_client(&client, start()).await.unwrap();
        assert_eq!(store.client("web").await.unwrap().unwrap().secret_mac, None);
        client.secret_mac = Some("mac".into());
        store.put_client(&client, start()).await.unwrap();
        let read = store.client("web").await.unwrap().unwrap();
        assert_eq!((read.secret_mac, read.grants, read.scopes), (client.secret_mac, client.grants, client.scopes));
    }
}

#[tokio::test]
async fn failures_are_counted_forgotten_and_cleared() {
    for Place { store, .. } in &every_store().await {
        assert_eq!(store.failures("p").await.unwrap(), None);
        for n in 1..=3 {
            store.add_failure("p", secs(n), start()).await.unwrap();
        }
        assert_eq!(store.failures("p").await.unwrap(), Some(Failures { count: 3, last_at: secs(3) }));
        store.add_failure("p", secs(100), secs(50)).await.unwrap();
        assert_eq!(store.failures("p").await.unwrap(), Some(Failures { count: 1, last_at: secs(100) }));
        store.clear_failures("p").await.unwrap();
        assert_eq!(store.failures("p").await.unwrap(), None);
    }
}

#[tokio::test]
async fn two_replicas_make_one_key() {
    for Place { store, .. } in &every_store().await {
        let plan = |sequence, active, predecessor_retires_at| NewKey {
            times: KeyTimes { sequence, published_at: start(), active_from: secs(active), retire_at: None },
            predecessor_retires_at,
        };
        let key = |kid: &str, times| StoredKey { kid: kid.into(), x: "x".into(), sealed_private: "s".into(), times };
        let (one, two) = (plan(1, 0, None), plan(2, 50, Some(secs(90))));
        assert!(store.add_key(&key("k1", one.times), &one).await.unwrap());
        let (k2, k2b) = (key("k2", two.times), key("k2b", two.times));
        let (first, second) = tokio::join!(store.add_key(&k2, &two), store.add_key(&k2b, &two));
        assert!(first.unwrap() ^ second.unwrap());
        let keys = store.keys().await.unwrap();
        assert_eq!(keys.iter().map(|key| key.times.sequence).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(keys[0].times.retire_at, Some(secs(90)));
        assert_eq!(keys[1].times, two.times);
        store.reseal_key("k1", "anew").await.unwrap();
        assert_eq!(store.keys().await.unwrap()[0].sealed_private, "anew");
        let a_year_ahead = secs(365 * 24 * 3600);
        store.purge(a_year_ahead, start(), 10).await.unwrap();
        assert_eq!(store.keys().await.unwrap().len(), 2, "a clock that is far ahead takes no key away");
        for sequence in 3..=101 {
            let plan = plan(sequence, 60, Some(secs(90)));
            assert!(store.add_key(&key(&format!("k{sequence}"), plan.times), &plan).await.unwrap());
        }
        store.purge(secs(91), start(), 10).await.unwrap();
        assert_eq!(store.keys().await.unwrap().len(), 101, "kept a day after it was withdrawn");
        store.purge(secs(91 + 24 * 3600), start(), 10).await.unwrap();
        let sequences: Vec<i64> = store.keys().await.unwrap().iter().map(|key| key.times.sequence).collect();
        assert_eq!(sequences, (2..=101).collect::<Vec<_>>(), "but there are no more than a hundred for long");
    }
}

#[tokio::test]
async fn a_family_rotates_repeats_and_is_revoked_on_reuse() {
    for Place { store, .. } in &every_store().await {
        let family = Family { access: Some(access("a1", 100)), ..family() };
        let id = family.family_id;
        store.begin_family(&family).await.unwrap();
        assert_eq!(store.family(id).await.unwrap(), Some(family));
        let second = access("a2", 200);
        assert_eq!(rotate(store, id, 1, &second, secs(60)).await, current(2, second.clone(), false));
        assert_eq!(rotate(store, id, 1, &access("a3", 300), secs(65)).await, current(2, second.clone(), true));
        let rotated = store.family(id).await.unwrap().unwrap();
        assert_eq!((rotated.generation, rotated.rotated_at, rotated.expires_at), (2, secs(60), secs(1060)));
        assert_eq!(rotated.access, Some(second));
        let foreign = Rotation {
            presented: Presented { family_id: id, generation: 1 },
            client_id: "thief",
            known: None,
            access: &access("a4", 200),
            revoked_until: secs(KEPT),
        };
        let refused = store.rotate(foreign, &POLICY, secs(80)).await.unwrap();
        assert_eq!(refused, Rotated::Refused(Refusal::OtherClient));
        assert!(!store.family(id).await.unwrap().unwrap().revoked, "a stranger ends nobody's session");
        assert!(!is_session_revoked(store, id).await);
        let reused = rotate(store, id, 1, &access("a5", 200), secs(110)).await;
        assert_eq!(reused, Rotated::Reused(session(id, KEPT)), "one name, whatever was issued");
        assert!(is_session_revoked(store, id).await && !is_revoked(store, "a2").await);
        assert_eq!(rotate(store, id, 2, &access("a6", 200), secs(111)).await, Rotated::Refused(Refusal::Revoked));
        assert_eq!(rotate(store, Uuid::nil(), 1, &access("a7", 200), secs(111)).await, Rotated::Unknown);
    }
}

#[tokio::test]
async fn what_was_known_of_a_family_is_not_believed() {
    for Place { store, .. } in &every_store().await {
        let fresh = family();
        let id = fresh.family_id;
        store.begin_family(&fresh).await.unwrap();
        let second = access("a2", 200);
        assert_eq!(rotate_known(store, (id, 1), None, &second, secs(60)).await, current(2, second.clone(), false));
        let late = rotate_known(store, (id, 1), Some(&fresh), &access("a3", 300), secs(65)).await;
        assert_eq!(late, current(2, second, true), "another was first");
        let other = Family { family_id: Uuid::from_u128(3), ..fresh.clone() };
        let unknown = rotate_known(store, (other.family_id, 1), Some(&other), &access("a4", 300), secs(65)).await;
        assert_eq!(unknown, Rotated::Unknown);
        let known = store.family(id).await.unwrap().unwrap();
        store.revoke_family(id, secs(KEPT), secs(66)).await.unwrap();
        let revoked = rotate_known(store, (id, 2), Some(&known), &access("a5", 300), secs(67)).await;
        assert_eq!(revoked, Rotated::Refused(Refusal::Revoked));
        assert_eq!(store.family(id).await.unwrap().unwrap().generation, 2);
        let reused = rotate_known(store, (id, 1), Some(&fresh), &access("a6", 300), secs(900)).await;
        assert_eq!(reused, Rotated::Refused(Refusal::Revoked), "decided by what is stored");
    }
}

#[tokio::test]
async fn a_session_is_read_with_its_user_and_a_client() {
    for Place { store, .. } in &every_store().await {
        let family = Family { access: Some(access("a1", 100)), ..family() };
        store.begin_family(&family).await.unwrap();
        let session = async |client| store.session(family.family_id, client).await.unwrap().unwrap();
        let alone = session("web").await;
        assert!(alone.family == family && alone.user.is_none() && alone.client.is_none());
        let user = User {
            username: "ann".into(),
            password_hash: "h1".into(),
            scopes: ScopeSet::parse("a b").unwrap(),
            disabled: true,
            password_changed_at: secs(1),
        };
        store.put_user(&user, start()).await.unwrap();
        let client = Client {
            client_id: "web".into(),
            secret_mac: None,
            scopes: ScopeSet::parse("b").unwrap(),
            grants: [Grant::RefreshToken].into_iter().collect::<GrantSet>(),
            disabled: false,
        };
        store.put_client(&client, start()).await.unwrap();
        let whole = session("web").await;
        let (read, by) = (whole.user.unwrap(), whole.client.unwrap());
        assert_eq!((read.username, read.password_hash, read.scopes), (user.username, user.password_hash, user.scopes));
        assert_eq!((read.disabled, read.password_changed_at), (true, secs(1)));
        assert_eq!((by.client_id, by.secret_mac, by.scopes), (client.client_id, None, client.scopes));
        assert!(by.grants.allows(Grant::RefreshToken) && !by.grants.allows(Grant::TokenExchange) && !by.disabled);
        let of_other = session("other").await;
        assert!(of_other.family == family && of_other.user.is_some() && of_other.client.is_none());
        assert!(store.session(Uuid::nil(), "web").await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_generation_has_one_living_access_token() {
    for Place { store, .. } in &every_store().await {
        let family = family();
        let id = family.family_id;
        store.begin_family(&family).await.unwrap();
        let (short, next) = (access("short", 64), access("next", 70));
        assert_eq!(rotate(store, id, 1, &short, secs(60)).await, current(2, short.clone(), false));
        assert_eq!(rotate(store, id, 1, &access("x", 69), secs(63)).await, current(2, short, true));
        assert_eq!(rotate(store, id, 1, &next, secs(64)).await, current(2, next.clone(), true), "the first is over");
        assert_eq!(rotate(store, id, 1, &access("y", 75), secs(69)).await, current(2, next, true));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_rotations_at_once_one_progresses() {
    for Place { store, .. } in &every_store().await {
        let family = family();
        store.begin_family(&family).await.unwrap();
        let racers = (0..32).map(|n| {
            let (store, id) = (Arc::clone(store), family.family_id);
            tokio::spawn(async move { rotate(&store, id, 1, &access(&format!("racer-{n}"), 100), secs(1)).await })
        });
        let outcomes = futures::future::join_all(racers).await.into_iter().map(Result::unwrap).collect::<Vec<_>>();
        let winner = outcomes.iter().find_map(|outcome| match outcome {
            Rotated::Current { generation: 2, access, repeated: false } => Some(access.clone()),
            _ => None,
        });
        let winner = winner.unwrap();
        let repeated = outcomes.iter().filter(|outcome| **outcome == current(2, winner.clone(), true)).count();
        assert_eq!(repeated, 31, "the others are given what the one was");
        assert_eq!(store.family(family.family_id).await.unwrap().unwrap().generation, 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_revocation_catches_every_token_of_a_race() {
    for Place { store, .. } in &every_store().await {
        for round in 0..10 {
            let family = family();
            let id = family.family_id;
            store.begin_family(&family).await.unwrap();
            let refreshing = {
                let (store, access) = (Arc::clone(store), access(&format!("{round}-second"), 100));
                tokio::spawn(async move { rotate(&store, id, 1, &access, secs(1)).await })
            };
            let revoking = {
                let store = Arc::clone(store);
                tokio::spawn(async move { store.revoke_family(id, secs(KEPT), secs(1)).await.unwrap() })
            };
            let (rotated, revoked) = (refreshing.await.unwrap(), revoking.await.unwrap());
            assert_eq!(revoked, Some(session(id, KEPT)));
            assert!(matches!(rotated, Rotated::Current { .. } | Rotated::Refused(Refusal::Revoked)), "{rotated:?}");
            assert!(is_session_revoked(store, id).await, "whatever was issued belongs to it");
        }
        assert_eq!(store.revoke_family(Uuid::nil(), secs(KEPT), secs(1)).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_sessions_revocation_outlives_its_last_token() {
    for Place { store, .. } in &every_store().await {
        let family = Family { access: Some(access("a", 9000)), ..family() };
        store.begin_family(&family).await.unwrap();
        let first = store.revoke_family(family.family_id, secs(KEPT), secs(1)).await.unwrap().unwrap();
        assert_eq!(first.expires_at, secs(9000 + 300), "the clock was set back since it was issued");
        assert_eq!(store.unshared(secs(2), 9).await.unwrap(), [first]);
    }
}

/// What the release before does to a session: each access token is a row, and a session's end is a mark on its own.
async fn old_release(store: &Place, statement: &str) {
    let database = Database::connect_lazy(&store.database.url, &amends_sql::Options::default()).unwrap();
    sqlx::query(sqlx::AssertSqlSafe(statement.to_owned())).execute(database.writer()).await.unwrap();
    database.close().await;
}

#[tokio::test]
async fn what_the_release_before_left_is_revoked_in_batches() {
    for place in &every_store().await {
        let store = &place.store;
        let (ours, theirs) = (family(), family());
        let (id, other) = (ours.family_id, theirs.family_id);
        let end = secs(500).as_micros();
        for (session, family) in [(id, &ours), (other, &theirs)] {
            store.begin_family(family).await.unwrap();
            for n in 0..5 {
                let insert = format!("INSERT INTO family_access_tokens VALUES ('{session}-{n}', '{session}', {end})");
                old_release(place, &insert).await;
            }
        }
        let over = format!("INSERT INTO family_access_tokens VALUES ('over', '{id}', {})", secs(1).as_micros());
        old_release(place, &over).await;
        store.revoke_family(id, secs(KEPT), secs(2)).await.unwrap().unwrap();
        let catch_up = async || store.catch_up(start(), secs(KEPT), secs(3), 4).await.unwrap();
        assert_eq!([catch_up().await, catch_up().await, catch_up().await], [4, 2, 0]);
        for n in 0..5 {
            assert!(is_revoked(store, &format!("{id}-{n}")).await && !is_revoked(store, &format!("{other}-{n}")).await);
        }
        assert!(!is_revoked(store, "over").await);
        let mark =
            format!("UPDATE refresh_families SET revoked_at = {} WHERE family_id = '{other}'", secs(4).as_micros());
        old_release(place, &mark).await;
        assert!(is_session_revoked(store, other).await, "introspection sees that at once");
        assert_eq!([catch_up().await, catch_up().await, catch_up().await], [5, 1, 0]);
        let names = store.revocations(secs(5), None, 99).await.unwrap();
        assert!(names.contains(&session(other, KEPT)) && names.contains(&session(id, KEPT)));
        assert_eq!(names.len(), 12);
    }
}

#[tokio::test]
async fn the_release_before_can_go_on_with_this_schema() {
    for place in &every_store().await {
        let (store, family) = (&place.store, family());
        let id = family.family_id;
        store.begin_family(&family).await.unwrap();
        rotate(store, id, 1, &access("ours", 200), secs(60)).await;
        // As it begins and rotates: without the columns it does not know.
        let begun = Uuid::from_u128(7);
        let columns =
            "family_id, username, client_id, scopes, generation, rotated_at, created_at, expires_at, revoked_at";
        let at = |secs: Timestamp| secs.as_micros();
        let values = format!("'{begun}', 'ann', 'web', 'a b', 1, {0}, {0}, {1}, NULL", at(start()), at(secs(1000)));
        old_release(place, &format!("INSERT INTO refresh_families ({columns}) VALUES ({values})")).await;
        let read = store.family(begun).await.unwrap().unwrap();
        assert_eq!((read.access, read.password_of), (None, None));
        let rotation = format!("generation = 3, rotated_at = {}, expires_at = {}", at(secs(61)), at(secs(1061)));
        old_release(place, &format!("UPDATE refresh_families SET {rotation} WHERE family_id = '{id}'")).await;
        assert_eq!(store.family(id).await.unwrap().unwrap().access, None, "that one was of the generation before");
        let again = access("again", 200);
        assert_eq!(rotate(store, id, 2, &again, secs(62)).await, current(3, again.clone(), true));
        assert_eq!(rotate(store, id, 2, &access("x", 200), secs(63)).await, current(3, again, true));
    }
}

#[tokio::test]
async fn revocations_are_listed_shared_and_forgotten() {
    for Place { store, .. } in &every_store().await {
        for n in 1..=5_u64 {
            store.revoke(&token(&format!("t{n}"), n * 10), secs(n)).await.unwrap();
        }
        store.revoke(&token("t5", 50), secs(9)).await.unwrap();
        let page = store.revocations(secs(20), None, 2).await.unwrap();
        assert_eq!(page, [token("t3", 30), token("t4", 40)]);
        assert_eq!(store.revocations(secs(20), Some("t4"), 2).await.unwrap(), [token("t5", 50)]);
        assert_eq!(store.unshared(secs(0), 3).await.unwrap(), [token("t1", 10), token("t2", 20), token("t3", 30)]);
        store.mark_shared(&page).await.unwrap();
        assert_eq!(store.unshared(secs(0), 9).await.unwrap(), [token("t1", 10), token("t2", 20), token("t5", 50)]);
        assert_eq!(store.purge(secs(31), start(), 2).await.unwrap(), 2, "a bounded number at a time");
        assert_eq!(store.purge(secs(31), start(), 2).await.unwrap(), 1);
        assert!(!is_revoked(store, "t3").await && is_revoked(store, "t4").await);
    }
}

#[tokio::test]
async fn what_is_over_is_deleted() {
    for Place { store, .. } in &every_store().await {
        let family = family();
        store.begin_family(&family).await.unwrap();
        store.revoke(&token("a", 100), secs(1)).await.unwrap();
        store.add_failure("old", secs(1), start()).await.unwrap();
        store.add_failure("new", secs(900), start()).await.unwrap();
        assert_eq!(store.purge(secs(999), secs(500), 10).await.unwrap(), 2, "the revocation and the old failure");
        assert!(store.family(family.family_id).await.unwrap().is_some());
        assert_eq!(store.purge(secs(1001), secs(500), 10).await.unwrap(), 1);
        assert!(store.family(family.family_id).await.unwrap().is_none());
        assert!(store.failures("new").await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_full_disk_costs_the_log_ins_that_meet_it() {
    let test_database = TestDatabase::sqlite();
    let database = Database::connect_lazy(&test_database.url, &amends_sql::Options::default()).unwrap();
    database.migrate(&SCHEMA).await.unwrap();
    let store = SqlStore::new(database.clone());
    for ail in [Database::fill_up, Database::turn_read_only] {
        ail(&database);
        let mut begun = 0;
        let refused = loop {
            assert!(begun < 10_000, "the disk never filled up");
            let begin = store.begin_family(&family()).await;
            match begin {
                Ok(()) => begun += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
        assert!(database.ready().await.is_err());
        database.repair();
        store.begin_family(&family()).await.unwrap();
        database.ready().await.unwrap();
    }
}
