//! What every backend of the store must do. One list, run on each.

use std::{sync::Arc, time::Duration};

use amends_primitives::{Clock as _, IdSource as _, ManualClock, RandomIds, Timestamp};
use amends_sql::Database;
use uuid::Uuid;

use super::support::{TestDatabase, every_database};
use crate::{
    crypto::refresh_token::Presented,
    domain::{
        key_schedule::{KeyTimes, NewKey},
        principal::{Client, Grant, GrantSet, User},
        refresh::{Family, RefreshPolicy, Refusal},
        scope::ScopeSet,
        throttle::Failures,
    },
    ports::{Rotated, Rotation, Store, StoreError, StoredKey, TokenName},
    store::{SCHEMA, SqlStore},
};

const POLICY: RefreshPolicy = RefreshPolicy {
    idle_max: Duration::from_secs(1000),
    age_max: Duration::from_secs(5000),
    grace: Duration::from_secs(10),
};

struct Place {
    store: Arc<SqlStore>,
    _database: TestDatabase,
}

async fn every_store() -> Vec<Place> {
    let mut places = Vec::new();
    for test_database in every_database().await {
        let database = Database::connect_lazy(&test_database.url, &amends_sql::Options::default()).unwrap();
        database.migrate(&SCHEMA).await.unwrap();
        places.push(Place { store: Arc::new(SqlStore::new(database)), _database: test_database });
    }
    places
}

fn start() -> Timestamp {
    ManualClock::default().now()
}

fn secs(secs: u64) -> Timestamp {
    start() + Duration::from_secs(secs)
}

fn token(jti: &str, end: u64) -> TokenName {
    TokenName { jti: jti.into(), expires_at: secs(end) }
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
    }
}

async fn rotate(store: &SqlStore, family_id: Uuid, generation: u32, access: &TokenName, now: Timestamp) -> Rotated {
    let presented = Presented { family_id, generation };
    store.rotate(Rotation { presented, client_id: "web", access }, &POLICY, now).await.unwrap()
}

