//! Samples, chosen as the heads of their parts are read.

use bytes::Bytes;
use media::fmp4::{Chunk, MOVIE_TIMESCALE, ProgressiveTrack, SampleTables, progressive_header};
use media::mp4::{Movie, Sample, demux};

use super::outline::{Outline, PartRef, Track};
use super::{Piece, Plan, Refused, SAME_NS, Wanted};
use crate::limits::{CLIP_PREROLL, CLIP_SAMPLES};

/// A file in the making.
pub struct Assembly {
    wanted: Wanted,
    tracks: Vec<Making>,
    pieces: Vec<Piece>,
    chunks: Vec<Chunk>,
    samples: usize,
    /// Where the run that is read begins: presentation time of its first picture on the clock of all tracks, and as players
    /// count, in nanoseconds.
    run: Option<(usize, i128, i128)>,
    shown: Shown,
}

/// What of the deciding track is shown, in its ticks from its first sample's decode time.
#[derive(Default)]
struct Shown {
    begin: Option<u64>,
    /// The first frame that is not in the range any more.
    behind: Option<u64>,
    /// Where the last one that is ends.
    end: u64,
}

struct Making {
    track: Track,
    init: Bytes,
    /// Of this one track; its samples are those of the part that was read last.
    movie: Movie,
    tables: SampleTables,
    /// As players count, in nanoseconds: decode time of its first sample.
    begin_ns: i128,
    /// The run that its newest sample is of, that run's first decode time, and where that is in the file, in ticks.
    run: Option<(usize, i64, u64)>,
    /// Behind the range; they go in if one follows in decoding order that is in it.
    pending: Vec<Pending>,
}

struct Pending {
    piece: Piece,
    sample: Sample,
    /// Decode time in the file, in ticks, and presentation as players count, in nanoseconds.
    at: u64,
    present_ns: i128,
}

impl Assembly {
    /// Begins a file; `inits` are the initialisation segments of the outline's tracks.
    pub fn new(outline: &Outline, inits: &[Bytes]) -> Result<Self, Refused> {
        let made = outline.tracks.iter().zip(inits).map(|(track, init)| {
            let movie = demux(init).ok().filter(|m| m.tracks.len() == 1);
            Ok(Making {
                track: track.clone(),
                init: init.clone(),
                movie: movie.ok_or(Refused::Damaged)?,
                tables: SampleTables::default(),
                begin_ns: 0,
                run: None,
                pending: Vec::new(),
            })
        });
        let tracks: Vec<Making> = made.collect::<Result<_, Refused>>()?;
        if tracks.len() != outline.tracks.len() {
            return Err(Refused::Damaged);
        }
        Ok(Self {
            wanted: outline.wanted,
            tracks,
            pieces: Vec::new(),
            chunks: Vec::new(),
            samples: 0,
            run: None,
            shown: Shown::default(),
        })
    }

    /// Takes the front of the outline's next part, at least its `moof`.
    pub fn push(&mut self, part: &PartRef, head: &[u8]) -> Result<(), Refused> {
        let len = usize::try_from(part.bytes).map_err(|_| Refused::Damaged)?;
        let making = self.tracks.get_mut(part.track).ok_or(Refused::Damaged)?;
        making.movie.fragment_head(head, len).map_err(|_| Refused::Damaged)?;
        let samples = making.movie.tracks.first_mut().map(|t| std::mem::take(&mut t.samples));
        let samples = samples.filter(|s| !s.is_empty()).ok_or(Refused::Damaged)?;
        let timescale = making.track.timescale;
        if self.run.is_none_or(|(run, _, _)| run != part.run)
            && part.track == 0
            && let Some(first) = samples.first()
        {
            let present = first.decode.saturating_add(first.composition.into());
            self.run = Some((part.run, ticks_to_ns(present, timescale), part.at_ns.into()));
        }
        for sample in samples {
            self.samples += 1;
            if self.samples > CLIP_SAMPLES {
                return Err(Refused::TooLong);
            }
            self.take(part, sample)?;
        }
        Ok(())
    }

