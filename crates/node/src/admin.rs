//! The admin listener: is it alive, is it ready, what does it count.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use acme::status::Status;
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use control::{Control, InputUid};
use deliver::Shelf;
use media::playback::{Report, START_MS};
use record::{History, Space};
use spine::Origin;

use crate::encoder::Encoding;
use crate::ingest::{Found, now_ms, path_of};
use crate::limits::PLAYBACK_INPUTS_MAX;
use crate::moq;
use crate::tls::Certificate;
use crate::trace::{self, Refused};
use crate::web;

/// What the node's counters are taken from.
#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) started: Instant,
    pub(crate) control: Arc<Control>,
    pub(crate) origin: Origin,
    pub(crate) library: Arc<deliver::Library>,
    pub(crate) delivery: Arc<deliver::Counters>,
    pub(crate) encoders: Arc<io_rtmp::listen::Counters>,
    pub(crate) moq: Arc<io_moq::listen::Counters>,
    pub(crate) upstreams: Arc<moq::Upstreams>,
    pub(crate) web: Arc<web::Counters>,
    /// The one in use, if there is TLS.
    pub(crate) certificate: Option<Arc<Certificate>>,
    /// How it stands with the certificate of our names.
    pub(crate) domain: Option<Arc<Status>>,
    pub(crate) panics: Arc<AtomicU64>,
    pub(crate) found: Arc<Found>,
    pub(crate) backlog: record::Backlog,
    pub(crate) space: Arc<Space>,
    pub(crate) history: Arc<History>,
    pub(crate) encoding: Arc<Encoding>,
    pub(crate) chat: Arc<chat::Rooms>,
    /// What was found wrong with the data directory at the start, in words.
    pub(crate) media_lost: Option<String>,
}

/// The admin routes: the router is made of this list, and so is the authorisation table.
fn routes() -> [(&'static str, MethodRouter<Admin>); 4] {
    [
        ("/healthz", get(async || "ok\n")),
        ("/readyz", get(ready)),
        ("/metrics", get(metrics)),
        ("/debug/trace", get(debug_trace)),
    ]
}

/// The router of the admin listener.
pub(crate) fn router(admin: Admin) -> Router {
    let add = |router: Router<Admin>, (path, handler)| router.route(path, handler);
    routes().into_iter().fold(Router::new(), add).with_state(admin)
}

/// The paths of the admin listener.
pub(crate) fn paths() -> impl Iterator<Item = &'static str> {
    routes().into_iter().map(|(path, _)| path)
}

/// Ready to take encoders and viewers: everything listens (or this would not answer), and the state
/// can be read.
async fn ready(State(admin): State<Admin>) -> Response {
    match admin.control.next_expiry().await {
        // It takes encoders and viewers all the same.
        Ok(_) => {
            let certificate = admin.domain.as_ref().and_then(|d| d.complaint(now_ms()));
            let complaints: Vec<String> = admin
                .space
                .paused()
                .map(|why| why.to_string())
                .into_iter()
                .chain(admin.space.in_vain().map(|why| why.to_string()))
                .chain(admin.space.failing(Instant::now()).map(|why| why.to_string()))
                .chain(not_recorded(&admin.library))
                .chain(admin.media_lost.clone())
                .chain(certificate)
                .chain(admin.encoding.complaint())
                .collect();
            match complaints.is_empty() {
                true => "ready\n".into_response(),
                false => format!("ready, but {}\n", complaints.join("; ")).into_response(),
            }
        }
        Err(error) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("the database: {error}\n")).into_response()
        }
    }
}

/// Broadcasts that go on and are recorded no more.
fn not_recorded(library: &deliver::Library) -> Option<String> {
    let count = library.on_air().iter().filter(|shelf| shelf.recording_stopped()).count();
    let words = || format!("{count} on the air that should be recorded no longer are: see the log");
    (count > 0).then(words)
}

