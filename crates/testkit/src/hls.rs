//! A low-latency HLS client that keeps everything: what players see, byte for byte.

use std::collections::BTreeMap;

use package::hls::{MediaPlaylist, PlaylistSegment};

use crate::http::{Response, Url, request};

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
        self.newest = MediaPlaylist::parse(&answer.text())
            .unwrap_or_else(|e| panic!("{e}: {}", answer.text()));
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
