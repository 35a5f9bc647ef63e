//! What a subscriber wishes of a subscription, and what becomes of it when he changes his mind.

use std::sync::Arc;

use moqt::{Location, Looked, Parameters, Properties, Selection};
use spine::{Header, Via};

/// What a subscriber may change while it is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wishes {
    /// Objects are sent.
    pub(crate) forward: bool,
    /// 0 is the most urgent.
    pub(crate) priority: u8,
    /// Which objects.
    pub(crate) filter: moqt::Filter,
    /// The first one of them.
    pub(crate) from: Location,
    /// The last one, if there is one.
    pub(crate) end: Option<Location>,
    /// Which of these, by other numbers than their place.
    pub(crate) selection: Arc<Selection>,
    /// Milliseconds after which an object is too old; 0: never.
    pub(crate) timeout_ms: u64,
    /// Milliseconds after its end in which all of a subgroup must have arrived; 0: any.
    pub(crate) subgroup_timeout_ms: u64,
}

impl Wishes {
    /// Of a new subscription, on a track whose largest object this is.
    pub(crate) fn new(parameters: &Parameters, largest: Option<Location>) -> Self {
        let filter = parameters.filter.unwrap_or(moqt::Filter::All);
        let (from, end) = resolve(filter, largest, parameters);
        Self {
            forward: parameters.forward.unwrap_or(true),
            priority: parameters.subscriber_priority.unwrap_or(128),
            filter,
            from,
            end,
            selection: Arc::new(Selection::new(&parameters.range_filters)),
            timeout_ms: parameters.object_delivery_timeout_ms.unwrap_or(0),
            subgroup_timeout_ms: parameters.subgroup_delivery_timeout_ms.unwrap_or(0),
        }
    }

    /// Nothing that is there already, whatever else is wanted.
    pub(crate) fn only_new(&mut self, largest: Option<Location>) {
        self.from = self.from.max(next(largest));
    }

    /// Takes what an update says. What it does not say stays.
    pub(crate) fn update(&mut self, parameters: &Parameters, largest: Option<Location>) {
        if let Some(filter) = parameters.filter {
            self.filter = filter;
            let (start, _) = filter.resolve(largest);
            let (from, end) = resolve(filter, largest, parameters);
            // What it had is not taken from it by who moves the end alone.
            self.from = if start > self.from { start } else { self.from.min(from) };
            self.end = end;
        }
        if parameters.forward == Some(true) && !self.forward {
            // draft-18 §5.1: it goes on with what is new.
            self.only_new(largest);
        }
        if !parameters.range_filters.is_empty() {
            // For what is sent from now on.
            self.selection = Arc::new(self.selection.updated(&parameters.range_filters));
        }
        self.forward = parameters.forward.unwrap_or(self.forward);
        self.priority = parameters.subscriber_priority.unwrap_or(self.priority);
        self.timeout_ms = parameters.object_delivery_timeout_ms.unwrap_or(self.timeout_ms);
        self.subgroup_timeout_ms =
            parameters.subgroup_delivery_timeout_ms.unwrap_or(self.subgroup_timeout_ms);
    }
}

/// What becomes of what is being sent when wishes change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// It goes on.
    Nothing,
    /// It is reset (draft-18 §11.4.3).
    Paused,
    /// It begins anew: something before it is wanted.
    Anew,
    /// It goes on, or is reset, by what is wanted of it.
    Narrower,
    /// It goes on, and so do objects from here on, some of which were left out before.
    Further(Location),
}

impl Wishes {
    /// What changes for a track whose largest object this is.
    pub(crate) fn change(&self, before: &Wishes, largest: Option<Location>) -> Change {
        match (before.forward, self.forward) {
            (false, false) => Change::Nothing,
            (true, false) => Change::Paused,
            (false, true) => Change::Anew,
            (true, true) if self.from < before.from => Change::Anew,
            (true, true) if (self.from, self.end) == (before.from, before.end) => Change::Nothing,
            (true, true) => self.further(before, largest).map_or(Change::Narrower, Change::Further),
        }
    }

    /// Where what an earlier end left out begins, if there is something: that of the group under way, as for who comes new.
    fn further(&self, before: &Wishes, largest: Option<Location>) -> Option<Location> {
        let (end, largest) = (before.end?, largest?);
        if largest <= end || self.end.is_some_and(|later| later <= end) {
            return None;
        }
        let next = match end.object.checked_add(1) {
            Some(object) => Location::new(end.group, object),
            None => Location::new(end.group.saturating_add(1), 0),
        };
        Some(self.from.max(next).max(Location::new(largest.group, 0)))
    }

    /// Whether a group is outside of the filter.
    pub(crate) fn leaves_out(&self, group: u64) -> bool {
        group < self.from.group || self.end.is_some_and(|end| group > end.group)
    }

