//! The ladder: which levels an original has. Nothing is encoded to know it.

use media::codec::{AudioCodec, AudioConfig, VIDEO_TIMESCALE, VideoCodec, VideoConfig};
use media::rung::{Rung, usual_kbps};

use crate::hardware::Coder;
use crate::limits::{
    FRAME_RATE_MAX, LADDER_MAX, PIXELS_MAX, SIDE_MAX, SIDE_MIN, SOUND_CHANNELS_MAX, SOUND_RATES,
};
use crate::sound::{SOUND_LEVEL_CHANNELS, Sound};
use crate::wire::{Codec, H264, SoundCoding};

/// Rises when the same level is encoded in another way: what was made before is then another thing.
pub(crate) const VERSION: u32 = 6;

/// Levels below the original, the largest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ladder {
    rungs: Vec<Rung>,
}

/// One level of an original.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Level {
    /// Its name: `360p`, or `h264` for the original's own size; of sound `aac` or `opus`.
    pub name: String,
    /// Bits a second at most, in kbit.
    pub max_kbps: u32,
    /// Of its original's bits, in thousandths: what lists go by before any of it was made.
    pub share_permille: u32,
    /// What it is.
    pub kind: Kind,
}

/// What a level is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// H.264.
    Pictures {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
        /// `level_idc` of H.264.
        level_idc: u8,
    },
    /// Sound.
    Sound(Sound),
}

impl Ladder {
    /// From rungs in any order; each height once.
    pub fn new(mut rungs: Vec<Rung>) -> Self {
        rungs.sort_by_key(|r| std::cmp::Reverse(r.height));
        rungs.dedup_by_key(|r| r.height);
        rungs.truncate(LADDER_MAX);
        Self { rungs }
    }

    /// The original and nothing else.
    pub fn copy_only() -> Self {
        Self::default()
    }

    /// Levels as somebody wrote them, by [`Rung`]; what is none is passed over, as it was refused when it was written.
    pub fn parse(rungs: &[String]) -> Self {
        Self::new(rungs.iter().filter_map(|rung| rung.parse().ok()).collect())
    }

    /// Whether there is nothing beside the original.
    pub fn is_copy_only(&self) -> bool {
        self.rungs.is_empty()
    }

    /// The levels of an original, the largest first. Never larger than it. What only new devices can play (HEVC, AV1,
    /// VP9, H.264 beyond 8 bits and 4:2:0) gets a level of its own size that all can.
    pub fn levels(&self, original: &VideoConfig) -> Vec<Level> {
        self.levels_beside(original, !plays_everywhere(original))
    }

    /// The same; `own_size`: also one of its own size.
    fn levels_beside(&self, original: &VideoConfig, own_size: bool) -> Vec<Level> {
        let (width, height) = (original.display_width(), original.height);
        let short = width.min(height);
        let pixels = u64::from(original.width) * u64::from(original.height);
        let side = original.width.max(original.height).max(width);
        if self.is_copy_only() || short < SIDE_MIN || side > SIDE_MAX || pixels > PIXELS_MAX {
            return Vec::new();
        }
        let mut levels: Vec<Level> = Vec::new();
        if own_size {
            let own = self.rungs.iter().find(|r| r.height == short);
            let kbps = own.map_or_else(|| usual_kbps(short), |r| r.max_kbps);
            levels.push(level(OWN_SIZE.to_owned(), (width & !1, height & !1), kbps, original));
        }
        for rung in self.rungs.iter().filter(|r| r.height < short) {
            let size = scaled((width, height), rung.height);
            // Of an odd side, the rung below it may be of the same size as what is above.
            let is_new = levels.iter().all(|level| level.size() != Some(size));
            if size.0.max(size.1) <= SIDE_MAX && is_new {
                levels.push(level(format!("{}p", rung.height), size, rung.max_kbps, original));
            }
        }
        levels
    }

