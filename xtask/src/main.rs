//! `cargo xtask …`: everything a developer or CI runs. Standard library only, so that it compiles in seconds on a machine that has
//! nothing but Rust's toolchain, and can install the rest.
//!
//! Must not know: how a service works. It starts programs and reads files.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool talks to its terminal")]

mod cache;
mod cargo;
mod ci;
mod commands;
mod environment;
mod files;
mod json;
mod mutants;
mod packages;
mod process;
mod proof;
mod servers;
mod setup;
mod tidy;

use std::process::ExitCode;

use process::Failure;

const HELP: &str = "\
cargo xtask <command>

  setup                     check what the build needs (cmake, C compiler, make); install what is missing
  demo [--release] [args…]  build, as tests are built or optimised, and run `amends demo`
  test [args…]              start private PostgreSQL, Redis and MongoDB servers and run `cargo test` on them
                            args go to cargo test; without -p it tests the whole workspace
        --embedded-only     no servers: what needs one is not run, and is listed
  services up|down|status   the same servers, kept running; `eval \"$(cargo xtask services up)\"` sets the variables
  load [--smoke] [--distributed] [ARGS]
                            goose scenarios against a fresh `amends up`, or five services on servers; --smoke: debug
                            build, short, used by ci; ARGS of the load test: --users N, --seconds N, --orders-only
  chaos [TEST] [--rounds N] the crash tests, or one of them, for N rounds (default 20)
  conformance [--rounds N]  the races of the participants' stores and of the barrier for N rounds (default 1000), on every
                            backend; where there is no mongod it first builds the faster of the servers that stand in for it
  drill [--smoke] [--seconds N] [--write FILE]
                            each fault of the payment service under load, as a table; --smoke: debug build, short,
                            used by ci; --write docs/resilience.md puts the table there
  price [--distributed] [--callers 32] [--exact] [--orders N] [--instructions]
                            what an order costs in statements, commits, calls, writes, allocations; fails where price.toml has
                            less; --exact: only what is the same in every run, used by ci; --instructions: of the
                            optimised build, counted by valgrind, which is installed for it
  proof machine             disks that fill or fail, power cuts, clocks that are set, pipes, proxies, limits, floods: each fault that this
                            machine can have, with the tools installed for it; ends with how soon orders were accepted after
                            each, and with what was not run
  proof observability       Prometheus watching five services through an outage, and the collector making metrics of spans, by the real
                            programs; lists what was not run
  bench [args…]             criterion benches, and a store with AMENDS_BENCH_ROWS finished orders, on private servers
  gen                       regenerate what is generated and committed (protobuf code, OpenAPI, pacts, telemetry's names)
  registry [--check]        names and observability/FIELDS.md from observability/registry; --check: say what differs
  tidy                      the rules the compiler cannot check
  mutants [--in-diff REV] [--package P]
                            changes the rules, one place at a time, by cargo-mutants, and fails for each change that no test
                            notices and that xtask/src/mutants/accepted.rs does not list; --in-diff: only lines that differ
                            from REV. All of it takes hours
  ci                        format, tidy, clippy, build, test, load and drill --smoke, price --exact, demo, mutants of the change:
                            what CI runs

Variables: AMENDS_TEST_POSTGRES_URL, AMENDS_TEST_REDIS_URL, AMENDS_TEST_MONGODB_URI (or MONGODB_URI): servers to use instead of
private ones. AMENDS_CACHE_DIR: where downloaded tools are kept.
AMENDS_TEST_VECTORS: a folder with Wycheproof's json_web_signature_test.json, for the test that needs it.
AMENDS_CHAOS_SEED, AMENDS_MODEL=full, AMENDS_SIMULATION_SEEDS=0..100000, AMENDS_CONFORMANCE_ROUNDS: longer or repeated test runs.
AMENDS_BENCH_ROWS, AMENDS_BENCH_ORDERS: how large the stores are that are measured; AMENDS_BENCH_STORE=sqlite or postgresql: only there.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", [].as_slice()),
    };
    let result = match command {
        "setup" => setup::build_tools().map(|_| println!("everything the build needs is here")),
        "demo" => commands::demo(rest),
        "test" => commands::test(rest),
        "services" => servers::services(rest),
        "load" => commands::load(rest),
        "chaos" => commands::chaos(rest),
        "conformance" => commands::conformance(rest),
        "drill" => commands::drill(rest),
        "price" => commands::price(rest),
        "proof" => proof::proof(rest),
        "bench" => commands::bench(rest),
        "gen" => commands::generate(),
        "registry" => commands::registry(rest),
        "tidy" => tidy::run(),
        "mutants" => mutants::mutants(rest),
        "ci" => ci::run(),
        // Not in the help: the process that holds servers for another, and ends them when that one is gone.
        servers::keeper::COMMAND => servers::keeper::run(rest),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        unknown => Err(Failure::message(format!("unknown command `{unknown}`\n\n{HELP}"))),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Exit(code)) => ExitCode::from(code),
        Err(Failure::Message(message)) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}
