//! The numbers that protect the disk and memory, each with its reason.

/// Puts that share one round of syncs. More only makes the first of them wait longer.
pub const GROUP_PUTS: usize = 64;

/// Bytes that share one round of syncs: what a slow disk (100 MB/s) writes in a third of a second.
pub const GROUP_BYTES: usize = 32 << 20;

/// Puts that wait for the disk; the next caller waits for room.
pub const QUEUE_PUTS: usize = 256;

/// KiB of objects that wait for the disk; the next caller waits for room. DESIGN §8: the recorder's
/// backlog in memory is 64 MiB.
pub const QUEUE_KIB: u32 = 64 << 10;

/// One object read as a whole. Segments are read by ranges; pages are far smaller.
pub const READ_BYTES: u64 = 64 << 20;

/// Names in one answer to a list.
pub const LIST_KEYS: usize = 1_000_000;
