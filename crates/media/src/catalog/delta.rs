//! Changes to a catalog: objects behind the first one of a group of a catalog track, MSF-01 §5.3.
//!
//! | operation | what it does |
//! |---|---|
//! | `add` | a track that is not there yet |
//! | `remove` | the track of this name |
//! | `clone` | a track like `parentName`, but for the fields that it has itself |
//! | `update` | the same in its parent's place, from later editions of the draft |
//!
//! Nothing else of the catalog may stand in a delta: what a track that it adds begins with is what
//! another one has, or comes as a property. An `initDataList` with what is not listed yet is taken
//! all the same.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Catalog, CatalogTrack, Error, InitData};
use crate::limits;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Delta {
    #[serde(default)]
    generated_at: Option<u64>,
    #[serde(default)]
    is_complete: bool,
    delta_update: Vec<Change>,
    #[serde(default)]
    init_data_list: Vec<InitData>,
}

#[derive(Deserialize)]
struct Change {
    op: String,
    tracks: Vec<Map<String, Value>>,
}

/// Bytes of JSON.
struct Size {
    /// Of the catalog.
    is: usize,
    /// Never less: a large entry that is copied again and again is work as well.
    work: usize,
}

impl Size {
    fn work(&mut self, entry: &CatalogTrack) -> Result<usize, Error> {
        let bytes = serde_json::to_vec(entry)?.len();
        self.work += bytes;
        Ok(bytes)
    }
}

impl Catalog {
    /// The catalog after a delta: all of its changes in their order, or none. What it grows to is bounded as what is read at once:
    /// `bytes` are those of the catalog, and then those of what it becomes.
    pub fn updated(&self, json: &[u8], bytes: &mut usize) -> Result<Self, Error> {
        if json.len() > limits::CATALOG_BYTES_MAX {
            return Err(Error::TooLarge(json.len()));
        }
        let delta: Delta = serde_json::from_slice(json)?;
        let changes = delta.delta_update.iter().map(|change| change.tracks.len()).sum();
        if changes > limits::CATALOG_TRACKS_MAX {
            return Err(Error::TooManyTracks(changes));
        }
        let inits = self.init_data_list.len() + delta.init_data_list.len();
        if !delta.init_data_list.is_empty() && inits > limits::CATALOG_TRACKS_MAX {
            return Err(Error::TooManyTracks(inits));
        }
        let mut next = self.clone();
        let mut size = Size { is: *bytes, work: *bytes };
        for Change { op, tracks } in delta.delta_update {
            for entry in tracks {
                next.change(&op, entry, &mut size)?;
            }
        }
        for init in delta.init_data_list {
            if next.init_data_list.iter().any(|known| known.id == init.id) {
                continue;
            }
            let added = serde_json::to_vec(&init)?.len();
            (size.is, size.work) = (size.is + added, size.work + added);
            if size.work > limits::CATALOG_BYTES_MAX {
                return Err(Error::TooLarge(size.work));
            }
            next.init_data_list.push(init);
        }
        *bytes = size.is;
        next.generated_at = delta.generated_at.or(next.generated_at);
        next.is_complete |= delta.is_complete;
        Ok(next)
    }

