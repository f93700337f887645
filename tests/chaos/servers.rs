//! The servers themselves die under load: PostgreSQL, and the one that speaks MongoDB's protocol. What was acknowledged is there
//! afterwards, and every saga settles by itself.

use amends_tests::{platform::Platform, process::crash_server, shoppers::Shoppers};
use anyhow::{Context, Result, ensure};
use rand::Rng;

use crate::{seeded, unhurried};

const ORDERS: usize = 120;

/// One after the other, not side by side: they are the servers of all tests of this binary, so this one asks for a binary's end.
pub(crate) async fn each_server_crashes(rounds: usize) -> Result<()> {
    let Some(platform) = Platform::distributed_with(unhurried()).await? else { return Ok(()) };
    let (seed, mut random) = seeded();
    println!("servers: {rounds} rounds of {ORDERS} orders, AMENDS_CHAOS_SEED={seed}");
    for number in 1..=rounds {
        for (server, pid) in
            [("PostgreSQL", "AMENDS_TEST_POSTGRES_PID_FILE"), ("MongoDB", "AMENDS_TEST_MONGODB_PID_FILE")]
        {
            let context = || format!("{server}, round {number}, seed {seed}");
            let shoppers = Shoppers::send(vec![platform.demo().await?], ORDERS, &mut random);
            shoppers.have_answers(random.random_range(1..ORDERS / 2)).await?;
            if crash_server(pid).await?.is_none() {
                amends_tests::announce(&format!(
                    "NOT RUN: {server} is killed mid-load: {pid} does not say where it is"
                ));
            }
            let answers = shoppers.all_answered().await.with_context(context)?;
            platform.settled().await.with_context(context)?;
            platform.audit().await.with_context(context)?;
            // The client's own log against the store: each order that was confirmed to a customer is paid, once.
            for (_, order) in answers.0.iter().filter(|(status, _)| *status == 201) {
                let books = platform.books(order).await?;
                ensure!(
                    books.payments == 1 && books.captured > 0 && books.refunded == 0 && books.committed == 1,
                    "{order} was confirmed, and its books say {books:?}"
                );
            }
            println!("round {number}, {server}: {}", answers.summary()?);
        }
    }
    platform.stop().await
}
