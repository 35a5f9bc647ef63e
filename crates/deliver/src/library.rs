//! Finding what an id stands for: a live input, or a video.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use control::{Control, EngineError, InputUid, PublicDetails, Resolved, VideoUid};
use package::Index;
use record::{History, HistoryError, Recording};
use tokio::sync::Notify;

use crate::clip::Plans;
use crate::levels::{Levels, ORIGINAL};
use crate::limits::{BEGINNING, ENDED_KEPT, FINISHING};
use crate::shelf::{Counters, Seat, Shelf};

/// All shelves of a node.
pub struct Library {
    history: Arc<History>,
    counters: Arc<Counters>,
    plans: Plans,
    levels: Arc<Levels>,
    state: Mutex<State>,
    /// A broadcast is over, and all of it is recorded that will be.
    closed: Notify,
}

#[derive(Default)]
struct State {
    /// By video uid.
    shelves: BTreeMap<String, Arc<Shelf>>,
    /// What each input had on the air a moment ago, for those who were watching.
    lately: BTreeMap<String, Arc<Shelf>>,
    /// What each input has on the air, by its uid.
    on_air: BTreeMap<String, String>,
}

/// What an id stands for.
pub enum Found {
    /// A video, by its own id or as what its input has on the air.
    Shelf {
        /// The video.
        shelf: Arc<Shelf>,
        /// The id was the input's.
        by_input: bool,
    },
    /// A video of which only the recording is there: it is over, or its encoder is waited for since
    /// the server was started again.
    Recording {
        /// The video.
        recording: Arc<Recording>,
        /// The id was the input's.
        by_input: bool,
    },
    /// An input that is not on the air.
    OffAir {
        /// What its owner calls it.
        name: Option<String>,
        /// Its newest recording.
        recording: Option<VideoUid>,
        /// Whether viewers are offered to make clips of that.
        allow_clips: bool,
    },
    /// Nothing.
    Nothing,
    /// What it is can't be read at the moment.
    Unknown,
}

impl Found {
    /// Whether there may be something to see in it: of an input off the air, in its newest recording.
    pub(crate) async fn may_have_pictures(&self, library: &Library) -> bool {
        let recorded;
        let of = match self {
            Self::OffAir { recording: Some(video), .. } => {
                recorded = Box::pin(library.find(video.as_str())).await;
                &recorded
            }
            found => found,
        };
        match of {
            Self::Shelf { shelf, .. } => shelf.with_index(may_have_pictures),
            Self::Recording { recording, .. } => may_have_pictures(&recording.index),
            Self::OffAir { .. } | Self::Nothing | Self::Unknown => false,
        }
    }
}

/// Whether a broadcast has pictures, or may be about to: what has sound alone has begun without them.
pub(crate) fn may_have_pictures(index: &Index) -> bool {
    index.rendition(ORIGINAL).is_some() || !index.playable()
}

/// The live input or video whose media the namespace `(default, uid)` and those below it are; none of any other, whoever may publish there.
pub fn uid_of(path: &spine::Path) -> Option<&str> {
    let [account, uid, ..] = path.fields() else { return None };
    std::str::from_utf8(uid).ok().filter(|_| account == "default")
}

impl Library {
    /// A library without shelves; inputs and recordings are known to `history`. What is deleted there is gone from here.
    pub fn new(history: Arc<History>, counters: Arc<Counters>, levels: Arc<Levels>) -> Arc<Self> {
        let (plans, state, closed) = (Plans::default(), Mutex::default(), Notify::new());
        let library = Arc::new(Self { history, counters, levels, plans, state, closed });
        let shelves = Arc::downgrade(&library);
        library.history.on_delete(move |video| {
            if let Some(library) = shelves.upgrade() {
                library.forget(video);
            }
        });
        library
    }

    /// Recordings.
    pub fn history(&self) -> &Arc<History> {
        &self.history
    }

    /// What is offered beside originals.
    pub fn levels(&self) -> &Arc<Levels> {
        &self.levels
    }

    /// What delivery counts.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Files that are prepared.
    pub(crate) fn plans(&self) -> &Plans {
        &self.plans
    }

