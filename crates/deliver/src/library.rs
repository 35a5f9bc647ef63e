//! Finding what an id stands for: a live input, or a video.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use control::{Control, Resolved};

use crate::limits::ENDED_KEPT;
use crate::shelf::Shelf;

/// All shelves of a node.
pub struct Library {
    control: Arc<Control>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By video uid.
    shelves: BTreeMap<String, Arc<Shelf>>,
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
    /// An input that is not on the air.
    OffAir {
        /// What its owner calls it.
        name: Option<String>,
    },
    /// Nothing.
    Nothing,
}

impl Library {
    /// A library without shelves; inputs are known to `control`.
    pub fn new(control: Arc<Control>) -> Self {
        Self { control, state: Mutex::default() }
    }

    /// A broadcast is on the air.
    pub fn open(&self, shelf: Arc<Shelf>) {
        let mut state = self.state();
        let about = shelf.about();
        state.on_air.insert(about.input.clone(), about.video.clone());
        state.shelves.insert(about.video.clone(), shelf);
    }

    /// A broadcast is over; its shelf stays for a while for its viewers to see the end.
    pub fn close(&self, shelf: &Shelf) {
        let mut state = self.state();
        let about = shelf.about();
        if state.on_air.get(&about.input) == Some(&about.video) {
            state.on_air.remove(&about.input);
        }
    }

    /// Forgets what has been over for long enough. Answers when to look again.
    pub fn forget_ended(&self, now: Instant) -> Option<Instant> {
        let mut state = self.state();
        let gone = |s: &Arc<Shelf>| s.ended_at().is_some_and(|at| at + ENDED_KEPT <= now);
        state.shelves.retain(|_, shelf| !gone(shelf));
        state.shelves.values().filter_map(|s| s.ended_at()).map(|at| at + ENDED_KEPT).min()
    }

    /// Looks an id up.
    pub async fn find(&self, id: &str) -> Found {
        if let Some(found) = self.shelf(id) {
            return found;
        }
        match self.control.resolve(id).await {
            Ok(Some(Resolved::Input(uid))) => {
                let input = self.control.input(&uid).await.ok().flatten();
                let name = input.as_ref().and_then(|i| i.settings.meta.get("name"));
                Found::OffAir { name: name.and_then(|n| n.as_str()).map(str::to_owned) }
            }
            Ok(Some(Resolved::Video { .. }) | None) => Found::Nothing,
            Err(error) => {
                tracing::warn!(%error, "can't look up an id");
                Found::Nothing
            }
        }
    }

    fn shelf(&self, id: &str) -> Option<Found> {
        let state = self.state();
        if let Some(shelf) = state.shelves.get(id) {
            return Some(Found::Shelf { shelf: shelf.clone(), by_input: false });
        }
        let shelf = state.shelves.get(state.on_air.get(id)?)?.clone();
        Some(Found::Shelf { shelf, by_input: true })
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
