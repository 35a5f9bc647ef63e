//! Which broadcasts there are of open namespaces and of upstreams, and who brings them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use spine::broadcast::{Consumer, Liveness, Producer};
use spine::{Close, NodeId, Origin, Path, PublishError, Route, Takeover, TrackName};
use tokio::sync::watch;

use crate::handover::{Carried, Stage};
use crate::limits::{UNTOLD_MAX, UNTOLD_PER_NAMESPACE_MAX, WANTED_MAX};
use crate::session::Relay;

/// Broadcasts of open namespaces. All who publish in one share it, and write its tracks together: what
/// one of them has written already is dropped when it comes from another.
#[derive(Default)]
pub(crate) struct OpenBroadcasts {
    broadcasts: Mutex<BTreeMap<Path, There>>,
    /// Namespaces that are published, and by how many.
    announced: Mutex<BTreeMap<Path, usize>>,
    /// The largest group that is wanted of a track, and by how many.
    wanted: Mutex<BTreeMap<(Path, TrackName), (u64, usize)>>,
    /// Whether an upstream has ever brought one: who has none is not looked up with each look at the gate.
    has_brought: AtomicBool,
    /// Changed with each broadcast that comes.
    joined: watch::Sender<()>,
    /// Changed with each namespace that is published.
    namespaces: watch::Sender<()>,
    /// Changed with each broadcast whose upstream goes away.
    going: watch::Sender<()>,
}

/// A broadcast that is there for as long as somebody keeps it.
struct There {
    producer: Weak<Producer>,
    /// The namespace whose publishers may have it, while nobody has published it itself: it is untold.
    below: Option<Path>,
    /// An upstream brings it, and nobody else writes it.
    brought: Option<Arc<Carried>>,
}

/// Who waits for a track that is being asked for wants it to begin a new group; forgotten when the last of
/// them is dropped.
pub(crate) struct Wanted<'a> {
    open: &'a OpenBroadcasts,
    key: (Path, TrackName),
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        let mut wanted = self.open.wanted();
        if let Some((_, count)) = wanted.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                wanted.remove(&self.key);
            }
        }
    }
}

/// A namespace that somebody publishes, until this is dropped.
pub(super) struct Announced {
    relay: Arc<Relay>,
    path: Path,
}