fn current(generation: u32, repeated: bool) -> Rotated {
    Rotated::Current { generation, repeated }
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
        let day_after = secs(91 + 24 * 3600);
        store.purge(secs(91), start(), 10).await.unwrap();
        assert_eq!(store.keys().await.unwrap().len(), 2, "kept a day after it was withdrawn");
        store.purge(day_after, start(), 10).await.unwrap();
        assert_eq!(store.keys().await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_family_rotates_repeats_and_is_revoked_on_reuse() {
    for Place { store, .. } in &every_store().await {
        let family = family();
        let id = family.family_id;
        store.begin_family(&family, &token("a1", 100)).await.unwrap();
        assert_eq!(store.family(id).await.unwrap(), Some(family));
        assert_eq!(rotate(store, id, 1, &token("a2", 200), secs(60)).await, current(2, false));
        assert_eq!(rotate(store, id, 1, &token("a3", 200), secs(65)).await, current(2, true));
        let rotated = store.family(id).await.unwrap().unwrap();
        assert_eq!((rotated.generation, rotated.rotated_at, rotated.expires_at), (2, secs(60), secs(1060)));
        let foreign = Rotation {
            presented: Presented { family_id: id, generation: 1 },
            client_id: "thief",
            access: &token("a4", 200),
        };
        let refused = store.rotate(foreign, &POLICY, secs(80)).await.unwrap();
        assert_eq!(refused, Rotated::Refused(Refusal::OtherClient));
        assert!(!store.family(id).await.unwrap().unwrap().revoked, "a stranger ends nobody's session");
        let reused = rotate(store, id, 1, &token("a5", 200), secs(110)).await;
        assert_eq!(
            reused,
            Rotated::Reused(vec![token("a2", 200), token("a3", 200)]),
            "a1 has expired, a4 and a5 never were"
        );
        assert!(store.is_revoked("a2").await.unwrap() && store.is_revoked("a3").await.unwrap());
        assert!(!store.is_revoked("a1").await.unwrap() && !store.is_revoked("a5").await.unwrap());
        assert_eq!(rotate(store, id, 2, &token("a6", 200), secs(111)).await, Rotated::Refused(Refusal::Revoked));
        assert_eq!(rotate(store, Uuid::nil(), 1, &token("a7", 200), secs(111)).await, Rotated::Unknown);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_rotations_at_once_one_progresses() {
    for Place { store, .. } in &every_store().await {
        let family = family();
        store.begin_family(&family, &token("first", 100)).await.unwrap();
        let racers = (0..32).map(|n| {
            let (store, id) = (Arc::clone(store), family.family_id);
            tokio::spawn(async move { rotate(&store, id, 1, &token(&format!("racer-{n}"), 100), secs(1)).await })
        });
        let outcomes = futures::future::join_all(racers).await;
        let fresh = outcomes.iter().filter(|outcome| *outcome.as_ref().unwrap() == current(2, false)).count();
        let repeated = outcomes.iter().filter(|outcome| *outcome.as_ref().unwrap() == current(2, true)).count();
        assert_eq!((fresh, repeated), (1, 31));
        assert_eq!(store.family(family.family_id).await.unwrap().unwrap().generation, 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_revocation_catches_every_token_of_a_race() {
    for Place { store, .. } in &every_store().await {
        for round in 0..10 {
            let family = family();
            let id = family.family_id;
            let name = |n: &str| token(&format!("{round}-{n}"), 100);
            store.begin_family(&family, &name("first")).await.unwrap();
            let refreshing = {
                let (store, access) = (Arc::clone(store), name("second"));
                tokio::spawn(async move { rotate(&store, id, 1, &access, secs(1)).await })
            };
            let revoking = {
                let store = Arc::clone(store);
                tokio::spawn(async move { store.revoke_family(id, secs(1)).await.unwrap() })
            };
            let (rotated, revoked) = (refreshing.await.unwrap(), revoking.await.unwrap());
            assert!(revoked.contains(&name("first")));
            match rotated {
                Rotated::Current { .. } => assert!(revoked.contains(&name("second")), "issued and not revoked"),
                Rotated::Refused(Refusal::Revoked) => assert_eq!(revoked.len(), 1),
                other => panic!("{other:?}"),
            }
        }
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
        assert!(!store.is_revoked("t3").await.unwrap() && store.is_revoked("t4").await.unwrap());
    }
}

#[tokio::test]
async fn what_is_over_is_deleted() {
    for Place { store, .. } in &every_store().await {
        let family = family();
        store.begin_family(&family, &token("a", 100)).await.unwrap();
        store.add_failure("old", secs(1), start()).await.unwrap();
        store.add_failure("new", secs(900), start()).await.unwrap();
        assert_eq!(store.purge(secs(999), secs(500), 10).await.unwrap(), 2, "the access token and the old failure");
        assert!(store.family(family.family_id).await.unwrap().is_some());
        assert_eq!(store.purge(secs(1001), secs(500), 10).await.unwrap(), 1);
        assert!(store.family(family.family_id).await.unwrap().is_none());
        assert!(store.failures("new").await.unwrap().is_some());
        store.ping().await.unwrap();
    }
}

#[tokio::test]
async fn a_full_disk_costs_the_log_ins_that_meet_it() {
    let test_database = super::support::sqlite();
    let database = Database::connect_lazy(&test_database.url, &amends_sql::Options::default()).unwrap();
    database.migrate(&SCHEMA).await.unwrap();
    let store = SqlStore::new(database.clone());
    for ail in [Database::fill_up, Database::turn_read_only] {
        ail(&database);
        let mut begun = 0;
        let refused = loop {
            assert!(begun < 10_000, "the disk never filled up");
            let begin = store.begin_family(&family(), &token(&format!("t{}", RandomIds.next_id()), 100)).await;
            match begin {
                Ok(()) => begun += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
        assert!(store.ping().await.is_err());
        database.mend();
        store.begin_family(&family(), &token(&format!("t{}", RandomIds.next_id()), 100)).await.unwrap();
        store.ping().await.unwrap();
    }
}
