//! Levels of the ladder beside the originals, of pictures and of sound: which there are, and what lists say of them.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use encode::limits::FAILED_KEPT;
use encode::{
    Failed, Kind, Ladder, Level, LevelBits, OriginalBits, Renditions, SOUND_LEVEL_CHANNELS,
    SoundCoding, TooLarge,
};
use media::catalog::{Catalog, CatalogTrack, Init, MediaDescription, TrackDescription};
use media::codec::Config;
use package::dash::LevelKind;
use package::hls::Names;
use package::{Grid, Index};
use record::{Recording, is_recorded};
use tokio::sync::Notify;

use crate::limits::{INITS_TRIED, LEVEL_AGAIN};

/// The rendition that pictures and their levels are made of.
pub(crate) const ORIGINAL: &str = "video.cmaf";

/// A level of a broadcast or a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offered {
    /// The rendition that it is made of.
    pub(crate) original: String,
    /// Its packaged track.
    pub(crate) name: String,
    pub(crate) level: Level,
}

impl Offered {
    /// A level of this rendition.
    pub(crate) fn new(original: &str, level: Level) -> Self {
        let source = original.strip_suffix(".cmaf").unwrap_or(original);
        let name = format!("{source}.{}.cmaf", level.name);
        Self { original: original.to_owned(), name, level }
    }

    /// Whether playlists and MPDs list it. Who plays AAC has no use for Opus there: it is for those who come for it.
    pub(crate) fn is_listed(&self) -> bool {
        self.level.as_sound().is_none_or(|sound| sound.coding != SoundCoding::Opus)
    }

    /// Where its frames lie, if not where its original's do.
    pub(crate) fn grid(&self) -> Option<Grid> {
        self.level.as_sound().map(|sound| sound.grid())
    }
}

/// By rendition, the codecs (RFC 6381) of all that it has begun with.
pub(crate) type Codecs = BTreeMap<String, Vec<String>>;

/// What a node offers beside originals.
pub struct Levels {
    ladder: Ladder,
    pictures: bool,
    /// There from when the encoder program has answered; without it, originals are all there is.
    renditions: OnceLock<Arc<Renditions>>,
    /// Tells of that.
    answered: Notify,
}

impl Levels {
    /// This ladder, where an input has none of its own, once somebody makes its levels, and pictures besides.
    pub fn new(ladder: Ladder, pictures: bool) -> Arc<Self> {
        let (renditions, answered) = (OnceLock::new(), Notify::new());
        Arc::new(Self { ladder, pictures, renditions, answered })
    }

    /// From now on levels are made.
    pub fn ready(&self, renditions: Arc<Renditions>) {
        let _ = self.renditions.set(renditions);
        self.answered.notify_waiters();
    }

    /// Who makes them, if anybody does.
    pub fn renditions(&self) -> Option<&Arc<Renditions>> {
        self.renditions.get()
    }

    /// Who makes thumbnails, if anybody does.
    pub fn pictures(&self) -> Option<&Arc<Renditions>> {
        self.renditions.get().filter(|renditions| self.pictures && renditions.draws())
    }

    /// The levels of what a catalog lists, by the ladder of its input, if that has one. An encoder that brings several
    /// pictures brings its own ladder; sound of any has its level.
    /// What was in another codec `before` has levels for those who can't play that one.
    pub(crate) fn of(
        &self,
        catalog: &Catalog,
        own: Option<&Ladder>,
        before: &Codecs,
    ) -> Vec<Offered> {
        if self.renditions.get().is_none() {
            return Vec::new();
        }
        // Levels stand in it, too.
        let originals = || catalog.tracks.iter().filter(|t| is_recorded(&t.name));
        let is_picture = |t: &&CatalogTrack| t.width.is_some();
        let of = |track: &CatalogTrack| {
            let pictures =
                originals().filter(|other| is_picture(other) && other.name != track.name);
            let beside = pictures.map(|other| catalog.init_of(other));
            let beside: Option<Vec<Bytes>> =
                if is_picture(&track) { beside.collect() } else { Some(Vec::new()) };
            let inits = catalog.init_of(track).zip(beside);
            let before = before.get(&track.name).map(Vec::as_slice).unwrap_or_default();
            let levels = inits.map(|(init, beside)| self.of_init(&init, &beside, own, before));
            let offered = |level| Offered::new(&track.name, level);
            levels.unwrap_or_default().into_iter().map(offered).collect::<Vec<_>>()
        };
        originals().filter(|t| !is_picture(t) || t.name == ORIGINAL).flat_map(of).collect()
    }

