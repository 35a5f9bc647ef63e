//! Which stream is sent first: draft-ietf-moq-transport-18 §7 in one number for QUIC, higher is sooner.
//!
//! Each stream gets a number of its own as far as 32 bits allow: equal ones would share the wire, and
//! then nothing is early.

use moqt::GroupOrder;

/// The control stream, before all else.
pub(crate) const CONTROL: i32 = i32::MAX;

/// Streams of requests.
pub(crate) const REQUEST: i32 = i32::MAX - 1;

/// Groups that are told apart; more than a subscription ever has open.
const GROUPS: u64 = 1 << 13;

/// A stream of objects: first the subscriber's priority, then the publisher's (lower numbers first), then
/// the order of groups, then subgroups in their order.
pub(crate) fn of_stream(
    subscriber: u8,
    publisher: u8,
    order: GroupOrder,
    group: u64,
    subgroup: u64,
) -> i32 {
    let group = group % GROUPS;
    let group = match order {
        GroupOrder::Ascending => GROUPS - 1 - group,
        GroupOrder::Descending => group,
    };
    let subgroup = 3 - subgroup.min(3);
    let key = group << 2 | subgroup;
    let urgent = u64::from(255 - subscriber) << 23 | u64::from(255 - publisher) << 15 | key;
    // invariant: 31 bits.
    i32::try_from(urgent as i64 - (1 << 30)).unwrap_or(0)
}

/// The past of a subscription (draft-21 §5.1.2): of one group it comes before what is new; in another order than
/// that, it comes after it.
pub(crate) fn of_fill(
    (subscriber, publisher): (u8, u8),
    (order, live): (GroupOrder, GroupOrder),
    group: u64,
) -> i32 {
    match order == live {
        true => of_stream(subscriber, publisher, order, group, 0).saturating_add(1),
        false => of_stream(subscriber, publisher, GroupOrder::Descending, 0, 3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use GroupOrder::{Ascending, Descending};

    #[test]
    fn draft18_s7_2_d14_the_order_of_the_draft() {
        // Each is sent before the one after it.
        let streams = [
            (0, 255, Ascending, 9, 9),
            (1, 0, Ascending, 5, 0),
            (1, 0, Ascending, 5, 1),
            (1, 0, Ascending, 6, 0),
            (1, 1, Ascending, 0, 0),
            (128, 64, Descending, 6, 0),
            (128, 64, Descending, 6, 2),
            (128, 64, Descending, 5, 0),
            (255, 255, Descending, 0, 3),
        ];
        let all: Vec<i32> =
            streams.iter().map(|(s, p, o, g, u)| of_stream(*s, *p, *o, *g, *u)).collect();
        assert!(all.windows(2).all(|pair| pair[0] > pair[1]), "{all:?}");
        assert!(REQUEST > all[0] && CONTROL > REQUEST);
    }

    #[test]
    fn draft21_s5_1_2_d24_the_past_of_a_group_is_before_what_is_new_in_it() {
        for order in [Ascending, Descending] {
            let fill = of_fill((7, 8), (order, order), 9);
            assert!(fill > of_stream(7, 8, order, 9, 0) && fill < of_stream(6, 8, order, 9, 0));
            let other = if order == Ascending { Descending } else { Ascending };
            let fill = of_fill((7, 8), (other, order), 9);
            assert!((0..9).all(|group| fill < of_stream(7, 8, order, 7 + group, 2)));
            assert!(fill > of_stream(8, 0, order, 9, 0));
        }
    }
}
