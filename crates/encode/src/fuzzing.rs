//! What comes over the pipes, for the fuzz target in `fuzz/` and for tests: any bytes in, no panic out, and what was
//! understood is written as it was read.

use bytes::Bytes;

use crate::wire::{self, FromEncoder, ToEncoder};

/// A stream of messages, read as both sides would.
pub fn wire(data: &[u8]) {
    let mut rest = data;
    while let Ok(Some((kind, body))) = wire::read(&mut rest) {
        if let Ok(message) = ToEncoder::decode(kind, body.clone()) {
            check(&message.encode(), |kind, body| {
                ToEncoder::decode(kind, body).ok() == Some(message.clone())
            });
        }
        if let Ok(message) = FromEncoder::decode(kind, body) {
            check(&message.encode(), |kind, body| {
                FromEncoder::decode(kind, body).ok() == Some(message.clone())
            });
        }
    }
}

fn check(mut written: &[u8], same: impl Fn(u8, Bytes) -> bool) {
    let again = wire::read(&mut written).ok().flatten();
    assert!(again.is_some_and(|(kind, body)| same(kind, body)), "written otherwise than read");
    assert!(written.is_empty(), "one message is one");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_and_changes_of_them_pass() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/encode_wire");
        let mut seeds = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let seed = std::fs::read(entry.unwrap().path()).unwrap();
            seeds += 1;
            wire(&seed);
            for at in 0..seed.len() {
                wire(&seed[..at]);
                for bit in [1, 0x80, 0xff] {
                    let mut changed = seed.clone();
                    changed[at] ^= bit;
                    wire(&changed);
                }
            }
        }
        assert!(seeds >= 2, "the seeds are gone");
    }
}
