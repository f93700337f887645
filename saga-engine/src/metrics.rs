//! What the engine counts. Labels are definitions, steps and outcomes only: never ids.

/// The engine's counters. Cheap to clone; register it with the process's registry.
#[derive(Debug, Clone, Default)]
pub struct EngineMetrics {}
