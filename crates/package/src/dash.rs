//! DASH: the MPD of a broadcast, a pure function of its index. ISO/IEC 23009-1:2022 (section numbers
//! below are its), in the shape of DASH-IF IOP's main live profile.
//!
//! - Segments are those of HLS, under the same names: `SegmentTemplate` with `$Number$` and a
//!   `SegmentTimeline`, so every duration is exact.
//! - A Period begins with each discontinuity, each other initialisation segment, and at each end of a
//!   gap; what nobody has is a hole between two Periods.
//! - Levels of the ladder have the timeline of their original, segment for segment; those of sound one of their own frames.
//! - Live, the timeline is the wall clock: `availabilityStartTime` is 1970 and a Period starts at its
//!   PROGRAM-DATE-TIME, so that nothing has to be remembered of what has left the window.

mod content;
mod periods;

use std::collections::BTreeMap;
use std::fmt::Write;

use media::date::date_time;
use media::markup::escaped;

pub use content::Content;
use periods::{Period, Run};

use crate::grid::Grid;
use crate::index::{Index, Segment};
use crate::limits::{LATENCY_TARGET_MS, WINDOW_TARGET_DURATIONS};

/// Which form of an MPD.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MpdOptions {
    /// The segment that is being made is listed, to be had while its parts come.
    pub low_latency: bool,
    /// Everything since the start instead of the live window. Of what is over there is only everything.
    pub everything: bool,
    /// Of what is over: the presentation ends here, whatever its longest track has behind it. None: with that.
    pub length_ns: Option<u64>,
}

/// A level of the ladder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    /// Its rendition.
    pub name: String,
    /// The rendition that it is made of.
    pub original: String,
    /// RFC 6381.
    pub codec: String,
    /// Bits a second at most.
    pub bandwidth: u64,
    /// What it is.
    pub kind: LevelKind,
}

/// What a level is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LevelKind {
    /// Pictures.
    Pictures {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
    },
    /// Sound.
    Sound {
        /// Where its frames lie.
        grid: Grid,
        /// Channels.
        channels: u8,
    },
}

/// Levels beside renditions of the index: they have their segments, under names of their own.
#[derive(Clone, Copy)]
pub struct Levels<'a> {
    /// The best first.
    pub list: &'a [Level],
    /// The initialisation segment of a level by its name, from that of the original.
    pub init: &'a dyn Fn(&str, u64) -> u64,
}

/// What the MPD takes besides the index.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// What each initialisation segment says of its track. Renditions whose one is not there are left out.
    pub contents: &'a BTreeMap<u64, Content>,
    /// BCP 47 by the rendition's name.
    pub languages: &'a BTreeMap<String, String>,
    /// Captions inside the pictures: scheme and value of their descriptors.
    pub embedded: &'a [(String, String)],
    /// Captions of what is over: language (BCP 47) and label. Their files stand beside the MPD.
    pub captions: &'a [(String, String)],
    /// Levels of the ladder.
    pub levels: Option<Levels<'a>>,
    /// The only pictures that are listed, by the rendition's name.
    pub only: Option<&'a str>,
    /// Leads from the MPD to the folder of the video's media: `../media/VIDEO`.
    pub base: &'a str,
}

/// Renders the MPD. None until there is something to list and the target duration is fixed.
pub fn render_mpd(index: &Index, sources: Sources<'_>, options: MpdOptions) -> Option<String> {
    let live = !index.ended();
    let options = MpdOptions {
        low_latency: options.low_latency && live,
        everything: options.everything || !live,
        length_ns: options.length_ns.filter(|_| !live),
    };
    let target = index.target_duration().or(index.ended().then_some(2))?;
    let periods = periods::of(index, sources.contents, (options, target));
    if periods.is_empty() {
        return None;
    }
    let mut out = String::with_capacity(4_096);
    out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    match live {
        true => head_live(&mut out, &periods, longest(&periods, sources), (target, options)),
        false => head_static(&mut out, &periods, longest(&periods, sources), target),
    }
    for period in &periods {
        write_period(&mut out, index, period, sources, options);
    }
    if live {
        // §5.8.4.11: relative to the MPD, so that it leads to whoever served it.
        out.push_str(
            "  <UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:http-xsdate:2014\" value=\"../../time\"/>\n",
        );
    }
    out.push_str("</MPD>\n");
    Some(out)
}

