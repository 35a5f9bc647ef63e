//! Finding what an id stands for: a live input, or a video.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::limits::ENDED_KEPT;
use crate::shelf::Shelf;

/// All shelves of a node.
#[derive(Default)]
pub struct Library(Mutex<State>);

#[derive(Default)]
struct State {
    /// By video uid.
    shelves: BTreeMap<String, Arc<Shelf>>,
    /// Known inputs, on the air or not.
    inputs: BTreeMap<String, InputState>,
}

/// What is known of a live input.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InputState {
    /// What its owner calls it.
    pub name: Option<String>,
    /// The video that is on the air.
    pub video: Option<String>,
    /// The newest video, on the air or over.
    pub newest: Option<String>,
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
    OffAir(InputState),
    /// Nothing.
    Nothing,
}

impl Library {
    /// Makes an input known.
    pub fn know(&self, input: &str, name: Option<String>) {
        self.state().inputs.entry(input.to_owned()).or_default().name = name;
    }

    /// An input was deleted. Its shelves stay until they are over.
    pub fn forget(&self, input: &str) {
        self.state().inputs.remove(input);
    }

    /// A broadcast is on the air.
    pub fn open(&self, shelf: Arc<Shelf>) {
        let mut state = self.state();
        let about = shelf.about().clone();
        let input = state.inputs.entry(about.input).or_default();
        input.video = Some(about.video.clone());
        input.newest = Some(about.video.clone());
        state.shelves.insert(about.video, shelf);
    }

    /// A broadcast is over; its shelf stays for a while for its viewers to see the end.
    pub fn close(&self, shelf: &Shelf) {
        let mut state = self.state();
        let about = shelf.about();
        if let Some(input) = state.inputs.get_mut(&about.input)
            && input.video.as_ref() == Some(&about.video)
        {
            input.video = None;
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
    pub fn find(&self, id: &str) -> Found {
        let state = self.state();
        if let Some(shelf) = state.shelves.get(id) {
            return Found::Shelf { shelf: shelf.clone(), by_input: false };
        }
        let Some(input) = state.inputs.get(id) else { return Found::Nothing };
        match input.video.as_ref().and_then(|video| state.shelves.get(video)) {
            Some(shelf) => Found::Shelf { shelf: shelf.clone(), by_input: true },
            None => Found::OffAir(input.clone()),
        }
    }

    /// Everything on the air.
    pub fn on_air(&self) -> Vec<Arc<Shelf>> {
        let state = self.state();
        let live = state.inputs.values().filter_map(|i| state.shelves.get(i.video.as_ref()?));
        live.cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
