//! Which stream is sent first: draft-ietf-moq-transport-18 §7 in one number for QUIC, higher is sooner.
//!
//! Each stream gets a number of its own as far as 32 bits allow: equal ones would share the wire, and
//! then nothing is early. From the top: 8 bits of the subscriber's priority, 8 of the publisher's, 9 of the group, 3 of the
//! subgroup, and 4 of the request, so that two tracks that are as urgent as each other take turns by groups.

use std::sync::atomic::{AtomicU64, Ordering};

use moqt::{GroupOrder, RequestId};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// The control stream, before all else.
pub(crate) const CONTROL: i32 = i32::MAX;

/// Streams of requests.
pub(crate) const REQUEST: i32 = i32::MAX - 1;

/// Groups that are told apart: several times as many as a subscription has open.
const GROUPS: u64 = 1 << 9;

/// So many of them are older than the newest one when they are counted anew: twice as many as a subscription has open.
const OLDER: u64 = 1 << 7;

/// What is behind a subgroup's number: the past of its group first, then so many subgroups, then all others.
const SUBGROUPS: u64 = 6;

/// Requests that are told apart.
const REQUESTS: u64 = 1 << 4;

/// From which group on those of a subscription are counted. It moves as they do, and with it the numbers of streams that are open: who
/// sends looks at it again and again, or waits for it to move.
#[derive(Debug, Default)]
pub(crate) struct Count {
    first: AtomicU64,
    moved: Notify,
}

impl Count {
    /// A group of this number is sent now.
    pub(crate) fn see(&self, group: u64) {
        let first = self.first.load(Ordering::Relaxed);
        if group.saturating_sub(first) >= GROUPS {
            self.first.store(group - OLDER, Ordering::Relaxed);
            self.moved.notify_waiters();
        }
    }

    /// Waits until they are counted anew, from the moment when this is asked for.
    pub(crate) fn moved(&self) -> Notified<'_> {
        self.moved.notified()
    }

    /// Which one of them this group is.
    pub(crate) fn of(&self, group: u64) -> u64 {
        group.saturating_sub(self.first.load(Ordering::Relaxed))
    }
}

/// A stream of objects: first the subscriber's priority, then the publisher's (lower numbers first), then
/// the order of groups, which are [counted](Count), then subgroups in their order, then requests in theirs.
pub(crate) fn of_stream(
    (subscriber, publisher): (u8, u8),
    order: GroupOrder,
    (group, subgroup): (u64, u64),
    request: RequestId,
) -> i32 {
    let subgroup = SUBGROUPS - subgroup.min(SUBGROUPS);
    number((subscriber, publisher), order, (group, subgroup), request)
}

/// A FETCH. What joins a subscription is older than what is live there; all else is of no order with it, and may be hours of a
/// recording: of what is as urgent, it comes last (draft-18 §7.2: all subscriptions are to be able to send some data).
pub(crate) fn of_fetch(
    priorities: (u8, u8),
    (order, joins): (GroupOrder, bool),
    request: RequestId,
) -> i32 {
    let order = if joins { order } else { GroupOrder::Descending };
    number(priorities, order, (0, 0), request)
}

/// The past of a subscription (draft-21 §5.1.2): of one group it comes before what is new; in another order than
/// that, it comes after it.
pub(crate) fn of_fill(
    priorities: (u8, u8),
    (order, live): (GroupOrder, GroupOrder),
    group: u64,
    request: RequestId,
) -> i32 {
    match order == live {
        true => number(priorities, order, (group, SUBGROUPS + 1), request),
        false => number(priorities, GroupOrder::Descending, (0, 0), request),
    }
}

/// The turn of a stream of the past with this number, among those that wait for QUIC to take more. Requests are told apart by few
/// bits, and what comes 16 requests later would overtake what was asked for before it and fill the peer's window, while the peer
/// reads one after the other: of what else is the same, the earlier request is first, however many there are.
pub(crate) fn turn_of_past(number: i32, request: RequestId) -> (i32, u64) {
    (number & !(REQUESTS as i32 - 1), request.0)
}