    /// Of a track that begins with this, with these pictures beside it.
    fn of_init(
        &self,
        init: &Bytes,
        beside: &[Bytes],
        own: Option<&Ladder>,
        before: &[String],
    ) -> Vec<Level> {
        let Some(renditions) = self.renditions.get() else { return Vec::new() };
        let ladder = own.unwrap_or(&self.ladder);
        let levels = match encode::config_of(init) {
            Some(first) if !renditions.decodes(&first) => Vec::new(),
            Some(first) => {
                let beside = beside.iter().map(encode::config_of);
                let all = std::iter::once(Some(first)).chain(beside).collect::<Option<Vec<_>>>();
                let levels = all.map(|pictures| ladder.levels_of_first(&pictures, before));
                levels.filter(|levels| self.too_large(init, levels).is_none()).unwrap_or_default()
            }
            None => {
                let sound = encode::sound_of(init).filter(|sound| renditions.decodes_sound(sound));
                sound.map(|config| ladder.sounds(&config, before)).unwrap_or_default()
            }
        };
        levels.into_iter().filter(|level| renditions.makes(level)).collect()
    }

    /// Why a machine like this makes no levels of what begins with this, if that takes too much memory.
    fn too_large(&self, init: &Bytes, levels: &[Level]) -> Option<TooLarge> {
        let (source, renditions) = (encode::config_of(init)?, self.renditions.get()?);
        renditions.fits(&source, levels).err()
    }

    /// The levels of an original as a catalog lists them, with their initialisation segments: the encoder is asked for
    /// those. Waits until there is one. `beside` is what the other pictures of its encoder begin with.
    pub async fn described(
        self: Arc<Self>,
        original: TrackDescription,
        beside: Vec<Init>,
        own: Option<Ladder>,
    ) -> Vec<TrackDescription> {
        let is_picture = matches!(original.media, MediaDescription::Video { .. });
        if is_picture && original.name != ORIGINAL {
            return Vec::new();
        }
        let renditions = self.made_by().await;
        let beside: Vec<Bytes> = beside.into_iter().map(|init| init.data).collect();
        let levels = self.of_init(&original.init.data, &beside, own.as_ref(), &[]);
        if levels.is_empty()
            && let Some(too_large) = self.too_large(&original.init.data, &[])
        {
            tracing::warn!(%too_large, "no levels of quality and no thumbnails");
        }
        let id = u64::from_str_radix(&original.init.id, 16);
        let (Ok(id), false) = (id, levels.is_empty()) else { return Vec::new() };
        let rate = match original.media {
            MediaDescription::Video { frame_rate, .. } => frame_rate,
            MediaDescription::Audio { .. } => None,
        };
        let mut inits = renditions.inits(&original.init.data, &levels).await;
        let mut tried = 1;
        while let Err(failed) = inits {
            // Encoders that are busy, or gone, are waited for. Who asks sooner for what can't be made hears the same.
            let again = if failed.is_passing() { LEVEL_AGAIN } else { FAILED_KEPT };
            tried += u32::from(!failed.is_passing());
            if tried > INITS_TRIED {
                break;
            }
            tokio::time::sleep(again).await;
            inits = renditions.inits(&original.init.data, &levels).await;
        }
        let described = levels.iter().zip(inits.unwrap_or_default()).filter_map(|(level, data)| {
            let config = match level.kind {
                Kind::Pictures { .. } => Config::Video(encode::config_of(&data)?),
                Kind::Sound(sound) => Config::Audio(sound.config()),
            };
            let id = format!("{:014x}", renditions.init_id(id, level));
            let offered = Offered::new(&original.name, level.clone());
            let init = Init { id, data };
            // Nothing is known of the original yet: the most.
            let nothing = OriginalBits { live: true, ..OriginalBits::default() };
            let declared = Some(bits_of(&renditions, "", &offered, nothing).peak);
            let mut track = TrackDescription::new(offered.name, &config, rate, init);
            track.bitrate.declared = declared;
            track.language.clone_from(&original.language);
            track.alternatives = original.alternatives;
            Some(track)
        });
        described.collect()
    }

    async fn made_by(&self) -> Arc<Renditions> {
        loop {
            let mut answered = std::pin::pin!(self.answered.notified());
            answered.as_mut().enable();
            if let Some(renditions) = self.renditions.get() {
                return renditions.clone();
            }
            answered.await;
        }
    }
}

/// A level as lists have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedLevel {
    pub(crate) offered: Offered,
    pub(crate) bits: LevelBits,
}

