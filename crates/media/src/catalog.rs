//! The description of a broadcast, and the MSF-01 catalog as one rendering of it.
//!
//! [`Description`] holds all that HLS, DASH and MoQ lists say about tracks; each list is a pure function of it.
//! [`Catalog`] is draft-ietf-moq-msf-01 with cmsf-01, in the shape that both browser players accept: full catalogs
//! only (changes to one are read: `delta`), `cmaf` tracks only, no namespace, `bitrate` on every track, `channelConfig` a
//! string, and the LOC tracks behind a reference to `catalog.loc`. Unknown fields are ignored when reading.

mod delta;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::codec::captions::{Embedded, instream_ids};
use crate::codec::{Config, Ratio};
use crate::{limits, properties};

/// All tracks of a broadcast.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Description {
    /// In the order in which lists name them; pictures of the highest quality first.
    pub tracks: Vec<TrackDescription>,
}

/// What kind of content a track is. MSF's `role`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
}

/// One packaged track: content, parameters, and where its bytes are.
#[derive(Clone, Debug, PartialEq)]
pub struct TrackDescription {
    /// Name of the track in the broadcast, such as `video.cmaf`.
    pub name: String,
    /// Kind of content.
    pub role: Role,
    /// Parameters of the content.
    pub media: MediaDescription,
    /// RFC 6381 codec string, equal to the sample entry.
    pub codec: String,
    /// Ticks per second of its times.
    pub timescale: u32,
    /// Bits per second.
    pub bitrate: Bitrate,
    /// Its initialisation segment.
    pub init: Init,
    /// Its decoder configuration: `avcC`, `AudioSpecificConfig` and the like.
    pub record: Bytes,
    /// BCP 47, where it is known.
    pub language: Option<String>,
    /// A name for people, where there is one.
    pub label: Option<String>,
    /// Tracks with one number are alternatives to each other.
    pub alternatives: u32,
    /// Captions inside its pictures.
    pub captions: Embedded,
}

/// Bits per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bitrate {
    /// What the publisher said.
    pub declared: Option<u64>,
    /// The largest measured over one segment.
    pub peak: Option<u64>,
    /// Measured over everything so far.
    pub average: Option<u64>,
}

impl Bitrate {
    /// The larger of what was declared and what was measured; 0 when nothing is known yet.
    pub fn max(self) -> u64 {
        self.declared.unwrap_or(0).max(self.peak.unwrap_or(0))
    }

    /// Whether a catalog that says `said` must say `is` instead: it promises too little, or more than a tenth too much. Each
    /// edition is read by everybody, so less than that stays.
    pub fn is_off(said: u64, is: u64) -> bool {
        said < is || said > is.saturating_add(is / 10)
    }
}

/// An initialisation segment by its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Init {
    /// Hash of the data in hex; also the object of the track `init`.
    pub id: String,
    /// `ftyp` and `moov`.
    pub data: Bytes,
}

/// What is particular to pictures or sound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MediaDescription {
    /// Pictures.
    Video {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
        /// Pixels after applying the sample aspect ratio.
        display_width: u32,
        /// Frames per second, where it is known.
        frame_rate: Option<Ratio>,
    },
    /// Sound.
    Audio {
        /// Samples per second that a decoder puts out.
        sample_rate: u32,
        /// Channels that a decoder puts out.
        channels: u8,
    },
}

impl TrackDescription {
    /// A track of this configuration in its usual timescale; `frame_rate` is the one that was observed, if any.
    pub fn new(
        name: impl Into<String>,
        config: &Config,
        frame_rate: Option<Ratio>,
        init: Init,
    ) -> Self {
        let (role, media) = match config {
            Config::Video(video) => (
                Role::Video,
                MediaDescription::Video {
                    width: video.width,
                    height: video.height,
                    display_width: video.display_width(),
                    frame_rate: frame_rate.or(video.frame_rate),
                },
            ),
            Config::Audio(audio) => (
                Role::Audio,
                MediaDescription::Audio {
                    sample_rate: audio.output_sample_rate,
                    channels: audio.channels,
                },
            ),
        };
        Self {
            name: name.into(),
            role,
            media,
            codec: config.codec_string(),
            timescale: config.timescale(),
            bitrate: Bitrate::default(),
            init,
            record: properties::record(config),
            language: None,
            label: None,
            alternatives: match role {
                Role::Video => 1,
                Role::Audio => 2,
            },
            captions: Embedded::default(),
        }
    }
}

