//! The chat of one broadcast: its newest messages, and the track that they are published on.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use control::{ChatChange, ChatMessage, EngineError, VideoUid};
use serde_json::json;
use spine::broadcast::Consumer;
use spine::{Close, Header, PublishError, TrackInfo, TrackName, group, track};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::guest::Guest;
use crate::limits::{GROUP_MESSAGES, SHOWN, WAITING_MAX};
use crate::message::Said;

/// The name of the track with everybody's messages.
pub const TRACK: TrackName = TrackName::from_static("chat");

/// The chat of one broadcast, while it is on the air.
pub struct Room {
    /// Which broadcast.
    pub(crate) video: VideoUid,
    /// Whether what is said is kept.
    pub(crate) recorded: bool,
    pub(crate) guests: mpsc::UnboundedSender<Guest>,
    /// There is something for the database.
    pub(crate) changed: Notify,
    state: Mutex<State>,
}

/// What waits for the database, and who waits for that.
pub(crate) struct Waiting {
    pub(crate) change: ChatChange,
    pub(crate) done: Option<oneshot::Sender<Result<bool, EngineError>>>,
}

/// Why something was not said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotSaid {
    /// The chat is not open.
    Closed,
    /// The database is behind.
    Busy,
}

struct State {
    open: bool,
    /// Its owner said so since it began.
    switched: bool,
    /// Nothing more is said.
    over: bool,
    /// Nor does anything wait for the database any more.
    kept: bool,
    shown: VecDeque<ChatMessage>,
    /// Of the newest message there ever was.
    last_id: u64,
    last_at_ms: u64,
    /// Rises with each change of what is shown.
    revision: u64,
    track: track::Producer,
    writing: Option<Writing>,
    waiting: Vec<Waiting>,
}

/// A group that is being written.
struct Writing {
    group: group::Producer,
    subgroup: group::SubgroupProducer,
    objects: u64,
    /// The messages in it: more than are shown, until the next one begins.
    holds: BTreeSet<u64>,
}

/// What is known of a chat that goes on after a restart.
#[derive(Debug, Default)]
pub(crate) struct Before {
    pub(crate) end: (u64, u64),
    pub(crate) newest: Vec<ChatMessage>,
}

impl Room {
    /// A chat that is closed. `now_ms` numbers its first group, so that one that goes on after a restart uses no number again.
    pub(crate) fn begin(
        video: VideoUid,
        recorded: bool,
        broadcast: &Consumer,
        before: Before,
        guests: mpsc::UnboundedSender<Guest>,
        now_ms: u64,
    ) -> Result<Self, PublishError> {
        let track = broadcast.derive(TRACK, TrackInfo::default())?;
        let mut state = State {
            open: false,
            switched: false,
            over: false,
            kept: false,
            shown: before.newest.into(),
            last_id: before.end.0,
            last_at_ms: before.end.1,
            revision: now_ms,
            track,
            writing: None,
            waiting: Vec::new(),
        };
        state.begin_group(Some(now_ms));
        let (changed, state) = (Notify::new(), state.into());
        Ok(Self { video, recorded, guests, changed, state })
    }

    /// Which broadcast it belongs to.
    pub fn video(&self) -> &VideoUid {
        &self.video
    }

    /// Whether something can be said.
    pub fn is_open(&self) -> bool {
        let state = self.state();
        state.open && !state.over
    }

    /// What a newcomer sees, as JSON, and a tag that changes with it.
    pub fn shown(&self) -> (Vec<u8>, u64) {
        let state = self.state();
        (state.everything(), state.revision)
    }

    /// The newest messages.
    pub fn newest(&self) -> Vec<ChatMessage> {
        self.state().shown.iter().cloned().collect()
    }

    /// Its owner opens it, or closes it: nothing is shown of a closed one.
    pub(crate) fn switch(&self, open: bool) {
        let mut state = self.state();
        state.switched = true;
        state.open(open);
    }

    /// The same as the input had it a moment ago: what its owner said meanwhile counts.
    pub(crate) fn open_unless_switched(&self, open: bool) {
        let mut state = self.state();
        if !state.switched {
            state.open(open);
        }
    }