impl ListedLevel {
    /// As an MPD has it.
    pub(crate) fn in_mpd(&self) -> package::dash::Level {
        let Offered { original, name, level } = self.offered.clone();
        package::dash::Level {
            name,
            original,
            codec: level.codec_string(),
            bandwidth: self.bits.peak,
            kind: match level.kind {
                Kind::Pictures { width, height, .. } => LevelKind::Pictures { width, height },
                Kind::Sound(sound) => {
                    LevelKind::Sound { grid: sound.grid(), channels: SOUND_LEVEL_CHANNELS }
                }
            },
        }
    }
}

/// What a level takes.
fn bits_of(
    renditions: &Renditions,
    video: &str,
    offered: &Offered,
    original: OriginalBits,
) -> LevelBits {
    renditions.bits(video, &offered.original, &offered.level, original)
}

/// What the original takes, by the segments that are whole.
pub(crate) fn original_bits(index: &Index) -> OriginalBits {
    let Some(rendition) = index.rendition(ORIGINAL) else { return OriginalBits::default() };
    let (peak, average) = rendition.bitrate(index.target_duration()).unwrap_or_default();
    let whole = rendition.segments.iter().filter(|s| s.complete && !s.info.gap);
    OriginalBits {
        peak,
        average,
        ns: whole.map(|s| s.ns(s.duration())).sum(),
        live: !index.ended(),
        segment_s: index.target_duration().unwrap_or(0),
    }
}

/// What the original takes, kept until there is another whole segment: all of a long broadcast is summed up for it.
#[derive(Debug, Default)]
pub(crate) struct KeptBits(Option<(BitsKey, OriginalBits)>);

/// The newest whole segment, the target duration, and whether the broadcast has ended.
type BitsKey = (Option<u64>, Option<u32>, bool);

impl KeptBits {
    pub(crate) fn of(&mut self, index: &Index) -> OriginalBits {
        let segments = index.rendition(ORIGINAL).map(|rendition| &rendition.segments);
        let newest = segments.and_then(|all| all.iter().rev().find(|s| s.complete));
        let key = (newest.map(|s| s.number), index.target_duration(), index.ended());
        match self.0 {
            Some((kept, bits)) if kept == key => bits,
            _ => {
                let bits = original_bits(index);
                self.0 = Some((key, bits));
                bits
            }
        }
    }
}

/// The levels of one video, with those who make them.
#[derive(Clone)]
pub(crate) struct Shown {
    levels: Arc<Vec<Offered>>,
    /// Original and name of those that are listed.
    listed: Arc<[(String, String)]>,
    renditions: Option<Arc<Renditions>>,
}

impl Shown {
    pub(crate) fn new(levels: Arc<Vec<Offered>>, of: &Levels) -> Self {
        let listed = levels.iter().filter(|offered| offered.is_listed());
        let listed = listed.map(|o| (o.original.clone(), o.name.clone())).collect();
        Self { levels, listed, renditions: of.renditions.get().cloned() }
    }