const NAMESPACE: &str = "xmlns=\"urn:mpeg:dash:schema:mpd:2011\" \
     profiles=\"urn:mpeg:dash:profile:isoff-live:2011,urn:mpeg:dash:profile:cmaf:2019\"";

/// Seconds that no segment is longer than: those of a level of sound end with a frame of their own, which may be one later than
/// their original's.
fn longest(periods: &[Period<'_>], sources: Sources<'_>) -> f64 {
    let frame = |level: &Level| match level.kind {
        LevelKind::Sound { grid, .. } => f64::from(grid.frame) / f64::from(grid.rate),
        LevelKind::Pictures { .. } => 0.0,
    };
    let levels = sources.levels.into_iter().flat_map(|levels| levels.list);
    periods::longest(periods) + levels.map(frame).fold(0.0, f64::max)
}

fn head_live(
    out: &mut String,
    periods: &[Period<'_>],
    longest: f64,
    (target, options): (u32, MpdOptions),
) {
    // Without the segment that is being made, a new list is due with each segment; with it, soon after
    // its first part.
    let update = if options.low_latency { 0.5 } else { f64::from(target) };
    let reach: f64 = match options.everything {
        true => periods.last().map_or(0.0, Period::end) - periods.first().map_or(0.0, |p| p.start),
        false => f64::from(target * WINDOW_TARGET_DURATIONS),
    };
    let newest = periods.last().map_or(0.0, Period::end);
    let _ = writeln!(
        out,
        "<MPD {NAMESPACE} type=\"dynamic\" availabilityStartTime=\"1970-01-01T00:00:00Z\" \
         publishTime=\"{}\" minimumUpdatePeriod=\"PT{update}S\" timeShiftBufferDepth=\"PT{reach:.3}S\" \
         maxSegmentDuration=\"PT{:.3}S\" minBufferTime=\"PT{target}S\" \
         suggestedPresentationDelay=\"PT{:.3}S\">",
        date_time((newest * 1000.0) as u64),
        longest,
        delay_s(target, options),
    );
    if options.low_latency {
        // §K.3.2: players speed up and slow down by as much as nobody hears.
        let _ = writeln!(
            out,
            "  <ServiceDescription id=\"0\">\n    <Latency target=\"{LATENCY_TARGET_MS}\" \
             max=\"{}\" min=\"{}\"/>\n    <PlaybackRate max=\"1.04\" min=\"0.96\"/>\n  </ServiceDescription>",
            LATENCY_TARGET_MS * 2,
            LATENCY_TARGET_MS / 2
        );
    }
}

fn delay_s(target: u32, options: MpdOptions) -> f64 {
    match options.low_latency {
        true => LATENCY_TARGET_MS as f64 / 1000.0,
        // As HLS: three target durations behind the end.
        false => f64::from(target) * 3.0,
    }
}

fn head_static(out: &mut String, periods: &[Period<'_>], longest: f64, target: u32) {
    let duration = periods.last().map_or(0.0, Period::end);
    let _ = writeln!(
        out,
        "<MPD {NAMESPACE} type=\"static\" mediaPresentationDuration=\"PT{duration:.3}S\" \
         maxSegmentDuration=\"PT{longest:.3}S\" minBufferTime=\"PT{target}S\">"
    );
}

fn write_period(
    out: &mut String,
    index: &Index,
    period: &Period<'_>,
    sources: Sources<'_>,
    options: MpdOptions,
) {
    let _ = write!(out, "  <Period id=\"{}\" start=\"PT{:.3}S\"", period.number, period.start);
    if index.ended() {
        let _ = write!(out, " duration=\"PT{:.3}S\"", period.duration());
    }
    out.push_str(">\n");
    // Pictures of one codec are levels of one set; each sound is a choice of its own.
    let (mut families, mut audio): (Vec<Vec<Shown<'_>>>, Vec<Vec<Shown<'_>>>) = Default::default();
    for shown in period.runs.iter().flat_map(|run| shown(run, sources)) {
        let alike = |set: &&mut Vec<Shown<'_>>| {
            set.first().is_some_and(|first| first.content.family() == shown.content.family())
        };
        match families.iter_mut().find(alike) {
            _ if !shown.content.is_video() => audio.push(vec![shown]),
            Some(set) => set.push(shown),
            None => families.push(vec![shown]),
        }
    }
    for (i, set) in families.into_iter().chain(audio).enumerate() {
        write_set(out, index, period, &set, i == 0, sources, options);
    }
    for (language, label) in sources.captions.iter().filter(|_| index.ended()) {
        write_captions(out, period, language, label);
    }
    out.push_str("  </Period>\n");
}

/// A Representation: segments of the index, or a level of them.
struct Shown<'a> {
    run: &'a Run<'a>,
    name: &'a str,
    content: Content,
    /// Which level.
    level: Option<&'a Level>,
}

/// A run, and its levels behind it.
fn shown<'a>(run: &'a Run<'a>, sources: Sources<'a>) -> Vec<Shown<'a>> {
    let mut all = vec![Shown { run, name: run.name, content: run.content.clone(), level: None }];
    let levels = sources.levels.into_iter().flat_map(|levels| levels.list);
    for level in levels.filter(|level| level.original == run.name) {
        let content = match level.kind {
            LevelKind::Pictures { width, height } => {
                run.content.resized(&level.codec, (width, height))
            }
            LevelKind::Sound { grid, channels } => {
                Content::sound(&level.codec, grid.rate, channels)
            }
        };
        all.push(Shown { run, name: &level.name, content, level: Some(level) });
    }
    if let Some(only) = sources.only {
        all.retain(|shown| !shown.content.is_video() || shown.name == only);
    }
    all
}

