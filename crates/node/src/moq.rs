//! What goes over MoQ, as the API and the metrics tell it.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use api::MoqList;
use io_moq::client::Namespace;
use io_moq::listen::{Counters, drafts};
use io_moq::qlog::{self, Logs};
use io_moq::traffic::{
    FlowReport, Over, Role, SessionReport, Sum, Totals, TrackReport, Traffic, WAIT_MS,
};
use io_moq::transport::Trust;
use io_moq::uplink::{Uplink, UplinkStatus};
use media::date::date_time;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_rustls::rustls::pki_types::CertificateDer;

use crate::admin::Metrics;
use crate::config;
use crate::ingest::now_ms;

/// Where sessions are written down, if they are to be: by a thread of its own, which ends with the last who may write.
pub(crate) fn logs(config: &config::Moq) -> std::io::Result<Option<Logs>> {
    if config.qlog_dir.as_os_str().is_empty() {
        return Ok(None);
    }
    let peers = config.qlog_peers.clone();
    let wanted = Arc::new(move |peer| peers.is_empty() || peers.have(peer));
    let (logs, writer) = qlog::logs(config.qlog_dir.clone(), wanted);
    std::thread::Builder::new().name("moq-qlog".to_owned()).spawn(move || writer.run())?;
    Ok(Some(logs))
}

/// What is pulled from, as the configuration says.
pub(crate) struct Upstreams {
    known: Mutex<Known>,
    wanted: watch::Sender<Vec<Arc<Uplink>>>,
}

/// Upstreams, by the names that metrics have for them, and what holds for all of them.
#[derive(Clone, Default)]
pub(crate) struct Known {
    trust: client::trust::Trust,
    /// What stood in its file.
    certificates: Vec<CertificateDer<'static>>,
    prefixes: Vec<Namespace>,
    all: Vec<(String, Arc<Uplink>)>,
}

impl Upstreams {
    pub(crate) fn new(config: &config::Moq) -> anyhow::Result<Arc<Self>> {
        let (known, wanted) = (Mutex::default(), watch::Sender::default());
        let upstreams = Self { known, wanted };
        upstreams.change(upstreams.next(config)?);
        Ok(Arc::new(upstreams))
    }

    /// Those of a new configuration. What is said of one as before goes on as it is; the token of one that is replaced takes
    /// over from it (decision 149).
    pub(crate) fn next(&self, config: &config::Moq) -> anyhow::Result<Known> {
        let before = self.known().clone();
        let (trust, prefixes) = (config.upstream_trust.clone(), config.upstream_namespaces.clone());
        let mut next = Known { trust, prefixes, ..Known::default() };
        if config.upstreams.is_empty() {
            return Ok(next);
        }
        next.certificates = next.trust.certificates().context("moq.upstream_trust")?;
        let verifier = next.trust.verifier().context("moq.upstream_trust")?;
        let believed = next.trust == before.trust && next.certificates == before.certificates;
        let as_before = believed && next.prefixes == before.prefixes;
        for (name, upstream) in
            config::upstream_names(&config.upstreams).into_iter().zip(&config.upstreams)
        {
            let known = before.all.iter().find(|(known, _)| *known == name).map(|(_, known)| known);
            let uplink = match known {
                Some(known) if as_before && known.server == upstream.0 => known.clone(),
                _ => Arc::new(Uplink {
                    server: upstream.0.clone(),
                    trust: Trust::Verified(verifier.clone()),
                    prefixes: next.prefixes.clone(),
                    opens: opens(&upstream.0.path),
                    status: known.map(|known| known.status.clone()).unwrap_or_default(),
                }),
            };
            next.all.push((name, uplink));
        }
        Ok(next)
    }

    pub(crate) fn change(&self, next: Known) {
        let wanted = next.all.iter().map(|(_, uplink)| uplink.clone()).collect();
        *self.known() = next;
        self.wanted.send_replace(wanted);
    }

