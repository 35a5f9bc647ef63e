//! Sessions with a MoQ server, one after the other: who is asked to leave goes where it is told to (draft-18 §3.6), and what
//! is followed goes on there, object by object. The old session is read until the new one has what comes next.

use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use io_moq::client::{Broken, Client, Denial, Handle, Over, Remote, Server, Subscribed, Trust};
use media::{FrameEvent, Frames};
use moqt::{Filter, Location, Namespace};
use spine::{Header, Origin, Payload, Policy, Start};
use tokio::sync::watch;

use super::ASK_AGAIN;
use crate::leaving::{Leaving, Way};
use crate::limits::{GOAWAY_LATE, GROUPS_AHEAD_MAX, LATE_GROUPS_MAX, MOVE_WAIT};

/// Where a session is.
#[derive(Clone)]
pub(super) enum Place {
    /// The how manieth it is, and who asks in it.
    At(u64, Handle),
    /// On the way to another server.
    Moving,
}

/// Drives a session, and those that come after it, until one is lost; answers why. Those that are left end by themselves, each
/// in a task of its own.
pub(super) async fn drive(
    mut client: Client,
    home: Server,
    trust: Trust,
    tell: watch::Sender<Place>,
) -> (Option<Client>, String) {
    let mut leaving = Leaving::default();
    let mut way = Way::new(home, Instant::now());
    let mut number = 0;
    loop {
        let uri = match client.run().await {
            Over::Ended(ended) => return (Some(client), ended.reason),
            Over::GoAway { uri } => uri,
        };
        let Some(pause) = way.sent(&uri, Instant::now()) else {
            return (Some(client), "servers sent us on too often".to_owned());
        };
        tell.send_replace(Place::Moving);
        leaving.push(client, pending());
        tokio::time::sleep(pause).await;
        client = match connect(&mut way, &trust).await {
            Ok(client) => client,
            Err(words) => return (None, words),
        };
        number += 1;
        tell.send_replace(Place::At(number, client.handle()));
    }
}

/// Connects where we were sent, or else at home: a server that has started again may be there before the other one.
async fn connect(way: &mut Way, trust: &Trust) -> Result<Client, String> {
    let (mut server, mut other) = (way.at().clone(), way.home().clone());
    let mut last = "nobody is there".to_owned();
    let tries = async {
        loop {
            let origin = Origin::new(spine::Limits::default());
            match Client::connect(&server, trust.clone(), origin).await {
                Ok(client) => return client,
                Err(error) => last = error.to_string(),
            }
            std::mem::swap(&mut server, &mut other);
            tokio::time::sleep(ASK_AGAIN).await;
        }
    };
    let client = tokio::time::timeout(MOVE_WAIT, tries).await.map_err(|_| last)?;
    if server != *way.at() {
        way.go_home();
    }
    Ok(client)
}

/// A broadcast, wherever the session is.
#[derive(Clone)]
pub(super) struct Broadcast {
    pub(super) places: watch::Receiver<Place>,
    pub(super) namespace: Namespace,
}

/// A track that is followed from session to session.
pub(super) struct Following {
    broadcast: Broadcast,
    name: String,
    reads: Reads,
    now: Reading,
    /// It is asked for where we go.
    joining: Option<Joining>,
    /// It comes from there as well.
    next: Option<Reading>,
    /// The last object that was handed out: its group, and its id.
    last: Option<(u64, u64)>,
    /// Nothing of this session was handed out yet, and something of another one was.
    fresh: bool,
    /// The last one of the session before. What a relay gets of before later on, it passes on later.
    before: Option<(u64, u64)>,
}

/// What is read of a track in the sessions behind the first.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reads {
    /// What comes behind the last object of the session before.
    Onward,
    /// All that is there: a catalog lists what can be had in its own session.
    Afresh,
}

type Joining = Pin<Box<dyn Future<Output = Result<Reading, Denial>> + Send>>;

/// What comes of a track.
pub(super) enum Came {
    Object(Object),
    /// Something is missing.
    Lost,
    /// Whole groups are missing: the number of the next one says how many, where such numbers rise by one.
    LostGroups,
    /// What follows is numbered anew.
    Anew,
}

/// An object with something in it.
pub(super) struct Object {
    pub(super) group: u64,
    pub(super) id: u64,
    pub(super) properties: Bytes,
    pub(super) payload: Bytes,
    /// When it began to come; of the past it says nothing.
    pub(super) arrived: Option<Instant>,
}

impl Object {
    fn live(group: u64, header: Header, payload: Vec<Payload>) -> Self {
        let Header { id, properties, arrived, .. } = header;
        Self { group, id, properties, payload: joined(payload), arrived: Some(arrived) }
    }
}

