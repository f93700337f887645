//! What one process of all services reads, and how it closes.

mod closing;
mod settings;