/// What a catalog says beside its tracks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edition {
    /// When it is made, ms since 1970; left out when the broadcast is over.
    pub generated_at_ms: Option<u64>,
    /// More is to come.
    pub live: bool,
    /// Milliseconds that a player should stay behind, the same for all tracks.
    pub target_latency_ms: u32,
    /// Whole duration in ms, for a broadcast that is over.
    pub duration_ms: Option<u64>,
    /// There is a second catalog `catalog.loc`.
    pub loc: bool,
}

/// An MSF catalog, draft-ietf-moq-msf-01 §5.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Catalog {
    /// `draft-01`.
    pub version: String,
    /// Milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generated_at: Option<u64>,
    /// Only ever true.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_complete: bool,
    /// Tracks in order of preference.
    #[serde(default)]
    pub tracks: Vec<CatalogTrack>,
    /// Initialisation segments by id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub init_data_list: Vec<InitData>,
}

/// One entry of a catalog.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the fields are those of the draft, in its words")]
pub struct CatalogTrack {
    pub name: String,
    pub packaging: String,
    pub is_live: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub render_group: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alt_group: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_latency: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_ref: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codec: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_width: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_height: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub framerate: Option<serde_json::Number>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samplerate: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel_config: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timescale: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bitrate: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avg_bitrate: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_grp_sap_starting_type: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lang: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track_duration: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accessibility: Vec<Accessibility>,
}

/// What helps who does not see or hear: here captions inside the picture, in the words of DASH.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accessibility {
    /// `urn:scte:dash:cc:cea-608:2015` or `...cea-708:2015`.
    pub scheme: String,
    /// Such as `CC1=eng;CC3=spa`.
    pub value: String,
}

/// Initialisation data in a catalog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitData {
    /// What `initRef` names.
    pub id: String,
    /// `inline`: base64 in `data`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Base64 for `inline`.
    pub data: String,
}

impl InitData {
    /// It comes as a property of the track or of its objects (MSF-01, "Initialization Data List"),
    /// as that of a track which a delta adds may have to: a delta has no list of its own.
    pub fn is_a_property(&self) -> bool {
        matches!(&*self.kind, "track-property" | "object-property")
    }

    /// An initialisation segment in the catalog itself.
    pub fn inline(id: String, data: &[u8]) -> Self {
        Self { id, kind: "inline".to_owned(), data: BASE64.encode(data) }
    }
}

/// Why a catalog could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Larger than is read.
    #[error("a catalog of {0} bytes, at most {max} are read", max = limits::CATALOG_BYTES_MAX)]
    TooLarge(usize),
    /// More tracks than are read.
    #[error("a catalog of {0} tracks, at most {max} are read", max = limits::CATALOG_TRACKS_MAX)]
    TooManyTracks(usize),
    /// Not JSON, or a field of another type.
    #[error("not a catalog: {0}")]
    Json(#[from] serde_json::Error),
    /// MSF §5: a parser MUST NOT read a version that it does not know.
    #[error("catalog version {0:?} is not known")]
    Version(String),
    /// A delta of a group whose first object, the whole catalog, is not known.
    #[error("a delta without the catalog that it changes")]
    NoBase,
    /// A delta names a track that is not listed.
    #[error("a delta changes a catalog that has no track {0:?}")]
    NoSuchTrack(String),
    /// A delta adds a track that is listed.
    #[error("a delta adds a track, and {0:?} is there")]
    Listed(String),
    /// A delta does what is not known.
    #[error("a delta with the operation {0:?}")]
    Operation(String),
}

const VERSION: &str = "draft-01";

/// What the name of a packaged track has behind that of its raw track.
const PACKAGED: &str = ".cmaf";

