//! The server under test.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use testkit::{Input, MediaPlaylist, Server, Url};

use crate::host::on_server_core;

/// Airwave on the server's core.
pub(crate) struct Airwave(Server);

/// What keeps it quiet while it is measured.
const QUIET: &str = "log.level=warn";

/// All load comes from one address.
const UNBOUND: [&str; 2] =
    ["limits.http_connections_per_address=0", "limits.moq_connections_per_address=0"];

impl Airwave {
    /// Starts it in a new data directory.
    pub(crate) fn start(program: &Path, settings: &[&str]) -> Result<Self> {
        let program = program.to_str().context("the program's path")?;
        let settings = [&[QUIET], &UNBOUND[..], settings].concat();
        Ok(Self(on_server_core(|| Server::start(program, &settings))?))
    }

    /// Its process.
    pub(crate) fn pid(&mut self) -> u32 {
        self.0.child().id()
    }

    /// The server itself.
    pub(crate) fn server(&self) -> &Server {
        &self.0
    }

    /// So many inputs, recorded or not.
    pub(crate) fn inputs(&self, count: usize, recorded: bool) -> Vec<Input> {
        let mode = if recorded { "automatic" } else { "off" };
        let fields =
            |n| json!({ "meta": { "name": format!("{n}") }, "recording": { "mode": mode } });
        (0..count).map(|n| self.0.create_input(&fields(n))).collect()
    }

    /// Where a listener is.
    pub(crate) fn address(&self, listener: &str) -> Result<SocketAddr> {
        let text = self.0.addresses[listener].as_str();
        Ok(text.with_context(|| format!("{listener} is off"))?.parse()?)
    }

    /// The self-signed certificate and its key.
    pub(crate) fn certificate(&self) -> (PathBuf, PathBuf) {
        (self.0.data().join("self-signed.pem"), self.0.data().join("self-signed.key"))
    }

    /// The URL of the media playlist of pictures or of sound.
    pub(crate) fn media_playlist(&self, id: &str, audio: bool) -> Result<Url> {
        let master = self.0.url(&format!("/{id}/manifest/video.m3u8"));
        let answer = testkit::request("GET", &master, &[], b"");
        ensure!(answer.status == 200, "{master}: {} {}", answer.status, answer.text());
        let text = answer.text();
        let uri = if audio {
            let line = text.lines().find(|l| l.starts_with("#EXT-X-MEDIA:"));
            line.and_then(|l| l.split_once("URI=\"")?.1.split_once('"').map(|(uri, _)| uri))
        } else {
            text.lines().find(|line| !line.starts_with('#') && !line.is_empty())
        };
        Ok(master.join(uri.with_context(|| format!("no playlist in {text}"))?))
    }

    /// The media playlist as it is now, as text and read.
    pub(crate) fn playlist(&self, url: &Url) -> Result<(String, MediaPlaylist)> {
        let answer = testkit::request("GET", url, &[], b"");
        ensure!(answer.status == 200, "{url}: {} {}", answer.status, answer.text());
        let text = answer.text();
        let playlist =
            MediaPlaylist::parse(&text).map_err(|problem| anyhow::anyhow!("{url}: {problem}"))?;
        Ok((text, playlist))
    }

    /// A counter or gauge of `/metrics`.
    pub(crate) fn metric(&self, name: &str) -> Result<f64> {
        let authority = self.address("admin")?.to_string();
        let url = Url { authority, path: "/metrics".to_owned() };
        let text = testkit::request("GET", &url, &[], b"").text();
        let name = format!("airwave_{name} ");
        let line = text.lines().find_map(|line| line.strip_prefix(name.as_str()));
        Ok(line.with_context(|| format!("no metric {name}"))?.trim().parse()?)
    }
}
