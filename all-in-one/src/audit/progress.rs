//! How far a long audit is: one line on the terminal, written over again and again. Silent without a terminal, and for short audits.

use std::{
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

use super::report::Report;

/// An audit shorter than this needs no progress line.
const SILENT_FOR: Duration = Duration::from_secs(2);
/// Between two lines.
const BETWEEN: Duration = Duration::from_millis(500);

/// Tells how far an audit is.
pub struct Progress {
    terminal: bool,
    shown: bool,
    next: Instant,
}

impl Progress {
    /// On standard error, where that is a terminal.
    pub fn on_terminal() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), shown: false, next: Instant::now() + SILENT_FOR }
    }

    /// Nowhere.
    pub fn silent() -> Self {
        Self { terminal: false, ..Self::on_terminal() }
    }

    pub(super) fn show(&mut self, report: &Report) {
        let now = Instant::now();
        if !self.terminal || now < self.next {
            return;
        }
        (self.shown, self.next) = (true, now + BETWEEN);
        // A terminal that is gone is no reason to stop.
        let _ = write!(
            std::io::stderr(),
            "\r\u{1b}[K{} orders, {} payments, {} reservations checked; {} discrepancies",
            report.orders,
            report.payments,
            report.reservations,
            report.findings.len()
        );
    }

    pub(super) fn end(&mut self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\u{1b}[K");
        }
    }
}
