//! The digests of Adobe's handshake: a HMAC-SHA256 hidden in C1 and S1, and one at the end of C2 and S2.
//!
//! No document of Adobe's describes it; this follows what FFmpeg (`libavformat/rtmpproto.c`) and
//! librtmp do. The keys are public constants: the digests prove nothing but good manners.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::PACKET_BYTES;

/// A HMAC-SHA256.
pub type Digest = [u8; DIGEST_BYTES];

const DIGEST_BYTES: usize = 32;
/// Key block and digest block are this long each, after time and version.
const BLOCK_BYTES: usize = 764;

const CLIENT_NAME: &[u8] = b"Genuine Adobe Flash Player 001";
const SERVER_NAME: &[u8] = b"Genuine Adobe Flash Media Server 001";
const KEY_TAIL: [u8; 32] = [
    0xf0, 0xee, 0xc2, 0x4a, 0x80, 0x68, 0xbe, 0xe8, 0x2e, 0x00, 0xd0, 0xd1, 0x02, 0x9e, 0x7e, 0x57,
    0x6e, 0xec, 0x5d, 0x2d, 0x29, 0x80, 0x6f, 0xab, 0x93, 0xb8, 0xe6, 0x36, 0xcf, 0xeb, 0x31, 0xae,
];

/// Where in C1 and S1 the digest block lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schema {
    /// "Schema 0": time, version, key block, digest block.
    KeyFirst,
    /// "Schema 1": time, version, digest block, key block.
    DigestFirst,
}

/// Who made a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// C1 and C2.
    Client,
    /// S1 and S2.
    Server,
}

impl Role {
    fn name(self) -> &'static [u8] {
        match self {
            Role::Client => CLIENT_NAME,
            Role::Server => SERVER_NAME,
        }
    }
}

/// Finds the digest that `role` put into its C1 or S1. `None`: it speaks the plain handshake.
pub fn find(packet: &[u8], role: Role) -> Option<(Schema, Digest)> {
    // A version of 0 is the plain handshake (RTMP 1.0 §5.2.3: "this field MUST be all 0s").
    if packet.len() != PACKET_BYTES || packet[4..8] == [0; 4] {
        return None;
    }
    [Schema::DigestFirst, Schema::KeyFirst].into_iter().find_map(|schema| {
        let at = position(packet, schema);
        let digest = packet_digest(packet, at, role);
        (packet[at..at + DIGEST_BYTES] == digest).then_some((schema, digest))
    })
}

/// Puts a digest into our own C1 or S1, a whole packet.
pub(super) fn sign(packet: &mut [u8], schema: Schema, role: Role) {
    let at = position(packet, schema);
    let digest = packet_digest(packet, at, role);
    packet[at..at + DIGEST_BYTES].copy_from_slice(&digest);
}

/// C2 or S2: noise, signed with a key that is made of the other's digest.
pub(super) fn echo(mut noise: Vec<u8>, their_digest: &Digest, role: Role) -> Vec<u8> {
    noise.truncate(PACKET_BYTES - DIGEST_BYTES);
    let key = hmac(&[role.name(), &KEY_TAIL].concat(), &[their_digest]);
    let digest = hmac(&key, &[&noise]);
    noise.extend_from_slice(&digest);
    noise
}

/// Four bytes at the head of the digest block, summed, say where in the block the digest is. At most
/// 772 + 4 + 727 + 32 = 1,535: always inside the packet.
fn position(packet: &[u8], schema: Schema) -> usize {
    let block = match schema {
        Schema::KeyFirst => 8 + BLOCK_BYTES,
        Schema::DigestFirst => 8,
    };
    let sum: usize = packet[block..block + 4].iter().map(|byte| usize::from(*byte)).sum();
    block + 4 + sum % (BLOCK_BYTES - 4 - DIGEST_BYTES)
}

/// Over everything but the digest itself.
fn packet_digest(packet: &[u8], at: usize, role: Role) -> Digest {
    hmac(role.name(), &[&packet[..at], &packet[at + DIGEST_BYTES..]])
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Digest {
    // invariant: HMAC takes a key of any length.
    #[allow(clippy::expect_used)]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extreme_positions_are_inside() {
        for (schema, block) in [(Schema::DigestFirst, 8), (Schema::KeyFirst, 772)] {
            // 255 + 255 + 217 = 727, the largest remainder.
            for head in [[0, 0, 0, 0], [255, 255, 217, 0], [255, 255, 255, 255]] {
                let mut packet = vec![1; PACKET_BYTES];
                packet[block..block + 4].copy_from_slice(&head);
                sign(&mut packet, schema, Role::Client);
                assert_eq!(find(&packet, Role::Client).map(|(schema, _)| schema), Some(schema));
                assert_eq!(find(&packet, Role::Server), None);
            }
        }
    }

    #[test]
    fn the_echo_proves_the_digest() {
        let echoed = echo(vec![7; PACKET_BYTES], &[3; 32], Role::Server);
        assert_eq!(echoed.len(), PACKET_BYTES);
        assert_ne!(echoed, echo(vec![7; PACKET_BYTES], &[4; 32], Role::Server));
    }
}
