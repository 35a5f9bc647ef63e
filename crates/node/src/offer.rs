//! Levels in the catalog of a broadcast: what each of them begins with is the encoder's to say.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use deliver::{Levels, Shelf};
use media::catalog::TrackDescription;
use package::{Packaging, PackagingError};

/// What is offered beside the original of one broadcast.
pub(crate) struct Offer {
    levels: Arc<Levels>,
    shelf: Arc<Shelf>,
    /// The original that the encoder was asked about last, by its initialisation segment.
    asked: Option<String>,
    answer: Option<Answer>,
    /// What is listed now, and the newest segment when its bits were looked at.
    listed: Vec<TrackDescription>,
    looked_at: u64,
}

type Answer = Pin<Box<dyn Future<Output = Vec<TrackDescription>> + Send>>;

impl Offer {
    pub(crate) fn new(levels: Arc<Levels>, shelf: Arc<Shelf>) -> Self {
        let (asked, answer, listed, looked_at) = (None, None, Vec::new(), 0);
        Self { levels, shelf, asked, answer, listed, looked_at }
    }

    /// Asks about an original that is another one, and lists what the answer is.
    pub(crate) fn poll(
        &mut self,
        packaging: &mut Packaging,
        cx: &mut Context<'_>,
    ) -> Result<(), PackagingError> {
        let asked = self.asked.as_deref();
        let other = packaging.original().filter(|original| asked != Some(&original.init.id));
        if let Some(original) = other.cloned() {
            self.asked = Some(original.init.id.clone());
            let own = self.shelf.about().ladder.clone();
            let answer = self.levels.clone().described(original, own);
            self.answer = Some(Box::pin(answer));
        }
        if let Some(answer) = &mut self.answer {
            let Poll::Ready(levels) = answer.as_mut().poll(cx) else { return Ok(()) };
            self.answer = None;
            self.listed = levels;
            self.look();
            return self.list(packaging);
        }
        // Once a segment: what was made of levels meanwhile says what they take.
        if packaging.next_number() != self.looked_at {
            self.looked_at = packaging.next_number();
            if self.look() {
                return self.list(packaging);
            }
        }
        Ok(())
    }

    /// Takes over what levels take; true if a catalog says something else by now. Each edition is read by everybody, so a
    /// tenth too much stays.
    fn look(&mut self) -> bool {
        let mut changed = false;
        for (name, bits) in self.shelf.level_bits(&self.levels) {
            let Some(track) = self.listed.iter_mut().find(|t| t.name == name) else { continue };
            let said = track.bitrate.declared.unwrap_or(0);
            if said < bits || said > bits + bits / 10 {
                track.bitrate.declared = Some(bits);
                changed = true;
            }
        }
        changed
    }

    fn list(&self, packaging: &mut Packaging) -> Result<(), PackagingError> {
        match &self.asked {
            Some(original) if !self.listed.is_empty() => {
                packaging.offer(original.clone(), self.listed.clone(), Instant::now())
            }
            _ => Ok(()),
        }
    }
}
