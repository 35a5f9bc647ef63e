//! Levels of pictures that were recorded, as tracks: made by the segment for who fetches them, as for who asks over HTTP.

use std::sync::Arc;

use bytes::Bytes;
use encode::{Failed, Made, Original, Renditions};
use media::catalog::{Catalog, InitData};
use record::Recording;

use crate::levels::{ORIGINAL, Offered, Shown, original_bits, recorded_original};
use crate::library::Library;
use crate::playlist::levels_of;
use crate::tracks::describe;

/// The levels of a recording.
pub struct PastLevels {
    shown: Shown,
    recording: Arc<Recording>,
    original: Arc<dyn Original>,
}

/// A segment of a level, which may still be being made.
pub struct PastGroup {
    made: Arc<Made>,
    recording: Arc<Recording>,
    offered: Offered,
    number: u64,
    init: u64,
    next: u64,
}

/// A part of it.
#[derive(Debug)]
pub struct PastPart {
    /// Which part.
    pub id: u64,
    /// What it says of itself, but for the initialisation segment as its original does.
    pub properties: Bytes,
    /// `moof` and `mdat`.
    pub pieces: Vec<Bytes>,
}

impl PastLevels {
    /// Of this recording; none if it has no levels, or nobody makes them.
    pub fn of(library: &Library, recording: &Arc<Recording>) -> Option<Self> {
        let shown = levels_of(recording, library.levels());
        let original = recorded_original(library.history(), recording, ORIGINAL);
        let recording = recording.clone();
        (!shown.levels_of(ORIGINAL).is_empty()).then_some(Self { shown, recording, original })
    }

    /// Lists them behind the original, with what they begin with: the encoder is asked for that. Answers their names;
    /// none if it does not answer.
    pub async fn list(&self, catalog: &mut Catalog) -> Vec<String> {
        let at = catalog.tracks.iter().position(|track| track.name == ORIGINAL);
        let Some((at, own)) = at.and_then(|at| Some((at, catalog.tracks.get(at)?.clone()))) else {
            return Vec::new();
        };
        let Some(init) = catalog.init_of(&own) else { return Vec::new() };
        let id = own.init_ref.as_deref().and_then(|id| u64::from_str_radix(id, 16).ok());
        let (Some(id), Ok(inits)) = (id, self.shown.inits(ORIGINAL, &init).await) else {
            return Vec::new();
        };
        let video = self.recording.video.uid.as_str();
        let listed = self.shown.with_bits(video, || original_bits(&self.recording.index));
        let listed = listed.into_iter().filter(|level| level.offered.original == ORIGINAL);
        let mut names = Vec::new();
        for (n, (level, data)) in listed.zip(inits).enumerate() {
            let Offered { name, level: made, .. } = &level.offered;
            let id = format!("{:014x}", self.shown.init(name, id));
            let mut track = own.clone();
            track.name.clone_from(name);
            track.codec = Some(made.codec_string());
            (track.width, track.height) = made.size().unzip();
            (track.display_width, track.display_height) = (None, None);
            (track.bitrate, track.avg_bitrate) = (Some(level.bits.peak), level.bits.average);
            track.init_ref = Some(id.clone());
            catalog.tracks.insert(at + 1 + n, track);
            catalog.init_data_list.push(InitData::inline(id, &data));
            names.push(level.offered.name);
        }
        names
    }

    /// Whether this is one of them.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// A segment of one of them.
    pub fn group(&self, name: &str, number: u64) -> Result<PastGroup, Failed> {
        let (offered, renditions) = self.get(name).ok_or(Failed::NoOriginal)?;
        let level = &offered.level;
        let segment = self.original.segment(number).ok_or(Failed::NoOriginal)?;
        let made = renditions.segment(&self.original, number, level)?;
        let init = renditions.init_id(segment.init, level);
        let (recording, offered) = (self.recording.clone(), offered.clone());
        Ok(PastGroup { made, recording, offered, number, init, next: 0 })
    }

    fn get(&self, name: &str) -> Option<(&Offered, &Arc<Renditions>)> {
        self.shown.get(name).filter(|(offered, _)| offered.original == ORIGINAL)
    }
}

impl PastGroup {
    /// The next part, as soon as it is made; none behind the last.
    pub async fn next(&mut self) -> Result<Option<PastPart>, Failed> {
        let id = self.next;
        let at = usize::try_from(id).unwrap_or(usize::MAX);
        let Some(pieces) = self.made.part(at).await? else { return Ok(None) };
        let described =
            describe(&self.recording.index, &self.offered, self.number, id, |_| self.init);
        let (_, properties) = described.ok_or(Failed::NoOriginal)?;
        self.next += 1;
        Ok(Some(PastPart { id, properties, pieces }))
    }
}
