//! Many low-latency HLS players on one thread: each follows every track by blocking reloads, asks for hinted parts
//! ahead, and downloads each part once. They forget what they get, but compare it: what one address answers is the
//! same for all.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use package::hls::{MediaPlaylist, Multivariant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::{JoinSet, LocalSet};

use crate::http::Url;

/// No answer takes longer: blocking reloads are answered within three target durations.
const PATIENCE: Duration = Duration::from_secs(60);

/// Before what was not there is asked for again.
const AGAIN: Duration = Duration::from_millis(200);

/// An answer's head.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// What all players together have seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// Playlists that were answered.
    pub playlists: usize,
    /// Parts that were downloaded.
    pub parts: usize,
    /// Addresses of blocking reloads, each once: first path segment left out, directives sorted.
    pub versions: BTreeSet<String>,
    /// From the first player that has a version to the last one, of every version that all of them have had.
    pub spread: Vec<Duration>,
    /// What a version says, when it came first and last, and for how many.
    texts: BTreeMap<String, Version>,
}

#[derive(Debug)]
struct Version {
    text: Vec<u8>,
    list: Rc<MediaPlaylist>,
    first: Instant,
    last: Instant,
    players: usize,
}

/// Players at this address, one for each first path segment (a uid or a token); each follows until it has so many
/// parts of every track. Fails the test if one of them is answered with anything but 200.
pub fn watch(address: SocketAddr, segments: &[String], parts: usize) -> Seen {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let seen: Rc<RefCell<Seen>> = Rc::default();
    let all = async {
        let mut players = JoinSet::new();
        for (number, segment) in segments.iter().enumerate() {
            let player = Player { address, segment: segment.clone(), number, seen: seen.clone() };
            players.spawn_local(player.watch(parts));
        }
        while let Some(ended) = players.join_next().await {
            ended.unwrap();
        }
    };
    LocalSet::new().block_on(&runtime, all);
    drop(runtime);
    let mut seen = Rc::into_inner(seen).expect("all players have ended").into_inner();
    let whole = seen.texts.values().filter(|v| v.players == segments.len());
    seen.spread = whole.map(|v| v.last - v.first).collect();
    seen.texts.clear();
    seen
}

#[derive(Clone)]
struct Player {
    address: SocketAddr,
    segment: String,
    number: usize,
    seen: Rc<RefCell<Seen>>,
}

impl Player {
    async fn watch(self, parts: usize) {
        let mut connection = Connection::open(self.address).await;
        let path = format!("/{}/manifest/video.m3u8", self.segment);
        let url = Url { authority: self.address.to_string(), path };
        let text = connection.get(&url.path).await;
        let list = Multivariant::parse(&String::from_utf8_lossy(&text)).unwrap();
        let uris =
            list.variants.iter().map(|v| &v.uri).chain(list.renditions.iter().map(|r| &r.uri));
        let tracks: BTreeSet<String> = uris.cloned().collect();
        let mut following = JoinSet::new();
        for track in tracks {
            following.spawn_local(self.clone().follow(url.join(&track), parts));
        }
        while let Some(ended) = following.join_next().await {
            ended.unwrap();
        }
    }

    /// One track: playlists on one connection, parts on another.
    async fn follow(self, url: Url, parts: usize) {
        let (wanted, asked) = mpsc::unbounded_channel();
        let downloads = tokio::task::spawn_local(self.clone().download(url.clone(), asked));
        let mut connection = Connection::open(self.address).await;
        let text = connection.get(&url.path).await;
        let mut list = Rc::new(MediaPlaylist::parse(&String::from_utf8_lossy(&text)).unwrap());
        self.seen.borrow_mut().playlists += 1;
        let mut known: BTreeSet<String> = list.segments.iter().flat_map(uris).collect();
        let mut got = 0;
        while got < parts {
            let hint = list.hint.clone().filter(|hint| known.insert(hint.clone()));
            got += hint.iter().count();
            hint.into_iter().for_each(|hint| wanted.send((hint, true)).unwrap());
            let last = list.segments.last().unwrap();
            let next = match last.file {
                Some(_) => (last.number + 1, 0),
                None => (last.number, last.parts.len()),
            };
            let text = connection.get(&format!("{}?{}", url.path, self.query(next))).await;
            list = self.saw(&url, next, text);
            for uri in list.segments.iter().flat_map(uris) {
                if known.insert(uri.clone()) {
                    got += 1;
                    wanted.send((uri, false)).unwrap();
                }
            }
        }
        drop(wanted);
        downloads.await.unwrap();
    }

