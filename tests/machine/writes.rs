//! Disks that fill, fail for a moment, or become read-only, while orders are placed and at the first start.

use std::time::{Duration, Instant};

use amends::client::order_of;
use amends_tests::{
    check::key,
    kit::{
        disk::Disk,
        report::accepted_again,
        shim::{Shim, Writes},
    },
    platform::{Platform, Setup, Start},
    process::Launch,
    shoppers::Shoppers,
};
use anyhow::{Context, Result, ensure};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tempfile::TempDir;

use crate::support::{confirmed, here, on, only_bounded_refusals, readyz, readyz_is, sound, until};

/// A fault is in effect when a customer hears of it; on a slow machine that takes a while.
const NOTICED_MAX: Duration = Duration::from_secs(30);
/// "By itself, well within a second", with what a busy machine adds.
const HEALED_MAX: Duration = Duration::from_secs(5);
const ORDERS: usize = 150;
/// What the write-ahead logs of a busy platform take beside its data, 16 MiB for each store, and no more than that: with less, the platform
/// itself would fill the disk a second time.
const ROOM_MIB: u32 = 128;

/// A platform whose writes fail on cue.
struct Shimmed {
    shim: Shim,
    setup: Setup,
    /// Its folder, which goes when this is dropped.
    _dir: TempDir,
}

fn shimmed(test: &str) -> Result<Option<Shimmed>> {
    let dir = tempfile::Builder::new().prefix("amends-shimmed-").tempdir()?;
    let data = dir.path().join("data");
    let Some(shim) = here(test, Shim::below(&data)) else { return Ok(None) };
    let setup = Setup { data: Some(data), launch: shim.in_launch(Launch::default()), ..Setup::default() };
    Ok(Some(Shimmed { shim, setup, _dir: dir }))
}

/// Each way in which a write can fail, for as long as it takes customers to notice, under load.
pub(crate) async fn a_write_that_fails_for_a_moment_ends_nothing() -> Result<()> {
    const TEST: &str = "a write that fails for a moment";
    let Some(Shimmed { shim, setup, _dir }) = shimmed(TEST)? else { return Ok(()) };
    on(Platform::embedded_as(setup).await?, async |platform| {
        let mut random = StdRng::seed_from_u64(1);
        for (writes, name) in [(Writes::Broken, "EIO"), (Writes::Full, "ENOSPC")] {
            let shoppers = Shoppers::send(vec![platform.demo().await?], ORDERS, &mut random);
            shoppers.have_answers(20).await?;
            shim.make(writes)?;
            // The moment of the scenario itself: 0.3 s in which every write fails.
            tokio::time::sleep(Duration::from_millis(300)).await;
            shim.repair()?;
            let gone = Instant::now();
            let after = accepted_again(&format!("{TEST} ({name})"), &platform.demo().await?, gone).await?;
            readyz_is(platform, 200, HEALED_MAX).await?;
            let answers = shoppers.all_answered().await.context(name)?;
            answers.summary()?;
            only_bounded_refusals(&answers.1).context(name)?;
            ensure!(after < HEALED_MAX, "{name}: orders were accepted {after:?} after the fault was gone");
        }
        Ok(())
    })
    .await
}

/// A disk of 40 MB that is full, with customers ordering all the time.
pub(crate) async fn a_full_disk_is_503_and_heals_by_itself() -> Result<()> {
    const TEST: &str = "a full disk";
    let Some(disk) = here(TEST, Disk::of_mebibytes(ROOM_MIB)) else { return Ok(()) };
    let setup = Setup { data: Some(disk.path().join("data")), ..Setup::default() };
    on(Platform::embedded_as(setup).await?, async |platform| {
        let demo = platform.demo().await?;
        let mut random = StdRng::seed_from_u64(2);
        let shoppers = Shoppers::send(vec![demo.clone()], ORDERS * 4, &mut random);
        shoppers.have_answers(20).await?;
        let cancelled = confirmed(&demo).await?;
        disk.fill_but(0)?;
        until("a customer hears of the full disk", NOTICED_MAX, || async {
            Ok(shoppers.refusals().by_status.contains_key(&503) || shoppers.answered() == ORDERS * 4)
        })
        .await?;
        readyz_is(platform, 503, NOTICED_MAX).await.context("/readyz does not test writing")?;
        let cancel = demo.post(&format!("/v1/orders/{cancelled}/cancel")).await?;
        ensure!([202, 503].contains(&cancel.status.as_u16()), "cancel: {} {}", cancel.status, cancel.body);
        disk.free()?;
        let gone = Instant::now();
        let after = accepted_again(TEST, &demo, gone).await?;
        ensure!(after < Duration::from_secs(1), "orders were accepted {after:?} after the disk had room again");
        readyz_is(platform, 200, HEALED_MAX).await?;
        let answers = shoppers.all_answered().await?;
        answers.summary()?;
        only_bounded_refusals(&answers.1)
    })
    .await
}

