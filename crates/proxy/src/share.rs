//! How many connections there may be, and how many of them one address may have.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A bound of connections, of which each address has its share.
#[derive(Debug)]
pub struct Shares {
    most: usize,
    each: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_address: BTreeMap<IpAddr, usize>,
}

/// Why there is no room for one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// There are too many in all.
    All,
    /// The address has its share.
    Address,
}

/// Counts a connection until it is dropped.
#[derive(Debug)]
pub struct Share {
    of: Arc<Shares>,
    who: Option<IpAddr>,
}

impl Shares {
    /// At most `most`, and `each` of one address; of IPv6: of one /64.
    pub fn new(most: usize, each: usize) -> Arc<Self> {
        Arc::new(Self { most, each, open: Mutex::default() })
    }

    /// At most `most`, and of one address as many as users write: 0 for any number.
    pub fn configured(most: usize, each: u32) -> Arc<Self> {
        let any = each == 0;
        Self::new(most, if any { usize::MAX } else { usize::try_from(each).unwrap_or(usize::MAX) })
    }

    /// One more of this address; of none, if it is one of many people.
    pub fn enter(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Share, Full> {
        let who = address.map(customer);
        let mut open = self.open();
        if open.all >= self.most {
            return Err(Full::All);
        }
        if let Some(who) = who {
            let here = open.by_address.get(&who).copied().unwrap_or(0);
            if here >= self.each {
                return Err(Full::Address);
            }
            open.by_address.insert(who, here + 1);
        }
        open.all += 1;
        Ok(Share { of: self.clone(), who })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.open().all
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut open = self.of.open();
        open.all = open.all.saturating_sub(1);
        let Some(who) = self.who else { return };
        match open.by_address.get(&who).copied().unwrap_or(0) {
            0 | 1 => drop(open.by_address.remove(&who)),
            more => drop(open.by_address.insert(who, more - 1)),
        }
    }
}

/// Whom connections from this address are counted for: who has IPv6 has a /64 of it at least.
pub fn customer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_connections_and_no_more() {
        let bound = Shares::configured(usize::MAX, 2);
        let enter = |address: &str| bound.enter(Some(address.parse().unwrap()));
        let (one, _two) = (enter("192.0.2.1").unwrap(), enter("::ffff:192.0.2.1").unwrap());
        assert_eq!(enter("192.0.2.1").err(), Some(Full::Address));
        let _other = enter("192.0.2.2").unwrap();
        let six = [enter("2001:db8::1"), enter("2001:db8::ffff:1")].map(Result::unwrap);
        assert!(enter("2001:db8::2:3").is_err() && enter("2001:db8:0:1::1").is_ok());
        drop(one);
        assert!(enter("192.0.2.1").is_ok());
        drop(six);
        assert_eq!(bound.open().by_address.len(), 2, "who has gone is forgotten");
        let any = Shares::configured(usize::MAX, 0);
        let all: Vec<_> = (0..5_000).map(|_| any.enter(Some([192, 0, 2, 1].into()))).collect();
        assert!(all.iter().all(Result::is_ok));
    }

    #[test]
    fn all_together_have_a_bound_too() {
        let bound = Shares::new(3, 2);
        let of = |last: u8| bound.enter(Some([192, 0, 2, last].into()));
        let here = [of(1), of(1), of(2)].map(Result::unwrap);
        assert_eq!(of(3).err(), Some(Full::All));
        assert_eq!(bound.enter(None).err(), Some(Full::All), "also those of many people");
        drop(here);
        assert_eq!(bound.count(), 0);
        let many: Vec<_> = (0..3).map(|_| bound.enter(None).unwrap()).collect();
        assert_eq!(bound.count(), many.len(), "which have no share");
    }
}
