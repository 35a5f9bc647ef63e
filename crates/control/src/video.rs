//! Videos: one broadcast each, live or over.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ids::{InputUid, Rev, VideoUid};
use crate::ownership::End;

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
    /// What its owner chose.
    pub settings: VideoSettings,
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
    /// Where its thumbnail is taken from, from 0 to 1.
    pub thumbnail_timestamp_pct: Option<f64>,
    /// Which files may be downloaded.
    pub downloads: Downloads,
    /// Whether viewers are offered to make clips.
    pub allow_clips: bool,
    /// Captions that were added, by language (BCP 47).
    pub captions: BTreeMap<String, Captions>,
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
}
