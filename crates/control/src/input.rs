//! Live inputs: the document, the keys, and what a caller may change.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ids::{InputUid, Rev};
use crate::secret::Secret;

/// A live input without its keys. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// Its id.
    pub uid: InputUid,
    /// When it was made.
    pub created_ms: u64,
    /// When it was last changed.
    pub modified_ms: u64,
    /// When its keys were last rotated; none if never.
    pub keys_rotated_ms: Option<u64>,
    /// Its version, for compare-and-set.
    pub rev: Rev,
    /// Its place in the order of creation; a list goes on behind it ([`Page::after`]).
    pub ordinal: u64,
    /// What its owner chose.
    pub settings: InputSettings,
}

/// What an input's owner chooses, in the words of the API (`reference/cloudflare-api.md` §4.2).
/// Fields that are not named here are not kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InputSettings {
    /// The user's own values; `name` is what is shown.
    pub meta: Map<String, Value>,
    /// Whether it takes encoders.
    pub enabled: bool,
    /// Whether playlists have parts. On by default, unlike the vendor's.
    pub prefer_low_latency: bool,
    /// Levels of quality that viewers get beside the original, such as `720p` or `480p=1200`; none: the node's, empty: the
    /// original only. For broadcasts that begin after the change, and their recordings.
    pub ladder: Option<Vec<String>>,
    /// Days after their end that its recordings are deleted; for broadcasts that begin after the change.
    pub delete_recording_after_days: Option<u32>,
    /// The creator that its recordings name.
    pub default_creator: Option<String>,
    /// How its broadcasts are recorded and shown.
    pub recording: RecordingSettings,
}

/// How broadcasts of an input are recorded and shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RecordingSettings {
    /// Whether they are kept. On by default, unlike the vendor's.
    pub mode: RecordingMode,
    /// Seconds that an encoder is waited for; 0 is the node's default.
    pub timeout_seconds: u32,
    /// Bytes of recordings beyond which the oldest are deleted; none: what the node keeps.
    pub max_total_bytes: Option<u64>,
    /// Whether watching needs a token.
    #[serde(rename = "requireSignedURLs")]
    pub require_signed_urls: bool,
    /// Pages that may embed it; none and empty mean any.
    pub allowed_origins: Option<Vec<String>>,
    /// Whether the number of viewers is a secret.
    pub hide_live_viewer_count: bool,
    /// Whether viewers are offered to make clips.
    pub allow_clips: bool,
    /// Whether viewers may chat.
    pub allow_chat: bool,
}

/// Whether broadcasts are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordingMode {
    /// In memory while they last, no longer.
    Off,
    /// As a video.
    #[default]
    Automatic,
}

impl Default for InputSettings {
    fn default() -> Self {
        Self {
            meta: Map::new(),
            enabled: true,
            prefer_low_latency: true,
            ladder: None,
            delete_recording_after_days: None,
            default_creator: None,
            recording: RecordingSettings::default(),
        }
    }
}

impl Default for RecordingSettings {
    fn default() -> Self {
        Self {
            mode: RecordingMode::Automatic,
            timeout_seconds: 0,
            max_total_bytes: None,
            require_signed_urls: false,
            allowed_origins: None,
            hide_live_viewer_count: false,
            allow_clips: false,
            allow_chat: false,
        }
    }
}

/// The keys of an input. None of them can be printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputKeys {
    /// Publishes over RTMP, MoQ, WHIP, and over SRT without a passphrase.
    pub stream_key: Secret,
    /// Plays over RTMP.
    pub playback_key: Secret,
    /// The passphrase of SRT, which the encoder knows and the server must know too.
    pub srt_passphrase: Secret,
    /// The path of WHIP, where it should not be the stream key.
    pub webrtc_secret: Secret,
}

/// Bytes of randomness that [`InputKeys`] and their encryption use up.
pub const KEY_RANDOM_BYTES: usize = 4 * 24 + 12;

/// Which of an input's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// [`InputKeys::stream_key`].
    Stream,
    /// [`InputKeys::playback_key`].
    Playback,
    /// [`InputKeys::webrtc_secret`].
    WebRtc,
}

impl KeyKind {
    pub(crate) const ALL: [Self; 3] = [Self::Stream, Self::Playback, Self::WebRtc];

    pub(crate) fn column(self) -> i64 {
        match self {
            Self::Stream => 0,
            Self::Playback => 1,
            Self::WebRtc => 2,
        }
    }
}

