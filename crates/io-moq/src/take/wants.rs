//! What readers of a track want of its publisher.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use moqt::Location;
use spine::{Close, Demand, Waiting, track};
use tokio::time::Sleep;

use super::Target;
use crate::limits::{
    BEFORE_AGAIN, BEFORE_TRIES_MAX, BEGUN_LINGER, FORWARD_LINGER, UPDATE_AGAIN, UPLINK_PAUSED_MAX,
};
use crate::play::location;
use crate::upstream::Begun;

/// What is to be said to the publisher next.
pub(super) enum Wanted {
    /// A new group.
    Group(u64),
    /// What it has written before, up to here, of the group of this.
    Before(Location),
    /// Objects, or none for a while (draft-18 §9.5).
    Forward(bool),
    /// It is paused, and nobody has read it for long.
    Leave,
    /// The track is malformed: nothing more of it.
    Nothing,
}

/// What our readers want, on its way to the publisher.
pub(super) struct Wants {
    track: track::Producer,
    waiting: Waiting,
    demand: Demand,
    /// The publisher can be asked for new groups.
    dynamic: bool,
    /// A new group that the publisher was asked for and has not begun yet (NEW_GROUP_REQUEST, draft-18 §10.2.13).
    outstanding: Option<u64>,
    /// What was there before, up to here, and was not asked for. Who begins at or before it wants it: a catalog, perhaps, that is
    /// written once.
    before: Option<Location>,
    /// Not before this is over: it was refused so often.
    again: Option<Pin<Box<Sleep>>>,
    tries: u32,
    /// What has come of that, and of which group.
    begun: (u64, Begun),
    /// When that is let go.
    let_go: Option<Pin<Box<Sleep>>>,
    /// Whether it is paused when nobody reads.
    pub(super) relayed: bool,
    /// What it was told.
    forward: bool,
    /// For as long as it is paused, and has not answered that it goes on.
    paused: Option<spine::Paused>,
    /// Updates that were sent, and answered; they are in turn.
    updates: u64,
    answers: u64,
    /// Until when no other is tried, unless an answer comes: the peer had no room for the last one.
    full: Option<Pin<Box<Sleep>>>,
    /// With which update it was told to go on, and what was the largest object here then.
    resuming: Option<(u64, Option<Location>)>,
    /// When it is told that nobody reads.
    linger: Option<Pin<Box<Sleep>>>,
    /// It is left when it was paused for long, then.
    leaves: bool,
    unread: Option<Pin<Box<Sleep>>>,
}

impl Wants {
    pub(super) fn new(Target { track, relayed, before, updates, leaves, .. }: Target) -> Self {
        Self {
            dynamic: track.info().dynamic_groups,
            track,
            waiting: Waiting::new(),
            demand: Demand::default(),
            outstanding: None,
            before: before.filter(|_| relayed),
            again: None,
            tries: 0,
            begun: (0, Begun::new()),
            let_go: None,
            relayed,
            forward: true,
            paused: None,
            updates,
            answers: 0,
            full: None,
            resuming: None,
            linger: None,
            leaves,
            unread: None,
        }
    }

    /// It is asked for a new group, if that `went`; else it is asked later.
    pub(super) fn asked(&mut self, group: u64, went: bool) {
        if !went {
            return self.wait();
        }
        self.updates += 1;
        self.outstanding = Some(group);
    }

    /// It takes no such requests.
    pub(super) fn never(&mut self) {
        self.dynamic = false;
    }

    fn wait(&mut self) {
        self.full = Some(Box::pin(tokio::time::sleep(UPDATE_AGAIN)));
    }

    /// It is told to pause, or to go on, if that `went`; else it is told later, if that is wanted then.
    pub(super) fn told(&mut self, forward: bool, went: bool) {
        if !went {
            self.forward = !forward;
            self.paused.take_if(|_| !forward);
            return self.wait();
        }
        self.updates += 1;
        let known = self.track.consume().largest().map(location);
        self.resuming = forward.then_some((self.updates, known));
    }

    /// It has answered an update, and says what is the largest object. What came to be while it was paused was not sent; what is
    /// live may be here before the answer.
    pub(super) fn answered(&mut self, largest: Option<Location>) {
        self.answers += 1;
        self.full = None;
        if let Some((_, known)) = self.resuming.take_if(|(update, _)| *update == self.answers) {
            if largest > known {
                (self.before, self.again, self.tries) = (largest, None, 0);
            }
            // Who has waited for this begins behind it.
            self.paused = None;
        }
    }

    /// Whether there are newer groups by now: who reads those has no use for it any more. A catalog has none for hours.
    fn is_past(&self, group: u64) -> bool {
        self.track.consume().largest().is_some_and(|largest| largest.group > group)
    }

    /// So much of what was before has come. The rest is not to be had, perhaps for a while only (draft-18 §10.6).
    pub(super) fn came(&mut self, before: Location, (begun, again): (Begun, Option<Duration>)) {
        match &mut self.begun {
            // Who reads what came of it earlier reads on.
            (group, open) if *group == before.group => open.extend(begun),
            open => *open = (before.group, begun),
        }
        self.let_go = None;
        if let (None, Some(again)) = (self.before, again)
            && self.tries < BEFORE_TRIES_MAX
            && !self.is_past(before.group)
        {
            let wait = again.max(BEFORE_AGAIN * (1 << self.tries));
            self.before = Some(before);
            self.again = Some(Box::pin(tokio::time::sleep(wait)));
            self.tries += 1;
        }
    }

