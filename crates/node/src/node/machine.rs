//! What the machine gives: memory and random numbers.

/// A quarter of the machine's memory, unless the configuration says.
pub(super) fn cache_bytes(mib: u32) -> usize {
    if mib > 0 {
        return mib as usize * (1 << 20);
    }
    memory_bytes().map_or(1 << 30, |bytes| bytes as usize / 4)
}

/// The machine's memory.
pub(crate) fn memory_bytes() -> Option<u64> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let total = info.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    let kib: u64 = total.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1_024)
}

/// Random bytes from the system's generator.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    fill_random_bytes(&mut bytes);
    bytes
}

/// Which node of a network of relays this is, for as long as it runs: nobody else has drawn the same.
pub(super) fn node_number() -> Option<io_moq::listen::Node> {
    io_moq::listen::Node::new(u64::from_le_bytes(random()) >> 11 | 1)
}

pub(crate) fn fill_random(bytes: &mut [u8; 32]) {
    fill_random_bytes(bytes);
}

pub(super) fn fill_random_bytes(bytes: &mut [u8]) {
    // Without random numbers no key is a secret: better no server than that one.
    if aws_lc_rs::rand::fill(bytes).is_err() {
        std::process::abort();
    }
}
