//! Where media comes from: a file or a pipe, as tracks and frames in the order of their times.

mod convert;
mod flv;
mod interleave;
mod mp4_file;
mod mp4_pipe;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use media::codec::{AudioFormat, Config, VideoFormat};
use tokio::sync::mpsc;

use crate::limits::ITEMS_WAITING;

/// A codec by its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Pictures.
    Video(VideoFormat),
    /// Sound.
    Audio(AudioFormat),
}

impl Codec {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Video(format) => format.name(),
            Self::Audio(format) => format.name(),
        }
    }
}

/// One track, or a new configuration of one.
#[derive(Clone, Debug, PartialEq)]
pub struct Track {
    /// Its codec.
    pub codec: Codec,
    /// The how-manieth of its kind, from 0.
    pub id: u8,
    /// Decoder configuration as a sequence header of FLV holds it.
    pub record: Bytes,
    /// Pixels, where the source says so.
    pub size: Option<(u32, u32)>,
    /// Frames a second, where the source says so.
    pub frame_rate: Option<f64>,
    /// What is spoken (BCP 47), where the source says it.
    pub language: Option<String>,
}

/// One access unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// Of the track's codec.
    pub codec: Codec,
    /// The track's number among its kind.
    pub id: u8,
    /// Decode time from the start of the source.
    pub at_us: u64,
    /// Presentation time minus decode time.
    pub composition_us: i64,
    /// What the source says of it.
    pub key: bool,
    /// NAL units are framed as the track's record says.
    pub data: Bytes,
}

/// What a source holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// A track begins, or its configuration changes.
    Track(Track),
    /// The next frame.
    Frame(Frame),
    /// A script tag of FLV, AMF0.
    Script(Bytes),
    /// The source begins anew after this; times go on.
    Round,
}

/// Why a source can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The system's words.
    #[error("can't read {name}: {error}")]
    Read {
        /// The file's path, or standard input.
        name: String,
        /// Why.
        error: std::io::Error,
    },
    /// It is something else, or something that can't be carried.
    #[error("{name} {problem}\n{remedy}")]
    Unusable {
        /// The file's path, or standard input.
        name: String,
        /// What is wrong, as the rest of a sentence.
        problem: String,
        /// What to do about it.
        remedy: String,
    },
    /// It is of a kind that is read, and broken.
    #[error("{name}: {problem}")]
    Broken {
        /// The file's path, or standard input.
        name: String,
        /// What is wrong.
        problem: String,
    },
}

/// What to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file, perhaps again and again.
    File {
        /// Its path.
        path: PathBuf,
        /// For ever.
        again: bool,
    },
    /// Standard input.
    Stdin,
}

/// Reads a source in a thread of its own, which ends with the source, or when the receiver is dropped. The last item may
/// be an error. A pipe that gives nothing keeps its thread until the program ends.
pub fn start(place: Place) -> std::io::Result<mpsc::Receiver<Result<Item, SourceError>>> {
    let (items, received) = mpsc::channel(ITEMS_WAITING);
    let read = move || {
        let mut sink = Sink { items };
        let done = match &place {
            Place::File { path, again } => read_file(path, *again, &mut sink),
            Place::Stdin => read_pipe("standard input", &mut std::io::stdin().lock(), &mut sink),
        };
        if let Err(Stop::Error(error)) = done {
            let _ = sink.items.blocking_send(Err(error));
        }
    };
    std::thread::Builder::new().name("source".into()).spawn(read)?;
    Ok(received)
}

/// Why reading ends early.
enum Stop {
    /// Nobody listens any more.
    Dropped,
    Error(SourceError),
}

impl From<SourceError> for Stop {
    fn from(error: SourceError) -> Self {
        Self::Error(error)
    }
}

struct Sink {
    items: mpsc::Sender<Result<Item, SourceError>>,
}

impl Sink {
    fn give(&mut self, item: Item) -> Result<(), Stop> {
        self.items.blocking_send(Ok(item)).map_err(|_| Stop::Dropped)
    }
}