fn joined(chunks: Vec<Payload>) -> Bytes {
    let mut chunks: Vec<Bytes> = chunks.into_iter().map(Payload::into_bytes).collect();
    if chunks.len() == 1 {
        return chunks.pop().unwrap_or_default();
    }
    let mut all = BytesMut::new();
    chunks.iter().for_each(|chunk| all.extend_from_slice(chunk));
    all.freeze()
}

/// A track in one session.
struct Reading {
    session: u64,
    subscribed: Subscribed,
    frames: Frames,
    /// Looked at, and not handed out.
    first: Option<FrameEvent>,
    /// What is subscribed to is kept in it.
    _remote: Remote,
}

impl Reading {
    async fn begin(
        (session, handle): (u64, Handle),
        namespace: Namespace,
        name: &str,
    ) -> Result<Self, Denial> {
        let remote = handle.remote(namespace).map_err(|_| Denial::Misuse)?;
        // From the group that is under way: it may have been written long ago.
        let subscribed = remote.subscribe(name, Filter::From(Location::default())).await?;
        let start = Start::At(spine::Location { group: 0, object: 0 });
        let cursor = subscribed.track.subscribe(spine::Filter::from(start), Policy::EVERYTHING);
        Ok(Self { session, subscribed, frames: Frames::new(cursor), first: None, _remote: remote })
    }

    async fn event(&mut self) -> FrameEvent {
        match self.first.take() {
            Some(first) => first,
            None => poll_fn(|cx| self.frames.poll(cx, Instant::now())).await,
        }
    }

    /// Looks at the first object, or at the end.
    async fn look(&mut self) {
        while self.first.is_none() {
            self.first = match poll_fn(|cx| self.frames.poll(cx, Instant::now())).await {
                // Before anything is taken from here nothing is missing.
                FrameEvent::Lost => None,
                first => Some(first),
            };
        }
    }

    fn first(&self) -> Option<(u64, u64)> {
        match &self.first {
            Some(FrameEvent::Frame { group, header, .. }) => Some((*group, header.id)),
            _ => None,
        }
    }

    /// Whether it goes on from the object that was the last one elsewhere; else that is behind what comes here.
    fn goes_on_from(&self, last: (u64, u64)) -> bool {
        self.first().is_some_and(|first| first <= last || follows(first, last))
    }

    /// Whether its groups can't be those of the other session: the newest one was long ago over there, or is yet to come.
    fn is_numbered_anew(&self, (group, _): (u64, u64)) -> bool {
        let newest = self.subscribed.track.largest();
        newest.is_some_and(|newest| newest.group.saturating_add(1) < group)
            || self.first().is_some_and(|(first, _)| first > group.saturating_add(GROUPS_AHEAD_MAX))
    }
}

/// Whether an object is the next one of the group.
fn follows((group, id): (u64, u64), last: (u64, u64)) -> bool {
    group == last.0 && id == last.1.saturating_add(1)
}

impl Following {
    /// Subscribes to it where we are.
    pub(super) async fn begin(
        broadcast: Broadcast,
        name: &str,
        reads: Reads,
    ) -> Result<Self, Denial> {
        let name = name.to_owned();
        let now = join(broadcast.clone(), None, name.clone()).await?;
        let (joining, next, last, fresh, before) = (None, None, None, false, None);
        Ok(Self { broadcast, name, reads, now, joining, next, last, fresh, before })
    }

    /// The largest object that there was when it was subscribed to.
    pub(super) fn largest(&self) -> Option<Location> {
        self.now.subscribed.largest
    }

    /// Hands out what is behind this object, which was fetched in this session. False, and all that comes, if the numbers of
    /// that session were others.
    pub(super) fn goes_on_behind(&mut self, last: Location, session: u64) -> bool {
        let last = (last.group, last.object);
        if session != self.now.session && self.now.is_numbered_anew(last) {
            return false;
        }
        (self.last, self.fresh, self.before) = (Some(last), true, Some(last));
        true
    }

