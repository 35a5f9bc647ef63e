//! A job: one decode, a stage for each output, each in a thread of its own, chained from the largest to the smallest. Sound
//! is a job of another kind ([`sound`]).

use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use encode::limits::GOES_ON_EVERY;
use encode::wire::{self, FromEncoder, Output, PictureSource, Source, ToEncoder, WireError};
use ffmpeg::frame;
use ffmpeg_the_third as ffmpeg;

use crate::decode::{Decode, Picture};
use crate::sound;
use crate::stage::{SOFTWARE, Scaler, Stage};

/// Pictures that wait for a stage: enough that none waits for another's hard picture.
const WAITING: usize = 4;

/// The pipe to the server, shared by the stages. Each message goes out whole and at once.
pub(crate) struct Out(Mutex<Box<dyn Write + Send>>);

impl Out {
    pub(crate) fn new(pipe: impl Write + Send + 'static) -> Self {
        Self(Mutex::new(Box::new(pipe)))
    }

    pub(crate) fn send(&self, message: &FromEncoder) -> Result<(), io::Error> {
        let mut pipe = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pipe.write_all(&message.encode())?;
        pipe.flush()
    }
}

/// Does the next job; false when the server has closed the pipe.
pub(crate) fn next(input: &mut impl Read, out: &Out) -> Result<bool, Box<dyn std::error::Error>> {
    let Some((kind, body)) = wire::read(input)? else { return Ok(false) };
    let ToEncoder::Begin { source, outputs } = ToEncoder::decode(kind, body)? else {
        return Err("a job begins with Begin".into());
    };
    let mut frames = Frames { input, ended: false };
    let done = match source {
        Source::Pictures(source) => run(&source, &outputs, &mut frames, out),
        Source::Sound(source) => sound::run(&source, &outputs, &mut frames, out),
    };
    let done = match done {
        Ok((decoded, broken)) => FromEncoder::Done { decoded, broken },
        Err(Failure::Wire(error)) => return Err(error.into()),
        Err(Failure::Words(words)) => FromEncoder::Failed(words),
        Err(Failure::Encoder(words)) => FromEncoder::NoEncoder(words),
    };
    // What was sent before the server heard of it.
    while frames.next()?.is_some() {}
    out.send(&done)?;
    Ok(true)
}

pub(crate) enum Failure {
    Wire(WireError),
    Words(String),
    /// One that is none of the processor's, perhaps: nothing else is known to fail there.
    Encoder(String),
}

impl From<WireError> for Failure {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

impl From<String> for Failure {
    fn from(words: String) -> Self {
        Self::Words(words)
    }
}

pub(crate) struct Frames<'a, R> {
    input: &'a mut R,
    ended: bool,
}

impl<R: Read> Frames<'_, R> {
    /// The next frame of the job; none at its end.
    pub(crate) fn next(&mut self) -> Result<Option<wire::Frame>, WireError> {
        if self.ended {
            return Ok(None);
        }
        let Some((kind, body)) = wire::read(self.input)? else {
            return Err(WireError::Truncated("the end of the job"));
        };
        match ToEncoder::decode(kind, body)? {
            ToEncoder::Frame(frame) => Ok(Some(frame)),
            ToEncoder::End => {
                self.ended = true;
                Ok(None)
            }
            ToEncoder::Begin { .. } => Err(WireError::Unknown("a job within a job")),
        }
    }
}

/// Pictures decoded and frames broken.
fn run(
    source: &PictureSource,
    outputs: &[Output],
    frames: &mut Frames<'_, impl Read>,
    out: &Out,
) -> Result<(u32, u32), Failure> {
    let mut stages = Vec::new();
    let is_hardware = |output: &Output| match output {
        Output::H264(h264) => h264.encoder != SOFTWARE,
        _ => false,
    };
    let hardware = outputs.iter().any(is_hardware);
    let of_stage = |words: String| match hardware {
        true => Failure::Encoder(words),
        false => Failure::Words(words),
    };
    for (index, output) in outputs.iter().enumerate() {
        let stage = Stage::open(u8::try_from(index).unwrap_or(u8::MAX), output, out);
        stages.push(stage.map_err(of_stage)?);
    }
    let mut decode = Decode::open(source)?;
    std::thread::scope(|scope| {
        let mut running = Vec::new();
        let mut next = None;
        // From the last one on: each knows whom it hands its picture to.
        for stage in stages.into_iter().rev() {
            let (to, from) = sync_channel::<Arc<frame::Video>>(WAITING);
            let smaller = next.replace(to);
            running.push(scope.spawn(move || run_stage(stage, &from, smaller.as_ref(), out)));
        }
        let fed = feed(&mut decode, frames, next.as_ref(), out);
        drop(next);
        let mut failed = fed.err();
        for stage in running {
            let ended = stage.join().unwrap_or_else(|_| Err("a stage panicked".to_owned()));
            // Why a stage stopped says more than that it takes no more.
            if let Err(words) = ended {
                failed = Some(of_stage(words));
            }
        }
        match failed {
            Some(failure) => Err(failure),
            None => Ok((decode.decoded, decode.broken)),
        }
    })
}

fn feed(
    decode: &mut Decode,
    frames: &mut Frames<'_, impl Read>,
    largest: Option<&SyncSender<Arc<frame::Video>>>,
    out: &Out,
) -> Result<(), Failure> {
    let mut hand_on = |Picture(picture): Picture| match largest {
        Some(stage) => stage.send(Arc::new(picture)).map_err(|_| "a stage has stopped".to_owned()),
        None => Ok(()),
    };
    let mut said = Instant::now();
    while let Some(frame) = frames.next()? {
        decode.frame(&frame, &mut hand_on)?;
        if said.elapsed() >= GOES_ON_EVERY {
            out.send(&FromEncoder::GoesOn).map_err(WireError::from)?;
            said = Instant::now();
        }
    }
    decode.end(&mut hand_on)?;
    Ok(())
}

fn run_stage(
    mut stage: Stage,
    pictures: &Receiver<Arc<frame::Video>>,
    smaller: Option<&SyncSender<Arc<frame::Video>>>,
    out: &Out,
) -> Result<(), String> {
    let mut scaler = Scaler::default();
    for picture in pictures {
        let hand_on = |scaled| {
            if let Some(smaller) = smaller {
                // If it has stopped, it says why.
                let _ = smaller.send(scaled);
            }
        };
        stage.picture(picture, &mut scaler, hand_on, out)?;
    }
    stage.end(out)
}
