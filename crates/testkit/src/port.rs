//! Ports for programs that can't be asked which one they have taken, or that come back to one.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::{SocketAddr, TcpListener, UdpSocket};

/// Below what the system gives to whoever asks for any port (`ip_local_port_range` begins at 32768): no connection of another
/// test takes one of these by chance.
const NOT_GIVEN: std::ops::Range<u16> = 15_000..32_000;

/// An address of the loopback that nobody listens on, over TCP and over UDP.
pub fn free_address() -> SocketAddr {
    let (first, count) = (NOT_GIVEN.start, u64::from(NOT_GIVEN.end - NOT_GIVEN.start));
    let free = |_| {
        let random = RandomState::new().build_hasher().finish();
        let address = SocketAddr::from(([127, 0, 0, 1], first + (random % count) as u16));
        let both = TcpListener::bind(address).and_then(|_| UdpSocket::bind(address));
        both.ok().map(|_| address)
    };
    (0..1_000).find_map(free).expect("a free port")
}