    /// The next thing to say.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Wanted> {
        loop {
            if let Some(again) = &mut self.again
                && again.as_mut().poll(cx).is_ready()
            {
                self.again = None;
            }
            if let Some(full) = &mut self.full
                && full.as_mut().poll(cx).is_ready()
            {
                self.full = None;
            }
            if let Some(wanted) = self.next() {
                return Poll::Ready(wanted);
            }
            self.demand = match self.track.poll_demand(&mut self.waiting, cx) {
                Poll::Ready(demand) => demand,
                // Registered first, looked at second.
                Poll::Pending => match self.track.consume().ended() {
                    Some(Close::Malformed) => return Poll::Ready(Wanted::Nothing),
                    _ => {
                        self.poll_begun(cx);
                        return self.poll_pause(cx);
                    }
                },
            };
        }
    }

    /// What ends with a reset may be lost on its way to a reader: so not at once. But who waits for the end of a group that had
    /// begun should not wait for long when there is a newer one.
    fn poll_begun(&mut self, cx: &mut Context<'_>) {
        let (group, open) = &self.begun;
        if open.is_empty() || !self.is_past(*group) {
            self.let_go = None;
            return;
        }
        let linger = || Box::pin(tokio::time::sleep(BEGUN_LINGER));
        if self.let_go.get_or_insert_with(linger).as_mut().poll(cx).is_ready() {
            self.let_go = None;
            self.begun.1.clear();
        }
    }

    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<Wanted> {
        if self.leaves && !self.forward && !self.demand.forward {
            let unread = || Box::pin(tokio::time::sleep(UPLINK_PAUSED_MAX));
            ready!(self.unread.get_or_insert_with(unread).as_mut().poll(cx));
            return Poll::Ready(Wanted::Leave);
        }
        self.unread = None;
        if !self.relayed || !self.forward || self.demand.forward {
            self.linger = None;
            return Poll::Pending;
        }
        let linger = || Box::pin(tokio::time::sleep(FORWARD_LINGER));
        ready!(self.linger.get_or_insert_with(linger).as_mut().poll(cx));
        (self.linger, self.forward) = (None, false);
        self.paused = Some(self.track.pause());
        Poll::Ready(Wanted::Forward(false))
    }

    fn next(&mut self) -> Option<Wanted> {
        if self.demand.forward && !self.forward && self.full.is_none() {
            self.forward = true;
            return Some(Wanted::Forward(true));
        }
        if self.tries > 0 {
            self.before = self.before.filter(|before| !self.is_past(before.group));
        }
        let begins_at = self.demand.from.map(location);
        if let Some(before) = self.before
            && self.again.is_none()
            && self.demand.forward
            && begins_at.is_some_and(|from| from <= before)
        {
            self.before = None;
            return Some(Wanted::Before(before));
        }
        let may = self.dynamic && self.full.is_none();
        let above = self.demand.new_group_above.filter(|_| may)?;
        let largest = self.track.consume().largest().map(|largest| largest.group);
        to_ask(above.saturating_add(1), largest, self.outstanding).map(Wanted::Group)
    }
}

/// Only what is new is asked for, and not while as much is outstanding.
fn to_ask(wanted: u64, largest: Option<u64>, outstanding: Option<u64>) -> Option<u64> {
    let begun = |group: u64| largest.is_some_and(|largest| largest >= group);
    let asked = outstanding.is_some_and(|asked| asked >= wanted && !begun(asked));
    (!begun(wanted) && !asked).then_some(wanted)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[test]
    fn draft18_s10_2_13_d17_only_what_is_new_is_asked_for() {
        for (wanted, largest, outstanding, expect) in [
            (1, None, None, Some(1)),
            (5, Some(4), None, Some(5)),
            // It has begun already.
            (5, Some(5), None, None),
            (3, Some(9), None, None),
            // As much, or more, is outstanding.
            (5, Some(4), Some(5), None),
            (5, Some(4), Some(7), None),
            (8, Some(4), Some(7), Some(8)),
            // It was, and came.
            (8, Some(7), Some(7), Some(8)),
        ] {
            assert_eq!(to_ask(wanted, largest, outstanding), expect, "{wanted} {largest:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn draft18_s10_2_13_who_takes_no_requests_for_groups_is_asked_once() {
        let origin = spine::Origin::new(spine::Limits::default());
        let (path, route) = (spine::Path::new(["open"]), spine::Route::local(spine::NodeId(0), 0));
        let broadcast = origin.publish(&path.unwrap(), route, spine::Takeover::Refuse).unwrap();
        let info = spine::TrackInfo { dynamic_groups: true, ..spine::TrackInfo::default() };
        let track = broadcast.track(spine::TrackName::from_static("video"), info).unwrap();
        let mut wanted = Wants::new(track.clone().into());
        for above in [4, 5] {
            track.consume().request_group(above);
            let next = poll_fn(|cx| wanted.poll(cx));
            let asked = tokio::time::timeout(UPDATE_AGAIN * 2, next).await;
            match above {
                4 => assert!(matches!(asked, Ok(Wanted::Group(5)))),
                _ => assert!(asked.is_err(), "it was asked again"),
            }
            wanted.never();
        }
    }
}
