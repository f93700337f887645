//! Every service in one process, the demo, and the operator's command line.
//!
//! Only another composition root: it calls each service's `build` and joins them through the same clients and servers as on a
//! cluster. Must not know: how an order is placed, how money moves.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::allow_attributes))]

pub mod audit;
pub mod backup;
pub mod catalogue;
pub mod cli;
pub mod client;
pub mod data_dir;
pub mod demo;
pub mod doctor;
pub mod embedded;
pub mod logs;
pub mod migrate;
pub mod reset;
pub mod saga;
pub mod settings;
pub mod stores;
pub mod table;
pub mod timeline;
pub mod trace;
pub mod up;
pub mod webhook;
