use super::*;
use crate::group::SubgroupProducer;
use crate::tests::{cx, path, route, start};
use crate::{
    Filter, Header, Limits, Location, Origin, Policy, ResetCode, Start, Takeover, TrackInfo,
    TrackName, track,
};

struct Rig {
    now: Instant,
    track: track::Producer,
    objects: Objects,
    _broadcast: crate::broadcast::Producer,
}

const PATIENCE: Patience =
    Patience { missing: Duration::from_millis(500), stalled: Duration::from_secs(5) };

impl Rig {
    fn new() -> Self {
        Self::of(Objects::new)
    }

    fn in_order() -> Self {
        Self::of(|cursor| Objects::in_order(cursor, PATIENCE))
    }

    fn of(objects: impl FnOnce(Cursor) -> Objects) -> Self {
        let origin = Origin::new(Limits::default());
        let broadcast = origin.publish(&path(), route(), Takeover::Refuse).unwrap();
        let name = TrackName::from_static("video");
        let track = broadcast.track(name, TrackInfo::default()).unwrap();
        let filter = Filter::from(Start::At(Location { group: 0, object: 0 }));
        let cursor = track.consume().subscribe(filter, Policy::EVERYTHING);
        Self { now: start(), track, objects: objects(cursor), _broadcast: broadcast }
    }

    fn subgroup(&self, group: u64, id: u64) -> SubgroupProducer {
        self.track.group(group, self.now).unwrap().subgroup(id, self.now).unwrap()
    }

    fn object(&self, to: &SubgroupProducer, id: u64) {
        let payload = self.track.budget().payload(&b"x"[..]);
        to.write(Header::new(id, self.now), vec![payload]).unwrap();
    }

    /// A subgroup of these objects, and its end.
    fn whole(&self, group: u64, id: u64, objects: &[u64]) {
        let subgroup = self.subgroup(group, id);
        objects.iter().for_each(|id| self.object(&subgroup, *id));
        subgroup.fin();
    }

    /// Half of an object.
    fn begin(&self, to: &SubgroupProducer, id: u64) -> crate::ObjectWriter {
        let mut object = to.begin(Header::new(id, self.now), Some(2)).unwrap().unwrap();
        object.write(self.track.budget().payload(&b"x"[..])).unwrap();
        object
    }

