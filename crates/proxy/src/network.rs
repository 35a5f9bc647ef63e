//! Networks as operators write them: `192.0.2.0/24`, `2001:db8::/32`, `192.0.2.7`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An address and how many of its leading bits count; written `192.0.2.0/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// A text that is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address and no network: write 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32")]
pub struct NoNetwork(String);

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let no = || NoNetwork(text.chars().take(100).collect());
        let (address, bits) = match text.split_once('/') {
            // A sign would parse.
            Some((_, bits)) if !bits.bytes().all(|b| b.is_ascii_digit()) => return Err(no()),
            Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| no())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| no())?;
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(whole);
        if bits > whole {
            return Err(no());
        }
        Ok(Self { address, bits })
    }
}

impl TryFrom<String> for Network {
    type Error = NoNetwork;

    fn try_from(text: String) -> Result<Self, NoNetwork> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl Network {
    /// The same where addresses are [canonical](IpAddr::to_canonical): of IPv4 that is written in IPv6 (RFC 4291 §2.5.5.2). None if
    /// it begins there and holds more than all of IPv4.
    pub fn to_canonical(self) -> Option<Self> {
        let address = self.address.to_canonical();
        if address.is_ipv4() == self.address.is_ipv4() {
            return Some(self);
        }
        Some(Self { address, bits: self.bits.checked_sub(96)? })
    }

    /// Whether an address belongs to it. IPv4 inside of IPv6 is IPv6 here: see `IpAddr::to_canonical`.
    pub fn has(self, address: IpAddr) -> bool {
        let bits = |address| -> u128 {
            match address {
                // Shifted up, so that leading bits lead.
                IpAddr::V4(v4) => u128::from(u32::from(v4)) << 96,
                IpAddr::V6(v6) => v6.into(),
            }
        };
        let differ = bits(self.address) ^ bits(address);
        self.address.is_ipv4() == address.is_ipv4()
            && differ.checked_shr(128 - u32::from(self.bits)).unwrap_or(0) == 0
    }
}

/// Whom the operator trusts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<Network>);

impl Networks {
    /// These.
    pub fn new(networks: Vec<Network>) -> Self {
        Self(networks)
    }

    /// These, and others.
    #[must_use]
    pub fn and(&self, others: &Self) -> Self {
        Self([&self.0[..], &others.0].concat())
    }

    /// Whether an address is in one of them.
    pub fn have(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.has(address))
    }

    /// Nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_belongs_to_a_network() {
        for (network, address, expect) in [
            ("192.0.2.0/24", "192.0.2.255", true),
            ("192.0.2.0/24", "192.0.3.0", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "2001:db8::1", true),
            // What a socket of IPv6 says of a peer with IPv4.
            ("192.0.2.0/24", "::ffff:192.0.2.1", true),
            ("::/0", "::ffff:192.0.2.1", false),
        ] {
            let networks = Networks::new(vec![network.parse().unwrap()]);
            assert_eq!(networks.have(address.parse().unwrap()), expect, "{network} {address}");
        }
        assert!(!Networks::default().have("127.0.0.1".parse().unwrap()));
        let of = |network: &str| Networks::new(vec![network.parse().unwrap()]);
        let both = of("192.0.2.7").and(&of("192.0.2.8"));
        let has = |last| both.have([192, 0, 2, last].into());
        assert!(!has(6) && has(7) && has(8) && !has(9));
    }

    #[test]
    fn what_is_no_network() {
        for text in [
            "",
            "/",
            "192.0.2.0/33",
            "192.0.2.0/-1",
            "192.0.2.0/+8",
            "::/129",
            "a",
            "1.2.3/8",
            "::/",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
        let printed = |text: &str| text.parse::<Network>().unwrap().to_string();
        assert_eq!(
            (printed("192.0.2.7"), printed("2001:db8::/32")),
            ("192.0.2.7/32".to_owned(), "2001:db8::/32".to_owned())
        );
    }
}
