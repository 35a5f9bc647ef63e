//! Reading playlists, as a client does: `airwave watch`, and the tests' own client. RFC 8216bis §4.
//!
//! Deliberately absent: byte ranges, encryption, variables, and putting delta updates together.

use crate::limits::PLAYLIST_ENTRIES_MAX;

/// Why a playlist can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// §4.1: the first line is missing.
    #[error("no playlist: it does not begin with #EXTM3U")]
    NoPlaylist,
    /// A tag without what it must say.
    #[error("{0}: {1:?}")]
    Tag(&'static str, String),
    /// Legal, but not read here.
    #[error("playlists with {0} are not read")]
    Unsupported(&'static str),
    /// More segments, parts or renditions than [`PLAYLIST_ENTRIES_MAX`].
    #[error("a playlist with more than {PLAYLIST_ENTRIES_MAX} entries")]
    TooMany,
}

/// Either kind of playlist.
#[derive(Debug, Clone, PartialEq)]
pub enum Playlist {
    /// A list of renditions.
    Multivariant(Multivariant),
    /// A list of segments.
    Media(MediaPlaylist),
}

impl Playlist {
    /// Reads either kind.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let multivariant = |line: &str| {
            line.starts_with("#EXT-X-STREAM-INF:") || line.starts_with("#EXT-X-MEDIA:")
        };
        match text.lines().any(multivariant) {
            true => Multivariant::parse(text).map(Self::Multivariant),
            false => MediaPlaylist::parse(text).map(Self::Media),
        }
    }
}

/// A multivariant playlist, §4.4.6.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Multivariant {
    /// In the order of the list.
    pub variants: Vec<VariantStream>,
    /// `EXT-X-MEDIA` with a playlist of their own.
    pub renditions: Vec<MediaRendition>,
}

/// One `EXT-X-STREAM-INF`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct VariantStream {
    /// Of its media playlist.
    pub uri: String,
    /// Bits a second at the peak.
    pub bandwidth: u64,
    /// CODECS.
    pub codecs: Option<String>,
    /// RESOLUTION.
    pub resolution: Option<(u32, u32)>,
    /// AUDIO: the group of its sound.
    pub audio: Option<String>,
}

/// One `EXT-X-MEDIA`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MediaRendition {
    /// TYPE.
    pub kind: String,
    /// GROUP-ID.
    pub group: String,
    /// NAME.
    pub name: String,
    /// Of its media playlist.
    pub uri: String,
}

impl Multivariant {
    /// Reads a playlist.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut lines = start(text)?;
        let mut list = Self::default();
        while let Some(line) = lines.next() {
            if list.variants.len() + list.renditions.len() >= PLAYLIST_ENTRIES_MAX {
                return Err(ParseError::TooMany);
            }
            let (tag, value) = line.split_once(':').unwrap_or((line, ""));
            let text = |name: &str| attribute(value, name);
            match tag {
                "#EXT-X-STREAM-INF" => {
                    let uri = lines.find(|line| !line.is_empty() && !line.starts_with('#'));
                    let uri = uri.ok_or(ParseError::Tag("a variant without URI", value.into()))?;
                    list.variants.push(VariantStream {
                        uri: uri.to_owned(),
                        bandwidth: text("BANDWIDTH").and_then(|v| v.parse().ok()).unwrap_or(0),
                        codecs: text("CODECS"),
                        resolution: text("RESOLUTION").and_then(|v| {
                            let (width, height) = v.split_once('x')?;
                            Some((width.parse().ok()?, height.parse().ok()?))
                        }),
                        audio: text("AUDIO"),
                    });
                }
                "#EXT-X-MEDIA" => {
                    let Some(uri) = text("URI") else { continue };
                    let get = |name: &str| text(name).unwrap_or_default();
                    let (kind, group, name) = (get("TYPE"), get("GROUP-ID"), get("NAME"));
                    list.renditions.push(MediaRendition { kind, group, name, uri });
                }
                _ => {}
            }
        }
        Ok(list)
    }
}

