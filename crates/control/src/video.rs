//! Videos: one broadcast each, live or over.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ids::{InputUid, Rev, VideoUid};
use crate::ownership::End;
use crate::record::SegmentRecord;

/// A video. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq)]
pub struct Video {
    /// Its id.
    pub uid: VideoUid,
    /// The input that it was broadcast on, which may be deleted by now.
    pub input: InputUid,
    /// When the broadcast began.
    pub created_ms: u64,
    /// When its document was last changed.
    pub modified_ms: u64,
    /// Its version, for compare-and-set.
    pub rev: Rev,
    /// When and why the broadcast ended; none while it is on the air or waited for.
    pub ended: Option<(u64, End)>,
    /// When it will be deleted, if it will.
    pub delete_ms: Option<u64>,
    /// Committed segments, gaps among them.
    pub segments: u64,
    /// The numbers of the first and the last committed segment.
    pub numbers: Option<(u64, u64)>,
    /// Duration of the committed segments.
    pub duration_ms: u64,
    /// Size of the committed segments.
    pub bytes: u64,
    /// What it was cut from; none for a broadcast.
    pub clip: Option<ClipOf>,
    /// What its owner chose.
    pub settings: VideoSettings,
}

/// What a clip was cut from. It has media of its own, so that may be gone by now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClipOf {
    /// The video.
    pub video: VideoUid,
    /// Where in it the clip begins, in milliseconds as players count.
    pub from_ms: u64,
    /// How long it lasts.
    pub duration_ms: u64,
    /// Nanoseconds from the clip's own beginning to the first picture that is meant to be seen: what must be decoded ahead
    /// of it comes before.
    pub hidden_ns: u64,
    /// How long it is seen from there on, in nanoseconds; what is behind it is there to be decoded, too.
    pub seen_ns: u64,
}

/// A clip, to be made a video: its objects are in the store.
#[derive(Debug, Clone, PartialEq)]
pub struct NewClip {
    /// Its id.
    pub uid: VideoUid,
    /// The input that its source was broadcast on: whoever may do something with that input's videos may with this one.
    pub input: InputUid,
    /// What it was cut from.
    pub of: ClipOf,
    /// What the source's owner had chosen when `settings` were made of it: if that is no longer so, there is no clip.
    pub source: VideoSettings,
    /// When.
    pub now_ms: u64,
    /// When it will be deleted, if it will.
    pub delete_ms: Option<u64>,
    /// What its owner chose.
    pub settings: VideoSettings,
    /// Its catalog.
    pub catalog: Bytes,
    /// Its segments, numbered from 1.
    pub records: Vec<SegmentRecord>,
}

impl Video {
    /// It is on the air, or waited for.
    pub fn live(&self) -> bool {
        self.ended.is_none()
    }
}

/// What a video's owner chooses. Taken from the input when the broadcast begins.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VideoSettings {
    /// The user's own values; `name` is what is shown.
    pub meta: Map<String, Value>,
    /// Who made it.
    pub creator: Option<String>,
    /// Whether watching needs a token.
    #[serde(rename = "requireSignedURLs")]
    pub require_signed_urls: bool,
    /// Pages that may embed it; none and empty mean any.
    pub allowed_origins: Option<Vec<String>>,
    /// Those were chosen for this video alone: what its input says while it is on the air does not change them.
    pub origins_chosen: bool,
    /// Where its thumbnail is taken from, from 0 to 1.
    pub thumbnail_timestamp_pct: Option<f64>,
    /// Which files may be downloaded.
    pub downloads: Downloads,
    /// Whether viewers are offered to make clips.
    pub allow_clips: bool,
    /// Levels of quality beside the original, as the input has them.
    pub ladder: Option<Vec<String>>,
    /// Captions that were added, by language (BCP 47).
    pub captions: BTreeMap<String, Captions>,
    /// What pages around the player may show of it.
    pub public_details: PublicDetails,
}

/// What a video's owner tells everybody who may watch it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PublicDetails {
    /// What it is called in public.
    pub title: Option<String>,
    /// The page to share.
    pub share_link: Option<String>,
    /// The page of who made it.
    pub channel_link: Option<String>,
    /// The address of a picture.
    pub logo: Option<String>,
}

/// Captions in one language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Captions {
    /// What viewers read in their menu.
    pub label: String,
    /// The random part of their object's name.
    pub object: u64,
    /// Their size.
    pub bytes: u64,
}

/// Files of a whole video that its owner has asked for. They are made as they are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Downloads {
    /// Picture and sound, as MP4.
    pub default: bool,
    /// The sound alone.
    pub audio: bool,
}

/// What may be changed of a video.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct VideoChange {
    /// What its owner chose.
    pub settings: VideoSettings,
    /// When it will be deleted, if it will.
    pub delete_ms: Option<u64>,
}

/// Which videos a list has; what is not set lets all pass.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VideoFilter {
    /// Of this input.
    pub input: Option<InputUid>,
    /// On the air or waited for; or not.
    pub live: Option<bool>,
    /// Ended before this time.
    pub ended_before_ms: Option<u64>,
    /// Clips; or broadcasts.
    pub clips: Option<bool>,
    /// Whose name contains this, whatever its case.
    pub search: Option<String>,
    /// Of this creator.
    pub creator: Option<String>,
    /// With one of these ids.
    pub uids: Option<Vec<String>>,
    /// Called one of these, or with it as an id.
    pub named: Option<Vec<String>>,
    /// Begun at this time or later.
    pub created_from_ms: Option<u64>,
    /// Begun before this time.
    pub created_before_ms: Option<u64>,
}