    fn control(&self) -> &Control {
        self.history.control()
    }

    /// What the owner of a video tells of it; or of what this input has on the air.
    pub(crate) async fn public_details(
        &self,
        id: &str,
    ) -> Result<Option<PublicDetails>, EngineError> {
        let uid = match self.find(id).await {
            Found::Shelf { shelf, .. } => VideoUid::parse(&shelf.about().video).ok(),
            Found::Recording { recording, .. } => Some(recording.video.uid.clone()),
            Found::OffAir { .. } | Found::Nothing | Found::Unknown => None,
        };
        let Some(uid) = uid else { return Ok(None) };
        Ok(self.control().video(&uid).await?.map(|video| video.settings.public_details))
    }

    /// A broadcast is on the air.
    pub fn open(&self, shelf: Arc<Shelf>) {
        let mut state = self.state();
        let about = shelf.about();
        state.lately.remove(&about.input);
        state.on_air.insert(about.input.clone(), about.video.clone());
        state.shelves.insert(about.video.clone(), shelf);
    }

    /// A broadcast is over. `recorded`: from now on its recording is what is to be had; else its shelf
    /// stays for a while for its viewers to see the end.
    pub fn close(&self, shelf: &Arc<Shelf>, recorded: bool) {
        let mut state = self.state();
        let about = shelf.about();
        let this = state.shelves.get(&about.video).is_some_and(|there| Arc::ptr_eq(there, shelf));
        if !this {
            return;
        }
        if state.on_air.get(&about.input) == Some(&about.video) {
            state.on_air.remove(&about.input);
            state.lately.insert(about.input.clone(), shelf.clone());
        }
        if recorded {
            state.shelves.remove(&about.video);
        }
        drop(state);
        self.closed.notify_waiters();
    }

    /// Waits while a broadcast is over and the last of it is still being recorded, for a few seconds at most.
    pub async fn finished(&self, video: &str) {
        let finished = async {
            loop {
                let closed = self.closed.notified();
                let finishing = {
                    let state = self.state();
                    let shelf = state.shelves.get(video).filter(|shelf| !shelf.live());
                    shelf.is_some_and(|s| {
                        state.on_air.get(&s.about().input).is_some_and(|on_air| on_air == video)
                    })
                };
                if !finishing {
                    return;
                }
                closed.await;
            }
        };
        // It is as it is.
        let _ = tokio::time::timeout(FINISHING, finished).await;
    }

    /// A video is deleted: who was watching it does not see its end any more, by whatever address.
    fn forget(&self, video: &VideoUid) {
        let video = video.as_str();
        let mut state = self.state();
        state.shelves.remove(video);
        state.lately.retain(|_, shelf| shelf.about().video != video);
        // The last of it may still be finishing; `close` then finds nothing to keep.
        state.on_air.retain(|_, on_air| on_air != video);
        drop(state);
        self.closed.notify_waiters();
    }

    /// Forgets what has been over for long enough. Answers when to look again.
    pub fn forget_ended(&self, now: Instant) -> Option<Instant> {
        let mut state = self.state();
        let gone = |s: &Arc<Shelf>| s.ended_at().is_some_and(|at| at + ENDED_KEPT <= now);
        state.shelves.retain(|_, shelf| !gone(shelf));
        state.lately.retain(|_, shelf| !gone(shelf));
        let kept = state.shelves.values().chain(state.lately.values());
        kept.filter_map(|s| s.ended_at()).map(|at| at + ENDED_KEPT).min()
    }

