//! The peers: other people's servers, run as `peers/*.conf` say. One that is not there is left out of
//! the run, with a word.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use testkit::{Child, wait_until};

use crate::host::on_server_core;

const NGINX_RTMP: &str = include_str!("../peers/nginx-rtmp.conf");
const NGINX_STATIC: &str = include_str!("../peers/nginx-static.conf");
const NGINX_NCHAN: &str = include_str!("../peers/nginx-nchan.conf");
const MOQ_RELAY: &str = include_str!("../peers/moq-relay.toml");
const SRS: &str = include_str!("../peers/srs.conf");

/// Where the peers' programs are.
#[derive(Debug, Clone)]
pub(crate) struct Peers {
    /// A folder with `usr/sbin/nginx` and `usr/lib/nginx/modules`: Debian's packages, unpacked.
    pub(crate) nginx: PathBuf,
    /// The program `srs`, if there is one.
    pub(crate) srs: Option<PathBuf>,
    /// A folder with `bin/NAME` of [`RELAYS`], as far as they are there.
    pub(crate) relays: PathBuf,
}

/// Relays of MoQ: moq-dev's and Cloudflare's.
pub(crate) const RELAYS: [&str; 2] = ["moq-relay", "moq-relay-ietf"];

/// Debian's nginx with nchan makes a folder in this one, whatever its configuration says.
pub(crate) const NCHAN_FOLDER: &str = "/var/lib/nginx";

/// A running peer on the server's core.
pub(crate) struct Peer {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Peers {
    /// nginx that takes RTMP and makes HLS.
    pub(crate) fn nginx_rtmp(&self) -> Result<Peer> {
        let modules = self.nginx.join("usr/lib/nginx/modules");
        start(
            NGINX_RTMP,
            &[("modules", &modules)],
            |config, dir| self.nginx(config, dir),
            |_| Ok(()),
        )
    }

    /// nginx that serves these files over TLS: name and content.
    pub(crate) fn nginx_static(
        &self,
        certificate: &Path,
        key: &Path,
        files: &[(&str, &[u8])],
    ) -> Result<Peer> {
        let put = |dir: &Path| {
            std::fs::create_dir(dir.join("files"))?;
            for (name, content) in files {
                std::fs::write(dir.join("files").join(name), content)?;
            }
            Ok(())
        };
        let values = [("certificate", certificate), ("key", key)];
        start(NGINX_STATIC, &values, |config, dir| self.nginx(config, dir), put)
    }

    /// nginx that lets subscribers wait over TLS until they are told something. None where [`NCHAN_FOLDER`] is not.
    pub(crate) fn nginx_nchan(&self, certificate: &Path, key: &Path) -> Option<Result<Peer>> {
        if !Path::new(NCHAN_FOLDER).is_dir() {
            return None;
        }
        let modules = self.nginx.join("usr/lib/nginx/modules");
        let values = [("certificate", certificate), ("key", key), ("modules", modules.as_path())];
        Some(start(NGINX_NCHAN, &values, |config, dir| self.nginx(config, dir), |_| Ok(())))
    }

    /// SRS that takes RTMP and makes HLS; none where there is no SRS.
    pub(crate) fn srs(&self) -> Option<Result<Peer>> {
        let program = self.srs.as_ref()?;
        let command = |config: &Path, dir: &Path| {
            let mut command = Command::new(program);
            command.arg("-c").arg(config).current_dir(dir);
            command
        };
        Some(start(SRS, &[], command, |_| Ok(())))
    }

    /// A relay of MoQ that lets everybody do everything; none where there is no such program.
    pub(crate) fn relay(&self, name: &str) -> Option<Result<Peer>> {
        let program = self.relays.join("bin").join(name);
        program.is_file().then(|| start_relay(name, &program))
    }

    fn nginx(&self, config: &Path, dir: &Path) -> Command {
        let mut command = Command::new(self.nginx.join("usr/sbin/nginx"));
        command.arg("-p").arg(dir).arg("-c").arg(config).args(["-e", "stderr"]);
        command
    }
}

impl Peer {
    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where an encoder publishes.
    pub(crate) fn rtmp_url(&self, name: &str) -> String {
        format!("rtmp://{}/live/{name}", self.address)
    }

