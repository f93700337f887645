//! Tests of the engine as a whole; rules have theirs beside them.

mod barrier;
mod clocks;
mod conformance;
mod databases;
mod engine;
mod every_step;
mod failing_store;
mod faults;
mod golden;
mod local;
mod machine;
mod model;
mod parking;
mod retention;
mod rules;
mod sample;
mod simulation;
mod sql;
mod tutorial;