    fn change(
        &mut self,
        op: &str,
        entry: Map<String, Value>,
        size: &mut Size,
    ) -> Result<(), Error> {
        let text = |field| entry.get(field).and_then(Value::as_str);
        let place = |name: Option<&str>| {
            let name = name.unwrap_or_default();
            let place = self.tracks.iter().position(|track| track.name == name);
            place.ok_or_else(|| Error::NoSuchTrack(cut(name)))
        };
        let (at, track): (Option<usize>, CatalogTrack) = match op {
            "add" => (None, serde_json::from_value(Value::Object(entry))?),
            "remove" => {
                let at = place(text("name"))?;
                let gone = self.tracks.remove(at);
                size.is = size.is.saturating_sub(serde_json::to_vec(&gone)?.len());
                return Ok(());
            }
            "clone" => {
                let parent = place(text("parentName"))?;
                size.work(&self.tracks[parent])?;
                (None, like(&self.tracks[parent], entry)?)
            }
            "update" => {
                let parent = place(text("parentName").or_else(|| text("name")))?;
                let old = size.work(&self.tracks[parent])?;
                size.is = size.is.saturating_sub(old);
                (Some(parent), like(&self.tracks[parent], entry)?)
            }
            other => return Err(Error::Operation(cut(other))),
        };
        if self.tracks.iter().enumerate().any(|(n, t)| t.name == track.name && Some(n) != at) {
            return Err(Error::Listed(cut(&track.name)));
        }
        size.is += size.work(&track)?;
        if size.work > limits::CATALOG_BYTES_MAX {
            return Err(Error::TooLarge(size.work));
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
fn like(parent: &CatalogTrack, mut entry: Map<String, Value>) -> Result<CatalogTrack, Error> {
    let mut fields = serde_json::to_value(parent)?;
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

    fn updated(catalog: &Catalog, json: &[u8]) -> Result<Catalog, Error> {
        catalog.updated(json, &mut catalog.to_json().len())
    }

    /// Nobody counts them anew for each change.
    #[test]
    fn the_bytes_of_a_catalog_are_carried_along() {
        let (mut catalog, mut bytes) = (catalog(), catalog().to_json().len());
        for json in [
            r#"{"deltaUpdate":[{"op":"clone","tracks":[{"parentName":"camera","name":"small"}]}]}"#,
            r#"{"deltaUpdate":[{"op":"update","tracks":[{"name":"small","label":"a longer one"}]}]}"#,
            r#"{"deltaUpdate":[{"op":"update","tracks":[{"name":"small","label":null}]}]}"#,
            r#"{"deltaUpdate":[{"op":"remove","tracks":[{"name":"sound"}]}]}"#,
            r#"{"deltaUpdate":[{"op":"remove","tracks":[{"name":"sound"}]}]}"#,
        ] {
            if let Ok(next) = catalog.updated(json.as_bytes(), &mut bytes) {
                catalog = next;
            }
            // But for the commas between entries.
            let is = catalog.to_json().len();
            assert!(bytes.abs_diff(is) <= 2, "{json}: {bytes} {is}");
        }
        // For as long as it does not grow, as often as anybody likes.
        let json = format!(
            r#"{{"deltaUpdate":[{{"op":"update","tracks":[{{"name":"small","label":"{}"}}]}}]}}"#,
            "x".repeat(10_000)
        );
        for _ in 0..200 {
            catalog = catalog.updated(json.as_bytes(), &mut bytes).unwrap();
        }
    }

    fn names(catalog: &Catalog) -> Vec<&str> {
        catalog.tracks.iter().map(|track| &*track.name).collect()
    }

    #[test]
    fn msf01_s5_3_changes_are_made_in_their_order() {
        let next = updated(
            &catalog(),
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
        let over = updated(&next, br#"{"deltaUpdate":[],"isComplete":true}"#).unwrap();
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
            let error = updated(&catalog(), json.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(word), "{json}: {error}");
        }
    }

    /// They are none of a delta's fields, and some publisher may have no other way.
    #[test]
    fn what_a_delta_begins_tracks_with_is_added_and_never_replaced() {
        let entry =
            |id: &str, data: &str| format!(r#"{{"id":"{id}","type":"inline","data":"{data}"}}"#);
        let delta = |entries: &[String]| {
            format!(r#"{{"deltaUpdate":[],"initDataList":[{}]}}"#, entries.join(","))
        };
        let one = updated(&catalog(), delta(&[entry("a", "QQ==")]).as_bytes()).unwrap();
        let two = delta(&[entry("a", "Qg=="), entry("b", "Qw==")]);
        let two = updated(&one, two.as_bytes()).unwrap();
        let list = two.init_data_list.iter().map(|init| format!("{} {}", init.id, init.data));
        assert_eq!(list.collect::<Vec<_>>(), ["a QQ==", "b Qw=="]);
        let large = "x".repeat(limits::CATALOG_BYTES_MAX / 2);
        let most = updated(&two, delta(&[entry("c", &large)]).as_bytes()).unwrap();
        let more = updated(&most, delta(&[entry("d", &large)]).as_bytes());
        assert!(matches!(more, Err(Error::TooLarge(_))));
        // The list is gone through for each of its entries.
        let many: Vec<String> = (0..20_000).map(|n| entry(&n.to_string(), "")).collect();
        let many = updated(&two, delta(&many).as_bytes());
        assert!(matches!(many, Err(Error::TooManyTracks(_))), "{:?}", many.map(|_| ()));
    }

    #[test]
    fn what_a_catalog_grows_to_is_bounded() {
        let base = catalog();
        let add = |n| format!(r#"{{"name":"{n}","packaging":"loc","isLive":true}}"#);
        let delta = |op: &str, tracks: Vec<String>| {
            format!(r#"{{"deltaUpdate":[{{"op":"{op}","tracks":[{}]}}]}}"#, tracks.join(","))
        };
        let most = limits::CATALOG_TRACKS_MAX;
        let all = updated(&base, delta("add", (2..most).map(add).collect()).as_bytes()).unwrap();
        assert_eq!(all.tracks.len(), most);
        let one_more = updated(&all, delta("add", vec![add(most)]).as_bytes());
        assert!(matches!(one_more, Err(Error::TooManyTracks(_))), "{one_more:?}");
        let many = updated(&base, delta("remove", vec!["{}".into(); most + 1]).as_bytes());
        assert!(matches!(many, Err(Error::TooManyTracks(_))), "{many:?}");
        // One large entry, a thousand times.
        let label = "x".repeat(limits::CATALOG_BYTES_MAX / 4);
        let large =
            format!(r#"{{"name":"large","packaging":"loc","isLive":true,"label":"{label}"}}"#);
        let large = updated(&base, delta("add", vec![large]).as_bytes()).unwrap();
        for op in ["clone", "update"] {
            let like = |n| format!(r#"{{"parentName":"large","name":"{op}{n}"}}"#);
            let same = |_| r#"{"name":"large"}"#.to_owned();
            let tracks = (0..999).map(|n| if op == "clone" { like(n) } else { same(n) }).collect();
            let grown = updated(&large, delta(op, tracks).as_bytes());
            assert!(matches!(grown, Err(Error::TooLarge(_))), "{op}");
        }
    }
}