fn write_set(
    out: &mut String,
    index: &Index,
    period: &Period<'_>,
    set: &[Shown<'_>],
    main: bool,
    sources: Sources<'_>,
    options: MpdOptions,
) {
    let Some(first) = set.first() else { return };
    let kind = if first.content.is_video() { "video" } else { "audio" };
    let _ = write!(
        out,
        "    <AdaptationSet contentType=\"{kind}\" mimeType=\"{kind}/mp4\" segmentAlignment=\"true\""
    );
    if set.iter().all(|shown| shown.run.segments.iter().all(|s| s.independent())) {
        out.push_str(" startWithSAP=\"1\"");
    }
    if let Some((wide, high)) = set.iter().find_map(|shown| shown.content.picture_aspect()) {
        let _ = write!(out, " par=\"{wide}:{high}\"");
    }
    if let Some(language) = sources.languages.get(first.run.name) {
        let _ = write!(out, " lang=\"{}\"", escaped(language));
    }
    let is_sound = |level: &Level| matches!(level.kind, LevelKind::Sound { .. });
    let levels = sources.levels.into_iter().flat_map(|levels| levels.list);
    if first.level.is_none() && levels.filter(|l| is_sound(l)).any(|l| l.original == first.run.name)
    {
        // §5.3.3.2: 1 is what the others have. Who can play the original need not have it made anew.
        out.push_str(" selectionPriority=\"2\"");
    }
    out.push_str(">\n");
    for (scheme, value) in sources.embedded.iter().filter(|_| kind == "video") {
        // SCTE 214-1 §7.2.1.
        let (scheme, value) = (escaped(scheme), escaped(value));
        let _ = writeln!(out, "      <Accessibility schemeIdUri=\"{scheme}\" value=\"{value}\"/>");
    }
    if kind == "audio" || main {
        let role =
            if first.run.name.trim_end_matches(".cmaf") == kind { "main" } else { "alternate" };
        let _ =
            writeln!(out, "      <Role schemeIdUri=\"urn:mpeg:dash:role:2011\" value=\"{role}\"/>");
    }
    for shown in set {
        let measured = || {
            let rendition = index.rendition(shown.run.name);
            let bitrate = rendition.and_then(|r| r.bitrate(index.target_duration()));
            bitrate.map(|b| b.0).or_else(|| shown.run.segments.iter().map(|s| s.bitrate()).max())
        };
        let peak = shown.level.map(|level| level.bandwidth).or_else(measured);
        let _ = write!(
            out,
            "      <Representation id=\"{}\" codecs=\"{}\" bandwidth=\"{}\"",
            escaped(shown.name),
            escaped(&shown.content.codec),
            peak.unwrap_or(0).max(1),
        );
        shown.content.write_attributes(out);
        out.push_str(">\n");
        shown.content.write_channels(out);
        write_template(out, index, period, shown, sources, options);
        out.push_str("      </Representation>\n");
    }
    out.push_str("    </AdaptationSet>\n");
}

/// A file beside the media (§5.3.3, IOP 6.4.3), counted from the beginning of the Period.
fn write_captions(out: &mut String, period: &Period<'_>, language: &str, label: &str) {
    let (language, label) = (escaped(language), escaped(label));
    let _ = writeln!(
        out,
        "    <AdaptationSet contentType=\"text\" mimeType=\"text/vtt\" lang=\"{language}\">\n\
         \x20     <Label>{label}</Label>\n\
         \x20     <Role schemeIdUri=\"urn:mpeg:dash:role:2011\" value=\"subtitle\"/>\n\
         \x20     <Representation id=\"captions-{language}\" bandwidth=\"1000\">\n\
         \x20       <BaseURL>captions-{language}.vtt?start={:.3}</BaseURL>\n\
         \x20     </Representation>\n\
         \x20   </AdaptationSet>",
        period.start
    );
}

/// §5.3.9.4 and §5.3.9.6.
fn write_template(
    out: &mut String,
    index: &Index,
    period: &Period<'_>,
    shown: &Shown<'_>,
    sources: Sources<'_>,
    options: MpdOptions,
) {
    let regridded = shown.level.and_then(|level| match level.kind {
        LevelKind::Sound { grid, .. } => {
            Some(shown.run.segments.iter().map(|s| grid.segment(s)).collect::<Vec<_>>())
        }
        LevelKind::Pictures { .. } => None,
    });
    let regridded = regridded.as_ref().map(|segments| Run {
        // One without a frame would be the last one.
        segments: segments.iter().take_while(|s| !s.info.gap).collect(),
        ..*shown.run
    });
    let run = regridded.as_ref().unwrap_or(shown.run);
    let Some(first) = run.segments.first() else { return };
    let info = &first.info;
    let level = sources.levels.zip(shown.level);
    let init = level.map_or(info.init, |(levels, level)| (levels.init)(&level.name, info.init));
    let own = || shown.name.to_owned();
    let folder = level.map_or_else(own, |(_, level)| crate::hls::level_folder(&level.name, init));
    let folder = format!("{}/{}", escaped(sources.base), escaped(&folder));
    let _ = write!(
        out,
        "        <SegmentTemplate timescale=\"{}\" presentationTimeOffset=\"{}\" startNumber=\"{}\" \
         initialization=\"{folder}/{}\" media=\"{folder}/{}-$Number$.m4s\"",
        info.timescale,
        period.offset(info.timescale),
        first.number,
        crate::hls::init_file(init),
        info.epoch,
    );
    let part = index.rendition(run.name).map_or(0, |r| r.part_target_ms);
    if options.low_latency {
        // §5.3.9.5.3: a segment is there as soon as its first part is. Also when none is being made: dash.js asks the first
        // MPD that it gets whether this is low latency.
        let early =
            periods::expected(run) as f64 / f64::from(info.timescale) - f64::from(part) / 1e3;
        let _ = write!(
            out,
            " availabilityTimeOffset=\"{:.3}\" availabilityTimeComplete=\"false\"",
            early.max(0.0)
        );
    }
    out.push_str(">\n          <SegmentTimeline>\n");
    for (start, duration, repeat) in timeline(run) {
        out.push_str("            <S");
        if let Some(start) = start {
            let _ = write!(out, " t=\"{start}\"");
        }
        let _ = write!(out, " d=\"{duration}\"");
        if repeat > 0 {
            let _ = write!(out, " r=\"{repeat}\"");
        }
        out.push_str("/>\n");
    }
    out.push_str("          </SegmentTimeline>\n        </SegmentTemplate>\n");
}

/// `S` elements: the start where it does not follow from the one before, the duration, and how often it
/// repeats.
fn timeline(run: &Run<'_>) -> Vec<(Option<u64>, u64, u64)> {
    let mut entries: Vec<(Option<u64>, u64, u64)> = Vec::new();
    let mut end = None;
    for segment in &run.segments {
        let start = segment.info.start;
        let duration = match segment.complete {
            true => segment.duration(),
            false => periods::expected(run),
        };
        let follows = end == Some(start);
        match entries.last_mut() {
            Some((_, d, repeat)) if follows && *d == duration => *repeat += 1,
            _ => entries.push(((!follows).then_some(start), duration, 0)),
        }
        end = Some(start + duration);
    }
    entries
}

/// Whether a segment is listed.
fn listed(segment: &Segment, options: MpdOptions) -> bool {
    !segment.info.gap && (segment.complete || (options.low_latency && !segment.parts.is_empty()))
}

#[cfg(test)]
mod tests;