/// One frame of a live input, followed.
async fn debug_trace(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Response {
    let input = query.as_deref().and_then(|query| query.strip_prefix("input="));
    let Some(Ok(input)) = input.map(InputUid::parse) else {
        return (StatusCode::BAD_REQUEST, "input must be the uid of a live input\n")
            .into_response();
    };
    match trace::trace(&admin.origin, &admin.moq.departures, &path_of(&input)).await {
        Ok(followed) => {
            ([(header::CONTENT_TYPE, "application/json")], followed.to_string()).into_response()
        }
        Err(Refused::Nothing(words)) => {
            (StatusCode::NOT_FOUND, format!("{words}\n")).into_response()
        }
        Err(Refused::Busy) => {
            let words = "somebody else follows a frame at the moment: try again in a second\n";
            (StatusCode::CONFLICT, words).into_response()
        }
    }
}

/// Prometheus' text format, version 0.0.4.
async fn metrics(State(admin): State<Admin>) -> Response {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text(&admin)).into_response()
}

fn text(admin: &Admin) -> String {
    let mut out = Metrics::default();
    let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (delivery, encoders, web) = (&admin.delivery, &admin.encoders, &admin.web);
    let (counters, chat) = (&admin.moq, admin.chat.counters());
    let shelves = admin.library.on_air();
    let now = Instant::now();
    let viewers: usize = shelves.iter().map(|s| s.viewers(now)).sum();

    out.gauge("uptime_seconds", "Seconds since the start.", admin.started.elapsed().as_secs());
    out.gauge("broadcasts", "Broadcasts on the air.", shelves.len() as u64);
    out.gauge("viewers", "Viewers of all broadcasts.", viewers as u64);
    let live = encoders.live.load(Ordering::Relaxed) as u64;
    out.gauge("rtmp_encoders", "Encoders that publish over RTMP or RTMPS.", live);
    let open = encoders.open.load(Ordering::Relaxed) as u64;
    out.gauge("rtmp_connections_open", "RTMP and RTMPS connections.", open);
    for (name, help, now) in [
        ("moq_publishers", "Live inputs that are published over MoQ.", &counters.live),
        ("moq_sessions_open", "MoQ sessions.", &counters.open),
        (
            "moq_subscriptions_open",
            "MoQ subscriptions that are served.",
            &counters.subscriptions_open,
        ),
    ] {
        out.gauge(name, help, now.load(Ordering::Relaxed) as u64);
    }
    out.gauge("chat_guests", "Viewers that chat over MoQ.", admin.chat.guests() as u64);
    out.gauge("http_connections_open", "HTTP and HTTPS connections.", of(&web.open));
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks() as u64;
    out.gauge("tasks", "Tasks that have not ended.", tasks);
    out.gauge("media_cache_bytes", "Live media in memory.", admin.origin.budget().used() as u64);
    out.gauge(
        "media_cache_limit_bytes",
        "Live media that memory may hold before the oldest goes.",
        admin.origin.budget().limit() as u64,
    );
    out.gauge("playlist_requests_parked", "Requests that wait now.", delivery.parked.taken());
    let help = "Bytes of recordings that those who read them may have in memory.";
    out.gauge("recorded_bytes_held", help, delivery.read.taken());

    if let Some(end) = admin.certificate.as_ref().and_then(|c| c.not_after_ms()) {
        let help = "When the certificate in use ends, in seconds since 1970.";
        out.gauge("certificate_not_after_timestamp_seconds", help, end / 1_000);
    }
    if let Some(standing) = admin.domain.as_ref().map(|domain| domain.standing()) {
        out.counter("certificates_issued", "Certificates got since the start.", standing.issued);
        let help = "Attempts to get a certificate that failed since the start.";
        out.counter("certificate_failures", help, standing.failed);
    }
    if let Some(free) = admin.history.store().free_bytes() {
        out.gauge("disk_free_bytes", "Bytes that are free where recordings are.", free);
    }
    let paused = u64::from(admin.space.paused().is_some());
    out.gauge("recording_paused", "1 while the disk is too full to record.", paused);
    out.counter(
        "recording_segments_lost",
        "Segments that are gaps in recordings: the disk was full, failed or too slow.",
        admin.space.lost(),
    );

    let help = "Lines of the log that could not be written: its disk was full, or nobody read it.";
    out.counter("log_lines_lost", help, crate::logging::lost());

    let help = "Reads of recordings whose object is not there any more.";
    out.counter("recording_objects_missing", help, admin.history.missing());

    let times = admin.backlog.commit_times();
    let name = "segment_commit_seconds";
    out.head(
        name,
        "histogram",
        "From a segment's last part to its commit: stored, and in the index.",
    );
    out.classes(name, "", &record::limits::COMMIT_MS, &times.within, times.sum.as_secs_f64());

    if let Some(renditions) = admin.library.levels().renditions() {
        let levels = renditions.counters();
        out.gauge("encoder_processes", "Encoder processes that run.", of(&levels.processes));
        let help = "Made segments of levels on the disk.";
        out.gauge("level_disk_bytes", help, renditions.disk_bytes());
        for (name, help, counter) in [
            ("encoder_processes_started", "Encoder processes started.", &levels.started),
            ("encoder_jobs_lost", "Jobs whose encoder process failed.", &levels.lost),
            (
                "encoder_hardware_failures",
                "Times that an encoder in hardware has failed that worked.",
                &levels.hardware_failed,
            ),
            ("encoder_jobs_refused", "Jobs that found no encoder in time.", &levels.refused),
            ("pictures_made", "Thumbnails, sheets of them and films.", &levels.drawn),
            ("level_segments_decoded", "Original segments decoded for levels.", &levels.decodes),
            ("level_pictures_decoded", "Pictures decoded, as encoders count.", &levels.pictures),
            ("level_segments_encoded", "Segments of levels encoded.", &levels.encodes),
            ("level_segments_made_ahead", "Begun before they were asked for.", &levels.prefetched),
            ("level_segments_made_ahead_used", "Asked for then.", &levels.prefetched_used),
            ("level_segments_from_disk", "Not encoded again.", &levels.cached),
            ("level_jobs_dropped", "Begun for nobody any more.", &levels.dropped),
            (
                "level_frames_broken",
                "Frames that could not be decoded, or with damage only.",
                &levels.broken_frames,
            ),
        ] {
            out.counter(name, help, of(counter));
        }
    }
    for (name, help, counter) in [
        ("rtmp_connections", "RTMP connections accepted.", &encoders.connections),
        (
            "rtmp_half_open_refused",
            "RTMP connections ended for others: too many half open.",
            &encoders.refused_half_open,
        ),
        (
            "rtmp_publishes_refused",
            "Publishes over RTMP refused: a wrong key, or who was replaced.",
            &encoders.refused_publishes,
        ),
        (
            "rtmp_encoders_dismissed",
            "Encoders replaced by another one, or whose broadcast was ended.",
            &encoders.dismissed,
        ),
        (
            "rtmp_publishes_unusable",
            "Publishes ended because what came can't go on air.",
            &encoders.unusable,
        ),
        ("rtmp_protocol_errors", "RTMP connections ended by an error.", &encoders.protocol_errors),
        ("moq_sessions", "MoQ sessions accepted.", &counters.connections),
        (
            "moq_half_open_refused",
            "MoQ connections refused: too many half open.",
            &counters.refused_half_open,
        ),
        ("moq_connections_refused", "MoQ connections refused: too many.", &counters.refused),
        (
            "moq_connections_refused_address",
            "MoQ connections refused: too many of one address.",
            &counters.refused_address,
        ),
        ("moq_handshakes_failed", "QUIC handshakes that failed.", &counters.failed_handshakes),
        (
            "moq_retries",
            "QUIC connections whose address had to be proved first: many were half open.",
            &counters.retries,
        ),
        ("moq_publishes_refused", "Publishes over MoQ refused.", &counters.refused_publishes),
        (
            "moq_tokens_wrong",
            "Wrong tokens of those who want to watch over MoQ.",
            &counters.wrong_tokens,
        ),
        ("moq_looks", "Looks at who may watch over MoQ.", &counters.looks),
        (
            "moq_tokens_unread",
            "Requests to watch over MoQ whose tokens were not looked at: too many were wrong.",
            &counters.unread_tokens,
        ),
        (
            "moq_session_errors",
            "MoQ sessions ended by an error, ours or the peer's.",
            &counters.session_errors,
        ),
        ("moq_session_panics", "MoQ sessions that panicked: a fault of Airwave.", &counters.panics),
        ("moq_subscriptions", "MoQ subscriptions accepted.", &counters.subscriptions),
        ("moq_fetches", "MoQ fetches accepted.", &counters.fetches),
        ("moq_objects", "MoQ objects sent.", &counters.objects),
        ("moq_object_bytes", "Bytes of them.", &counters.object_bytes),
        (
            "moq_groups_skipped",
            "Groups that a subscriber was too slow for.",
            &counters.groups_skipped,
        ),
        ("chat_messages", "Messages that viewers said.", &chat.said),
        ("chat_messages_refused", "Messages that were not fit, or too many.", &chat.refused),
        ("chat_messages_deleted", "Deletions of messages.", &chat.deleted),
        ("http_connections", "HTTP connections accepted.", &web.connections),
        ("http_connections_refused", "HTTP connections refused: too many.", &web.refused),
        (
            "http_connections_refused_address",
            "HTTP connections refused: too many of one address.",
            &web.refused_address,
        ),
        ("http_proxy_lies", "HTTP connections refused: no PROXY header.", &web.proxy_lies),
        ("rtmp_proxy_lies", "RTMP connections refused: no PROXY header.", &encoders.proxy_lies),
        ("http_unread", "HTTP connections ended: an answer was not read.", &web.unread),
        ("tls_handshakes_failed", "TLS handshakes that failed.", &web.handshakes_failed),
        (
            "requests_not_parked",
            "Requests answered 503: too many wait for playlists and parts.",
            &delivery.parked.refused,
        ),
        (
            "requests_not_parked_address",
            "Requests answered 503: too many of one address wait.",
            &delivery.parked.refused_address,
        ),
        (
            "recordings_not_read",
            "Requests answered 503: too much of recordings is being read.",
            &delivery.read.refused,
        ),
        (
            "recordings_not_read_address",
            "Requests answered 503: too much of recordings is being read by one address.",
            &delivery.read.refused_address,
        ),
        ("playlists", "Media playlists sent.", &delivery.playlists),
        ("playlist_renderings", "Media playlists rendered: once a version.", &delivery.renderings),
        ("media_files", "Segments, parts and initialisation segments sent.", &delivery.media),
        ("media_file_bytes", "Bytes of them.", &delivery.media_bytes),
        (
            "packaging_holes",
            "Places where frames had left the cache before they were packaged.",
            &admin.found.holes.n,
        ),
        (
            "packaging_silent_frames",
            "Frames of silence in the place of sound that did not come.",
            &admin.found.silent_frames.n,
        ),
        (
            "packaging_pictures_shown_again",
            "Key pictures shown again in the place of pictures that did not come.",
            &admin.found.pictures_shown_again.n,
        ),
        (
            "packaging_frames_late",
            "Frames left out: viewers had got past their time when they came.",
            &admin.found.frames_late.n,
        ),
        (
            "packaging_pictures_without_key_frame",
            "Pictures left out: no key frame had come before them.",
            &admin.found.pictures_without_key_frame.n,
        ),
        (
            "packaging_frames_early",
            "Frames left out: the picture beside them began later.",
            &admin.found.frames_early.n,
        ),
        (
            "ingest_frames_dropped",
            "Frames left out as they came: unreadable, without configuration, or without a place in time.",
            &admin.found.dropped,
        ),
        ("task_panics", "Tasks that panicked: a fault of Airwave.", &*admin.panics),
    ] {
        out.counter(name, help, of(counter));
    }
    moq::metrics(&mut out, &admin.moq);
    moq::upstream_metrics(&mut out, &admin.upstreams);
    playback(&mut out, &shelves, now);
    out.0
}

