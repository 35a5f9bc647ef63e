//! One output of sound: decoded samples, brought to its rate and channels, on a time line without holes, in frames on a grid.
//!
//! Every sample has a place that its source's time says. So it does not matter where decoding began: the same frame has the
//! same samples whoever makes it. What is missing is silence, what is there twice is taken once.

use encode::limits::SOUND_HOLE_MAX;
use encode::wire::{FromEncoder, SoundCoding, SoundOutput};
use ffmpeg::format::Sample;
use ffmpeg::format::sample::Type;
use ffmpeg::software::resampling;
use ffmpeg::{ChannelLayout, ChannelLayoutMask, Dictionary, codec, encoder, frame};
use ffmpeg_the_third as ffmpeg;

use crate::av;
use crate::job::Out;

/// Frames that are encoded before the first one that is wanted, so that the encoder is where it would be had it never
/// stopped.
const PRE_ROLL: i64 = 4;

/// Samples that a resampler may give beyond what it was given.
const SPARE: usize = 4_096;

pub(crate) struct Coder {
    index: u8,
    wanted: SoundOutput,
    encoder: encoder::audio::Encoder,
    run: Option<Run>,
    /// Samples that are not encoded yet, by channel.
    line: Vec<Vec<f32>>,
    /// Where they begin.
    at: i64,
}

/// Samples that follow from each other, through one resampler.
struct Run {
    resampler: resampling::Context,
    source: Form,
    /// Where the next sample of the source must be, at its rate.
    from: i64,
    /// Where the next resampled one will be.
    to: i64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Form {
    format: Sample,
    layout: ChannelLayoutMask,
    rate: u32,
}

impl Coder {
    pub(crate) fn open(index: u8, wanted: SoundOutput) -> Result<Self, String> {
        let SoundOutput { coding, rate, channels, frame, first, .. } = wanted;
        if !(1..=2).contains(&channels) || !(8_000..=48_000).contains(&rate) || frame == 0 {
            return Err(format!("{channels} channels at {rate} Hz are no level"));
        }
        let encoder = open(&wanted)?;
        if encoder.frame_size() != frame {
            return Err(format!("a frame of {coding:?} has {} samples", encoder.frame_size()));
        }
        // A packet's time is that of what a decoder puts out for it, which lies before what was put in last.
        let padding = av::initial_padding(&encoder);
        let begin = first.saturating_sub(PRE_ROLL).saturating_mul(frame.into());
        let line = vec![Vec::new(); usize::from(channels)];
        Ok(Self { index, wanted, encoder, run: None, line, at: begin.saturating_add(padding) })
    }

    /// Takes decoded samples; the first one lies at `from`, counted at their rate.
    pub(crate) fn samples(
        &mut self,
        samples: &frame::Audio,
        from: i64,
        out: &Out,
    ) -> Result<(), String> {
        let layout = samples.ch_layout().mask().ok_or("sound without a layout of channels")?;
        let source = Form { format: samples.format(), layout, rate: samples.rate() };
        let follows = |run: &Run| run.source == source && run.from == from;
        if !self.run.as_ref().is_some_and(follows) {
            self.end_run()?;
            self.run = Some(self.begin_run(source, from)?);
        }
        self.resample(Some(samples))?;
        self.encode(out)
    }

    /// No more samples; there are some up to `until` of so many a second, though they could not be decoded.
    pub(crate) fn end(mut self, until: i64, timescale: u32, out: &Out) -> Result<(), String> {
        self.end_run()?;
        let until = scaled(until, self.wanted.rate, timescale);
        // A whole frame of silence behind it, so that nothing stays in the encoder for want of a sample.
        self.pad_to(until.max(self.next()).saturating_add(2 * i64::from(self.wanted.frame)))?;
        self.encode(out)?;
        self.encoder.send_eof().map_err(|e| format!("encoding: {e}"))?;
        self.receive(out)
    }

    /// Where the next sample goes.
    fn next(&self) -> i64 {
        self.at.saturating_add(self.line.first().map_or(0, Vec::len) as i64)
    }

