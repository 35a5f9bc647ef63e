//! The configuration: what a user wrote, checked once, in a type that can only hold legal values.
//!
//! Built-in defaults < TOML file < environment `AIRWAVE__SECTION__KEY` < `--set section.key=value`.
//! Unknown keys are errors; every error is told at once, with its key and where it came from.

mod api;
mod layers;
mod named;
mod outside;
mod upstream;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use proxy::network::Networks;
use serde::Deserialize;
use tracing_subscriber::EnvFilter;

pub use api::Api;
pub(crate) use api::TOKEN_MIN;
pub use layers::{ConfigError, Layer, Loaded, SAMPLE, keys, load};
pub use outside::{Acme, Challenge, Listener, ProxyProtocol, Tls};
pub use upstream::Upstream;
pub(crate) use upstream::names as upstream_names;

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where everything is kept.
    pub data: Data,
    /// Who may use the API.
    pub api: Api,
    /// HTTP.
    pub http: Http,
    /// HTTPS.
    pub https: Https,
    /// RTMP.
    pub rtmp: Rtmp,
    /// RTMP over TLS.
    pub rtmps: Rtmp,
    /// QUIC.
    pub quic: Quic,
    /// MoQ.
    pub moq: Moq,
    /// The certificate of HTTPS and RTMPS.
    pub tls: Tls,
    /// Who signs the certificate for `tls.domain`.
    pub acme: Acme,
    /// Load balancers in front of connections.
    pub proxy_protocol: ProxyProtocol,
    /// Metrics and health.
    pub admin: Admin,
    /// Names in the URLs that are handed out.
    pub public: Public,
    /// Who may watch.
    pub access: AccessRules,
    /// Encoders that come, go and come back.
    pub ingest: Ingest,
    /// Segments and parts.
    pub hls: Hls,
    /// Clips.
    pub clips: Clips,
    /// Levels of quality.
    pub encode: Encode,
    /// How long recordings are kept.
    pub retention: Retention,
    /// Bounds.
    pub limits: Limits,
    /// The log.
    pub log: Log,
}

/// `[data]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// The data directory; made if it is not there.
    #[serde(deserialize_with = "folder")]
    pub dir: PathBuf,
}

/// `[http]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Where to listen; `"off"` for not at all.
    pub listen: Listen,
    /// The API in clear also where it can be overheard.
    pub allow_plain_api: bool,
    /// Whose `X-Forwarded-For` is believed.
    #[serde(deserialize_with = "outside::networks")]
    pub trusted_proxies: Networks,
    /// Whose `Airwave-Edge` is believed.
    #[serde(deserialize_with = "outside::networks")]
    pub checking_caches: Networks,
    /// What addresses begin with, without the last slash; empty: as they are asked for.
    #[serde(deserialize_with = "outside::public_url")]
    pub public_url: String,
}

/// `[https]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Https {
    /// Where to listen; `"off"` for not at all.
    pub listen: Listen,
}

/// `[rtmp]` and `[rtmps]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rtmp {
    /// Where to listen; `"off"` for not at all.
    pub listen: Listen,
}

/// `[quic]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quic {
    /// Where to listen; `"off"` for not at all.
    pub listen: Listen,
}

/// `[moq]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moq {
    /// First fields of namespaces in which anybody may publish; `*` for all but live inputs.
    pub open_namespaces: Vec<String>,
    /// The drafts of MoQ Transport that are spoken.
    #[serde(deserialize_with = "drafts")]
    pub drafts: Vec<u8>,
    /// The server that peers are sent to when this one stops, as `HOST:PORT`; none: this one.
    #[serde(deserialize_with = "elsewhere")]
    pub goaway_uri: Option<String>,
    /// Servers that are pulled from.
    #[serde(deserialize_with = "upstream::servers")]
    pub upstreams: Vec<upstream::Upstream>,
    /// Whom to take for them.
    #[serde(deserialize_with = "upstream::trust")]
    pub upstream_trust: client::trust::Trust,
    /// What is wanted of them, at least one: the root for all.
    #[serde(deserialize_with = "upstream::prefixes")]
    pub upstream_namespaces: Vec<io_moq::client::Namespace>,
    /// Where sessions are written down; empty: nowhere.
    pub qlog_dir: PathBuf,
    /// Whose; empty: everybody's.
    #[serde(deserialize_with = "outside::networks")]
    pub qlog_peers: Networks,
}