    /// For who connects to them.
    pub(crate) fn wanted(&self) -> watch::Receiver<Vec<Arc<Uplink>>> {
        self.wanted.subscribe()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How they stand.
    fn all(&self) -> Vec<(String, Arc<UplinkStatus>)> {
        let known = self.known();
        known.all.iter().map(|(name, uplink)| (name.clone(), uplink.status.clone())).collect()
    }
}

/// What the token in the path of an address is to open there, as it says itself.
fn opens(path: &str) -> Option<Namespace> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let jwt = query.split('&').find_map(|pair| pair.strip_prefix("jwt="));
    let input = access::subject(jwt.unwrap_or(path.trim_start_matches('/')))?;
    Namespace::new(["default".to_owned(), input]).ok()
}

/// A series for each upstream: they stand in the configuration.
pub(crate) fn upstream_metrics(out: &mut Metrics, upstreams: &Upstreams) {
    type Value = fn(&UplinkStatus) -> u64;
    let all = upstreams.all();
    let families: [(&str, &str, &str, Value); 7] = [
        ("moq_upstream_connected", "gauge", "Whether an upstream says what it has.", |s| {
            u64::from(s.connected.load(Ordering::Relaxed))
        }),
        ("moq_upstream_connections_total", "counter", "How often that began.", |s| {
            s.connections.load(Ordering::Relaxed)
        }),
        ("moq_upstream_namespaces", "gauge", "Namespaces that it tells of.", |s| {
            s.namespaces.load(Ordering::Relaxed) as u64
        }),
        ("moq_upstream_broadcasts", "gauge", "Those of them that are carried from it.", |s| {
            s.carried.load(Ordering::Relaxed) as u64
        }),
        (
            "moq_upstream_token_refused",
            "gauge",
            "Whether it says that the token in its address opens nothing.",
            |s| u64::from(s.token_refused.load(Ordering::Relaxed)),
        ),
        ("moq_upstream_subscriptions", "gauge", "Subscriptions of this node there.", |s| {
            s.subscriptions.load(Ordering::Relaxed) as u64
        }),
        (
            "moq_upstream_received_bytes_total",
            "counter",
            "Bytes that came from it, of all QUIC datagrams.",
            UplinkStatus::received_bytes,
        ),
    ];
    for (name, kind, help, value) in families {
        if all.is_empty() {
            continue;
        }
        out.head(name, kind, help);
        for (upstream, status) in &all {
            out.sample(name, &format!("upstream=\"{upstream}\""), value(status));
        }
    }
}

/// Rows of the API.
pub(crate) fn rows(traffic: &Traffic, which: MoqList) -> Vec<Value> {
    match which {
        MoqList::Sessions => traffic.list().iter().map(session).collect(),
        MoqList::Tracks => traffic.tracks().iter().map(track).collect(),
    }
}

fn session(session: &SessionReport) -> Value {
    let numbers = &session.numbers;
    let age_ms = u64::try_from(session.age.as_millis()).unwrap_or(u64::MAX);
    json!({
        "id": session.id,
        "peer": session.peer.to_string(),
        "draft": session.draft,
        "transport": carrier(session.over_web),
        "software": session.software,
        "since": date_time(now_ms().saturating_sub(age_ms)),
        "roundTripMs": millis(numbers.round_trip),
        "congestionWindowBytes": numbers.congestion_window,
        "bytesSent": numbers.bytes_sent,
        "bytesReceived": numbers.bytes_received,
        "packetsSent": numbers.packets_sent,
        "packetsLost": numbers.packets_lost,
        "tracks": session.flows.iter().map(flow).collect::<Vec<_>>(),
    })
}

fn flow(flow: &FlowReport) -> Value {
    let mut row = named(&flow.path, &flow.track);
    row["role"] = flow.role.name().into();
    row["seconds"] = (millis(flow.age) / 1_000.0).into();
    let sum = sum(&flow.sum);
    if let (Value::Object(row), Value::Object(sum)) = (&mut row, sum) {
        row.extend(sum);
    }
    row["newest"] = flow.newest.map_or(Value::Null, |newest| {
        json!({ "group": newest.group, "object": newest.object, "ageMs": millis(newest.age) })
    });
    row
}

fn track(track: &TrackReport) -> Value {
    let mut row = named(&track.path, &track.track);
    row["subscribers"] = track.subscribers.into();
    row["sent"] = sum(&track.sent);
    row["sent"]["subscriptions"] = track.sent.flows.into();
    row["fetched"] = sum(&track.fetched);
    row["fetched"]["fetches"] = track.fetched.flows.into();
    row["fetched"]["hits"] = track.fetched.hits.into();
    row["received"] = sum(&track.received);
    row
}

