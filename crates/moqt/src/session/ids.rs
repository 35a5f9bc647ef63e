//! Which Request IDs the peer has used (draft-18 §10.1): each once, with its own parity. They come on
//! streams of their own, so also out of order, and with gaps.

use std::collections::BTreeMap;

use crate::code::SessionCode;
use crate::error::Violation;
use crate::limits;
use crate::request::RequestId;

/// The peer's IDs so far, as ranges of their halves.
#[derive(Debug)]
pub(super) struct SeenIds {
    /// 0: the peer is a client.
    parity: u64,
    count: u64,
    /// Start to end, inclusive; apart from each other by at least one.
    ranges: BTreeMap<u64, u64>,
}

impl SeenIds {
    pub(super) fn new(parity: u64) -> SeenIds {
        SeenIds { parity, count: 0, ranges: BTreeMap::new() }
    }

    /// Takes one that arrived.
    pub(super) fn take(&mut self, id: RequestId) -> Result<(), Violation> {
        if id.0 % 2 != self.parity {
            let what = "a Request ID of the wrong parity";
            return Err(Violation::new(SessionCode::InvalidRequestId, what));
        }
        let number = id.0 / 2;
        let before = self.ranges.range(..=number).next_back().map(|(start, end)| (*start, *end));
        if before.is_some_and(|(_, end)| number <= end) {
            return Err(Violation::new(SessionCode::InvalidRequestId, "a Request ID twice"));
        }
        let mut start = number;
        let mut end = number;
        if let Some((before_start, before_end)) = before
            && before_end + 1 == number
        {
            start = before_start;
        }
        if let Some(after_end) = number.checked_add(1).and_then(|next| self.ranges.remove(&next)) {
            end = after_end;
        }
        self.ranges.insert(start, end);
        self.count += 1;
        self.forget();
        Ok(())
    }

    /// Too many gaps: the oldest one is closed, as if its IDs had come.
    fn forget(&mut self) {
        while self.ranges.len() > limits::REQUEST_ID_GAPS_MAX {
            let Some((start, _)) = self.ranges.pop_first() else { return };
            if let Some((_, end)) = self.ranges.pop_first() {
                self.ranges.insert(start, end);
            }
        }
    }

    /// Whether it has come.
    pub(super) fn contains(&self, id: RequestId) -> bool {
        let number = id.0 / 2;
        let before = self.ranges.range(..=number).next_back();
        id.0 % 2 == self.parity && before.is_some_and(|(_, end)| number <= *end)
    }

    /// How many have come.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// How many pieces of the sequence are left out.
    pub(super) fn gaps(&self) -> usize {
        let first = self.ranges.first_key_value().is_some_and(|(start, _)| *start > 0);
        self.ranges.len().saturating_sub(1) + usize::from(first)
    }

    /// Above all that have come: for GOAWAY.
    pub(super) fn next(&self) -> RequestId {
        let next = self.ranges.last_key_value().map_or(0, |(_, end)| end.saturating_add(1));
        RequestId(next.saturating_mul(2).saturating_add(self.parity))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(result: Result<(), Violation>) -> Option<SessionCode> {
        result.err().map(|violation| violation.code)
    }

    #[test]
    fn draft18_s10_1_each_id_once() {
        let mut seen = SeenIds::new(1);
        for id in [1, 5, 3, 9, 7, u64::MAX] {
            assert_eq!(seen.take(RequestId(id)), Ok(()), "{id}");
        }
        for id in [1, 3, 5, 7, 9, u64::MAX, 0, 2] {
            assert_eq!(code(seen.take(RequestId(id))), Some(SessionCode::InvalidRequestId), "{id}");
        }
        assert_eq!(seen.ranges.len(), 2);
        assert_eq!(seen.next(), RequestId(u64::MAX));
    }

    #[test]
    fn gaps_are_bounded() {
        let mut seen = SeenIds::new(0);
        let count = 3 * limits::REQUEST_ID_GAPS_MAX as u64;
        for i in 0..count {
            assert_eq!(seen.take(RequestId(4 * i)), Ok(()));
        }
        assert_eq!(seen.ranges.len(), limits::REQUEST_ID_GAPS_MAX);
        assert_eq!(seen.next(), RequestId(4 * (count - 1) + 2));
        // The newest gaps are still open, the oldest are not.
        assert_eq!(seen.take(RequestId(4 * (count - 1) - 2)), Ok(()));
        assert!(seen.take(RequestId(2)).is_err());
    }
}
