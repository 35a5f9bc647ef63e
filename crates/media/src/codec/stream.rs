//! One elementary stream of whatever codec: what protocols feed with the packets of one track.

use bytes::Bytes;

use super::{
    AudioCodec, AudioConfig, Error, VideoCodec, VideoConfig, aac, ac3, av1, flac, h264, hevc, mp3,
    opus, vpx,
};

/// Video codecs that are carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VideoFormat {
    /// H.264.
    H264,
    /// HEVC.
    Hevc,
    /// AV1.
    Av1,
    /// VP9.
    Vp9,
    /// VP8.
    Vp8,
}

/// Audio codecs that are carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AudioFormat {
    /// AAC.
    Aac,
    /// Opus.
    Opus,
    /// AC-3.
    Ac3,
    /// E-AC-3.
    Eac3,
    /// FLAC.
    Flac,
    /// MP3.
    Mp3,
}

/// What came of one packet of pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessUnit {
    /// As samples of its sample entry hold it; the caller's own bytes by reference when they already did.
    pub data: Bytes,
    /// Decoding can start here: read from the bitstream.
    pub sync: bool,
    /// There is a coded picture in it; a packet of only parameter sets makes no frame.
    pub has_picture: bool,
    /// The configuration that holds from this access unit on, if it changed here.
    pub changed: Option<VideoConfig>,
}

/// One track of pictures.
#[derive(Clone, Debug)]
pub struct VideoStream {
    format: VideoFormat,
    kind: VideoKind,
}

#[derive(Clone, Debug)]
enum VideoKind {
    H264(h264::Stream),
    Hevc(hevc::Stream),
    Av1(av1::Stream),
    Vpx(vpx::Stream),
}

impl VideoStream {
    /// A stream without configuration.
    pub fn new(format: VideoFormat) -> Self {
        let kind = match format {
            VideoFormat::H264 => VideoKind::H264(h264::Stream::new()),
            VideoFormat::Hevc => VideoKind::Hevc(hevc::Stream::new()),
            VideoFormat::Av1 => VideoKind::Av1(av1::Stream::new()),
            VideoFormat::Vp9 | VideoFormat::Vp8 => VideoKind::Vpx(vpx::Stream::new(format)),
        };
        Self { format, kind }
    }

    /// Its codec.
    pub fn format(&self) -> VideoFormat {
        self.format
    }

    /// Takes a configuration record. `Some` when it says something new; the same again is no change.
    pub fn header(&mut self, record: &[u8]) -> Result<Option<VideoConfig>, Error> {
        match &mut self.kind {
            VideoKind::H264(stream) => stream.header(record),
            VideoKind::Hevc(stream) => stream.header(record),
            VideoKind::Av1(stream) => stream.header(record),
            VideoKind::Vpx(stream) => stream.header(record),
        }
    }

    /// Takes one packet.
    pub fn access_unit(&mut self, packet: Bytes) -> Result<AccessUnit, Error> {
        match &mut self.kind {
            VideoKind::H264(stream) => stream.access_unit(packet).map(|unit| AccessUnit {
                data: unit.data,
                sync: unit.sync.is_sync(),
                has_picture: unit.has_picture,
                changed: unit.changed,
            }),
            VideoKind::Hevc(stream) => stream.access_unit(packet),
            VideoKind::Av1(stream) => stream.access_unit(packet),
            VideoKind::Vpx(stream) => stream.access_unit(packet),
        }
    }
}

/// What came of one packet of sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SoundUnit {
    /// Its samples at the configuration's rate.
    pub samples: u32,
    /// The configuration that holds from here on, if it changed here.
    pub changed: Option<AudioConfig>,
}

/// One track of sound.
#[derive(Clone, Debug)]
pub struct AudioStream {
    format: AudioFormat,
    config: Option<AudioConfig>,
}

impl AudioStream {
    /// A stream without configuration.
    pub fn new(format: AudioFormat) -> Self {
        Self { format, config: None }
    }

