//! Data directories: used twice, oddly named, holding what is no database.

use std::{fs, path::Path, str::FromStr, time::Duration};

use amends_tests::{
    direct,
    kit::disk::Disk,
    platform::{Platform, Setup, Start},
};
use anyhow::{Context, Result, bail, ensure};
use sqlx::{Connection as _, Row, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::support::{confirmed, here, on, sound};

/// A mistake in the directory is told in this time, and not as something that timed out.
const TOLD_WITHIN: Duration = Duration::from_secs(20);

/// A second `amends up`; the tools beside the first; and a lock that a crash releases.
pub(crate) async fn a_second_server_on_one_directory_is_refused() -> Result<()> {
    on(Platform::embedded().await?, async |platform| {
        let demo = platform.demo().await?;
        confirmed(&demo).await?;
        let data = platform.data().to_owned();
        let same = || Setup { data: Some(data.clone()), ..Setup::default() };
        let mut second = Platform::embedded_unstarted(same())?;
        let holder = platform.process_id("amends").context("the first one does not run")?;
        match second.try_start("amends", TOLD_WITHIN).await? {
            Start::Ended { code, said, .. } => {
                ensure!(code != Some(0), "the second one ended well");
                ensure!(said.contains(&holder.to_string()), "it does not name process {holder}: {said}");
            }
            start => bail!("the second one was not refused: {start:?}"),
        }
        confirmed(&demo).await.context("the first one, after the second was refused")?;
        let backup = platform.data().with_extension("backup").display().to_string();
        for tool in [&["audit"][..], &["saga", "list"], &["webhook", "list"], &["backup", "--to", &backup], &["doctor"]]
        {
            let said = platform.amends(tool).await?;
            said.map_err(|said| anyhow::anyhow!("{tool:?} does not work beside a server: {said}"))?;
        }
        platform.kill("amends").await?;
        let mut second = Platform::embedded_unstarted(same())?;
        let start = second.try_start("amends", Duration::from_mins(1)).await?;
        ensure!(matches!(start, Start::Ready), "the lock outlived its process: {start:?}");
        second.stop().await?;
        platform.restart("amends").await
    })
    .await
}

/// Names that mean something in a URL, and one that another name would be taken for.
pub(crate) async fn a_path_is_a_path() -> Result<()> {
    let dir = tempfile::Builder::new().prefix("amends-names-").tempdir()?;
    // The one that another is mistaken for, with a payment missing, so that its books cannot be audited as clean.
    shop_in(&dir.path().join("shop-a"), 3).await.context("shop-a")?;
    let mut payments = sqlite(&dir.path().join("shop-a/payment.db")).await?;
    sqlx::query("DELETE FROM payments").execute(&mut payments).await?;
    payments.close().await?;
    for name in ["what?", "a%20b", "shop%2Da", "a#b c"] {
        let data = dir.path().join(name);
        shop_in(&data, 1).await.with_context(|| format!("a directory named {name:?}"))?;
        for store in ["order", "payment", "inventory", "identity"] {
            ensure!(data.join(format!("{store}.db")).is_file(), "{name:?} does not hold the {store} store");
        }
    }
    let platform = Platform::embedded_unstarted(Setup { data: Some(dir.path().join("shop-a")), ..Setup::default() })?;
    ensure!(platform.amends(&["audit"]).await?.is_err(), "the books of shop-a lack their payments and audit clean");
    Ok(())
}

/// A whole life of a shop in that directory, with this number of orders.
async fn shop_in(data: &Path, orders: usize) -> Result<()> {
    let mut platform = Platform::embedded_unstarted(Setup { data: Some(data.to_owned()), ..Setup::default() })?;
    let start = platform.try_start("amends", Duration::from_secs(30)).await?;
    ensure!(matches!(start, Start::Ready), "does not start: {start:?}");
    let demo = platform.demo().await?;
    for _ in 0..orders {
        confirmed(&demo).await?;
    }
    sound(&platform).await?;
    let counted = direct::books_agree(&platform).await?;
    ensure!(counted.confirmed == orders, "{orders} orders were placed, and its own file has {counted:?}");
    platform.stop().await
}

/// Text where a database should be.
pub(crate) async fn a_file_that_is_no_database_is_named() -> Result<()> {
    for store in ["payment.db", "identity.db"] {
        let (mut platform, data) = stopped_with_an_order().await?;
        for file in fs::read_dir(&data)? {
            let path = file?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(store)) {
                fs::remove_file(path)?;
            }
        }
        fs::write(data.join(store), "this is a letter and no database\n".repeat(500))?;
        match platform.try_start("amends", TOLD_WITHIN).await? {
            Start::Ended { said, .. } => {
                ensure!(said.contains(store), "{store} is not named: {said}");
                ensure!(said.contains("not a database"), "it is not said in the file's own terms: {said}");
                ensure!(!said.contains("timed out"), "it is called a time-out: {said}");
            }
            start => bail!("{store} is no database, and it was not said within {TOLD_WITHIN:?}: {start:?}"),
        }
    }
    Ok(())
}

