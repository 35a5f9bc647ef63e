//! Sessions with a MoQ server, one after the other: who is asked to leave goes where it is told to (draft-18 §3.6), and what
//! is followed goes on there, object by object. The old session is read until the new one has what comes next.

use std::future::{Future, pending};
use std::pin::Pin;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use io_moq::client::{Broken, Client, Denial, Handle, Over, Server, Trust};
use moqt::{Location, Namespace};
use spine::{Header, Origin, Payload, Read, Via};
use tokio::sync::watch;

use super::ASK_AGAIN;
use super::handed::{HandedOut, Verdict};
use super::reading::Reading;
use crate::leaving::{Leaving, Way};
use crate::limits::{GOAWAY_LATE, MOVE_WAIT};

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
    handed: HandedOut,
    /// Nothing of this session was handed out yet, and something was before that came so.
    behind: Option<Behind>,
}

/// What was handed out last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Behind {
    /// The past, which was fetched in the same session.
    Past,
    /// What came in another session, whose numbers may be others.
    Session,
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
    /// Something of a group is missing, and nobody can say how much.
    Hole,
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

impl Following {
    /// Subscribes to it where we are.
    pub(super) async fn begin(
        broadcast: Broadcast,
        name: &str,
        reads: Reads,
    ) -> Result<Self, Denial> {
        let name = name.to_owned();
        let now = join(broadcast.clone(), None, name.clone()).await?;
        let (joining, next, handed, behind) = Default::default();
        Ok(Self { broadcast, name, reads, now, joining, next, handed, behind })
    }

    /// The largest object that there was when it was subscribed to.
    pub(super) fn largest(&self) -> Option<Location> {
        self.now.subscribed.largest
    }

    /// Hands out what is behind this object, which was fetched in this session.
    pub(super) fn go_on_behind(&mut self, last: Location, session: u64) {
        let here = session == self.now.session;
        self.behind = Some(if here { Behind::Past } else { Behind::Session });
        self.handed = HandedOut::up_to(last);
    }

    /// What comes next; nothing once the publisher has ended the track.
    pub(super) async fn next(&mut self) -> Result<Option<Came>, Broken> {
        loop {
            self.switch();
            let idle = self.joining.is_none();
            let joined = async {
                match &mut self.joining {
                    Some(joining) => joining.await,
                    None => pending().await,
                }
            };
            let looked = async {
                match &mut self.next {
                    Some(next) if !next.was_looked_at() => next.look().await,
                    _ => pending().await,
                }
            };
            let read = tokio::select! {
                biased;
                joined = joined => {
                    self.joining = None;
                    // Not there, or not for us: what still comes here is all.
                    self.next = joined.ok().or(self.next.take());
                    continue;
                }
                () = looked => {
                    // Over there is nothing any more.
                    self.next.take_if(|next| next.has_ended());
                    continue;
                }
                Ok(()) = self.broadcast.places.changed(), if idle => {
                    self.joining = self.is_to_move().then(|| self.join());
                    continue;
                }
                read = self.now.next() => read,
            };
            let came = match read {
                Read::Object { group, header, payload } => self.take(group, header, payload),
                Read::Cut => Some(Came::Hole),
                Read::Skipped => Some(Came::LostGroups),
                Read::End(_) => match self.next.take() {
                    Some(next) => {
                        self.go_on(next);
                        None
                    }
                    None => match self.now.subscribed.over().await {
                        Ok(()) => return Ok(None),
                        Err(Broken::Ended(words)) => return Err(Broken::Ended(words)),
                        // Its server is going away.
                        Err(broken) => {
                            let joining = self.joining.take().unwrap_or_else(|| self.join());
                            let next = joining.await.map_err(|_| broken)?;
                            self.go_on(next);
                            None
                        }
                    },
                },
            };
            if came.is_some() {
                return Ok(came);
            }
        }
    }

    /// Takes an object, if it is new. What is to be said before it is said first.
    fn take(&mut self, group: u64, header: Header, payload: Vec<Payload>) -> Option<Came> {
        let at = (group, header.id);
        let Via::Subgroup(subgroup) = header.via else { return None };
        let moved = self.behind == Some(Behind::Session);
        let verdict = match moved && self.handed.is_anew(self.now.newest(), Some(group)) {
            true => Verdict::Anew,
            false => self.handed.look(at, subgroup),
        };
        let first = match verdict {
            Verdict::Late => return None,
            Verdict::Anew => {
                self.handed = HandedOut::default();
                Some(Came::Anew)
            }
            Verdict::New => {
                (self.behind.is_some() && self.handed.misses_before(at)).then_some(Came::Hole)
            }
        };
        self.behind = None;
        if first.is_some() {
            self.now.put_back(Read::Object { group, header, payload });
            return first;
        }
        self.handed.push(at, subgroup);
        let has_payload = header.status == spine::Status::Normal;
        has_payload.then(|| Came::Object(Object::live(group, header, payload)))
    }

    /// Reads on in the next session, once it has what comes next, or has other numbers.
    fn switch(&mut self) {
        let (handed, reads) = (&self.handed, self.reads);
        let ready = |next: &mut Reading| match handed.last() {
            Some(last) if reads == Reads::Onward => {
                let follows = |first: (u64, u64)| first <= (last.0, last.1.saturating_add(1));
                let first = next.first();
                first.is_some_and(follows) || handed.is_anew(next.newest(), first.map(|at| at.0))
            }
            _ => next.was_looked_at(),
        };
        if let Some(next) = self.next.take_if(ready) {
            self.go_on(next);
        }
    }

    /// All go this way into the next session; its first object says whether its numbers are others.
    fn go_on(&mut self, next: Reading) {
        self.now = next;
        self.behind = Some(Behind::Session);
        if self.reads == Reads::Afresh {
            self.handed = HandedOut::default();
        }
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
