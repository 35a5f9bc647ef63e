//! Media playlists. RFC 8216bis (draft-pantos-hls-rfc8216bis) §4.4; section numbers below are its.

use std::fmt::Write;

use media::date::date_time;
use media::fmp4::empty_fragment;

use crate::grid::Grid;
use crate::index::{Index, Rendition, Segment};
use crate::limits::{LIVE_SEGMENTS, PARTS_TARGET_DURATIONS, SEGMENT_PARTS};

/// Which form of a media playlist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaOptions {
    /// With parts, hints and blocking reload; without, a plain playlist for older players.
    pub low_latency: bool,
    /// How far back it goes.
    pub reach: Reach,
    /// A delta update (`_HLS_skip=YES`).
    pub skip: bool,
}

/// How far back a media playlist goes. One address has one of these, live and when all is over: MEDIA-SEQUENCE never goes
/// back (§6.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// The live window.
    Window,
    /// As far as the list of a broadcast on the air can.
    Live,
    /// To the start.
    Everything,
}

impl Reach {
    /// Everything, or the live window.
    pub fn of(everything: bool) -> Self {
        if everything { Self::Everything } else { Self::Window }
    }

    /// How many of the oldest segments it leaves out, with this target duration.
    pub(super) fn first(self, r: &Rendition, target: u32) -> usize {
        match self {
            Self::Window => r.window_start(target),
            Self::Live => r.segments.len().saturating_sub(LIVE_SEGMENTS),
            Self::Everything => 0,
        }
    }
}

/// A playlist for a level of the ladder: it has the segments and parts of its original, under names of its own.
#[derive(Clone, Copy)]
pub struct Names<'a> {
    /// The rendition in the index.
    pub original: &'a str,
    /// What it is called in the playlist: the level, or the original itself.
    pub name: &'a str,
    /// Where the frames of a level of sound lie; others lie where their original's do.
    pub grid: Option<Grid>,
    /// All levels; they are reported beside what is in the index.
    pub levels: Levels<'a>,
    /// The initialisation segment under this name, from that of the original.
    pub init: &'a dyn Fn(u64) -> u64,
}

/// Where a level lies that begins with this: what is encoded in another way later has another address.
pub fn level_folder(name: &str, init: u64) -> String {
    let (name, ending) = name.rsplit_once('.').unwrap_or((name, ""));
    format!("{name}.{init:014x}.{ending}")
}

/// The level that lies in this folder, and what it begins with; none if it is no such folder's name.
pub fn level_of_folder(folder: &str) -> Option<(String, u64)> {
    let (rest, ending) = folder.rsplit_once('.')?;
    let (name, init) = rest.rsplit_once('.')?;
    let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let plain = init.len() == 14 && init.bytes().all(lower);
    let init = u64::from_str_radix(init, 16).ok().filter(|_| plain)?;
    Some((format!("{name}.{ending}"), init))
}

/// Which levels there are: the rendition that each is made of, and with it its progress, and its name.
pub type Levels<'a> = &'a [(String, String)];

impl<'a> Names<'a> {
    /// Whether decoding can start where this segment does. Each of a level does, as it is encoded by itself, wherever its original
    /// has key frames.
    pub(super) fn begins_alone(&self, segment: &Segment) -> bool {
        segment.independent() || self.name != self.original
    }

    /// A rendition of the index under its own name.
    pub fn own(rendition: &'a str, levels: Levels<'a>) -> Self {
        Self { original: rendition, name: rendition, grid: None, levels, init: &|init| init }
    }

    /// Where the files lie of a segment that begins with this of the original.
    fn folder(&self, init: u64) -> String {
        match self.name == self.original {
            true => self.name.to_owned(),
            false => level_folder(self.name, (self.init)(init)),
        }
    }
}

/// Renders the media playlist of `rendition`. `base` leads from the playlist to the folder of the
/// video's media (`../media/VIDEO`). None until the target duration is fixed.
pub fn render_media(
    index: &Index,
    rendition: &str,
    base: &str,
    options: MediaOptions,
) -> Option<String> {
    render_media_as(index, Names::own(rendition, &[]), base, options)
}

