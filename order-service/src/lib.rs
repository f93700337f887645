//! The orchestrator: orders, and the sagas that place and cancel them.
