//! A track from its past on into what is live, as one: what is far back is fetched first, in as many rounds as it takes to
//! come near; then it is subscribed to, and what lies between is fetched. So no object is missing and none comes twice, and
//! little has to be kept while the past still comes.

use std::time::Duration;

use bytes::Bytes;
use io_moq::client::{Broken, Denial, Fetched, Item, Remote};
use moqt::data::Missing;
use moqt::{GroupOrder, Location, Range};
use package::{INIT, properties};
use tokio::time::timeout;

use super::Begin;
use super::moved::{Broadcast, Came, Following, Object, Place, Reads};
use super::search::Search;
use crate::limits::{GOAWAY_LATE, INIT_WAIT, MOVE_WAIT};

/// Behind everything that there can be: draft 16 counts to 2^62.
const LAST: Location = Location::new((1 << 62) - 1, Range::WHOLE_GROUP);

/// Who has fetched no more groups than this in one round is near enough to what is live.
const NEAR_GROUPS: u64 = 2;

/// Why a track can't be followed.
#[derive(Debug)]
pub(super) enum Stopped {
    /// The server does not give it.
    Denied(Denial),
    /// It does not come as it should.
    Broken(String),
}

impl From<Denial> for Stopped {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}

/// A track that is read, from wherever it was to begin.
pub(super) struct TrackReader {
    broadcast: Broadcast,
    name: String,
    /// Until it is over.
    past: Option<Past>,
    /// Not while what is far back still comes: what comes live would have to be kept.
    live: Option<Following>,
}

/// What is read of the past.
#[derive(Default)]
struct Past {
    /// It goes on here.
    next: Location,
    /// What was handed out last, and in which session.
    last: Option<(Location, u64)>,
    /// The session that was asked last.
    session: u64,
    /// There is so little left that what is live can be subscribed to meanwhile.
    near: bool,
    /// Asked for again, nothing more would come.
    dry: bool,
    /// The track was gone when it was subscribed to, and its end was asked for.
    gone: bool,
    fetching: Option<Fetching>,
}

struct Fetching {
    session: u64,
    from: Location,
    fetched: Fetched,
}

impl TrackReader {
    /// Asks for it where we are. `aligned`: another track whose groups begin when its own do.
    pub(super) async fn begin(
        broadcast: &Broadcast,
        name: &str,
        begin: Begin,
        aligned: Option<&str>,
    ) -> Result<Self, Stopped> {
        let (broadcast, name) = (broadcast.clone(), name.to_owned());
        let next = match begin {
            Begin::Live | Begin::Oldest => {
                let live = Following::begin(broadcast.clone(), &name, Reads::Onward).await?;
                return Ok(Self { broadcast, name, past: None, live: Some(live) });
            }
            Begin::Start => Location::default(),
            Begin::Back(time) => {
                let found = match aligned {
                    Some(other) => before(&broadcast, other, time).await.ok(),
                    None => None,
                };
                match found {
                    Some(found) => found,
                    None => before(&broadcast, &name, time).await?,
                }
            }
        };
        let past = Some(Past { next, ..Past::default() });
        let mut reader = Self { broadcast, name, past, live: None };
        // What is denied is said at once.
        reader.ask().await?;
        Ok(reader)
    }

    /// What comes next; nothing once the track is over.
    pub(super) async fn next(&mut self) -> Result<Option<Came>, Broken> {
        loop {
            let Some(past) = &mut self.past else {
                return match &mut self.live {
                    Some(live) => live.next().await,
                    None => Ok(None),
                };
            };
            let Some(fetching) = &mut past.fetching else {
                self.go_on().await?;
                continue;
            };
            match fetching.fetched.next().await {
                Ok(Some(item)) => {
                    if let Some(came) = past.item(item) {
                        return Ok(Some(came));
                    }
                }
                Ok(None) => {
                    if let Some(came) = self.complete() {
                        return Ok(Some(came));
                    }
                }
                Err(words) => {
                    past.fetching = None;
                    if !self.has_moved().await {
                        return Err(Broken::Ended(words));
                    }
                }
            }
        }
    }