/// The same for a level, or for what has levels beside it.
pub fn render_media_as(
    index: &Index,
    names: Names<'_>,
    base: &str,
    options: MediaOptions,
) -> Option<String> {
    let original = index.rendition(names.original)?;
    let regridded = names.grid.map(|grid| grid.rendition(original));
    let r = regridded.as_ref().unwrap_or(original);
    let target = index.target_duration().or(index.ended().then(|| longest(r)))?;
    let first = options.reach.first(r, target);
    let segments: Vec<&Segment> = r.segments.iter().skip(first).collect();
    let live = !index.ended();
    let low_latency = options.low_latency && live;
    // §6.2.5.1: the Skip Boundary lies six target durations behind the end.
    let skipped = if options.skip && live { skippable(&segments, target) } else { 0 };

    let mut out = String::with_capacity(512 + segments.len() * 128);
    // §8: EXT-X-SKIP needs version 9; everything else here needs 6 (EXT-X-MAP).
    let version = if skipped > 0 || low_latency { 9 } else { 6 };
    let _ = write!(out, "#EXTM3U\n#EXT-X-VERSION:{version}\n#EXT-X-TARGETDURATION:{target}\n");
    if low_latency {
        server_control(&mut out, r, target);
    }
    let sequence = segments.first().map_or(0, |s| s.number);
    let _ = writeln!(out, "#EXT-X-MEDIA-SEQUENCE:{sequence}");
    discontinuity_sequence(&mut out, segments.first().copied());
    if segments.iter().all(|s| names.begins_alone(s)) && !segments.is_empty() {
        out.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    }
    if !live && options.reach != Reach::Window {
        out.push_str("#EXT-X-PLAYLIST-TYPE:VOD\n");
    }
    if skipped > 0 {
        let _ = writeln!(out, "#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}");
    }
    let parts_from = parts_from(&segments, target);
    let mut map = None;
    for (i, segment) in segments.iter().enumerate() {
        let fresh_map = map != Some(segment.info.init);
        map = Some(segment.info.init);
        if i < skipped {
            continue;
        }
        let parts = (low_latency && i >= parts_from).then_some(r.part_target_ms);
        let tags = SegmentTags { map: fresh_map, part_target_ms: parts };
        write_segment(&mut out, names, segment, base, tags);
    }
    if live {
        if low_latency {
            preload_hint(&mut out, names, &segments, base);
            rendition_reports(&mut out, index, names);
        }
    } else {
        out.push_str("#EXT-X-ENDLIST\n");
    }
    Some(out)
}

/// Target duration of a broadcast that ended before it was fixed.
pub(super) fn longest(r: &Rendition) -> u32 {
    let longest = r.segments.iter().map(|s| s.seconds(s.duration()).ceil() as u32).max();
    longest.unwrap_or(1).max(1)
}

/// How many of the oldest segments lie behind the Skip Boundary.
fn skippable(segments: &[&Segment], target: u32) -> usize {
    let boundary = f64::from(target) * 6.0;
    let mut behind = 0.0;
    let newer = segments.iter().rev().take_while(|s| {
        behind += s.seconds(s.duration());
        behind <= boundary
    });
    segments.len().saturating_sub(newer.count() + 1)
}

/// The first segment that lists its parts.
fn parts_from(segments: &[&Segment], target: u32) -> usize {
    let reach = f64::from(target * PARTS_TARGET_DURATIONS);
    let mut behind = 0.0;
    let with_parts = segments.iter().rev().take_while(|s| {
        let within = behind < reach;
        behind += s.seconds(s.duration());
        within
    });
    segments.len() - with_parts.count()
}

/// §4.4.3.8. PART-HOLD-BACK is three part targets, the least that is allowed to be recommended.
fn server_control(out: &mut String, r: &Rendition, target: u32) {
    let part = f64::from(r.part_target_ms) / 1000.0;
    let _ = writeln!(
        out,
        "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL={}.0,PART-HOLD-BACK={:.3}",
        target * 6,
        part * 3.0
    );
    let _ = writeln!(out, "#EXT-X-PART-INF:PART-TARGET={part:.3}");
}

/// §4.4.3.3: the sequence of the first segment, not counting a discontinuity tag of its own.
pub(super) fn discontinuity_sequence(out: &mut String, first: Option<&Segment>) {
    let Some(first) = first else { return };
    let own = u64::from(first.info.discontinuity);
    let before = first.info.discontinuity_sequence.saturating_sub(own);
    if before > 0 {
        let _ = writeln!(out, "#EXT-X-DISCONTINUITY-SEQUENCE:{before}");
    }
}

