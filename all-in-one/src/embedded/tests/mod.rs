//! What one process of all services reads, how its services are joined, and how it closes.

mod closing;
mod joins;
mod settings;
mod shop;
