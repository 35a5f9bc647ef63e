//! What an upstream brings that goes away (draft-18 §10.4) is taken over by who tells of it next, and let go when all of it that
//! comes there alone is here (decision 148). So is what one has brought that is lost, of which nothing more comes (decision 160).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use spine::{NodeId, Path, Route, TrackName};
use tokio::sync::{OwnedSemaphorePermit, watch};

/// A track of a broadcast, or of one below it.
pub(crate) type Key = (Path, TrackName);

/// A broadcast that one connection to an upstream brings.
#[derive(Default)]
pub(crate) struct Carried {
    state: watch::Sender<State>,
    /// Its place among those that are carried: whoever takes it over has it too.
    place: Mutex<Option<OwnedSemaphorePermit>>,
}

#[derive(Default)]
struct State {
    stage: Stage,
    /// Its upstream is lost, which was this node, if it says which it is.
    lost: Option<Option<NodeId>>,
    /// Tracks that come elsewhere, each with the group up to which not all of it may come there; none: all of it does.
    elsewhere: BTreeMap<Key, Option<u64>>,
}

/// How far it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    #[default]
    Here,
    /// Its upstream asks us to leave, or is lost: nothing new can be asked for there.
    Going,
    /// It has come to its end there: the last of it is on its way.
    Withdrawn,
    /// Somebody else brings it, and is asked for what is new.
    TakenOver,
}

impl Carried {
    pub(crate) fn keep_place(&self, place: Option<OwnedSemaphorePermit>) {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = place;
    }

    pub(crate) fn give_place(&self) -> Option<OwnedSemaphorePermit> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(crate) fn stage(&self) -> Stage {
        self.state.borrow().stage
    }

    pub(crate) fn become_(&self, stage: Stage) {
        self.state.send_modify(|state| state.stage = stage.max(state.stage));
    }

    /// Its upstream is lost, which was this node, if it says which it is.
    pub(crate) fn lose(&self, node: Option<NodeId>) {
        self.state.send_modify(|state| state.lost = Some(node));
    }

    /// Whether its upstream is lost.
    pub(crate) fn is_lost(&self) -> bool {
        self.state.borrow().lost.is_some()
    }

    /// Whether it may be taken over from a peer that brings it by this route: not by a way that leads over who is lost. He may come back,
    /// and others who have lost him, too, wait for him as we do.
    pub(crate) fn goes_to(&self, route: &Route, peer: Option<NodeId>) -> bool {
        let lost = self.state.borrow().lost.flatten();
        lost.is_none_or(|lost| {
            peer == Some(lost) || (route.origin != lost && !route.hops.contains(&lost))
        })
    }

    /// The stage after this one.
    pub(crate) async fn stage_after(&self, stage: Stage) -> Stage {
        let mut states = self.state.subscribe();
        // It is our own: it is not closed.
        let next = states.wait_for(|state| state.stage > stage).await;
        next.map_or(stage, |state| state.stage)
    }

    /// This track comes elsewhere.
    fn comes(&self, key: Key, largest: Option<u64>) {
        self.state.send_modify(|state| {
            state.elsewhere.insert(key, largest);
        });
    }

    /// When what nobody reads of this track is not needed here any more.
    pub(crate) async fn is_left(&self, key: &Key) {
        let mut states = self.state.subscribe();
        let left =
            |state: &State| state.stage == Stage::Withdrawn || state.elsewhere.contains_key(key);
        // It is our own: it is not closed.
        let _ = states.wait_for(left).await;
    }

    pub(crate) fn comes_elsewhere(&self, key: &Key) -> bool {
        self.state.borrow().elsewhere.contains_key(key)
    }
}

/// A track on its way from one connection to another, seen from either.
pub(crate) struct Hands {
    pub(crate) key: Key,
    pub(crate) carried: Arc<Carried>,
    /// By whom it was brought before.
    pub(crate) before: Option<Weak<Carried>>,
    /// That one is lost; known also when it is left.
    pub(crate) follows_lost: bool,
}

impl Hands {
    /// It comes here, all of it but what is up to this group.
    pub(crate) fn tell(&mut self, largest: Option<u64>) {
        if let Some(before) = self.before.take().and_then(|before| before.upgrade()) {
            before.comes(self.key.clone(), largest);
        }
    }

    /// Whether it was brought by somebody before, who waits to be told.
    pub(crate) fn takes_over(&self) -> bool {
        self.before.as_ref().is_some_and(|before| before.strong_count() > 0)
    }

    /// Whether that one is lost.
    pub(crate) fn follows_who_is_lost(&self) -> bool {
        self.follows_lost
            || self.before.as_ref().and_then(Weak::upgrade).is_some_and(|before| before.is_lost())
    }

