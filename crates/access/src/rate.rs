//! Rates: how often somebody may do something. A token bucket for each, in a table with a bound.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

/// How often: `burst` at once, and `per_second` for ever.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// What comes back in a second.
    pub per_second: f64,
    /// What may be done at once.
    pub burst: f64,
}

/// Buckets of one rate.
#[derive(Debug)]
pub struct Limiter<K> {
    rate: Rate,
    buckets_max: usize,
    buckets: Mutex<BTreeMap<K, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at_ms: u64,
}

impl<K: Ord> Limiter<K> {
    /// Everybody begins with a full bucket.
    pub fn new(rate: Rate, buckets_max: usize) -> Self {
        Self { rate, buckets_max, buckets: Mutex::default() }
    }

    /// Takes one out of the bucket; else after how many seconds there will be one.
    pub fn take(&self, key: K, now_ms: u64) -> Result<(), u32> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if !buckets.contains_key(&key) && buckets.len() >= self.buckets_max {
            buckets.retain(|_, bucket| self.filled(*bucket, now_ms).left < self.rate.burst);
            // So many at once are an attack from everywhere: forgetting them costs less than keeping them.
            if buckets.len() >= self.buckets_max {
                buckets.clear();
            }
        }
        let full = Bucket { left: self.rate.burst, at_ms: now_ms };
        let bucket = buckets.entry(key).or_insert(full);
        *bucket = self.filled(*bucket, now_ms);
        self.has_one(*bucket)?;
        bucket.left -= 1.0;
        Ok(())
    }

    /// Puts back what was taken for nothing.
    pub fn give_back(&self, key: &K) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = buckets.get_mut(key) {
            bucket.left = (bucket.left + 1.0).min(self.rate.burst);
        }
    }

    /// Whether there is one, without taking it.
    pub fn look(&self, key: &K, now_ms: u64) -> Result<(), u32> {
        let buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(bucket) = buckets.get(key) else { return Ok(()) };
        self.has_one(self.filled(*bucket, now_ms))
    }

    fn has_one(&self, bucket: Bucket) -> Result<(), u32> {
        if bucket.left >= 1.0 {
            return Ok(());
        }
        // A cast of a float saturates; a second at least, so that nobody asks again at once.
        Err(((1.0 - bucket.left) / self.rate.per_second).ceil().max(1.0) as u32)
    }

    /// A clock that went back fills nothing.
    fn filled(&self, bucket: Bucket, now_ms: u64) -> Bucket {
        let seconds = now_ms.saturating_sub(bucket.at_ms) as f64 / 1000.0;
        let left = (bucket.left + seconds * self.rate.per_second).min(self.rate.burst);
        Bucket { left, at_ms: now_ms.max(bucket.at_ms) }
    }
}

/// Who is counted for an address: whoever has one of IPv6 has its whole /64.
pub fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 0.5, burst: 3.0 };

    #[test]
    fn a_burst_and_then_at_the_rate() {
        let limiter = Limiter::new(RATE, 10);
        for (at_ms, key, expect) in [
            (0, 'a', Ok(())),
            (0, 'a', Ok(())),
            (0, 'a', Ok(())),
            (0, 'a', Err(2)),
            (0, 'b', Ok(())),
            (1_000, 'a', Err(1)),
            (2_000, 'a', Ok(())),
            (2_000, 'a', Err(2)),
            // Back in time: nothing is filled, and nothing overflows.
            (500, 'a', Err(2)),
            (60_000, 'a', Ok(())),
        ] {
            assert_eq!(limiter.look(&key, at_ms).is_ok(), expect.is_ok(), "{at_ms} {key}");
            assert_eq!(limiter.take(key, at_ms), expect, "{at_ms} {key}");
        }
    }

    #[test]
    fn what_was_taken_for_nothing_is_put_back() {
        let limiter = Limiter::new(RATE, 10);
        // Of nobody, and to a full bucket.
        limiter.give_back(&'a');
        for expect in [Ok(()), Ok(()), Ok(()), Err(2)] {
            assert_eq!(limiter.take('a', 0), expect);
        }
        limiter.give_back(&'a');
        assert_eq!([limiter.take('a', 0), limiter.take('a', 0)], [Ok(()), Err(2)]);
        (0..9).for_each(|_| limiter.give_back(&'a'));
        assert_eq!((0..9).take_while(|_| limiter.take('a', 0).is_ok()).count(), 3);
    }

    #[test]
    fn the_table_has_a_bound() {
        let limiter = Limiter::new(RATE, 10);
        for key in 0..1_000 {
            assert_eq!(limiter.take(key, 0), Ok(()));
            assert!(limiter.buckets.lock().unwrap().len() <= 10);
        }
    }

    #[test]
    fn neighbours_share_a_bucket() {
        let of = |text: &str| neighbourhood(text.parse().unwrap());
        assert_eq!(of("2001:db8::1:2:3:4"), of("2001:db8::9"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
