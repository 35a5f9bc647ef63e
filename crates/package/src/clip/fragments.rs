//! A clip as segments of its own: what it is stored as when it becomes a video. The samples are those of the [`Plan`], byte
//! for byte; only their times are written anew.
//!
//! Players of fragments obey no edit list, so what must be decoded ahead of the first picture is not hidden by one: it
//! keeps its order and takes a tick each, ahead of that picture; and so does, behind the last one, what that needs. What a
//! viewer sees begins and ends where the plan says.

use std::ops::Range;

use media::fmp4::{Sample, fragment_header};
use media::mp4::{Movie, TopBox, Track, demux_boxes};

use super::{Piece, Plan, Refused};
use crate::index::Index;
use crate::limits::TARGET_DURATION_MAX;

/// A clip in segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragments {
    /// In order; the first one begins with a key frame.
    pub segments: Vec<ClipSegment>,
    /// Nanoseconds from the first picture to the first one that is meant to be seen.
    pub hidden_ns: u64,
    /// In seconds: no segment is longer, when that is rounded.
    pub target_duration: u32,
    /// What of each track of the plan holds for all segments.
    pub tracks: Vec<ClipTrack>,
}

/// A track of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClipTrack {
    /// Ticks a second.
    pub timescale: u32,
    /// No part is longer, in milliseconds.
    pub part_target_ms: u32,
}

/// One segment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClipSegment {
    /// Milliseconds since 1970 at what it was made of.
    pub wall_clock_ms: u64,
    /// What of each track of the plan is in it; nothing where its parts are none.
    pub shares: Vec<ClipShare>,
}

/// A track's share of a segment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClipShare {
    /// Decode time of its first sample, in ticks of its track.
    pub start: u64,
    /// In order.
    pub parts: Vec<ClipPart>,
}

/// One part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClipPart {
    /// `moof` and the head of `mdat`.
    pub head: Vec<u8>,
    /// What follows: bytes of parts of the source.
    pub pieces: Vec<Piece>,
    /// In ticks of its track.
    pub duration: u32,
    /// It starts with a frame that decoding can start with.
    pub independent: bool,
    /// Its first picture, which can be decoded alone, ends here.
    pub key_bytes: Option<u32>,
}

impl ClipPart {
    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.head.len() as u64 + self.pieces.iter().map(|p| p.len).sum::<u64>()
    }
}

/// Between the last picture that is decoded ahead and the first one that is seen: more than by what times differ that are
/// taken for the same, less than anybody sees.
const APART_MS: i64 = 3;

/// Where the first picture that is seen stands: sound that began a little earlier has times, too.
const BEGIN_MS: i64 = 200;

/// No time of a clip is larger, so sums of a few of them are numbers: 2,500 years at 90,000 ticks a second.
const TICKS_MAX: u64 = 1 << 53;

/// A sample with its new times.
#[derive(Debug, Clone, Copy)]
struct Timed {
    decode: i64,
    present: i64,
    /// Of the last one of a track; the others last until the next one.
    duration: u32,
    sync: bool,
    piece: Piece,
}