    /// The levels of the first of these pictures, which an encoder sends of one and the same. Several are its own ladder:
    /// then there is only the one that everything plays, where none of them is such. So is where the first was in one of these
    /// codecs `before` that not everything plays: levels are those of all of it.
    pub fn levels_of_first(&self, pictures: &[VideoConfig], before: &[String]) -> Vec<Level> {
        let Some(first) = pictures.first() else { return Vec::new() };
        let needed = !pictures.iter().any(plays_everywhere);
        let now = plays_everywhere(first);
        let was_needed = now && before.iter().any(|codec| !codec_plays_everywhere(codec));
        let mut levels = self.levels_beside(first, !now || was_needed);
        if pictures.len() > 1 {
            levels.retain(|level| (needed || was_needed) && level.name == OWN_SIZE);
        }
        levels
    }

    /// The level of sound: AAC of what not everything plays, so that everything plays; Opus of AAC, for those who speak no
    /// other, as WebRTC does.
    pub fn sound(&self, original: &AudioConfig) -> Option<Level> {
        let coding = match &original.codec {
            AudioCodec::Aac(_) => SoundCoding::Opus,
            _ => SoundCoding::Aac,
        };
        self.sound_in(original, coding)
    }

    /// The same; and AAC, which is in stereo, where it was `before` in one of these codecs that not everything plays, or has
    /// more channels than everything does.
    pub fn sounds(&self, original: &AudioConfig, before: &[String]) -> Vec<Level> {
        let was_needed = before.iter().any(|codec| !codec_plays_everywhere(codec));
        let needed = was_needed || original.channels > SOUND_LEVEL_CHANNELS;
        let aac = needed.then(|| self.sound_in(original, SoundCoding::Aac)).flatten();
        let own = self.sound(original).filter(|own| aac.as_ref() != Some(own));
        own.into_iter().chain(aac).collect()
    }

    fn sound_in(&self, original: &AudioConfig, coding: SoundCoding) -> Option<Level> {
        let rate = original.output_sample_rate;
        let odd = !SOUND_RATES.contains(&rate) || !SOUND_RATES.contains(&original.sample_rate);
        let channels = original.channels;
        if self.is_copy_only() || odd || !(1..=SOUND_CHANNELS_MAX).contains(&channels) {
            return None;
        }
        let name = match coding {
            SoundCoding::Opus => "opus",
            SoundCoding::Aac => "aac",
        };
        let kind = Kind::Sound(Sound { coding });
        // It takes what it takes, whatever its original does.
        let share_permille = 1_000;
        Some(Level { name: name.to_owned(), max_kbps: SOUND_KBPS, share_permille, kind })
    }
}

/// The level of the original's own size.
const OWN_SIZE: &str = "h264";

/// What both codecs need so that nobody hears them.
const SOUND_KBPS: u32 = 128;

fn level(
    name: String,
    (width, height): (u32, u32),
    max_kbps: u32,
    original: &VideoConfig,
) -> Level {
    let level_idc = level_idc((width, height), max_kbps, rate_of(original));
    let share_permille = share_permille(original, u64::from(width) * u64::from(height));
    let kind = Kind::Pictures { width, height, level_idc };
    Level { name, max_kbps, share_permille, kind }
}

/// The size of a level whose shorter side is this.
fn scaled((width, height): (u32, u32), rung: u32) -> (u32, u32) {
    let short = u64::from(width.min(height).max(1));
    let scaled = |side: u32| {
        let whole = u64::from(side) * u64::from(rung);
        // The nearest even number.
        u32::try_from((whole + short) / (short * 2) * 2).unwrap_or(SIDE_MAX).max(SIDE_MIN)
    };
    let even = rung & !1;
    if width < height { (even, scaled(height)) } else { (scaled(width), even) }
}

/// What a level of so many pixels took of its original's bits at most, in thousandths, where the cap did not hold it back:
/// decision 76 has the clips. Drawings scaled down have blurred edges, and what an encoder without bits left of text is noise.
fn share_permille(original: &VideoConfig, pixels: u64) -> u32 {
    let of = u64::from(original.width) * u64::from(original.height);
    let ratio = pixels as f64 / of.max(1) as f64;
    // Newer codecs take fewer bits for the same.
    let denser = match &original.codec {
        VideoCodec::H264(_) => 1.0,
        VideoCodec::Vpx(config) if !config.vp9 => 1.0,
        VideoCodec::Hevc(_) | VideoCodec::Vpx(_) => 1.6,
        _ => 2.0,
    };
    (ratio.powf(0.25) * denser * 2_500.0).ceil() as u32
}

