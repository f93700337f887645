//! Logs, traces and metrics, set up once for every process.
