//! Panics as log lines. Rust's own hook writes to standard error, which may block; and there they have neither trace nor order.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    panic::PanicHookInfo,
};

use crate::stderr;

/// Has panics logged from now on. `is_logged` says whether there is a log at all; without one they go to standard error.
pub(crate) fn install(is_logged: bool) {
    std::panic::set_hook(Box::new(move |panic| report(panic, is_logged)));
}

fn report(panic: &PanicHookInfo<'_>, is_logged: bool) {
    let location = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let message = panic.payload_as_str().unwrap_or("(no text)");
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    // Taken only where `RUST_BACKTRACE` asks for it.
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    if is_logged {
        tracing::error!(thread, backtrace, "panicked at {location}: {message}");
    } else {
        stderr::tell_later(&format!("thread '{thread}' panicked at {location}: {message}"));
    }
}