/// A media playlist.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MediaPlaylist {
    /// TARGETDURATION.
    pub target_duration: u64,
    /// PART-TARGET in seconds.
    pub part_target: Option<f64>,
    /// CAN-BLOCK-RELOAD=YES.
    pub can_block_reload: bool,
    /// PART-HOLD-BACK in seconds.
    pub part_hold_back: Option<f64>,
    /// MEDIA-SEQUENCE.
    pub sequence: u64,
    /// DISCONTINUITY-SEQUENCE.
    pub discontinuity_sequence: u64,
    /// SKIPPED-SEGMENTS of a delta update, which is answered only to who asks for one.
    pub skipped: u64,
    /// Segments; the last one may have parts only.
    pub segments: Vec<PlaylistSegment>,
    /// The hinted part.
    pub hint: Option<String>,
    /// ENDLIST.
    pub ended: bool,
}

/// One segment of a playlist.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PlaylistSegment {
    /// Media sequence number.
    pub number: u64,
    /// EXTINF in seconds and the URI, once it is complete.
    pub file: Option<(f64, String)>,
    /// Its parts.
    pub parts: Vec<PlaylistPart>,
    /// EXT-X-DISCONTINUITY before it.
    pub discontinuity: bool,
    /// EXT-X-GAP.
    pub gap: bool,
    /// Its initialisation segment; empty if it has none.
    pub map: String,
    /// EXT-X-PROGRAM-DATE-TIME.
    pub date: Option<String>,
}

/// One part of a playlist.
#[derive(Debug, Clone, PartialEq)]
pub struct PlaylistPart {
    /// DURATION.
    pub duration: f64,
    /// URI.
    pub uri: String,
    /// INDEPENDENT=YES.
    pub independent: bool,
    /// GAP=YES.
    pub gap: bool,
}

impl MediaPlaylist {
    /// Reads a playlist.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let lines = start(text)?;
        let mut playlist = Self::default();
        let mut segment = PlaylistSegment::default();
        let (mut duration, mut entries) = (0.0, 0);
        for line in lines {
            let (tag, value) = line.split_once(':').unwrap_or((line, ""));
            match tag {
                "#EXT-X-TARGETDURATION" => {
                    playlist.target_duration = number("EXT-X-TARGETDURATION", value)?;
                }
                "#EXT-X-PART-INF" => playlist.part_target = seconds(value, "PART-TARGET"),
                "#EXT-X-SERVER-CONTROL" => {
                    let blocks = attribute(value, "CAN-BLOCK-RELOAD");
                    playlist.can_block_reload = blocks.as_deref() == Some("YES");
                    playlist.part_hold_back = seconds(value, "PART-HOLD-BACK");
                }
                "#EXT-X-MEDIA-SEQUENCE" => {
                    playlist.sequence = number("EXT-X-MEDIA-SEQUENCE", value)?;
                    segment.number = playlist.sequence;
                }
                "#EXT-X-DISCONTINUITY-SEQUENCE" => {
                    playlist.discontinuity_sequence =
                        number("EXT-X-DISCONTINUITY-SEQUENCE", value)?;
                }
                "#EXT-X-DISCONTINUITY" => segment.discontinuity = true,
                "#EXT-X-GAP" => segment.gap = true,
                "#EXT-X-MAP" => {
                    if attribute(value, "BYTERANGE").is_some() {
                        return Err(ParseError::Unsupported("byte ranges"));
                    }
                    segment.map = attribute(value, "URI")
                        .ok_or(ParseError::Tag("EXT-X-MAP without URI", value.into()))?;
                }
                "#EXT-X-PROGRAM-DATE-TIME" => segment.date = Some(value.to_owned()),
                "#EXT-X-PART" => {
                    entries += 1;
                    segment.parts.push(part(value)?);
                }
                "#EXT-X-BYTERANGE" => return Err(ParseError::Unsupported("byte ranges")),
                "#EXT-X-SKIP" => {
                    let skipped = attribute(value, "SKIPPED-SEGMENTS").unwrap_or_default();
                    playlist.skipped = number("EXT-X-SKIP", &skipped)?;
                    segment.number = segment.number.saturating_add(playlist.skipped);
                }
                "#EXT-X-KEY" if attribute(value, "METHOD").as_deref() != Some("NONE") => {
                    return Err(ParseError::Unsupported("encrypted segments"));
                }
                "#EXTINF" => {
                    let text = value.split(',').next().unwrap_or_default();
                    duration = finite(text).ok_or(ParseError::Tag("EXTINF", value.into()))?;
                }
                "#EXT-X-PRELOAD-HINT" => playlist.hint = attribute(value, "URI"),
                "#EXT-X-ENDLIST" => playlist.ended = true,
                _ if !line.starts_with('#') && !line.is_empty() => {
                    entries += 1;
                    segment.file = Some((duration, line.to_owned()));
                    let next = segment.number.saturating_add(1);
                    let map = segment.map.clone();
                    playlist.segments.push(std::mem::take(&mut segment));
                    (segment.number, segment.map) = (next, map);
                }
                _ => {}
            }
            if entries > PLAYLIST_ENTRIES_MAX {
                return Err(ParseError::TooMany);
            }
        }
        if !segment.parts.is_empty() {
            playlist.segments.push(segment);
        }
        Ok(playlist)
    }
}