impl Catalog {
    /// Renders a description.
    pub fn new(description: &Description, edition: Edition) -> Self {
        let mut tracks: Vec<CatalogTrack> =
            description.tracks.iter().map(|t| track(t, edition)).collect();
        if edition.loc {
            tracks.push(CatalogTrack {
                name: "catalog.loc".to_owned(),
                packaging: "catalog".to_owned(),
                is_live: edition.live,
                ..CatalogTrack::default()
            });
        }
        let mut init_data_list: Vec<InitData> = Vec::new();
        for TrackDescription { init, .. } in &description.tracks {
            if init_data_list.iter().all(|known| known.id != init.id) {
                let data = BASE64.encode(&init.data);
                init_data_list.push(InitData {
                    id: init.id.clone(),
                    kind: "inline".to_owned(),
                    data,
                });
            }
        }
        Self {
            version: VERSION.to_owned(),
            generated_at: edition.generated_at_ms,
            is_complete: false,
            tracks,
            init_data_list,
        }
    }

    /// Renders the raw tracks of the same description: LOC, draft-ietf-moq-loc-04. They stand in a catalog of their
    /// own, because browser players that know only `cmaf` trip over them.
    pub fn loc(description: &Description, edition: Edition) -> Self {
        let mut catalog = Self::new(description, Edition { loc: false, ..edition });
        catalog.init_data_list.clear();
        for (entry, track) in catalog.tracks.iter_mut().zip(&description.tracks) {
            entry.name = track.name.strip_suffix(PACKAGED).unwrap_or(&track.name).to_owned();
            entry.packaging = "loc".to_owned();
            entry.max_grp_sap_starting_type = None;
            entry.init_ref = Some(entry.name.clone());
            catalog.init_data_list.push(InitData {
                id: entry.name.clone(),
                kind: "inline".to_owned(),
                data: BASE64.encode(&track.record),
            });
        }
        catalog
    }

    /// The catalog that ends a broadcast of which nothing remains, MSF §5.
    pub fn complete() -> Self {
        Self {
            version: VERSION.to_owned(),
            generated_at: None,
            is_complete: true,
            tracks: Vec::new(),
            init_data_list: Vec::new(),
        }
    }

