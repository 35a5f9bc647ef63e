//! E5: hundreds of viewers of one level of a broadcast, over HLS, DASH and MoQ, who all ask for each segment at once.

use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use moqt::{Filter, Namespace};
use spine::{Event, Origin, Policy, Start, SubgroupEvent, SubgroupReader};
use testkit::{Input, wait_until};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use super::served::{LEVEL, NO_DISK, WITH, playlist, start, urls};
use crate::Setup;
use crate::airwave::Airwave;
use crate::load_moq::connect;
use crate::load_rtmp::Fleet;
use crate::report::{Goal, Report};
use crate::ring::{FRAMES_PER_S, GROUP, Ring, SMALL_PARTS};

const HLS: usize = 500;
const DASH: usize = 200;
const MOQ: usize = 200;
/// Segments that are counted.
const SEGMENTS: u64 = 3;
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn run(setup: &Setup) -> Result<bool> {
    let mut report = Report::begin("E5")?;
    let ring = Arc::new(Ring::make(&setup.clips, &SMALL_PARTS)?);
    let (airwave, inputs) = start(setup, &[WITH, NO_DISK], 1)?;
    let fleet = Fleet::start(&ring, &urls(&inputs), false)?;
    airwave.server().wait_live(&inputs[0]);
    let (over_hls, over_dash, newest) = addresses(&airwave, &inputs[0])?;
    let over_moq = Crowd::watch(airwave.address("quic")?, &inputs[0].uid)?;
    let http = airwave.address("http")?;
    // Now is the one behind the newest that is whole being made: all come in the middle of it.
    let mut number = newest + 1;
    let mut round = || -> Result<()> {
        let viewers = [(&over_hls, HLS), (&over_dash, DASH)];
        let paths =
            viewers.map(|(path, count)| vec![path.replace("$Number$", &number.to_string()); count]);
        number += 1;
        at_once(http, &paths.concat())
    };
    round()?;
    let before = Counted::between_segments(&airwave)?;
    let groups = over_moq.least();
    for _ in 0..SEGMENTS {
        round()?;
    }
    let after = Counted::between_segments(&airwave)?;
    let groups = over_moq.least() - groups;
    drop(fleet);
    ensure!(groups >= SEGMENTS, "a viewer over MoQ has only {groups} segments");
    report.set("viewers", [HLS, DASH, MOQ].as_slice());
    report.say(format_args!(
        "{HLS} viewers over HLS, {DASH} over DASH, {MOQ} over MoQ, {SEGMENTS} segments"
    ));
    // As the worker counts: each picture of a segment once.
    let pictures =
        (after.pictures - before.pictures) / (GROUP * SMALL_PARTS.rate / FRAMES_PER_S) as f64;
    for (name, count) in [
        ("E5: encodes a segment", after.encodes - before.encodes),
        ("E5: decodes a segment", after.decodes - before.decodes),
        ("E5: pictures decoded, by those of the source", pictures),
    ] {
        report.goal(name, count / SEGMENTS as f64, Goal::at_most(1.0, 1.0));
    }
    report.end(&setup.results)
}

/// Where the level's segments are by its playlist and by the MPD, with `$Number$` for the number; and the newest whole one.
fn addresses(airwave: &Airwave, input: &Input) -> Result<(String, String, u64)> {
    let (url, segments) = playlist(airwave, input)?;
    let newest = segments.last().context("no segment")?;
    let (before, number) = newest.rsplit_once('-').context("a segment's name")?;
    let number = number.split('.').next().unwrap_or_default().parse()?;
    let over_hls = url.join(&format!("{before}-$Number$.m4s")).path;
    let mpd = airwave.server().url(&format!("/{}/manifest/video.mpd", input.uid));
    let text = testkit::request("GET", &mpd, &[], b"").text();
    let level = text
        .split_once(&format!("<Representation id=\"{LEVEL}\""))
        .context("no level in the MPD")?
        .1;
    let media = level.split_once(" media=\"").and_then(|(_, rest)| rest.split_once('"'));
    Ok((over_hls, mpd.join(media.context("no template")?.0).path, number))
}

/// All requests are on their way before the first answer is read.
fn at_once(to: SocketAddr, paths: &[String]) -> Result<()> {
    let mut sockets = Vec::new();
    for path in paths {
        let socket = TcpStream::connect(to)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        sockets.push((socket, path));
    }
    for (socket, path) in &mut sockets {
        write!(socket, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    }
    let mut sizes = Vec::new();
    for (socket, path) in &mut sockets {
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer)?;
        ensure!(
            answer.starts_with(b"HTTP/1.1 200"),
            "{path}: {}",
            String::from_utf8_lossy(&answer[..answer.len().min(200)])
        );
        sizes.push(answer.len());
    }
    ensure!(sizes.iter().all(|size| *size > 10_000), "an empty segment");
    Ok(())
}