    /// Silence brings the source to where one of its samples and one of ours lie at the same time: it begins earlier.
    fn begin_run(&self, source: Form, from: i64) -> Result<Run, String> {
        let SoundOutput { rate, channels, .. } = self.wanted;
        let step = i64::from(source.rate / common(source.rate, rate).max(1)).max(1);
        let silence = from.rem_euclid(step);
        let begin = from - silence;
        let input = ChannelLayout::from_mask(source.layout).ok_or("a layout of no channels")?;
        let mut options = Dictionary::new();
        // What is mixed down gets quieter rather than clipped; one channel is as loud in both.
        options.set("rematrix_maxval", "1.0");
        if input.channels() == 1 && channels == 2 {
            options.set("rematrix_volume", "1.4142135");
        }
        let made = resampling::Context::get_with2(
            source.format,
            input,
            source.rate,
            Sample::F32(Type::Planar),
            ChannelLayout::default_for_channels(channels.into()),
            rate,
            options,
        );
        let mut resampler = made.map_err(|e| format!("resampling: {e}"))?;
        av::inject_silence(&mut resampler, silence);
        Ok(Run { resampler, source, from, to: scaled(begin, rate, source.rate) })
    }

    fn end_run(&mut self) -> Result<(), String> {
        self.resample(None)?;
        self.run = None;
        Ok(())
    }

    /// Through the resampler and onto the line; none: what it has still.
    fn resample(&mut self, samples: Option<&frame::Audio>) -> Result<(), String> {
        let Some(mut run) = self.run.take() else { return Ok(()) };
        let SoundOutput { rate, channels, .. } = self.wanted;
        let layout = layout(channels);
        let count = samples.map_or(0, frame::Audio::samples);
        let room = count as u64 * u64::from(rate) / u64::from(run.source.rate.max(1));
        // It begins with silence, which may be up to a second.
        let mut room = usize::try_from(room).unwrap_or(0) + SPARE;
        let mut given = samples;
        loop {
            let mut made = frame::Audio::new(Sample::F32(Type::Planar), room, layout);
            let done = match given.take() {
                Some(samples) => run.resampler.run(samples, &mut made),
                None => run.resampler.flush(&mut made),
            };
            done.map_err(|e| format!("resampling: {e}"))?;
            let came = made.samples();
            self.place(&made, run.to)?;
            run.to = run.to.saturating_add(came as i64);
            if samples.is_some() || came == 0 {
                break;
            }
            room = SPARE;
        }
        run.from = run.from.saturating_add(count as i64);
        self.run = Some(run);
        Ok(())
    }

    /// Resampled samples, of which the first one lies at `from`.
    fn place(&mut self, made: &frame::Audio, from: i64) -> Result<(), String> {
        if made.samples() == 0 {
            return Ok(());
        }
        self.pad_to(from)?;
        let known = usize::try_from(self.next().saturating_sub(from)).unwrap_or(0);
        for (channel, line) in self.line.iter_mut().enumerate() {
            line.extend(made.plane::<f32>(channel).iter().skip(known));
        }
        Ok(())
    }

    fn pad_to(&mut self, at: i64) -> Result<(), String> {
        let missing = at.saturating_sub(self.next());
        let most = SOUND_HOLE_MAX.as_secs() as i64 * i64::from(self.wanted.rate);
        if missing > most {
            return Err(format!("a hole of {missing} samples"));
        }
        let missing = usize::try_from(missing).unwrap_or(0);
        for line in &mut self.line {
            line.resize(line.len() + missing, 0.0);
        }
        Ok(())
    }