impl Announced {
    pub(super) fn new(relay: &Arc<Relay>, path: &Path) -> Self {
        *relay.open.announced().entry(path.clone()).or_default() += 1;
        relay.open.namespaces.send_replace(());
        Self { relay: relay.clone(), path: path.clone() }
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        let mut announced = self.relay.open.announced();
        if let Some(count) = announced.get_mut(&self.path) {
            *count -= 1;
            if *count == 0 {
                announced.remove(&self.path);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl OpenBroadcasts {
    pub(super) fn wanted(&self) -> MutexGuard<'_, BTreeMap<(Path, TrackName), (u64, usize)>> {
        lock(&self.wanted)
    }

    fn announced(&self) -> MutexGuard<'_, BTreeMap<Path, usize>> {
        lock(&self.announced)
    }

    /// Remembers NEW_GROUP_REQUEST of a subscriber for the SUBSCRIBE that it may cause.
    pub(crate) fn want(&self, path: &Path, name: &TrackName, new_group: u64) -> Option<Wanted<'_>> {
        let key = (path.clone(), name.clone());
        let mut wanted = self.wanted();
        if wanted.len() >= WANTED_MAX && !wanted.contains_key(&key) {
            return None;
        }
        let (largest, count) = wanted.entry(key.clone()).or_default();
        *largest = new_group.max(*largest);
        *count += 1;
        drop(wanted);
        Some(Wanted { open: self, key })
    }

    /// Hears of broadcasts that come.
    pub(super) fn joined(&self) -> watch::Receiver<()> {
        self.joined.subscribe()
    }

    /// Hears of namespaces that somebody publishes.
    pub(crate) fn namespaces(&self) -> watch::Receiver<()> {
        self.namespaces.subscribe()
    }

    /// The broadcast of a namespace in which nobody has published yet, if somebody publishes one above it
    /// (draft-18 §9.5): he may have its tracks. It lasts for as long as what is returned, or who brings one of them.
    /// Nothing, if nobody does; an error, if there are too many of its kind already: their names may be made up.
    pub(crate) fn below(
        &self,
        origin: &Origin,
        path: &Path,
    ) -> Option<Result<Arc<Producer>, PublishError>> {
        let fields = path.fields();
        let mut above =
            (1..=fields.len()).rev().filter_map(|n| Path::new(fields[..n].iter().cloned()).ok());
        let announced = self.announced();
        let nearest = above.find(|above| announced.contains_key(above));
        drop(announced);
        Some(self.join(origin, path, Some(nearest?)))
    }

    /// The broadcast of a namespace. Those who ask for namespaces hear of it, unless it is only looked for `below` another.
    pub(super) fn join(
        &self,
        origin: &Origin,
        path: &Path,
        below: Option<Path>,
    ) -> Result<Arc<Producer>, PublishError> {
        let mut open = lock(&self.broadcasts);
        open.retain(|_, there| there.producer.strong_count() > 0);
        if let Some(there) = open.get_mut(path)
            && let Some(producer) = there.producer.upgrade()
        {
            match (&below, there.brought.is_some()) {
                // Who publishes it here has it to himself; from elsewhere it comes again when he is gone.
                (None, true) => origin.end(path, Close::Replaced),
                (None, false) => {
                    there.below = None;
                    origin.tell(&producer.consume());
                    return Ok(producer);
                }
                (Some(_), _) => return Ok(producer),
            }
        }
        if let Some(below) = &below {
            let untold = || open.values().filter_map(|there| there.below.as_ref());
            let beside = untold().filter(|above| *above == below).count();
            if beside >= UNTOLD_PER_NAMESPACE_MAX || untold().count() >= UNTOLD_MAX {
                return Err(PublishError::TooManyBroadcasts);
            }
        }
        let above = below.as_ref().and_then(|above| origin.get(above));
        let route = above.map_or_else(|| Route::local(NodeId(0), 0), |above| above.route());
        let producer = match &below {
            None => origin.publish(path, route, Takeover::Refuse)?,
            Some(_) => origin.publish_untold(path, route)?,
        };
        let producer = Arc::new(producer);
        let there = There { producer: Arc::downgrade(&producer), below, brought: None };
        open.insert(path.clone(), there);
        drop(open);
        self.joined.send_replace(());
        Ok(producer)
    }

    /// The broadcast of a namespace that an upstream has, unless somebody else has it already.
    pub(crate) fn relayed(
        &self,
        origin: &Origin,
        path: &Path,
        route: Route,
        by: &Arc<Carried>,
    ) -> Result<Arc<Producer>, PublishError> {
        let mut open = lock(&self.broadcasts);
        open.retain(|_, there| there.producer.strong_count() > 0);
        if open.contains_key(path) {
            return Err(PublishError::Busy);
        }
        let producer = Arc::new(origin.publish(path, route, Takeover::Refuse)?);
        let there =
            There { producer: Arc::downgrade(&producer), below: None, brought: Some(by.clone()) };
        self.has_brought.store(true, Ordering::Relaxed);
        open.insert(path.clone(), there);
        drop(open);
        self.joined.send_replace(());
        Ok(producer)
    }

    /// The broadcast of a namespace that an upstream has, if another one brings it and goes away, with how that brings it: it is this
    /// one's from now on, which comes by this `route` from this `peer`.
    pub(crate) fn take_over(
        &self,
        path: &Path,
        (route, peer): (&Route, Option<NodeId>),
        by: &Arc<Carried>,
    ) -> Option<(Arc<Producer>, Arc<Carried>)> {
        let mut open = lock(&self.broadcasts);
        let there = open.get_mut(path)?;
        let goes = |brought: &&mut Arc<Carried>| {
            brought.stage() == Stage::Going && brought.goes_to(route, peer)
        };
        let brought = there.brought.as_mut().filter(goes)?;
        let broadcast = there.producer.upgrade()?;
        if matches!(broadcast.consume().liveness(), Liveness::Ended(_)) {
            return None;
        }
        broadcast.reroute(route.clone());
        Some((broadcast, std::mem::replace(brought, by.clone())))
    }

    /// What waits for its upstream, which is lost, is over when it is another publisher's by now: his numbers and contents are others.
    /// Whether it is.
    pub(crate) fn gives_way(&self, path: &Path, route: &Route) -> bool {
        let mut open = lock(&self.broadcasts);
        let waits = |there: &&There| {
            there.brought.as_ref().is_some_and(|it| it.stage() == Stage::Going && it.is_lost())
        };
        let broadcast = open.get(path).filter(waits).and_then(|there| there.producer.upgrade());
        let other = |it: &Arc<Producer>| it.consume().route().origin != route.origin;
        let Some(broadcast) = broadcast.filter(other) else { return false };
        open.remove(path);
        drop(open);
        broadcast.end_for_all(Close::SourceLost);
        true
    }

    /// Who brought it does no more, and nobody has taken it over: it ends (decision 148), also where one that he took it over from has some of it still. What came
    /// from him alone has ended, and who asks for something new would ask nobody. Whether it was his.
    pub(crate) fn loses(&self, path: &Path, by: &Arc<Carried>) -> bool {
        let mut open = lock(&self.broadcasts);
        let is_his = |there: &There| there.brought.as_ref().is_some_and(|it| Arc::ptr_eq(it, by));
        if !open.get(path).is_some_and(is_his) {
            return false;
        }
        let broadcast = open.remove(path).and_then(|there| there.producer.upgrade());
        drop(open);
        if let Some(broadcast) = broadcast {
            broadcast.end_for_all(Close::SourceLost);
        }
        true
    }

    /// Hears of broadcasts whose upstreams go away, or are lost.
    pub(crate) fn going(&self) -> watch::Receiver<()> {
        self.going.subscribe()
    }

    /// This one's does.
    pub(crate) fn goes(&self, carried: &Carried) {
        carried.become_(Stage::Going);
        self.going.send_replace(());
    }

    /// Whether it is an upstream that brings what is there, or what is above it.
    pub(crate) fn brings(&self, path: &Path) -> bool {
        if !self.has_brought.load(Ordering::Relaxed) {
            return false;
        }
        let (open, fields) = (lock(&self.broadcasts), path.fields());
        (1..=fields.len()).filter_map(|n| Path::new(fields[..n].iter().cloned()).ok()).any(|path| {
            let there = open.get(&path).filter(|there| there.brought.is_some());
            there.and_then(|there| there.producer.upgrade()).is_some_and(|broadcast| {
                !matches!(broadcast.consume().liveness(), Liveness::Ended(_))
            })
        })
    }

    /// Whether it is only looked for, below another one.
    pub(super) fn is_untold(&self, path: &Path) -> bool {
        lock(&self.broadcasts).get(path).is_some_and(|there| there.below.is_some())
    }

    /// What keeps a broadcast.
    pub(crate) fn there(&self, path: &Path) -> Option<Arc<Producer>> {
        lock(&self.broadcasts).get(path)?.producer.upgrade()
    }

    /// The broadcasts in a namespace and below it.
    pub(super) fn all(&self, path: &Path) -> Vec<Consumer> {
        let open = lock(&self.broadcasts);
        let all = open.range(path.clone()..).take_while(|(at, _)| at.starts_with(path));
        all.filter_map(|(_, there)| Some(there.producer.upgrade()?.consume())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(fields: &[&str]) -> Path {
        Path::new(fields.iter().map(ToString::to_string)).unwrap()
    }

    #[test]
    fn d03_names_that_are_made_up_leave_room_for_others() {
        let (open, origin) = (OpenBroadcasts::default(), Origin::new(spine::Limits::default()));
        let spaces: Vec<String> = (0..10).map(|n| n.to_string()).collect();
        for space in &spaces {
            open.announced().insert(path(&["open", space]), 1);
        }
        let ask = |space: &str, name: usize| {
            open.below(&origin, &path(&["open", space, &name.to_string()])).unwrap().ok()
        };
        let mut kept: Vec<_> = (0..1_000).filter_map(|name| ask("0", name)).collect();
        assert_eq!(kept.len(), UNTOLD_PER_NAMESPACE_MAX);
        assert!(ask("0", 0).is_some(), "it is there already");
        // One that is published is none of them any more.
        kept.push(open.join(&origin, &path(&["open", "0", "0"]), None).unwrap());
        kept.push(ask("0", 1_000).unwrap());
        assert!(ask("0", 1_001).is_none());
        for space in &spaces[1..] {
            assert!(kept.len() > UNTOLD_MAX || ask(space, 0).is_some(), "{space}");
            kept.extend((0..1_000).filter_map(|name| ask(space, name)));
        }
        // That one, held twice.
        assert_eq!(kept.len(), UNTOLD_MAX + 2);
        assert!(open.join(&origin, &path(&["open", "more"]), None).is_ok(), "published");
        kept.clear();
        assert!(ask("9", 0).is_some(), "they are gone");
    }

    #[test]
    fn draft18_s10_2_13_a_wish_lasts_as_long_as_one_who_has_it() {
        let open = OpenBroadcasts::default();
        let key = (path(&["open"]), TrackName::new("chat").unwrap());
        let largest = || open.wanted().get(&key).map(|(largest, _)| *largest);
        let first = open.want(&key.0, &key.1, 3);
        let second = open.want(&key.0, &key.1, 5);
        assert_eq!(largest(), Some(5));
        drop(first);
        assert_eq!(largest(), Some(5));
        drop(second);
        assert_eq!(largest(), None);
    }
}
