//! Changing the configuration of a running node: what follows at once, and what needs a restart.

use std::path::PathBuf;
use std::sync::Arc;

use access::Access;
use anyhow::Result;
use control::AuditEntry;
use tokio::sync::watch;

use crate::config::{self, Loaded};
use crate::ingest::{Ingest, Settings};
use crate::moq;
use crate::node::countries;
use crate::quic;
use crate::tls::{self, Certificate};

/// The parts of a running node that follow the configuration.
pub(crate) struct Reloadable {
    /// Where a self-signed certificate is kept, and the name that it is for.
    pub(crate) dir: PathBuf,
    pub(crate) certificate: Option<Arc<Certificate>>,
    pub(crate) quic: Option<quic::Shown>,
    pub(crate) ingest: Arc<Ingest>,
    pub(crate) retention: watch::Sender<config::Retention>,
    pub(crate) elsewhere: io_moq::listen::Elsewhere,
    pub(crate) upstreams: Arc<moq::Upstreams>,
    pub(crate) access: Arc<Access>,
}

/// What a running node goes by.
pub struct Holds {
    /// What it was started with: of this are the keys that need a restart.
    pub started: Loaded,
    /// What was read last: of this are the others.
    pub now: Loaded,
}

/// What came of a reload.
#[derive(Debug, PartialEq, Eq)]
pub struct Report {
    /// Keys whose new values hold from now on.
    pub changed: Vec<String>,
    /// Keys whose values hold after a restart, of this reload and of those before.
    pub restart: Vec<String>,
    /// Keys that this reload has read otherwise than the one before.
    read: Vec<String>,
}

impl Report {
    /// For the audit log: who may send the signal has the machine. None if nothing was changed.
    pub(crate) fn audit_entry(&self, now_ms: u64) -> Option<AuditEntry> {
        let fields = self.read.clone();
        (!fields.is_empty()).then(|| AuditEntry {
            at_ms: now_ms,
            actor: access::Principal::ROOT.to_owned(),
            actor_name: "who may signal the server".to_owned(),
            via: "configuration".to_owned(),
            action: "reload".to_owned(),
            kind: "configuration".to_owned(),
            fields,
            status: 200,
            ..AuditEntry::default()
        })
    }
}

/// How a change of a key reaches a running node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// At once: for what happens from now on. Broadcasts on the air go on as they began.
    AtOnce,
    /// Sockets are bound, memory is laid out, and routers are built once.
    Restart,
}

fn reach(key: &str) -> Option<Reach> {
    match key {
        "tls.certificate" | "tls.key" => Some(Reach::AtOnce),
        "ingest.reconnect_s" | "ingest.takeover" => Some(Reach::AtOnce),
        "hls.part_ms" | "hls.segment_ms" => Some(Reach::AtOnce),
        "retention.max_age_days"
        | "retention.max_input_gb"
        | "retention.max_total_gb"
        | "retention.min_free_gb" => Some(Reach::AtOnce),
        "limits.recorder_patience_s" | "log.level" | "moq.goaway_uri" => Some(Reach::AtOnce),
        "moq.upstreams" | "moq.upstream_trust" | "moq.upstream_namespaces" => Some(Reach::AtOnce),
        "data.dir"
        | "api.token"
        | "http.listen"
        | "https.listen"
        | "rtmp.listen"
        | "rtmps.listen"
        | "quic.listen"
        | "moq.open_namespaces"
        | "moq.drafts"
        | "moq.qlog_dir"
        | "moq.qlog_peers"
        | "admin.listen" => Some(Reach::Restart),
        "http.trusted_proxies"
        | "http.checking_caches"
        | "proxy_protocol.trusted"
        | "proxy_protocol.listeners" => Some(Reach::Restart),
        "tls.domain" | "acme.directory" | "acme.contact" | "acme.authority" | "acme.challenge"
        | "acme.eab_kid" | "acme.eab_hmac_key" | "acme.dns_hook" | "acme.http_listen"
        | "acme.https_listen" => Some(Reach::Restart),
        "limits.http_connections_per_address" | "limits.moq_connections_per_address" => {
            Some(Reach::Restart)
        }
        "http.public_url" | "clips.max_s" | "clips.video_max_s" => Some(Reach::Restart),
        "access.country_database" => Some(Reach::AtOnce),
        "http.allow_plain_api" | "public.host" => Some(Reach::Restart),
        "encode.ladder" | "encode.pictures" | "encode.program" | "encode.workers"
        | "encode.encoder" | "encode.cache_gb" | "encode.linger_s" => Some(Reach::Restart),
        "limits.cache_mb" | "limits.broadcasts" | "log.format" => Some(Reach::Restart),
        _ => None,
    }
}

impl Reloadable {
    /// Takes what can be taken of `new`. An error changes nothing.
    pub(crate) fn reload(&self, holds: &Holds, new: &Loaded) -> Result<Report> {
        let Holds { started, now } = holds;
        let of = |keys: Vec<String>, wanted| {
            keys.into_iter().filter(|key| reach(key) == Some(wanted)).collect()
        };
        let read = now.differing(new);
        let changed = of(read.clone(), Reach::AtOnce);
        let restart = of(started.differing(new), Reach::Restart);
        let config = &new.config;
        let upstreams = self.upstreams.next(&config.moq)?;
        // It may have new contents under its old name, too.
        let countries = countries(&config.access.country_database)?;
        // The files may have new contents under their old names: a renewed certificate. One for names is renewed by itself.
        if started.config.tls.domain.is_empty() {
            let host = started.config.public_host().unwrap_or_default();
            let new = match &self.certificate {
                Some(used) => Some((used, Arc::new(tls::load(&config.tls, &self.dir, host)?))),
                None => None,
            };
            // It reads the files again, which may be others by now.
            if let Some(quic) = &self.quic {
                quic.replace(config)?;
            }
            if let Some((used, new)) = new {
                used.replace(new);
            }
        }
        self.ingest.change(Settings::of(config));
        self.retention.send_replace(config.retention);
        self.elsewhere.set(config.moq.goaway_uri.clone());
        self.upstreams.change(upstreams);
        self.access.set_countries(countries);
        Ok(Report { changed, restart, read })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_every_key_it_is_known_how_a_change_reaches_a_running_node() {
        for key in config::keys() {
            assert!(reach(&key).is_some(), "{key}: does it need a restart? Say so here");
        }
    }
}
