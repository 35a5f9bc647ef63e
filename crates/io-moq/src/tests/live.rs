//! A live source, and subscribers that note what they get of it, when, and what becomes of the rest. For networks in
//! virtual time (`start_paused`).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use moqt::data::{SubgroupItem, SubgroupReader};
use moqt::session::DataHeader;
use moqt::{GroupOrder, Parameters, Request};
use spine::{Header, Payload, track};
use testkit::Shape;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::duties::code;
use super::rig::{Client, next_object, track as name};
use crate::clock;
use crate::link::{DataStream, Told};
use crate::transport::Read;

pub(super) const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A last mile: so many bits a second, 25 ms to the other end, and a router that holds this much back.
pub(super) fn mile(mbit: u64, queue: u64) -> Shape {
    Shape { rate: Some(mbit * 1_000_000), queue, delay: ms(25), ..Shape::default() }
}

/// One subgroup of each group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layer {
    pub(super) bits_per_s: u64,
    /// The publisher's; lower is sent first.
    pub(super) priority: u8,
}

/// A live source: 30 objects a second in each layer; the first of a group is five times as large as the others.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) group_s: u64,
    pub(super) layers: Vec<Layer>,
}

pub(super) const FPS: u64 = 30;
const KEY: u64 = 5;

impl Source {
    pub(super) fn single(bits_per_s: u64) -> Self {
        Self { group_s: 1, layers: vec![Layer { bits_per_s, priority: 128 }] }
    }

    /// Writes `seconds` of it, in time. Each object begins with the time when it was written.
    pub(super) async fn run(&self, track: &track::Producer, start: Instant, seconds: u64) {
        let frames = self.group_s * FPS;
        for number in 0..seconds / self.group_s {
            let group = track.group(number, clock::now()).unwrap();
            let subgroups: Vec<_> =
                (0..).zip(&self.layers).map(|(id, _)| group.subgroup(id, clock::now())).collect();
            let layers = self.layers.len() as u64;
            for frame in 0..frames {
                let due = start + Duration::from_secs(number * self.group_s);
                tokio::time::sleep_until(due + Duration::from_secs(frame) / FPS as u32).await;
                for (id, (layer, subgroup)) in (0..).zip(self.layers.iter().zip(&subgroups)) {
                    let usual = layer.bits_per_s / 8 * self.group_s / (frames + KEY - 1);
                    let size = if frame == 0 { usual * KEY } else { usual };
                    let header = Header {
                        priority: layer.priority,
                        ..Header::new(frame * layers + id, clock::now())
                    };
                    let subgroup = subgroup.as_ref().unwrap();
                    subgroup.write(header, vec![stamped(track, start, size)]).unwrap();
                }
            }
            for subgroup in subgroups {
                subgroup.unwrap().fin();
            }
            group.end(Some(frames * layers - 1), clock::now());
        }
    }

    pub(super) fn objects(&self, seconds: u64) -> usize {
        usize::try_from(seconds * FPS).unwrap() * self.layers.len()
    }
}

pub(super) fn stamped(track: &track::Producer, start: Instant, size: u64) -> Payload {
    let mut bytes = BytesMut::new();
    bytes.put_u64(u64::try_from(start.elapsed().as_micros()).unwrap());
    bytes.resize(usize::try_from(size.max(8)).unwrap(), 0x5a);
    track.budget().payload(bytes.freeze())
}

/// An object that came whole.
#[derive(Debug, Clone, Copy)]
pub(super) struct Came {
    pub(super) group: u64,
    pub(super) subgroup: u64,
    pub(super) object: u64,
    pub(super) written: Duration,
    pub(super) at: Duration,
}

/// What a subscriber has seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) objects: Vec<Came>,
    /// By group and subgroup; a number is the code of a reset.
    pub(super) ends: BTreeMap<(u64, u64), Option<u64>>,
    /// Payload, also of what did not come whole.
    pub(super) bytes: BTreeMap<u64, u64>,
}

impl Seen {
    pub(super) fn of(&self, subgroup: u64) -> impl Iterator<Item = &Came> {
        self.objects.iter().filter(move |came| came.subgroup == subgroup)
    }

    pub(super) fn resets(&self, subgroup: u64) -> Vec<(u64, u64)> {
        let of = self.ends.iter().filter(|((_, s), _)| *s == subgroup);
        of.filter_map(|((group, _), end)| Some((*group, (*end)?))).collect()
    }

