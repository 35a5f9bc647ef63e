//! What fuzz targets and tests do with any bytes.

use std::net::{Ipv4Addr, SocketAddr};

use crate::forwarded;
use crate::header::{Header, Step};
use crate::limits::{BODY_BYTES_MAX, LINE_BYTES_MAX};
use crate::network::{Network, Networks};

/// Reads bytes as a header of the PROXY protocol, then as the value of `X-Forwarded-For`.
pub fn any(bytes: &[u8]) {
    let (mut header, mut rest) = (Header::default(), bytes);
    // It comes to its end, and never has more than it may.
    let most = LINE_BYTES_MAX.max(16 + BODY_BYTES_MAX);
    while let Ok(Step::Read(room)) = header.step() {
        assert!(!room.is_empty());
        let Some((now, left)) = rest.split_at_checked(room.len()) else { break };
        room.copy_from_slice(now);
        rest = left;
        assert!(bytes.len() - rest.len() <= most);
    }
    let text = String::from_utf8_lossy(bytes);
    if let Ok(network) = text.parse::<Network>() {
        assert_eq!(network.to_string().parse(), Ok(network));
    }
    let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let one = forwarded::client(peer, text.lines(), &Networks::default());
    assert_eq!(one, peer, "nobody is trusted");
    let all = ["0.0.0.0/0", "::/0"].map(str::parse).map(Result::ok).into_iter().flatten();
    let _ = forwarded::client(peer, text.lines(), &Networks::new(all.collect()));
    let _ = forwarded::https(text.lines());
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[test]
    fn seeds_and_changes_of_them_pass() {
        sansio::harness::replay("proxy", 1_000, super::any);
    }

    proptest! {
        #[test]
        fn any_bytes(begin in 0_usize..4, rest in vec(any::<u8>(), 0..200)) {
            let begin = [&b""[..], b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n", b"\r\n\r\n\0\r\nQUIT\n\x21\x11"][begin];
            super::any(&[begin, &rest].concat());
        }

        #[test]
        fn any_words(text in "(PROXY )?[0-9a-f:., TCP46\r\n\\[\\]/]{0,150}") {
            super::any(text.as_bytes());
        }
    }
}
