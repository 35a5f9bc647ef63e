//! Places for jobs: how many there are, who waits for one, and who has the next.

use std::collections::VecDeque;
use std::net::IpAddr;

use tokio::sync::oneshot;

use crate::asks::{Asks, By};
use crate::limits::{PICTURES_AT_ONCE, WAITING_MAX, WAITING_PER_ADDRESS_MAX};
use crate::pool::{PRIORITIES, Place, Priority, Want};

/// Places for jobs, and who waits for one.
pub(crate) struct Places {
    /// How many more jobs may run.
    free: usize,
    /// How many more that are not live: those keep a core busy each, and live ones mostly wait for their encoder.
    free_past: usize,
    /// How many of those there are in all.
    past: usize,
    /// How many live ones run.
    live: usize,
    /// What pictures may take.
    pictures: Pictures,
    /// Bytes of memory that jobs may take besides, and what those take that run.
    room: u64,
    taken: u64,
    waiting: [VecDeque<Waiting>; PRIORITIES],
    /// How many have had to wait.
    waited: u64,
}

/// Who waits for a place, and for how much memory.
struct Waiting {
    id: u64,
    bytes: u64,
    /// Whose turn it waits for.
    address: Option<IpAddr>,
    /// How many of the same address waited when it came. Whose first one this is comes before the second one of others.
    turn: usize,
    yields: bool,
    tell: oneshot::Sender<Place>,
}

/// Which places pictures have. Strangers ask for them, and those who seek must not wait behind any number of those.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pictures {
    /// So many more of their own.
    Own(usize),
    /// Those of the past, but for so many.
    Shared(usize),
}

impl Places {
    pub(crate) fn new(workers: usize, cores: usize, room: u64) -> Self {
        let free = workers.max(1);
        // Where there are several, one is always left to those who watch live.
        let free_past = cores.min(free - 1).max(1);
        // And one to those who seek.
        let own = free.saturating_sub(1 + free_past);
        let pictures = match own.min(cores.saturating_sub(1).max(1)).min(PICTURES_AT_ONCE) {
            0 => Pictures::Shared(1.min(free_past - 1)),
            own => Pictures::Own(own),
        };
        let waiting = Default::default();
        let (past, live, taken, waited) = (free_past, 0, 0, 0);
        Self { free, free_past, past, live, pictures, room, taken, waiting, waited }
    }

    /// Somebody waits, behind those of the same turn. Of each kind so many may: those who seek do not keep out those who watch live. And
    /// of each address.
    pub(crate) fn wait(
        &mut self,
        want: Want,
        asks: Option<&Asks>,
    ) -> Option<(u64, oneshot::Receiver<Place>)> {
        let Want { priority, bytes, yields } = want;
        let waiting = &mut self.waiting[priority as usize];
        waiting.retain(|one| !one.tell.is_closed());
        let (turn, address) = turn(waiting, asks);
        if waiting.len() >= WAITING_MAX || turn >= WAITING_PER_ADDRESS_MAX {
            return None;
        }
        self.waited += 1;
        let id = self.waited;
        let (tell, told) = oneshot::channel();
        // Who yields is behind all others.
        let turn = if yields { usize::MAX } else { turn };
        insert(waiting, Waiting { id, bytes, address, turn, yields, tell });
        Some((id, told))
    }

    /// Others have asked for what this one waits for: it has their turn if that comes first.
    pub(crate) fn move_up(&mut self, priority: Priority, id: u64, asks: Option<&Asks>) {
        let waiting = &mut self.waiting[priority as usize];
        waiting.retain(|one| !one.tell.is_closed());
        let Some(at) = waiting.iter().position(|one| one.id == id) else { return };
        let (turn, address) = turn(waiting, asks);
        if waiting[at].turn > turn
            && let Some(one) = waiting.remove(at)
        {
            insert(waiting, Waiting { address, turn, ..one });
        }
    }

    /// How many more may run of what is not live. While something is, a core is left to it, if there are several: all processes are equally nice.
    fn left_to_past(&self) -> usize {
        let kept = usize::from(self.live > 0 && self.past > 1);
        self.free_past.saturating_sub(kept)
    }

    /// Whether so many that nobody waits for would be in nobody's way.
    pub(crate) fn is_idle(&self, jobs: usize) -> bool {
        let free = self.free.min(self.left_to_past());
        free >= jobs && self.waiting.iter().all(VecDeque::is_empty)
    }

    /// How many pictures may be made at one time.
    pub(crate) fn pictures_at_once(&self) -> usize {
        match self.pictures {
            Pictures::Own(free) => free,
            Pictures::Shared(kept) => (self.free_past - kept).min(PICTURES_AT_ONCE),
        }
    }

    fn has_place(&self, priority: Priority) -> bool {
        let free = match (priority, self.pictures) {
            (Priority::Live | Priority::LiveAhead, _) => true,
            (Priority::Picture, Pictures::Own(free)) => free > 0,
            (Priority::Picture, Pictures::Shared(kept)) => self.free_past > kept,
            (Priority::Seeking | Priority::Prefetch, _) => self.left_to_past() > 0,
        };
        self.free > 0 && free
    }

    /// Whether there is memory for it; one that takes more than there is for all of them runs by itself.
    fn has_room(&self, bytes: u64) -> bool {
        self.taken == 0 || self.taken.saturating_add(bytes) <= self.room
    }

    /// Whether it need not wait. Who comes first and waits for memory is not overtaken by what takes less: it would wait for good.
    pub(crate) fn may_begin(&mut self, Want { priority, bytes, .. }: Want) -> bool {
        if !self.has_place(priority) || !self.has_room(bytes) {
            return false;
        }
        let before = Priority::ALL.into_iter().take(priority as usize + 1);
        let waits = |(_, yields): (u64, bool)| !yields;
        !before
            .into_iter()
            .any(|before| self.front(before).is_some_and(waits) && self.has_place(before))
    }