impl Fragments {
    /// Cuts where the source was cut. `index` is the source's: it says when that was.
    pub fn new(plan: &Plan, index: &Index) -> Result<Self, Refused> {
        let movie = movie(plan)?;
        let mut tracks = movie.tracks.iter();
        let main = tracks.next().ok_or(Refused::Damaged)?;
        let name = plan.tracks.first().ok_or(Refused::Damaged)?;
        let picture = name.starts_with("video");
        let begin = scaled(BEGIN_MS, main.timescale);
        let mut lead = samples(plan, main)?;
        if picture {
            let shown =
                ticks(i128::from(plan.duration_ns) * i128::from(main.timescale) + 500_000_000);
            let seen = main.edit_start..main.edit_start.saturating_add(shown / 1_000_000_000);
            retime(&mut lead, &seen, begin, scaled(APART_MS, main.timescale));
        } else {
            shift(&mut lead, main.edit_start, begin);
        }
        let borders = borders(&lead, begin);
        let hidden = if picture { begin_of(&lead, begin) } else { 0 };
        let mut segments: Vec<ClipSegment> = Vec::with_capacity(borders.len());
        for number in &borders {
            let wall_clock_ms = wall_clock(index, name, *number, plan.from_ns)?;
            segments.push(ClipSegment { wall_clock_ms, shares: Vec::new() });
        }
        share(&mut segments, &borders, &lead, picture)?;
        if let Some(sound) = tracks.next() {
            let mut heard = samples(plan, sound)?;
            let delay = i128::from(sound.delay_us) * i128::from(sound.timescale) / 1_000_000;
            let begin = scaled(BEGIN_MS, sound.timescale).saturating_add(ticks(delay));
            shift(&mut heard, sound.edit_start, begin);
            share(&mut segments, &borders, &heard, false)?;
        }
        let mut longest = 1;
        let mut tracks = Vec::new();
        for (i, track) in movie.tracks.iter().enumerate() {
            let timescale = track.timescale.max(1);
            let shares = || segments.iter().filter_map(|s| s.shares.get(i));
            let segment = shares().map(ClipShare::duration).max().unwrap_or(0);
            // RFC 8216 §4.3.3.1: rounded to the nearest.
            longest = longest.max((segment + u64::from(timescale) / 2) / u64::from(timescale));
            let part = shares().flat_map(|s| &s.parts).map(|p| u64::from(p.duration)).max();
            let part = (part.unwrap_or(0) * 1_000).div_ceil(u64::from(timescale));
            let part_target_ms = u32::try_from(part).map_err(|_| Refused::TooLong)?;
            tracks.push(ClipTrack { timescale, part_target_ms });
        }
        let target_duration = u32::try_from(longest).unwrap_or(u32::MAX);
        if target_duration > TARGET_DURATION_MAX {
            // So long a still picture is none of a clip.
            return Err(Refused::Gap);
        }
        let hidden_ns =
            i128::from(hidden.max(0)) * 1_000_000_000 / i128::from(main.timescale.max(1));
        let hidden_ns = u64::try_from(hidden_ns).unwrap_or(0);
        Ok(Self { segments, hidden_ns, target_duration, tracks })
    }
}

impl ClipShare {
    fn duration(&self) -> u64 {
        self.parts.iter().map(|p| u64::from(p.duration)).sum()
    }
}

/// The tables of the planned file.
fn movie(plan: &Plan) -> Result<Movie, Refused> {
    let size = |at: usize| Some(u32::from_be_bytes(*plan.head.get(at..)?.first_chunk()?) as usize);
    let start = size(0).ok_or(Refused::Damaged)?;
    let end = start.saturating_add(size(start).ok_or(Refused::Damaged)?);
    let within = start.saturating_add(8)..end;
    if plan.head.get(within.clone()).is_none()
        || plan.head.get(start + 4..start + 8) != Some(b"moov")
    {
        return Err(Refused::Damaged);
    }
    let moov = TopBox { kind: *b"moov", start, contents: plan.head.slice(within) };
    let len = usize::try_from(plan.len).map_err(|_| Refused::TooLong)?;
    let movie = demux_boxes(&[moov], len).map_err(|_| Refused::Damaged)?;
    let near = |ticks: i64| ticks.unsigned_abs() <= TICKS_MAX;
    let usable = |t: &Track| {
        let times = t.samples.iter().map(|s| s.decode).chain([t.edit_start, t.delay_us]);
        !t.samples.is_empty() && times.into_iter().all(near)
    };
    let same = movie.tracks.len() == plan.tracks.len() && movie.tracks.iter().all(usable);
    if same && plan.duration_ns <= TICKS_MAX { Ok(movie) } else { Err(Refused::Damaged) }
}

