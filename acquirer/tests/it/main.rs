//! The acquirer as its merchant meets it: over HTTP, on a file, over restarts and faults.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod faults;
mod interface;
mod ledger;
mod support;
