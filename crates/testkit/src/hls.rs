//! A low-latency HLS client that keeps everything: what players see, byte for byte.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use media::fmp4::is_empty_fragment;
use package::hls::{MediaPlaylist, PlaylistSegment};

use crate::http::{Response, Url, request};
use crate::wait::wait_until;

/// A live list has six segments; whoever stands still for as long as they last at the fastest that tests publish has missed some.
const STOOD_STILL: Duration = Duration::from_secs(3);

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
    /// Numbers that had left the list when this machine, which had stood still, looked again.
    missed: BTreeSet<u64>,
    looked: Instant,
    parts: BTreeMap<(u64, usize), Vec<u8>>,
    /// What it follows is made when it is asked for.
    made: bool,
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
            missed: BTreeSet::new(),
            looked: Instant::now(),
            parts: BTreeMap::new(),
            made: false,
        }
    }

    /// Follows a level, which is made when somebody asks for it: while all encoders are busy its files are asked for again.
    pub fn of_level(playlist: Url) -> Self {
        Self { made: true, ..Self::new(playlist) }
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
        let answer = request("GET", &url, &[], b"");
        assert_eq!(answer.status, 200, "{url}: {}", answer.text());
        let newest = MediaPlaylist::parse(&answer.text())
            .unwrap_or_else(|e| panic!("{e}: {}", answer.text()));
        let expected = self.newest.segments.last().map_or(newest.sequence, |last| last.number + 1);
        let missed = expected..newest.sequence;
        assert!(
            missed.is_empty() || self.looked.elapsed() >= STOOD_STILL,
            "{missed:?} were never listed"
        );
        self.missed.extend(missed);
        self.looked = Instant::now();
        self.newest = newest;
        self.versions.push(answer.text());
        for segment in self.newest.segments.clone() {
            self.take(segment);
        }
        &self.newest
    }

    /// The numbers of all segments from the first that it has on: each was listed, none twice, none left out.
    pub fn numbers(&self) -> Vec<u64> {
        let first = self.segments.keys().next().copied().unwrap_or(0);
        let numbers: BTreeSet<u64> =
            self.segments.keys().chain(self.missed.range(first..)).copied().collect();
        let all: Vec<u64> = numbers.into_iter().collect();
        assert!(all.windows(2).all(|w| w[1] == w[0] + 1), "{all:?}");
        all
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
                let Some(bytes) = self.fetch_of(number, &part.uri) else { return };
                self.parts.insert((number, i), bytes);
            }
        }
        let Some((_, uri)) = &segment.file else { return };
        if self.segments.contains_key(&number) {
            return;
        }
        let Some(whole) = self.fetch_of(number, uri) else { return };
        let parts = self.parts.range((number, 0)..(number + 1, 0)).map(|(_, bytes)| bytes);
        // A part without a frame is of no segment.
        let parts: Vec<u8> =
            parts.filter(|bytes| !is_empty_fragment(bytes)).flatten().copied().collect();
        if !segment.parts.is_empty() {
            assert!(parts == whole, "the parts of segment {number} are not the segment");
        }
        self.segments.insert(number, (segment, whole));
    }

    /// None: it is not listed any more, so that nobody has to have it.
    fn fetch_of(&mut self, number: u64, uri: &str) -> Option<Vec<u8>> {
        let answer = self.get(&self.playlist.join(uri));
        if answer.status == 404 {
            let list = request("GET", &self.playlist, &[], b"").text();
            let left = MediaPlaylist::parse(&list).is_ok_and(|list| list.sequence > number);
            assert!(left, "{uri}: 404, and listed: {list}");
            self.missed.insert(number);
            return None;
        }
        assert_eq!(answer.status, 200, "{uri}: {}", answer.text());
        Some(answer.body)
    }

    fn fetch(&self, uri: &str) -> Vec<u8> {
        let url = self.playlist.join(uri);
        let answer = self.get(&url);
        assert_eq!(answer.status, 200, "{url}: {}", answer.text());
        answer.body
    }

    /// A file. Of a level one may be told to come again, and when; nothing else is ever too busy.
    fn get(&self, url: &Url) -> Response {
        wait_until("an encoder that is free", 60, || {
            let answer = request("GET", url, &[], b"");
            let again = answer.status == 503 && answer.headers.contains_key("retry-after");
            (!(self.made && again)).then_some(answer)
        })
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
