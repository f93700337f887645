//! What a happy order costs its store.

use futures::future::join_all;

use crate::testkit::{Mark, Platform, Postgres};

const ONE: &str = r#"{"items":[{"sku":"beans","quantity":1}],"payment_method":"pm_ok"}"#;

#[tokio::test]
async fn two_commits_alone_and_well_under_one_among_many() {
    let Some(postgres) = Postgres::from_env() else { return };
    let platform = Platform::on(&postgres).await;

    let mark = Mark::now(&platform.database).await;
    for key in 0..10 {
        assert_eq!(platform.place(&format!("alone-{key}"), ONE, &[]).await.status, 201);
    }
    assert_eq!(mark.commits_since(&platform.database).await, 20, "ten orders, one after the other");

    let mark = Mark::now(&platform.database).await;
    let keys: Vec<String> = (0..64).map(|key| format!("among-many-{key}")).collect();
    let replies = join_all(keys.iter().map(|key| platform.place(key, ONE, &[]))).await;
    assert!(replies.iter().all(|reply| reply.status == 201), "{replies:?}");
    let commits = mark.commits_since(&platform.database).await;
    println!("64 orders at once: {commits} commits");
    assert!(commits <= 32, "64 orders at once took {commits} commits");

    platform.finish().await;
    drop(platform);
    postgres.clean_up().await;
}
