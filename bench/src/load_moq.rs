//! MoQ under load: publishers and many viewers of their tracks in this process, on one thread, against a relay; and
//! the same over bare QUIC streams. Times are from when an object was due, on one clock for all processes.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use io_moq::client::{Client, Handle, Server, Trust};
use io_moq::floor;
use moqt::{Filter, Namespace};
use rustix::time::{ClockId, clock_gettime};
use spine::{
    Chunk, Event, Header, NodeId, ObjectReader, Origin, Path, Policy, Route, Start, SubgroupEvent,
    SubgroupReader, Takeover, TrackInfo, TrackName, track,
};
use tokio::sync::{broadcast, oneshot, watch};
use tokio::task::JoinSet;

use crate::host::Cpu;
use crate::stats::Sample;

/// What is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Objects a second.
    pub(crate) rate: u32,
    /// Bytes of each.
    pub(crate) bytes: usize,
    /// Objects of a group.
    pub(crate) group: u64,
}

/// Pictures of 6 Mbit/s.
pub(crate) const PICTURES: Shape = Shape { rate: 30, bytes: 25_000, group: 60 };
/// Small ones, many of them.
pub(crate) const SMALL: Shape = Shape { rate: 60, bytes: 4_000, group: 60 };
/// What people say to each other.
pub(crate) const CHAT: Shape = Shape { rate: 20, bytes: 1_000, group: 1 };

/// Who is there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crew {
    /// Each publishes one track.
    pub(crate) publishers: usize,
    /// Viewers of all of them together, who read what they get.
    pub(crate) reading: usize,
    /// Those who ask, and then read nothing.
    pub(crate) stalled: usize,
}

/// One publisher for so many.
pub(crate) const fn audience(reading: usize) -> Crew {
    Crew { publishers: 1, reading, stalled: 0 }
}

impl Shape {
    /// Bytes a second to so many.
    fn offered(&self, viewers: usize) -> f64 {
        f64::from(self.rate) * self.bytes as f64 * viewers as f64
    }
}

/// The namespace of all runs; its first field is open in Airwave.
pub(crate) const OPEN: &str = "bench";

/// Whom to load.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    /// A relay.
    Relay(SocketAddr),
    /// A server of bare streams, which makes its objects itself.
    Bare(SocketAddr),
}

/// Nanoseconds on the clock of this machine.
pub(crate) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// What came in a window.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    /// Payload.
    pub(crate) bytes: f64,
    /// By what was offered to those who read.
    pub(crate) delivered: f64,
    /// From when an object was due, in ms.
    pub(crate) late: Sample,
    /// What this thread used of its core.
    pub(crate) busy: f64,
}

#[derive(Default)]
struct Counts {
    counting: AtomicBool,
    bytes: AtomicU64,
    late_us: Mutex<Vec<u32>>,
}

impl Counts {
    fn took(&self, stamp: [u8; 8], bytes: usize) {
        if !self.counting.load(Ordering::Relaxed) {
            return;
        }
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        let late = now_ns().saturating_sub(u64::from_be_bytes(stamp)) / 1_000;
        let late = u32::try_from(late).unwrap_or(u32::MAX);
        self.late_us.lock().unwrap_or_else(PoisonError::into_inner).push(late);
    }
}

/// Publishers and their viewers, connected.
pub(crate) struct Crowd {
    runtime: tokio::runtime::Runtime,
    tasks: JoinSet<Result<()>>,
    counts: Arc<Counts>,
    shape: Shape,
    reading: usize,
    talk: watch::Sender<bool>,
}

