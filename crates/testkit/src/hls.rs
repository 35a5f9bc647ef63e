//! A low-latency HLS client that keeps everything: what players see, byte for byte.

use std::collections::BTreeMap;

use crate::http::{Response, Url, request};

/// A media playlist, as far as tests look at it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MediaPlaylist {
    /// TARGETDURATION.
    pub target_duration: u64,
    /// PART-TARGET in seconds.
    pub part_target: Option<f64>,
    /// MEDIA-SEQUENCE.
    pub sequence: u64,
    /// DISCONTINUITY-SEQUENCE.
    pub discontinuity_sequence: u64,
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
    /// Its initialisation segment.
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
}

impl MediaPlaylist {
    /// Reads a playlist.
    pub fn parse(text: &str) -> Self {
        assert!(text.starts_with("#EXTM3U\n"), "{text}");
        let mut playlist = Self::default();
        let mut segment = PlaylistSegment::default();
        let mut duration = 0.0;
        for line in text.lines() {
            let (tag, value) = line.split_once(':').unwrap_or((line, ""));
            match tag {
                "#EXT-X-TARGETDURATION" => playlist.target_duration = value.parse().unwrap(),
                "#EXT-X-PART-INF" => {
                    playlist.part_target =
                        attribute(value, "PART-TARGET").map(|v| v.parse().unwrap());
                }
                "#EXT-X-MEDIA-SEQUENCE" => {
                    playlist.sequence = value.parse().unwrap();
                    segment.number = playlist.sequence;
                }
                "#EXT-X-DISCONTINUITY-SEQUENCE" => {
                    playlist.discontinuity_sequence = value.parse().unwrap();
                }
                "#EXT-X-DISCONTINUITY" => segment.discontinuity = true,
                "#EXT-X-GAP" => segment.gap = true,
                "#EXT-X-MAP" => segment.map = attribute(value, "URI").unwrap(),
                "#EXT-X-PROGRAM-DATE-TIME" => segment.date = Some(value.to_owned()),
                "#EXT-X-PART" => segment.parts.push(PlaylistPart {
                    duration: attribute(value, "DURATION").unwrap().parse().unwrap(),
                    uri: attribute(value, "URI").unwrap(),
                    independent: attribute(value, "INDEPENDENT").is_some(),
                }),
                "#EXTINF" => duration = value.trim_end_matches(',').parse().unwrap(),
                "#EXT-X-PRELOAD-HINT" => playlist.hint = attribute(value, "URI"),
                "#EXT-X-ENDLIST" => playlist.ended = true,
                _ if !line.starts_with('#') && !line.is_empty() => {
                    segment.file = Some((duration, line.to_owned()));
                    let (number, map) = (segment.number + 1, segment.map.clone());
                    playlist.segments.push(std::mem::take(&mut segment));
                    (segment.number, segment.map) = (number, map);
                }
                _ => {}
            }
        }
        if !segment.parts.is_empty() {
            playlist.segments.push(segment);
        }
        playlist
    }
}

/// An attribute of a tag, without its quotes.
pub(crate) fn attribute(list: &str, name: &str) -> Option<String> {
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

/// Follows one media playlist by blocking reloads and keeps every part.
pub struct Follower {
    playlist: Url,
    /// Segments seen so far, by number, with their bytes.
    pub segments: BTreeMap<u64, (PlaylistSegment, Vec<u8>)>,
    /// Initialisation segments by their URI.
    pub inits: BTreeMap<String, Vec<u8>>,
    /// The newest playlist.
    pub newest: MediaPlaylist,
    /// Every version of the playlist, as it came.
    pub versions: Vec<String>,
    parts: BTreeMap<(u64, usize), Vec<u8>>,
}

impl Follower {
    /// Follows the playlist at this URL.
    pub fn new(playlist: Url) -> Self {
        Self {
            playlist,
            segments: BTreeMap::new(),
            inits: BTreeMap::new(),
            newest: MediaPlaylist::default(),
            versions: Vec::new(),
            parts: BTreeMap::new(),
        }
    }

    /// Reloads once: waits for the part after the newest one, and fetches all that is new.
    pub fn reload(&mut self) -> &MediaPlaylist {
        let mut url = self.playlist.clone();
        if let Some(last) = self.newest.segments.last() {
            let (number, part) = match last.file {
                Some(_) => (last.number + 1, 0),
                None => (last.number, last.parts.len()),
            };
            let mark = if url.path.contains('?') { '&' } else { '?' };
            url.path.push_str(&format!("{mark}_HLS_msn={number}&_HLS_part={part}"));
        }
        let answer = get(&url);
        assert_eq!(answer.status, 200, "{url}: {}", answer.text());
        self.newest = MediaPlaylist::parse(&answer.text());
        self.versions.push(answer.text());
        for segment in self.newest.segments.clone() {
            self.take(segment);
        }
        &self.newest
    }

    fn take(&mut self, segment: PlaylistSegment) {
        let number = segment.number;
        // Nothing of a gap may be loaded, its parts neither (GAP=YES).
        if segment.gap {
            return;
        }
        if !self.inits.contains_key(&segment.map) {
            let bytes = self.fetch(&segment.map);
            self.inits.insert(segment.map.clone(), bytes);
        }
        for (i, part) in segment.parts.iter().enumerate() {
            if !self.parts.contains_key(&(number, i)) {
                let bytes = self.fetch(&part.uri);
                self.parts.insert((number, i), bytes);
            }
        }
        let Some((_, uri)) = &segment.file else { return };
        if self.segments.contains_key(&number) {
            return;
        }
        let whole = self.fetch(uri);
        let parts: Vec<u8> =
            self.parts.range((number, 0)..(number + 1, 0)).flat_map(|(_, b)| b.clone()).collect();
        if !segment.parts.is_empty() {
            assert!(parts == whole, "the parts of segment {number} are not the segment");
        }
        self.segments.insert(number, (segment, whole));
    }

    fn fetch(&self, uri: &str) -> Vec<u8> {
        let url = self.playlist.join(uri);
        let answer = get(&url);
        assert_eq!(answer.status, 200, "{url}: {}", answer.text());
        answer.body
    }

    /// Everything with this initialisation segment as one file.
    pub fn file(&self, map: &str) -> Vec<u8> {
        let mut bytes = self.inits[map].clone();
        for (_, segment) in self.segments.values().filter(|(s, _)| s.map == map) {
            bytes.extend_from_slice(segment);
        }
        bytes
    }
}

fn get(url: &Url) -> Response {
    request("GET", url, &[], b"")
}
