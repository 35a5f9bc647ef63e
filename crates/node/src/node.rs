//! A running node: how its parts are put together, what it does until it stops, and its end.

mod data_dir;
mod greeting;
mod listeners;
mod machine;
mod tasks;

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Instant;

use access::{Access, ApiTokens, Countries, Sessions};
use anyhow::{Context, Result};
use control::NodeId;
use deliver::{Library, Site};
use record::{Backlog, History};
use spine::Origin;
use store::Store;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::admin::Admin;
use crate::banner::Banner;
use crate::config::{Config, Listener, Loaded};
use crate::domain::{self, Domain};
use crate::encoder::Encoding;
use crate::files;
use crate::ingest::{Ingest, Settings, State, now_ms};
use crate::limits::STOP;
use crate::past::Past;
use crate::reload::{Holds, Reloadable, Report};
use crate::retention::retain;
use crate::{admin, descriptors, quic, tls, web};

pub(crate) use self::data_dir::{API_TOKEN, DATABASE, MASTER_KEY, MEDIA, open_control};
use self::data_dir::{api_token, lock, media_lost};
use self::greeting::own_inputs;
pub use self::listeners::Addresses;
pub(crate) use self::listeners::elsewhere;
use self::listeners::{address_of, bind, bind_known};
use self::machine::{cache_bytes, fill_random_bytes};
pub(crate) use self::machine::{fill_random, memory_bytes, random};
pub(crate) use self::tasks::Tasks;

/// What the key that signs links is made for; another name would end all links.
const PLAYBACK_TOKENS: &str = "playback tokens";

/// What a start is told besides its configuration.
#[derive(Debug, Default)]
pub struct Options {
    /// Publish this file to the node itself.
    pub demo: Option<PathBuf>,
    /// Write this file once everything listens.
    pub ready_file: Option<PathBuf>,
}

/// A running node.
pub struct Node {
    addresses: Addresses,
    origin: Origin,
    stop: watch::Sender<bool>,
    /// MoQ's listener lets its peers go before that; then it says that they are gone.
    leave: (watch::Sender<bool>, Option<watch::Receiver<bool>>),
    tasks: Tasks,
    reloadable: Reloadable,
    /// No other process uses the data directory while this one does.
    _lock: std::fs::File,
    /// Tasks that run until the node stops; the first one that ends by itself is a failure.
    services: tokio::sync::Mutex<JoinSet<&'static str>>,
}

impl Node {
    /// Starts a node. It serves when this returns.
    pub async fn start(config: Config, options: Options) -> Result<(Self, Banner)> {
        let dir = config.data.dir.clone();
        // Others of the machine have no business in it; one that is there already is as its owner wants it.
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&dir)
            .with_context(|| format!("can't make the data directory {}", dir.display()))?;
        let lock = lock(&dir)?;
        let control = Arc::new(open_control(&dir)?);
        let media = dir.join(MEDIA);
        let media_lost = media_lost(&control, &media).await?;
        let store = Store::open(&media)
            .with_context(|| format!("can't open the recordings in {}", media.display()))?;
        let seed = control.derive_key(PLAYBACK_TOKENS);
        let countries = countries(&config.access.country_database)?;
        let access = Arc::new(Access::load(control.clone(), &seed, countries).await?);
        access.sweep_links(now_ms()).await?;
        let history = Arc::new(History::new(control.clone(), Arc::new(store)));
        let token = match &config.api.token {
            Some(token) => token.expose().to_owned(),
            None => {
                let file = dir.join(API_TOKEN);
                files::word(&files::secret(&file, || api_token().into_bytes())?, &file)?
            }
        };
        let tokens = ApiTokens::new(control.clone(), &control::Secret::new(token.clone()));
        let sessions = Sessions::load(control.clone()).await?;
        let http = bind(config.http.listen, "http.listen").await?;
        let https = bind(config.https.listen, "https.listen").await?;
        let rtmp = bind(config.rtmp.listen, "rtmp.listen").await?;
        let rtmps = bind(config.rtmps.listen, "rtmps.listen").await?;
        let admin = bind(config.admin.listen, "admin.listen").await?;
        let domain = Domain::new(&config, &dir)?;
        let kept = domain.as_ref().and_then(|domain| domain.kept.as_ref());
        let [port_80, port_443] = match &domain {
            Some(_) => [
                bind_known(config.acme.http_listen, "acme.http_listen").await?,
                bind_known(config.acme.https_listen, "acme.https_listen").await?,
            ],
            None => [None, None],
        };
        let quic = quic::open(&config, kept)?;
        let acceptors = match (&https, &rtmps, &port_443) {
            (None, None, None) => None,
            _ => {
                let host = config.public_host().unwrap_or_default();
                let first = match kept {
                    Some(kept) => kept.certified.clone(),
                    None => Arc::new(tls::load(&config.tls, &dir, host)?),
                };
                let challenges = domain.as_ref().map(|d| d.challenges.clone()).unwrap_or_default();
                Some(tls::acceptors(first, challenges)?)
            }
        };
        let addresses = Addresses {
            version: env!("CARGO_PKG_VERSION"),
            account: "default",
            http: address_of(http.as_ref())?,
            https: address_of(https.as_ref())?,
            domain_http: address_of(port_80.as_ref())?,
            domain_https: address_of(port_443.as_ref())?,
            rtmp: address_of(rtmp.as_ref())?,
            rtmps: address_of(rtmps.as_ref())?,
            srt: None,
            quic: quic.as_ref().map(|quic| quic.address),
            webrtc: None,
            admin: address_of(admin.as_ref())?,
        };