fn plays_everywhere(original: &VideoConfig) -> bool {
    match &original.codec {
        // Baseline, Main, High: 8 bits, 4:2:0.
        VideoCodec::H264(record) => {
            matches!(record.sps().first().and_then(|s| s.get(1)), Some(66 | 77 | 100))
        }
        _ => false,
    }
}

/// The same by RFC 6381, of sound too: AAC.
fn codec_plays_everywhere(codec: &str) -> bool {
    let (codec, profile) = codec.split_once('.').unwrap_or((codec, ""));
    match codec {
        "avc1" => ["42", "4d", "64"].iter().any(|profiles| {
            profile.get(..2).is_some_and(|profile| profile.eq_ignore_ascii_case(profiles))
        }),
        "mp4a" => profile.starts_with("40"),
        _ => false,
    }
}

/// Frames a second that a level is said to be for: 60, or what the stream states if that is more. Not what was measured, so that
/// it is known before the first frame; what is stated beyond 240 is nobody's rate.
fn rate_of(original: &VideoConfig) -> u64 {
    let stated = original.frame_rate.map_or(0, |r| r.num().div_ceil(r.den().max(1)));
    if (61..=FRAME_RATE_MAX).contains(&stated) { stated.into() } else { 60 }
}

/// ISO 14496-10 Table A-1: the lowest level for this size, cap and rate (High profile: 1.25 times the bits of Main).
fn level_idc((width, height): (u32, u32), max_kbps: u32, rate: u64) -> u8 {
    let blocks = u64::from(width.div_ceil(16)) * u64::from(height.div_ceil(16));
    let table: [(u8, u64, u64, u32); 11] = [
        (13, 11_880, 396, 960),
        (21, 19_800, 792, 5_000),
        (30, 40_500, 1_620, 12_500),
        (31, 108_000, 3_600, 17_500),
        (32, 216_000, 5_120, 25_000),
        (40, 245_760, 8_192, 25_000),
        (42, 522_240, 8_704, 62_500),
        (50, 589_824, 22_080, 168_750),
        (51, 983_040, 36_864, 300_000),
        (52, 2_073_600, 36_864, 300_000),
        (62, 16_711_680, 139_264, 1_000_000),
    ];
    let fits = table.iter().find(|(_, rate_max, size, kbps)| {
        blocks * rate <= *rate_max && blocks <= *size && max_kbps <= *kbps
    });
    fits.map_or(62, |(level, ..)| *level)
}

impl Level {
    /// RFC 6381: of pictures High profile, as every level is encoded.
    pub fn codec_string(&self) -> String {
        match self.kind {
            Kind::Pictures { level_idc, .. } => format!("avc1.6400{level_idc:02x}"),
            Kind::Sound(sound) => sound.config().codec_string(),
        }
    }

    /// Pixels across and down; none of sound.
    pub fn size(&self) -> Option<(u32, u32)> {
        match self.kind {
            Kind::Pictures { width, height, .. } => Some((width, height)),
            Kind::Sound(_) => None,
        }
    }

    /// The same rung of an original in this shape: a phone that was turned, an encoder that came back with other pictures. Lists
    /// have one level for all of a video, by what it is now. Never larger than the original.
    pub(crate) fn of_shape(&self, original: &VideoConfig) -> Self {
        let Kind::Pictures { .. } = self.kind else { return self.clone() };
        let (width, height) = (original.display_width(), original.height);
        let rung = self.name.strip_suffix('p').and_then(|side| side.parse::<u32>().ok());
        let size = match rung.filter(|rung| *rung < width.min(height)) {
            Some(rung) => scaled((width, height), rung),
            None => ((width & !1).max(SIDE_MIN), (height & !1).max(SIDE_MIN)),
        };
        let (width, height) = (size.0.min(SIDE_MAX), size.1.min(SIDE_MAX));
        let level_idc = level_idc((width, height), self.max_kbps, rate_of(original));
        Self { kind: Kind::Pictures { width, height, level_idc }, ..self.clone() }
    }

