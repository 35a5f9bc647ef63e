//! The RTMP handshake (RTMP 1.0 §5.2), both ends: the plain one of the document, and the one with
//! digests that Flash introduced and that FFmpeg and others still use ([`digest`]).
//!
//! Random bytes are an argument: 32 fresh ones per handshake, stretched to what the packets need.
//! What peers echo is not checked: it protects nobody, and many echo wrongly.

pub mod digest;

use bytes::{BufMut, BytesMut};
use sha2::{Digest as _, Sha256};

use digest::{Role, Schema};

/// C0 and S0: the version byte (RTMP 1.0 §5.2.2).
const VERSION: u8 = 3;
/// C1, C2, S1 and S2 (RTMP 1.0 §5.2.3).
pub const PACKET_BYTES: usize = 1_536;

/// Why a handshake failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The first byte belongs to RTMPE or its relatives.
    #[error("encrypted RTMP (RTMPE, version {0}) is not supported: use RTMPS")]
    Encrypted(u8),
    /// The first byte is a TLS record's.
    #[error("this looks like TLS: use the RTMPS port")]
    Tls,
    /// The first byte is a letter, as in HTTP (RTMP 1.0 §5.2.2: 32-255 tell RTMP from text protocols).
    #[error("this is not RTMP: its first byte is {0:#04x}")]
    NotRtmp(u8),
    /// A version that the document deprecates or reserves.
    #[error("RTMP version {0} is not supported, only version 3")]
    Version(u8),
}

/// What a finished handshake was like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// The plain handshake.
    Plain,
    /// Digests at both ends, in this layout.
    Digest(Schema),
}

/// Takes one packet's bytes as they come.
#[derive(Default)]
struct Gather(Vec<u8>);

impl Gather {
    /// The packet, once its last byte is there. Leaves what follows in `input`.
    fn take(&mut self, input: &mut &[u8], wanted: usize) -> Option<Vec<u8>> {
        let count = input.len().min(wanted - self.0.len());
        let (now, rest) = input.split_at(count);
        self.0.extend_from_slice(now);
        *input = rest;
        (self.0.len() == wanted).then(|| std::mem::take(&mut self.0))
    }
}

/// The end that was connected to.
pub struct Server {
    gather: Gather,
    state: ServerState,
}

enum ServerState {
    AwaitC0 { seed: [u8; 32] },
    AwaitC1 { seed: [u8; 32] },
    AwaitC2 { done: Done },
}

impl Server {
    /// Waits for a client. `seed` is 32 fresh random bytes.
    pub fn new(seed: [u8; 32]) -> Server {
        Server { gather: Gather::default(), state: ServerState::AwaitC0 { seed } }
    }

    /// Consumes handshake bytes from `input`, appends answers to `out`, and leaves what follows the
    /// handshake in `input` once it is done.
    pub fn read(
        &mut self,
        input: &mut &[u8],
        out: &mut BytesMut,
    ) -> Result<Option<Done>, HandshakeError> {
        loop {
            match self.state {
                ServerState::AwaitC0 { seed } => {
                    let Some(c0) = self.gather.take(input, 1) else {
                        return Ok(None);
                    };
                    check_version(c0[0])?;
                    self.state = ServerState::AwaitC1 { seed };
                }
                ServerState::AwaitC1 { seed } => {
                    let Some(c1) = self.gather.take(input, PACKET_BYTES) else {
                        return Ok(None);
                    };
                    let done = answer(&c1, &seed, out);
                    self.state = ServerState::AwaitC2 { done };
                }
                ServerState::AwaitC2 { done } => {
                    return Ok(self.gather.take(input, PACKET_BYTES).map(|_| done));
                }
            }
        }
    }
}

/// Writes S0, S1 and S2 in the client's own way.
fn answer(c1: &[u8], seed: &[u8; 32], out: &mut BytesMut) -> Done {
    out.put_u8(VERSION);
    let mut s1 = packet(seed, 0, [0; 4]);
    match digest::find(c1, Role::Client) {
        Some((schema, client_digest)) => {
            // A version that is not 0 says that there is a digest.
            s1[4..8].copy_from_slice(&[4, 5, 0, 1]);
            digest::sign(&mut s1, schema, Role::Server);
            out.put_slice(&s1);
            out.put_slice(&digest::echo(packet(seed, 1, [0; 4]), &client_digest, Role::Server));
            Done::Digest(schema)
        }
        None => {
            out.put_slice(&s1);
            out.put_slice(c1);
            Done::Plain
        }
    }
}

/// The end that connects.
pub struct Client {
    gather: Gather,
    state: ClientState,
    seed: [u8; 32],
    wish: Done,
}

enum ClientState {
    AwaitS0,
    AwaitS1,
    AwaitS2 { done: Done },
}

impl Client {
    /// Appends C0 and C1 to `out`. `seed` is 32 fresh random bytes.
    pub fn start(seed: [u8; 32], wish: Done, out: &mut BytesMut) -> Client {
        out.put_u8(VERSION);
        let c1 = match wish {
            Done::Plain => packet(&seed, 0, [0; 4]),
            Done::Digest(schema) => {
                let mut c1 = packet(&seed, 0, [9, 0, 124, 2]);
                digest::sign(&mut c1, schema, Role::Client);
                c1
            }
        };
        out.put_slice(&c1);
        Client { gather: Gather::default(), state: ClientState::AwaitS0, seed, wish }
    }