fn part(value: &str) -> Result<PlaylistPart, ParseError> {
    if attribute(value, "BYTERANGE").is_some() {
        return Err(ParseError::Unsupported("byte ranges"));
    }
    let yes = |name: &str| attribute(value, name).as_deref() == Some("YES");
    let wrong = |what| ParseError::Tag(what, value.to_owned());
    Ok(PlaylistPart {
        duration: seconds(value, "DURATION").ok_or(wrong("EXT-X-PART without DURATION"))?,
        uri: attribute(value, "URI").ok_or(wrong("EXT-X-PART without URI"))?,
        independent: yes("INDEPENDENT"),
        gap: yes("GAP"),
    })
}

fn start(text: &str) -> Result<std::str::Lines<'_>, ParseError> {
    let mut lines = text.lines();
    match lines.next() {
        Some(first) if first.trim_end() == "#EXTM3U" => Ok(lines),
        _ => Err(ParseError::NoPlaylist),
    }
}

fn number(tag: &'static str, value: &str) -> Result<u64, ParseError> {
    value.trim().parse().map_err(|_| ParseError::Tag(tag, value.to_owned()))
}

fn finite(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|n: &f64| n.is_finite() && *n >= 0.0)
}

fn seconds(list: &str, name: &str) -> Option<f64> {
    attribute(list, name).and_then(|v| finite(&v))
}

