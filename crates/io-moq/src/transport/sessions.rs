//! What resumes TLS sessions (RFC 8446 §2.2), with 0-RTT: of all sockets of an endpoint and all certificates that it has had.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustls::server::StoresServerSessions;

use crate::limits::SESSIONS_KEPT;

/// Sessions by their tickets, each given out once: [`SESSIONS_KEPT`] of them, the newest. What rustls has by itself is for 256, and
/// looks through all of them for each that is taken.
#[derive(Default)]
pub(super) struct Sessions(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    /// With the place in `order`.
    sessions: HashMap<Vec<u8>, (u64, Vec<u8>)>,
    /// Tickets, the oldest first.
    order: BTreeMap<u64, Vec<u8>>,
    next: u64,
}

impl Sessions {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn forget_all(&self) {
        *self.kept() = Kept::default();
    }
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Their contents are secret.
        f.debug_struct("Sessions").field("kept", &self.kept().sessions.len()).finish()
    }
}

impl StoresServerSessions for Sessions {
    fn put(&self, ticket: Vec<u8>, session: Vec<u8>) -> bool {
        let mut kept = self.kept();
        let place = kept.next;
        kept.next += 1;
        if let Some((before, _)) = kept.sessions.insert(ticket.clone(), (place, session)) {
            kept.order.remove(&before);
        }
        kept.order.insert(place, ticket);
        if kept.order.len() > SESSIONS_KEPT
            && let Some((_, oldest)) = kept.order.pop_first()
        {
            kept.sessions.remove(&oldest);
        }
        true
    }

    fn get(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.kept().sessions.get(ticket).map(|(_, session)| session.clone())
    }

    fn take(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let mut kept = self.kept();
        let (place, session) = kept.sessions.remove(ticket)?;
        kept.order.remove(&place);
        Some(session)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_sessions_are_kept_and_each_is_given_out_once() {
        let (sessions, count) = (Sessions::default(), SESSIONS_KEPT as u64 + 3);
        let ticket = |n: u64| n.to_be_bytes().to_vec();
        for n in 0..count {
            assert!(sessions.put(ticket(n), vec![1]));
        }
        // Said again, it is the newest one.
        sessions.put(ticket(3), vec![2]);
        sessions.put(ticket(count), vec![1]);
        let kept = |n| sessions.get(&ticket(n)).is_some();
        assert_eq!([0, 2, 3, 4, 5, count].map(kept), [false, false, true, false, true, true]);
        assert_eq!(sessions.take(&ticket(3)), Some(vec![2]));
        assert_eq!(sessions.take(&ticket(3)), None);
        let kept = sessions.kept();
        assert_eq!((kept.sessions.len(), kept.order.len()), (SESSIONS_KEPT - 1, SESSIONS_KEPT - 1));
    }
}
