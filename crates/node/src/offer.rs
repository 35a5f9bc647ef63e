//! Levels in the catalog of a broadcast: what each of them begins with is the encoder's to say.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use deliver::Levels;
use encode::Ladder;
use media::catalog::TrackDescription;
use package::{Packaging, PackagingError};

/// What is offered beside the original of one broadcast.
pub(crate) struct Offer {
    levels: Arc<Levels>,
    /// The input's own.
    ladder: Option<Ladder>,
    /// The original that the encoder was asked about last, by its initialisation segment.
    asked: Option<String>,
    answer: Option<Answer>,
}

type Answer = Pin<Box<dyn Future<Output = Vec<TrackDescription>> + Send>>;

impl Offer {
    pub(crate) fn new(levels: Arc<Levels>, ladder: Option<Ladder>) -> Self {
        Self { levels, ladder, asked: None, answer: None }
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
            let answer = self.levels.clone().described(original, self.ladder.clone());
            self.answer = Some(Box::pin(answer));
        }
        let Some(answer) = &mut self.answer else { return Ok(()) };
        let Poll::Ready(levels) = answer.as_mut().poll(cx) else { return Ok(()) };
        self.answer = None;
        match &self.asked {
            Some(original) if !levels.is_empty() => {
                packaging.offer(original.clone(), levels, Instant::now())
            }
            _ => Ok(()),
        }
    }
}