    /// All whole frames.
    fn encode(&mut self, out: &Out) -> Result<(), String> {
        let SoundOutput { coding, rate, channels, frame, .. } = self.wanted;
        let count = frame as usize;
        let whole = self.line.first().map_or(0, Vec::len) / count;
        for n in 0..whole {
            let part = |line: &Vec<f32>| line.get(n * count..(n + 1) * count).map(<[f32]>::to_vec);
            let parts: Vec<Vec<f32>> = self.line.iter().filter_map(part).collect();
            let mut samples = frame::Audio::new(format(coding), count, layout(channels));
            match (coding, parts.as_slice()) {
                (SoundCoding::Opus, [left, right]) => {
                    let pairs = left.iter().zip(right).map(|(l, r)| (*l, *r));
                    samples
                        .plane_mut::<(f32, f32)>(0)
                        .iter_mut()
                        .zip(pairs)
                        .for_each(|(to, p)| *to = p);
                }
                _ => {
                    for (channel, part) in parts.iter().enumerate() {
                        samples.plane_mut::<f32>(channel).copy_from_slice(part);
                    }
                }
            }
            samples.set_rate(rate);
            samples.set_pts(Some(self.at));
            self.at = self.at.saturating_add(frame.into());
            self.encoder.send_frame(&samples).map_err(|e| format!("encoding: {e}"))?;
            self.receive(out)?;
        }
        for line in &mut self.line {
            line.drain(..whole * count);
        }
        Ok(())
    }

    /// What lies before the first frame that is wanted is dropped.
    fn receive(&mut self, out: &Out) -> Result<(), String> {
        let mut packet = ffmpeg::Packet::empty();
        let first = self.wanted.first.saturating_mul(self.wanted.frame.into());
        loop {
            match self.encoder.receive_packet(&mut packet) {
                Ok(()) => {}
                Err(ffmpeg::Error::Eof | ffmpeg::Error::Other { .. }) => return Ok(()),
                Err(error) => return Err(format!("encoding: {error}")),
            }
            let (Some(present), Some(data)) = (packet.pts(), packet.data()) else { continue };
            if present < first {
                continue;
            }
            let (output, data) = (self.index, data.to_vec().into());
            let packet = FromEncoder::Packet { output, present, sync: true, data };
            out.send(&packet).map_err(|e| e.to_string())?;
        }
    }
}

fn open(wanted: &SoundOutput) -> Result<encoder::audio::Encoder, String> {
    let (name, mut options) = match wanted.coding {
        SoundCoding::Aac => ("aac", Dictionary::new()),
        SoundCoding::Opus => ("libopus", Dictionary::new()),
    };
    if wanted.coding == SoundCoding::Opus {
        options.set("vbr", "constrained");
        options.set("frame_duration", "20");
    }
    let codec = encoder::find_by_name(name);
    let codec = codec.ok_or_else(|| format!("FFmpeg here has no encoder {name}"))?;
    let mut context = codec::Context::new_with_codec(codec);
    context.set_flags(codec::Flags::GLOBAL_HEADER);
    let mut audio = context.encoder().audio().map_err(|e| e.to_string())?;
    audio.set_rate(i32::try_from(wanted.rate).unwrap_or(i32::MAX));
    audio.set_format(format(wanted.coding));
    audio.set_ch_layout(ChannelLayout::default_for_channels(wanted.channels.into()));
    audio.set_bit_rate(wanted.kbps as usize * 1_000);
    audio.set_time_base((1, i32::try_from(wanted.rate).unwrap_or(i32::MAX)));
    audio.open_with(options).map_err(|e| format!("the encoder does not open: {e}"))
}

fn format(coding: SoundCoding) -> Sample {
    match coding {
        SoundCoding::Aac => Sample::F32(Type::Planar),
        SoundCoding::Opus => Sample::F32(Type::Packed),
    }
}

fn layout(channels: u8) -> ChannelLayoutMask {
    if channels == 1 { ChannelLayoutMask::MONO } else { ChannelLayoutMask::STEREO }
}

/// A time in units of another rate.
pub(crate) fn scaled(time: i64, rate: u32, timescale: u32) -> i64 {
    let scaled = i128::from(time) * i128::from(rate);
    i64::try_from(scaled.div_euclid(timescale.max(1).into())).unwrap_or(i64::MAX)
}

/// The largest number that divides both.
fn common(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { common(b, a % b) }
}