    /// When it comes elsewhere: the group up to which not all of it may.
    pub(crate) async fn given(&self) -> Option<u64> {
        let mut states = self.carried.state.subscribe();
        // It is that of `carried`: it is not closed.
        let given = states.wait_for(|state| state.elsewhere.contains_key(&self.key)).await;
        given.ok().and_then(|state| state.elsewhere.get(&self.key).copied().flatten())
    }
}

/// What is left to come of a track here while another connection brings it, too.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    /// The newest group that has come, or was there.
    reached: Option<u64>,
    /// How many streams of a group are under way.
    open: BTreeMap<u64, usize>,
    /// Where it has begun elsewhere.
    elsewhere: Option<Option<u64>>,
    /// The last group that is still taken here.
    last: Option<u64>,
}

impl Rest {
    pub(crate) fn new(largest: Option<u64>) -> Self {
        Self { reached: largest, ..Self::default() }
    }

    /// Whether it comes elsewhere, too.
    pub(crate) fn is_given(&self) -> bool {
        self.elsewhere.is_some()
    }

    /// All of it comes elsewhere but what is up to this group.
    pub(crate) fn comes_elsewhere(&mut self, largest: Option<u64>) {
        (self.elsewhere, self.last) = (Some(largest), largest.max(self.reached));
    }

    /// Whether something of this group is to be taken here: what is newer comes elsewhere from its beginning on.
    pub(crate) fn takes(&mut self, group: u64) -> bool {
        let takes = self.elsewhere.is_none() || Some(group) <= self.last;
        // What is passed over has shown how far it is all the same.
        self.reached = self.reached.max(Some(group));
        takes
    }

    pub(crate) fn opens(&mut self, group: u64) {
        *self.open.entry(group).or_default() += 1;
    }

    pub(crate) fn closes(&mut self, group: u64) {
        if let Some(open) = self.open.get_mut(&group) {
            *open -= 1;
            if *open == 0 {
                self.open.remove(&group);
            }
        }
    }

    /// Whether everything that comes here alone is here: of the group in which it began elsewhere that has its beginning, too.
    pub(crate) fn is_over(&self) -> bool {
        self.elsewhere.is_some_and(|largest| self.open.is_empty() && self.reached >= largest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_lost_is_not_looked_for_behind_others_who_have_lost_him() {
        let (origin, lost, other) = (NodeId(1), NodeId(2), NodeId(3));
        let over = |hops: &[NodeId]| Route { origin, hops: hops.to_vec(), epoch: 0 };
        let carried = Carried::default();
        assert!(carried.goes_to(&over(&[lost, other]), Some(other)), "he asks us to leave");
        carried.lose(Some(lost));
        assert!(!carried.goes_to(&over(&[lost, other]), Some(other)));
        assert!(carried.goes_to(&over(&[other]), Some(other)), "there is another way");
        assert!(carried.goes_to(&over(&[lost]), Some(lost)), "he is back");
        carried.lose(Some(origin));
        assert!(!carried.goes_to(&over(&[other]), Some(other)));
        assert!(carried.goes_to(&over(&[]), Some(origin)));
        carried.lose(None);
        assert!(carried.is_lost() && carried.goes_to(&over(&[other]), None), "nobody says who");
    }

    #[test]
    fn what_comes_here_alone_is_waited_for() {
        let mut rest = Rest::new(None);
        assert!(rest.takes(3) && !rest.is_over());
        rest.opens(3);
        // It has begun there in a group that has not begun here.
        rest.comes_elsewhere(Some(4));
        assert!(!rest.is_over());
        rest.closes(3);
        assert!(!rest.is_over(), "the next one may have more than one stream");
        assert!(rest.takes(4));
        rest.opens(4);
        assert!(!rest.takes(5), "that comes there from its beginning on");
        assert!(!rest.is_over());
        rest.closes(4);
        assert!(rest.is_over());
    }

    #[test]
    fn a_stream_that_is_under_way_comes_to_its_end_where_it_began() {
        let mut rest = Rest::new(None);
        assert!(rest.takes(9));
        rest.opens(9);
        // There it is behind.
        rest.comes_elsewhere(Some(7));
        assert!(rest.takes(9) && !rest.takes(10) && !rest.is_over());
        rest.closes(9);
        assert!(rest.is_over());
    }

    #[test]
    fn of_what_has_nothing_yet_there_is_nothing_to_wait_for() {
        let mut rest = Rest::new(None);
        rest.comes_elsewhere(None);
        assert!(rest.is_over() && !rest.takes(0));
        let mut still = Rest::new(Some(0));
        still.comes_elsewhere(Some(0));
        assert!(still.is_over(), "a catalog that is here already");
    }
}