    /// Its codec.
    pub fn format(&self) -> AudioFormat {
        self.format
    }

    /// The configuration that holds now.
    pub fn config(&self) -> Option<&AudioConfig> {
        self.config.as_ref()
    }

    /// Takes a sequence header. `Some` when it says something new. Codecs whose frames say everything have an empty one,
    /// or none; what stands in it does not count.
    pub fn header(&mut self, record: &[u8]) -> Result<Option<AudioConfig>, Error> {
        let config = match self.format {
            AudioFormat::Aac => aac::AudioSpecificConfig::parse(record)?.config(),
            AudioFormat::Opus => opus::Head::parse(record)?.config(),
            AudioFormat::Flac => flac::StreamInfo::parse(record)?.config(),
            AudioFormat::Ac3 | AudioFormat::Eac3 | AudioFormat::Mp3 => return Ok(None),
        };
        Ok(self.take(config))
    }

    /// Takes one packet: how long is it, and does it change anything.
    pub fn frame(&mut self, packet: &[u8]) -> Result<SoundUnit, Error> {
        let (samples, changed) = match self.format {
            AudioFormat::Aac => (0, None),
            AudioFormat::Opus => (opus::samples(packet)?, None),
            AudioFormat::Flac => (flac::samples(packet)?, None),
            AudioFormat::Ac3 | AudioFormat::Eac3 => {
                let (config, samples) = ac3::Configuration::of_packet(packet)?;
                (samples, self.take(config.config()))
            }
            AudioFormat::Mp3 => {
                let (config, samples) = mp3::Configuration::of_packet(packet)?;
                (samples, self.take(config.config()))
            }
        };
        let codec = self.format.name();
        let config = self.config.as_ref().ok_or(Error::NoConfiguration { codec })?;
        let samples = if samples == 0 { config.samples_per_frame } else { samples };
        Ok(SoundUnit { samples, changed })
    }

    fn take(&mut self, config: AudioConfig) -> Option<AudioConfig> {
        let same = self.config.as_ref().is_some_and(|old| match (&old.codec, &config.codec) {
            (AudioCodec::Flac(old), AudioCodec::Flac(new)) => old.same_decoder(new),
            (AudioCodec::Ac3(old), AudioCodec::Ac3(new)) => old.same_decoder(new),
            _ => *old == config,
        });
        if same {
            return None;
        }
        self.config = Some(config.clone());
        Some(config)
    }
}

impl AudioFormat {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aac => "AAC",
            Self::Opus => "Opus",
            Self::Ac3 => "AC-3",
            Self::Eac3 => "E-AC-3",
            Self::Flac => "FLAC",
            Self::Mp3 => "MP3",
        }
    }
}

impl VideoFormat {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::H264 => "H.264",
            Self::Hevc => "HEVC",
            Self::Av1 => "AV1",
            Self::Vp9 => "VP9",
            Self::Vp8 => "VP8",
        }
    }
}

impl VideoConfig {
    /// Its codec.
    pub fn format(&self) -> VideoFormat {
        match &self.codec {
            VideoCodec::H264(_) => VideoFormat::H264,
            VideoCodec::Hevc(_) => VideoFormat::Hevc,
            VideoCodec::Av1(_) => VideoFormat::Av1,
            VideoCodec::Vpx(config) if config.vp9 => VideoFormat::Vp9,
            VideoCodec::Vpx(_) => VideoFormat::Vp8,
        }
    }
}

impl AudioConfig {
    /// Its codec.
    pub fn format(&self) -> AudioFormat {
        match &self.codec {
            AudioCodec::Aac(_) => AudioFormat::Aac,
            AudioCodec::Opus(_) => AudioFormat::Opus,
            AudioCodec::Ac3(config) if config.is_enhanced() => AudioFormat::Eac3,
            AudioCodec::Ac3(_) => AudioFormat::Ac3,
            AudioCodec::Flac(_) => AudioFormat::Flac,
            AudioCodec::Mp3(_) => AudioFormat::Mp3,
        }
    }
}