/// An index whose pages are zero: told at start or by the long check.
pub(crate) async fn a_damaged_index_is_named() -> Result<()> {
    let (mut platform, data) = stopped_with_an_order().await?;
    let file = data.join("order.db");
    let mut orders = sqlite(&file).await?;
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut orders).await?;
    let found =
        sqlx::query("SELECT rootpage FROM sqlite_schema WHERE name = 'orders_by_status'").fetch_one(&mut orders);
    let page: i64 = found.await?.try_get(0)?;
    let size: i64 = sqlx::query("PRAGMA page_size").fetch_one(&mut orders).await?.try_get(0)?;
    orders.close().await?;
    let mut bytes = fs::read(&file)?;
    let (page, size) = (usize::try_from(page)?, usize::try_from(size)?);
    bytes.get_mut((page - 1) * size..page * size).context("the index has no page")?.fill(0);
    fs::write(&file, bytes)?;
    let start = platform.try_start("amends", Duration::from_secs(30)).await?;
    let said = match &start {
        Start::Ended { said, .. } => said.clone(),
        _ => platform.amends(&["doctor"]).await?.err().unwrap_or_default(),
    };
    ensure!(said.contains("order.db"), "neither the start ({start:?}) nor `amends doctor` names order.db: {said}");
    Ok(())
}

/// A copy on a disk that cannot be written.
pub(crate) async fn a_read_only_directory_is_named() -> Result<()> {
    let Some(disk) = here("a read-only directory", Disk::of_mebibytes(64)) else { return Ok(()) };
    let setup = Setup { data: Some(disk.path().join("data")), ..Setup::default() };
    let mut platform = Platform::embedded_as(setup).await?;
    confirmed(&platform.demo().await?).await?;
    platform.terminate("amends", Duration::from_secs(30)).await?;
    disk.read_only(true)?;
    match platform.try_start("amends", TOLD_WITHIN).await? {
        Start::Ended { said, .. } => {
            let plain = said.to_lowercase();
            ensure!(plain.contains("read-only") || plain.contains("readonly"), "it is not said what is wrong: {said}");
        }
        start => bail!("a read-only directory was not named within {TOLD_WITHIN:?}: {start:?}"),
    }
    disk.read_only(false)?;
    platform.restart("amends").await?;
    sound(&platform).await?;
    platform.stop().await
}

async fn stopped_with_an_order() -> Result<(Platform, std::path::PathBuf)> {
    let mut platform = Platform::embedded().await?;
    confirmed(&platform.demo().await?).await?;
    platform.settled().await?;
    platform.terminate("amends", Duration::from_secs(30)).await?;
    let data = platform.data().to_owned();
    Ok((platform, data))
}

async fn sqlite(file: &Path) -> Result<SqliteConnection> {
    let options = SqliteConnectOptions::from_str("sqlite://")?.filename(file);
    Ok(SqliteConnection::connect_with(&options).await?)
}
