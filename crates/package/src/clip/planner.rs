//! From a range to a [`Plan`], step by step: which fronts of parts are wanted next, until there are none.

use bytes::Bytes;
use media::fmp4::moof_bytes;

use super::{Assembly, Outline, PartRef, Plan, Refused};
use crate::limits::CLIP_HEAD_BYTES;

/// A file that is being planned. Reading is the caller's.
pub struct Planner {
    outline: Outline,
    assembly: Assembly,
    at: usize,
    /// The front of the next part is longer than others.
    longer: Option<u64>,
}

impl Planner {
    /// Begins a plan; `inits` are the initialisation segments of the outline's tracks.
    pub fn new(outline: Outline, inits: &[Bytes]) -> Result<Self, Refused> {
        let assembly = Assembly::new(&outline, inits)?;
        Ok(Self { outline, assembly, at: 0, longer: None })
    }

    /// The outline's tracks, which its parts name.
    pub fn outline(&self) -> &Outline {
        &self.outline
    }

    /// Parts of one segment whose fronts are wanted next, so many bytes of each; none when all were read.
    pub fn wanted(&self) -> Option<(&[PartRef], u64)> {
        let rest = self.outline.parts.get(self.at..)?;
        let group = rest.chunk_by(|a, b| a.segment == b.segment).next()?;
        match self.longer {
            Some(bytes) => Some((group.get(..1)?, bytes)),
            None => Some((group, CLIP_HEAD_BYTES)),
        }
    }

    /// Takes what was wanted, in that order.
    pub fn take(&mut self, heads: &[Bytes]) -> Result<(), Refused> {
        let again = self.longer.take().is_some();
        for head in heads {
            let part = self.outline.parts.get(self.at).ok_or(Refused::Damaged)?;
            // Real ones fit; a longer one is read once more, as long as it says it is.
            let needed = moof_bytes(head).unwrap_or(0).min(part.bytes);
            if needed > head.len() as u64 && !again {
                self.longer = Some(needed);
                return Ok(());
            }
            self.assembly.push(part, head)?;
            self.at += 1;
        }
        Ok(())
    }

    /// The plan, and whether all that was asked for is in it.
    pub fn finish(self) -> Result<(Plan, bool), Refused> {
        Ok((self.assembly.finish()?, self.outline.whole))
    }
}
