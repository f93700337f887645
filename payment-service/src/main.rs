//! The payment service as a process of its own.

use std::process::ExitCode;

use payment_service::{Config, SERVICE, build};

fn main() -> ExitCode {
    service_kit::main::run_service(SERVICE, "payment", |config: Config, runtime| async move {
        build(config, &runtime).await?.run().await
    })
}
