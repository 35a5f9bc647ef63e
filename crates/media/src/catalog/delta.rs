//! Changes to a catalog: objects behind the first one of a group of a catalog track, MSF-01 §5.3.
//!
//! | operation | what it does |
//! |---|---|
//! | `add` | a track that is not there yet |
//! | `remove` | the track of this name |
//! | `clone` | a track like `parentName`, but for the fields that it has itself |
//! | `update` | the same in its parent's place, of later editions of the draft |

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Catalog, CatalogTrack, Error};
use crate::limits;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Delta {
    #[serde(default)]
    generated_at: Option<u64>,
    #[serde(default)]
    is_complete: bool,
    delta_update: Vec<Change>,
}

#[derive(Deserialize)]
struct Change {
    op: String,
    tracks: Vec<Map<String, Value>>,
}

impl Catalog {
    /// The catalog after a delta: all of its changes in their order, or none. What it grows to is bounded as what is read at once.
    pub fn updated(&self, json: &[u8]) -> Result<Self, Error> {
        if json.len() > limits::CATALOG_BYTES_MAX {
            return Err(Error::TooLarge(json.len()));
        }
        let delta: Delta = serde_json::from_slice(json)?;
        let changes = delta.delta_update.iter().map(|change| change.tracks.len()).sum();
        if changes > limits::CATALOG_TRACKS_MAX {
            return Err(Error::TooManyTracks(changes));
        }
        let mut next = self.clone();
        // Never less: a large entry that is copied again and again is work as well.
        let mut bytes = self.to_json().len();
        for Change { op, tracks } in delta.delta_update {
            for entry in tracks {
                next.change(&op, entry, &mut bytes)?;
            }
        }
        next.generated_at = delta.generated_at.or(next.generated_at);
        next.is_complete |= delta.is_complete;
        Ok(next)
    }

    fn change(
        &mut self,
        op: &str,
        entry: Map<String, Value>,
        bytes: &mut usize,
    ) -> Result<(), Error> {
        let text = |field| entry.get(field).and_then(Value::as_str);
        let place = |name: Option<&str>| {
            let name = name.unwrap_or_default();
            let place = self.tracks.iter().position(|track| track.name == name);
            place.ok_or_else(|| Error::NoSuchTrack(cut(name)))
        };
        let (at, track) = match op {
            "add" => (None, serde_json::from_value(Value::Object(entry))?),
            "remove" => {
                let at = place(text("name"))?;
                self.tracks.remove(at);
                return Ok(());
            }
            "clone" => {
                let parent = place(text("parentName"))?;
                (None, like(&self.tracks[parent], entry, bytes)?)
            }
            "update" => {
                let parent = place(text("parentName").or_else(|| text("name")))?;
                (Some(parent), like(&self.tracks[parent], entry, bytes)?)
            }
            other => return Err(Error::Operation(cut(other))),
        };
        let track: CatalogTrack = track;
        if self.tracks.iter().enumerate().any(|(n, t)| t.name == track.name && Some(n) != at) {
            return Err(Error::Listed(cut(&track.name)));
        }
        *bytes += serde_json::to_vec(&track)?.len();
        if *bytes > limits::CATALOG_BYTES_MAX {
            return Err(Error::TooLarge(*bytes));
        }
        match at {
            Some(at) => self.tracks[at] = track,
            None if self.tracks.len() < limits::CATALOG_TRACKS_MAX => self.tracks.push(track),
            None => return Err(Error::TooManyTracks(self.tracks.len() + 1)),
        }
        Ok(())
    }
}

/// The parent with these fields instead of its own.
fn like(
    parent: &CatalogTrack,
    mut entry: Map<String, Value>,
    bytes: &mut usize,
) -> Result<CatalogTrack, Error> {
    let mut fields = serde_json::to_value(parent)?;
    *bytes += serde_json::to_vec(parent)?.len();
    entry.remove("parentName");
    if let Value::Object(fields) = &mut fields {
        fields.extend(entry);
    }
    Ok(serde_json::from_value(fields)?)
}