        let node_id = NodeId::parse("local").context("the node's name")?;
        control
            .park_all(&node_id, now_ms(), config.hls.segment_ms)
            .await
            .context("can't take up the last run's state")?;
        let limits = spine::Limits {
            cache_bytes: cache_bytes(config.limits.cache_mb),
            broadcasts: config.limits.broadcasts as usize,
            ..spine::Limits::default()
        };
        let origin = Origin::new(limits);
        let departures: Arc<media::trace::Departures> = Arc::default();
        let counters =
            deliver::Counters { departures: departures.clone(), ..deliver::Counters::default() };
        let counters = Arc::new(counters);
        let levels = deliver::Levels::new(config.encode.ladder.0.clone(), config.encode.pictures);
        let library = Library::new(history.clone(), counters.clone(), levels.clone());
        let tasks = Tasks::default();
        let ingest = Arc::new(Ingest {
            control: control.clone(),
            history: history.clone(),
            backlog: Backlog::new(record::limits::NODE_BACKLOG_BYTES),
            space: Arc::default(),
            origin: origin.clone(),
            library: library.clone(),
            counters,
            chat: Arc::new(chat::Rooms::new(control.clone())),
            found: Arc::default(),
            tasks: tasks.clone(),
            node: node_id,
            over_moq: quic.is_some(),
            settings: RwLock::new(Settings::of(&config)),
            parked: Notify::new(),
            finished: Notify::new(),
            attempts: Arc::default(),
            state: Mutex::new(State::default()),
        });

