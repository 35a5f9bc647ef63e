//! Levels that were recorded, and those of what lies back on the air, as tracks: made by the segment for who fetches them, as
//! for who asks over HTTP.

use std::net::Ipv6Addr;
use std::sync::Arc;

use bytes::Bytes;
use encode::{Failed, Kind, Made, Original, Renditions, SOUND_LEVEL_CHANNELS};
use media::catalog::{Catalog, CatalogTrack, InitData};
use package::Index;
use record::{History, Recording};

use crate::level_files::wait;
use crate::levels::{ListedLevel, Offered, Shown, original_bits};
use crate::library::Library;
use crate::originals::{original_of, recorded_original};
use crate::playlist::levels_of;
use crate::shelf::Shelf;
use crate::tracks::describe;

/// The levels of a recording, or of what is on the air.
pub struct PastLevels {
    shown: Shown,
    source: Source,
}

/// What they are made of.
#[derive(Clone)]
pub(crate) enum Source {
    Recording(Arc<History>, Arc<Recording>),
    /// Its newest segments are here before they are committed.
    OnAir(Arc<Shelf>),
}

impl Source {
    pub(crate) fn with_index<R>(&self, f: impl FnOnce(&Index) -> R) -> R {
        match self {
            Self::Recording(_, recording) => f(&recording.index),
            Self::OnAir(shelf) => shelf.with_index(f),
        }
    }

    pub(crate) fn original(&self, track: &str) -> Arc<dyn Original> {
        match self {
            Self::Recording(history, recording) => recorded_original(history, recording, track),
            Self::OnAir(shelf) => original_of(shelf, track),
        }
    }

    fn video(&self) -> &str {
        match self {
            Self::Recording(_, recording) => recording.video.uid.as_str(),
            Self::OnAir(shelf) => &shelf.about().video,
        }
    }
}

/// A level that a catalog lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastLevel {
    /// Its track.
    pub name: String,
    /// The track whose segments it has.
    pub original: String,
    /// Ticks a second of its times, if not those of its original.
    pub timescale: Option<u32>,
}

/// A segment of a level, which may still be being made.
pub struct PastGroup {
    made: Arc<Made>,
    source: Source,
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
    /// What it says of itself, but for the initialisation segment as its original does; sound by its own grid.
    pub properties: Bytes,
    /// `moof` and `mdat`.
    pub pieces: Vec<Bytes>,
}

impl PastLevels {
    /// Of this recording; none if it has no levels, or nobody makes them.
    pub fn of(library: &Library, recording: &Arc<Recording>) -> Option<Self> {
        let shown = levels_of(recording, library.levels());
        let source = Source::Recording(library.history().clone(), recording.clone());
        (!shown.is_empty()).then_some(Self { shown, source })
    }

    /// Of what is on the air, likewise.
    pub fn on_air(library: &Library, shelf: &Arc<Shelf>) -> Option<Self> {
        let shown = shelf.levels(library.levels());
        (!shown.is_empty()).then_some(Self { shown, source: Source::OnAir(shelf.clone()) })
    }

    /// Lists them behind their originals, with what they begin with, in `names` too. Those of sound first: of pictures the
    /// encoder is asked, and what is listed by then stays if it does not answer in time. Whether it has answered of all.
    pub async fn list(&self, catalog: &mut Catalog, names: &mut Vec<PastLevel>) -> bool {
        let mut answered = true;
        let bits = || self.source.with_index(original_bits);
        let all = self.shown.with_bits(self.source.video(), bits);
        let mut originals = catalog.tracks.clone();
        originals.sort_by_key(|track| track.width.is_some());
        for own in originals {
            let id = own.init_ref.as_deref().and_then(|id| u64::from_str_radix(id, 16).ok());
            let (Some(id), Some(init)) = (id, catalog.init_of(&own)) else { continue };
            let Ok(inits) = self.shown.inits(&own.name, &init).await else {
                answered = false;
                continue;
            };
            let at = catalog.tracks.iter().position(|track| track.name == own.name);
            let Some(at) = at else { continue };
            let levels = all.iter().filter(|level| level.offered.original == own.name);
            for (n, (level, data)) in levels.zip(inits).enumerate() {
                let Offered { original, name, .. } = &level.offered;
                let id = format!("{:014x}", self.shown.init(name, id));
                catalog.tracks.insert(at + 1 + n, entry(&own, level, id.clone()));
                catalog.init_data_list.push(InitData::inline(id, &data));
                let timescale = level.offered.grid().map(|grid| grid.rate);
                let (name, original) = (name.clone(), original.clone());
                names.push(PastLevel { name, original, timescale });
            }
        }
        answered
    }

