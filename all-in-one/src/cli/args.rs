//! Arguments that several commands take.

use std::{ffi::OsString, path::PathBuf};

use clap::Args;
use service_base::config::Sources;

#[derive(Args)]
pub(super) struct Data {
    /// Where the embedded stores and secrets are
    #[arg(long, global = true, value_name = "DIR", env = "AMENDS_DATA_DIR", default_value = "data")]
    pub(super) data_dir: PathBuf,
    /// Use the stores that the configuration names, not those of the data directory
    #[arg(long, global = true)]
    pub(super) distributed: bool,
}

#[derive(Args)]
pub(super) struct ConfigArgs {
    /// A TOML file
    #[arg(long, global = true, value_name = "FILE", env = "AMENDS_CONFIG")]
    config: Option<PathBuf>,
    /// Set one key, for example gateway.listen=127.0.0.1:0; may be repeated
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", value_parser = key_value)]
    sets: Vec<(String, String)>,
}

/// Handed on to the service as they are.
#[derive(Args)]
pub(super) struct Rest {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _args: Vec<OsString>,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .ok_or_else(|| "must be KEY=VALUE".to_owned())
}

impl ConfigArgs {
    pub(super) fn into_sources(self) -> Sources {
        Sources::from_process(self.config, self.sets)
    }
}
