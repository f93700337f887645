//! The acquirer as a process of its own.

use std::process::ExitCode;

use acquirer::{Config, SERVICE, build};

fn main() -> ExitCode {
    service_kit::main::run_service(SERVICE, "acquirer", |config: Config, runtime| async move {
        build(config, &runtime).await?.run().await
    })
}
