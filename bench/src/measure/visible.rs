//! I5: from the moment a picture is given to the encoder's socket to the moment a subscriber in the
//! server has the object, with packaging beside it.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use io_rtmp::listen::{self, Common, HalfOpen};
use media::admission::{Admitted, Asking, Door, Refused};
use media::{FrameEvent, Frames, Publication};
use package::{Packaging, Rules};
use spine::broadcast::Consumer;
use spine::{Filter, Location, NodeId, Origin, Path, Policy, Route, Start, Takeover, TrackName};

use crate::Setup;
use crate::host::{LOAD_CORE, SERVER_CORE, pin};
use crate::load_rtmp::Fleet;
use crate::report::Report;
use crate::ring::{HD, Ring};
use crate::stats::Sample;

const STREAMS: usize = 20;
const WARM: Duration = Duration::from_secs(3);
const WINDOW: Duration = Duration::from_secs(20);

/// When a subscriber had each picture, by encoder.
type Seen = Arc<Mutex<Vec<Vec<Instant>>>>;

/// I5.
pub(crate) fn run(setup: &Setup) -> Result<bool> {
    let ring = Arc::new(Ring::make(&setup.clips, &HD)?);
    let mut report = Report::begin("I5")?;
    let seen: Seen = Arc::new(Mutex::new(vec![Vec::new(); STREAMS]));
    // One thread, on the server's core.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .on_thread_start(|| {
            let _ = pin(SERVER_CORE);
        })
        .enable_all()
        .build()?;
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    let common = Common {
        door: door(Origin::new(spine::Limits::default()), seen.clone()),
        counters: Arc::default(),
        // All of them come from one address, which has a quarter.
        half_open: HalfOpen::new(STREAMS * 4),
        random: |seed| *seed = [7; 32],
    };
    let balancers = Default::default();
    runtime.spawn(listen::run(listener, None, balancers, common, std::future::pending()));
    pin(LOAD_CORE)?;
    let urls: Vec<String> = (0..STREAMS).map(|n| format!("rtmp://{address}/live/{n}")).collect();
    let fleet = Fleet::start(&ring, &urls, true)?;
    let start = Instant::now();
    std::thread::sleep(WARM + setup.window(WINDOW));
    ensure!(fleet.running(), "a connection was lost");
    let sent = fleet.goodbye()?.pictures;
    runtime.shutdown_timeout(Duration::from_secs(1));
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let mut times = Vec::new();
    for (sent, seen) in sent.iter().zip(seen.iter()) {
        // The newest may still have been under way.
        ensure!(seen.len() + 2 >= sent.len(), "{} of {} pictures", seen.len(), sent.len());
        let pairs = sent.iter().zip(seen).filter(|(sent, _)| **sent > start + WARM);
        times.extend(pairs.map(|(sent, seen)| (*seen - *sent).as_secs_f64() * 1e3));
    }
    report.set("streams", STREAMS);
    report.times("bytes in to object visible", &Sample::new(times));
    report.end(&setup.results)
}

/// Takes everybody; a stream's key is its number.
fn door(origin: Origin, seen: Seen) -> Door {
    Arc::new(move |asking: Asking| {
        let (origin, seen) = (origin.clone(), seen.clone());
        Box::pin(async move {
            let open = open(&origin, &asking, seen);
            open.map_err(|error| Refused::Unavailable(format!("{error:#}")))
        })
    })
}

fn open(origin: &Origin, asking: &Asking, seen: Seen) -> Result<Admitted> {
    let path = Path::new(["bench".to_owned(), asking.key.clone()])?;
    let broadcast = origin.publish(&path, Route::local(NodeId(0), 1), Takeover::Replace)?;
    let consumer = broadcast.consume();
    let mut packaging = Packaging::new(consumer.clone(), Rules::default(), 1)?;
    tokio::spawn(async move {
        let _ = poll_fn(|cx| packaging.poll(cx, Instant::now())).await;
    });
    tokio::spawn(watch(consumer, asking.key.parse().context("the key")?, seen));
    let publication = Publication::new(broadcast, asking.clock, 1, Instant::now());
    Ok(Admitted { publication, leave: Box::new(|_, _| {}) })
}

/// A subscriber of the raw pictures.
async fn watch(broadcast: Consumer, encoder: usize, seen: Seen) {
    let name = TrackName::from_static("video");
    let mut waiting = spine::Waiting::new();
    let mut version = u64::MAX;
    let track = poll_fn(|cx| {
        loop {
            if let Some(track) = broadcast.get(&name) {
                return Poll::Ready(track);
            }
            match broadcast.poll_changed(version, &mut waiting, cx) {
                Poll::Ready(now) => version = now,
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
    let start = Start::At(Location { group: 0, object: 0 });
    let mut frames = Frames::new(track.subscribe(Filter::from(start), Policy::EVERYTHING));
    loop {
        match poll_fn(|cx| frames.poll(cx, Instant::now())).await {
            FrameEvent::Frame { .. } => {
                let now = Instant::now();
                seen.lock().unwrap_or_else(PoisonError::into_inner)[encoder].push(now);
            }
            FrameEvent::Lost => {}
            FrameEvent::End(_) => return,
        }
    }
}
