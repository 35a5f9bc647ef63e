//! Keeping what is watched: one fragmented MP4 with all tracks.
//!
//! One file, because that is what players and ffmpeg take; each track's segments hold only that track, so their fragments
//! get new track ids and stand one after the other. When the configuration of a track changes (another size, another
//! codec), one `moov` can't describe both: the recording goes on in another file, at the same segment for all tracks.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use media::fmp4::{MergeError, TrackIds, append_fragments, merge_inits};

use crate::limits::RECORD_BYTES_WAITING;

/// Why nothing more is recorded.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The system's words.
    #[error("can't write {}: {error}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// What comes is no fragmented MP4.
    #[error("can't record: {0}")]
    Media(#[from] MergeError),
    /// Segments without an initialisation segment are MPEG-TS or the like.
    #[error("can't record: the segments are no fragmented MP4")]
    NotMp4,
    /// A track comes so much later than the others that they don't fit into memory.
    #[error("can't record: a track is more than {max} MiB behind the others", max = RECORD_BYTES_WAITING >> 20)]
    TooFarApart,
}

/// A recording in progress.
#[derive(Debug)]
pub(super) struct Recorder {
    path: PathBuf,
    tracks: Vec<Track>,
    current: Option<Current>,
    files: Vec<PathBuf>,
    waiting: usize,
    scratch: Vec<u8>,
}

#[derive(Debug, Default)]
struct Track {
    queue: VecDeque<Piece>,
    ended: bool,
}

#[derive(Debug)]
struct Piece {
    /// Of its segment.
    number: u64,
    init: Bytes,
    bytes: Bytes,
}

/// The file that is written.
#[derive(Debug)]
struct Current {
    path: PathBuf,
    file: BufWriter<File>,
    /// Of each track; none of a track that had ended before.
    inits: Vec<Option<(Bytes, TrackIds)>>,
    sequence: u32,
}

impl Recorder {
    pub(super) fn new(path: PathBuf, tracks: usize) -> Self {
        let tracks = (0..tracks).map(|_| Track::default()).collect();
        Self { path, tracks, current: None, files: Vec::new(), waiting: 0, scratch: Vec::new() }
    }

    /// Takes a segment or a part of one.
    pub(super) fn media(
        &mut self,
        track: usize,
        number: u64,
        init: &Bytes,
        bytes: &Bytes,
    ) -> Result<(), RecordError> {
        if init.is_empty() {
            return Err(RecordError::NotMp4);
        }
        let (init, bytes) = (init.clone(), bytes.clone());
        self.waiting += bytes.len();
        if let Some(track) = self.tracks.get_mut(track) {
            track.queue.push_back(Piece { number, init, bytes });
        }
        if self.waiting > RECORD_BYTES_WAITING {
            return Err(RecordError::TooFarApart);
        }
        self.write()
    }

    /// Nothing more comes of this track.
    pub(super) fn ended(&mut self, track: usize) -> Result<(), RecordError> {
        if let Some(track) = self.tracks.get_mut(track) {
            track.ended = true;
        }
        self.write()
    }

    /// Writes what is left, whatever track is still expected.
    pub(super) fn finish(mut self) -> Result<Vec<PathBuf>, RecordError> {
        self.tracks.iter_mut().for_each(|track| track.ended = true);
        self.write()?;
        self.close()?;
        Ok(self.files)
    }

    /// Writes whatever may be written now.
    fn write(&mut self) -> Result<(), RecordError> {
        loop {
            // The first number that needs another file.
            let cut = self
                .tracks
                .iter()
                .enumerate()
                .filter_map(|(i, track)| Some((i, track.queue.front()?)))
                .filter(|(i, piece)| !self.fits(*i, &piece.init))
                .map(|(_, piece)| piece.number)
                .min();
            for i in 0..self.tracks.len() {
                while let Some(piece) = self.tracks.get(i).and_then(|t| t.queue.front())
                    && self.fits(i, &piece.init)
                    && cut.is_none_or(|cut| piece.number < cut)
                {
                    self.write_piece(i)?;
                }
            }
            let Some(cut) = cut else { return Ok(()) };
            let reached = self.tracks.iter().all(|track| match track.queue.front() {
                Some(piece) => piece.number >= cut,
                None => track.ended,
            });
            if !reached {
                return Ok(());
            }
            self.begin()?;
        }
    }

    fn fits(&self, track: usize, init: &Bytes) -> bool {
        let current = self.current.as_ref().and_then(|c| c.inits.get(track)?.as_ref());
        current.is_some_and(|(known, _)| known == init)
    }

    fn write_piece(&mut self, track: usize) -> Result<(), RecordError> {
        let piece = self.tracks.get_mut(track).and_then(|t| t.queue.pop_front());
        let (Some(piece), Some(current)) = (piece, &mut self.current) else { return Ok(()) };
        self.waiting -= piece.bytes.len();
        if let Some(Some((_, ids))) = current.inits.get(track) {
            self.scratch.clear();
            append_fragments(&mut self.scratch, &piece.bytes, ids, &mut current.sequence)?;
            let written = current.file.write_all(&self.scratch);
            written.map_err(|error| RecordError::Write { path: current.path.clone(), error })?;
        }
        Ok(())
    }