/// `moqt://HOST:PORT`, without a path: each peer keeps its own, which holds its key or token.
fn elsewhere<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let uri = String::deserialize(from)?;
    if uri.is_empty() {
        return Ok(None);
    }
    let words = "write moqt://HOST:PORT, of a server that takes the same keys and tokens";
    let address = client::address::MoqAddress::parse(uri.strip_suffix('/').unwrap_or(&uri));
    match address {
        Ok(address) if address.server.path.is_empty() && address.namespace.is_none() => {
            Ok(Some(address.server.authority()))
        }
        _ => Err(serde::de::Error::custom(words)),
    }
}

/// Of those that are known, one at least.
fn drafts<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    let drafts = Vec::deserialize(from)?;
    match io_moq::listen::protocols_of(&drafts) {
        Some(_) => Ok(drafts),
        None => {
            let known: Vec<String> = client::address::drafts().iter().map(u8::to_string).collect();
            let words = format!("the drafts that are spoken are {}", known.join(", "));
            Err(serde::de::Error::custom(words))
        }
    }
}

/// `[admin]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// Where to listen; `"off"` for not at all.
    pub listen: Listen,
}

/// `[public]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Public {
    /// The host name in URLs; empty: the request's own.
    #[serde(deserialize_with = "outside::public_host")]
    pub host: String,
}

/// `[access]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessRules {
    /// A MaxMind database of countries; empty: none is known.
    pub country_database: String,
}

/// `[ingest]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ingest {
    /// How long an encoder that was lost may take to come back.
    #[serde(deserialize_with = "seconds")]
    pub reconnect_s: Duration,
    /// Who wins when two encoders publish to one input.
    pub takeover: TakeoverPolicy,
}

/// Who wins when two encoders publish to one input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TakeoverPolicy {
    /// The one that came last.
    Latest,
    /// The one that was there first.
    First,
}

/// `[hls]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hls {
    /// How long a part shall be, 100 to 1000 ms.
    #[serde(deserialize_with = "part")]
    pub part_ms: Duration,
    /// A segment ends at the first key frame at or after 0.95 of this, 1000 to 10000 ms.
    #[serde(deserialize_with = "segment")]
    pub segment_ms: Duration,
}

/// `[clips]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clips {
    /// The longest one that is cut while it is sent, 1 to 600 s: as many segments as one list of a range has.
    #[serde(deserialize_with = "clip_seconds")]
    pub max_s: Duration,
    /// The longest one that becomes a video, 1 to 3600 s.
    #[serde(deserialize_with = "clip_video_seconds")]
    pub video_max_s: u32,
}

/// `[encode]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Encode {
    /// Levels below the original; empty for none.
    pub ladder: Levels,
    /// Thumbnails, posters and storyboards.
    pub pictures: bool,
    /// The encoder program; empty for the one beside the server.
    pub program: String,
    /// What encodes levels.
    pub encoder: Encoder,
    /// Gigabytes of made segments on the disk, as bytes; 0 for none.
    #[serde(deserialize_with = "gigabytes")]
    pub cache_gb: Option<u64>,
    /// Segments that are encoded at one time; 0: by the number of cores and the memory.
    pub workers: u32,
    /// How long a level is still made ahead, and an idle encoder process kept, after its last request: 1 to 3600 s.
    #[serde(deserialize_with = "linger")]
    pub linger_s: Duration,
}

