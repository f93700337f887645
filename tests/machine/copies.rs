//! Backups taken while orders are placed, and what is restored from them.

use std::time::Duration;

use amends_tests::{
    direct,
    platform::{Platform, Setup, Start},
    shoppers::Shoppers,
};
use anyhow::{Context, Result, ensure};
use rand::{SeedableRng, rngs::StdRng};

use crate::support::{confirmed, sound};

const ORDERS: usize = 120;

/// Every order that was confirmed before the backup began is in what is restored from it, and the restored shop goes on.
pub(crate) async fn a_backup_under_load_restores_every_answer() -> Result<()> {
    let dir = tempfile::Builder::new().prefix("amends-backup-").tempdir()?;
    let (backup, restored) = (dir.path().join("backup"), dir.path().join("restored"));
    let platform = Platform::embedded().await?;
    let mut random = StdRng::seed_from_u64(5);
    let demo = platform.demo().await?;
    let mut before = Vec::new();
    for _ in 0..10 {
        before.push(confirmed(&demo).await?);
    }
    let shoppers = Shoppers::send(vec![demo], ORDERS, &mut random);
    shoppers.have_answers(ORDERS / 4).await?;
    let said = platform.amends(&["backup", "--to", &backup.display().to_string()]).await?;
    said.map_err(|said| anyhow::anyhow!("the backup failed: {said}"))?;
    shoppers.all_answered().await?.summary()?;
    sound(&platform).await.context("the shop itself")?;
    let place = ["restore", "--from", &backup.display().to_string(), "--data-dir", &restored.display().to_string()];
    let said = platform.run_amends(&place).await?;
    said.map_err(|said| anyhow::anyhow!("the restore failed: {said}"))?;
    platform.stop().await?;

    let mut shop = Platform::embedded_unstarted(Setup { data: Some(restored), ..Setup::default() })?;
    let start = shop.try_start("amends", Duration::from_mins(1)).await?;
    ensure!(matches!(start, Start::Ready), "what was restored does not start: {start:?}");
    sound(&shop).await.context("what was restored")?;
    let demo = shop.demo().await?;
    for order in &before {
        let read = demo.get(&format!("/v1/orders/{order}")).await?;
        ensure!(read.text("/status") == "confirmed", "{order} was confirmed before the backup, and is {}", read.body);
    }
    ensure!(direct::books_agree(&shop).await?.confirmed >= before.len(), "orders are missing");
    confirmed(&demo).await?;
    sound(&shop).await?;
    shop.stop().await
}