    /// The directives as this player writes them: in one order or the other, and beside something of its own.
    fn query(&self, (number, part): (u64, usize)) -> String {
        match self.number % 3 {
            0 => format!("_HLS_msn={number}&_HLS_part={part}"),
            1 => format!("_HLS_part={part}&_HLS_msn={number}"),
            _ => format!("viewer={}&_HLS_msn={number}&_HLS_part={part}", self.number),
        }
    }

    /// A blocking reload was answered: with the same bytes as everybody's.
    fn saw(&self, url: &Url, (number, part): (u64, usize), text: Vec<u8>) -> Rc<MediaPlaylist> {
        let (_, file) = url.path.trim_start_matches('/').split_once('/').unwrap();
        let name = format!("{file}?_HLS_msn={number}&_HLS_part={part}");
        let mut seen = self.seen.borrow_mut();
        let now = Instant::now();
        seen.playlists += 1;
        seen.versions.insert(name.clone());
        let version = seen.texts.entry(name).or_insert_with_key(|name| {
            let list = MediaPlaylist::parse(&String::from_utf8_lossy(&text));
            let list = Rc::new(list.unwrap_or_else(|error| panic!("{name}: {error}")));
            Version { text: text.clone(), list, first: now, last: now, players: 0 }
        });
        // Kept for six target durations: who is later than that (the machine is too slow for all of them) gets another window.
        let kept = Duration::from_secs(version.list.target_duration * 6);
        let late = now.duration_since(version.first) >= kept;
        let same = version.text == text;
        assert!(same || late, "{url}: {number}.{part} is not the same for everybody");
        version.players += 1;
        version.last = now;
        version.list.clone()
    }

    /// Parts, and whether each was only hinted at when it was asked for: where an encoder stands still for long, it is not there.
    async fn download(self, url: Url, mut asked: mpsc::UnboundedReceiver<(String, bool)>) {
        let mut connection = Connection::open(self.address).await;
        let mut hashes = BTreeMap::new();
        while let Some((uri, hinted)) = asked.recv().await {
            let path = url.join(&uri).path;
            let began = Instant::now();
            let bytes = loop {
                let (head, bytes) = connection.ask(&path).await;
                if head.starts_with("http/1.1 200") {
                    break bytes;
                }
                let comes = hinted && head.starts_with("http/1.1 404");
                assert!(comes && began.elapsed() < PATIENCE, "{path}: {head}");
                tokio::time::sleep(AGAIN).await;
            };
            assert_eq!(&bytes[4..8], b"moof", "{uri}");
            let mut hasher = DefaultHasher::new();
            bytes.hash(&mut hasher);
            assert_eq!(hashes.insert(hasher.finish(), uri.clone()), None, "{uri} is another part");
            self.seen.borrow_mut().parts += 1;
        }
    }
}

fn uris(segment: &package::hls::PlaylistSegment) -> Vec<String> {
    segment.parts.iter().map(|part| part.uri.clone()).collect()
}

/// A connection that is kept: HTTP/1.1, one request at a time.
struct Connection {
    host: SocketAddr,
    socket: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        Self { host: address, socket, buffer: Vec::new() }
    }

    async fn get(&mut self, path: &str) -> Vec<u8> {
        let (head, body) = self.ask(path).await;
        assert!(head.starts_with("http/1.1 200"), "{path}: {head}");
        body
    }

    /// An answer: its head and its body.
    async fn ask(&mut self, path: &str) -> (String, Vec<u8>) {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\ncookie: a=b\r\n\r\n", self.host);
        self.socket.write_all(request.as_bytes()).await.unwrap();
        tokio::time::timeout(PATIENCE, self.answer(path))
            .await
            .unwrap_or_else(|_| panic!("{path}: no answer"))
    }

    async fn answer(&mut self, path: &str) -> (String, Vec<u8>) {
        let head = loop {
            if let Some(end) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                let rest = self.buffer.split_off(end + 4);
                let head = std::mem::replace(&mut self.buffer, rest);
                break String::from_utf8_lossy(&head).to_ascii_lowercase();
            }
            assert!(self.buffer.len() < HEAD_BYTES_MAX, "{path}: the head does not end");
            self.more(path).await;
        };
        assert!(!head.contains("set-cookie"), "{path}: {head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length = length.and_then(|v| v.trim().parse().ok());
        let length: usize = length.unwrap_or_else(|| panic!("{path}: {head}"));
        while self.buffer.len() < length {
            self.more(path).await;
        }
        let rest = self.buffer.split_off(length);
        (head, std::mem::replace(&mut self.buffer, rest))
    }

    async fn more(&mut self, path: &str) {
        let n =
            self.socket.read_buf(&mut self.buffer).await.unwrap_or_else(|e| panic!("{path}: {e}"));
        assert!(n > 0, "{path}: the connection was closed");
    }
}