/// A file system that has become read-only while sagas unwind: for long enough that each is tried more often than any limit on attempts.
pub(crate) async fn a_disk_gone_read_only_parks_no_saga() -> Result<()> {
    const TEST: &str = "a disk gone read-only";
    let Some(Shimmed { shim, mut setup, _dir }) = shimmed(TEST)? else { return Ok(()) };
    // Few attempts are enough, so that the test need not wait for the forty of the default.
    setup.settings = serde_json::json!({"order": {"saga": {"attempts_before_parking": 3}}});
    on(Platform::embedded_as(setup).await?, async |platform| {
        let demo = platform.demo().await?;
        let unwinding = |_| {
            let demo = demo.clone();
            tokio::spawn(async move {
                demo.place(&key(), &order_of(amends::catalogue::REFUSED_AT_PIVOT, 1, "pm_ok")).await.map(|a| a.status)
            })
        };
        let orders: Vec<_> = (0..24).map(unwinding).collect();
        tokio::time::sleep(Duration::from_millis(100)).await;
        shim.make(Writes::ReadOnly)?;
        let placed = demo.place(&key(), &order_of("espresso-1kg", 1, "pm_ok")).await?;
        ensure!(placed.status == 503, "with a read-only disk: {} {}", placed.status, placed.body);
        ensure!(!placed.header("retry-after").is_empty(), "503 without Retry-After: {:?}", placed.headers);
        readyz_is(platform, 503, NOTICED_MAX).await.context("/readyz does not test writing")?;
        // Longer than three attempts and their pauses take.
        tokio::time::sleep(Duration::from_secs(3)).await;
        shim.repair()?;
        accepted_again(TEST, &demo, Instant::now()).await?;
        for order in orders {
            let status = order.await??.as_u16();
            ensure!([202, 409, 503].contains(&status), "an order that unwinds was answered {status}");
        }
        platform.settled().await?;
        let parked = platform.amends(&["saga", "list", "--state", "parked"]).await?.map_err(anyhow::Error::msg)?;
        ensure!(
            !parked.contains("place-order") && !parked.contains("cancel-order"),
            "the environment's failures parked sagas:\n{parked}"
        );
        Ok(())
    })
    .await
}

/// The very first start finds no room; with room, the second one starts as if it were the first.
pub(crate) async fn a_first_start_on_a_full_disk_can_be_repeated() -> Result<()> {
    const TEST: &str = "a first start on a full disk";
    let Some(Shimmed { shim, setup, _dir }) = shimmed(TEST)? else { return Ok(()) };
    let mut platform = Platform::embedded_unstarted(setup)?;
    shim.make(Writes::Full)?;
    match platform.try_start("amends", Duration::from_mins(1)).await? {
        Start::Ended { code, said, .. } => {
            ensure!(code != Some(0), "it ended well on a full disk");
            ensure!(!said.contains("damaged"), "what was never written is called damaged: {said}");
        }
        // Waiting until there is room is as good, as long as it is said.
        Start::Neither { said } => {
            ensure!(!said.is_empty(), "it waits and does not say for what");
            platform.kill("amends").await?;
        }
        Start::Ready => anyhow::bail!("it is ready on a disk on which nothing can be written"),
    }
    shim.repair()?;
    let gone = Instant::now();
    started(&mut platform).await?;
    accepted_again(TEST, &platform.demo().await?, gone).await?;
    sound(&platform).await?;
    platform.stop().await
}

/// Killed again and again before it has ever been ready, on a disk so slow that a file is seen half written for a third of a second.
pub(crate) async fn a_first_start_that_is_killed_can_be_repeated() -> Result<()> {
    let mut random = StdRng::seed_from_u64(3);
    for round in 0..2 {
        let Some(Shimmed { shim, setup, _dir }) = shimmed("a first start that is killed")? else { return Ok(()) };
        let mut platform = Platform::embedded_unstarted(setup)?;
        shim.make(Writes::Slow)?;
        for _ in 0..8 {
            platform.start("amends")?;
            tokio::time::sleep(Duration::from_millis(random.random_range(20..900))).await;
            platform.kill("amends").await?;
        }
        shim.repair()?;
        started(&mut platform).await.with_context(|| format!("round {round}"))?;
        confirmed(&platform.demo().await?).await?;
        ensure!(readyz(&platform).await?.0 == 200, "it takes orders and is not ready");
        sound(&platform).await?;
        platform.stop().await?;
    }
    Ok(())
}

async fn started(platform: &mut Platform) -> Result<()> {
    let start = platform.try_start("amends", Duration::from_mins(1)).await?;
    ensure!(matches!(start, Start::Ready), "it does not start: {start:?}");
    Ok(())
}
