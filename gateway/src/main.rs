//! The gateway as a process of its own.

use gateway::{Config, build};

fn main() -> std::process::ExitCode {
    service_kit::main::run_service("gateway", "gateway", |config: Config, runtime| async move {
        build(config, &runtime).await?.run().await
    })
}