    /// Looks an id up.
    pub async fn find(&self, id: &str) -> Found {
        if let Some(found) = self.shelf(id) {
            return found;
        }
        let kept = VideoUid::parse(id).ok().and_then(|uid| self.history.kept(&uid));
        if let Some(recording) = kept {
            return Found::Recording { recording, by_input: false };
        }
        self.look_up(id).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "can't look up an id");
            Found::Unknown
        })
    }

    /// Like [`find`](Self::find), but a broadcast that has been claimed this moment, and of which
    /// nothing is to be had yet, is waited for: its shelf opens at once.
    pub(crate) async fn find_begun(&self, id: &str) -> Found {
        let deadline = Instant::now() + BEGINNING;
        loop {
            let found = self.find(id).await;
            let Found::Recording { recording, .. } = &found else { return found };
            let begun = !recording.video.live() || recording.segments() > 0;
            if begun || Instant::now() >= deadline {
                return found;
            }
            tokio::time::sleep(BEGINNING / 50).await;
        }
    }

    async fn look_up(&self, id: &str) -> Result<Found, HistoryError> {
        match self.control().resolve(id).await? {
            Some(Resolved::Input(uid)) => self.off_air(&uid).await,
            Some(Resolved::Video { uid, .. }) => {
                let recording = self.history.recording(&uid).await?;
                // It may have begun or ended in between.
                Ok(match (self.shelf(id), recording) {
                    (Some(found), _) => found,
                    (None, Some(recording)) => Found::Recording { recording, by_input: false },
                    (None, None) => Found::Nothing,
                })
            }
            None => Ok(Found::Nothing),
        }
    }

    /// Whether the chat of a video may be seen: it is its input's owner who opens and closes it.
    pub(crate) async fn chat_allowed(&self, video: &VideoUid) -> Result<bool, EngineError> {
        let Some(video) = self.control().video(video).await? else { return Ok(false) };
        let input = self.control().input(&video.input).await?;
        Ok(input.is_some_and(|input| input.settings.recording.allow_chat))
    }

    async fn off_air(&self, uid: &InputUid) -> Result<Found, HistoryError> {
        let newest = self.control().broadcast_of(uid).await?;
        if let Some(video) = newest.as_ref().filter(|v| v.live())
            && let Some(recording) = self.history.recording(&video.uid).await?
        {
            return Ok(Found::Recording { recording, by_input: true });
        }
        let input = self.control().input(uid).await?;
        let name = input.as_ref().and_then(|i| i.settings.meta.get("name"));
        let name = name.and_then(|n| n.as_str()).map(str::to_owned);
        let recorded = newest.filter(|v| v.segments > 0 && !v.live());
        let allow_clips = recorded.as_ref().is_some_and(|v| v.settings.allow_clips);
        Ok(Found::OffAir { name, recording: recorded.map(|v| v.uid), allow_clips })
    }

    /// The same, of what is on the air or was a moment ago.
    pub(crate) fn shelf(&self, id: &str) -> Option<Found> {
        let state = self.state();
        if let Some(shelf) = state.shelves.get(id) {
            return Some(Found::Shelf { shelf: shelf.clone(), by_input: false });
        }
        let shelf = state.shelves.get(state.on_air.get(id)?)?.clone();
        Some(Found::Shelf { shelf, by_input: true })
    }

    /// The input of a video that is on the air, or whose end is still shown.
    pub(crate) fn input_of(&self, video: &str) -> Option<String> {
        self.state().shelves.get(video).map(|shelf| shelf.about().input.clone())
    }

    /// The video that this input has on the air, by its uid.
    pub fn on_air_video(&self, input: &str) -> Option<String> {
        self.state().on_air.get(input).cloned()
    }

    /// A place among those who watch what this input has on the air; none if that is nothing.
    pub fn seat(&self, input: &str) -> Option<Seat> {
        let state = self.state();
        state.shelves.get(state.on_air.get(input)?).map(|shelf| shelf.seat())
    }

    /// What this input had on the air until a moment ago.
    pub(crate) fn lately(&self, input: &str) -> Option<Arc<Shelf>> {
        self.state().lately.get(input).cloned()
    }

    /// What an input has on the air.
    pub fn of_input(&self, input: &str) -> Option<Arc<Shelf>> {
        let state = self.state();
        state.shelves.get(state.on_air.get(input)?).cloned()
    }

    /// Everything on the air.
    pub fn on_air(&self) -> Vec<Arc<Shelf>> {
        let state = self.state();
        state.on_air.values().filter_map(|video| state.shelves.get(video)).cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
