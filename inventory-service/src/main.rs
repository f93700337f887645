//! The inventory service as a process of its own.

use std::process::ExitCode;

use inventory_service::{Config, SERVICE, build};

fn main() -> ExitCode {
    service_kit::main::run_service(SERVICE, "inventory", |config: Config, runtime| async move {
        build(config, &runtime).await?.run().await
    })
}
