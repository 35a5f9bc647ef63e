//! nginx in front of a server, as `docs/cdn/nginx.conf` has it.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use crate::child::Child;
use crate::port::free_address;
use crate::wait::wait_until;

/// What `scripts/nginx.sh` has fetched.
const NGINX: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.cache/nginx/usr/sbin/nginx");

/// The page that users copy.
pub const NGINX_CONF: &str = include_str!("../../../docs/cdn/nginx.conf");

/// A running nginx. Dropping it kills it.
pub struct Edge {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Edge {
    /// In front of the server at this address.
    pub fn start(origin: SocketAddr) -> Self {
        assert!(Path::new(NGINX).is_file(), "no nginx: scripts/nginx.sh fetches it");
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().display().to_string();
        // nginx can't be asked which port it has taken.
        let address = free_address();
        let mut site = NGINX_CONF.to_owned();
        for (there, here) in [
            ("server 127.0.0.1:8080;", format!("server {origin};")),
            ("listen 8000 backlog", format!("listen {address} backlog")),
            ("/var/cache/nginx/airwave", format!("{dir}/cache")),
        ] {
            assert_eq!(site.matches(there).count(), 1, "{there} in docs/cdn/nginx.conf");
            site = site.replace(there, &here);
        }
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {dir}/{name};\n"))
            .concat();
        // One process that ends with the test.
        let main = format!(
            "daemon off;\nmaster_process off;\npid {dir}/pid;\nerror_log stderr warn;\n\
             worker_rlimit_nofile 20000;\nevents {{ worker_connections 16000; }}\n\
             http {{\naccess_log off;\n{temporary}{site}\n}}\n"
        );
        let path = folder.path().join("nginx.conf");
        std::fs::write(&path, main).unwrap();
        let mut command = Command::new(NGINX);
        command.arg("-p").arg(folder.path()).arg("-c").arg(&path).args(["-e", "stderr"]);
        let mut child = Child::start(&mut command);
        wait_until("nginx to listen", 10, || {
            assert!(child.ended().is_none(), "nginx ended:\n{}", child.output());
            TcpStream::connect(address).ok()
        });
        Self { child, address, _folder: folder }
    }

    /// What it has written to its log: warnings and worse.
    pub fn log(&self) -> String {
        self.child.output()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