/// An attribute of a tag, without its quotes (§4.2).
pub fn attribute(list: &str, name: &str) -> Option<String> {
    let mut rest = list;
    while !rest.is_empty() {
        let (key, value) = rest.split_once('=')?;
        let (value, next) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => value.split_once(',').map_or((value, ""), |(v, n)| (v, n)),
        };
        if key == name {
            return Some(value.to_owned());
        }
        rest = next.trim_start_matches(',');
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hls::{
        MediaOptions, Reach, Variant, VariantKind, render_media, render_multivariant,
    };
    use crate::testing::{index_of, two_renditions};

    #[test]
    fn what_is_rendered_reads_back() {
        let options = MediaOptions { low_latency: true, reach: Reach::Window, skip: false };
        let text = render_media(&two_renditions(), "video", "m", options).unwrap();
        let Ok(Playlist::Media(list)) = Playlist::parse(&text) else { panic!("{text}") };
        assert_eq!((list.target_duration, list.sequence, list.ended), (2, 10, false));
        assert_eq!((list.part_target, list.part_hold_back), (Some(1.0), Some(3.0)));
        assert!(list.can_block_reload);
        let [whole, open] = &list.segments[..] else { panic!("{text}") };
        assert_eq!(whole.file, Some((2.0, "m/video/3-10.m4s".to_owned())));
        assert_eq!((whole.parts.len(), whole.parts[0].independent), (2, true));
        assert_eq!((open.number, open.parts.len(), &open.file), (11, 1, &None));
        assert_eq!(open.map, whole.map, "it goes on to hold");
        assert_eq!(list.hint.as_deref(), Some("m/video/3-11.1.m4s"));

        let ended = render_media(
            &index_of(100, &[2; 20], true),
            "video",
            "m",
            MediaOptions { reach: Reach::Everything, ..options },
        );
        let list = MediaPlaylist::parse(&ended.unwrap()).unwrap();
        assert!(list.ended && list.segments.len() == 20 && list.part_target.is_none());
    }

    #[test]
    fn a_list_of_renditions_reads_back() {
        let variant = |name: &str, kind| Variant {
            name: name.to_owned(),
            codec: "avc1.64001f".to_owned(),
            peak: 1_000,
            room_percent: 20,
            average: None,
            kind,
            iframes: Some(10),
        };
        let variants = [
            variant("video", VariantKind::Video { width: 640, height: 360, frame_rate: None }),
            variant("audio", VariantKind::Audio { channels: 2, language: None, original: None }),
        ];
        let text = render_multivariant(&variants, Some("a=b"));
        let Ok(Playlist::Multivariant(list)) = Playlist::parse(&text) else { panic!("{text}") };
        assert_eq!(list.variants.len(), 1);
        assert_eq!(list.variants[0].uri, "video.m3u8?a=b");
        assert_eq!(list.variants[0].resolution, Some((640, 360)));
        assert_eq!(list.variants[0].audio.as_deref(), Some("audio"));
        assert_eq!((list.renditions[0].kind.as_str(), list.renditions[0].uri.as_str()), {
            ("AUDIO", "audio.m3u8?a=b")
        });
    }

    #[test]
    fn what_is_wrong_or_not_read_is_said() {
        for (text, expect) in [
            ("<html>", "no playlist"),
            ("#EXTM3U\n#EXT-X-TARGETDURATION:x", "EXT-X-TARGETDURATION: \"x\""),
            ("#EXTM3U\n#EXT-X-PART:URI=\"a\"", "without DURATION"),
            ("#EXTM3U\n#EXT-X-PART:DURATION=1e999,URI=\"a\"", "without DURATION"),
            ("#EXTM3U\n#EXTINF:-1,\na", "EXTINF"),
            ("#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI=\"k\"", "encrypted segments"),
            ("#EXTM3U\n#EXT-X-BYTERANGE:5@0", "byte ranges"),
            ("#EXTM3U\n#EXT-X-SKIP:RECENTLY-REMOVED-DATERANGES=\"\"", "EXT-X-SKIP"),
            ("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1", "a variant without URI"),
        ] {
            let error = Playlist::parse(text).unwrap_err().to_string();
            assert!(error.contains(expect), "{text}: {error}");
        }
        let key = "#EXTM3U\r\n#EXT-X-KEY:METHOD=NONE\r\n#EXTINF:2,\r\na\r\n";
        assert_eq!(MediaPlaylist::parse(key).unwrap().segments[0].file, Some((2.0, "a".into())));
        let delta =
            "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-SKIP:SKIPPED-SEGMENTS=3\n#EXTINF:1,\na";
        let delta = MediaPlaylist::parse(delta).unwrap();
        assert_eq!((delta.skipped, delta.segments[0].number), (3, 10));
        let many = format!("#EXTM3U\n{}", "#EXTINF:1,\na\n".repeat(PLAYLIST_ENTRIES_MAX + 1));
        assert_eq!(MediaPlaylist::parse(&many), Err(ParseError::TooMany));
    }
}
