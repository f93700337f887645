//! The program `amends` in a process of its own: what it does when sinks and signals do not do as usual, two servers on one directory,
//! starts that are cut off, copies, backups, and what the doctor says of them.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and tells what it did")]

mod backups;
mod copies;
mod doctor;
mod full_disk;
mod program;
mod servers;
mod shop;
mod signals;
mod sinks;
mod starts;
