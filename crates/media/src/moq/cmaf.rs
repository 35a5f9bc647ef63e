//! CMAF: `moof` and `mdat` in an object. Its initialisation segment stands in the catalog, or is a
//! property of the track or of its objects (MSF-01, "Initialization properties"), and may be
//! another one later.

use bytes::Bytes;

use super::{Fault, Stream, Unit, Unusable, loc};
use crate::catalog::CatalogTrack;
use crate::codec::{
    AudioCodec, AudioFormat, AudioStream, Config, VideoCodec, VideoFormat, VideoStream,
};
use crate::mp4::{Movie, demux};
use crate::properties::{self, MSF_INITIALIZATION, Value, pairs};

#[derive(Debug)]
pub(super) struct Cmaf {
    /// What it was begun with; nothing while that has not come.
    init: Bytes,
    movie: Movie,
    record: Option<Bytes>,
}

impl Cmaf {
    /// One whose initialisation segment comes as a property.
    pub(super) fn awaited(entry: &CatalogTrack) -> Result<(Stream, Self), Unusable> {
        let codec = entry.codec.as_deref().unwrap_or_default();
        let stream = loc::stream(codec).ok_or_else(|| Unusable::Codec(codec.to_owned()))?;
        let (init, movie, record) = (Bytes::new(), Movie::default(), None);
        Ok((stream, Self { init, movie, record }))
    }

    /// Takes what properties say of its initialisation segment: how to go on with another one.
    pub(super) fn properties(&mut self, properties: &[u8]) -> Result<Option<Stream>, Fault> {
        let mut init = None;
        for pair in pairs(properties) {
            if let (MSF_INITIALIZATION, Value::Bytes(bytes)) = pair? {
                init = Some(bytes);
            }
        }
        let Some(init) = init.filter(|init| *init != self.init) else { return Ok(None) };
        let (stream, begun) = Self::new(&Bytes::copy_from_slice(init))?;
        *self = begun;
        Ok(Some(stream))
    }

    pub(super) fn new(init: &Bytes) -> Result<(Stream, Self), Unusable> {
        let movie = demux(init)?;
        let [track] = movie.tracks.as_slice() else {
            return Err(match movie.unsupported.first() {
                Some(track) => Unusable::Codec(track.entry.clone()),
                None => Unusable::NotOneTrack,
            });
        };
        let record = Some(properties::record(&track.config));
        Ok((stream_of(&track.config), Self { init: init.clone(), movie, record }))
    }

    pub(super) fn object(&mut self, chunk: &Bytes) -> Result<(Option<Bytes>, Vec<Unit>), Fault> {
        if self.init.is_empty() {
            return Err(Unusable::NoInit.into());
        }
        let record = self.record.take();
        self.movie.fragment(chunk)?;
        let Some(track) = self.movie.tracks.first() else { return Ok((record, Vec::new())) };
        let mut units = Vec::with_capacity(track.samples.len());
        for sample in &track.samples {
            let Some(data) = sample.data(chunk) else { continue };
            let composition = track.us(sample.composition.into());
            units.push(Unit {
                decode: track.shared_us(sample.decode),
                composition: i32::try_from(composition).unwrap_or(0),
                data: track.frame(data)?,
            });
        }
        Ok((record, units))
    }
}

fn stream_of(config: &Config) -> Stream {
    match config {
        Config::Video(video) => Stream::Video(VideoStream::new(match &video.codec {
            VideoCodec::H264(_) => VideoFormat::H264,
            VideoCodec::Hevc(_) => VideoFormat::Hevc,
            VideoCodec::Av1(_) => VideoFormat::Av1,
            VideoCodec::Vpx(vpx) if vpx.vp9 => VideoFormat::Vp9,
            VideoCodec::Vpx(_) => VideoFormat::Vp8,
        })),
        Config::Audio(audio) => Stream::Audio(AudioStream::new(match &audio.codec {
            AudioCodec::Aac(_) => AudioFormat::Aac,
            AudioCodec::Opus(_) => AudioFormat::Opus,
            AudioCodec::Flac(_) => AudioFormat::Flac,
            AudioCodec::Mp3(_) => AudioFormat::Mp3,
            AudioCodec::Ac3(ac3) if ac3.is_enhanced() => AudioFormat::Eac3,
            AudioCodec::Ac3(_) => AudioFormat::Ac3,
        })),
    }
}
