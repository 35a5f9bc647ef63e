//! `X-Forwarded-For` and `X-Forwarded-Proto`: what proxies write into requests.

use std::net::{IpAddr, SocketAddr};

use crate::limits::HOPS_MAX;
use crate::network::Networks;

/// Who made a request, as far as those can be believed who hand it on. `fields` are the values of all fields
/// `X-Forwarded-For`, in the order in which they came.
///
/// Each proxy adds whom it heard from at the end. So they are read backwards, for as long as the one who says it is
/// trusted; what a client wrote itself stands further to the front and is never reached.
pub fn client<'a>(
    peer: SocketAddr,
    fields: impl DoubleEndedIterator<Item = &'a str>,
    trusted: &Networks,
) -> SocketAddr {
    let mut client = peer;
    let entries = fields.rev().flat_map(|field| field.rsplit(','));
    for entry in entries.take(HOPS_MAX) {
        if !trusted.have(client.ip()) {
            break;
        }
        // Who writes what can't be read has not told whom it heard from.
        let Some(before) = address(entry.trim()) else { break };
        client = before;
    }
    client
}

/// Whether the client's connection to the outermost proxy that is believed was encrypted. The last word counts, which the
/// nearest proxy wrote; it may have a list, of which the last again is its own.
pub fn https<'a>(fields: impl DoubleEndedIterator<Item = &'a str>) -> bool {
    let last = fields.rev().flat_map(|field| field.rsplit(',')).next();
    last.is_some_and(|word| word.trim().eq_ignore_ascii_case("https"))
}

/// With or without a port, IPv6 with or without brackets.
fn address(text: &str) -> Option<SocketAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(SocketAddr::new(address.to_canonical(), 0));
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(SocketAddr::new(address.ip().to_canonical(), address.port()));
    }
    let inside = text.strip_prefix('[')?.strip_suffix(']')?;
    inside.parse().ok().map(|v6| SocketAddr::new(IpAddr::V6(v6).to_canonical(), 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted() -> Networks {
        Networks::new(["10.0.0.0/8", "fd00::/8"].map(|n| n.parse().unwrap()).to_vec())
    }

    #[test]
    fn who_made_a_request() {
        let many = ["10.0.0.9"; 100].join(",");
        for (peer, fields, expect) in [
            // A stranger's words are not listened to.
            ("203.0.113.9:1", &["198.51.100.1"][..], "203.0.113.9"),
            ("203.0.113.9:1", &[], "203.0.113.9"),
            ("10.0.0.1:1", &[], "10.0.0.1"),
            ("10.0.0.1:1", &["198.51.100.1"], "198.51.100.1"),
            ("[::ffff:10.0.0.1]:1", &["198.51.100.1"], "198.51.100.1"),
            // What the client wrote itself stands in front.
            ("10.0.0.1:1", &["127.0.0.1, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1:1", &["127.0.0.1", "198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1:1", &["127.0.0.1, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
            ("10.0.0.1:1", &["127.0.0.1, 198.51.100.1", "10.0.0.2,fd00::2"], "198.51.100.1"),
            // All are ours.
            ("10.0.0.1:1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            // What can't be read ends it: the one who wrote it is the last that is known.
            ("10.0.0.1:1", &["198.51.100.1, unknown, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1:1", &["198.51.100.1, "], "10.0.0.1"),
            ("10.0.0.1:1", &["198.51.100.1,,10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1:1", &[""], "10.0.0.1"),
            ("10.0.0.1:1", &["1.2.3.4.5"], "10.0.0.1"),
            ("10.0.0.1:1", &["198.51.100.1:4711"], "198.51.100.1"),
            ("10.0.0.1:1", &["2001:db8::1"], "2001:db8::1"),
            ("10.0.0.1:1", &["[2001:db8::1]"], "2001:db8::1"),
            ("10.0.0.1:1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("10.0.0.1:1", &["::ffff:198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1:1", &[&many], "10.0.0.9"),
        ] {
            let found = client(peer.parse().unwrap(), fields.iter().copied(), &trusted());
            assert_eq!(found.ip().to_canonical().to_string(), expect, "{peer} {fields:?}");
        }
    }

    #[test]
    fn whether_it_is_encrypted() {
        for (fields, expect) in [
            (&[][..], false),
            (&["https"][..], true),
            (&["HTTPS "], true),
            (&["http"], false),
            (&["https, http"], false),
            (&["https", "http"], false),
            (&["http", "https"], true),
            (&["httpsx"], false),
            (&[""], false),
        ] {
            assert_eq!(https(fields.iter().copied()), expect, "{fields:?}");
        }
    }
}