    /// Everybody sees this from now on; answers its number.
    pub(crate) fn say(&self, said: Said, now_ms: u64) -> Result<u64, NotSaid> {
        let mut state = self.state();
        if !state.open || state.over {
            return Err(NotSaid::Closed);
        }
        if state.waiting.len() >= WAITING_MAX {
            return Err(NotSaid::Busy);
        }
        let Said { name, text } = said;
        // A clock that goes back turns no order round.
        let (id, at_ms) = (state.last_id + 1, now_ms.max(state.last_at_ms));
        (state.last_id, state.last_at_ms) = (id, at_ms);
        let message = ChatMessage { id, at_ms, name, text };
        state.shown.push_back(message.clone());
        if state.shown.len() > SHOWN {
            state.shown.pop_front();
        }
        state.revision += 1;
        state.publish(&message);
        if self.recorded {
            state.waiting.push(Waiting { change: ChatChange::Said(message), done: None });
            self.changed.notify_one();
        }
        Ok(id)
    }

    /// Takes a message away, or all. Answers what the database will say of it; nothing if that is not asked here any more.
    pub(crate) fn delete(
        &self,
        id: Option<u64>,
    ) -> Option<oneshot::Receiver<Result<bool, EngineError>>> {
        let mut state = self.state();
        if state.kept {
            return None;
        }
        let before = state.shown.len();
        state.shown.retain(|message| id.is_some_and(|id| id != message.id));
        let found = state.shown.len() != before || id.is_some_and(|id| state.is_handed_out(id));
        if found {
            state.anew();
        }
        let (done, answer) = oneshot::channel();
        if !self.recorded {
            let _ = done.send(Ok(found));
            return Some(answer);
        }
        let change = id.map_or(ChatChange::Cleared, ChatChange::Deleted);
        state.waiting.push(Waiting { change, done: Some(done) });
        self.changed.notify_one();
        Some(answer)
    }

    /// What the database is to be told, in its order; nothing, if there will be nothing more.
    pub(crate) fn take_waiting(&self) -> Option<Vec<Waiting>> {
        let mut state = self.state();
        let waiting = std::mem::take(&mut state.waiting);
        // Looked at and said under one lock: who deletes something from now on asks the database himself.
        state.kept = state.over && waiting.is_empty();
        (!state.kept).then_some(waiting)
    }

    /// The broadcast is over: nothing more is said.
    pub(crate) fn end(&self) {
        let mut state = self.state();
        state.over = true;
        state.end_group();
        state.track.end(Close::Ended);
        self.changed.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn open(&mut self, open: bool) {
        if self.open != open {
            self.open = open;
            self.anew();
        }
    }

    fn everything(&self) -> Vec<u8> {
        let messages: Vec<&ChatMessage> =
            if self.open { self.shown.iter().collect() } else { Vec::new() };
        json!({ "open": self.open && !self.over, "messages": messages }).to_string().into_bytes()
    }

    /// Whether who comes now gets this message.
    fn is_handed_out(&self, id: u64) -> bool {
        self.writing.as_ref().is_some_and(|writing| writing.holds.contains(&id))
    }

    /// What was shown is not so any more.
    fn anew(&mut self) {
        self.revision += 1;
        self.begin_group(None);
    }

    fn publish(&mut self, message: &ChatMessage) {
        let full = self.writing.as_ref().is_none_or(|w| w.objects > GROUP_MESSAGES);
        let written = !full && serde_json::to_vec(message).is_ok_and(|json| self.write(json));
        match &mut self.writing {
            Some(writing) if written => drop(writing.holds.insert(message.id)),
            _ => self.begin_group(None),
        }
    }

    /// A group that says everything; those before it are forgotten.
    fn begin_group(&mut self, number: Option<u64>) {
        self.end_group();
        let now = Instant::now();
        let group = match number {
            Some(number) => self.track.group(number, now),
            None => self.track.next_group(now),
        };
        // Refused, the broadcast is over: nobody reads it any more.
        let Ok(group) = group else { return };
        let Ok(subgroup) = group.subgroup(0, now) else { return };
        let id = group.id();
        let shown = self.shown.iter().filter(|_| self.open);
        let holds = shown.map(|message| message.id).collect();
        self.writing = Some(Writing { group, subgroup, objects: 0, holds });
        self.write(self.everything());
        self.track.forget_before(id);
    }

    fn write(&mut self, json: Vec<u8>) -> bool {
        let payload = self.track.budget().payload(json);
        let Some(writing) = &mut self.writing else { return false };
        let header = Header::new(writing.objects, Instant::now());
        let written = writing.subgroup.write(header, vec![payload]).is_ok();
        writing.objects += u64::from(written);
        written
    }

    fn end_group(&mut self) {
        if let Some(Writing { group, subgroup, objects, .. }) = self.writing.take() {
            subgroup.fin();
            group.end(objects.checked_sub(1), Instant::now());
        }
    }
}
