//! A synchronous, durable saga engine.