impl Crowd {
    /// Connects all of them. Nothing is sent before [`Crowd::begin`].
    pub(crate) fn connect(target: Target, shape: Shape, crew: Crew) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let counts = Arc::<Counts>::default();
        let (talk, talking) = watch::channel(false);
        let mut tasks = JoinSet::new();
        runtime.block_on(async {
            for n in 0..crew.publishers {
                let Target::Relay(to) = target else { break };
                let (tell, ready) = oneshot::channel();
                // Not all in the same moment: sources know nothing of each other.
                let after = Duration::from_secs(1) / shape.rate * n as u32 / crew.publishers as u32;
                tasks.spawn(publish(to, n, (shape, after), tell, talking.clone()));
                wait(&mut tasks, ready).await.with_context(|| format!("publisher {n}"))?;
            }
            for n in 0..crew.reading + crew.stalled {
                let (tell, ready) = oneshot::channel();
                let (counts, stall) = (counts.clone(), n >= crew.reading);
                match target {
                    Target::Relay(to) => {
                        tasks.spawn(view(to, n % crew.publishers, counts, tell, stall));
                    }
                    Target::Bare(to) => {
                        tasks.spawn(async move {
                            let _ = tell.send(());
                            let took = |stamp, bytes| counts.took(stamp, bytes);
                            Ok(floor::watch(to, Trust::Anybody, took).await?)
                        });
                    }
                }
                wait(&mut tasks, ready).await.with_context(|| format!("viewer {n}"))?;
            }
            anyhow::Ok(())
        })?;
        Ok(Self { runtime, tasks, counts, shape, reading: crew.reading, talk })
    }

    /// The publishers begin.
    pub(crate) fn begin(&mut self, warm: Duration) -> Result<()> {
        self.talk.send_replace(true);
        self.run(warm).map(drop)
    }

    /// Counts what comes for so long.
    pub(crate) fn run(&mut self, window: Duration) -> Result<Load> {
        self.counts.bytes.store(0, Ordering::Relaxed);
        self.counts.late_us.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let (start, cpu) = (Instant::now(), Cpu::of_this_thread());
        self.counts.counting.store(true, Ordering::Relaxed);
        self.runtime.block_on(async {
            tokio::select! {
                () = tokio::time::sleep(window) => Ok(()),
                Some(ended) = self.tasks.join_next() => {
                    ended?.and(Err(anyhow!("a connection ended")))
                }
            }
        })?;
        self.counts.counting.store(false, Ordering::Relaxed);
        let seconds = start.elapsed().as_secs_f64();
        let bytes = self.counts.bytes.load(Ordering::Relaxed) as f64;
        let late = self.counts.late_us.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Load {
            bytes,
            delivered: bytes / (self.shape.offered(self.reading) * seconds),
            late: Sample::new(late.iter().map(|us| f64::from(*us) / 1e3)),
            busy: (Cpu::of_this_thread() - cpu) / seconds,
        })
    }
}

/// Waits for a task to say that it is ready.
async fn wait(tasks: &mut JoinSet<Result<()>>, ready: oneshot::Receiver<()>) -> Result<()> {
    tokio::select! {
        ready = ready => Ok(ready?),
        Some(ended) = tasks.join_next() => ended?.and(Err(anyhow!("a connection ended"))),
        () = tokio::time::sleep(Duration::from_secs(10)) => Err(anyhow!("nothing for 10 s")),
    }
}

fn namespace(of: usize) -> Result<Namespace> {
    Ok(Namespace::new([Bytes::from_static(OPEN.as_bytes()), Bytes::from(of.to_string())])?)
}

const TRACK: TrackName = TrackName::from_static("video");

/// Connects; what the connection needs to go on is in the task.
pub(crate) async fn connect(to: SocketAddr, origin: Origin) -> Result<Client> {
    let (host, port) = (to.ip().to_string(), to.port());
    let server = Server { host, port, path: "/".to_owned(), draft: None };
    Ok(Client::connect(&server, Trust::Anybody, origin).await?)
}

async fn publish(
    to: SocketAddr,
    own: usize,
    (shape, after): (Shape, Duration),
    ready: oneshot::Sender<()>,
    mut talking: watch::Receiver<bool>,
) -> Result<()> {
    let origin = Origin::new(spine::Limits::default());
    let path = Path::new([OPEN.to_owned(), own.to_string()])?;
    let broadcast = origin.publish(&path, Route::local(NodeId(0), 0), Takeover::Refuse)?;
    let track = broadcast.track(TRACK, TrackInfo::default())?;
    let mut client = connect(to, origin).await?;
    let handle = client.handle();
    let talk = async {
        let _published = handle.publish(&namespace(own)?).await?;
        let _ = ready.send(());
        talking.wait_for(|talk| *talk).await?;
        tokio::time::sleep(after).await;
        let group =
            |number| anyhow::Ok(track.group(number, Instant::now())?.subgroup(0, Instant::now())?);
        let mut subgroup = None;
        schedule(shape, |number, bytes| {
            let (id, object) = (number / shape.group, number % shape.group);
            if object == 0
                && let Some(over) = subgroup.replace(group(id)?)
            {
                spine::group::SubgroupProducer::fin(over);
            }
            let subgroup = subgroup.as_ref().context("no group")?;
            let payload = track.budget().payload(bytes);
            subgroup.write(Header::new(object, Instant::now()), vec![payload])?;
            Ok(())
        })
        .await
    };
    tokio::select! {
        ended = client.run() => Err(anyhow!("the publisher's connection ended: {ended:?}")),
        done = talk => done,
    }
}

