//! Frames in decode order to pictures in presentation order.

use std::collections::BTreeMap;

use encode::limits::{PIXELS_MAX, PIXELS_UNSTATED, SIDE_MAX};
use encode::wire::{self, Codec, PictureSource};
use ffmpeg::codec::threading;
use ffmpeg::{decoder, frame, picture};
use ffmpeg_the_third as ffmpeg;

use crate::av;

/// Frames that a decoder may hold back before it gives out a picture; what has not come by then does not come.
const HELD_MAX: usize = 64;

pub(crate) struct Decode {
    decoder: decoder::Video,
    /// What is wanted of the pictures that are to come, by their time.
    asked: BTreeMap<i64, Asked>,
    pub(crate) decoded: u32,
    pub(crate) broken: u32,
}

/// What memory there is for, by what was said of the stream. Some pixels at its edges may be coded and not shown.
fn pixels_max(source: &PictureSource) -> u64 {
    let coded = |side: u32| u64::from(side.next_multiple_of(128));
    (coded(source.width) * coded(source.height)).clamp(PIXELS_UNSTATED, PIXELS_MAX)
}

#[derive(Clone, Copy)]
struct Asked {
    shown: bool,
    begins: bool,
}

/// A picture, ready for the encoders: its time is set, and whether a group begins with it.
pub(crate) struct Picture(pub(crate) frame::Video);

impl Decode {
    pub(crate) fn open(source: &PictureSource) -> Result<Self, String> {
        let (width, height) = (source.width, source.height);
        if width > SIDE_MAX || height > SIDE_MAX {
            return Err(format!("{width}x{height} is larger than {SIDE_MAX} pixels a side"));
        }
        let id = match source.codec {
            Codec::H264 => ffmpeg::codec::Id::H264,
            Codec::Hevc => ffmpeg::codec::Id::HEVC,
            Codec::Av1 => ffmpeg::codec::Id::AV1,
            Codec::Vp9 => ffmpeg::codec::Id::VP9,
            Codec::Vp8 => ffmpeg::codec::Id::VP8,
        };
        let codec = decoder::find(id);
        let codec = codec.ok_or_else(|| format!("FFmpeg here has no decoder for {id:?}"))?;
        let mut context = ffmpeg::codec::Context::new_with_codec(codec);
        av::prepare_decoder(&mut context, &source.record, source.reorder, pixels_max(source));
        // Slices only: threads for whole frames would hold back as many frames as there are threads.
        let threads =
            threading::Config { count: 2, ..threading::Config::kind(threading::Type::Slice) };
        context.set_threading(threads);
        let opened = context.decoder().video();
        let decoder = opened.map_err(|e| format!("the decoder does not open: {e}"))?;
        Ok(Self { decoder, asked: BTreeMap::new(), decoded: 0, broken: 0 })
    }

    /// Takes a frame; `out` gets the pictures that come of it.
    pub(crate) fn frame(
        &mut self,
        frame: &wire::Frame,
        out: &mut dyn FnMut(Picture) -> Result<(), String>,
    ) -> Result<(), String> {
        if frame.data.is_empty() {
            // To FFmpeg this would be the end.
            self.broken += 1;
            return Ok(());
        }
        let mut packet = ffmpeg::Packet::copy(&frame.data);
        packet.set_pts(Some(frame.present));
        if frame.sync {
            packet.set_flags(ffmpeg::packet::Flags::KEY);
        }
        self.asked.insert(frame.present, Asked { shown: frame.shown, begins: frame.begins });
        while self.asked.len() > HELD_MAX {
            self.asked.pop_first();
        }
        // A frame that can't be decoded costs its picture, not those of its neighbours.
        if self.decoder.send_packet(&packet).is_err() {
            self.broken += 1;
            self.asked.remove(&frame.present);
        }
        if frame.alone {
            self.end(out)?;
            self.decoder.flush();
            return Ok(());
        }
        self.receive(out)
    }

    /// No more frames: everything comes out.
    pub(crate) fn end(
        &mut self,
        out: &mut dyn FnMut(Picture) -> Result<(), String>,
    ) -> Result<(), String> {
        if self.decoder.send_eof().is_err() {
            self.broken += 1;
        }
        self.receive(out)
    }

    fn receive(
        &mut self,
        out: &mut dyn FnMut(Picture) -> Result<(), String>,
    ) -> Result<(), String> {
        loop {
            let mut picture = frame::Video::empty();
            match self.decoder.receive_frame(&mut picture) {
                Ok(()) => {}
                Err(ffmpeg::Error::Eof | ffmpeg::Error::Other { .. }) => return Ok(()),
                Err(_) => {
                    self.broken += 1;
                    continue;
                }
            }
            self.decoded += 1;
            let asked = picture.pts().and_then(|pts| self.asked.remove(&pts));
            let Some(asked) = asked.filter(|asked| asked.shown) else { continue };
            // It goes on as it is: who watches sees less of it than of a picture that is missing.
            self.broken += u32::from(av::is_damaged(&picture));
            // Else the encoder would make it what the source made it.
            let kind = if asked.begins { picture::Type::I } else { picture::Type::None };
            picture.set_kind(kind);
            out(Picture(picture))?;
        }
    }
}