fn sum(sum: &Sum) -> Value {
    json!({
        "groups": sum.groups,
        "objects": sum.objects,
        "bytes": sum.bytes,
        "groupsSkipped": sum.groups_skipped,
        "streamsReset": sum.streams_reset,
    })
}

/// Names may hold anything: what is no text is replaced.
fn named(path: &spine::Path, track: &[u8]) -> Value {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let namespace: Vec<String> = path.fields().iter().map(|field| text(field)).collect();
    json!({ "namespace": namespace, "track": text(track) })
}

fn millis(duration: std::time::Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

fn carrier(web: bool) -> &'static str {
    if web { "webtransport" } else { "quic" }
}

/// Series by draft and role only: how many there are does not depend on who comes.
pub(crate) fn metrics(out: &mut Metrics, counters: &Counters) {
    let totals = counters.traffic.totals();
    let drafts: Vec<u8> = drafts().collect();
    sessions(out, &totals, &drafts);
    type Value = fn(&Sum) -> u64;
    let families: [(&str, &str, &[Role], Value); 7] = [
        ("moq_flows_total", "Subscriptions, fetches and publications.", &Role::ALL, |s| s.flows),
        ("moq_flow_groups_total", "Groups of which something went.", &Role::ALL, |s| s.groups),
        ("moq_flow_objects_total", "Objects that went.", &Role::ALL, |s| s.objects),
        ("moq_flow_bytes_total", "Bytes of their payloads.", &Role::ALL, |s| s.bytes),
        ("moq_flow_streams_reset_total", "Streams cut short.", &Role::ALL, |s| s.streams_reset),
        (
            "moq_flow_groups_skipped_total",
            "Groups that a subscriber was too slow for, of which nothing was sent.",
            &[Role::Subscription],
            |s| s.groups_skipped,
        ),
        ("moq_fetch_hits_total", "Fetches that memory alone could answer.", &[Role::Fetch], |s| {
            s.hits
        }),
    ];
    for (name, help, roles, value) in families {
        out.head(name, "counter", help);
        for (role, draft) in roles.iter().flat_map(|role| drafts.iter().map(move |d| (role, d))) {
            let sum = totals.by_role.get(&(*role, *draft)).copied().unwrap_or_default();
            let labels = format!("role=\"{}\",draft=\"{draft}\"", role.name());
            out.sample(name, &labels, value(&sum));
        }
    }
    let name = "moq_object_wait_seconds";
    let help = "From when an object came in, or was asked for, until QUIC had all of it.";
    out.head(name, "histogram", help);
    for draft in &drafts {
        let sum = totals.by_role.get(&(Role::Subscription, *draft)).copied().unwrap_or_default();
        let (labels, waits) = (format!("draft=\"{draft}\""), sum.waits);
        out.classes(name, &labels, &WAIT_MS, &waits.within, waits.sum.as_secs_f64());
    }
}