/// A track's samples in decoding order, each with the bytes of the source that it is.
fn samples(plan: &Plan, track: &Track) -> Result<Vec<Timed>, Refused> {
    let mut at = plan.head.len() as u64;
    let begin = |piece: &Piece| {
        let begin = at;
        at += piece.len;
        begin
    };
    let starts: Vec<u64> = plan.pieces.iter().map(begin).collect();
    let find = |range: &Range<usize>| {
        let (start, end) = (range.start as u64, range.end as u64);
        let place = starts.partition_point(|begin| *begin <= start).checked_sub(1)?;
        let (piece, begin) = (plan.pieces.get(place)?, *starts.get(place)?);
        let whole = end <= begin + piece.len;
        whole.then(|| Piece { start: piece.start + (start - begin), len: end - start, ..*piece })
    };
    let timed = track.samples.iter().map(|s| {
        Some(Timed {
            decode: s.decode,
            present: s.decode.saturating_add(s.composition.into()),
            duration: s.duration,
            sync: s.sync,
            piece: find(&s.range)?,
        })
    });
    timed.collect::<Option<Vec<_>>>().ok_or(Refused::Damaged)
}

/// Sound: what began `from` now begins at `to`; what was over by then is left out.
fn shift(samples: &mut Vec<Timed>, from: i64, to: i64) {
    samples.retain(|s| s.decode.saturating_add(s.duration.into()) > from);
    for sample in samples {
        sample.decode = sample.decode.saturating_sub(from).saturating_add(to);
        sample.present = sample.present.saturating_sub(from).saturating_add(to);
    }
}

/// Pictures: those that are seen, presented in `seen`, keep their distances and begin at `begin`. Others are there to be
/// decoded: they keep their order before and behind those, and take no time.
fn retime(samples: &mut [Timed], seen: &Range<i64>, begin: i64, apart: i64) {
    let mut ahead: Vec<usize> =
        (0..samples.len()).filter(|i| samples[*i].present < seen.start).collect();
    ahead.sort_by_key(|i| samples[*i].present);
    let mut behind: Vec<usize> =
        (0..samples.len()).filter(|i| samples[*i].present >= seen.end).collect();
    behind.sort_by_key(|i| samples[*i].present);
    for i in ahead.iter().chain(&behind) {
        samples[*i].duration = 1;
    }
    let within = |s: &Timed| seen.contains(&s.present);
    let first = samples.iter().position(within).unwrap_or(0);
    if let Some(last) = samples.get(..first).and_then(<[Timed]>::last).map(|_| first - 1) {
        samples[last].duration = u32::try_from(apart).unwrap_or(u32::MAX);
    }
    samples.iter_mut().for_each(|s| s.present = s.present - seen.start + begin);
    let count = signed(ahead.len());
    for (rank, i) in ahead.into_iter().enumerate() {
        samples[i].present = begin - apart - (count - 1 - signed(rank));
    }
    let end = seen.end - seen.start + begin;
    for (rank, i) in behind.into_iter().enumerate() {
        samples[i].present = end + signed(rank);
    }
    let mut at = 0;
    for sample in samples.iter_mut() {
        sample.decode = at;
        at += i64::from(sample.duration);
    }
    // As late as can be: nothing is shown before it is decoded.
    let early = samples.iter().map(|s| s.present - s.decode).min().unwrap_or(0);
    // Far more pictures ahead than anybody sends between two key frames might reach below zero.
    let below = early.min(0);
    samples.iter_mut().for_each(|s| {
        s.decode += early - below;
        s.present -= below;
    });
}

/// Ticks from the first sample, as players count, to what is seen first.
fn begin_of(samples: &[Timed], begin: i64) -> i64 {
    let first = samples.first().map_or(begin, |s| s.present);
    let seen = samples.iter().map(|s| s.present).filter(|p| *p >= begin).min().unwrap_or(first);
    seen - first
}

/// The numbers of the source's segments of which something is seen; what is decoded ahead goes with the first one.
fn borders(samples: &[Timed], begin: i64) -> Vec<u64> {
    let seen = samples.iter().filter(|s| s.present.saturating_add(s.duration.into()) > begin);
    let mut numbers: Vec<u64> = seen.map(|s| s.piece.segment).collect();
    numbers.dedup();
    numbers
}