/// `software`, `vaapi`, `nvenc`, `qsv` or `v4l2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoder(pub encode::Encoder);

impl<'de> Deserialize<'de> for Encoder {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

/// A ladder as a list of `720p` or `720p=2500`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Levels(pub encode::Ladder);

impl<'de> Deserialize<'de> for Levels {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        let rungs: Result<Vec<encode::Rung>, _> = names.iter().map(|n| n.parse()).collect();
        let rungs = rungs.map_err(serde::de::Error::custom)?;
        media::rung::each_once(&rungs).map_err(serde::de::Error::custom)?;
        Ok(Self(encode::Ladder::new(rungs)))
    }
}

/// `[retention]`. None: without end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Days after their end; 0 for ever.
    #[serde(deserialize_with = "days")]
    pub max_age_days: Option<Duration>,
    /// Gigabytes of each input's recordings, as bytes; 0 without end.
    #[serde(deserialize_with = "gigabytes")]
    pub max_input_gb: Option<u64>,
    /// Gigabytes of all recordings together, as bytes; 0 without end.
    #[serde(deserialize_with = "gigabytes")]
    pub max_total_gb: Option<u64>,
    /// Gigabytes that stay free on the disk, as bytes; 0 for none.
    #[serde(deserialize_with = "gigabytes")]
    pub min_free_gb: Option<u64>,
}

