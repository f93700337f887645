//! The tool as a developer meets it first. Also what `cargo xtask demo` names besides the program: Cargo counts the features that only
//! tests need when it builds a test, and then the demo and the tests share every crate.

use std::process::Command;

#[test]
fn help_names_every_command() {
    let told = Command::new(env!("CARGO_BIN_EXE_xtask")).output().unwrap();
    assert!(told.status.success());
    let told = String::from_utf8(told.stdout).unwrap();
    let commands = "demo test services load chaos conformance drill proof bench gen tidy mutants ci";
    for command in commands.split(' ') {
        assert!(told.lines().any(|line| line.trim_start().starts_with(command)), "{command} is missing in\n{told}");
    }
}

#[test]
fn an_unknown_command_is_refused_by_name() {
    let told = Command::new(env!("CARGO_BIN_EXE_xtask")).arg("dmeo").output().unwrap();
    assert!(!told.status.success());
    assert!(String::from_utf8_lossy(&told.stderr).contains("unknown command `dmeo`"));
}