    /// What comes next; nothing once the publisher has ended the track.
    pub(super) async fn next(&mut self) -> Result<Option<Came>, Broken> {
        loop {
            if let Some(anew) = self.switch() {
                return Ok(Some(anew));
            }
            let idle = self.joining.is_none();
            let joined = async {
                match &mut self.joining {
                    Some(joining) => joining.await,
                    None => pending().await,
                }
            };
            let looked = async {
                match &mut self.next {
                    Some(next) if next.first.is_none() => next.look().await,
                    _ => pending().await,
                }
            };
            let event = tokio::select! {
                biased;
                joined = joined => {
                    self.joining = None;
                    // Not there, or not for us: what still comes here is all.
                    self.next = joined.ok().or(self.next.take());
                    continue;
                }
                () = looked => {
                    // Over there is nothing any more.
                    self.next.take_if(|next| matches!(next.first, Some(FrameEvent::End(_))));
                    continue;
                }
                Ok(()) = self.broadcast.places.changed(), if idle => {
                    self.joining = self.is_to_move().then(|| self.join());
                    continue;
                }
                event = self.now.event() => event,
            };
            match event {
                FrameEvent::Frame { group, header, payload } => {
                    let at = (group, header.id);
                    // It has come in the session before, or later than what is behind it: nobody goes back for that.
                    let late = |last: (u64, u64)| at <= last && last.0 - at.0 <= LATE_GROUPS_MAX;
                    if self.before.is_some_and(|before| at <= before) || self.last.is_some_and(late)
                    {
                        continue;
                    }
                    if let Some(last) = self.last.filter(|_| self.fresh)
                        && at.1 > 0
                        && !follows(at, last)
                    {
                        self.now.first = Some(FrameEvent::Frame { group, header, payload });
                        self.fresh = false;
                        return Ok(Some(Came::Lost));
                    }
                    self.fresh = false;
                    self.last = Some(at);
                    if header.status != spine::Status::Normal {
                        continue;
                    }
                    return Ok(Some(Came::Object(Object::live(group, header, payload))));
                }
                FrameEvent::Lost => return Ok(Some(Came::Lost)),
                FrameEvent::End(_) => match self.next.take() {
                    Some(next) => self.go_on(next),
                    None => match self.now.subscribed.over().await {
                        Ok(()) => return Ok(None),
                        Err(Broken::Ended(words)) => return Err(Broken::Ended(words)),
                        // Its server is going away.
                        Err(broken) => {
                            let joining = self.joining.take().unwrap_or_else(|| self.join());
                            let next = joining.await.map_err(|_| broken)?;
                            self.go_on(next);
                        }
                    },
                },
            }
        }
    }

    /// Reads on in the next session, once it has what comes next. Says so if its numbers are others.
    fn switch(&mut self) -> Option<Came> {
        let (last, reads) = (self.last, self.reads);
        let ready = |next: &mut Reading| match last {
            Some(last) if reads == Reads::Onward => {
                next.goes_on_from(last) || next.is_numbered_anew(last)
            }
            _ => next.first.is_some(),
        };
        let next = self.next.take_if(ready)?;
        let anew = reads == Reads::Onward && last.is_some_and(|last| next.is_numbered_anew(last));
        self.go_on(next);
        if anew {
            (self.last, self.before) = (None, None);
        }
        anew.then_some(Came::Anew)
    }

    fn go_on(&mut self, next: Reading) {
        self.now = next;
        self.fresh = true;
        if self.reads == Reads::Afresh {
            self.last = None;
        }
        self.before = self.last;
    }

    /// Whether the session is, or goes, where this is not read yet.
    fn is_to_move(&self) -> bool {
        let known = |number| {
            number == self.now.session || self.next.as_ref().is_some_and(|n| n.session == number)
        };
        !matches!(*self.broadcast.places.borrow(), Place::At(number, _) if known(number))
    }

    /// Asks for it where the session is next.
    fn join(&self) -> Joining {
        Box::pin(join(self.broadcast.clone(), Some(self.now.session), self.name.clone()))
    }
}

/// Subscribes to a track where we are, or where we are next if the session with this number is over. There it is waited for:
/// its publisher may be on its way as well.
async fn join(broadcast: Broadcast, over: Option<u64>, name: String) -> Result<Reading, Denial> {
    let Broadcast { mut places, namespace } = broadcast;
    let patience = if over.is_some() { MOVE_WAIT } else { Duration::ZERO };
    let mut until = Instant::now() + patience;
    loop {
        let place = places.borrow_and_update().clone();
        let (denial, wait) = match place {
            Place::Moving => (Denial::Over, 2 * MOVE_WAIT),
            Place::At(number, _) if over.is_some_and(|over| number <= over) => {
                (Denial::Over, GOAWAY_LATE)
            }
            Place::At(number, handle) => {
                match Reading::begin((number, handle), namespace.clone(), &name).await {
                    Err(denial) if denial.is_absence() && Instant::now() < until => {
                        tokio::time::sleep(ASK_AGAIN).await;
                        continue;
                    }
                    Err(denial @ (Denial::Over | Denial::Misuse)) => (denial, GOAWAY_LATE),
                    made => return made,
                }
            }
        };
        // The session is over, or takes nothing new: there may be another one.
        match tokio::time::timeout(wait, places.changed()).await {
            Ok(Ok(())) => until = Instant::now() + patience,
            _ => return Err(denial),
        }
    }
}
