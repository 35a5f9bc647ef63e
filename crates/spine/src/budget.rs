//! One byte budget for all cached media. A payload is charged once, by its allocation, when it comes
//! in, and given back when the last reference to it goes, wherever that is.

use std::fmt;
use std::ops::{Deref, RangeBounds};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use crate::limits::{GROUPS_KEPT_MIN, SHARE_BEYOND, SHARE_OF_WINDOWS};

/// The node's budget for media in memory. Clones share it.
#[derive(Clone)]
pub struct Budget(Arc<Inner>);

struct Inner {
    limit: usize,
    used: AtomicUsize,
}

impl Budget {
    /// A budget of so many bytes.
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Inner { limit, used: AtomicUsize::new(0) }))
    }

    /// Takes bytes into the cache. This is the one place where media gets charged: all slices and
    /// clones of the result share the charge.
    pub fn payload(&self, bytes: impl Into<Bytes>) -> Payload {
        let bytes = bytes.into();
        if bytes.is_empty() {
            return Payload(bytes);
        }
        let charge = self.charge(bytes.len());
        Payload(Bytes::from_owner(Charged { bytes, _charge: charge }))
    }

    /// Charges `bytes` until the guard is dropped.
    pub(crate) fn charge(&self, bytes: usize) -> Charge {
        self.0.used.fetch_add(bytes, Ordering::Relaxed);
        Charge { budget: self.clone(), bytes }
    }

    /// Bytes charged now.
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Bytes that may be charged before groups are evicted.
    pub fn limit(&self) -> usize {
        self.0.limit
    }

    pub(crate) fn exceeded(&self) -> bool {
        self.used() > self.0.limit
    }

    /// Whether nothing more of what is relayed may be kept, of which a group may have so many bytes.
    pub(crate) fn is_full(&self, group: usize) -> bool {
        let beyond = (self.0.limit / SHARE_BEYOND).max(group);
        self.used() > self.0.limit.saturating_add(beyond)
    }

    /// Whether only live windows may be kept.
    pub(crate) fn is_short(&self) -> bool {
        self.used() > self.0.limit - self.0.limit / SHARE_OF_WINDOWS
    }

    /// How many of its newest groups a track that writes now may keep, of which so many are its window; all of them while
    /// there is room.
    pub(crate) fn kept_groups(&self, window: usize) -> Option<usize> {
        if self.exceeded() {
            Some(GROUPS_KEPT_MIN)
        } else if self.is_short() {
            Some(window.max(GROUPS_KEPT_MIN))
        } else {
            None
        }
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Budget({} of {})", self.used(), self.0.limit)
    }
}

/// Gives its bytes back to the budget when dropped.
pub(crate) struct Charge {
    budget: Budget,
    bytes: usize,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.0.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

struct Charged {
    bytes: Bytes,
    _charge: Charge,
}

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Bytes that are charged to the node's [`Budget`]. Cheap to clone and to slice; never copied.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Payload(Bytes);

impl Payload {
    /// The bytes, still carrying their charge.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// A part of it, sharing the same allocation.
    ///
    /// # Panics
    /// If the range is out of bounds, like a slice.
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Self {
        Self(self.0.slice(range))
    }
}

impl Deref for Payload {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_bytes_are_charged_once_and_given_back_with_the_last_reference() {
        let budget = Budget::new(100);
        let payload = budget.payload(vec![7; 60]);
        let part = payload.slice(10..20);
        let clone = payload.clone();
        assert_eq!(budget.used(), 60);
        drop(payload);
        drop(clone);
        assert_eq!(budget.used(), 60, "a slice keeps the whole allocation");
        assert_eq!(&part[..], &[7; 10]);
        drop(part);
        assert_eq!(budget.used(), 0);
    }
}