/// How each input plays that is on the air: of so many, those with the most players.
fn playback(out: &mut Metrics, shelves: &[Arc<Shelf>], now: Instant) {
    let reports = shelves.iter().map(|shelf| (shelf.about().input.clone(), shelf.playing(now)));
    let mut reports: Vec<(String, Report)> = reports.collect();
    reports.sort_by(|(a, x), (b, y)| y.sessions.cmp(&x.sessions).then(a.cmp(b)));
    reports.truncate(PLAYBACK_INPUTS_MAX);
    type Value = fn(&Report) -> u64;
    let families: [(&str, &str, &str, Value); 4] = [
        ("playback_sessions", "gauge", "Players that say how they play (CMCD).", |r| r.sessions),
        ("playback_sessions_total", "counter", "The same, since the broadcast began.", |r| {
            r.sessions_seen
        }),
        ("playback_stalls_total", "counter", "Times that a player lacked media.", |r| r.stalls),
        ("playback_bitrate_bits", "gauge", "Mean bitrate that is watched; 0 if none says.", |r| {
            r.bitrate_kbps.unwrap_or(0) * 1_000
        }),
    ];
    for (name, kind, help, value) in families {
        out.head(name, kind, help);
        for (input, report) in &reports {
            out.sample(name, &format!("input=\"{input}\""), value(report));
        }
    }
    let name = "playback_start_seconds";
    out.head(name, "histogram", "From the wish to play to the first picture.");
    for (input, report) in &reports {
        let bounds = START_MS.map(u64::from);
        let sum_s = report.start_ms_sum as f64 / 1_000.0;
        out.classes(name, &format!("input=\"{input}\""), &bounds, &report.starts, sum_s);
    }
}