    /// What it is of any original: its size is the original's to say.
    pub(crate) fn rung(&self) -> (&str, u32) {
        (&self.name, self.max_kbps)
    }

    /// If it is one of sound.
    pub fn as_sound(&self) -> Option<Sound> {
        match self.kind {
            Kind::Pictures { .. } => None,
            Kind::Sound(sound) => Some(sound),
        }
    }

    /// As the encoder of pictures is told; none of sound. `pace` is how fast frames really come, where it is known.
    pub(crate) fn output(
        &self,
        original: &VideoConfig,
        coder: Coder<'_>,
        pace: Option<Pace>,
    ) -> Option<H264> {
        let Kind::Pictures { width, height, level_idc } = self.kind else { return None };
        let frame_rate = original.frame_rate.map_or(UNSTATED_RATE, |r| (r.num(), r.den()));
        // Parameter sets of others may say the cap, and those are known before the first frame.
        let pace = pace.filter(|_| !coder.is_hardware());
        let max_kbps = pace.map_or(self.max_kbps, |pace| pace.cap(self.max_kbps, frame_rate));
        Some(H264 {
            width,
            height,
            frame_rate,
            crf_tenths: 230,
            max_kbps,
            // A second: a player that has buffered a part is never surprised by more. Of what comes faster than is told less: it
            // would be used up.
            buffer_kbit: max_kbps.min(self.max_kbps),
            level: level_idc,
            colour: original
                .colour
                .map(|c| [c.primaries, c.transfer, c.matrix, u8::from(c.full_range)]),
            encoder: coder.encoder.to_owned(),
            parameter_set: coder.parameter_set,
        })
    }
}

/// What the encoder is told of a stream that does not state its rate: VP8 and VP9 never do, others may leave it out. It
/// stands in parameter sets, so it must be the same before the first frame was seen.
const UNSTATED_RATE: (u32, u32) = (30, 1);

/// How long a frame lasts, in units of [`VIDEO_TIMESCALE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace(u32);

impl Pace {
    /// That of the frames of a segment's first part, by their durations: the middle one, which neither a missing frame nor a clock
    /// of milliseconds moves.
    pub(crate) fn of(durations: impl IntoIterator<Item = u32>) -> Option<Self> {
        let mut durations: Vec<u32> = durations.into_iter().filter(|d| *d > 0).collect();
        durations.sort_unstable();
        durations.get(durations.len() / 2).copied().map(Self)
    }

    /// The cap as the encoder must be told it. It shares it out by the frame, as if they came at the `stated` rate, so that no
    /// frame waits for the next one's time. Twice as much at most: frames may come faster further on.
    fn cap(self, kbps: u32, stated: (u32, u32)) -> u32 {
        let (rate, per) = (u64::from(stated.0.max(1)), u64::from(stated.1.max(1)));
        let frame = u64::from(VIDEO_TIMESCALE) * per;
        let comes = u64::from(self.0) * rate;
        // Clocks of milliseconds are off by less.
        if comes.abs_diff(frame).saturating_mul(20) <= frame {
            return kbps;
        }
        let told = u64::from(kbps).saturating_mul(comes.min(frame * 2)) / frame.max(1);
        u32::try_from(told).unwrap_or(kbps).max(1)
    }
}