    fn take(&mut self, part: &PartRef, sample: Sample) -> Result<(), Refused> {
        let Some((_, present_ns, at_ns)) = self.run else { return Err(Refused::Damaged) };
        let making = self.tracks.get_mut(part.track).ok_or(Refused::Damaged)?;
        let timescale = making.track.timescale;
        // As players count.
        let counted = |ticks: i64| ticks_to_ns(ticks, timescale) - present_ns + at_ns;
        let present = counted(sample.decode.saturating_add(sample.composition.into()));
        let end = present + ticks_to_ns(sample.duration.into(), timescale);
        let (from, to) = (i128::from(self.wanted.from_ns), i128::from(self.wanted.to_ns));
        let (main, same) = (part.track == 0, i128::from(SAME_NS));
        // Sound is decoded a little ahead, a picture from its key frame on.
        if making.track.name.starts_with("audio") && end <= from - CLIP_PREROLL.as_nanos() as i128 {
            return Ok(());
        }
        let at = making.place(part.run, sample.decode, counted(sample.decode));
        let start = sample.range.start as u64;
        let piece = Piece {
            track: part.track,
            segment: part.segment,
            epoch: part.epoch,
            part: part.part,
            start,
            len: (sample.range.end as u64).saturating_sub(start),
        };
        let shown_at = at.saturating_add_signed(sample.composition.into());
        let within = present < to - same;
        if main && within {
            if present >= from - same {
                self.shown.begin = Some(self.shown.begin.map_or(shown_at, |b| b.min(shown_at)));
            }
            let end = shown_at.saturating_add(sample.duration.into());
            self.shown.end = self.shown.end.max(end);
        } else if main {
            self.shown.behind = Some(self.shown.behind.map_or(shown_at, |b| b.min(shown_at)));
        }
        making.pending.push(Pending { piece, sample, at, present_ns: present });
        if within {
            let ready = std::mem::take(&mut making.pending);
            ready.into_iter().for_each(|pending| self.include(pending));
        }
        Ok(())
    }

    fn include(&mut self, pending: Pending) {
        let Pending { piece, sample, at, .. } = pending;
        let Some(making) = self.tracks.get_mut(piece.track) else { return };
        if making.tables.ticks() != at {
            making.tables.end_at(at);
        }
        let size = u32::try_from(piece.len).unwrap_or(u32::MAX);
        making.tables.push(sample.duration, size, sample.sync, sample.composition);
        if let (Some(last), Some(chunk)) = (self.pieces.last_mut(), self.chunks.last_mut())
            && (last.track, last.segment, last.part) == (piece.track, piece.segment, piece.part)
            && last.start + last.len == piece.start
        {
            last.len += piece.len;
            chunk.samples += 1;
            chunk.bytes += piece.len;
            return;
        }
        self.pieces.push(piece);
        self.chunks.push(Chunk { track: piece.track, samples: 1, bytes: piece.len });
    }

