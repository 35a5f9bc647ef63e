//! One UDP port with a socket a core behind it, so that no core has to take in what is for all.
//!
//! The kernel picks the socket by a packet's destination connection id, which we chose ourselves but for a connection's
//! first packets: so a client whose address changes (RFC 9000 §9) stays with the socket that knows it.

use std::io;
use std::net::UdpSocket;

use quinn::ConnectionIdGenerator;
use quinn_proto::{ConnectionId, HashedConnectionIdGenerator};

/// The sockets of a port on which `first` listens, and nobody else: `first` alone, where the system can't steer.
pub(super) fn beside(first: UdpSocket, count: u8) -> Vec<UdpSocket> {
    let mut sockets = vec![first];
    if count > 1
        && let Err(error) = widen(&mut sockets, count)
    {
        tracing::warn!(%error, "QUIC has one socket: the system can't tell several on one port whose packet it is");
        sockets.truncate(1);
    }
    sockets
}

/// Picks the socket by the first byte of the destination connection id, whose remainder by their count is its number.
#[cfg(target_os = "linux")]
fn widen(sockets: &mut Vec<UdpSocket>, count: u8) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    use nix::libc;
    use nix::sys::socket::sockopt::{AttachReusePortCbpf, ReusePort};
    use nix::sys::socket::{
        AddressFamily, SockFlag, SockType, SockaddrStorage, bind, setsockopt, socket,
    };

    let address = sockets[0].local_addr()?;
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    // Only now: with it from the start, another program's socket on this port would be no error.
    setsockopt(&sockets[0], ReusePort, &true)?;
    while sockets.len() < usize::from(count) {
        let one = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
        setsockopt(&one, ReusePort, &true)?;
        bind(one.as_raw_fd(), &SockaddrStorage::from(address))?;
        sockets.push(UdpSocket::from(one));
    }
    let step = |code: u32, jt, jf, k| libc::sock_filter {
        code: u16::try_from(code).unwrap_or(u16::MAX),
        jt,
        jf,
        k,
    };
    let byte = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
    // RFC 9000 §17.2: behind its first byte a long header has its version and the id's length. §17.3: a short one has the
    // id. A packet that is too short for it is the first socket's.
    let mut program = [
        step(byte, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, 0, 2, 0x80),
        step(byte, 0, 0, 6),
        step(libc::BPF_JMP | libc::BPF_JA, 0, 0, 1),
        step(byte, 0, 0, 1),
        step(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, 0, 0, u32::from(count)),
        step(libc::BPF_RET | BPF_A, 0, 0, 0),
    ];
    let len = u16::try_from(program.len()).unwrap_or(u16::MAX);
    let program = libc::sock_fprog { len, filter: program.as_mut_ptr() };
    Ok(setsockopt(&sockets[0], AttachReusePortCbpf, &program)?)
}

/// Packets of one client come one by one and not as a train, whose first would speak for all: a client may have connections
/// at several of our sockets.
#[cfg(target_os = "linux")]
pub(super) fn unmerged(socket: &UdpSocket) {
    use nix::sys::socket::{setsockopt, sockopt::UdpGroSegment};
    // A kernel that can't be told knows of no trains.
    let _ = setsockopt(socket, UdpGroSegment, &false);
}

#[cfg(not(target_os = "linux"))]
pub(super) fn unmerged(_: &UdpSocket) {}

/// linux/filter.h: what is returned is what was computed.
#[cfg(target_os = "linux")]
const BPF_A: u32 = 0x10;

#[cfg(not(target_os = "linux"))]
fn widen(_: &mut Vec<UdpSocket>, _: u8) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// All numbers of sockets, from this one on.
pub(super) fn in_turn(first: usize, of: usize) -> impl Iterator<Item = usize> {
    (0..of).map(move |at| (first + at) % of)
}

/// Makes ids that lead to the socket of this number.
pub(super) struct Ids {
    random: HashedConnectionIdGenerator,
    number: u8,
    of: u8,
}

impl Ids {
    pub(super) fn new(number: u8, of: u8) -> Self {
        Self { random: HashedConnectionIdGenerator::new(), number, of: of.max(1) }
    }
}

impl ConnectionIdGenerator for Ids {
    fn generate_cid(&mut self) -> ConnectionId {
        loop {
            let id = self.random.generate_cid();
            if id.first().is_some_and(|first| first % self.of == self.number) {
                return id;
            }
        }
    }

    fn validate(&self, id: &ConnectionId) -> Result<(), quinn_proto::InvalidCid> {
        self.random.validate(id)
    }

    fn cid_len(&self) -> usize {
        self.random.cid_len()
    }

    fn cid_lifetime(&self) -> Option<std::time::Duration> {
        self.random.cid_lifetime()
    }
}

#[cfg(test)]
mod tests;