    /// Whether both were read at one time.
    #[cfg(test)]
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.levels, &other.levels)
    }

    /// Whether there are none, or nobody makes them.
    pub(crate) fn is_empty(&self) -> bool {
        self.levels.is_empty() || self.renditions.is_none()
    }

    /// The levels of a recording as lists have them.
    pub(crate) fn listed_of(&self, recording: &Recording) -> Vec<ListedLevel> {
        self.listed(recording.video.uid.as_str(), || original_bits(&recording.index))
    }

    /// The levels of this video as playlists and MPDs have them.
    pub(crate) fn listed(
        &self,
        video: &str,
        original: impl FnOnce() -> OriginalBits,
    ) -> Vec<ListedLevel> {
        let mut all = self.with_bits(video, original);
        all.retain(|level| level.offered.is_listed());
        all
    }

    /// All levels of this video, by what its original takes.
    pub(crate) fn with_bits(
        &self,
        video: &str,
        original: impl FnOnce() -> OriginalBits,
    ) -> Vec<ListedLevel> {
        let Some(renditions) = self.renditions.as_ref().filter(|_| !self.levels.is_empty()) else {
            return Vec::new();
        };
        let original = original();
        let listed = self.levels.iter().map(|offered| ListedLevel {
            offered: offered.clone(),
            bits: bits_of(renditions, video, offered, original),
        });
        listed.collect()
    }

    /// The levels of an original, if anybody makes them.
    pub(crate) fn levels_of(&self, original: &str) -> Vec<Level> {
        let own =
            self.levels.iter().filter(|o| self.renditions.is_some() && o.original == original);
        own.map(|offered| offered.level.clone()).collect()
    }

    /// What each of the levels of an original begins with, if that begins with this.
    pub(crate) async fn inits(&self, original: &str, init: &Bytes) -> Result<Vec<Bytes>, Failed> {
        let renditions = self.renditions.as_ref().ok_or(Failed::Encoder)?;
        renditions.inits(init, &self.levels_of(original)).await
    }

    /// The rendition of the index that this name has its segments of.
    pub(crate) fn original<'a>(&'a self, name: &'a str) -> &'a str {
        self.get(name).map_or(name, |(offered, _)| &offered.original)
    }

    pub(crate) fn get(&self, name: &str) -> Option<(&Offered, &Arc<Renditions>)> {
        let offered = self.levels.iter().find(|offered| offered.name == name)?;
        Some((offered, self.renditions.as_ref()?))
    }

    /// The initialisation segment of a level of an MPD, from that of the original.
    pub(crate) fn init(&self, name: &str, original: u64) -> u64 {
        let level = self.get(name);
        level.map_or(original, |(offered, renditions)| renditions.init_id(original, &offered.level))
    }

    /// The levels of an MPD with what they are made of.
    pub(crate) fn beside_original<'a>(
        &self,
        list: &'a [package::dash::Level],
        init: &'a dyn Fn(&str, u64) -> u64,
    ) -> package::dash::Levels<'a> {
        package::dash::Levels { list, init }
    }

    /// A playlist's text under this name.
    pub(crate) fn render(
        &self,
        index: &Index,
        name: &str,
        base: &str,
        options: package::hls::MediaOptions,
    ) -> Option<String> {
        self.named(name, |names| package::hls::render_media_as(index, names, base, options))
    }

    /// The text of a range of it.
    pub(crate) fn render_range(
        &self,
        index: &Index,
        name: &str,
        base: &str,
        numbers: RangeInclusive<u64>,
        start_ns: u64,
    ) -> Option<String> {
        let render =
            |names: Names<'_>| package::hls::render_range(index, names, base, numbers, start_ns);
        self.named(name, render)
    }

    fn named<R>(&self, name: &str, render: impl FnOnce(Names<'_>) -> R) -> R {
        let levels = &*self.listed;
        match self.get(name) {
            None => render(Names::own(name, levels)),
            Some((offered, renditions)) => {
                let init = |init: u64| renditions.init_id(init, &offered.level);
                let (original, grid) = (offered.original.as_str(), offered.grid());
                render(Names { original, name, grid, levels, init: &init })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use media::codec::{VIDEO_TIMESCALE, VideoCodec, VideoConfig, opus, vpx};
    use media::fmp4::init_segment;

    use super::*;
    use crate::tracks::tests::levels_by;

    /// FFmpeg is built in many ways.
    #[test]
    fn what_ffmpeg_here_cannot_make_is_not_offered() {
        let record = [1, 0, 0, 0, 0, 10, 0x82, 2, 2, 2, 0, 0];
        let codec = VideoCodec::Vpx(vpx::CodecConfiguration::parse(true, &record).unwrap());
        let (sample_aspect, frame_rate, colour) = (None, None, None);
        let (width, height) = (1_280, 720);
        let video = VideoConfig { codec, width, height, sample_aspect, frame_rate, colour };
        let video = init_segment(&Config::Video(video), VIDEO_TIMESCALE);
        let opus = opus::Head::parse(b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0").unwrap();
        let sound = init_segment(&Config::Audio(opus.config()), 48_000);
        let ladder = Ladder::parse(&["360p".to_owned()]);
        for (decoders, encoders, pictures, sounds) in [
            ("h264,vp9,opus", "libx264,aac", "h264 360p", "aac"),
            ("h264,opus", "libx264,aac", "", "aac"),
            ("vp9", "libx264,aac", "h264 360p", ""),
            ("vp9,opus", "aac", "", "aac"),
            ("vp9,opus", "libx264,libopus", "h264 360p", ""),
        ] {
            let levels = levels_by(&format!("decoders {decoders} encoders {encoders}"));
            for (init, expect) in [(&video, pictures), (&sound, sounds)] {
                let found = levels.of_init(init, &[], Some(&ladder), &[]);
                let names: Vec<&str> = found.iter().map(|level| level.name.as_str()).collect();
                assert_eq!(names.join(" "), expect, "{decoders} {encoders}");
            }
        }
    }
}
