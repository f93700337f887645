//! The program `amends`: every service in one process or one at a time, the demo, and the operator's tools.

use std::process::ExitCode;

fn main() -> ExitCode {
    amends::cli::main()
}