    /// The payload of an object of the track `catalog`.
    pub fn to_json(&self) -> Bytes {
        // invariant: strings, numbers and lists only; serialising them to memory cannot fail
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    /// Reads the payload of an object of a catalog track.
    pub fn parse(json: &[u8]) -> Result<Self, Error> {
        if json.len() > limits::CATALOG_BYTES_MAX {
            return Err(Error::TooLarge(json.len()));
        }
        let catalog: Self = serde_json::from_slice(json)?;
        // Some examples of the drafts print "1".
        if catalog.version != VERSION && catalog.version != "1" {
            return Err(Error::Version(catalog.version));
        }
        if catalog.tracks.len() > limits::CATALOG_TRACKS_MAX {
            return Err(Error::TooManyTracks(catalog.tracks.len()));
        }
        Ok(catalog)
    }

    /// The INSTREAM-ID of all captions inside pictures, each once.
    pub fn instream_ids(&self) -> Vec<String> {
        let all = self.tracks.iter().flat_map(|track| &track.accessibility);
        let mut ids = instream_ids(all.map(|a| (&*a.scheme, &*a.value)));
        ids.sort();
        ids.dedup();
        ids
    }

    /// The initialisation segment of a track, where it stands in the catalog.
    pub fn init_of(&self, track: &CatalogTrack) -> Option<Bytes> {
        let init = self.init_data(track).filter(|init| init.kind == "inline")?;
        BASE64.decode(&init.data).ok().map(Bytes::from)
    }

    /// What a track's `initRef` names.
    pub fn init_data(&self, track: &CatalogTrack) -> Option<&InitData> {
        let id = track.init_ref.as_ref()?;
        self.init_data_list.iter().find(|init| &init.id == id)
    }
}

fn track(track: &TrackDescription, edition: Edition) -> CatalogTrack {
    let mut entry = CatalogTrack {
        name: track.name.clone(),
        packaging: "cmaf".to_owned(),
        is_live: edition.live,
        role: Some(match track.role {
            Role::Video => "video".to_owned(),
            Role::Audio => "audio".to_owned(),
        }),
        render_group: Some(1),
        alt_group: Some(track.alternatives),
        // MSF: ignored, and misleading, when not live.
        target_latency: edition.live.then_some(edition.target_latency_ms),
        init_ref: Some(track.init.id.clone()),
        codec: Some(track.codec.clone()),
        timescale: Some(track.timescale),
        bitrate: Some(track.bitrate.max()),
        avg_bitrate: track.bitrate.average,
        max_grp_sap_starting_type: Some(1),
        label: track.label.clone(),
        lang: track.language.clone(),
        // MSF: never if live.
        track_duration: edition.duration_ms.filter(|_| !edition.live),
        ..CatalogTrack::default()
    };
    match track.media {
        MediaDescription::Video { width, height, display_width, frame_rate } => {
            entry.width = Some(width);
            entry.height = Some(height);
            if display_width != width {
                entry.display_width = Some(display_width);
                entry.display_height = Some(height);
            }
            entry.framerate = frame_rate.and_then(frame_rate_number);
            let captions = track.captions.descriptors().into_iter();
            entry.accessibility = captions
                .map(|(scheme, value)| Accessibility { scheme: scheme.to_owned(), value })
                .collect();
        }
        MediaDescription::Audio { sample_rate, channels } => {
            entry.samplerate = Some(sample_rate);
            entry.channel_config = Some(channels.to_string());
        }
    }
    entry
}

/// `30`, not `30.0`; otherwise three decimals.
fn frame_rate_number(rate: Ratio) -> Option<serde_json::Number> {
    if rate.den() == 1 {
        return Some(rate.num().into());
    }
    serde_json::Number::from_f64((rate.as_f64() * 1000.0).round() / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::aac::AudioSpecificConfig;

    const LIVE: Edition = Edition {
        generated_at_ms: Some(1_763_812_800_000),
        live: true,
        target_latency_ms: 1000,
        duration_ms: None,
        loc: true,
    };

    fn video(
        name: &str,
        codec: &str,
        (width, height): (u32, u32),
        bitrate: u64,
        init: &str,
    ) -> TrackDescription {
        TrackDescription {
            name: name.into(),
            role: Role::Video,
            media: MediaDescription::Video {
                width,
                height,
                display_width: width,
                frame_rate: Ratio::new(30, 1),
            },
            codec: codec.into(),
            timescale: 90_000,
            bitrate: Bitrate { declared: Some(bitrate), peak: Some(9), average: None },
            init: Init { id: init.into(), data: Bytes::from_static(b"init") },
            record: Bytes::from_static(b"record"),
            language: None,
            label: None,
            alternatives: 1,
            captions: Embedded::default(),
        }
    }

    fn description() -> Description {
        let config = Config::Audio(AudioSpecificConfig::parse(&[0x11, 0x90]).unwrap().config());
        let init = Init { id: "a0".into(), data: Bytes::from_static(b"sound") };
        let mut audio = TrackDescription::new("audio.cmaf", &config, None, init);
        audio.bitrate.peak = Some(128_000);
        Description {
            tracks: vec![
                video("video.cmaf", "avc1.64001f", (1280, 720), 3_000_000, "v0"),
                video("video.480p.cmaf", "avc1.4d401f", (854, 480), 1_200_000, "v1"),
                audio,
            ],
        }
    }

    #[test]
    fn the_shape_that_both_browser_players_accept() {
        let expect = serde_json::json!({
          "version": "draft-01",
          "generatedAt": 1_763_812_800_000_u64,
          "tracks": [
            { "name": "video.cmaf", "packaging": "cmaf", "isLive": true, "role": "video",
              "renderGroup": 1, "altGroup": 1, "targetLatency": 1000, "initRef": "v0",
              "codec": "avc1.64001f", "width": 1280, "height": 720, "framerate": 30,
              "timescale": 90000, "bitrate": 3_000_000, "maxGrpSapStartingType": 1 },
            { "name": "video.480p.cmaf", "packaging": "cmaf", "isLive": true, "role": "video",
              "renderGroup": 1, "altGroup": 1, "targetLatency": 1000, "initRef": "v1",
              "codec": "avc1.4d401f", "width": 854, "height": 480, "framerate": 30,
              "timescale": 90000, "bitrate": 1_200_000, "maxGrpSapStartingType": 1 },
            { "name": "audio.cmaf", "packaging": "cmaf", "isLive": true, "role": "audio",
              "renderGroup": 1, "altGroup": 2, "targetLatency": 1000, "initRef": "a0",
              "codec": "mp4a.40.2", "samplerate": 48000, "channelConfig": "2",
              "timescale": 48000, "bitrate": 128_000, "maxGrpSapStartingType": 1 },
            { "name": "catalog.loc", "packaging": "catalog", "isLive": true }
          ],
          "initDataList": [
            { "id": "v0", "type": "inline", "data": "aW5pdA==" },
            { "id": "v1", "type": "inline", "data": "aW5pdA==" },
            { "id": "a0", "type": "inline", "data": "c291bmQ=" }
          ]
        });
        let catalog = Catalog::new(&description(), LIVE);
        let json = catalog.to_json();
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&json).unwrap(), expect);
        assert!(
            json.starts_with(b"{\"version\":\"draft-01\",\"generatedAt\":"),
            "the order of the draft"
        );
        let read = Catalog::parse(&json).unwrap();
        assert_eq!(read, catalog);
        assert_eq!(read.init_of(&read.tracks[2]).unwrap(), "sound");
    }

