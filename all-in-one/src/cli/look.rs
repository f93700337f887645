//! Commands that look at what there is, or leave a request in it. They make nothing, and work beside a server.

use std::{io::IsTerminal as _, process::ExitCode};

use amends_primitives::OrderId;
use anyhow::ensure;
use service_base::config::Sources;

use super::{
    args::{ConfigArgs, Data},
    print,
};
use crate::{
    audit::{self, progress::Progress},
    data_dir, doctor, embedded,
    embedded::secrets::Secrets,
    logs, saga, stores, trace, webhook,
};

pub(super) async fn audit(data: &Data, config: ConfigArgs, without_bank: bool, json: bool) -> anyhow::Result<ExitCode> {
    let mut books = stores::open(&of_existing(data, config).await?).await?;
    if without_bank {
        books.bank = audit::bank::Source::LeftOut("--without-bank was given".to_owned());
    }
    let report = audit::run(&books, &mut Progress::on_terminal()).await?;
    print(&if json { format!("{:#}\n", report.to_json()) } else { report.to_text() })?;
    Ok(report.exit_code())
}

pub(super) async fn saga(data: &Data, config: ConfigArgs, verb: saga::Verb, json: bool) -> anyhow::Result<ExitCode> {
    let told = saga::run(&*stores::open_journal(&of_existing(data, config).await?)?, verb, json).await?;
    print(&told.text)?;
    Ok(told.code)
}

pub(super) async fn trace(data: &Data, config: ConfigArgs, order: OrderId, json: bool) -> anyhow::Result<ExitCode> {
    let journal = stores::open_journal(&of_existing(data, config).await?)?;
    let look = trace::Look { is_coloured: std::io::stdout().is_terminal() };
    let told = trace::run(&journal, order, json, look).await?;
    print(&told.text)?;
    Ok(told.code)
}

pub(super) async fn logs(args: logs::LogsArgs, config: ConfigArgs, json: bool) -> anyhow::Result<ExitCode> {
    print(&logs::run(args, &config.into_sources(), json).await?)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn webhook(
    data: &Data,
    config: ConfigArgs,
    verb: webhook::Verb,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let (store, configured) = stores::open_webhooks(&of_existing(data, config).await?).await?;
    let told = webhook::run(&*store, &configured, verb, json).await?;
    print(&told.text)?;
    Ok(told.code)
}

pub(super) async fn doctor(data: &Data, config: ConfigArgs, full: bool, json: bool) -> anyhow::Result<ExitCode> {
    let dir = (!data.distributed).then_some(data.data_dir.as_path());
    let report = doctor::examine(dir, config.into_sources(), full).await;
    print(&if json { format!("{:#}\n", report.to_json()) } else { report.to_text() })?;
    Ok(if report.is_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Where existing data is. A tool that looks makes nothing, not even secrets, and takes no part of a shop for the whole.
pub(super) async fn of_existing(data: &Data, config: ConfigArgs) -> anyhow::Result<Sources> {
    let sources = config.into_sources();
    if data.distributed {
        return Ok(sources);
    }
    let dir = &data.data_dir;
    let secrets = data_dir::secrets_file(dir);
    ensure!(Secrets::read(&secrets)?.is_some(), "{} holds no data: name the directory with --data-dir", dir.display());
    let sources = embedded::look(&secrets, dir, sources)?;
    data_dir::check_whole(dir, &data_dir::files(&stores::locations(&sources)?)).await?;
    Ok(sources)
}