/// Calls for each object when it is due. It begins with that time.
async fn schedule(shape: Shape, mut write: impl FnMut(u64, Bytes) -> Result<()>) -> Result<()> {
    let (start, start_ns) = (tokio::time::Instant::now(), now_ns());
    for number in 0.. {
        let due = Duration::from_secs(number) / shape.rate;
        tokio::time::sleep_until(start + due).await;
        let mut bytes = BytesMut::with_capacity(shape.bytes);
        bytes.put_u64(start_ns + due.as_nanos() as u64);
        bytes.resize(shape.bytes, 0x5a);
        write(number, bytes.freeze())?;
    }
    Ok(())
}

async fn view(
    to: SocketAddr,
    of: usize,
    counts: Arc<Counts>,
    ready: oneshot::Sender<()>,
    stall: bool,
) -> Result<()> {
    let mut client = connect(to, Origin::new(spine::Limits::default())).await?;
    let handle = client.handle();
    let read = async {
        let (subscribed, _remote) = subscribe(&handle, of).await?;
        let _ = ready.send(());
        if !stall {
            read(&subscribed.track, &counts).await;
        }
        anyhow::Ok(())
    };
    tokio::select! {
        ended = client.run() => return Err(anyhow!("a viewer's connection ended: {ended:?}")),
        read = read => read?,
    }
    ensure!(stall, "a viewer's track ended");
    // Its connection stands, and nobody takes anything out of it.
    std::future::pending().await
}

async fn subscribe(
    handle: &Handle,
    of: usize,
) -> Result<(io_moq::client::Subscribed, io_moq::client::Remote)> {
    let remote = handle.remote(namespace(of)?)?;
    Ok((remote.subscribe("video", Filter::NextObject).await?, remote))
}

async fn read(track: &track::Consumer, counts: &Arc<Counts>) {
    let mut cursor = track.subscribe(spine::Filter::from(Start::NextObject), Policy::EVERYTHING);
    let mut subgroups = JoinSet::new();
    loop {
        tokio::select! {
            event = poll_fn(|cx| cursor.poll(cx, Instant::now())) => match event {
                Event::Subgroup(reader) => {
                    subgroups.spawn(read_subgroup(reader, counts.clone()));
                }
                Event::End(_) => return,
                _ => {}
            },
            Some(_) = subgroups.join_next() => {}
        }
    }
}

async fn read_subgroup(mut reader: SubgroupReader, counts: Arc<Counts>) {
    while let SubgroupEvent::Object(object) = poll_fn(|cx| reader.poll(cx)).await {
        if let Some((stamp, bytes)) = read_object(object).await {
            counts.took(stamp, bytes);
        }
    }
}

/// How an object begins, and its length, once it is whole.
async fn read_object(mut object: ObjectReader) -> Option<([u8; 8], usize)> {
    let (mut stamp, mut length) = (BytesMut::new(), 0);
    loop {
        match poll_fn(|cx| object.poll_chunk(cx)).await {
            Chunk::Data(chunk) => {
                let bytes = chunk.into_bytes();
                length += bytes.len();
                let more = bytes.len().min(8 - stamp.len());
                stamp.extend_from_slice(&bytes[..more]);
            }
            Chunk::End => return Some((stamp[..].try_into().ok()?, length)),
            Chunk::Reset(_) => return None,
        }
    }
}

/// The server of bare streams: a process of its own, which says its port and runs until its input ends.
pub(crate) fn serve_bare(shape: Shape) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (chain, key) = certificate()?;
        let certificate = io_moq::transport::Certificate { chain, key };
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let endpoint = io_moq::transport::Endpoint::server(any, certificate, &[floor::PROTOCOL])?;
        let port = endpoint.local_address()?.port();
        std::io::Write::write_fmt(&mut std::io::stdout(), format_args!("{port}\n"))?;
        let (frames, _) = broadcast::channel(256);
        let talk = schedule(shape, |number, bytes| {
            // Nobody is there yet: that is no error.
            let _ = frames.send(floor::Frame { begins_group: number % shape.group == 0, bytes });
            Ok(())
        });
        let over = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
        tokio::select! {
            () = floor::serve(endpoint, frames.clone()) => Ok(()),
            done = talk => done,
            _ = over => Ok(()),
        }
    })
}

fn certificate() -> Result<(
    Vec<tokio_rustls::rustls::pki_types::CertificateDer<'static>>,
    tokio_rustls::rustls::pki_types::PrivateKeyDer<'static>,
)> {
    let pair = rcgen::KeyPair::generate()?;
    let made = rcgen::CertificateParams::new(vec!["localhost".to_owned()])?.self_signed(&pair)?;
    let key = tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer::from(pair.serialize_der());
    Ok((vec![made.der().clone()], key.into()))
}