    fn datagrams(&self, group: u64, ids: impl IntoIterator<Item = u64>) {
        let group = self.track.group(group, self.now).unwrap();
        for id in ids {
            let payload = self.track.budget().payload(&b"x"[..]);
            group.datagram(Header::new(id, self.now), payload).unwrap();
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
    }

    /// All that is read by now, in words.
    fn read(&mut self) -> String {
        let mut read = Vec::new();
        while let Poll::Ready(next) = self.objects.poll(&cx(), self.now) {
            read.push(match next {
                Read::Object { group, header, .. } => format!("{group}.{}", header.id),
                Read::Cut => "cut".to_owned(),
                Read::Skipped => "skipped".to_owned(),
                Read::End(_) => return read.join(" ") + " end",
            });
        }
        read.join(" ")
    }
}

#[test]
fn draft18_s2_2_subgroups_are_read_side_by_side() {
    for mut rig in [Rig::new(), Rig::in_order()] {
        let [even, odd] = [0, 1].map(|id| rig.subgroup(7, id));
        (0..3).for_each(|n| rig.object(&even, 2 * n));
        (0..2).for_each(|n| rig.object(&odd, 2 * n + 1));
        assert_eq!(rig.read(), "7.0 7.1 7.2 7.3 7.4");
        // What has begun to come is waited for.
        rig.object(&odd, 5);
        let mut begun = rig.begin(&even, 6);
        rig.object(&odd, 7);
        assert_eq!(rig.read(), "7.5");
        begun.write(rig.track.budget().payload(&b"x"[..])).unwrap();
        begun.finish().unwrap();
        assert_eq!(rig.read(), "7.6 7.7");
        // And so is the end of the group, by the next one.
        let next = rig.subgroup(8, 0);
        rig.object(&next, 0);
        even.fin();
        assert_eq!(rig.read(), "");
        rig.object(&odd, 8);
        odd.fin();
        assert_eq!(rig.read(), "7.8 8.0");
        next.fin();
        rig.track.end(Close::Ended);
        assert_eq!(rig.read(), " end");
    }
}

#[test]
fn what_is_cut_is_told_unless_it_went_on() {
    for (first, then, expect) in [
        // Something of the group was read.
        (&[0, 1][..], &[][..], "7.0 7.1 cut"),
        (&[0, 1], &[3, 4], "7.0 7.1 cut 7.3 7.4"),
        // It goes on where it was cut.
        (&[0, 1], &[2, 3], "7.0 7.1 7.2 7.3"),
        // Nothing was read.
        (&[], &[], "skipped"),
    ] {
        let mut rig = Rig::new();
        let cut = rig.subgroup(7, 0);
        first.iter().for_each(|id| rig.object(&cut, *id));
        cut.reset(ResetCode::CANCELLED);
        if !then.is_empty() {
            rig.whole(7, 0, then);
        }
        assert_eq!(rig.read(), expect, "{first:?} {then:?}");
    }
    // A beginning that was fetched has no end of its own; it may come when the rest was read, and there may be no rest.
    for (rest, late, expect) in
        [(2, false, "7.0 7.1 7.2"), (2, true, "7.2 7.0 7.1"), (4, true, "7.4 7.0 7.1 cut")]
    {
        let mut rig = Rig::new();
        let live = rig.subgroup(7, 0);
        rig.object(&live, rest);
        let mut read = if late { rig.read() + " " } else { String::new() };
        let beginning = rig.subgroup(7, 0);
        [0, 1].iter().for_each(|id| rig.object(&beginning, *id));
        live.fin();
        drop(beginning);
        read += &rig.read();
        assert_eq!(read, expect, "{rest} {late}");
    }
}

#[test]
fn a_group_that_does_not_end_is_left_when_many_wait_behind_it() {
    for mut rig in [Rig::new(), Rig::in_order()] {
        let open = rig.subgroup(0, 0);
        rig.object(&open, 0);
        let others = (1..SUBGROUPS_AHEAD_MAX as u64).map(|group| {
            rig.whole(group, 0, &[0]);
            format!("{group}.0")
        });
        let others: Vec<_> = others.collect();
        assert_eq!(rig.read(), format!("0.0 cut {}", others.join(" ")));
    }
}

#[test]
fn draft18_s2_2_in_order_what_is_missing_is_waited_for() {
    let mut rig = Rig::in_order();
    let [even, odd] = [0, 1].map(|id| rig.subgroup(7, id));
    // One overtakes the other, at the beginning of a group too.
    rig.object(&odd, 1);
    assert_eq!(rig.read(), "");
    assert_eq!(rig.objects.due(), Some(rig.now + PATIENCE.missing));
    rig.pass(499);
    rig.object(&even, 0);
    rig.object(&even, 2);
    assert_eq!(rig.read(), "7.0 7.1 7.2");
    assert_eq!(rig.objects.due(), None);
    // Not for ever. Who has waited in vain waits no more, for what is late is left out.
    rig.object(&even, 4);
    assert_eq!(rig.read(), "");
    rig.pass(500);
    assert_eq!(rig.read(), "7.4");
    rig.object(&even, 6);
    assert_eq!(rig.read(), "7.6");
    // It comes after all: that is worth waiting for again.
    rig.object(&odd, 3);
    rig.object(&even, 8);
    assert_eq!(rig.read(), "");
    rig.object(&odd, 7);
    assert_eq!(rig.read(), "7.7 7.8");
    rig.object(&odd, 9);
    odd.reset(ResetCode::CANCELLED);
    even.fin();
    assert_eq!(rig.read(), "7.9 cut");
    // What does not exist is not waited for.
    let group = rig.track.group(8, rig.now).unwrap();
    group.lacks(3, 3, 0).unwrap();
    rig.whole(8, 0, &[3, 4]);
    assert_eq!(rig.read(), "8.3 8.4");
    rig.whole(9, 0, &[1, 5]);
    rig.track.group(9, rig.now).unwrap().end(Some(5), rig.now);
    // All there is of a group, but for its beginning.
    assert_eq!(rig.read(), "");
    rig.pass(500);
    assert_eq!(rig.read(), "9.1 9.5");
    rig.whole(10, 0, &[1, 3]);
    assert_eq!(rig.read(), "10.1 10.3", "in vain");
    // After a group that lacked nothing it is tried anew; and nothing comes behind the end of a track.
    rig.whole(11, 0, &[0, 1]);
    rig.whole(12, 0, &[1]);
    assert_eq!(rig.read(), "11.0 11.1");
    rig.track.end(Close::Ended);
    assert_eq!(rig.read(), "12.1 end");
}

/// Each of them comes by itself, or not at all.
#[test]
fn draft18_s11_3_objects_in_datagrams_are_read_as_others_are() {
    for mut rig in [Rig::new(), Rig::in_order()] {
        rig.datagrams(7, [0, 1]);
        assert_eq!(rig.read(), "7.0 7.1");
        rig.datagrams(7, [2]);
        rig.datagrams(8, [0]);
        rig.datagrams(9, [0]);
        assert_eq!(rig.read(), "7.2 8.0 9.0");
        // Beside a stream.
        let stream = rig.subgroup(10, 0);
        rig.object(&stream, 0);
        rig.datagrams(10, [1]);
        rig.object(&stream, 2);
        assert_eq!(rig.read(), "10.0 10.1 10.2");
        stream.fin();
        rig.track.end(Close::Ended);
        assert_eq!(rig.read(), " end");
    }
    // Who takes what comes has it in that order; who wants it in order has it so, and waits for
    // what is missing for a moment.
    let mut rig = Rig::new();
    rig.datagrams(7, [0, 2, 1]);
    assert_eq!(rig.read(), "7.0 7.1 7.2");
    let mut rig = Rig::in_order();
    rig.datagrams(7, [0, 2]);
    assert_eq!(rig.read(), "7.0");
    rig.datagrams(7, [1, 4, 5]);
    assert_eq!(rig.read(), "7.1 7.2");
    rig.pass(500);
    assert_eq!(rig.read(), "7.4 7.5");
    // Too late, and of a group that was left.
    rig.datagrams(7, [3]);
    rig.datagrams(8, [0]);
    assert_eq!(rig.read(), "8.0");
    rig.datagrams(7, [6]);
    assert_eq!(rig.read(), "");
    // Nothing is waited for, or left out, when there is too much behind it.
    rig.datagrams(8, 2..2 + SUBGROUPS_AHEAD_MAX as u64);
    let read = rig.read();
    assert_eq!(read.split(' ').count(), SUBGROUPS_AHEAD_MAX, "{read}");
    // Of one that can't be there nothing is waited for.
    let mut rig = Rig::in_order();
    rig.track.group(7, rig.now).unwrap().lacks(2, 2, 0).unwrap();
    rig.datagrams(7, [2]);
    assert_eq!(rig.read(), "7.2");
}

#[test]
fn in_order_a_late_beginning_comes_first_or_not_at_all() {
    for (after, expect) in [(400, "7.0 7.1 7.2 7.3 8.0"), (600, "7.2 7.3 8.0")] {
        let mut rig = Rig::in_order();
        let live = rig.subgroup(7, 0);
        rig.object(&live, 2);
        let mut read = vec![rig.read()];
        rig.pass(after);
        read.push(rig.read());
        let beginning = rig.subgroup(7, 0);
        [0, 1].iter().for_each(|id| rig.object(&beginning, *id));
        read.push(rig.read());
        rig.object(&live, 3);
        live.fin();
        drop(beginning);
        rig.whole(8, 0, &[0]);
        read.push(rig.read());
        // Of a group that was read before.
        rig.whole(7, 1, &[4]);
        read.push(rig.read());
        read.retain(|read| !read.is_empty());
        assert_eq!(read.join(" "), expect, "after {after} ms");
    }
}

#[test]
fn in_order_what_stalls_is_left_when_others_have_waited_long_enough() {
    // In the middle of an object, between two, and before the end of a group.
    for (begun, read, late) in [(true, "", "cut 7.1 8.0"), (false, "7.1", "cut 8.0")] {
        let mut rig = Rig::in_order();
        let [low, high] = [0, 1].map(|id| rig.subgroup(7, id));
        rig.object(&low, 0);
        assert_eq!(rig.read(), "7.0");
        // For as long as nothing waits, it may take its time.
        rig.pass(60_000);
        let half = begun.then(|| rig.begin(&high, 1));
        if !begun {
            rig.object(&high, 1);
        }
        rig.pass(60_000);
        assert_eq!(rig.read(), read);
        if begun {
            rig.object(&low, 2);
        }
        low.fin();
        rig.whole(8, 0, &[0]);
        assert_eq!(rig.read(), "");
        rig.pass(4_999);
        assert_eq!(rig.read(), "");
        assert!(rig.objects.due().is_some());
        rig.pass(1);
        let late = if begun { late.replace("7.1", "7.2") } else { late.to_owned() };
        let waited = rig.read();
        // What it held up is not waited for once more.
        rig.pass(500);
        assert_eq!(format!("{waited} {}", rig.read()).trim(), late);
        drop(half);
        high.reset(ResetCode::CANCELLED);
        assert_eq!(rig.read(), "");
    }
}