fn read_file(path: &Path, again: bool, sink: &mut Sink) -> Result<(), Stop> {
    let name = path.display().to_string();
    let failed = |error| SourceError::Read { name: name.clone(), error };
    let mut file = File::open(path).map_err(failed)?;
    let mut head = [0; 12];
    let n = read_full(&mut file, &mut head).map_err(failed)?;
    let head = head.get(..n).unwrap_or_default();
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    if head.starts_with(b"FLV") {
        let mut zero = 0;
        loop {
            file.seek(SeekFrom::Start(0)).map_err(failed)?;
            zero = flv::read(&name, &mut file, zero, sink)?;
            if !again || zero == 0 {
                return Ok(());
            }
            sink.give(Item::Round)?;
        }
    }
    if convert::is_mp4(head) {
        return mp4_file::read(&name, &file, again, sink);
    }
    Err(convert::refuse(&name, head).into())
}

fn read_pipe(name: &str, pipe: &mut impl Read, sink: &mut Sink) -> Result<(), Stop> {
    let mut head = [0; 12];
    let n = read_full(pipe, &mut head)
        .map_err(|error| SourceError::Read { name: name.to_owned(), error })?;
    let head = head.get(..n).unwrap_or_default();
    let mut whole = head.chain(pipe);
    if head.starts_with(b"FLV") {
        return flv::read(name, &mut whole, 0, sink).map(drop);
    }
    if convert::is_mp4(head) {
        return mp4_pipe::read(name, &mut whole, sink);
    }
    Err(convert::refuse(name, head).into())
}

/// Fills the buffer, or as much of it as there is.
fn read_full(from: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut n = 0;
    while let Some(rest) = buffer.get_mut(n..).filter(|rest| !rest.is_empty()) {
        match from.read(rest) {
            Ok(0) => break,
            Ok(more) => n += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(n)
}

/// The tracks of a movie that can be carried, numbered among their kind, and what stands in the way.
fn tracks_of(name: &str, movie: &media::mp4::Movie) -> Result<Vec<Track>, SourceError> {
    if let Some(refused) = convert::refuse_tracks(name, &movie.unsupported) {
        return Err(refused);
    }
    let (mut videos, mut audios) = (0u8, 0u8);
    let tracks = movie.tracks.iter().map(|track| {
        let record = media::flv::record(&track.config);
        match &track.config {
            Config::Video(video) => {
                videos = videos.saturating_add(1);
                let (codec, size) =
                    (Codec::Video(video.format()), Some((video.width, video.height)));
                Track {
                    codec,
                    id: videos - 1,
                    record,
                    size,
                    frame_rate: frame_rate(track),
                    language: track.language.clone(),
                }
            }
            Config::Audio(audio) => {
                audios = audios.saturating_add(1);
                let codec = Codec::Audio(audio.format());
                Track {
                    codec,
                    id: audios - 1,
                    record,
                    size: None,
                    frame_rate: None,
                    language: track.language.clone(),
                }
            }
        }
    });
    let tracks: Vec<Track> = tracks.collect();
    if tracks.is_empty() {
        return Err(convert::no_tracks(name));
    }
    Ok(tracks)
}

/// What the file's times say, else the bitstream.
fn frame_rate(track: &media::mp4::Track) -> Option<f64> {
    let first = track.samples.first();
    let last = track.samples.last();
    if let (Some(first), Some(last)) = (first, last)
        && track.samples.len() > 1
    {
        let ticks = last.decode - first.decode + i64::from(last.duration);
        let seconds = ticks as f64 / f64::from(track.timescale);
        return (seconds > 0.0).then(|| track.samples.len() as f64 / seconds);
    }
    match &track.config {
        Config::Video(video) => video.frame_rate.map(media::codec::Ratio::as_f64),
        Config::Audio(_) => None,
    }
}

/// A frame of an MP4 sample. `zero_us` is the source's start on the clock that all tracks share.
fn frame_of(
    info: &Track,
    track: &media::mp4::Track,
    sample: &media::mp4::Sample,
    zero_us: i64,
    data: Bytes,
) -> Result<Frame, media::mp4::Error> {
    let at = track.shared_us(sample.decode);
    let present = track.shared_us(sample.decode.saturating_add(sample.composition.into()));
    Ok(Frame {
        codec: info.codec,
        id: info.id,
        at_us: u64::try_from(at.saturating_sub(zero_us)).unwrap_or(0),
        composition_us: present.saturating_sub(at),
        key: sample.sync,
        data: track.frame(data)?,
    })
}