    /// The file, when all parts were read.
    pub fn finish(mut self) -> Result<Plan, Refused> {
        let (Some(main), Some(begin)) = (self.tracks.first(), self.shown.begin) else {
            // What was lost is no part.
            return Err(Refused::Empty);
        };
        let timescale = main.track.timescale;
        // A frame is shown until the next one, also where that one is not in the range; but not over a hole.
        let least = begin.saturating_add(1);
        let longest = self.shown.end.max(least);
        let end = self.shown.behind.map_or(longest, |behind| behind.min(longest).max(least));
        let begin_ns = main.begin_ns + ticks_to_ns(signed(begin), timescale);
        let end_ns = main.begin_ns + ticks_to_ns(signed(end), timescale);
        for track in 1..self.tracks.len() {
            let pending = std::mem::take(&mut self.tracks[track].pending);
            pending.into_iter().filter(|p| p.present_ns < end_ns).for_each(|p| self.include(p));
        }
        // What is wanted to its end may sound for longer than it is seen.
        let heard_ns = if self.wanted.to_ns == u64::MAX { i128::MAX } else { end_ns };
        let mut tracks = Vec::new();
        let mut names = Vec::new();
        let mut place = vec![None; self.tracks.len()];
        for (i, making) in self.tracks.into_iter().enumerate() {
            if making.tables.is_empty() {
                continue;
            }
            place[i] = Some(tracks.len());
            names.push(making.track.name.clone());
            let (from, delay, shown) = match i {
                0 => (begin, 0, rescaled(end - begin, timescale)),
                _ => making.beside(begin_ns, heard_ns),
            };
            tracks.push(ProgressiveTrack {
                init: making.init,
                timescale: making.track.timescale,
                samples: making.tables,
                shown_from: from,
                delay,
                shown,
            });
        }
        for (piece, chunk) in self.pieces.iter_mut().zip(&mut self.chunks) {
            let track = place.get(piece.track).copied().flatten().ok_or(Refused::Damaged)?;
            (piece.track, chunk.track) = (track, track);
        }
        let head = progressive_header(&tracks, &self.chunks).map_err(|_| Refused::Damaged)?;
        let len = head.len() as u64 + self.pieces.iter().map(|p| p.len).sum::<u64>();
        Ok(Plan {
            head: head.into(),
            pieces: self.pieces,
            tracks: names,
            len,
            from_ns: unsigned(begin_ns),
            duration_ns: unsigned(end_ns - begin_ns),
        })
    }
}

impl Making {
    /// Where in the file a decode time is, in ticks from the first sample. `counted_ns`: the same as players count.
    fn place(&mut self, run: usize, decode: i64, counted_ns: i128) -> u64 {
        let (first, base) = match self.run {
            Some((known, first, base)) if known == run => (first, base),
            Some(_) => {
                let ticks = (counted_ns - self.begin_ns) * i128::from(self.track.timescale);
                (decode, unsigned((ticks + 500_000_000) / 1_000_000_000))
            }
            None => {
                self.begin_ns = counted_ns;
                (decode, 0)
            }
        };
        self.run = Some((run, first, base));
        base.saturating_add_signed(decode.saturating_sub(first))
    }

    /// The edit of a track that goes with the deciding one: from which tick it is heard, how long not yet, and how long.
    fn beside(&self, begin_ns: i128, end_ns: i128) -> (u64, u64, u64) {
        let timescale = i128::from(self.track.timescale);
        let own_end =
            self.begin_ns + ticks_to_ns(signed(self.tables.ticks()), self.track.timescale);
        let begin = begin_ns.max(self.begin_ns);
        let to_movie = |ns: i128| unsigned(ns * i128::from(MOVIE_TIMESCALE) / 1_000_000_000);
        let from = (begin - self.begin_ns) * timescale;
        // Rounded to the nearest sample of sound.
        let from = unsigned((from + 500_000_000) / 1_000_000_000);
        (from, to_movie(begin - begin_ns), to_movie(end_ns.min(own_end) - begin).max(1))
    }
}

fn ticks_to_ns(ticks: i64, timescale: u32) -> i128 {
    i128::from(ticks) * 1_000_000_000 / i128::from(timescale.max(1))
}

fn rescaled(ticks: u64, timescale: u32) -> u64 {
    let scaled = u128::from(ticks) * u128::from(MOVIE_TIMESCALE) / u128::from(timescale.max(1));
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

fn signed(ticks: u64) -> i64 {
    i64::try_from(ticks).unwrap_or(i64::MAX)
}

fn unsigned(n: i128) -> u64 {
    u64::try_from(n.max(0)).unwrap_or(u64::MAX)
}