    /// What the next one of these needs that still waits, and whether it yields.
    fn front(&mut self, priority: Priority) -> Option<(u64, bool)> {
        let waiting = &mut self.waiting[priority as usize];
        while waiting.front().is_some_and(|one| one.tell.is_closed()) {
            waiting.pop_front();
        }
        waiting.front().map(|one| (one.bytes, one.yields))
    }

    pub(crate) fn take(&mut self, Want { priority, bytes, .. }: Want) {
        self.taken += bytes;
        self.free -= 1;
        match (priority, &mut self.pictures) {
            (Priority::Live | Priority::LiveAhead, _) => self.live += 1,
            (Priority::Picture, Pictures::Own(free)) => *free -= 1,
            _ => self.free_past -= 1,
        }
    }

    pub(crate) fn give_back(&mut self, Want { priority, bytes, .. }: Want) {
        self.taken -= bytes;
        self.free += 1;
        match (priority, &mut self.pictures) {
            (Priority::Live | Priority::LiveAhead, _) => self.live -= 1,
            (Priority::Picture, Pictures::Own(free)) => *free += 1,
            _ => self.free_past += 1,
        }
    }

    /// Whether somebody waits who comes before these.
    pub(crate) fn is_outranked(&self, priority: Priority) -> bool {
        let before = self.waiting.iter().take(priority as usize);
        before.flatten().any(|one| !one.tell.is_closed())
    }

    /// Of which kind the first one is that waits and could begin now.
    fn first(&mut self) -> Option<Priority> {
        for priority in Priority::ALL {
            let first = self.front(priority).filter(|_| self.has_place(priority));
            let Some((bytes, yields)) = first else { continue };
            if self.has_room(bytes) {
                return Some(priority);
            }
            if !yields {
                return None;
            }
        }
        None
    }

    /// Who gets a place that is free, and has it now.
    pub(crate) fn next(&mut self) -> Option<(Want, oneshot::Sender<Place>)> {
        let priority = self.first()?;
        let Waiting { bytes, yields, tell, .. } = self.waiting[priority as usize].pop_front()?;
        let want = Want { bytes, yields, ..priority.into() };
        self.take(want);
        Some((want, tell))
    }

    /// Gives it back if somebody waits who could begin then.
    pub(crate) fn give_way(&mut self, want: Want) -> bool {
        self.give_back(want);
        let given = self.first().is_some();
        if !given {
            self.take(want);
        }
        given
    }
}

/// The first turn that any of these have, and whose it is.
fn turn(waiting: &VecDeque<Waiting>, asks: Option<&Asks>) -> (usize, Option<IpAddr>) {
    let Some(By::Addresses(all)) = asks.map(Asks::by) else { return (0, None) };
    let turn = |address: Option<IpAddr>| {
        let own = waiting.iter().filter(|one| one.address == address);
        (own.count(), address)
    };
    let turns = all.into_iter().map(|address| turn(Some(address)));
    turns.min_by_key(|(turn, _)| *turn).unwrap_or((0, None))
}

/// Behind those of the same turn.
fn insert(waiting: &mut VecDeque<Waiting>, one: Waiting) {
    let at = waiting.partition_point(|other| other.turn <= one.turn);
    waiting.insert(at, one);
}

#[cfg(test)]
impl Places {
    /// How many of a kind wait.
    pub(crate) fn waiting(&self, priority: Priority) -> usize {
        self.waiting[priority as usize].len()
    }

    /// How many more may run, how many live ones do, and what memory jobs take.
    pub(crate) fn taken(&self) -> (usize, usize, u64) {
        (self.free, self.live, self.taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However many seek: live parts have to come in time.
    #[test]
    fn while_something_is_live_a_core_is_left_to_it() {
        for (workers, cores, alone, beside) in
            [(1, 1, 1, 0), (2, 2, 1, 1), (4, 1, 1, 1), (8, 2, 2, 1), (16, 4, 4, 3)]
        {
            let seeks = |live: usize| {
                let mut places = Places::new(workers, cores, u64::MAX);
                (0..live).for_each(|_| places.take(Priority::Live.into()));
                let mut seeks = 0;
                while places.has_place(Priority::Seeking) {
                    places.take(Priority::Seeking.into());
                    seeks += 1;
                }
                (0..live).for_each(|_| places.give_back(Priority::Live.into()));
                (seeks, places.has_place(Priority::Seeking))
            };
            let words = format!("{workers} workers, {cores} cores");
            assert_eq!(seeks(0), (alone, false), "{words}");
            assert_eq!(seeks(1), (beside, beside < alone), "{words}");
        }
    }

    /// However many ask for pictures, who seeks has a place at once, and who watches live another one.
    #[test]
    fn pictures_leave_a_place_to_those_who_seek() {
        for (workers, cores, pictures) in [
            (1, 1, 1),
            (2, 2, 1),
            (3, 2, 1),
            (4, 1, 1),
            (4, 2, 1),
            (8, 2, 1),
            (16, 4, 2),
            (64, 16, 2),
        ] {
            let words = format!("{workers} workers, {cores} cores");
            let mut places = Places::new(workers, cores, u64::MAX);
            let mut taken = 0;
            while places.has_place(Priority::Picture) {
                places.take(Priority::Picture.into());
                taken += 1;
            }
            assert_eq!(taken, pictures, "{words}");
            if workers > 2 {
                assert!(places.has_place(Priority::Seeking), "{words}");
                places.take(Priority::Seeking.into());
            }
            // Of two places one is that of those who watch live.
            assert_eq!(places.has_place(Priority::Live), workers > 1, "{words}");
        }
    }
}