fn sessions(out: &mut Metrics, totals: &Totals, drafts: &[u8]) {
    let name = "moq_draft_sessions_open";
    out.head(name, "gauge", "MoQ sessions, by draft and by what carries them.");
    for (draft, web) in drafts.iter().flat_map(|draft| [(draft, false), (draft, true)]) {
        let labels = format!("draft=\"{draft}\",transport=\"{}\"", carrier(web));
        out.sample(name, &labels, totals.open.get(&(*draft, web)).copied().unwrap_or_default());
    }
    let over = |draft: &u8| totals.by_draft.get(draft).copied().unwrap_or_default();
    type Value = fn(&Over) -> u64;
    let families: BTreeMap<&str, (&str, Value)> = BTreeMap::from([
        ("moq_draft_packets_lost_total", ("Of these, lost.", (|o| o.packets_lost) as Value)),
        ("moq_draft_packets_sent_total", ("QUIC packets of MoQ sessions.", |o| o.packets_sent)),
        ("moq_draft_sessions_total", ("MoQ sessions that are over.", |o| o.sessions)),
    ]);
    for (name, (help, value)) in families {
        out.head(name, "counter", help);
        for draft in drafts {
            out.sample(name, &format!("draft=\"{draft}\""), value(&over(draft)));
        }
    }
    let name = "moq_round_trip_seconds";
    out.head(name, "histogram", "The last round trip of MoQ sessions that are over.");
    for draft in drafts {
        let (labels, trips) = (format!("draft=\"{draft}\""), over(draft).round_trips);
        out.classes(name, &labels, &WAIT_MS, &trips.within, trips.sum.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use io_moq::traffic::Newest;
    use io_moq::transport::PathNumbers;

    use super::*;

    #[test]
    fn a_session_reads_like_this() {
        let path = spine::Path::new(["default", "0123"]).unwrap();
        let told = session(&SessionReport {
            id: 7,
            peer: ([192, 0, 2, 1], 5000).into(),
            draft: 18,
            over_web: true,
            software: "player/1".into(),
            age: Duration::ZERO,
            numbers: PathNumbers { packets_lost: 3, ..PathNumbers::default() },
            flows: vec![FlowReport {
                role: Role::Subscription,
                path: path.clone(),
                track: Bytes::from_static(b"video\xff"),
                age: Duration::from_millis(1_500),
                sum: Sum { flows: 1, objects: 9, ..Sum::default() },
                newest: Some(Newest { group: 4, object: 2, age: Duration::from_micros(12_345) }),
            }],
        });
        assert_eq!(
            (&told["peer"], &told["transport"]),
            (&json!("192.0.2.1:5000"), &json!("webtransport"))
        );
        let expect = json!({
            "namespace": ["default", "0123"], "track": "video\u{fffd}", "role": "subscription", "seconds": 1.5,
            "groups": 0, "objects": 9, "bytes": 0, "groupsSkipped": 0, "streamsReset": 0,
            "newest": { "group": 4, "object": 2, "ageMs": 12.345 },
        });
        assert_eq!(told["tracks"][0], expect);
    }

    /// Flips `moq.upstream_trust`: what stands in the file is what is believed, under whichever name.
    #[test]
    fn an_upstream_whose_certificate_is_put_right_is_believed_after_a_reload() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("trust.pem");
        let write = || {
            let pair = rcgen::KeyPair::generate().unwrap();
            let params = rcgen::CertificateParams::new(["origin.example".to_owned()]).unwrap();
            std::fs::write(&file, params.self_signed(&pair).unwrap().pem()).unwrap();
        };
        write();
        let said = [
            r#"moq.upstreams=["moqt://origin.example"]"#.to_owned(),
            format!("moq.upstream_trust={}", file.display()),
        ];
        let layers = said.map(|said| config::Layer::setting(&said).unwrap());
        let said = config::load(&layers).unwrap().config.moq;
        let upstreams = Upstreams::new(&said).unwrap();
        let wanted = upstreams.wanted();
        let first = wanted.borrow()[0].clone();
        upstreams.change(upstreams.next(&said).unwrap());
        assert!(Arc::ptr_eq(&first, &wanted.borrow()[0]), "it goes on as it is");
        write();
        upstreams.change(upstreams.next(&said).unwrap());
        let next = wanted.borrow()[0].clone();
        assert!(!Arc::ptr_eq(&first, &next) && Arc::ptr_eq(&first.status, &next.status));
        std::fs::write(&file, "nothing").unwrap();
        assert!(upstreams.next(&said).is_err());
    }

    #[test]
    fn series_are_as_many_before_anybody_comes() {
        let counters = Counters::default();
        let mut out = Metrics::default();
        metrics(&mut out, &counters);
        let samples = out.text().lines().filter(|line| !line.starts_with('#')).count();
        let (drafts, classes) = (super::drafts().count(), WAIT_MS.len() + 3);
        // Open sessions twice; three counters; five families of three roles and two of one; two histograms.
        assert_eq!(samples, drafts * (2 + 3 + 5 * 3 + 2 + 2 * classes));
        for line in [
            "airwave_moq_flows_total{role=\"fetch\",draft=\"16\"} 0",
            "airwave_moq_object_wait_seconds_count{draft=\"22\"} 0",
        ] {
            assert!(out.text().lines().any(|told| told == line), "{line}");
        }
    }
}
