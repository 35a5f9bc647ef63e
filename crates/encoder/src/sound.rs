//! A job of sound: one decode, and a [`Coder`] for each output.

use std::io::Read;
use std::time::Instant;

use encode::limits::{GOES_ON_EVERY, SOUND_CHANNELS_MAX, SOUND_RATES};
use encode::wire::{FromEncoder, Output, SoundCodec, SoundSource, WireError};
use ffmpeg::codec::Id;
use ffmpeg::{decoder, frame};
use ffmpeg_the_third as ffmpeg;

use crate::av;
use crate::coder::{Coder, scaled};
use crate::job::{Failure, Frames, Out};

/// Frames decoded and frames broken.
pub(crate) fn run(
    source: &SoundSource,
    outputs: &[Output],
    frames: &mut Frames<'_, impl Read>,
    out: &Out,
) -> Result<(u32, u32), Failure> {
    let mut coders = Vec::new();
    for (index, output) in outputs.iter().enumerate() {
        let Output::Sound(sound) = output else {
            return Err("sound becomes sound".to_owned().into());
        };
        coders.push(Coder::open(u8::try_from(index).unwrap_or(u8::MAX), *sound)?);
    }
    let mut decode = Decode::open(source)?;
    let mut said = Instant::now();
    while let Some(frame) = frames.next()? {
        decode.frame(frame.present, &frame.data, &mut coders, out)?;
        if said.elapsed() >= GOES_ON_EVERY {
            out.send(&FromEncoder::GoesOn).map_err(WireError::from)?;
            said = Instant::now();
        }
    }
    decode.end(&mut coders, out)?;
    if decode.decoded == 0 && decode.broken > 0 {
        return Err("nothing of it can be decoded".to_owned().into());
    }
    for coder in coders {
        coder.end(decode.until, source.timescale, out)?;
    }
    Ok((decode.decoded, decode.broken))
}

struct Decode {
    decoder: decoder::Audio,
    timescale: u32,
    /// Where the last frame that came ends, decoded or not.
    until: i64,
    /// How long frames are, going by the last one that was decoded.
    length: i64,
    /// Where the last decoded sample ends, at the rate of samples then.
    behind: Option<(i64, u32)>,
    decoded: u32,
    broken: u32,
}

impl Decode {
    fn open(source: &SoundSource) -> Result<Self, String> {
        if !SOUND_RATES.contains(&source.timescale) {
            return Err(format!("{} samples a second are no sound", source.timescale));
        }
        let (id, best) = match source.codec {
            SoundCodec::Aac => (Id::AAC, None),
            // The other one gives another number of samples at first.
            SoundCodec::Opus => (Id::OPUS, Some("libopus")),
            SoundCodec::Ac3 => (Id::AC3, None),
            SoundCodec::Eac3 => (Id::EAC3, None),
            SoundCodec::Flac => (Id::FLAC, None),
            SoundCodec::Mp3 => (Id::MP3, None),
        };
        let codec = best.and_then(decoder::find_by_name).or_else(|| decoder::find(id));
        let codec = codec.ok_or_else(|| format!("FFmpeg here has no decoder for {id:?}"))?;
        let mut context = ffmpeg::codec::Context::new_with_codec(codec);
        av::prepare_sound_decoder(&mut context, source);
        let opened = context.decoder().open_as(codec).and_then(|opened| opened.audio());
        let decoder = opened.map_err(|e| format!("the decoder does not open: {e}"))?;
        let timescale = source.timescale;
        let (until, length, behind) = (i64::MIN, 0, None);
        Ok(Self { decoder, timescale, until, length, behind, decoded: 0, broken: 0 })
    }

    fn frame(
        &mut self,
        present: i64,
        data: &[u8],
        coders: &mut [Coder],
        out: &Out,
    ) -> Result<(), String> {
        self.until = self.until.max(present.saturating_add(self.length));
        if data.is_empty() {
            // To FFmpeg this would be the end.
            self.broken += 1;
            return Ok(());
        }
        let mut packet = ffmpeg::Packet::copy(data);
        packet.set_pts(Some(present));
        packet.set_dts(Some(present));
        // A frame that can't be decoded is silence.
        if self.decoder.send_packet(&packet).is_err() {
            self.broken += 1;
        }
        self.receive(coders, out)
    }

    fn end(&mut self, coders: &mut [Coder], out: &Out) -> Result<(), String> {
        if self.decoder.send_eof().is_err() {
            self.broken += 1;
        }
        self.receive(coders, out)
    }

    fn receive(&mut self, coders: &mut [Coder], out: &Out) -> Result<(), String> {
        loop {
            let mut samples = frame::Audio::empty();
            match self.decoder.receive_frame(&mut samples) {
                Ok(()) => {}
                Err(ffmpeg::Error::Eof | ffmpeg::Error::Other { .. }) => return Ok(()),
                Err(_) => {
                    self.broken += 1;
                    continue;
                }
            }
            let (count, rate) = (samples.samples() as i64, samples.rate());
            let channels = samples.ch_layout().channels();
            let odd = !SOUND_RATES.contains(&rate) || channels > SOUND_CHANNELS_MAX.into();
            // What a decoder puts out may be of twice the rate that its frames are counted in. Where a frame is put out in
            // pieces, only the first one has a time.
            let behind = self.behind.filter(|(_, of)| *of == rate).map(|(at, _)| at);
            let said = samples.pts().map(|present| scaled(present, rate, self.timescale));
            let Some(from) = said.or(behind).filter(|_| !odd && channels > 0 && count > 0) else {
                self.broken += 1;
                continue;
            };
            self.decoded += 1;
            let end = from.saturating_add(count);
            self.behind = Some((end, rate));
            self.length = scaled(count, self.timescale, rate);
            self.until = self.until.max(scaled(end, self.timescale, rate));
            av::known_layout(&mut samples);
            for coder in coders.iter_mut() {
                coder.samples(&samples, from, out)?;
            }
        }
    }
}