impl InputKeys {
    /// New keys of 192 bits each, and the nonce to encrypt them with. `random` is from the caller's
    /// source of randomness and is used for nothing else.
    pub(crate) fn from_random(random: &[u8; KEY_RANDOM_BYTES]) -> (Self, [u8; 12]) {
        let secret = |i: usize| {
            let mut bytes = [0; 24];
            bytes.copy_from_slice(&random[i * 24..(i + 1) * 24]);
            Secret::from_random(bytes)
        };
        let mut nonce = [0; 12];
        nonce.copy_from_slice(&random[4 * 24..]);
        let keys = Self {
            stream_key: secret(0),
            playback_key: secret(1),
            srt_passphrase: secret(2),
            webrtc_secret: secret(3),
        };
        (keys, nonce)
    }

    /// The key of one kind; the passphrase of SRT finds nothing and is not among them.
    pub fn of(&self, kind: KeyKind) -> &Secret {
        match kind {
            KeyKind::Stream => &self.stream_key,
            KeyKind::Playback => &self.playback_key,
            KeyKind::WebRtc => &self.webrtc_secret,
        }
    }

    /// The text that is encrypted: one key a line.
    pub(crate) fn to_text(&self) -> String {
        let all = [&self.stream_key, &self.playback_key, &self.srt_passphrase, &self.webrtc_secret];
        all.map(Secret::expose).join("\n")
    }

    pub(crate) fn from_text(text: &[u8]) -> Option<Self> {
        let mut lines = std::str::from_utf8(text).ok()?.split('\n').map(Secret::new);
        Some(Self {
            stream_key: lines.next()?,
            playback_key: lines.next()?,
            srt_passphrase: lines.next()?,
            webrtc_secret: lines.next()?,
        })
    }
}

/// Which part of a list is wanted: in the order of creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Where the last page ended ([`List::next`]); none for the first page.
    pub after: Option<u64>,
    /// So many rows behind that are left out first.
    pub skip: u64,
    /// At most this many; bounded by [`crate::limits::LIST_ROWS`].
    pub rows: usize,
    /// Newest first.
    pub newest_first: bool,
    /// Whether it is counted how many there are, which looks at all of them.
    pub counts: bool,
}

impl Default for Page {
    fn default() -> Self {
        let rows = crate::limits::LIST_ROWS;
        Self { after: None, skip: 0, rows, newest_first: true, counts: true }
    }
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct List<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// How many there are in all pages; 0 if that was not counted.
    pub total: u64,
    /// How many there are from where this page begins; 0 if that was not counted.
    pub remaining: u64,
    /// Where the next page begins; none if this is the last.
    pub next: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_in_the_words_of_the_api_and_unknown_fields_are_not_kept() {
        let check = |json: &str, expect: InputSettings| {
            let read: InputSettings = serde_json::from_str(json).unwrap();
            assert_eq!(read, expect, "{json}");
            let again = serde_json::to_string(&read).unwrap();
            assert!(!again.contains("unknown"), "{again}");
            assert_eq!(serde_json::from_str::<InputSettings>(&again).unwrap(), expect);
        };
        let plain = InputSettings::default();
        check("{}", plain.clone());
        check(r#"{"unknown":1,"recording":{"unknown":2}}"#, plain.clone());
        check(
            r#"{"enabled":false,"preferLowLatency":false,"ladder":["720p"],"deleteRecordingAfterDays":30,
               "defaultCreator":"me","recording":{"mode":"off","timeoutSeconds":7,"maxTotalBytes":1099511627776,
               "requireSignedURLs":true,"allowedOrigins":["*.example.com"],
               "hideLiveViewerCount":true,"allowClips":true,"allowChat":true}}"#,
            InputSettings {
                enabled: false,
                prefer_low_latency: false,
                ladder: Some(vec!["720p".into()]),
                delete_recording_after_days: Some(30),
                default_creator: Some("me".into()),
                recording: RecordingSettings {
                    mode: RecordingMode::Off,
                    timeout_seconds: 7,
                    max_total_bytes: Some(1 << 40),
                    require_signed_urls: true,
                    allowed_origins: Some(vec!["*.example.com".into()]),
                    hide_live_viewer_count: true,
                    allow_clips: true,
                    allow_chat: true,
                },
                ..plain
            },
        );
    }

    #[test]
    fn keys_survive_their_text() {
        let random = std::array::from_fn(|i| i as u8);
        let (keys, nonce) = InputKeys::from_random(&random);
        assert_eq!(nonce, [96, 97, 98, 99, 100, 101, 102, 103, 104, 105, 106, 107]);
        assert_eq!(InputKeys::from_text(keys.to_text().as_bytes()), Some(keys));
        assert_eq!(InputKeys::from_text(b"a\nb"), None);
    }
}
