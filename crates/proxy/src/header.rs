//! The PROXY protocol: a few words in front of a connection, before TLS and everything else.
//!
//! Whoever is trusted must send it, nobody else is listened to: the specification forbids to guess (§2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::limits::{BODY_BYTES_MAX, LINE_BYTES_MAX};

/// How version 2 begins (§2.2). No line of version 1 does.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The shortest line of version 1, `PROXY UNKNOWN` with its end. Version 2 is longer.
const SHORTEST: usize = 15;

/// The fixed part of version 2: signature, version and command, family, length.
const FIXED: usize = 16;

/// What is wrong with a header. The connection is closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("PROXY protocol: {0}")]
pub struct Lie(&'static str);

/// A header that is being read. It never asks for a byte beyond its end.
#[derive(Debug, Clone)]
pub struct Header {
    bytes: Vec<u8>,
    /// Bytes that are there; behind them is room.
    read: usize,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Fill this, exactly, and call [`Header::step`] again.
    Read(&'a mut [u8]),
    /// For whom the connection was made; none if the proxy made it for itself, to look whether somebody is there.
    For(Option<SocketAddr>),
}

impl Default for Header {
    fn default() -> Self {
        Self { bytes: vec![0; SHORTEST], read: 0 }
    }
}

impl Header {
    /// Takes for granted that what it asked for was filled.
    pub fn step(&mut self) -> Result<Step<'_>, Lie> {
        if self.read == 0 {
            self.read = SHORTEST;
            return Ok(Step::Read(&mut self.bytes));
        }
        let more = match read(&self.bytes)? {
            Read::For(client) => return Ok(Step::For(client)),
            Read::More(more) => more,
        };
        // `more` is bounded by BODY_BYTES_MAX, never by what was announced.
        self.bytes.resize(self.read + more, 0);
        let from = std::mem::replace(&mut self.read, self.bytes.len());
        Ok(Step::Read(&mut self.bytes[from..]))
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Read {
    /// So many bytes at least are missing.
    More(usize),
    For(Option<SocketAddr>),
}

fn read(bytes: &[u8]) -> Result<Read, Lie> {
    match bytes {
        _ if bytes.starts_with(SIGNATURE) => version_2(bytes),
        _ if bytes.starts_with(b"PROXY ") => version_1(bytes),
        _ => Err(Lie("a trusted address sent none")),
    }
}

/// §2.1.
fn version_1(bytes: &[u8]) -> Result<Read, Lie> {
    let Some(line) = bytes.strip_suffix(b"\r\n") else {
        if bytes.len() >= LINE_BYTES_MAX {
            return Err(Lie("the line is too long"));
        }
        // A line ends with two bytes, one of which may be there.
        let more = if bytes.ends_with(b"\r") { 1 } else { 2 };
        if bytes.contains(&b'\n') {
            return Err(Lie("the line does not end with CR LF"));
        }
        return Ok(Read::More(more.min(LINE_BYTES_MAX - bytes.len())));
    };
    let text = str::from_utf8(line).map_err(|_| Lie("the line is not ASCII"))?;
    let mut words = text.split(' ').skip(1);
    let mut word = || words.next().ok_or(Lie("the line is too short"));
    let family = word()?;
    if family == "UNKNOWN" {
        // Whatever follows is to be passed over.
        return Ok(Read::For(None));
    }
    let (source, destination, from, to) = (word()?, word()?, word()?, word()?);
    if words.next().is_some() {
        return Err(Lie("the line has too many words"));
    }
    let address = |text: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let source = address(source).ok_or(Lie("the source is no address"))?;
    address(destination).ok_or(Lie("the destination is no address"))?;
    let source_port = port(from).ok_or(Lie("the source's port is none"))?;
    port(to).ok_or(Lie("the destination's port is none"))?;
    Ok(Read::For(Some(SocketAddr::new(source, source_port))))
}

/// §2.1: no leading zeros; `parse` alone would take a sign, too.
fn port(text: &str) -> Option<u16> {
    let plain = text == "0" || (text.starts_with(|c: char| ('1'..='9').contains(&c)));
    if plain && text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// §2.2.
fn version_2(bytes: &[u8]) -> Result<Read, Lie> {
    let Some((fixed, body)) = bytes.split_at_checked(FIXED) else {
        return Ok(Read::More(FIXED - bytes.len()));
    };
    let local = match fixed[12] {
        0x20 => true,
        0x21 => false,
        command if command >> 4 == 2 => return Err(Lie("an unknown command")),
        _ => return Err(Lie("an unknown version")),
    };
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if length > BODY_BYTES_MAX {
        return Err(Lie("too long"));
    }
    if body.len() < length {
        return Ok(Read::More(length - body.len()));
    }
    if local {
        return Ok(Read::For(None));
    }
    let client = match fixed[13] {
        0x11 => {
            let [a, b, c, d, _, _, _, _, high, low] = take::<10>(body, 12)?;
            SocketAddr::new([a, b, c, d].into(), u16::from_be_bytes([high, low]))
        }
        0x21 => {
            let taken = take::<34>(body, 36)?;
            let mut address = [0; 16];
            address.copy_from_slice(&taken[..16]);
            SocketAddr::new(address.into(), u16::from_be_bytes([taken[32], taken[33]]))
        }
        // Unspecified, or a socket of the proxy's own machine: the connection's own address is all there is.
        0x00 | 0x31 => return Ok(Read::For(None)),
        _ => return Err(Lie("not TCP")),
    };
    Ok(Read::For(Some(client)))
}

/// The first N bytes of at least `least`.
fn take<const N: usize>(body: &[u8], least: usize) -> Result<[u8; N], Lie> {
    let short = Lie("the addresses are missing");
    if body.len() < least {
        return Err(short);
    }
    body.first_chunk().copied().ok_or(short)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads as a driver does; what is left over belongs to the connection.
    fn run(mut bytes: &[u8]) -> Result<(Option<String>, usize), String> {
        let mut header = Header::default();
        loop {
            match header.step().map_err(|lie| lie.to_string())? {
                Step::For(client) => return Ok((client.map(|c| c.to_string()), bytes.len())),
                Step::Read(room) => {
                    let taken = bytes.split_at_checked(room.len());
                    let (now, rest) = taken.ok_or("waits for more")?;
                    room.copy_from_slice(now);
                    bytes = rest;
                }
            }
        }
    }

    fn v2(command: u8, family: u8, length: u16, body: &[u8]) -> Vec<u8> {
        let fixed = [&SIGNATURE[..], &[command, family], &length.to_be_bytes()].concat();
        [&fixed, body, b"REST"].concat()
    }

    const V4: [u8; 12] = [192, 0, 2, 1, 10, 0, 0, 1, 0xdd, 0xd5, 1, 0xbb];

    #[test]
    fn for_whom_a_connection_was_made() {
        let v6: Vec<u8> = [
            &Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).octets()[..],
            &Ipv6Addr::LOCALHOST.octets(),
            &[0xdd, 0xd5, 1, 0xbb],
        ]
        .concat();
        let with_more = [&V4[..], &[4, 0, 1, 0]].concat();
        let longest = [&V4[..], &[0; BODY_BYTES_MAX - 12]].concat();
        let line = |text: &str| format!("{text}\r\nREST").into_bytes();
        for (bytes, expect) in [
            (line("PROXY TCP4 192.0.2.1 10.0.0.1 56789 443"), Some("192.0.2.1:56789")),
            (line("PROXY TCP4 0.0.0.0 0.0.0.0 0 0"), Some("0.0.0.0:0")),
            (line("PROXY TCP6 2001:db8::1 ::1 56789 443"), Some("[2001:db8::1]:56789")),
            (line("PROXY UNKNOWN"), None),
            (line("PROXY UNKNOWN whatever it says"), None),
            (v2(0x21, 0x11, 12, &V4), Some("192.0.2.1:56789")),
            (v2(0x21, 0x11, 16, &with_more), Some("192.0.2.1:56789")),
            (v2(0x21, 0x11, BODY_BYTES_MAX as u16, &longest), Some("192.0.2.1:56789")),
            (v2(0x21, 0x21, 36, &v6), Some("[2001:db8::1]:56789")),
            (v2(0x20, 0, 0, &[]), None),
            (v2(0x20, 0x11, 12, &V4), None),
            (v2(0x21, 0, 0, &[]), None),
            (v2(0x21, 0x31, 3, &[1, 2, 3]), None),
        ] {
            let read = run(&bytes);
            assert_eq!(read, Ok((expect.map(str::to_owned), 4)), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn lies() {
        let line = |text: &str| format!("{text}\r\nREST").into_bytes();
        for (bytes, expect) in [
            (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "a trusted address sent none"),
            (
                b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03abcdefg".to_vec(),
                "a trusted address sent none",
            ),
            (line("proxy TCP4 192.0.2.1 10.0.0.1 1 1"), "a trusted address sent none"),
            (line("PROXY  TCP4 192.0.2.1 10.0.0.1 1 1"), "too many words"),
            (line("PROXY TCP4 192.0.2.01 10.0.0.1 1 1"), "the source is no address"),
            (line("PROXY TCP4 2001:db8::1 ::1 1 1"), "the source is no address"),
            (line("PROXY TCP6 192.0.2.1 10.0.0.1 1 1"), "the source is no address"),
            (line("PROXY TCP4 192.0.2.1 10.0.0.256 1 1"), "the destination is no address"),
            (line("PROXY TCP4 192.0.2.1 10.0.0.1 01 1"), "the source's port is none"),
            (line("PROXY TCP4 192.0.2.1 10.0.0.1 +1 1"), "the source's port is none"),
            (line("PROXY TCP4 192.0.2.1 10.0.0.1 65536 1"), "the source's port is none"),
            (line("PROXY TCP4 192.0.2.1 10.0.0.1 1 -1"), "the destination's port is none"),
            (line("PROXY TCP4 192.0.2.1 10.0.0.1 1 "), "the destination's port is none"),
            (line("PROXY TCP4 192.0.2.1 10.0.0.1 1"), "too short"),
            (line("PROXY TCP4 192.0.2.1 10.0.0.1 1 1 1"), "too many words"),
            (line("PROXY UDP4 192.0.2.1 10.0.0.1 1 1"), "the source is no address"),
            (b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\nGET / HTTP/1.1\r\n".to_vec(), "CR LF"),
            (format!("PROXY UNKNOWN {}", "x".repeat(200)).into_bytes(), "too long"),
            (b"PROXY \xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\r\n".to_vec(), "not ASCII"),
            (v2(0x22, 0x11, 12, &V4), "an unknown command"),
            (v2(0x11, 0x11, 12, &V4), "an unknown version"),
            (v2(0x21, 0x12, 12, &V4), "not TCP"),
            (v2(0x21, 0x11, 11, &V4), "the addresses are missing"),
            (v2(0x21, 0x21, 35, &[0; 35]), "the addresses are missing"),
            (v2(0x21, 0x11, BODY_BYTES_MAX as u16 + 1, &[0; BODY_BYTES_MAX + 1]), "too long"),
            (v2(0x21, 0x11, 100, &V4), "waits for more"),
        ] {
            let told = run(&bytes).unwrap_err();
            assert!(told.contains(expect), "{}: {told}", bytes.escape_ascii());
        }
    }

    #[test]
    fn the_longest_line_fits() {
        let six = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        let line = format!("PROXY TCP6 {six} {six} 65535 65535\r\n");
        assert_eq!(run(line.as_bytes()), Ok((Some(format!("[{six}]:65535")), 0)));
        let unknown = format!("PROXY UNKNOWN {six} {six} 65535 65535\r\n");
        assert_eq!((unknown.len(), run(unknown.as_bytes())), (LINE_BYTES_MAX, Ok((None, 0))));
    }
}