    /// The first and the last segment that there is of one of them; none if it is none of them.
    pub fn extent(&self, name: &str) -> Option<(u64, u64)> {
        let (offered, _) = self.shown.get(name)?;
        self.source.with_index(|index| {
            let segments = &index.rendition(&offered.original)?.segments;
            let last = segments.iter().rev().find(|segment| segment.complete)?;
            Some((segments.front()?.number, last.number))
        })
    }

    /// A segment of one of them.
    pub fn group(&self, name: &str, number: u64) -> Result<PastGroup, Failed> {
        let (offered, renditions): (&Offered, &Arc<Renditions>) =
            self.shown.get(name).ok_or(Failed::NoOriginal)?;
        let level = &offered.level;
        let original = self.source.original(&offered.original);
        let segment = original.segment(number).ok_or(Failed::NoOriginal)?;
        // All who come over MoQ have the share of one address: whose request it is the origin does not say.
        let all = Some(Ipv6Addr::UNSPECIFIED.into());
        let made = renditions.segment_for(&original, number, level, all)?;
        let init = renditions.init_id(segment.init, level);
        let (source, offered) = (self.source.clone(), offered.clone());
        Ok(PastGroup { made, source, offered, number, init, next: 0 })
    }
}

/// A level as a catalog has it, which has its original as `own`.
fn entry(own: &CatalogTrack, level: &ListedLevel, init: String) -> CatalogTrack {
    let Offered { name, level: made, .. } = &level.offered;
    let mut track = CatalogTrack {
        name: name.clone(),
        codec: Some(made.codec_string()),
        bitrate: Some(level.bits.peak),
        avg_bitrate: level.bits.average,
        init_ref: Some(init),
        ..own.clone()
    };
    match made.kind {
        Kind::Pictures { width, height, .. } => {
            (track.width, track.height) = (Some(width), Some(height));
            (track.display_width, track.display_height) = (None, None);
        }
        Kind::Sound(sound) => {
            let rate = Some(sound.grid().rate);
            (track.samplerate, track.timescale) = (rate, rate);
            track.channel_config = Some(SOUND_LEVEL_CHANNELS.to_string());
        }
    }
    track
}

impl PastGroup {
    /// The next part, as soon as it is made; none behind the last. Waited for as long as over HTTP, then all encoders are busy.
    pub async fn next(&mut self) -> Result<Option<PastPart>, Failed> {
        let id = self.next;
        let Some(pieces) = wait(&self.made, id).await? else { return Ok(None) };
        let (offered, number) = (&self.offered, self.number);
        let of_index = |index: &Index| describe(index, offered, number, id, |_| self.init);
        let described = self.source.with_index(of_index);
        let (_, properties) = described.ok_or(Failed::NoOriginal)?;
        self.next += 1;
        Ok(Some(PastPart { id, properties, pieces }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::levels::ORIGINAL;
    use crate::limits::LEVEL_WAIT;
    use crate::tracks::tests::{NAME, levels, one_segment, published, shelf};

    #[tokio::test(start_paused = true)]
    async fn a_part_that_nobody_makes_is_waited_for_as_long_as_over_http() {
        let (_origin, producer) = published();
        let shelf = shelf(&producer, one_segment());
        let shown = shelf.levels(&levels());
        let levels = PastLevels { shown, source: Source::OnAir(shelf) };
        assert_eq!(levels.source.original(ORIGINAL).segment(5).map(|s| s.epoch), Some(1));
        let mut group = levels.group(NAME, 5).unwrap();
        let began = tokio::time::Instant::now();
        let hour = std::time::Duration::from_secs(3_600);
        let part = tokio::time::timeout(hour, group.next()).await;
        assert!(matches!(part, Ok(Err(Failed::Busy))), "{part:?}");
        assert_eq!(began.elapsed(), LEVEL_WAIT);
    }
}