    /// An initialisation segment that no catalog names any more, from the track that has them all.
    pub(super) async fn init(&mut self, id: u64) -> Option<Bytes> {
        let fetch = async {
            let (_, remote) = here(&mut self.broadcast).await.ok()?;
            let at = Location::new(id, 0);
            let (range, order) = (Range { start: at, end: at }, GroupOrder::Ascending);
            let mut fetched =
                remote.fetch(&String::from_utf8_lossy(INIT.as_bytes()), range, order).await.ok()?;
            loop {
                if let Item::Object { payload, .. } = fetched.next().await.ok()?? {
                    return Some(payload);
                }
            }
        };
        timeout(INIT_WAIT, fetch).await.ok()?
    }

    /// A round of the past has come. Says if it ends before it should.
    fn complete(&mut self) -> Option<Came> {
        let past = self.past.as_mut()?;
        let Fetching { from, fetched, .. } = past.fetching.take()?;
        let end = fetched.ok.end;
        let (came, behind) = (past.next, behind(end));
        past.dry = came.max(behind) == from;
        past.next = came.max(behind);
        past.near |= end.group.saturating_sub(from.group) < NEAR_GROUPS;
        let short = came.group < end.group || (came <= end && end.object != Range::WHOLE_GROUP);
        let lost = past.last.filter(|_| short).map(|(last, _)| match last.group == end.group {
            true => Came::Hole,
            false => Came::LostGroups,
        });
        if self.live.is_none() && fetched.ok.end_of_track {
            self.past = None;
        }
        lost
    }

    /// Asks for what is missing next: more of the past, or what is live.
    async fn go_on(&mut self) -> Result<(), Broken> {
        let Some(past) = &mut self.past else { return Ok(()) };
        if past.near && self.live.is_none() {
            let (broadcast, name) = (self.broadcast.clone(), &self.name);
            match Following::begin(broadcast, name, Reads::Onward).await {
                Ok(live) => self.live = Some(live),
                // It has ended meanwhile: what there is of its end is asked for once.
                Err(denial) if denial.is_absence() && past.last.is_some() && !past.gone => {
                    past.gone = true;
                }
                Err(denial) if denial.is_absence() && past.last.is_some() => {
                    let words = "it ended before all of its past was read";
                    return Err(Broken::Ended(words.to_owned()));
                }
                Err(denial) => return Err(Broken::Ended(denial.to_string())),
            }
        }
        match self.ask().await {
            Ok(true) => Ok(()),
            // Nothing is behind it but what comes live.
            Ok(false) => {
                self.join();
                Ok(())
            }
            Err(_) if self.has_moved().await => Ok(()),
            Err(denial) => Err(Broken::Ended(format!("the past is not given: {denial}"))),
        }
    }

    /// Asks for what of the past was not handed out yet. False: there is nothing.
    async fn ask(&mut self) -> Result<bool, Denial> {
        let Some(past) = &mut self.past else { return Ok(false) };
        let end = match &self.live {
            None => LAST,
            Some(live) => match live.largest() {
                Some(largest) if largest >= past.next && !past.dry => largest,
                _ => return Ok(false),
            },
        };
        let (session, remote) = here(&mut self.broadcast).await?;
        past.session = session;
        let (from, order) = (past.next, GroupOrder::Ascending);
        match remote.fetch(&self.name, Range { start: from, end }, order).await {
            Ok(fetched) => {
                past.fetching = Some(Fetching { session, from, fetched });
                Ok(true)
            }
            Err(denial) if denial.is_ahead() => {
                past.near = true;
                Ok(false)
            }
            Err(denial) => Err(denial),
        }
    }

    /// From here on it is live.
    fn join(&mut self) {
        let Some(live) = &mut self.live else { return };
        if let Some((last, session)) = self.past.take().and_then(|past| past.last) {
            live.go_on_behind(last, session);
        }
    }