    /// Whether something is behind the last object that is wanted.
    pub(crate) fn is_behind(&self, at: Location) -> bool {
        self.end.is_some_and(|end| at > end)
    }

    /// Whether the end of a group is not wanted, or may not be.
    pub(crate) fn is_cut(&self, group: u64) -> bool {
        // With a selection its last object may be left out.
        !self.selection.is_empty() || self.ends_within(group)
    }

    /// Whether the filter ends before this group does, or may.
    pub(crate) fn ends_within(&self, group: u64) -> bool {
        let before_its_end = |end: Location| end.object != moqt::Range::WHOLE_GROUP;
        self.end.is_some_and(|end| end.group == group && before_its_end(end))
    }

    /// Whether an object passes the range filters.
    pub(crate) fn selects(&self, object: &Header) -> bool {
        selects(&self.selection, object)
    }
}

/// Whether an object passes these range filters (draft-21 §3.3.2).
pub(crate) fn selects(selection: &Selection, object: &Header) -> bool {
    let subgroup = match object.via {
        Via::Subgroup(id) => Some(id),
        Via::Datagram => None,
    };
    // Most have no filter: nothing is looked up for them.
    selection.is_empty()
        || selection.passes(Looked {
            subgroup,
            object: object.id,
            priority: object.priority,
            properties: &Properties::from_checked(object.properties.clone()),
        })
}

/// Where a subscription starts and ends. Only what is new counts (draft-18 §5.1.2); who asks for the past as well gets the group that
/// is under way from its start, as a courtesy: players that do not FETCH find the catalog so. Who has the past filled gets it there.
fn resolve(
    filter: moqt::Filter,
    largest: Option<Location>,
    parameters: &Parameters,
) -> (Location, Option<Location>) {
    let (from, end) = filter.resolve(largest);
    let first = match parameters.fill {
        Some(_) => next(largest),
        None => largest.map_or(Location::default(), |largest| Location::new(largest.group, 0)),
    };
    (from.max(first), end)
}

/// Behind the largest object.
fn next(largest: Option<Location>) -> Location {
    moqt::Filter::NextObject.resolve(largest).0
}

#[cfg(test)]
mod tests {
    use moqt::Filter;

    use super::*;

    #[test]
    fn d10_what_is_being_sent_goes_on_unless_something_before_it_is_wanted() {
        let at = Location::new;
        let from = |group, object| Filter::From(at(group, object));
        let range = |group, end_group| Filter::Range { start: at(group, 0), end_group };
        let (paused, forward) = (Some(false), Some(true));
        // Subscribed with this while group 5 was under way, and changed with that in group 7.
        for (first, filter, forwards, expect, begins) in [
            (from(0, 0), None, None, Change::Nothing, at(5, 0)),
            (from(0, 0), Some(from(0, 0)), None, Change::Nothing, at(5, 0)),
            (range(0, 9), Some(range(0, 20)), None, Change::Narrower, at(5, 0)),
            (range(0, 20), Some(range(0, 9)), None, Change::Narrower, at(5, 0)),
            (range(0, 5), Some(range(0, 9)), None, Change::Further(at(7, 0)), at(5, 0)),
            (range(0, 5), Some(from(7, 1)), None, Change::Further(at(7, 1)), at(7, 1)),
            (from(0, 0), Some(from(6, 0)), None, Change::Narrower, at(6, 0)),
            (from(0, 0), Some(Filter::NextGroup), None, Change::Narrower, at(8, 0)),
            (from(9, 0), Some(from(8, 0)), None, Change::Anew, at(8, 0)),
            (from(9, 0), Some(Filter::All), None, Change::Anew, at(7, 0)),
            (from(0, 0), None, paused, Change::Paused, at(5, 0)),
            (from(0, 0), None, forward, Change::Nothing, at(5, 0)),
        ] {
            let parameters = Parameters { filter: Some(first), ..Parameters::default() };
            let before = Wishes::new(&parameters, Some(at(5, 3)));
            let mut after = before.clone();
            let said = Parameters { filter, forward: forwards, ..Parameters::default() };
            after.update(&said, Some(at(7, 3)));
            assert_eq!(
                after.change(&before, Some(at(7, 3))),
                expect,
                "{first:?} {filter:?} {forwards:?}"
            );
            assert_eq!(after.from, begins, "{first:?} {filter:?} {forwards:?}");
            // And on again: behind what was the largest then.
            if forwards == paused {
                let mut on = after.clone();
                let said = Parameters { forward, ..Parameters::default() };
                on.update(&said, Some(at(8, 1)));
                let change = on.change(&after, Some(at(8, 1)));
                assert_eq!((change, on.from), (Change::Anew, at(8, 2)));
            }
        }
    }
}