/// Gives every segment what it has of a track.
fn share(
    segments: &mut [ClipSegment],
    borders: &[u64],
    samples: &[Timed],
    picture: bool,
) -> Result<(), Refused> {
    segments.iter_mut().for_each(|s| s.shares.push(ClipShare::default()));
    // What sounds ahead of the first picture or behind the last one is of the segments that there are.
    let of = |s: &Timed| borders.partition_point(|b| *b <= s.piece.segment).saturating_sub(1);
    let same =
        |a: &Timed, b: &Timed| (a.piece.segment, a.piece.part) == (b.piece.segment, b.piece.part);
    let mut rest = samples;
    let mut sequence = 0;
    for group in samples.chunk_by(same) {
        rest = rest.get(group.len()..).unwrap_or_default();
        let Some(first) = group.first() else { continue };
        let share = segments.get_mut(of(first)).and_then(|s| s.shares.last_mut());
        let share = share.ok_or(Refused::Damaged)?;
        if share.parts.is_empty() {
            share.start = u64::try_from(first.decode).map_err(|_| Refused::Damaged)?;
        }
        sequence += 1;
        share.parts.push(part(sequence, group, rest.first().map(|s| s.decode), picture)?);
    }
    Ok(())
}

fn part(
    sequence: u32,
    group: &[Timed],
    next: Option<i64>,
    picture: bool,
) -> Result<ClipPart, Refused> {
    let ends = group.iter().skip(1).map(|s| Some(s.decode)).chain([next]);
    let samples: Vec<Sample> = group
        .iter()
        .zip(ends)
        .map(|(s, end)| {
            let duration = end.map_or(i64::from(s.duration), |end| end - s.decode);
            Some(Sample {
                duration: u32::try_from(duration).ok()?,
                size: u32::try_from(s.piece.len).ok()?,
                sync: s.sync,
                composition_offset: i32::try_from(s.present - s.decode).ok()?,
            })
        })
        .collect::<Option<_>>()
        .ok_or(Refused::Damaged)?;
    let first = group.first().ok_or(Refused::Damaged)?;
    let start = u64::try_from(first.decode).map_err(|_| Refused::Damaged)?;
    let head = fragment_header(sequence, start, &samples).map_err(|_| Refused::Damaged)?;
    let mut pieces: Vec<Piece> = Vec::new();
    for sample in group {
        match pieces.last_mut() {
            Some(last) if last.start + last.len == sample.piece.start => {
                last.len += sample.piece.len;
            }
            _ => pieces.push(sample.piece),
        }
    }
    let duration: u64 = samples.iter().map(|s| u64::from(s.duration)).sum();
    let key = picture && first.sync;
    let key = key.then(|| u32::try_from(head.len() as u64 + first.piece.len).ok()).flatten();
    Ok(ClipPart {
        head,
        pieces,
        duration: u32::try_from(duration).map_err(|_| Refused::TooLong)?,
        independent: first.sync,
        key_bytes: key,
    })
}

/// When what is shown of a segment of the source was made.
fn wall_clock(index: &Index, name: &str, number: u64, from_ns: u64) -> Result<u64, Refused> {
    let r = index.rendition(name).ok_or(Refused::Gap)?;
    let at_ns = r.segment(number).ok_or(Refused::Gap)?.at_ns.max(from_ns);
    let place = r.segments.partition_point(|s| s.at_ns <= at_ns).saturating_sub(1);
    let segment = r.segments.get(place).ok_or(Refused::Gap)?;
    Ok(segment.info.wall_clock_ms.saturating_add((at_ns - segment.at_ns.min(at_ns)) / 1_000_000))
}

fn scaled(ms: i64, timescale: u32) -> i64 {
    ms * i64::from(timescale) / 1_000
}

fn signed(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn ticks(n: i128) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