/// So much of a name as a log needs.
fn cut(name: &str) -> String {
    name.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog() -> Catalog {
        Catalog::parse(
            br#"{"version":"draft-01","generatedAt":1,"tracks":[
            {"name":"camera","packaging":"loc","isLive":true,"role":"video","codec":"avc1.640028","width":1920,"bitrate":5000000},
            {"name":"sound","packaging":"loc","isLive":true,"role":"audio","codec":"opus"}]}"#,
        )
        .unwrap()
    }

    fn names(catalog: &Catalog) -> Vec<&str> {
        catalog.tracks.iter().map(|track| &*track.name).collect()
    }

    #[test]
    fn msf01_s5_3_changes_are_made_in_their_order() {
        let next = catalog().updated(
            br#"{"generatedAt":2,"deltaUpdate":[
            {"op":"remove","tracks":[{"name":"sound"}]},
            {"op":"add","tracks":[{"name":"slides","packaging":"loc","isLive":true},{"name":"sound","packaging":"cmaf","isLive":true}]},
            {"op":"clone","tracks":[{"parentName":"camera","name":"small","width":960,"bitrate":null}]},
            {"op":"update","tracks":[{"name":"camera","bitrate":4000000}]}]}"#,
        );
        let next = next.unwrap();
        assert_eq!(names(&next), ["camera", "slides", "sound", "small"]);
        assert_eq!((next.generated_at, next.is_complete), (Some(2), false));
        let small = &next.tracks[3];
        assert_eq!((small.width, small.bitrate), (Some(960), None));
        assert_eq!(small.codec.as_deref(), Some("avc1.640028"));
        assert_eq!((next.tracks[0].bitrate, next.tracks[0].width), (Some(4_000_000), Some(1920)));
        assert_eq!(next.tracks[2].packaging, "cmaf");
        let over = next.updated(br#"{"deltaUpdate":[],"isComplete":true}"#).unwrap();
        assert!(over.is_complete && over.generated_at == Some(2));
    }

    #[test]
    fn a_delta_that_does_not_apply_changes_nothing() {
        let bad: [(&str, &str); 9] = [
            ("{", "EOF"),
            (r#"{"version":"draft-01","tracks":[]}"#, "deltaUpdate"),
            (r#"{"deltaUpdate":true}"#, "boolean"),
            (
                r#"{"deltaUpdate":[{"op":"remove","tracks":[{"name":"other"}]}]}"#,
                r#"no track "other""#,
            ),
            (r#"{"deltaUpdate":[{"op":"remove","tracks":[{}]}]}"#, r#"no track """#),
            (
                r#"{"deltaUpdate":[{"op":"clone","tracks":[{"name":"x","parentName":"y"}]}]}"#,
                r#"no track "y""#,
            ),
            (
                r#"{"deltaUpdate":[{"op":"remove","tracks":[{"name":"sound"}]},{"op":"add","tracks":[{"name":"camera","packaging":"loc","isLive":true}]}]}"#,
                r#""camera" is there"#,
            ),
            (r#"{"deltaUpdate":[{"op":"add","tracks":[{"name":"x"}]}]}"#, "packaging"),
            (r#"{"deltaUpdate":[{"op":"replace","tracks":[{"name":"sound"}]}]}"#, r#""replace""#),
        ];
        for (json, word) in bad {
            let error = catalog().updated(json.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(word), "{json}: {error}");
        }
    }

    #[test]
    fn what_a_catalog_grows_to_is_bounded() {
        let base = catalog();
        let add = |n| format!(r#"{{"name":"{n}","packaging":"loc","isLive":true}}"#);
        let delta = |op: &str, tracks: Vec<String>| {
            format!(r#"{{"deltaUpdate":[{{"op":"{op}","tracks":[{}]}}]}}"#, tracks.join(","))
        };
        let most = limits::CATALOG_TRACKS_MAX;
        let all = base.updated(delta("add", (2..most).map(add).collect()).as_bytes()).unwrap();
        assert_eq!(all.tracks.len(), most);
        let one_more = all.updated(delta("add", vec![add(most)]).as_bytes());
        assert!(matches!(one_more, Err(Error::TooManyTracks(_))), "{one_more:?}");
        let many = base.updated(delta("remove", vec!["{}".into(); most + 1]).as_bytes());
        assert!(matches!(many, Err(Error::TooManyTracks(_))), "{many:?}");
        // One large entry, a thousand times.
        let label = "x".repeat(limits::CATALOG_BYTES_MAX / 4);
        let large =
            format!(r#"{{"name":"large","packaging":"loc","isLive":true,"label":"{label}"}}"#);
        let large = base.updated(delta("add", vec![large]).as_bytes()).unwrap();
        for op in ["clone", "update"] {
            let like = |n| format!(r#"{{"parentName":"large","name":"{op}{n}"}}"#);
            let same = |_| r#"{"name":"large"}"#.to_owned();
            let tracks = (0..999).map(|n| if op == "clone" { like(n) } else { same(n) }).collect();
            let grown = large.updated(delta(op, tracks).as_bytes());
            assert!(matches!(grown, Err(Error::TooLarge(_))), "{op}");
        }
    }
}