    /// Whether we are in another session than was asked, or soon will be.
    async fn has_moved(&mut self) -> bool {
        let asked = self.past.as_ref().map_or(0, |past| past.session);
        let other = |place: &Place| !matches!(place, Place::At(session, _) if *session == asked);
        matches!(timeout(GOAWAY_LATE, self.broadcast.places.wait_for(other)).await, Ok(Ok(_)))
    }
}

impl Past {
    fn item(&mut self, item: Item) -> Option<Came> {
        match item {
            Item::Object { at, properties, payload } => {
                self.next = behind(at);
                let session = self.fetching.as_ref().map_or(self.session, |round| round.session);
                self.last = Some((at, session));
                let (group, id) = (at.group, at.object);
                let properties = properties.as_bytes().clone();
                let past = Object { group, id, properties, payload, arrived: None };
                Some(Came::Object(past))
            }
            Item::Gap { missing, end } => {
                self.next = self.next.max(behind(end));
                // Before the first object nothing is missed.
                let (last, _) = self.last.filter(|_| missing != Missing::NonExistent)?;
                Some(if last.group == end.group { Came::Hole } else { Came::LostGroups })
            }
        }
    }
}

/// What follows on a location that a range ends with.
fn behind(end: Location) -> Location {
    match end.object.checked_add(1) {
        Some(object) => Location::new(end.group, object),
        None => Location::new(end.group.saturating_add(1), 0),
    }
}

/// Where the session is, and the broadcast there.
async fn here(broadcast: &mut Broadcast) -> Result<(u64, Remote), Denial> {
    let at = broadcast.places.wait_for(|place| matches!(place, Place::At(..)));
    let place = timeout(2 * MOVE_WAIT, at).await.map_err(|_| Denial::Over)?;
    let Place::At(session, handle) = place.map_err(|_| Denial::Over)?.clone() else {
        return Err(Denial::Over);
    };
    let remote = handle.remote(broadcast.namespace.clone()).map_err(|_| Denial::Misuse)?;
    Ok((session, remote))
}

/// Where the group begins that was under way so long before the newest one began.
async fn before(broadcast: &Broadcast, name: &str, time: Duration) -> Result<Location, Stopped> {
    let (_, remote) = here(&mut broadcast.clone()).await?;
    let all = Range { start: Location::default(), end: LAST };
    let newest = match first(&remote, name, all, GroupOrder::Descending).await {
        Err(Stopped::Denied(denial)) if denial.is_ahead() => None,
        found => found?,
    };
    // Nothing was there yet.
    let Some(newest) = newest else { return Ok(Location::default()) };
    let mut search = Search::new(newest, u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    while let Some((group, behind)) = search.next() {
        let (mut found, start) = (None, Location::new(group, 0));
        // The group alone is most often all that is to be sent.
        for end in [start, Location::new(behind, Range::WHOLE_GROUP)] {
            if found.is_none() {
                let range = Range { start, end };
                found = first(&remote, name, range, GroupOrder::Ascending).await?;
            }
        }
        search.found(group, found);
    }
    Ok(Location::new(search.answer(), 0))
}

/// The first group of a range that there is, and when in the broadcast it began.
async fn first(
    remote: &Remote,
    name: &str,
    range: Range,
    order: GroupOrder,
) -> Result<Option<(u64, u64)>, Stopped> {
    let mut fetched = remote.fetch(name, range, order).await?;
    while let Some(item) = fetched.next().await.map_err(Stopped::Broken)? {
        let Item::Object { at, properties, .. } = item else { continue };
        let said = properties::decode(properties.as_bytes()).ok().and_then(|(_, segment)| segment);
        let Some(segment) = said else {
            let words =
                "what is there does not say when it was; --from start begins with all of it";
            return Err(Stopped::Broken(words.to_owned()));
        };
        // Not by the clock on the wall, which may have been set.
        let ms = u128::from(segment.start) * 1_000 / u128::from(segment.timescale);
        return Ok(Some((at.group, u64::try_from(ms).unwrap_or(u64::MAX))));
    }
    Ok(None)
}
