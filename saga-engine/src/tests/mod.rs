//! Tests of the engine as a whole; rules have theirs beside them.

mod faults;
mod sample;