fn number(
    (subscriber, publisher): (u8, u8),
    order: GroupOrder,
    (group, subgroup): (u64, u64),
    request: RequestId,
) -> i32 {
    let group = group.min(GROUPS - 1);
    let group = match order {
        GroupOrder::Ascending => GROUPS - 1 - group,
        GroupOrder::Descending => group,
    };
    // Those of one side are all even, or all odd.
    let request = REQUESTS - 1 - (request.0 >> 1) % REQUESTS;
    let key = (group << 3 | subgroup) << 4 | request;
    let urgent = u64::from(255 - subscriber) << 24 | u64::from(255 - publisher) << 16 | key;
    // invariant: 32 bits, of which the last two numbers are taken.
    i32::try_from(urgent as i64 - (1 << 31)).unwrap_or(0).min(REQUEST - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use GroupOrder::{Ascending, Descending};

    const ONE: RequestId = RequestId(8);

    #[test]
    fn draft18_s7_2_d14_the_order_of_the_draft() {
        // Each is sent before the one after it.
        let streams = [
            (0, 255, Ascending, 9, 9),
            (1, 0, Ascending, 5, 0),
            (1, 0, Ascending, 5, 1),
            (1, 0, Ascending, 5, 2),
            (1, 0, Ascending, 5, 3),
            (1, 0, Ascending, 5, 4),
            (1, 0, Ascending, 5, 5),
            (1, 0, Ascending, 5, 6),
            (1, 0, Ascending, 6, 0),
            (1, 1, Ascending, 0, 0),
            (128, 64, Descending, 6, 0),
            (128, 64, Descending, 6, 2),
            (128, 64, Descending, 5, 0),
            (255, 255, Descending, 0, 3),
        ];
        let of = |(s, p, order, group, subgroup)| of_stream((s, p), order, (group, subgroup), ONE);
        let all: Vec<i32> = streams.into_iter().map(of).collect();
        assert!(all.windows(2).all(|pair| pair[0] > pair[1]), "{all:?}");
        assert!(REQUEST > all[0] && CONTROL > REQUEST);
        // Whatever there is.
        let most = of_fill((0, 0), (Ascending, Ascending), 0, RequestId(0));
        assert!(REQUEST > most && most > of((0, 0, Ascending, 0, 0)));
        let least = of_stream((255, 255), Ascending, (u64::MAX, u64::MAX), RequestId(31));
        assert!(least < *all.last().unwrap());
    }

    #[test]
    fn draft18_s7_2_d14_groups_stay_in_order_however_many_there_were() {
        const OPEN: u64 = crate::limits::STREAMS_PER_SUBSCRIPTION as u64;
        let (count, far) = (Count::default(), 1 << 60);
        let steps = [1, 1, 1, 7, OPEN, 1_000];
        let groups = (0..9_000).chain((10_000..20_000).step_by(3)).chain(far..far + 2_000);
        let mut open: Vec<u64> = Vec::new();
        for (n, group) in groups.enumerate() {
            // Some are left out.
            let group = group + steps[n % steps.len()] / 500;
            open.push(group);
            open.sort_unstable();
            open.dedup();
            let behind = open.len().saturating_sub(OPEN as usize);
            open.drain(..behind);
            open.iter().for_each(|group| count.see(*group));
            for order in [Ascending, Descending] {
                let number = |group: &u64| of_stream((3, 4), order, (count.of(*group), 0), ONE);
                let numbers: Vec<i32> = open.iter().map(number).collect();
                // All but those that were left behind by a jump, which are all the same then.
                let newest = *open.last().unwrap();
                let near = open.iter().filter(|open| newest - **open < OLDER).count();
                let (far, near) = numbers.split_at(numbers.len() - near);
                let sorted = near.windows(2).all(|pair| match order {
                    Ascending => pair[0] > pair[1],
                    Descending => pair[0] < pair[1],
                });
                assert!(sorted, "{order:?} {open:?} {numbers:?}");
                let older = far.iter().all(|number| match order {
                    Ascending => *number >= near[0],
                    Descending => *number <= near[0],
                });
                assert!(older, "{order:?} {open:?} {numbers:?}");
            }
        }
    }

    #[test]
    fn streams_of_different_requests_have_different_numbers() {
        for order in [Ascending, Descending] {
            for side in [0, 1] {
                let requests = (0..REQUESTS).map(|n| RequestId(2 * (n + 100) + side));
                let of = |request| of_stream((128, 128), order, (7, 0), request);
                let numbers: std::collections::BTreeSet<i32> = requests.map(of).collect();
                assert_eq!(numbers.len() as u64, REQUESTS);
                // And do not come between groups, or subgroups.
                let (least, most) = (*numbers.first().unwrap(), *numbers.last().unwrap());
                for (other, subgroup) in [(6, 0), (7, 1), (8, 0)] {
                    let other = of_stream((128, 128), order, (other, subgroup), ONE);
                    assert!(other < least || other > most);
                }
            }
        }
    }

    #[test]
    fn the_past_is_handed_over_in_the_order_of_requests() {
        let requests: Vec<RequestId> = (0..100).map(|n| RequestId(2 * n)).collect();
        for (order, joins) in [(Ascending, true), (Descending, true), (Ascending, false)] {
            let turn = |request| {
                let number = of_fetch((7, 8), (order, joins), request);
                let (turn, place) = turn_of_past(number, request);
                assert!(turn <= number && number - turn < REQUESTS as i32);
                (std::cmp::Reverse(turn), place)
            };
            assert!(requests.windows(2).all(|pair| turn(pair[0]) < turn(pair[1])));
            // Another priority comes before all of that.
            let less = of_fetch((7, 9), (order, joins), requests[0]);
            assert!(turn_of_past(less, requests[0]).0 < turn(requests[99]).0.0);
        }
    }

    #[test]
    fn draft21_s5_1_2_d24_the_past_of_a_group_is_before_what_is_new_in_it() {
        let live = |s, p, order, group, subgroup| of_stream((s, p), order, (group, subgroup), ONE);
        for order in [Ascending, Descending] {
            let fill = of_fill((7, 8), (order, order), 9, ONE);
            assert!(fill > live(7, 8, order, 9, 0) && fill < live(6, 8, order, 9, 0));
            let other = if order == Ascending { Descending } else { Ascending };
            let fill = of_fill((7, 8), (other, order), 9, ONE);
            assert!((0..9).all(|group| fill < live(7, 8, order, 7 + group, 2)));
            assert!(fill > live(8, 0, order, 9, 0));
            // It follows the count.
            let newer = of_fill((7, 8), (order, order), 10, ONE);
            assert!((newer > of_fill((7, 8), (order, order), 9, ONE)) == (order == Descending));
        }
    }
}