/// `[limits]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Cached media in MiB; 0: a quarter of the memory, of the machine's or of a container's.
    pub cache_mb: u32,
    /// Broadcasts at one time, 1 and more.
    #[serde(deserialize_with = "at_least_one")]
    pub broadcasts: u32,
    /// HTTP connections of one address; 0: no bound.
    pub http_connections_per_address: u32,
    /// MoQ connections of one address; 0: no bound.
    pub moq_connections_per_address: u32,
    /// How long the disk may fail before a segment becomes a gap in the recording, 1 to 600 s.
    #[serde(deserialize_with = "patience")]
    pub recorder_patience_s: Duration,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// `text` or `json`.
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,deliver=debug`.
    #[serde(deserialize_with = "filter")]
    pub level: String,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Short, for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// A listener's address, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen(pub Option<SocketAddr>);

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "off" {
            return Ok(Self(None));
        }
        let address = text.parse().map_err(|_| {
            serde::de::Error::custom(format!(
                "{text:?} is no address: write IP:PORT, [IPv6]:PORT or \"off\""
            ))
        })?;
        Ok(Self(Some(address)))
    }
}

fn seconds<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    within(deserializer, 0, 3_600, "seconds").map(Duration::from_secs)
}

fn patience<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    within(deserializer, 1, 600, "seconds").map(Duration::from_secs)
}

fn linger<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    within(deserializer, 1, 3_600, "seconds").map(Duration::from_secs)
}

fn part<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    // 333 ms means a third of a second.
    let ms = within(deserializer, 100, 1_000, "milliseconds")?;
    Ok(if ms == 333 { Duration::from_nanos(333_333_333) } else { Duration::from_millis(ms) })
}

fn segment<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    within(deserializer, 1_000, 10_000, "milliseconds").map(Duration::from_millis)
}

fn days<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let days = within(deserializer, 0, 36_500, "days")?;
    Ok((days > 0).then(|| Duration::from_secs(days * 86_400)))
}

fn gigabytes<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let gigabytes = f64::deserialize(deserializer)?;
    if (0.0..=1e9).contains(&gigabytes) {
        let bytes = (gigabytes * 1e9) as u64;
        return Ok((bytes > 0).then_some(bytes));
    }
    Err(serde::de::Error::custom(format!("{gigabytes} is out of range: 0 to 1000000000 GB")))
}

/// The filter's own reading takes a mistyped level for the name of a module, and is silent from then on.
fn filter<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let level = |word: &str| {
        ["off", "error", "warn", "info", "debug", "trace"]
            .iter()
            .any(|l| word.eq_ignore_ascii_case(l))
    };
    let wrong = text.split(',').map(str::trim).find(|part| !part.contains('=') && !level(part));
    match (wrong, EnvFilter::try_new(&text)) {
        (Some(part), _) => Err(serde::de::Error::custom(format!(
            "{part:?} is no level: write off, error, warn, info, debug or trace, or MODULE=LEVEL"
        ))),
        (None, Err(error)) => Err(serde::de::Error::custom(format!("{text:?}: {error}"))),
        (None, Ok(_)) => Ok(text),
    }
}

/// What is wrong between keys that are right by themselves: with which key, what, and the key that somebody set.
fn conflicts(config: &Config) -> Vec<(&'static str, String, &'static str)> {
    let mut found = Vec::new();
    match (config.tls.certificate.as_str(), config.tls.key.as_str()) {
        ("", "") => {}
        ("", _) => {
            let problem = "tls.key is set: set both, or none".to_owned();
            found.push(("tls.certificate", problem, "tls.key"));
        }
        (_, "") => {
            let problem = "tls.certificate is set: set both, or none".to_owned();
            found.push(("tls.key", problem, "tls.certificate"));
        }
        _ => {}
    }
    outside::conflicts(config, &mut found);
    if !config.moq.upstreams.is_empty() && config.quic.listen.0.is_none() {
        let problem = "quic.listen is off: nobody could watch what comes from there".to_owned();
        found.push(("moq.upstreams", problem, "moq.upstreams"));
    }
    let mut listeners = vec![
        ("http.listen", config.http.listen),
        ("https.listen", config.https.listen),
        ("rtmp.listen", config.rtmp.listen),
        ("rtmps.listen", config.rtmps.listen),
        ("admin.listen", config.admin.listen),
    ];
    if !config.tls.domain.is_empty() {
        listeners.push(("acme.http_listen", config.acme.http_listen));
        listeners.push(("acme.https_listen", config.acme.https_listen));
    }
    for (i, (key, listen)) in listeners.iter().enumerate() {
        let Some(address) = listen.0.filter(|a| a.port() != 0) else { continue };
        let same = listeners[..i].iter().find(|(_, other)| other.0 == Some(address));
        if let Some((other, _)) = same {
            found.push((key, format!("{address} is the address of {other} too"), key));
        }
    }
    found
}

fn within<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
    least: u64,
    most: u64,
    unit: &str,
) -> Result<u64, D::Error> {
    let value = u64::deserialize(deserializer)?;
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    Err(serde::de::Error::custom(format!("{value} is out of range: {least} to {most} {unit}")))
}

fn at_least_one<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let most = u64::from(u32::MAX);
    within(deserializer, 1, most, "broadcasts").map(|n| u32::try_from(n).unwrap_or(u32::MAX))
}

/// An empty one would be where the program was started.
fn folder<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Err(serde::de::Error::custom("name a folder: it is empty"));
    }
    Ok(text.into())
}

fn clip_seconds<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    within(deserializer, 1, 600, "s").map(Duration::from_secs)
}

fn clip_video_seconds<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    within(deserializer, 1, 3_600, "s").map(|s| u32::try_from(s).unwrap_or(u32::MAX))
}

impl Config {
    /// What addresses of pages and media begin with; none: as they are asked for.
    pub fn public_url(&self) -> Option<&str> {
        Some(self.http.public_url.as_str()).filter(|url| !url.is_empty())
    }

    /// The host name in URLs that are handed out; none: the request's own.
    pub fn public_host(&self) -> Option<&str> {
        let named = Some(self.public.host.as_str()).filter(|host| !host.is_empty());
        let named = named.or_else(|| self.public_url().and_then(outside::host_of));
        // A wildcard is no name that leads anywhere.
        named.or_else(|| self.tls.domain.iter().map(String::as_str).find(|n| !n.starts_with("*.")))
    }
}

impl Default for Config {
    fn default() -> Self {
        // invariant: a test loads the built-in defaults.
        load(&[]).unwrap_or_else(|errors| panic!("built-in defaults: {errors:?}")).config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> Layer {
        Layer::setting(text).unwrap()
    }

    #[test]
    fn where_a_stop_sends_peers_is_a_server_and_nothing_more() {
        assert_eq!(Config::default().moq.goaway_uri, None);
        let loaded = |uri: &str| load(&[set(&format!("moq.goaway_uri={uri}"))]);
        for (uri, authority) in [
            ("moqt://two.example:7", "two.example:7"),
            ("moqt://two.example/", "two.example:4443"),
            ("moqt://[::1]:1", "[::1]:1"),
        ] {
            let config = loaded(uri).unwrap().config;
            assert_eq!(config.moq.goaway_uri.as_deref(), Some(authority), "{uri}");
        }
        for wrong in ["two.example", "https://two.example", "moqt://two.example/KEY", "moqt://"] {
            assert!(loaded(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn later_layers_win() {
        assert_eq!(Config::default().http.listen.0, Some("[::]:8080".parse().unwrap()));
        let file = Layer::text("a.toml", "[http]\nlisten = \"127.0.0.1:1\"\n[hls]\npart_ms = 200");
        let config = load(&[file.clone().unwrap(), set("http.listen=127.0.0.1:2")]).unwrap().config;
        assert_eq!(config.http.listen.0, Some("127.0.0.1:2".parse().unwrap()));
        assert_eq!(config.hls.part_ms, Duration::from_millis(200));
        assert_eq!(load(&[set("rtmp.listen=off")]).unwrap().config.rtmp.listen, Listen(None));
        let variables = [("AIRWAVE__INGEST__RECONNECT_S".into(), "7".into())];
        let layers: Vec<Layer> =
            Layer::environment(variables.into_iter()).into_iter().map(Result::unwrap).collect();
        let config = load(&layers).unwrap().config;
        assert_eq!(config.ingest.reconnect_s, Duration::from_secs(7));
        let retention = Config::default().retention;
        assert_eq!((retention.max_age_days, retention.max_total_gb), (None, None));
        assert_eq!(retention.min_free_gb, Some(1_000_000_000));
        let settings = ["retention.max_age_days=2", "retention.max_total_gb=0.5"].map(set);
        let retention = load(&settings).unwrap().config.retention;
        assert_eq!(retention.max_age_days, Some(Duration::from_secs(172_800)));
        assert_eq!(retention.max_total_gb, Some(500_000_000));
    }

    #[test]
    fn every_error_is_told_at_once_with_its_key() {
        let layers = [
            set("http.listen=nonsense"),
            set("hls.part_ms=5"),
            set("nothing.here=1"),
            set("ingest.takeover=maybe"),
            set("http.port=80"),
            set("retention.min_free_gb=-1"),
            set("log.level=inof"),
            set("tls.key=a.pem"),
            set("admin.listen=[::]:1935"),
            set("limits.broadcasts=0"),
            set("data.dir="),
            set("public.host=http://live.example.org/x"),
            set("rtmp=1"),
        ];
        let errors: Vec<String> =
            load(&layers).unwrap_err().iter().map(ToString::to_string).collect();
        let text = errors.join("\n");
        for key in [
            "http.listen",
            "hls.part_ms",
            "nothing",
            "ingest.takeover",
            "http.port",
            "retention.min_free_gb",
            "log.level: \"inof\" is no level",
            "tls.certificate: tls.key is set",
            "admin.listen: [::]:1935 is the address of rtmp.listen too",
            "limits.broadcasts: 0 is out of range",
            "data.dir: name a folder",
            "public.host: \"http://live.example.org/x\" is no host",
            "rtmp: a section, not a value: write --set rtmp.KEY=VALUE",
        ] {
            assert!(text.contains(key), "{key} in\n{text}");
        }
        assert_eq!(errors.len(), 13, "{text}");
    }
}