    /// How old this share of all objects was at most when they came.
    pub(super) fn age_of(&self, share: f64) -> Duration {
        let mut ages: Vec<Duration> =
            self.objects.iter().map(|came| came.at.saturating_sub(came.written)).collect();
        ages.sort_unstable();
        ages[((ages.len() - 1) as f64 * share) as usize]
    }

    /// How old the newest object is that has come, at its oldest between these times.
    pub(super) fn age_max(&self, from: Duration, to: Duration) -> Duration {
        let mut newest = Duration::ZERO;
        let mut worst = Duration::ZERO;
        for came in &self.objects {
            if came.at >= from && came.at <= to {
                worst = worst.max(came.at.saturating_sub(newest));
            }
            newest = newest.max(came.written);
        }
        worst
    }
}

/// A subscriber that reads all it can get.
pub(super) struct Watcher {
    pub(super) client: Client,
    pub(super) seen: Arc<Mutex<Seen>>,
    reading: tokio::task::JoinHandle<()>,
}

impl Watcher {
    pub(super) async fn new(client: Client, start: Instant, parameters: Parameters) -> Self {
        Self::of(name(&["default", "one"], "video"), client, start, parameters).await
    }

    /// Of this track.
    pub(super) async fn of(
        track: moqt::TrackName,
        client: Client,
        start: Instant,
        parameters: Parameters,
    ) -> Self {
        let (_, answer, told) = client.ask(Request::Subscribe { track, parameters }).await;
        assert_eq!(code(&answer), None);
        let seen = Arc::<Mutex<Seen>>::default();
        let reading = tokio::spawn(watch(told, start, seen.clone()));
        Self { client, seen, reading }
    }

    /// What it has seen so far.
    pub(super) fn take(self) -> Seen {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }

    pub(super) fn address(&self) -> std::net::SocketAddr {
        self.client.endpoint.local_address().unwrap()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

async fn watch(mut told: mpsc::UnboundedReceiver<Told>, start: Instant, seen: Arc<Mutex<Seen>>) {
    let mut streams = FuturesUnordered::new();
    loop {
        tokio::select! {
            told = told.recv() => match told {
                Some(Told::Data(data)) => streams.push(stream(data, start, seen.clone())),
                Some(_) => {}
                None => break,
            },
            Some(()) = streams.next() => {}
        }
    }
}

async fn stream(data: DataStream, start: Instant, seen: Arc<Mutex<Seen>>) {
    let version = data.version();
    let DataHeader::Subgroup(header) = data.header else { panic!("not a subgroup") };
    let mut reader = SubgroupReader::new(version, &header);
    let (mut stream, mut chunk) = (data.stream, data.first.clone());
    let (mut object, mut payload) = (0, BytesMut::new());
    loop {
        while let Some(item) = reader.read(&mut chunk).unwrap() {
            match item {
                SubgroupItem::Object(head) => (object, payload) = (head.id, BytesMut::new()),
                SubgroupItem::Payload { bytes, last } => {
                    payload.extend_from_slice(&bytes);
                    let mut seen = seen.lock().unwrap();
                    *seen.bytes.entry(header.group).or_default() += bytes.len() as u64;
                    if last {
                        let subgroup = reader.subgroup().unwrap();
                        let written = Bytes::copy_from_slice(&payload[..8]);
                        let written = u64::from_be_bytes(written[..].try_into().unwrap());
                        let (group, written) = (header.group, Duration::from_micros(written));
                        let at = start.elapsed();
                        seen.objects.push(Came { group, subgroup, object, written, at });
                    }
                }
            }
        }
        let end = match stream.read().await {
            Read::Chunk(bytes) => {
                chunk = bytes;
                continue;
            }
            Read::Fin => None,
            Read::Reset(code) => Some(code),
            Read::Lost => return,
        };
        let subgroup = reader.subgroup().unwrap_or(u64::MAX);
        seen.lock().unwrap().ends.insert((header.group, subgroup), end);
        return;
    }
}

/// Half a Mbit/s that everybody needs, and the rest of 3 Mbit/s.
pub(super) fn layers() -> Source {
    let layer = |bits_per_s, priority| Layer { bits_per_s, priority };
    Source { group_s: 1, layers: vec![layer(500_000, 64), layer(2_500_000, 128)] }
}

/// The newest group first.
pub(super) fn descending() -> Parameters {
    Parameters { group_order: Some(GroupOrder::Descending), ..next_object() }
}