    /// As [`Server::read`].
    pub fn read(
        &mut self,
        input: &mut &[u8],
        out: &mut BytesMut,
    ) -> Result<Option<Done>, HandshakeError> {
        loop {
            match self.state {
                ClientState::AwaitS0 => {
                    let Some(s0) = self.gather.take(input, 1) else {
                        return Ok(None);
                    };
                    check_version(s0[0])?;
                    self.state = ClientState::AwaitS1;
                }
                ClientState::AwaitS1 => {
                    let Some(s1) = self.gather.take(input, PACKET_BYTES) else {
                        return Ok(None);
                    };
                    let found = match self.wish {
                        Done::Plain => None,
                        Done::Digest(_) => digest::find(&s1, Role::Server),
                    };
                    let done = match found {
                        Some((schema, server_digest)) => {
                            let noise = packet(&self.seed, 1, [0; 4]);
                            out.put_slice(&digest::echo(noise, &server_digest, Role::Client));
                            Done::Digest(schema)
                        }
                        // A server that knows no digests: go on plainly.
                        None => {
                            out.put_slice(&s1);
                            Done::Plain
                        }
                    };
                    self.state = ClientState::AwaitS2 { done };
                }
                ClientState::AwaitS2 { done } => {
                    return Ok(self.gather.take(input, PACKET_BYTES).map(|_| done));
                }
            }
        }
    }
}

fn check_version(version: u8) -> Result<(), HandshakeError> {
    match version {
        VERSION => Ok(()),
        // RTMPE and its variants with XTEA and Blowfish.
        6 | 8 | 9 => Err(HandshakeError::Encrypted(version)),
        0x16 => Err(HandshakeError::Tls),
        32.. => Err(HandshakeError::NotRtmp(version)),
        _ => Err(HandshakeError::Version(version)),
    }
}

/// Time 0, a version, and noise stretched from the seed.
fn packet(seed: &[u8; 32], number: u8, version: [u8; 4]) -> Vec<u8> {
    let mut packet = vec![0; 4];
    packet.extend_from_slice(&version);
    let mut block = 0u8;
    while packet.len() < PACKET_BYTES {
        let noise = Sha256::new().chain_update(seed).chain_update([number, block]).finalize();
        packet.extend_from_slice(&noise[..noise.len().min(PACKET_BYTES - packet.len())]);
        block = block.wrapping_add(1);
    }
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(wish: Done, piece: usize) -> (Done, Done) {
        let mut to_server = BytesMut::new();
        let mut to_client = BytesMut::new();
        let mut client = Client::start([1; 32], wish, &mut to_server);
        let mut server = Server::new([2; 32]);
        let (mut at_client, mut at_server) = (None, None);
        while at_client.is_none() || at_server.is_none() {
            let now = to_server.split_to(piece.min(to_server.len()));
            if at_server.is_none() {
                at_server = server.read(&mut &now[..], &mut to_client).unwrap();
            }
            let now = to_client.split_to(piece.min(to_client.len()));
            if at_client.is_none() {
                at_client = client.read(&mut &now[..], &mut to_server).unwrap();
            }
        }
        (at_client.unwrap(), at_server.unwrap())
    }

    #[test]
    fn both_ends_agree_on_every_kind() {
        for wish in [Done::Plain, Done::Digest(Schema::KeyFirst), Done::Digest(Schema::DigestFirst)]
        {
            for piece in [1, 7, 1_536, 10_000] {
                assert_eq!(run(wish, piece), (wish, wish));
            }
        }
    }

    #[test]
    fn what_follows_the_handshake_is_left() {
        let mut out = BytesMut::new();
        let mut server = Server::new([0; 32]);
        let mut bytes = vec![3];
        bytes.resize(1 + 2 * PACKET_BYTES, 0);
        bytes.extend_from_slice(b"rest");
        let mut input = &bytes[..];
        assert_eq!(server.read(&mut input, &mut out), Ok(Some(Done::Plain)));
        assert_eq!(input, b"rest");
        // The plain answer echoes C1 in S2.
        assert_eq!(out.len(), 1 + 2 * PACKET_BYTES);
        assert_eq!(&out[1 + PACKET_BYTES..], &bytes[1..1 + PACKET_BYTES]);
    }

    #[test]
    fn a_plain_server_is_accepted_by_a_client_with_digests() {
        let mut out = BytesMut::new();
        let mut client = Client::start([5; 32], Done::Digest(Schema::DigestFirst), &mut out);
        let mut answer = vec![3];
        answer.resize(1 + 2 * PACKET_BYTES, 9);
        assert_eq!(client.read(&mut &answer[..], &mut out), Ok(Some(Done::Plain)));
        assert_eq!(out.len(), 1 + 2 * PACKET_BYTES);
    }

    #[test]
    fn other_protocols_are_refused_in_words() {
        let check = |first: u8, words: &str| {
            let error =
                Server::new([0; 32]).read(&mut &[first][..], &mut BytesMut::new()).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        };
        check(6, "RTMPE, version 6");
        check(8, "RTMPE, version 8");
        check(9, "use RTMPS");
        check(0x16, "looks like TLS");
        check(b'G', "not RTMP");
        check(0, "version 0");
        check(4, "version 4");
    }
}
