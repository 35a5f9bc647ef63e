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

    /// How to go on with what properties say of its initialisation segment, if that is another one.
    pub(super) fn renewed(&self, properties: &[u8]) -> Result<Option<(Stream, Self)>, Fault> {
        let mut init = None;
        for pair in pairs(properties) {
            if let (MSF_INITIALIZATION, Value::Bytes(bytes)) = pair? {
                init = Some(bytes);
            }
        }
        let Some(init) = init.filter(|init| *init != self.init) else { return Ok(None) };
        Ok(Some(Self::new(&Bytes::copy_from_slice(init))?))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Slot;
    use crate::catalog::{Catalog, InitData};
    use crate::fmp4::init_segment;
    use crate::moq::Track;
    use crate::properties::PairsWriter;

    /// Of sound in AAC with this configuration.
    fn init(record: &[u8]) -> Bytes {
        let config = AudioStream::new(AudioFormat::Aac).header(record).unwrap().unwrap();
        init_segment(&Config::Audio(config), 48_000)
    }

    fn said(init: &[u8]) -> Bytes {
        PairsWriter::default().bytes(MSF_INITIALIZATION, init).finish()
    }

    fn entry(codec: &str) -> CatalogTrack {
        CatalogTrack {
            packaging: "cmaf".to_owned(),
            codec: Some(codec.to_owned()),
            init_ref: Some("own".to_owned()),
            ..CatalogTrack::default()
        }
    }

    #[test]
    fn msf01_an_initialisation_segment_may_be_a_property_and_become_another_one() {
        let (_, mut cmaf) = Cmaf::awaited(&entry("mp4a.40.2")).unwrap();
        let nothing = cmaf.object(&Bytes::new()).err();
        assert_eq!(nothing, Some(Fault::Init(Unusable::NoInit)));
        let [first, second] = [&[0x11, 0x90][..], &[0x12, 0x10]].map(init);
        for (properties, renewed) in [
            (Bytes::new(), false),
            (said(&first), true),
            (said(&first), false),
            (Bytes::new(), false),
            (said(&second), true),
        ] {
            let next = cmaf.renewed(&properties).unwrap();
            assert_eq!(next.is_some(), renewed, "{properties:?}");
            cmaf = next.map_or(cmaf, |(_, next)| next);
        }
        assert!(cmaf.object(&Bytes::new()).unwrap().0.is_some(), "its configuration");
        assert!(cmaf.renewed(&said(b"nonsense")).is_err());
        assert!(cmaf.renewed(&said(b"")).is_err());
    }

    #[test]
    fn msf01_a_track_stays_of_its_kind() {
        let own = |kind: &str| InitData {
            id: "own".to_owned(),
            kind: kind.to_owned(),
            data: "79".to_owned(),
        };
        let with = |kind| Catalog { init_data_list: vec![own(kind)], ..Catalog::complete() };
        let other = Track::new(&entry("mp4a.40.2"), &with("elsewhere"), 0, 0);
        assert_eq!(other.err(), Some(Unusable::NoInit));
        let sound = said(&init(&[0x11, 0x90]));
        for kind in ["track-property", "object-property"] {
            let mut audio = Track::new(&entry("mp4a.40.2"), &with(kind), 0, 0).unwrap();
            assert_eq!((audio.slot(), audio.properties(&sound)), (Slot::Audio(0), Ok(())));
            let mut video = Track::new(&entry("avc1.64001f"), &with(kind), 0, 0).unwrap();
            assert_eq!(video.slot(), Slot::Video(0));
            // Not the second time either.
            for _ in 0..2 {
                let refused = video.properties(&sound);
                assert_eq!(refused, Err(Fault::Init(Unusable::OtherKind)));
            }
        }
    }
}