    #[test]
    fn raw_tracks_stand_in_a_catalog_of_their_own() {
        let catalog = Catalog::loc(&description(), LIVE);
        let expect = serde_json::json!({
          "version": "draft-01",
          "generatedAt": 1_763_812_800_000_u64,
          "tracks": [
            { "name": "video", "packaging": "loc", "isLive": true, "role": "video",
              "renderGroup": 1, "altGroup": 1, "targetLatency": 1000, "initRef": "video",
              "codec": "avc1.64001f", "width": 1280, "height": 720, "framerate": 30,
              "timescale": 90000, "bitrate": 3_000_000 },
            { "name": "video.480p", "packaging": "loc", "isLive": true, "role": "video",
              "renderGroup": 1, "altGroup": 1, "targetLatency": 1000, "initRef": "video.480p",
              "codec": "avc1.4d401f", "width": 854, "height": 480, "framerate": 30,
              "timescale": 90000, "bitrate": 1_200_000 },
            { "name": "audio", "packaging": "loc", "isLive": true, "role": "audio",
              "renderGroup": 1, "altGroup": 2, "targetLatency": 1000, "initRef": "audio",
              "codec": "mp4a.40.2", "samplerate": 48000, "channelConfig": "2",
              "timescale": 48000, "bitrate": 128_000 },
          ],
          "initDataList": [
            { "id": "video", "type": "inline", "data": "cmVjb3Jk" },
            { "id": "video.480p", "type": "inline", "data": "cmVjb3Jk" },
            { "id": "audio", "type": "inline", "data": "EZA=" }
          ]
        });
        let json = catalog.to_json();
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&json).unwrap(), expect);
        let read = Catalog::parse(&json).unwrap();
        assert_eq!(read.init_of(&read.tracks[2]).unwrap(), [0x11, 0x90][..]);
    }

    #[test]
    fn the_end_of_a_broadcast() {
        let over = Edition {
            generated_at_ms: None,
            live: false,
            duration_ms: Some(61_000),
            loc: false,
            ..LIVE
        };
        let catalog = Catalog::new(&description(), over);
        assert!(catalog.tracks.iter().all(|t| !t.is_live && t.track_duration == Some(61_000)));
        assert!(catalog.tracks.iter().all(|t| t.target_latency.is_none()));
        assert_eq!(
            Catalog::complete().to_json(),
            r#"{"version":"draft-01","isComplete":true,"tracks":[]}"#
        );
    }

    #[test]
    fn tolerant_of_the_unknown_and_strict_about_versions() {
        let read = Catalog::parse(
            br#"{"version":"1","future":{},"tracks":[{"name":"v","packaging":"loc","isLive":true,"depends":["x"],"framerate":29.97}]}"#,
        );
        assert_eq!(read.unwrap().tracks[0].framerate.as_ref().unwrap().as_f64(), Some(29.97));
        for bad in [
            &b"{}"[..],
            b"[]",
            b"",
            br#"{"version":1,"tracks":[]}"#,
            br#"{"version":"draft-09","tracks":[]}"#,
        ] {
            assert!(Catalog::parse(bad).is_err());
        }
    }
}
