//! The token service as a process of its own.

use std::process::ExitCode;

use identity_service::{Config, SERVICE, build};

fn main() -> ExitCode {
    service_kit::main::run_service(SERVICE, "identity", |config: Config, runtime| async move {
        build(config, &runtime).await?.run().await
    })
}
