//! What a peer publishes: it is not offered back to it (draft-18 §6.1, draft-21 §4.1).

use std::collections::BTreeMap;
use std::sync::Arc;

use spine::{Path, TrackName};
use tokio::sync::watch;

/// Tracks of a peer, by how many of its requests bring them; without a name, all of a broadcast.
type Tracks = BTreeMap<(Path, Option<TrackName>), usize>;

/// What the peer of a connection publishes.
#[derive(Clone, Default)]
pub(crate) struct Own(Arc<watch::Sender<Tracks>>);

/// Something is the peer's own until this is dropped.
pub(crate) struct Mark {
    own: Own,
    key: (Path, Option<TrackName>),
}

impl Own {
    /// This track is the peer's; none: the whole broadcast is.
    pub(crate) fn mark(&self, path: &Path, name: Option<&TrackName>) -> Mark {
        let key = (path.clone(), name.cloned());
        self.0.send_modify(|tracks| *tracks.entry(key.clone()).or_default() += 1);
        Mark { own: self.clone(), key }
    }

    pub(crate) fn has(&self, path: &Path, name: &TrackName) -> bool {
        let tracks = self.0.borrow();
        let all = tracks.contains_key(&(path.clone(), None));
        all || tracks.contains_key(&(path.clone(), Some(name.clone())))
    }

    /// Tells when there are others.
    pub(crate) fn changes(&self) -> watch::Receiver<Tracks> {
        self.0.subscribe()
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.own.0.send_modify(|tracks| {
            if let Some(count) = tracks.get_mut(&self.key) {
                *count -= 1;
                if *count == 0 {
                    tracks.remove(&self.key);
                }
            }
        });
    }
}
