//! Connections that have not been admitted: how many there may be, and who makes room when there are more.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proxy::share::customer;
use tokio::task::AbortHandle;

use crate::limits::HALF_OPEN_PER_ADDRESS_MAX;

/// Those of all listeners that share it. An encoder is one for a few round trips, a stranger for as long as he is let: so whoever
/// comes gets in, and where that is one too many, the oldest one of the address that has the most of them is ended.
#[derive(Debug)]
pub struct HalfOpen {
    most: usize,
    each: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    /// By their numbers: the oldest first.
    places: BTreeMap<u64, Place>,
    by_address: BTreeMap<IpAddr, usize>,
}

#[derive(Debug, Default)]
struct Place {
    /// None while a load balancer has not said whom the connection is for.
    address: Option<IpAddr>,
    /// None until it runs: it can't be ended before.
    task: Option<AbortHandle>,
}

/// Counts a connection as half open until it is dropped.
#[derive(Debug)]
pub(crate) struct HalfOpenGuard {
    of: Arc<HalfOpen>,
    number: u64,
}

impl HalfOpen {
    /// At most `most`; of one address (of IPv6: of one /64) a quarter of that or [`HALF_OPEN_PER_ADDRESS_MAX`], whichever is less.
    pub fn new(most: usize) -> Arc<Self> {
        let each = most.div_ceil(4).clamp(1, HALF_OPEN_PER_ADDRESS_MAX);
        Arc::new(Self { most, each, open: Mutex::default() })
    }

    /// One more, of nobody yet if a load balancer has still to say whose it is; whether another one was ended for it.
    pub(crate) fn enter(self: &Arc<Self>, client: Option<IpAddr>) -> (HalfOpenGuard, bool) {
        let mut open = self.open();
        let number = open.next;
        open.next += 1;
        open.places.insert(number, Place::default());
        let mut ended = client.and_then(|client| open.is_of(number, client, self.each));
        if ended.is_none() && open.places.len() > self.most {
            ended = open.end_one();
        }
        drop(open);
        (HalfOpenGuard { of: self.clone(), number }, ended.inspect(AbortHandle::abort).is_some())
    }

    /// The connection with this number runs in this task.
    pub(crate) fn runs(&self, number: u64, task: AbortHandle) {
        if let Some(place) = self.open().places.get_mut(&number) {
            place.task = Some(task);
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Whose one is; another one of his that is to be ended for it.
    fn is_of(&mut self, number: u64, client: IpAddr, each: usize) -> Option<AbortHandle> {
        let address = customer(client);
        let here = self.by_address.get(&address).copied().unwrap_or(0);
        let full = (here >= each).then(|| self.oldest(|place| place.address == Some(address)));
        // It may have lost its place before this was known.
        if let Some(place) = self.places.get_mut(&number) {
            place.address = Some(address);
            *self.by_address.entry(address).or_default() += 1;
        }
        full.flatten()
    }

    /// The oldest one of the address that has the most; where each has one, the oldest of all.
    fn end_one(&mut self) -> Option<AbortHandle> {
        let crowd = self.by_address.iter().max_by_key(|(_, n)| **n).filter(|(_, n)| **n > 1);
        let crowd = crowd.map(|(address, _)| *address);
        self.oldest(|place| crowd.is_none_or(|crowd| place.address == Some(crowd)))
    }

    /// The oldest one of these, which has its place no longer.
    fn oldest(&mut self, of: impl Fn(&Place) -> bool) -> Option<AbortHandle> {
        let mut these = self.places.iter().filter(|(_, place)| of(place));
        let (number, task) = these.find_map(|(n, place)| Some((*n, place.task.clone()?)))?;
        self.leave(number);
        Some(task)
    }

    fn leave(&mut self, number: u64) {
        let Some(address) = self.places.remove(&number).and_then(|place| place.address) else {
            return;
        };
        match self.by_address.get(&address).copied().unwrap_or(0) {
            0 | 1 => drop(self.by_address.remove(&address)),
            more => drop(self.by_address.insert(address, more - 1)),
        }
    }
}

impl HalfOpenGuard {
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// A load balancer has said whose it is; whether another one of his was ended for it.
    pub(crate) fn is_of(&self, client: IpAddr) -> bool {
        let ended = self.of.open().is_of(self.number, client, self.of.each);
        ended.inspect(AbortHandle::abort).is_some()
    }
}

impl Drop for HalfOpenGuard {
    fn drop(&mut self) {
        self.of.open().leave(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Connections that say nothing.
    #[derive(Default)]
    struct Silent(Vec<(HalfOpenGuard, AbortHandle)>);

    impl Silent {
        /// Whether another one was ended for it.
        fn come(&mut self, to: &Arc<HalfOpen>, from: &str) -> bool {
            let (guard, ended) = to.enter(Some(from.parse().unwrap()));
            let task = tokio::spawn(std::future::pending::<()>()).abort_handle();
            to.runs(guard.number(), task.clone());
            self.0.push((guard, task));
            ended
        }

        /// Which were ended, the first one being 0.
        async fn ended(&self) -> Vec<usize> {
            tokio::task::yield_now().await;
            (0..self.0.len()).filter(|at| self.0[*at].1.is_finished()).collect()
        }
    }

    #[tokio::test]
    async fn who_has_the_most_makes_room_with_his_oldest_one() {
        let (all, mut silent) = (HalfOpen::new(8), Silent::default());
        for (from, ended) in [
            ("192.0.2.1", &[][..]),
            // An address has a quarter of the places.
            ("192.0.2.2", &[]),
            ("::ffff:192.0.2.2", &[]),
            ("192.0.2.2", &[1]),
            ("2001:db8::1", &[1]),
            ("2001:db8::2:3", &[1]),
            ("2001:db8::4", &[1, 4]),
            ("192.0.2.4", &[1, 4]),
            ("192.0.2.5", &[1, 4]),
            ("192.0.2.6", &[1, 4]),
            // All are taken: of those who have two.
            ("192.0.2.7", &[1, 4, 5]),
            ("192.0.2.8", &[1, 2, 4, 5]),
            // Each has one: the oldest of all.
            ("192.0.2.9", &[0, 1, 2, 4, 5]),
            // And who comes a second time is the first to have two.
            ("192.0.2.9", &[0, 1, 2, 4, 5, 12]),
        ] {
            let before = silent.ended().await.len();
            let told = silent.come(&all, from);
            assert_eq!(silent.ended().await, ended, "{from}");
            assert_eq!(told, ended.len() > before, "{from}");
            assert!(all.open().places.len() <= 8);
        }
        drop(silent);
        let open = all.open();
        assert!(open.places.is_empty() && open.by_address.is_empty(), "who has gone is forgotten");
    }

    #[tokio::test]
    async fn what_a_balancer_hands_on_is_of_whom_it_says() {
        let (all, client) = (HalfOpen::new(4), "192.0.2.1".parse().unwrap());
        let ((late, _), (other, _)) = (all.enter(None), all.enter(None));
        let tasks = [&late, &other].map(|guard| {
            let task = tokio::spawn(std::future::pending::<()>()).abort_handle();
            all.runs(guard.number(), task.clone());
            task
        });
        assert_eq!((other.is_of(client), late.is_of(client)), (false, true), "one of each address");
        tokio::task::yield_now().await;
        assert_eq!(tasks.map(|task| task.is_finished()), [false, true]);
    }
}
