//! The `connect` command (RTMP 1.0 §7.2.1.1, Enhanced RTMP v2 "Enhancing NetConnection connect
//! Command"), and our answer.

use crate::amf0::Value;
use crate::error::PeerFault;
use crate::{Secret, limits};

/// Enhanced RTMP v2, `CapsExMask`. What a peer says here is told on, never relied on: FFmpeg 9 says
/// nothing and uses it all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CapsEx(pub u32);

impl CapsEx {
    /// Takes a Reconnect Request.
    pub const RECONNECT: CapsEx = CapsEx(1);
    /// Several tracks of a kind.
    pub const MULTITRACK: CapsEx = CapsEx(2);
    /// Modifier extensions in tags.
    pub const MOD_EX: CapsEx = CapsEx(4);
    /// Timestamps below a millisecond, by ModEx.
    pub const TIMESTAMP_NANO: CapsEx = CapsEx(8);

    /// Whether all of `other` is in here.
    pub fn has(self, other: CapsEx) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A codec that a peer announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FourCc {
    /// Four characters, or `*` for all.
    pub code: String,
    /// `FourCcInfoMask`: 1 decode, 2 encode, 4 forward; 0 if it came without.
    pub mask: u32,
}

/// What `connect` said. Application and URL may contain the key.
#[derive(Debug, Clone)]
pub struct Connect {
    /// Without its query and slashes at its ends.
    pub app: Secret,
    /// What followed a `?` in the application.
    pub app_query: Secret,
    /// The whole URL as the encoder was given it, mostly without the stream name.
    pub tc_url: Secret,
    /// The encoder's name for itself, cut at 128 characters; empty if it sent none.
    pub flash_ver: String,
    /// Enhanced RTMP v2.
    pub caps_ex: CapsEx,
    /// Codecs: `fourCcList` and the two `FourCcInfoMap`s of Enhanced RTMP.
    pub four_ccs: Vec<FourCc>,
}

const FLASH_VER_CHARS_MAX: usize = 128;

impl Connect {
    pub(super) fn parse(object: &Value) -> Result<Connect, PeerFault> {
        let text = |name| object.get(name).and_then(Value::as_str).unwrap_or_default();
        let (app, app_query) = split_query(text("app"))?;
        Ok(Connect {
            app: Secret::new(app.expose().trim_matches('/')),
            app_query,
            tc_url: checked_name(text("tcUrl"))?,
            flash_ver: text("flashVer").chars().take(FLASH_VER_CHARS_MAX).collect(),
            caps_ex: CapsEx(
                object.get("capsEx").and_then(Value::as_number).map_or(0, |n| n as u32),
            ),
            four_ccs: four_ccs(object),
        })
    }
}

/// A name and what follows its first `?`.
pub(super) fn split_query(text: &str) -> Result<(Secret, Secret), PeerFault> {
    checked_name(text)?;
    let (name, query) = text.split_once('?').unwrap_or((text, ""));
    Ok((Secret::new(name), Secret::new(query)))
}

fn checked_name(text: &str) -> Result<Secret, PeerFault> {
    match text.len() {
        0..=limits::NAME_BYTES_MAX => Ok(Secret::new(text)),
        _ => Err(PeerFault::NameTooLong),
    }
}

fn four_ccs(object: &Value) -> Vec<FourCc> {
    let short = |code: &str| code.chars().take(4).collect::<String>();
    let mut found = Vec::new();
    if let Some(Value::StrictArray(list)) = object.get("fourCcList") {
        found.extend(
            list.iter().filter_map(Value::as_str).map(|code| FourCc { code: short(code), mask: 0 }),
        );
    }
    for map in ["videoFourCcInfoMap", "audioFourCcInfoMap"] {
        let entries = object.get(map).map_or(&[][..], Value::properties);
        found.extend(entries.iter().filter_map(|(code, mask)| {
            Some(FourCc { code: short(code), mask: mask.as_number()? as u32 })
        }));
    }
    found.truncate(limits::FOUR_CCS_MAX);
    found
}

/// `FourCcInfoMask.CanForward`: we pass codecs on, players decode them.
const CAN_FORWARD: f64 = 4.0;
const VIDEO: [&str; 5] = ["avc1", "hvc1", "av01", "vp09", "vp08"];
const AUDIO: [&str; 6] = ["mp4a", "Opus", "ac-3", "ec-3", "fLaC", ".mp3"];

/// The two objects of `connect`'s `_result`.
pub(super) fn answer() -> [Value; 2] {
    let map = |codes: &[&str]| {
        Value::Object(
            codes.iter().map(|code| ((*code).to_owned(), Value::Number(CAN_FORWARD))).collect(),
        )
    };
    let caps = CapsEx::MULTITRACK.0 | CapsEx::MOD_EX.0 | CapsEx::TIMESTAMP_NANO.0;
    let list = VIDEO.iter().chain(&AUDIO).map(|code| Value::text(*code)).collect();
    [
        // Encoders of the Flash age look for Adobe's name and numbers.
        Value::object([
            ("fmsVer", Value::text("FMS/3,5,7,7009")),
            ("capabilities", Value::Number(31.0)),
            ("mode", Value::Number(1.0)),
            ("capsEx", Value::Number(f64::from(caps))),
            ("fourCcList", Value::StrictArray(list)),
            ("videoFourCcInfoMap", map(&VIDEO)),
            ("audioFourCcInfoMap", map(&AUDIO)),
        ]),
        Value::object([
            ("level", Value::text("status")),
            ("code", Value::text("NetConnection.Connect.Success")),
            ("description", Value::text("Connection succeeded.")),
            // We speak AMF0 only, whatever the client asked for.
            ("objectEncoding", Value::Number(0.0)),
        ]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connect_is_read_with_everything_optional() {
        let connect = Connect::parse(&Value::Null).unwrap();
        assert!(connect.app.is_empty() && connect.four_ccs.is_empty());
        let object = Value::object([
            ("app", Value::text("/live/key/?t=1")),
            ("tcUrl", Value::text("rtmp://host/live/key")),
            ("flashVer", Value::text("x".repeat(500))),
            ("capsEx", Value::Number(3.0)),
            ("fourCcList", Value::StrictArray(vec![Value::text("av01"), Value::Null])),
            (
                "videoFourCcInfoMap",
                Value::object([("hvc1", Value::Number(4.0)), ("bad", Value::Null)]),
            ),
        ]);
        let connect = Connect::parse(&object).unwrap();
        assert_eq!((connect.app.expose(), connect.app_query.expose()), ("live/key", "t=1"));
        assert_eq!(connect.flash_ver.len(), 128);
        assert!(connect.caps_ex.has(CapsEx::RECONNECT) && !connect.caps_ex.has(CapsEx::MOD_EX));
        let codes: Vec<_> =
            connect.four_ccs.iter().map(|four_cc| (four_cc.code.as_str(), four_cc.mask)).collect();
        assert_eq!(codes, [("av01", 0), ("hvc1", 4)]);
        assert!(!format!("{connect:?}").contains("key"));
    }

    #[test]
    fn long_names_are_refused() {
        let object = Value::object([("app", Value::text("x".repeat(limits::NAME_BYTES_MAX + 1)))]);
        assert_eq!(Connect::parse(&object).unwrap_err(), PeerFault::NameTooLong);
    }
}
