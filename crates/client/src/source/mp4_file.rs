//! An MP4 file on a disk: its tables are in memory, its media is read frame by frame.

use std::fs::File;
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use media::limits::MP4_MOOV_BYTES_MAX;
use media::mp4::{Movie, Sample, TopBox, demux_boxes};

use super::{Frame, Item, Sink, SourceError, Stop, Track, frame_of, tracks_of};

pub(super) fn read(name: &str, file: &File, again: bool, sink: &mut Sink) -> Result<(), Stop> {
    let failed = |error| SourceError::Read { name: name.to_owned(), error };
    let broken = |problem: String| SourceError::Broken { name: name.to_owned(), problem };
    let boxes = tables(file).map_err(failed)?;
    let len = file.metadata().map_err(failed)?.len();
    let len = usize::try_from(len).map_err(|_| broken("it is too large".to_owned()))?;
    let movie = demux_boxes(&boxes, len).map_err(|e| broken(e.to_string()))?;
    drop(boxes);
    let tracks = tracks_of(name, &movie)?;
    let zero_us = zero(&movie).ok_or_else(|| broken("it has no frames".to_owned()))?;
    let length_us = length(&movie);
    for track in &tracks {
        sink.give(Item::Track(track.clone()))?;
    }
    for round in 0u64.. {
        if round > 0 {
            sink.give(Item::Round)?;
        }
        let mut next = vec![0usize; movie.tracks.len()];
        while let Some((track, sample)) = earliest(&movie, &mut next) {
            let mut data = vec![0; sample.range.len()];
            file.read_exact_at(&mut data, sample.range.start as u64).map_err(failed)?;
            let frame = frame(&movie, &tracks, track, sample, zero_us, data.into())
                .map_err(|e| broken(e.to_string()))?;
            let at_us = frame.at_us + round * length_us;
            sink.give(Item::Frame(Frame { at_us, ..frame }))?;
        }
        if !again || length_us == 0 {
            break;
        }
    }
    Ok(())
}

fn frame(
    movie: &Movie,
    tracks: &[Track],
    track: usize,
    sample: &Sample,
    zero_us: i64,
    data: Bytes,
) -> Result<Frame, media::mp4::Error> {
    // invariant: `tracks` has one for each of the movie's, and `track` came from them.
    frame_of(&tracks[track], &movie.tracks[track], sample, zero_us, data)
}

/// `moov` and all `moof`, without the media between them.
fn tables(file: &File) -> std::io::Result<Vec<TopBox>> {
    let len = file.metadata()?.len();
    let (mut at, mut held, mut boxes) = (0u64, 0usize, Vec::new());
    while at + 8 <= len {
        let mut head = [0; 16];
        let n = usize::try_from((len - at).min(16)).unwrap_or(16);
        file.read_exact_at(head.get_mut(..n).unwrap_or_default(), at)?;
        let [a, b, c, d, k0, k1, k2, k3, ..] = head;
        let kind = [k0, k1, k2, k3];
        let (size, header) = match u32::from_be_bytes([a, b, c, d]) {
            0 => (len - at, 8),
            1 => {
                let [.., e, f, g, h, i, j, k, l] = head;
                (u64::from_be_bytes([e, f, g, h, i, j, k, l]), 16)
            }
            size => (u64::from(size), 8),
        };
        // What is cut off plays as far as it goes; a size that can't be ends the walk.
        let Some(end) = at.checked_add(size).filter(|end| size >= header && *end <= len) else {
            break;
        };
        if &kind == b"moov" || &kind == b"moof" {
            let contents = usize::try_from(size - header).unwrap_or(usize::MAX);
            held = held.saturating_add(contents);
            if held > MP4_MOOV_BYTES_MAX {
                return Err(std::io::Error::other("its index is larger than 128 MiB"));
            }
            let mut data = vec![0; contents];
            file.read_exact_at(&mut data, at + header)?;
            let start = usize::try_from(at).unwrap_or(usize::MAX);
            boxes.push(TopBox { kind, start, contents: data.into() });
        }
        at = end;
    }
    Ok(boxes)
}

/// The next sample of all tracks by decode time; `next` counts what was taken.
fn earliest<'a>(movie: &'a Movie, next: &mut [usize]) -> Option<(usize, &'a Sample)> {
    let candidates = movie.tracks.iter().enumerate().filter_map(|(i, track)| {
        let sample = track.samples.get(*next.get(i)?)?;
        Some((track.shared_us(sample.decode), i, sample))
    });
    let (_, track, sample) = candidates.min_by_key(|(at, i, _)| (*at, *i))?;
    if let Some(next) = next.get_mut(track) {
        *next += 1;
    }
    Some((track, sample))
}

fn zero(movie: &Movie) -> Option<i64> {
    movie.tracks.iter().filter_map(|t| Some(t.shared_us(t.samples.first()?.decode))).min()
}

/// How long a round is: as long as the longest track. The tracks may begin apart from each other (pictures are decoded ahead
/// of their time), and each goes on behind its own end.
fn length(movie: &Movie) -> u64 {
    let lengths = movie.tracks.iter().filter_map(|track| {
        let (first, last) = (track.samples.first()?, track.samples.last()?);
        // Muxers cut the last frame of sound short, to where the pictures end; a decoder plays all of it.
        let whole = track.samples.iter().rev().take(2).map(|s| s.duration).max()?;
        let end = last.decode.saturating_add(whole.into());
        Some(track.us(end.saturating_sub(first.decode)))
    });
    u64::try_from(lengths.max().unwrap_or(0)).unwrap_or(0)
}
