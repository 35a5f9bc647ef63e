//! A well-behaved encoder and its viewer, beside whom others misbehave; and what a server holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use testkit::{Child, Clip, ClipSpec, Follower, Input, Server, check_versions, wait_until};

/// What must be as it was when all strangers are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    rtmp: u64,
    http: u64,
    encoders: u64,
    broadcasts: u64,
    tasks: u64,
    parked: u64,
    descriptors: usize,
}

impl Held {
    pub(crate) fn by(server: &Server) -> Self {
        let metrics = server.metrics();
        Self {
            rtmp: metrics["rtmp_connections_open"],
            http: metrics["http_connections_open"],
            encoders: metrics["rtmp_encoders"],
            broadcasts: metrics["broadcasts"],
            tasks: metrics["tasks"],
            parked: metrics["playlist_requests_parked"],
            descriptors: server.descriptors(),
        }
    }

    /// Waits until it is so again, and no task has panicked.
    pub(crate) fn again(self, server: &Server) {
        let mut last = None;
        let same = || {
            let now = Self::by(server);
            // Fewer are none that stay: what starts with the server may have had some when they were counted.
            let same = Self { descriptors: self.descriptors, ..now } == self
                && now.descriptors <= self.descriptors;
            last = Some(now);
            same.then_some(())
        };
        let waited = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_until("what is held to return", 30, same);
        }));
        assert!(waited.is_ok(), "before: {self:?}, after: {last:?}");
        assert_eq!(server.metric("task_panics_total"), 0);
    }
}

/// Publishes and watches until it is told to finish.
pub(crate) struct Beside {
    input: Input,
    video: String,
    encoder: Child,
    stop: Arc<AtomicBool>,
    viewer: JoinHandle<Follower>,
}

impl Beside {
    /// Answers when both have begun.
    pub(crate) fn start(server: &Server) -> Self {
        let input = server.input();
        let clip = Clip::make(&ClipSpec::plain("plain", 12));
        let encoder = clip.publish(&input.rtmp, -1);
        let video = server.wait_live(&input);
        let url = server.url(&format!("/{video}/manifest/video.cmaf.m3u8"));
        let mut follower = Follower::new(url);
        follower.reload();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let viewer = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                follower.reload();
            }
            follower
        });
        Self { input, video, encoder, stop, viewer }
    }

    pub(crate) fn input(&self) -> &str {
        &self.input.uid
    }

    pub(crate) fn video(&self) -> &str {
        &self.video
    }

    /// The encoder was never let go, and the viewer has seen everything in order; all of it is in the recording.
    pub(crate) fn finish(mut self, server: &Server) {
        self.stop.store(true, Ordering::Relaxed);
        let follower = self.viewer.join().expect("the viewer was served to the end");
        assert!(self.encoder.ended().is_none(), "let go: {}", self.encoder.output());
        let numbers = follower.numbers();
        let broken = |(segment, _): &&(testkit::PlaylistSegment, Vec<u8>)| {
            segment.discontinuity || segment.gap
        };
        assert_eq!(follower.segments.values().filter(broken).count(), 0);
        assert_eq!(check_versions(&follower.versions), []);
        self.encoder.terminate();
        self.encoder.wait(20);
        wait_until("the end of the broadcast", 20, || {
            (server.lifecycle(&self.input.uid)["live"] == false).then_some(())
        });
        let list = server.get(&format!("/{}/manifest/video.cmaf.m3u8", self.video));
        assert_eq!(list.status, 200, "{}", list.text());
        let list = testkit::MediaPlaylist::parse(&list.text()).unwrap();
        let recorded: Vec<u64> =
            list.segments.iter().filter(|s| !s.gap).map(|s| s.number).collect();
        assert!(numbers.iter().all(|n| recorded.contains(n)), "{numbers:?} in {recorded:?}");
    }
}

/// A number of the environment that makes a test longer.
pub(crate) fn size(variable: &str, gate: usize) -> usize {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} must be a number: {text}")),
        Err(_) => gate,
    }
}
