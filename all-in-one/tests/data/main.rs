//! The program `amends` on data directories of its own: two servers on one, starts that are cut off, copies, backups, and what the
//! doctor says of them.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and tells what it did")]

mod backups;
mod copies;
mod doctor;
mod full_disk;
mod servers;
mod shop;
mod starts;
