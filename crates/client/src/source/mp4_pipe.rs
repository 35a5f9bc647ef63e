//! A fragmented MP4 as it comes out of a pipe.

use std::io::Read;

use media::mp4::{Event, Movie, Reader, StreamError};

use super::interleave::Interleave;
use super::{Item, Sink, SourceError, Stop, Track, convert, frame_of, tracks_of};
use crate::limits::READ_BYTES;

pub(super) fn read(name: &str, pipe: &mut impl Read, sink: &mut Sink) -> Result<(), Stop> {
    let broken = |problem: String| SourceError::Broken { name: name.to_owned(), problem };
    let mut reader = Reader::new();
    let mut buffer = vec![0; READ_BYTES];
    let mut known: Option<(Movie, Vec<Track>)> = None;
    let mut frames = Interleave::new(0);
    loop {
        let n = match pipe.read(&mut buffer) {
            Ok(n) => n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(SourceError::Read { name: name.to_owned(), error }.into()),
        };
        if n == 0 {
            break;
        }
        reader.push(buffer.get(..n).unwrap_or_default());
        loop {
            match reader.next_event() {
                Ok(None) => break,
                Ok(Some(Event::Movie(movie))) => {
                    let tracks = tracks_of(name, &movie)?;
                    for track in &tracks {
                        sink.give(Item::Track(track.clone()))?;
                    }
                    frames = Interleave::new(tracks.len());
                    known = Some((movie, tracks));
                }
                Ok(Some(Event::Fragment(found))) => {
                    let Some((movie, tracks)) = &known else { continue };
                    for one in found {
                        let (Some(info), Some(track)) =
                            (tracks.get(one.track), movie.tracks.get(one.track))
                        else {
                            continue;
                        };
                        let at_us = track.shared_us(one.sample.decode);
                        // Times are made from the first frame that leaves.
                        let frame = frame_of(info, track, &one.sample, at_us, one.data)
                            .map_err(|e| broken(e.to_string()))?;
                        frames.push(one.track, at_us, frame);
                    }
                    while let Some(frame) = frames.pop() {
                        sink.give(Item::Frame(frame))?;
                    }
                }
                Err(StreamError::NotFragmented) => return Err(convert::not_fragmented(name).into()),
                Err(error) => return Err(broken(error.to_string()).into()),
            }
        }
    }
    if known.is_none() {
        return Err(broken("it ends before its tracks are described".to_owned()).into());
    }
    frames.end();
    while let Some(frame) = frames.pop() {
        sink.give(Item::Frame(frame))?;
    }
    Ok(())
}
