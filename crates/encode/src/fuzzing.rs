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
    use crate::wire::tests::{from_encoder, to_encoder};

    const SEEDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/encode_wire");

    /// Seeds of an older version are refused at once: a fuzzer that begins with them finds little.
    #[test]
    fn seeds_are_every_message_of_this_version() {
        let job: Vec<u8> = to_encoder().iter().flat_map(ToEncoder::encode).collect();
        let answer: Vec<u8> = from_encoder().iter().flat_map(FromEncoder::encode).collect();
        for (name, messages) in [("job", job), ("answer", answer)] {
            let path = format!("{SEEDS}/{name}");
            if std::env::var_os("AIRWAVE_WRITE_SNAPSHOTS").is_some() {
                std::fs::write(&path, &messages).unwrap();
            }
            assert!(
                std::fs::read(&path).unwrap() == messages,
                "{path} is of another version of the wire; to write it anew: \
                 AIRWAVE_WRITE_SNAPSHOTS=1 cargo nextest run -p encode seeds_are"
            );
        }
    }

    #[test]
    fn seeds_and_changes_of_them_pass() {
        let mut seeds = 0;
        for entry in std::fs::read_dir(SEEDS).unwrap() {
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