/// Text that is being written.
#[derive(Default)]
pub(crate) struct Metrics(String);

impl Metrics {
    #[cfg(test)]
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.write(name, "gauge", help, value);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.write(&format!("{name}_total"), "counter", help, value);
    }

    fn write(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.head(name, kind, help);
        let _ = writeln!(self.0, "airwave_{name} {value}");
    }

    pub(crate) fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP airwave_{name} {help}\n# TYPE airwave_{name} {kind}");
    }

    /// Of a histogram: how many were within each bound, and after more.
    pub(crate) fn classes(
        &mut self,
        name: &str,
        labels: &str,
        bounds_ms: &[u64],
        counts: &[u64],
        sum_s: f64,
    ) {
        let comma = if labels.is_empty() { "" } else { "," };
        let (bucket, mut within) = (format!("{name}_bucket"), 0);
        for (bound, n) in bounds_ms.iter().zip(counts) {
            within += n;
            let bound_s = *bound as f64 / 1_000.0;
            self.sample(&bucket, &format!("{labels}{comma}le=\"{bound_s}\""), within);
        }
        let all: u64 = counts.iter().sum();
        self.sample(&bucket, &format!("{labels}{comma}le=\"+Inf\""), all);
        self.sample(&format!("{name}_sum"), labels, sum_s);
        self.sample(&format!("{name}_count"), labels, all);
    }

    pub(crate) fn sample(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let _ = writeln!(self.0, "airwave_{name}{labels} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_read_like_this() {
        let mut metrics = Metrics::default();
        metrics.gauge("viewers", "Viewers.", 3);
        metrics.counter("playlists", "Playlists sent.", 4);
        let expect = "\
# HELP airwave_viewers Viewers.
# TYPE airwave_viewers gauge
airwave_viewers 3
# HELP airwave_playlists_total Playlists sent.
# TYPE airwave_playlists_total counter
airwave_playlists_total 4
";
        assert_eq!(metrics.0, expect);
    }

    #[test]
    fn a_histogram_adds_up() {
        let mut metrics = Metrics::default();
        metrics.classes("wait", "", &[5, 1_000], &[2, 1, 1], 61.5);
        metrics.classes("wait", "input=\"a\"", &[5], &[1, 0], 0.004);
        let expect = "\
airwave_wait_bucket{le=\"0.005\"} 2
airwave_wait_bucket{le=\"1\"} 3
airwave_wait_bucket{le=\"+Inf\"} 4
airwave_wait_sum 61.5
airwave_wait_count 4
airwave_wait_bucket{input=\"a\",le=\"0.005\"} 1
airwave_wait_bucket{input=\"a\",le=\"+Inf\"} 1
airwave_wait_sum{input=\"a\"} 0.004
airwave_wait_count{input=\"a\"} 1
";
        assert_eq!(metrics.0, expect);
    }
}
