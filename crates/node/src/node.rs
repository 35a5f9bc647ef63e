//! A running node: its listeners, its tasks, its end.

use std::future::Future;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use access::{Access, ApiTokens, Countries, Sessions};
use anyhow::{Context, Result};
use control::{Control, InputSettings, InputUid, MasterKey, Migrated, NodeId, Page};
use deliver::{Library, Site};
use record::{Backlog, History};
use rtmp::client::Target;
use serde::Serialize;
use spine::Origin;
use store::Store;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::admin::Admin;
use crate::attempts::Attempts;
use crate::banner::Banner;
use crate::config::{Config, Listen, Listener, Loaded};
use crate::demo::Clip;
use crate::domain::{self, Domain};
use crate::encoder::Encoding;
use crate::files;
use crate::ingest::{Ingest, Settings, State, now_ms};
use crate::limits::STOP;
use crate::past::Past;
use crate::reload::{Holds, Reloadable, Report};
use crate::retention::retain;
use crate::{admin, quic, tls, web};

/// The file of the API token in the data directory.
pub(crate) const API_TOKEN: &str = "api-token";
pub(crate) const MASTER_KEY: &str = "master.key";
/// What the key that signs links is made for; another name would end all links.
const PLAYBACK_TOKENS: &str = "playback tokens";
pub(crate) const DATABASE: &str = "airwave.db";
pub(crate) const MEDIA: &str = "media";
const LOCK: &str = "lock";

/// What a start is told besides its configuration.
#[derive(Debug, Default)]
pub struct Options {
    /// Publish this file to the node itself.
    pub demo: Option<PathBuf>,
    /// Write this file once everything listens.
    pub ready_file: Option<PathBuf>,
}

/// Where a node listens, as its ready file says. None where a listener is off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Addresses {
    /// The program's version.
    pub version: &'static str,
    /// The account's id.
    pub account: &'static str,
    /// HTTP.
    pub http: Option<SocketAddr>,
    /// HTTPS.
    pub https: Option<SocketAddr>,
    /// Port 80 of `tls.domain`: proofs of the names, and the way to HTTPS.
    pub domain_http: Option<SocketAddr>,
    /// Port 443 of `tls.domain`: HTTPS.
    pub domain_https: Option<SocketAddr>,
    /// RTMP.
    pub rtmp: Option<SocketAddr>,
    /// RTMPS.
    pub rtmps: Option<SocketAddr>,
    /// SRT.
    pub srt: Option<SocketAddr>,
    /// QUIC.
    pub quic: Option<SocketAddr>,
    /// WebRTC media.
    pub webrtc: Option<SocketAddr>,
    /// Metrics and health.
    pub admin: Option<SocketAddr>,
}

impl Addresses {
    /// In words, for a log.
    pub(crate) fn listeners(&self) -> String {
        let all = [
            ("HTTP", self.http),
            ("HTTPS", self.https),
            ("RTMP", self.rtmp),
            ("RTMPS", self.rtmps),
            ("QUIC", self.quic),
            ("metrics", self.admin),
        ];
        let on = all.into_iter().filter_map(|(name, at)| Some(format!("{name} on {}", at?)));
        on.collect::<Vec<_>>().join(", ")
    }
}

/// The tasks of a node. A panic ends one task, is counted, and no more.
#[derive(Clone, Default)]
pub(crate) struct Tasks {
    set: Arc<Mutex<JoinSet<()>>>,
    panics: Arc<AtomicU64>,
}

