//! What is kept of so many things: that of the one which was used longest ago goes first.

use std::borrow::Borrow;
use std::collections::BTreeMap;

/// Values by keys, up to a bound.
pub(crate) struct Recent<K, V> {
    known: BTreeMap<K, Used<V>>,
    clock: u64,
    most: usize,
}

struct Used<V> {
    at: u64,
    value: V,
}

/// There is no room, and none can be made.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl<K: Ord + Clone, V> Recent<K, V> {
    pub(crate) fn new(most: usize) -> Self {
        Self { known: BTreeMap::new(), clock: 0, most }
    }

    /// It is used now.
    pub(crate) fn get<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.clock += 1;
        let used = self.known.get_mut(key)?;
        used.at = self.clock;
        Some(&used.value)
    }

    /// Answers the key of what went for it, of those whose value may go.
    pub(crate) fn insert(
        &mut self,
        key: K,
        value: V,
        may_go: impl Fn(&V) -> bool,
    ) -> Result<Option<K>, Full> {
        let mut gone = None;
        if self.known.len() >= self.most && !self.known.contains_key(&key) {
            let others = self.known.iter().filter(|(_, used)| may_go(&used.value));
            let oldest = others.min_by_key(|(_, used)| used.at).ok_or(Full)?.0.clone();
            self.known.remove(&oldest);
            gone = Some(oldest);
        }
        self.clock += 1;
        self.known.insert(key, Used { at: self.clock, value });
        Ok(gone)
    }

    pub(crate) fn remove<Q: Ord + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        self.known.remove(key);
    }

    pub(crate) fn retain(&mut self, mut stays: impl FnMut(&K, &V) -> bool) {
        self.known.retain(|key, used| stays(key, &used.value));
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &K> {
        self.known.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let mut recent = Recent::new(3);
        for n in 1..=3 {
            assert_eq!(recent.insert(n, n, |_| true), Ok(None));
        }
        assert_eq!(recent.get(&1), Some(&1));
        assert_eq!(recent.insert(4, 4, |_| true), Ok(Some(2)));
        // The same again takes no room.
        assert_eq!(recent.insert(3, 30, |_| true), Ok(None));
        assert_eq!(recent.insert(5, 5, |n| *n != 1), Ok(Some(4)));
        assert_eq!(recent.insert(6, 6, |_| false), Err(Full));
        assert_eq!(recent.keys().copied().collect::<Vec<_>>(), [1, 3, 5]);
        recent.retain(|_, n| *n != 30);
        recent.remove(&5);
        assert_eq!(recent.keys().copied().collect::<Vec<_>>(), [1]);
    }
}