    /// Files that it has written below its folder.
    pub(crate) fn written(&self) -> Result<usize> {
        let hls = self._folder.path().join("hls");
        fn count(folder: &Path) -> Result<usize> {
            let mut files = 0;
            for entry in std::fs::read_dir(folder)? {
                let entry = entry?;
                files += if entry.file_type()?.is_dir() { count(&entry.path())? } else { 1 };
            }
            Ok(files)
        }
        count(&hls)
    }
}

/// A port that was free a moment ago. Peers can't be asked which one they have taken.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn start(
    template: &str,
    paths: &[(&str, &Path)],
    command: impl FnOnce(&Path, &Path) -> Command,
    prepare: impl FnOnce(&Path) -> Result<()>,
) -> Result<Peer> {
    let folder = tempfile::tempdir()?;
    let dir = folder.path();
    prepare(dir)?;
    std::fs::create_dir_all(dir.join("hls"))?;
    let port = free_port()?;
    let mut values = vec![("port", port.to_string()), ("dir", dir.display().to_string())];
    for (name, path) in paths {
        let path =
            path.canonicalize().with_context(|| format!("{} is not there", path.display()))?;
        values.push((name, path.display().to_string()));
    }
    let config = dir.join("peer.conf");
    std::fs::write(&config, fill(template, &values)?)?;
    let mut command = command(&config, dir);
    ensure!(Path::new(command.get_program()).is_file(), "{:?} is not there", command.get_program());
    let mut child = on_server_core(|| Child::start(&mut command))?;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    wait_until("the peer to listen", 10, || {
        assert!(child.ended().is_none(), "the peer ended:\n{}", child.output());
        TcpStream::connect(address).ok()
    });
    Ok(Peer { child, address, _folder: folder })
}

fn start_relay(name: &str, program: &Path) -> Result<Peer> {
    let folder = tempfile::tempdir()?;
    let dir = folder.path();
    let pair = rcgen::KeyPair::generate()?;
    let made = rcgen::CertificateParams::new(vec!["localhost".to_owned()])?.self_signed(&pair)?;
    let (certificate, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    std::fs::write(&certificate, made.pem())?;
    std::fs::write(&key, pair.serialize_pem())?;
    // UDP: a port is free if it can be bound to.
    let port = std::net::UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut command = Command::new(program);
    if name == "moq-relay" {
        let config = dir.join("relay.toml");
        let values = [
            ("port", port.to_string()),
            ("certificate", certificate.display().to_string()),
            ("key", key.display().to_string()),
        ];
        std::fs::write(&config, fill(MOQ_RELAY, &values)?)?;
        command.arg(&config);
    } else {
        command.args(["--bind", &address.to_string(), "--coordinator-file"]);
        command.arg(dir.join("coordinator.json"));
        command.arg("--tls-cert").arg(&certificate).arg("--tls-key").arg(&key);
    }
    command.env("TOKIO_WORKER_THREADS", "1").current_dir(dir);
    let mut child = on_server_core(|| Child::start(&mut command))?;
    // Nothing says when a socket of UDP is read: what comes too early is sent again.
    std::thread::sleep(std::time::Duration::from_millis(500));
    ensure!(child.ended().is_none(), "{name} ended:\n{}", child.output());
    Ok(Peer { child, address, _folder: folder })
}

/// Puts values where a template has their names in braces. All of them must be there, and no other
/// ones: a block's braces have spaces or lines inside.
fn fill(template: &str, values: &[(&str, String)]) -> Result<String> {
    let mut text = template.to_owned();
    for (name, value) in values {
        text = text.replace(&format!("{{{name}}}"), value);
    }
    let code = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    for line in code {
        let open = line.split('{').skip(1).find(|rest| {
            rest.split_once('}')
                .is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_lowercase()))
        });
        ensure!(open.is_none(), "nothing to fill in at: {line}");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_templates_are_filled() {
        let names = ["port", "dir", "modules", "certificate", "key"];
        let values = names.map(|name| (name, format!("/{name}")));
        for template in [NGINX_RTMP, NGINX_STATIC, NGINX_NCHAN, SRS] {
            let text = fill(template, &values).unwrap();
            assert!(text.contains("/port") && text.contains("/dir/hls") || text.contains("ssl"));
            assert!(fill(template, &values[..1]).is_err());
        }
    }

    #[test]
    fn a_peer_that_is_not_there_is_an_error_and_not_a_result() {
        let nowhere = PathBuf::from("/nonexistent");
        let peers = Peers { nginx: nowhere.clone(), srs: None, relays: nowhere };
        assert!(peers.nginx_rtmp().is_err());
        assert!(peers.srs().is_none() && peers.relay("moq-relay").is_none());
    }
}
