//! What the catalog of a broadcast says besides what its encoder does: levels, of which each begins with what the encoder
//! program says, and bits a second as they were measured.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use deliver::{Levels, Shelf};
use media::catalog::{Bitrate, Init, TrackDescription};
use package::{Original, Packaging, PackagingError};

/// What is offered beside the originals of one broadcast.
pub(crate) struct Offer {
    levels: Arc<Levels>,
    shelf: Arc<Shelf>,
    /// What was asked about each original last.
    asked: BTreeMap<String, Asked>,
    /// The newest segment when the bits of levels were looked at.
    looked_at: u64,
    /// How much was whole when the originals were measured.
    measured_at: u64,
}

/// An original, the answer that is waited for, and what is listed behind it now.
struct Asked {
    original: TrackDescription,
    /// What the pictures beside it begin with.
    beside: Vec<Init>,
    answer: Option<Answer>,
    listed: Vec<TrackDescription>,
}

type Answer = Pin<Box<dyn Future<Output = Vec<TrackDescription>> + Send>>;

impl Offer {
    pub(crate) fn new(levels: Arc<Levels>, shelf: Arc<Shelf>) -> Self {
        Self { levels, shelf, asked: BTreeMap::new(), looked_at: 0, measured_at: 0 }
    }

    /// Asks about originals that are other ones, and lists what the answers are.
    pub(crate) fn poll(
        &mut self,
        packaging: &mut Packaging,
        cx: &mut Context<'_>,
    ) -> Result<(), PackagingError> {
        for original in packaging.originals() {
            let Original { track, beside } = &original;
            let known = |asked: &Asked| {
                asked.original.init == track.init && asked.beside.iter().eq(beside.iter().copied())
            };
            if self.asked.get(&track.name).is_some_and(known) {
                continue;
            }
            let own = self.shelf.about().ladder.clone();
            let (track, beside): (TrackDescription, Vec<Init>) =
                ((*track).clone(), beside.iter().copied().cloned().collect());
            let answer = self.levels.clone().described(track.clone(), beside.clone(), own);
            let answer: Option<Answer> = Some(Box::pin(answer));
            let name = track.name.clone();
            let asked = Asked { original: track, beside, answer, listed: Vec::new() };
            self.asked.insert(name, asked);
        }
        let measured = self.shelf.measured(&mut self.measured_at);
        packaging.measured(&measured, Instant::now())?;
        // Once a segment: what was made of levels meanwhile says what they take.
        let mut bits = None;
        if packaging.next_number() != self.looked_at {
            self.looked_at = packaging.next_number();
            bits = Some(self.shelf.level_bits(&self.levels));
        }
        for asked in self.asked.values_mut() {
            let mut changed = false;
            if let Some(Poll::Ready(levels)) = asked.answer.as_mut().map(|a| a.as_mut().poll(cx)) {
                asked.answer = None;
                asked.listed = levels;
                changed = !asked.listed.is_empty();
                let bits = bits.get_or_insert_with(|| self.shelf.level_bits(&self.levels));
                asked.look(bits);
            } else if let Some(bits) = &bits {
                changed = asked.look(bits);
            }
            if changed {
                let beside = asked.beside.iter().collect();
                let original = Original { track: &asked.original, beside };
                packaging.offer(&original, asked.listed.clone(), Instant::now())?;
            }
        }
        Ok(())
    }
}

impl Asked {
    /// Takes over what levels take; true if a catalog says something else by now.
    fn look(&mut self, bits: &[(String, u64)]) -> bool {
        let mut changed = false;
        for (name, bits) in bits {
            let Some(track) = self.listed.iter_mut().find(|t| t.name == *name) else { continue };
            if Bitrate::is_off(track.bitrate.declared.unwrap_or(0), *bits) {
                track.bitrate.declared = Some(*bits);
                changed = true;
            }
        }
        changed
    }
}