/// What is written with a segment.
pub(super) struct SegmentTags {
    /// The initialisation segment is another one.
    pub(super) map: bool,
    /// With its parts, of which none may be longer.
    pub(super) part_target_ms: Option<u32>,
}

/// A line of a segment's parts, by the order of which they are counted (`_HLS_part`, LAST-PART).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Line {
    duration: u64,
    independent: bool,
    of: LineOf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineOf {
    /// The object with this number, also where it is of a gap.
    Part(u64),
    /// A time from here on in which a picture stands that came before: no frame begins in it.
    Still(u64),
}

/// What is listed of a segment's parts. None is longer than the part target (§4.4.4.9): a gap, which has no parts of its own, is
/// divided; and so is the time of a part whose last picture stands for longer than that. All of that part is loaded with the first
/// of its lines, and the others bring nothing new.
fn lines(segment: &Segment, target_ms: u32, begins_alone: bool) -> Vec<Line> {
    let most = (u64::from(target_ms) * u64::from(segment.info.timescale) / 1000).max(1);
    let mut lines = Vec::with_capacity(segment.parts.len());
    let mut at = segment.info.start;
    for (number, part) in (0..).zip(&segment.parts) {
        let whole = u64::from(part.duration);
        let mut from = 0;
        for duration in divided(whole, most) {
            let of = match from {
                _ if segment.info.gap => LineOf::Part(lines.len() as u64),
                0 => LineOf::Part(number),
                _ => LineOf::Still(at.saturating_add(from)),
            };
            let alone = part.independent || (number == 0 && begins_alone);
            let independent = segment.info.gap || (alone && from == 0);
            lines.push(Line { duration, independent, of });
            from += duration;
        }
        at = at.saturating_add(whole);
    }
    lines
}

/// So long a time in pieces of which none is longer than `most`: of one length if that is nearly as long (§4.4.4.9 wants 85 %), else
/// all but the last one are as long as they may be.
fn divided(whole: u64, most: u64) -> impl Iterator<Item = u64> {
    let most = most.max(whole.div_ceil(SEGMENT_PARTS as u64)).max(1);
    let count = whole.div_ceil(most).max(1);
    let even = whole.div_ceil(count);
    let each = if even * 100 >= most * 86 { even } else { most };
    (0..count).map(move |i| each.min(whole.saturating_sub(i * each)))
}

/// How many parts playlists list of a segment, which is how `_HLS_part` counts.
pub(crate) fn listed_parts(segment: &Segment, target_ms: u32) -> u64 {
    lines(segment, target_ms, false).len() as u64
}

pub(super) fn write_segment(
    out: &mut String,
    names: Names<'_>,
    segment: &Segment,
    base: &str,
    tags: SegmentTags,
) {
    let info = &segment.info;
    let folder = format!("{base}/{}", names.folder(info.init));
    if info.discontinuity {
        out.push_str("#EXT-X-DISCONTINUITY\n");
    }
    if tags.map || info.discontinuity {
        let _ = writeln!(out, "#EXT-X-MAP:URI=\"{folder}/{}\"", init_file((names.init)(info.init)));
    }
    // §4.4.4.6: on the first segment and after every discontinuity at least; on every one, so that
    // a playlist's lines do not change when older ones leave the window.
    let _ = writeln!(out, "#EXT-X-PROGRAM-DATE-TIME:{}", date_time(info.wall_clock_ms));
    if let Some(target_ms) = tags.part_target_ms {
        for line in lines(segment, target_ms, names.begins_alone(segment)) {
            let independent = if line.independent { ",INDEPENDENT=YES" } else { "" };
            let gap = if info.gap { ",GAP=YES" } else { "" };
            let duration = segment.seconds(line.duration);
            let file = match line.of {
                LineOf::Part(part) => part_file(info.epoch, segment.number, part),
                LineOf::Still(at) => still_file(at),
            };
            let _ = writeln!(
                out,
                "#EXT-X-PART:DURATION={duration:.5},URI=\"{folder}/{file}\"{independent}{gap}"
            );
        }
    }
    if segment.complete {
        if info.gap {
            out.push_str("#EXT-X-GAP\n");
        }
        let file = segment_file(info.epoch, segment.number);
        let duration = segment.seconds(segment.duration());
        let _ = writeln!(out, "#EXTINF:{duration:.5},\n{folder}/{file}");
    }
}