    /// Begins a file with the tracks that have something.
    fn begin(&mut self) -> Result<(), RecordError> {
        self.close()?;
        let fronts: Vec<Option<Bytes>> =
            self.tracks.iter().map(|t| t.queue.front().map(|p| p.init.clone())).collect();
        let present: Vec<&[u8]> = fronts.iter().flatten().map(|init| &init[..]).collect();
        let (head, ids) = merge_inits(&present)?;
        let mut ids = ids.into_iter();
        let inits = fronts
            .into_iter()
            .map(|init| init.and_then(|init| Some((init, ids.next()?))))
            .collect();
        let path = numbered(&self.path, self.files.len() + 1);
        let failed = |error| RecordError::Write { path: path.clone(), error };
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&path);
        let mut file = BufWriter::new(file.map_err(failed)?);
        file.write_all(&head).map_err(failed)?;
        self.files.push(path.clone());
        self.current = Some(Current { path, file, inits, sequence: 0 });
        Ok(())
    }

    fn close(&mut self) -> Result<(), RecordError> {
        let Some(mut current) = self.current.take() else { return Ok(()) };
        let flushed = current.file.flush();
        flushed.map_err(|error| RecordError::Write { path: current.path, error })
    }
}

/// `a.mp4`, `a-2.mp4`, `a-3.mp4`
fn numbered(path: &Path, n: usize) -> PathBuf {
    if n == 1 {
        return path.to_owned();
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().map(|e| format!(".{}", e.to_string_lossy()));
    path.with_file_name(format!("{stem}-{n}{}", extension.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use media::codec::aac::AudioSpecificConfig;
    use media::codec::{Config, opus};
    use media::fmp4::{Sample, fragment_header, init_segment};
    use media::mp4::demux;

    use super::*;

    fn init(aac: bool) -> Bytes {
        let config = match aac {
            true => AudioSpecificConfig::parse(&[0x11, 0x90]).unwrap().config(),
            false => {
                opus::Head::parse(b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0").unwrap().config()
            }
        };
        init_segment(&Config::Audio(config), 48_000)
    }

    fn piece(payload: u8) -> Bytes {
        let sample = Sample { duration: 1024, size: 1, sync: true, composition_offset: 0 };
        let mut out = fragment_header(1, u64::from(payload), &[sample]).unwrap();
        out.push(payload);
        out.into()
    }

    /// Payloads of each track of a file.
    fn payloads(path: &Path) -> Vec<Vec<u8>> {
        let file = Bytes::from(std::fs::read(path).unwrap());
        let movie = demux(&file).unwrap();
        let data =
            |t: &media::mp4::Track| t.samples.iter().map(|s| s.data(&file).unwrap()[0]).collect();
        movie.tracks.iter().map(data).collect()
    }

    #[test]
    fn a_change_of_configuration_begins_another_file_at_the_same_number_for_all() {
        let folder = tempfile::tempdir().unwrap();
        let mut recorder = Recorder::new(folder.path().join("a.mp4"), 2);
        let mut take = |track: usize, number: u64, aac: bool, payload: u8| {
            recorder.media(track, number, &init(aac), &piece(payload)).unwrap();
        };
        take(0, 7, true, 1);
        take(0, 7, true, 2);
        take(1, 7, true, 3);
        // Track 0 changes at 8; track 1 is not there yet, and does not change.
        take(0, 8, false, 4);
        take(1, 7, true, 5);
        take(1, 8, true, 6);
        take(0, 9, false, 7);
        recorder.ended(0).unwrap();
        let mut take = |track: usize, number: u64, aac: bool, payload: u8| {
            recorder.media(track, number, &init(aac), &piece(payload)).unwrap();
        };
        take(1, 9, true, 8);
        let files = recorder.finish().unwrap();
        let names: Vec<_> =
            files.iter().map(|f| f.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["a.mp4", "a-2.mp4"]);
        assert_eq!(payloads(&files[0]), [vec![1, 2], vec![3, 5]]);
        assert_eq!(payloads(&files[1]), [vec![4, 7], vec![6, 8]]);
    }

    #[test]
    fn what_has_not_begun_is_waited_for_until_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let mut recorder = Recorder::new(folder.path().join("a.mp4"), 2);
        recorder.media(1, 3, &init(true), &piece(1)).unwrap();
        assert!(recorder.files.is_empty());
        let files = recorder.finish().unwrap();
        assert_eq!(payloads(&files[0]), [vec![1]]);
        let mut recorder = Recorder::new(folder.path().join("b.mp4"), 1);
        assert!(matches!(recorder.media(0, 1, &Bytes::new(), &piece(1)), Err(RecordError::NotMp4)));
    }
}
