//! Commands about the stores as such: brought up to date, backed up, restored, taken as they are, removed.

use std::{
    io::{BufRead as _, IsTerminal as _},
    path::Path,
    process::ExitCode,
};

use amends_sql::claim;
use anyhow::{Context as _, ensure};

use super::{
    args::{ConfigArgs, Data},
    demo_password,
    look::of_existing,
    print,
};
use crate::{
    backup::{
        restore::{self, Allowed},
        take,
    },
    data_dir, embedded, migrate, reset, stores,
};

pub(super) async fn migrate(data: &Data, config: ConfigArgs) -> anyhow::Result<()> {
    let mut sources = config.into_sources();
    if data.distributed {
        return migrate::migrate(&sources).await;
    }
    data_dir::make_private(&data.data_dir)?;
    // A server brings its stores up to date itself, when it starts; behind its back nothing is changed.
    let _lock = data_dir::take(&data.data_dir)?;
    embedded::base(&data.data_dir, &mut sources, demo_password())?;
    let locations = stores::locations(&sources)?;
    let _held = data_dir::take_files(&data_dir::files(&locations))?;
    data_dir::check_whole(&data.data_dir, &data_dir::files(&locations)).await?;
    migrate::migrate(&sources).await
}

pub(super) async fn backup(data: &Data, config: ConfigArgs, to: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let sources = of_existing(data, config).await?;
    let dir = (!data.distributed).then_some(data.data_dir.as_path());
    let taken = take::take(dir, &sources, to).await?;
    print(&if json { format!("{:#}\n", taken.to_json()) } else { taken.to_text() })?;
    Ok(taken.code())
}

pub(super) async fn restore(
    data_dir: &Path,
    config: ConfigArgs,
    from: &Path,
    allowed: Allowed,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let restored = restore::restore(from, data_dir, &config.into_sources(), allowed).await?;
    print(&if json { format!("{:#}\n", restored.to_json()) } else { restored.to_text(data_dir) })?;
    Ok(restored.code())
}

pub(super) async fn accept(data: &Data, config: ConfigArgs) -> anyhow::Result<ExitCode> {
    let mut sources = config.into_sources();
    let _lock = if data.distributed {
        None
    } else {
        let dir = &data.data_dir;
        ensure!(dir.is_dir(), "{} is no directory", dir.display());
        let lock = data_dir::take(dir)?;
        sources = embedded::look(&data_dir::secrets_file(dir), dir, sources)?;
        Some(lock)
    };
    let locations = stores::locations(&sources)?;
    let _held = data_dir::take_files(&data_dir::files(&locations))?;
    let mut accepted = 0;
    for file in data_dir::files(&locations) {
        if claim::find_torn(file).await.with_context(|| format!("cannot read {}", file.display()))?.is_some() {
            claim::accept(file).await.with_context(|| format!("{} cannot be taken as it is", file.display()))?;
            print(&format!("accept: {} is taken as it is; what its -wal held is lost\n", file.display()))?;
            accepted += 1;
        }
    }
    print(match accepted {
        0 => "accept: no store lacks its -wal\n",
        _ => "accept: the stores may be of different moments now: run `amends audit`, and settle what it finds\n",
    })?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn reset(data: &Data, config: ConfigArgs, yes_delete: Option<String>) -> anyhow::Result<ExitCode> {
    let sources = config.into_sources();
    if !data.distributed {
        print(&reset::data_directory(&data.data_dir, &sources)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let plan = reset::plan(&sources)?;
    let typed = match yes_delete {
        Some(typed) => typed,
        None => ask(&format!("Everything in {0} is deleted. Type {0} to go on: ", plan.confirmation))?,
    };
    print(&plan.carry_out(&typed).await?)?;
    Ok(ExitCode::SUCCESS)
}

fn ask(question: &str) -> anyhow::Result<String> {
    ensure!(std::io::stdin().is_terminal(), "standard input is no terminal to confirm at: say --yes-delete NAMES");
    print(question)?;
    std::io::Write::flush(&mut std::io::stdout())?;
    let mut typed = String::new();
    std::io::stdin().lock().read_line(&mut typed)?;
    Ok(typed)
}