/// §4.4.5.3: the part that comes next. Where it is not known who publishes that, or by what it is to be decoded, there is none
/// (§6.2.6: "MAY"): a hint MUST match the URI that comes, and shaka-player decodes it by the EXT-X-MAP of the list with the hint.
fn preload_hint(out: &mut String, names: Names<'_>, segments: &[&Segment], base: &str) {
    let Some(newest) = segments.last().filter(|newest| !newest.closes) else { return };
    let name = names.folder(newest.info.init);
    let (number, part) = match newest.complete {
        true => (newest.number + 1, 0),
        false => (newest.number, newest.parts.len() as u64),
    };
    let file = part_file(newest.info.epoch, number, part);
    let _ = writeln!(out, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{base}/{name}/{file}\"");
}

/// §4.4.5.4: how far the other renditions are, so that a switch needs no extra round trip.
fn rendition_reports(out: &mut String, index: &Index, names: Names<'_>) {
    for (original, r) in index.renditions() {
        let levels = names.levels.iter().filter(|(of, _)| of == original);
        let all = std::iter::once(original).chain(levels.map(|(_, name)| name.as_str()));
        for name in all.filter(|name| *name != names.name) {
            rendition_report(out, name, r);
        }
    }
}

fn rendition_report(out: &mut String, name: &str, r: &Rendition) {
    let Some(newest) = r.segments.back() else { return };
    let _ = write!(out, "#EXT-X-RENDITION-REPORT:URI=\"{name}.m3u8\",LAST-MSN={}", newest.number);
    match listed_parts(newest, r.part_target_ms) {
        0 => out.push('\n'),
        parts => {
            let _ = writeln!(out, ",LAST-PART={}", parts - 1);
        }
    }
}

/// The file name of an initialisation segment.
pub(crate) fn init_file(init: u64) -> String {
    format!("init-{init:014x}.mp4")
}

pub(super) fn segment_file(epoch: u64, number: u64) -> String {
    format!("{epoch}-{number}.m4s")
}

/// The segment's key picture, as a file of its own.
pub(super) fn key_file(epoch: u64, number: u64) -> String {
    format!("{epoch}-{number}.key.m4s")
}

fn part_file(epoch: u64, number: u64, part: u64) -> String {
    format!("{epoch}-{number}.{part}.m4s")
}

/// A part without a frame, which begins at this decode time.
fn still_file(at: u64) -> String {
    format!("still-{at}.m4s")
}

