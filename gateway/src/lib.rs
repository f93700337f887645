//! The front door: authenticates, limits and routes HTTP and gRPC.