        let (stop, stopped) = watch::channel(false);
        let mut services = JoinSet::new();
        let until_stop = |mut stopped: watch::Receiver<bool>| async move {
            let _ = stopped.wait_for(|stop| *stop).await;
        };
        let expire = ingest.clone().expire();
        let end = until_stop(stopped.clone());
        services.spawn(async move {
            tokio::select! { () = expire => {}, () = end => {} }
            "the clock of parked broadcasts"
        });
        let (expire, end) = (ingest.clone().expire_index(), until_stop(stopped.clone()));
        services.spawn(async move {
            tokio::select! { () = expire => {}, () = end => {} }
            "the clock of broadcasts that were left open"
        });
        let encoding = Encoding::new(&config, levels, &history);
        let (encode, end) = (encoding.clone().serve(), until_stop(stopped.clone()));
        services.spawn(async move {
            tokio::select! { () = encode => {}, () = end => {} }
            "the supervisor of encoders"
        });
        let (retention, kept) = watch::channel(config.retention);
        let (retain, end) = (
            retain(history.clone(), ingest.space.clone(), encoding.clone(), kept),
            until_stop(stopped.clone()),
        );
        services.spawn(async move {
            tokio::select! { () = retain => {}, () = end => {} }
            "retention"
        });
        let encoders: Arc<io_rtmp::listen::Counters> = Arc::default();
        let common = io_rtmp::listen::Common {
            door: ingest.door(),
            counters: encoders.clone(),
            half_open: io_rtmp::listen::HalfOpen::new(descriptors::half_open_encoders()),
            random: fill_random,
        };
        let rtmps_tls = acceptors.as_ref().map(|a| a.rtmps.clone());
        for (listener, tls, which) in
            [(rtmp, None, Listener::Rtmp), (rtmps, rtmps_tls, Listener::Rtmps)]
        {
            let Some(listener) = listener else { continue };
            let run = io_rtmp::listen::run(
                listener,
                tls,
                config.proxy_protocol.trusted_at(which),
                common.clone(),
                until_stop(stopped.clone()),
            );
            services.spawn(async move {
                run.await;
                "the RTMP listener"
            });
        }
        let greeted = quic.as_ref().map(quic::Quic::shown);
        let fingerprint = quic.as_ref().map(|quic| quic.fingerprint.clone()).unwrap_or_default();
        let moq = io_moq::listen::Counters { departures, ..io_moq::listen::Counters::default() };
        let moq = Arc::new(moq);
        // MoQ's peers are asked to leave while everything is still there for them.
        let (leave, leaving) = watch::channel(false);
        let (elsewhere, mut moq_left) = (io_moq::listen::Elsewhere::default(), None);
        elsewhere.set(config.moq.goaway_uri.clone());
        let upstreams = crate::moq::Upstreams::new(&config.moq)?;
        if let Some(quic) = quic {
            let renew = quic.renewal();
            let past = Past::new(library.clone());
            let answer = past.clone().run(origin.clone());
            let levels = deliver::tracks::serve(library.clone(), origin.clone());
            let service = io_moq::listen::Service {
                origin: origin.clone(),
                door: ingest.door(),
                judge: quic::judge(access.clone(), ingest.attempts.clone()),
                audience: quic::audience(library.clone()),
                past: Arc::new(move |path| {
                    let past = past.clone();
                    Box::pin(async move { past.find(path).await })
                }),
                guests: quic::guests(ingest.chat.clone()),
                open_namespaces: config.moq.open_namespaces.clone(),
                connections: quic::connections(&config),
                proxies: quic::proxies(&config),
                half_open_unproved: io_moq::limits::HALF_OPEN_UNPROVED_MAX,
                elsewhere: elsewhere.clone(),
                logs: crate::moq::logs(&config.moq)?,
                node: machine::node_number(),
                uplinks: upstreams.wanted(),
                counters: moq.clone(),
            };
            let listen = io_moq::listen::run(quic.endpoint, service, until_stop(leaving.clone()));
            let (gone, left) = watch::channel(false);
            moq_left = Some(left);
            services.spawn(async move {
                tokio::select! {
                    () = listen => {}, () = renew => {}, () = answer => {}, () = levels => {}
                }
                let _ = gone.send(true);
                "the QUIC listener"
            });
        }
        let inputs = own_inputs(&control, options.demo.as_deref()).await?;
        let counters: Arc<web::Counters> = Arc::default();
        let common = web::Common::of(&config, counters.clone());
        let certificate = acceptors.as_ref().map(|a| a.certificate.clone());
        if let Some(listener) = admin {
            let router = admin::router(Admin {
                started: Instant::now(),
                control: control.clone(),
                origin: origin.clone(),
                library: library.clone(),
                delivery: ingest.counters.clone(),
                encoders: encoders.clone(),
                moq: moq.clone(),
                upstreams: upstreams.clone(),
                web: counters.clone(),
                certificate: certificate.clone(),
                domain: domain.as_ref().map(|domain| domain.status.clone()),
                panics: tasks.panics.clone(),
                found: ingest.found.clone(),
                backlog: ingest.backlog.clone(),
                space: ingest.space.clone(),
                history: history.clone(),
                encoding: encoding.clone(),
                chat: ingest.chat.clone(),
                media_lost,
            });
            let stop = until_stop(stopped.clone());
            let routers = web::Routers::one(router);
            let (balancers, common) = (Arc::default(), web::Common::alone());
            let front = web::Front { listener, tls: None, routers, balancers, common };
            let serve = web::serve(front, stop);
            services.spawn(async move {
                serve.await;
                "the admin listener"
            });
        }
        let public_host = config.public_host().map(str::to_owned);
        let site = Site {
            library: library.clone(),
            access: access.clone(),
            chat: ingest.chat.clone(),
            rtmp_url: None,
            public_host: public_host.clone(),
            public_url: config.public_url().map(Arc::from),
            clip_max: config.clips.max_s,
            scheme: "http",
            moq: addresses.quic.map(|address| deliver::Moq {
                port: address.port(),
                account: "default",
                certificate: {
                    let fingerprint = fingerprint.clone();
                    Arc::new(move || fingerprint.hex())
                },
            }),
        };
        let api = api::Api {
            control: control.clone(),
            access: access.clone(),
            chat: ingest.chat.clone(),
            history: history.clone(),
            tokens: Arc::new(tokens),
            sessions: Arc::new(sessions),
            rates: Arc::default(),
            origin: origin.clone(),
            rtmp_port: addresses.rtmp.map(|a| a.port()),
            rtmps_port: addresses.rtmps.map(|a| a.port()),
            quic_port: addresses.quic.map(|a| a.port()),
            space: ingest.space.clone(),
            clip_video_max_s: config.clips.video_max_s,
            public_host,
            public_url: config.public_url().map(str::to_owned),
            allow_plain: config.http.allow_plain_api,
            tls: false,
            random: fill_random_bytes,
            health: {
                let ingest = ingest.clone();
                Arc::new(move |input| ingest.health(input))
            },
            playback: {
                let library = library.clone();
                Arc::new(move |input| {
                    library.of_input(input.as_str()).map(|shelf| shelf.playing(Instant::now()))
                })
            },
            moq: {
                let traffic = moq.traffic.clone();
                Arc::new(move |which| crate::moq::rows(&traffic, which))
            },
            dismiss: {
                let ingest = ingest.clone();
                Arc::new(move |input| {
                    let ingest = ingest.clone();
                    Box::pin(async move { ingest.dismiss(&input).await })
                })
            },
            pictures: {
                let library = library.clone();
                Arc::new(move || library.levels().pictures().is_some())
            },
            levels: {
                let encoding = encoding.clone();
                Arc::new(move |own| encoding.complaint_about(own))
            },
        };
        let https_tls = acceptors.as_ref().map(|a| a.https.clone());
        let challenges = domain.as_ref().map(|domain| domain.challenges.clone());
        let has_names = domain.is_some();
        let router = |secure: bool, allow_plain: bool| {
            // Over TLS a token can't be overheard; what is behind a trusted proxy is its operator's affair.
            let api = api::Api { allow_plain: secure || allow_plain, tls: secure, ..api.clone() };
            let scheme = if secure { "https" } else { "http" };
            let router = deliver::router(Site { scheme, ..site.clone() })
                .merge(api::router(api))
                .merge(quic::router(fingerprint.clone()));
            let router = match secure && has_names {
                true => router.layer(axum::middleware::map_response(domain::stay_secure)),
                false => router,
            };
            match &challenges {
                // Who hands on what comes to port 80 may do so to any of our ports.
                Some(challenges) => router.merge(domain::proofs(challenges.clone())),
                None => router,
            }
        };
        let secure = router(true, true);
        let in_clear = web::Routers {
            direct: router(false, config.http.allow_plain_api),
            proxied: router(false, true),
            proxied_secure: secure.clone(),
        };
        let to_https = challenges.as_ref().map(|challenges| {
            let port = addresses.domain_https.or(addresses.https).map(|a| a.port());
            domain::to_https(challenges.clone(), config.tls.domain.clone(), port)
        });
        for (listener, tls, routers, which) in [
            (http, None, in_clear, Listener::Http),
            (https, https_tls.clone(), web::Routers::one(secure.clone()), Listener::Https),
            (port_80, None, web::Routers::one(to_https.unwrap_or_default()), Listener::Http),
            (port_443, https_tls, web::Routers::one(secure), Listener::Https),
        ] {
            let Some(listener) = listener else { continue };
            let balancers = Arc::new(config.proxy_protocol.trusted_at(which));
            let front = web::Front { listener, tls, routers, balancers, common: common.clone() };
            let serve = web::serve(front, until_stop(stopped.clone()));
            services.spawn(async move {
                serve.await;
                "the HTTP listener"
            });
        }
        let certificate_words = domain.as_ref().map(Domain::words);
        if let Some(domain) = domain {
            let run = domain.run(certificate.clone(), greeted.clone());
            let end = until_stop(stopped.clone());
            services.spawn(async move {
                tokio::select! { () = run => {}, () = end => {} }
                "the renewal of certificates"
            });
        }
        let services = services.into();
        let reloadable = Reloadable {
            upstreams,
            dir,
            certificate,
            quic: greeted,
            ingest: ingest.clone(),
            retention,
            elsewhere,
            access: access.clone(),
        };
        let leave = (leave, moq_left);
        let node =
            Self { addresses, origin, stop, leave, tasks, reloadable, _lock: lock, services };
        let mut banner = node.begin(&config, &options, &control, inputs, &token).await?;
        banner.certificate = certificate_words;
        if let Some(path) = &options.ready_file {
            let mut json = serde_json::to_vec(&node.addresses)?;
            json.push(b'\n');
            files::write_atomically(path, &json)?;
        }
        Ok((node, banner))
    }

    /// Where it listens.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Takes what can be taken of a new configuration; an error changes nothing.
    pub fn reload(&self, holds: &Holds, new: &Loaded) -> Result<Report> {
        let report = self.reloadable.reload(holds, new)?;
        if let Some(entry) = report.audit_entry(now_ms()) {
            let control = self.reloadable.ingest.control.clone();
            self.tasks.spawn(async move {
                if let Err(error) = control.record_change(entry).await {
                    tracing::error!(%error, "a reload is missing in the audit log");
                }
            });
        }
        Ok(report)
    }

    /// Waits until something that should run for ever has ended; says what.
    pub async fn failed(&self) -> String {
        let mut services = self.services.lock().await;
        match services.join_next().await {
            Some(Ok(what)) => format!("{what} has ended"),
            Some(Err(error)) => format!("a service failed: {error}"),
            None => std::future::pending().await,
        }
    }

    /// Ends everything: encoders are let go, broadcasts end, answers go out; ten seconds at most. Before that MoQ's peers go
    /// elsewhere, if they are told where to ([`io_moq::limits::DRAIN`]).
    pub async fn stop(&self) {
        let (leave, left) = &self.leave;
        let _ = leave.send(true);
        if let Some(left) = left {
            let gone = async { left.clone().wait_for(|left| *left).await.is_ok() };
            let _ = tokio::time::timeout(STOP, gone).await;
        }
        // First, so that who publishes leaves for this and not with a lost connection.
        self.origin.shutdown();
        let _ = self.stop.send(true);
        let drained = async {
            self.tasks.join().await;
            let mut services = self.services.lock().await;
            while services.join_next().await.is_some() {}
        };
        let _ = tokio::time::timeout(STOP, drained).await;
    }
}

/// The database of countries, if one is named.
pub(crate) fn countries(database: &str) -> Result<Option<Countries>> {
    if database.is_empty() {
        return Ok(None);
    }
    Countries::open(Path::new(database)).context("access.country_database").map(Some)
}