impl Tasks {
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        set.spawn(task);
        while let Some(ended) = set.try_join_next() {
            if let Err(error) = ended
                && error.is_panic()
            {
                self.panics.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, "a task panicked");
            }
        }
    }

    async fn join(&self) {
        let mut set = std::mem::take(&mut *self.set.lock().unwrap_or_else(PoisonError::into_inner));
        while set.join_next().await.is_some() {}
    }
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
        std::fs::create_dir_all(&dir)
            .with_context(|| format!("can't make the data directory {}", dir.display()))?;
        let lock = lock(&dir)?;
        let control = Arc::new(open_control(&dir)?);
        let media = dir.join(MEDIA);
        let store = Store::open(&media)
            .with_context(|| format!("can't open the recordings in {}", media.display()))?;
        let seed = control.derive_key(PLAYBACK_TOKENS);
        let countries = countries(&config.access.country_database)?;
        let access = Arc::new(Access::load(control.clone(), &seed, countries).await?);
        access.sweep_links(now_ms()).await?;
        let history = Arc::new(History::new(control.clone(), Arc::new(store)));
        let token = dir.join(API_TOKEN);
        let token = files::word(&files::secret(&token, || api_token().into_bytes())?, &token)?;
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
        control.park_all(&node_id, now_ms()).await.context("can't take up the last run's state")?;
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
            holes: Arc::default(),
            tasks: tasks.clone(),
            node: node_id,
            over_moq: quic.is_some(),
            settings: RwLock::new(Settings::of(&config)),
            parked: Notify::new(),
            finished: Notify::new(),
            attempts: Attempts::default(),
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
        let rtmps_tls = acceptors.as_ref().map(|a| a.rtmps.clone());
        for (listener, tls, which) in
            [(rtmp, None, Listener::Rtmp), (rtmps, rtmps_tls, Listener::Rtmps)]
        {
            let Some(listener) = listener else { continue };
            let run = io_rtmp::listen::run(
                listener,
                tls,
                config.proxy_protocol.trusted_at(which),
                ingest.door(),
                encoders.clone(),
                fill_random,
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
        if let Some(quic) = quic {
            let renew = quic.renewal();
            let past = Past::new(library.clone());
            let answer = past.clone().run(origin.clone());
            let levels = deliver::tracks::serve(library.clone(), origin.clone());
            let service = io_moq::listen::Service {
                origin: origin.clone(),
                door: ingest.door(),
                gate: quic::gate(access.clone()),
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
        let inputs = own_inputs(&control, options.demo.is_some()).await?;
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
                web: counters.clone(),
                certificate: certificate.clone(),
                domain: domain.as_ref().map(|domain| domain.status.clone()),
                panics: tasks.panics.clone(),
                holes: ingest.holes.clone(),
                backlog: ingest.backlog.clone(),
                space: ingest.space.clone(),
                history: history.clone(),
                encoding: encoding.clone(),
                chat: ingest.chat.clone(),
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
            dir,
            certificate,
            quic: greeted,
            ingest: ingest.clone(),
            retention,
            elsewhere,
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

    /// The demo, and what there is to say.
    async fn begin(
        &self,
        config: &Config,
        options: &Options,
        control: &Control,
        inputs: OwnInputs,
        token: &str,
    ) -> Result<Banner> {
        let host = |address: SocketAddr| match config.public_host() {
            None if address.ip().is_unspecified() => format!("127.0.0.1:{}", address.port()),
            None => address.to_string(),
            Some(name) => format!("{name}:{}", address.port()),
        };
        let by_name = self.addresses.domain_https.map(|a| match (config.public_host(), a.port()) {
            (Some(name), 443) => format!("https://{name}/"),
            _ => format!("https://{}/", host(a)),
        });
        let in_clear = || self.addresses.http.map(|a| format!("http://{}/", host(a)));
        let page = by_name.clone().or_else(in_clear);
        let watch = |input: &InputUid| {
            page.as_ref().map(|p| format!("{p}{input}/watch")).unwrap_or_default()
        };
        let mut banner = Banner {
            version: self.addresses.version,
            // The page takes the token out of the address bar; it is shown on a terminal only.
            page: page.as_ref().map(|page| format!("{page}#token={}", token.trim())),
            secure_page: self
                .addresses
                .https
                .filter(|a| !a.ip().is_loopback() && by_name.is_none())
                .map(|a| format!("https://{}/", host(a))),
            certificate: None,
            demo: None,
            moq: None,
            encoder: None,
            token_file: config.data.dir.join(API_TOKEN).display().to_string(),
        };
        let Some(rtmp) = self.addresses.rtmp else { return Ok(banner) };
        if let (Some(path), Some(input)) = (&options.demo, &inputs.demo) {
            let clip = Clip::open(path).await?;
            banner.demo = Some((watch(input), clip.credit.clone()));
            let moq = |quic| format!("moqt://{}/#msf:default-{input}", host(quic));
            banner.moq = self.addresses.quic.map(moq);
            let keys = control.input_keys(input).await?.context("the demo's input is gone")?;
            let local = match rtmp {
                all if all.ip().is_unspecified() => match all {
                    SocketAddr::V6(_) => SocketAddr::new(Ipv6Addr::LOCALHOST.into(), all.port()),
                    SocketAddr::V4(_) => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), all.port()),
                },
                one => one,
            };
            let url = format!("rtmp://{local}/live/{}", keys.stream_key.expose());
            let target = Target::parse(&url).context("the demo's address")?;
            let mut stopped = self.stop.subscribe();
            self.tasks.spawn(async move {
                tokio::select! {
                    () = clip.publish(target, fill_random) => {}
                    _ = stopped.wait_for(|stop| *stop) => {}
                }
            });
        }
        let keys = control.input_keys(&inputs.first).await?;
        banner.encoder = keys.map(|keys| {
            let server = format!("rtmp://{}/live", host(rtmp));
            (server, keys.stream_key.expose().to_owned(), watch(&inputs.first))
        });
        Ok(banner)
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
        let _ = self.stop.send(true);
        let drained = async {
            self.origin.shutdown();
            self.tasks.join().await;
            let mut services = self.services.lock().await;
            while services.join_next().await.is_some() {}
        };
        let _ = tokio::time::timeout(STOP, drained).await;
    }
}

/// The inputs that a node has from its first start: one to go live with, one for the demo.
struct OwnInputs {
    first: InputUid,
    demo: Option<InputUid>,
}

const DEMO_NAME: &str = "Demo";
const FIRST_NAME: &str = "My live input";

async fn own_inputs(control: &Control, demo: bool) -> Result<OwnInputs> {
    // They are the oldest ones, unless their owner has deleted them.
    let page = Page { newest_first: false, rows: 10, ..Page::default() };
    let oldest = control.inputs(page).await.context("can't read the live inputs")?.rows;
    let name = |input: &control::Input| {
        input.settings.meta.get("name").and_then(|n| n.as_str()).map(str::to_owned)
    };
    let first = match oldest.iter().find(|i| name(i).as_deref() != Some(DEMO_NAME)) {
        Some(input) => input.uid.clone(),
        None => create(control, FIRST_NAME).await?,
    };
    let demo = match (demo, oldest.iter().find(|i| name(i).as_deref() == Some(DEMO_NAME))) {
        (false, _) => None,
        (true, Some(input)) => Some(input.uid.clone()),
        (true, None) => Some(create(control, DEMO_NAME).await?),
    };
    Ok(OwnInputs { first, demo })
}

async fn create(control: &Control, name: &str) -> Result<InputUid> {
    let mut settings = InputSettings::default();
    settings.meta.insert("name".to_owned(), name.into());
    let uid = InputUid::from_random(random());
    Ok(control.create_input(uid, settings, random(), now_ms()).await?.uid)
}

/// One process for each data directory. The lock goes with the process, however it ends.
fn lock(dir: &Path) -> Result<std::fs::File> {
    let path = dir.join(LOCK);
    let file = std::fs::File::options().create(true).truncate(false).write(true).open(&path);
    let file =
        file.with_context(|| format!("can't write to the data directory {}", dir.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => anyhow::bail!(
            "another Airwave uses the data directory {}: stop it, or choose another one with --data",
            dir.display()
        ),
        Err(std::fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("can't lock {}", path.display()))
        }
    }
}

fn countries(database: &str) -> Result<Option<Countries>> {
    if database.is_empty() {
        return Ok(None);
    }
    Countries::open(Path::new(database)).context("access.country_database").map(Some)
}

pub(crate) fn open_control(dir: &Path) -> Result<Control> {
    // Another key than the one that it was written with reads nothing.
    let lost = dir.join(DATABASE).exists() && !dir.join(MASTER_KEY).exists();
    anyhow::ensure!(
        !lost,
        "{} is missing: the keys in {} are encrypted with it. Put it back, from a backup if need be",
        dir.join(MASTER_KEY).display(),
        dir.join(DATABASE).display()
    );
    let key = files::secret(&dir.join(MASTER_KEY), || random::<32>().to_vec())?;
    let key: [u8; 32] = key.try_into().ok().with_context(|| {
        format!("{} must hold exactly 32 bytes", dir.join(MASTER_KEY).display())
    })?;
    let path = dir.join(DATABASE);
    let control = Control::open(&path, MasterKey::new(&key))
        .with_context(|| format!("can't open {}", path.display()))?;
    if let Some(Migrated { from, to, took }) = control.migrated() {
        tracing::info!(
            from,
            to,
            ?took,
            "the data directory was of an older format: an older Airwave refuses it now"
        );
    }
    Ok(control)
}

/// `aw_` makes it easy to find for scanners that look for leaked secrets.
fn api_token() -> String {
    let secret = control::Secret::from_random(random());
    format!("aw_{}\n", secret.expose())
}

/// Port 80 or 443, where something else may listen already, and which not everybody may have.
async fn bind_known(listen: Listen, key: &str) -> Result<Option<TcpListener>> {
    use std::io::ErrorKind::{AddrInUse, PermissionDenied};
    bind(listen, key).await.map_err(|error| {
        let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        match kind {
            Some(PermissionDenied) => error.context(format!(
                "ports below 1024 are for programs with the right to them: start Airwave as a service with \
                 AmbientCapabilities=CAP_NET_BIND_SERVICE, or once run setcap cap_net_bind_service=+ep on the program, \
                 or hand on the port to another one and set {key}, or do without: {key} = \"off\""
            )),
            Some(AddrInUse) => error.context(format!(
                "another program listens there, a web server perhaps: stop it, or let it hand on what comes and set \
                 {key} = \"off\" (docs/https.md says how)"
            )),
            _ => error,
        }
    })
}

async fn bind(listen: Listen, key: &str) -> Result<Option<TcpListener>> {
    let Some(address) = listen.0 else { return Ok(None) };
    let bound = match TcpListener::bind(address).await {
        // A machine without IPv6: all of IPv4 is what was meant.
        Err(_) if address.ip().is_unspecified() && address.is_ipv6() => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        bound => bound,
    };
    bound.map(Some).with_context(|| format!("can't listen on {address}: {}", elsewhere(key)))
}

/// What to do where a listener can't be. `make run` takes variables, and no flags.
pub(crate) fn elsewhere(key: &str) -> String {
    let variable = key.to_ascii_uppercase().replace('.', "__");
    format!(
        "choose another address with --set {key}=IP:PORT, or with AIRWAVE__{variable}=IP:PORT in the environment"
    )
}

fn address_of(listener: Option<&TcpListener>) -> Result<Option<SocketAddr>> {
    Ok(listener.map(TcpListener::local_addr).transpose()?)
}

/// A quarter of the machine's memory, unless the configuration says.
fn cache_bytes(mib: u32) -> usize {
    if mib > 0 {
        return mib as usize * (1 << 20);
    }
    memory_bytes().map_or(1 << 30, |bytes| bytes as usize / 4)
}

/// The machine's memory.
pub(crate) fn memory_bytes() -> Option<u64> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let total = info.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    let kib: u64 = total.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1_024)
}

/// Random bytes from the system's generator.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    fill_random_bytes(&mut bytes);
    bytes
}

pub(crate) fn fill_random(bytes: &mut [u8; 32]) {
    fill_random_bytes(bytes);
}

fn fill_random_bytes(bytes: &mut [u8]) {
    // Without random numbers no key is a secret: better no server than that one.
    if aws_lc_rs::rand::fill(bytes).is_err() {
        std::process::abort();
    }
}
