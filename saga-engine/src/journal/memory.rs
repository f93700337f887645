//! A journal in memory, with the same rules as the stores: for tests, simulations and the tutorial.
pub struct MemoryJournal;
/// tx
pub struct MemoryTx;