/// The wire's name for a codec.
pub(crate) fn codec_of(original: &VideoConfig) -> Option<Codec> {
    Some(match &original.codec {
        VideoCodec::H264(_) => Codec::H264,
        VideoCodec::Hevc(_) => Codec::Hevc,
        VideoCodec::Av1(_) => Codec::Av1,
        VideoCodec::Vpx(config) if config.vp9 => Codec::Vp9,
        VideoCodec::Vpx(_) => Codec::Vp8,
        _ => return None,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use super::*;
    use media::codec::{Ratio, aac, h264, opus, vpx};

    pub(crate) fn original(width: u32, height: u32, sample_aspect: Option<Ratio>) -> VideoConfig {
        // VP9, which not everything plays.
        let record = [1, 0, 0, 0, 0, 10, 0x82, 2, 2, 2, 0, 0];
        let codec = vpx::CodecConfiguration::parse(true, &record).unwrap();
        let codec = VideoCodec::Vpx(codec);
        VideoConfig { codec, width, height, sample_aspect, frame_rate: None, colour: None }
    }

    /// A level of one shape is that of the other, and of its own it is what it was.
    #[test]
    fn a_level_of_another_shape_is_the_same_rung() {
        let ladder = Ladder::new(["720p", "360p"].map(|rung| rung.parse().unwrap()).to_vec());
        let shapes =
            [(1280, 720), (720, 1280), (1000, 800), (854, 480)].map(|s| original(s.0, s.1, None));
        for one in &shapes {
            for level in ladder.levels(one) {
                assert_eq!(level.of_shape(one), level);
                for other in &shapes {
                    let same = ladder.levels(other).into_iter().find(|l| l.name == level.name);
                    let size = level.of_shape(other).size();
                    match same {
                        Some(same) => assert_eq!(size, same.size(), "{} {other:?}", level.name),
                        // Never larger than it.
                        None => assert_eq!(size, Some((other.width, other.height))),
                    }
                }
            }
        }
    }

    #[test]
    fn levels_are_below_the_original_even_and_in_its_shape() {
        let rungs = ["360p", "1080p", "720p", "360p=1"].map(str::parse::<Rung>);
        let ladder = Ladder::new(rungs.into_iter().flatten().collect());
        let wide = Ratio::new(4, 3);
        for (width, height, aspect, expect) in [
            (1920, 1080, None, "h264 1920x1080 2a, 720p 1280x720 20, 360p 640x360 1f"),
            (1280, 720, None, "h264 1280x720 20, 360p 640x360 1f"),
            (1080, 1920, None, "h264 1080x1920 2a, 720p 720x1280 20, 360p 360x640 1f"),
            (1440, 1080, wide, "h264 1920x1080 2a, 720p 1280x720 20, 360p 640x360 1f"),
            (641, 361, None, "h264 640x360 1f"),
            (853, 480, None, "h264 852x480 1f, 360p 640x360 1f"),
            (320, 180, None, "h264 320x180 15"),
            (15, 15, None, ""),
            (8_194, 100, None, ""),
            (8_192, 8_192, None, ""),
        ] {
            let levels = ladder.levels(&original(width, height, aspect));
            let words = |l: &Level| match l.kind {
                Kind::Pictures { width, height, level_idc } => {
                    format!("{} {width}x{height} {level_idc:x}", l.name)
                }
                Kind::Sound(_) => panic!("no picture"),
            };
            let found: Vec<String> = levels.iter().map(words).collect();
            assert_eq!(found.join(", "), expect, "{width}x{height}");
        }
        assert!(Ladder::copy_only().levels(&original(1920, 1080, None)).is_empty());
    }

    /// ISO 14496-10 Table A-1, macroblocks a second.
    #[test]
    fn a_level_says_what_the_rate_takes_that_is_stated() {
        let ladder = Ladder::new(vec!["720p=2800".parse().unwrap(), "240p=400".parse().unwrap()]);
        for (rate, expect) in [
            (None, "avc1.640020 avc1.64001e"),
            (Ratio::new(30, 1), "avc1.640020 avc1.64001e"),
            (Ratio::new(60_000, 1_001), "avc1.640020 avc1.64001e"),
            (Ratio::new(90, 1), "avc1.64002a avc1.64001e"),
            (Ratio::new(120_000, 1_001), "avc1.64002a avc1.64001f"),
            (Ratio::new(240, 1), "avc1.640033 avc1.64001f"),
            (Ratio::new(90_000, 1), "avc1.640020 avc1.64001e"),
        ] {
            let original = VideoConfig { frame_rate: rate, ..original(1920, 1080, None) };
            let levels = ladder.levels(&original).into_iter().filter(|level| level.name != "h264");
            let levels: Vec<Level> = levels.collect();
            let codecs: Vec<String> = levels.iter().map(Level::codec_string).collect();
            assert_eq!(codecs.join(" "), expect, "{rate:?}");
            assert!(levels.iter().all(|level| level.of_shape(&original) == *level));
        }
    }

    #[test]
    fn an_encoder_that_sends_several_pictures_has_the_level_that_is_needed() {
        let ladder = Ladder::parse(&["720p".to_owned(), "360p".to_owned()]);
        let vp9 = |height: u32| original(height * 16 / 9, height, None);
        let h264 = |height: u32| {
            let sps: &[u8] = b"\x67\x64\0\x1f\xac\xd9\x40\x78\x02\x27\xe5\xc0\x44\0\0\x03\0\x04\0\0\x03\0\xf0\x3c\x60\xc6\x58";
            let pps: &[u8] = b"\x68\xeb\xe3\xcb\x22\xc0";
            let record = h264::DecoderConfiguration::new(vec![sps.into()], vec![pps.into()]);
            VideoConfig { codec: Arc::new(record.unwrap()).config().codec, ..vp9(height) }
        };
        for (pictures, expect) in [
            (vec![vp9(1080)], "h264 720p 360p"),
            (vec![h264(1080)], "720p 360p"),
            (vec![vp9(1080), vp9(720)], "h264"),
            (vec![vp9(1080), h264(720)], ""),
            (vec![h264(1080), vp9(720)], ""),
            (vec![h264(1080), h264(720), h264(360)], ""),
            (vec![], ""),
        ] {
            let levels = ladder.levels_of_first(&pictures, &[]);
            let names: Vec<&str> = levels.iter().map(|level| level.name.as_str()).collect();
            assert_eq!(names.join(" "), expect, "{pictures:?}");
            assert!(Ladder::copy_only().levels_of_first(&pictures, &[]).is_empty());
        }
        // What it was before counts as well.
        for (pictures, before, expect) in [
            (vec![h264(1080)], "avc1.64001f", "720p 360p"),
            (vec![h264(1080)], "avc1.4D401f", "720p 360p"),
            (vec![h264(1080)], "hvc1.1.6.L93.B0", "h264 720p 360p"),
            (vec![h264(1080)], "avc1.6e001f", "h264 720p 360p"),
            (vec![vp9(1080)], "vp09.00.10.08", "h264 720p 360p"),
            (vec![h264(1080), h264(720)], "av01.0.04M.08", "h264"),
            // That is what it still is.
            (vec![vp9(1080), h264(720)], "vp09.00.10.08", ""),
        ] {
            let before = ["avc1.42001f".to_owned(), before.to_owned()];
            let levels = ladder.levels_of_first(&pictures, &before);
            let names: Vec<&str> = levels.iter().map(|level| level.name.as_str()).collect();
            assert_eq!(names.join(" "), expect, "{before:?}");
            assert!(Ladder::copy_only().levels_of_first(&pictures, &before).is_empty());
        }
    }

    #[test]
    fn the_cap_is_told_by_the_pace_of_frames() {
        let rung = "360p=800".parse::<Rung>().unwrap();
        let stated = |rate| VideoConfig { frame_rate: rate, ..original(1280, 720, None) };
        let level = &Ladder::new(vec![rung]).levels(&stated(None))[1];
        let rate = Ratio::new;
        for (name, frame_rate, durations, expect) in [
            ("60 fps that nobody states", None, vec![1_500; 12], 400),
            ("30 fps that nobody states", None, vec![3_000; 6], 800),
            ("24 fps that nobody states", None, vec![3_750; 6], 1_000),
            ("240 fps that nobody states", None, vec![375; 48], 100),
            ("10 fps: twice as much at most", None, vec![9_000; 2], 1_600),
            ("60 fps that is stated", rate(60, 1), vec![1_500; 12], 800),
            ("59.94 fps in milliseconds", rate(60_000, 1_001), vec![1_440, 1_530, 1_530], 800),
            ("one in milliseconds", rate(60, 1), vec![1_440], 800),
            ("a frame is missing", rate(30, 1), vec![3_000, 3_000, 6_000, 3_000], 800),
            ("half of what is stated", rate(60, 1), vec![3_000; 6], 1_600),
            ("twice what is stated", rate(25, 1), vec![1_800; 6], 400),
            ("nothing is known", None, vec![], 800),
            ("no duration", None, vec![0, 0], 800),
        ] {
            let output =
                |coder| level.output(&stated(frame_rate), coder, Pace::of(durations.clone()));
            let told = output(Coder::ALONE).unwrap();
            let other = output(Coder::hardware("h264_vaapi")).unwrap();
            let beside = output(Coder::IN_ITS_PLACE).unwrap();
            assert_eq!(beside, H264 { parameter_set: 1, ..told.clone() }, "{name}");
            assert_eq!((told.max_kbps, told.buffer_kbit), (expect, expect.min(800)), "{name}");
            assert_eq!(other.max_kbps, 800, "{name}: parameter sets of others say it");
            assert_eq!(
                told.frame_rate,
                frame_rate.map_or((30, 1), |r| (r.num(), r.den())),
                "{name}"
            );
        }
    }

    #[test]
    fn sound_that_not_everything_plays_has_a_level_of_aac_and_aac_one_of_opus() {
        let aac = |config: &[u8]| aac::AudioSpecificConfig::parse(config).unwrap().config();
        let opus = opus::Head::parse(b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0").unwrap();
        let opus = opus.config();
        let of = |rate, channels| AudioConfig {
            sample_rate: rate,
            output_sample_rate: rate,
            channels,
            ..opus.clone()
        };
        let ladder = Ladder::parse(&["360p".to_owned()]);
        for (original, expect) in [
            (opus.clone(), "aac 128 mp4a.40.2"),
            (of(48_000, 1), "aac 128 mp4a.40.2"),
            (of(44_100, 8), "aac 128 mp4a.40.2"),
            (of(192_000, 2), "aac 128 mp4a.40.2"),
            (aac(&[0x12, 0x10]), "opus 128 Opus"),
            // HE-AAC at 24 and 48 kHz.
            (aac(&[0x2b, 0x11, 0x88, 0x00]), "opus 128 Opus"),
            (of(1_000, 2), ""),
            (of(384_000, 2), ""),
            (of(48_000, 0), ""),
            (of(48_000, 9), ""),
        ] {
            let found = ladder.sound(&original);
            let found = found.map(|l| format!("{} {} {}", l.name, l.max_kbps, l.codec_string()));
            assert_eq!(found.unwrap_or_default(), expect, "{original:?}");
            assert_eq!(Ladder::copy_only().sound(&original), None);
        }
        // What it was before counts as well.
        for (original, before, expect) in [
            (aac(&[0x12, 0x10]), &["mp4a.40.2"][..], "opus"),
            (aac(&[0x12, 0x10]), &["Opus", "mp4a.40.2"], "opus aac"),
            (aac(&[0x12, 0x10]), &["mp4a.6B"], "opus aac"),
            (opus.clone(), &["mp4a.40.2", "Opus"], "aac"),
            // 5.1 and 7.1.
            (aac(&[0x11, 0xb0]), &[], "opus aac"),
            (aac(&[0x11, 0xb8]), &[], "opus aac"),
            (of(48_000, 6), &[], "aac"),
            (of(384_000, 2), &["Opus"], ""),
        ] {
            let before: Vec<String> = before.iter().map(|codec| (*codec).to_owned()).collect();
            let levels = ladder.sounds(&original, &before);
            let names: Vec<&str> = levels.iter().map(|level| level.name.as_str()).collect();
            assert_eq!(names.join(" "), expect, "{before:?}");
            assert!(Ladder::copy_only().sounds(&original, &before).is_empty());
        }
    }
}