/// The file behind such a name, as playlists write it; none if it is no such name.
pub fn still_of_file(name: &str) -> Option<Vec<u8>> {
    let at = name.strip_prefix("still-")?.strip_suffix(".m4s")?;
    let plain = at.bytes().all(|b| b.is_ascii_digit()) && (at == "0" || !at.starts_with('0'));
    at.parse().ok().filter(|_| plain).map(empty_fragment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::properties;
    use crate::reload::{Decision, Directives, decide};
    use crate::testing::{index_of, lasting, two_renditions};

    const LIVE: MediaOptions =
        MediaOptions { low_latency: true, reach: Reach::Window, skip: false };

    #[test]
    fn a_live_playlist_reads_like_this() {
        let index = two_renditions();
        let text = render_media(&index, "video", "../media/V", LIVE).unwrap();
        let expect = "\
#EXTM3U
#EXT-X-VERSION:9
#EXT-X-TARGETDURATION:2
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12.0,PART-HOLD-BACK=3.000
#EXT-X-PART-INF:PART-TARGET=1.000
#EXT-X-MEDIA-SEQUENCE:10
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MAP:URI=\"../media/V/video/init-00000000000007.mp4\"
#EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:20.000Z
#EXT-X-PART:DURATION=1.00000,URI=\"../media/V/video/3-10.0.m4s\",INDEPENDENT=YES
#EXT-X-PART:DURATION=1.00000,URI=\"../media/V/video/3-10.1.m4s\"
#EXTINF:2.00000,
../media/V/video/3-10.m4s
#EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:22.000Z
#EXT-X-PART:DURATION=1.00000,URI=\"../media/V/video/3-11.0.m4s\",INDEPENDENT=YES
#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"../media/V/video/3-11.1.m4s\"
#EXT-X-RENDITION-REPORT:URI=\"audio.m3u8\",LAST-MSN=10,LAST-PART=1
";
        assert_eq!(text, expect);
    }

    #[test]
    fn a_level_has_the_lines_of_its_original_under_its_own_name() {
        let index = two_renditions();
        let levels = [("video", "video.360p"), ("video", "video.144p")];
        let levels = levels.map(|(of, name)| (of.to_owned(), name.to_owned()));
        let text = |names| render_media_as(&index, names, "../media/V", LIVE).unwrap();
        let original = text(Names::own("video", &levels));
        let init = |init: u64| init + 0xf0;
        let own = Names::own("video", &levels);
        let names = Names { name: "video.360p", init: &init, ..own };
        let level = text(names);
        let lines = |text: &str| {
            let media = text.lines().filter(|l| !l.contains("REPORT")).collect::<Vec<_>>();
            media.join("\n")
        };
        let renamed = lines(&original).replace("/video/", "/video.000000000000f7.360p/");
        assert_eq!(lines(&level), renamed.replace("init-00000000000007", "init-000000000000f7"));
        let reports = |text: &str| -> Vec<String> {
            let reports = text.lines().filter_map(|l| l.split_once("URI=\""));
            let reports = reports.filter(|(tag, _)| tag.contains("REPORT"));
            reports.map(|(_, rest)| rest.replace(".m3u8\",LAST-MSN=", " ")).collect()
        };
        assert_eq!(
            reports(&original),
            ["audio 10,LAST-PART=1", "video.360p 11,LAST-PART=0", "video.144p 11,LAST-PART=0"]
        );
        assert_eq!(
            reports(&level),
            ["audio 10,LAST-PART=1", "video 11,LAST-PART=0", "video.144p 11,LAST-PART=0"]
        );
        let audio = text(Names::own("audio", &levels));
        assert_eq!(reports(&audio).len(), 3, "{audio}");
    }

    #[test]
    fn the_folder_of_a_level_says_what_it_begins_with() {
        let folder = level_folder("video.360p.cmaf", 0xf7);
        assert_eq!(folder, "video.360p.000000000000f7.cmaf");
        assert_eq!(level_of_folder(&folder), Some(("video.360p.cmaf".to_owned(), 0xf7)));
        for none in [
            "",
            "video.360p.cmaf",
            "video.360p.000000000000F7.cmaf",
            "video.360p.+00000000000f7.cmaf",
            "video.360p.f7.cmaf",
            "000000000000f7.cmaf",
            "video.360p.000000000000f7",
        ] {
            assert_eq!(level_of_folder(none), None, "{none}");
        }
    }

    #[test]
    fn a_level_of_sound_has_durations_of_its_own() {
        let index = crate::testing::sound(340, &[&[16_320, 16_320, 960], &[16_320]]);
        let grid = Some(Grid { rate: 48_000, frame: 1_024, ahead: 2_048 });
        let levels = [("audio".to_owned(), "audio.aac".to_owned())];
        let own = Names::own("audio", &levels);
        let names = Names { name: "audio.aac", grid, ..own };
        let text = render_media_as(&index, names, "m", LIVE).unwrap();
        let found: Vec<&str> = text
            .lines()
            .filter(|l| {
                ["#EXTINF", "#EXT-X-PART", "#EXT-X-PROGRAM"].iter().any(|t| l.starts_with(t))
            })
            .map(|l| l.split(",URI").next().unwrap())
            .collect();
        // Frames 91 to 105, 106 to 121, 122 and 123; 124 to 139.
        let expect = [
            "#EXT-X-PART-INF:PART-TARGET=0.363",
            "#EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:16:41.941Z",
            "#EXT-X-PART:DURATION=0.32000",
            "#EXT-X-PART:DURATION=0.34133",
            "#EXT-X-PART:DURATION=0.04267",
            "#EXTINF:0.70400,",
            "#EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:16:42.645Z",
            "#EXT-X-PART:DURATION=0.34133",
            "#EXTINF:0.34133,",
        ];
        assert_eq!(found, expect, "{text}");
        assert!(
            text.contains("REPORT:URI=\"audio.m3u8\"") && !text.contains("REPORT:URI=\"audio.aac")
        );
    }

    #[test]
    fn a_plain_playlist_has_no_low_latency_tags() {
        let index = two_renditions();
        let options = MediaOptions { low_latency: false, ..LIVE };
        let text = render_media(&index, "video", "../media/V", options).unwrap();
        for tag in ["PART", "PRELOAD", "SERVER-CONTROL", "REPORT"] {
            assert!(!text.contains(tag), "{tag} in {text}");
        }
        assert_eq!(text.matches("#EXTINF").count(), 1, "the open segment is not listed");
    }

    #[test]
    fn the_window_is_six_segments_and_parts_reach_three_target_durations_back() {
        let index = index_of(100, &[2; 20], false);
        let text = render_media(&index, "video", "m", LIVE).unwrap();
        assert!(text.contains("#EXT-X-MEDIA-SEQUENCE:114\n"), "{text}");
        assert_eq!(text.matches("#EXTINF").count(), 6);
        assert_eq!(text.matches("#EXT-X-PART:").count(), 6, "3 segments of 2 s with 2 parts");
        let everything = MediaOptions { reach: Reach::Everything, ..LIVE };
        let text = render_media(&index, "video", "m", everything).unwrap();
        assert_eq!(text.matches("#EXTINF").count(), 20);
    }

    #[test]
    fn the_window_lasts_six_target_durations_however_long_its_segments_are() {
        // The last one is being made.
        for (segments_ms, first, why) in [
            (vec![2_000; 20], 23, "six of them"),
            (vec![500; 41], 26, "twenty-four: six would be one and a half target durations"),
            (vec![2_480; 20], 23, "six, also where five would do"),
            (vec![1_990; 20], 23, "sound is cut where its frames end"),
            ([vec![2_000; 10], vec![500; 5]].concat(), 15, "two are in four, ten in five"),
            ([vec![500; 10], vec![2_000; 7]].concat(), 20, "those asked for are gone"),
            (vec![500; 10], 10, "all there is"),
        ] {
            let mut index = Index::new();
            lasting(&mut index, "video", &segments_ms);
            assert_eq!(index.rendition("video").unwrap().window_start(2) + 10, first, "{why}");
            let text = render_media(&index, "video", "m", LIVE).unwrap();
            assert!(text.contains(&format!("#EXT-X-MEDIA-SEQUENCE:{first}\n")), "{why}: {text}");
        }
        // Whatever comes, what has left it does not come back.
        let (mut seed, mut segments_ms, mut before) = (7_u32, Vec::new(), 0);
        for _ in 0..200 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            segments_ms.push(33 + seed % 2_400);
            let mut index = Index::new();
            lasting(&mut index, "video", &segments_ms);
            let now = index.rendition("video").unwrap().window_start(2);
            assert!(now >= before, "{segments_ms:?}");
            before = now;
        }
    }

    #[test]
    fn a_delta_update_and_what_was_known_make_the_full_playlist() {
        let index = index_of(100, &[2; 20], false);
        let everything = MediaOptions { reach: Reach::Everything, ..LIVE };
        let full = render_media(&index, "video", "m", everything).unwrap();
        let delta =
            render_media(&index, "video", "m", MediaOptions { skip: true, ..everything }).unwrap();
        let skipped: usize = delta
            .lines()
            .find_map(|l| l.strip_prefix("#EXT-X-SKIP:SKIPPED-SEGMENTS="))
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(skipped, 20 - 6 - 1, "six target durations and the segment across the boundary");
        let segment_lines = |text: &str| {
            let at = text.find("#EXT-X-PROGRAM-DATE-TIME").unwrap();
            text[at..].to_owned()
        };
        let full_lines = segment_lines(&full);
        assert!(full_lines.ends_with(&segment_lines(&delta)));
        assert_eq!(delta.matches("#EXTINF").count() + skipped, 20);
    }

    #[test]
    fn a_gap_has_parts_that_keep_the_part_target() {
        let mut index = index_of(10, &[2; 4], false);
        index.lose("video", 12);
        let text = render_media(&index, "video", "m", LIVE).unwrap();
        let parts: Vec<&str> = text.lines().filter(|l| l.contains("GAP=YES")).collect();
        let part = |n| {
            let uri = format!("m/video/3-12.{n}.m4s");
            format!("#EXT-X-PART:DURATION=1.00000,URI=\"{uri}\",INDEPENDENT=YES,GAP=YES")
        };
        assert_eq!(parts, [part(0), part(1)]);
        assert_eq!(text.matches("#EXT-X-GAP").count(), 1, "{text}");
        // A part target that does not divide it: in even pieces, or else only the last one is shorter.
        let segment = index.rendition("video").unwrap().segment(12).unwrap();
        let durations =
            |ms| lines(segment, ms, false).iter().map(|l| l.duration).collect::<Vec<_>>();
        assert_eq!(durations(334), [30_000; 6]);
        assert_eq!(durations(1_500), [135_000, 45_000]);
        assert_eq!(durations(0).len(), SEGMENT_PARTS, "bounded");
    }

    /// A part whose last picture stands is listed in pieces that keep the part target, and parts are counted so everywhere.
    #[test]
    fn a_picture_that_stands_is_listed_by_the_part_target() {
        let mut index = Index::new();
        let part = |duration, last| properties::Part {
            duration,
            independent: duration == 30_000,
            last,
            closes: false,
            target_ms: 334,
            target_duration: Some(2),
            open: false,
            key_bytes: None,
        };
        let mut add = |group, object, part: properties::Part| {
            let begins = (object == 0).then(|| crate::testing::segment(group));
            let at = spine::Location { group, object };
            index.add("video", at, &part, begins, 10).unwrap();
        };
        add(10, 0, part(30_000, false));
        add(10, 1, part(120_000, false));
        add(10, 2, part(30_001, true));
        add(11, 0, part(30_000, false));
        add(11, 1, part(70_000, false));
        let text = render_media(&index, "video", "m", LIVE).unwrap();
        let start = index.rendition("video").unwrap().segment(10).unwrap().info.start;
        let next = index.rendition("video").unwrap().segment(11).unwrap().info.start;
        let still = |duration: &str, at: u64| format!("{duration} m/video/still-{at}.m4s");
        let parts: Vec<String> = text
            .lines()
            .filter_map(|l| l.strip_prefix("#EXT-X-PART:DURATION="))
            .map(|l| {
                let (duration, uri) = l.split_once(",URI=\"").unwrap();
                assert_eq!(l.contains("INDEPENDENT"), uri.contains(".0.m4s"), "{l}");
                format!("{duration} {}", uri.split_once('"').unwrap().0)
            })
            .collect();
        let expect = [
            "0.33333 m/video/3-10.0.m4s".to_owned(),
            "0.33333 m/video/3-10.1.m4s".to_owned(),
            still("0.33333", start + 60_000),
            still("0.33333", start + 90_000),
            still("0.33333", start + 120_000),
            "0.33334 m/video/3-10.2.m4s".to_owned(),
            "0.33333 m/video/3-11.0.m4s".to_owned(),
            "0.33400 m/video/3-11.1.m4s".to_owned(),
            still("0.33400", next + 30_000 + 30_060),
            still("0.10978", next + 30_000 + 60_120),
        ];
        assert_eq!(parts[..8], expect[..8]);
        assert_eq!(parts[8..], expect[8..]);
        assert!(text.contains("URI=\"m/video/3-11.2.m4s\"\n"), "the hint is the next file: {text}");
        let ready = |part| {
            let asked = Directives { msn: Some(11), part: Some(part), skip: false };
            decide(&index, "video", &asked) == Decision::Ready
        };
        assert!(ready(3) && !ready(4));
        let file = still_of_file("still-90000.m4s").unwrap();
        assert!(media::fmp4::is_empty_fragment(&file));
        for none in ["still-.m4s", "still-090.m4s", "still-+1.m4s", "still-1.mp4", "10-1.0.m4s"] {
            assert_eq!(still_of_file(none), None, "{none}");
        }
    }

    /// Groups of pictures that last for several segments: those of a level begin alone all the same, whatever its original has.
    #[test]
    fn every_segment_of_a_level_begins_alone() {
        let mut index = Index::new();
        for number in 10..14 {
            for object in 0..2 {
                let part = crate::properties::Part {
                    duration: 90_000,
                    independent: number == 10 && object == 0,
                    last: object == 1 && number < 13,
                    closes: false,
                    target_ms: 1_000,
                    target_duration: Some(2),
                    open: false,
                    key_bytes: None,
                };
                let info = (object == 0).then(|| crate::testing::segment(number));
                let properties = crate::properties::encode(&part, info.as_ref());
                let at = spine::Location { group: number, object };
                index.apply("video", at, &properties, 10).unwrap();
            }
        }
        let level = |name| Names { name, ..Names::own("video", &[]) };
        for (name, expect) in [("video", &[][..]), ("video.360p", &["11.0", "12.0", "13.0"])] {
            // The newest three are listed with their parts.
            let low = MediaOptions { reach: Reach::Everything, ..LIVE };
            let text = render_media_as(&index, level(name), "m", low).unwrap();
            let parts = text.lines().filter(|line| line.contains(",INDEPENDENT=YES"));
            let alone: Vec<&str> = parts
                .map(|line| line.split("/3-").nth(1).unwrap().split(".m4s").next().unwrap())
                .collect();
            assert_eq!(alone, expect, "{text}");
            let all = "#EXT-X-INDEPENDENT-SEGMENTS";
            assert_eq!(text.contains(all), name != "video", "{text}");
            let range = crate::hls::render_range(&index, level(name), "m", 11..=12, 0).unwrap();
            assert_eq!(range.contains(all), name != "video", "{range}");
        }
    }

    #[test]
    fn the_end_is_marked_for_those_who_watched_live_and_everything_is_listed_for_others() {
        let index = index_of(100, &[2; 20], true);
        let live = render_media(&index, "video", "m", LIVE).unwrap();
        assert!(live.contains("#EXT-X-MEDIA-SEQUENCE:114\n"), "{live}");
        let replay = MediaOptions { reach: Reach::Everything, ..LIVE };
        let replay = render_media(&index, "video", "m", replay).unwrap();
        assert!(replay.contains("#EXT-X-PLAYLIST-TYPE:VOD\n"), "{replay}");
        assert_eq!(replay.matches("#EXTINF").count(), 20);
        for text in [live, replay] {
            assert!(text.ends_with("#EXT-X-ENDLIST\n"));
            assert!(!text.contains("PART"));
        }
    }

    /// Who publishes next, if anybody does, and how that is to be decoded, no list can know.
    #[test]
    fn behind_a_part_that_closes_no_list_hints_at_anything() {
        for closes in [false, true] {
            let mut index = two_renditions();
            let part = |object| properties::Part {
                duration: 90_000,
                independent: object == 0,
                last: object == 1,
                closes: object == 1 && closes,
                target_ms: 1_000,
                open: false,
                target_duration: Some(2),
                key_bytes: None,
            };
            let mut add = |group, object, info| {
                let at = spine::Location { group, object };
                index.add("video", at, &part(object), info, 10).unwrap();
                let hint = |names| {
                    let text = render_media_as(&index, names, "m", LIVE).unwrap();
                    crate::hls::MediaPlaylist::parse(&text).unwrap().hint
                };
                let own = Names::own("video", &[]);
                let level = hint(Names { name: "video.360p", ..own }).is_some();
                let next = Directives { msn: Some(12), part: Some(0), skip: false };
                (hint(own), level, decide(&index, "video", &next))
            };
            let found = add(11, 1, None);
            let next = (!closes).then(|| "m/video/3-12.0.m4s".to_owned());
            assert_eq!(found, (next, !closes, Decision::Wait));
            let other = properties::Segment { epoch: 4, init: 9, ..crate::testing::segment(12) };
            let found = add(12, 0, Some(other));
            assert_eq!(found, (Some("m/video/4-12.1.m4s".to_owned()), true, Decision::Ready));
            index.close();
            assert!(!render_media(&index, "video", "m", LIVE).unwrap().contains("HINT"));
        }
    }

    #[test]
    fn playlists_wait_for_the_target_duration() {
        let mut index = Index::new();
        let part = crate::properties::Part {
            duration: 90_000,
            independent: true,
            last: false,
            closes: false,
            target_ms: 1_000,
            target_duration: None,
            open: false,
            key_bytes: None,
        };
        let properties = crate::properties::encode(&part, Some(&crate::testing::segment(10)));
        let at = spine::Location { group: 10, object: 0 };
        index.apply("video", at, &properties, 10).unwrap();
        assert_eq!(render_media(&index, "video", "m", LIVE), None);
        index.end();
        assert!(render_media(&index, "video", "m", LIVE).is_some(), "a very short broadcast");
    }
}