/// What the server has counted of levels.
struct Counted {
    encodes: f64,
    decodes: f64,
    /// Of segments that are done.
    pictures: f64,
}

impl Counted {
    /// While nothing but the segment that is on the air is being made: it is decoded, and not whole yet.
    fn between_segments(airwave: &Airwave) -> Result<Self> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            let encodes = airwave.metric("level_segments_encoded_total")?;
            let decodes = airwave.metric("level_segments_decoded_total")?;
            let pictures = airwave.metric("level_pictures_decoded_total")?;
            if decodes == encodes + 1.0 {
                return Ok(Self { encodes, decodes, pictures });
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(anyhow!("more than one segment is being made all the time"))
    }
}

/// Viewers over MoQ, on a thread of their own.
struct Crowd {
    /// Segments that each has had, whole.
    groups: Arc<Vec<AtomicU64>>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Crowd {
    /// Returns when each of them has something.
    fn watch(to: SocketAddr, input: &str) -> Result<Self> {
        let groups: Arc<Vec<AtomicU64>> = Arc::new((0..MOQ).map(|_| AtomicU64::new(0)).collect());
        let (stop, mut stopped) = watch::channel(false);
        let (tell, told) = mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (of_each, input) = (groups.clone(), input.to_owned());
        let thread = std::thread::Builder::new().name("moq".to_owned()).spawn(move || {
            let all = async {
                let mut viewers = JoinSet::new();
                let joined = join(&mut viewers, to, &input, &of_each).await;
                let _ = tell.send(joined);
                // One that ends has no more segments: its count says so.
                while viewers.join_next().await.is_some() {}
            };
            runtime.block_on(async {
                tokio::select! {
                    () = all => {}
                    _ = stopped.wait_for(|stop| *stop) => {}
                }
            });
        })?;
        let crowd = Self { groups, stop, thread: Some(thread) };
        told.recv_timeout(PATIENCE * 2).context("the viewers over MoQ")??;
        wait_until("a segment for each viewer over MoQ", 30, || (crowd.least() > 0).then_some(()));
        Ok(crowd)
    }

    /// What the one with the fewest segments has.
    fn least(&self) -> u64 {
        self.groups.iter().map(|n| n.load(Ordering::Relaxed)).min().unwrap_or(0)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// One after the other: so many handshakes from one address at once are refused.
async fn join(
    viewers: &mut JoinSet<Result<()>>,
    to: SocketAddr,
    input: &str,
    groups: &Arc<Vec<AtomicU64>>,
) -> Result<()> {
    for viewer in 0..MOQ {
        let (tell, there) = oneshot::channel();
        viewers.spawn(view(to, input.to_owned(), groups.clone(), viewer, tell));
        tokio::select! {
            there = there => there.with_context(|| format!("viewer {viewer}"))?,
            Some(ended) = viewers.join_next() => {
                ended?.and(Err(anyhow!("a viewer's track ended")))?;
            }
        }
    }
    Ok(())
}

async fn view(
    to: SocketAddr,
    input: String,
    groups: Arc<Vec<AtomicU64>>,
    viewer: usize,
    there: oneshot::Sender<()>,
) -> Result<()> {
    let mut client = connect(to, Origin::new(spine::Limits::default())).await?;
    let handle = client.handle();
    let read = async {
        let namespace = Namespace::new(["default".to_owned(), input].map(Bytes::from))?;
        let remote = handle.remote(namespace)?;
        let subscribed = remote.subscribe(LEVEL, Filter::NextObject).await?;
        let _ = there.send(());
        let from = spine::Filter::from(Start::NextObject);
        let mut cursor = subscribed.track.subscribe(from, Policy::EVERYTHING);
        let mut subgroups = JoinSet::new();
        loop {
            tokio::select! {
                event = poll_fn(|cx| cursor.poll(cx, Instant::now())) => match event {
                    Event::Subgroup(reader) => _ = subgroups.spawn(read_whole(reader)),
                    Event::End(_) => return anyhow::Ok(()),
                    _ => {}
                },
                Some(whole) = subgroups.join_next() => {
                    if whole? && let Some(count) = groups.get(viewer) {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        }
    };
    tokio::select! {
        ended = client.run() => Err(anyhow!("a connection ended: {ended:?}")),
        read = read => read,
    }
}

/// Whether something was in it, to its end.
async fn read_whole(mut reader: SubgroupReader) -> bool {
    let mut objects = 0;
    loop {
        match poll_fn(|cx| reader.poll(cx)).await {
            SubgroupEvent::Object(mut object) => {
                while let spine::Chunk::Data(_) = poll_fn(|cx| object.poll_chunk(cx)).await {}
                objects += 1;
            }
            SubgroupEvent::Fin => return objects > 0,
            SubgroupEvent::Reset(_) => return false,
        }
    }
}
