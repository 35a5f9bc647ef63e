//! A certificate authority: Pebble, which Let's Encrypt tests clients with. It looks at every rule of RFC 8555, and at the
//! names themselves, through gateways to the server's ports.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use rcgen::{CertificateParams, KeyPair};
use serde_json::json;

use crate::child::Child;
use crate::dns::Dns;
use crate::gateway::Gateway;
use crate::wait::wait_until;

/// A running authority.
pub struct Authority {
    child: Child,
    folder: tempfile::TempDir,
    address: SocketAddr,
    /// The way to it, shut at first.
    door: Gateway,
    /// Where it looks for proofs on port 80.
    pub port_80: Gateway,
    /// Where it looks for proofs on port 443.
    pub port_443: Gateway,
    dns: Dns,
    nonces_percent: u8,
}

impl Authority {
    /// Starts one.
    #[allow(clippy::new_without_default, reason = "it starts a program")]
    pub fn start() -> Self {
        Self::with(0, &[])
    }

    /// Starts one that has customers, by what it calls them and the keys in base64url that it shares with them (RFC 8555 §7.3.4).
    pub fn of_customers(keys: &[(&str, &str)]) -> Self {
        Self::with(0, keys)
    }

    /// Starts one that takes so many nonces of a hundred for used ones, as one does that is many machines: its clients ask
    /// again (RFC 8555 §6.5).
    pub fn rejecting(nonces_percent: u8) -> Self {
        Self::with(nonces_percent, &[])
    }

    fn with(nonces_percent: u8, customers: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("dns")).unwrap();
        let (dns, port_80, port_443) = (Dns::start(&at("dns")), Gateway::new(), Gateway::new());
        let pair = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let own = params.self_signed(&pair).unwrap();
        std::fs::write(at("own.pem"), own.pem()).unwrap();
        std::fs::write(at("own.key"), pair.serialize_pem()).unwrap();
        let config = json!({ "pebble": {
            "listenAddress": "127.0.0.1:0",
            "managementListenAddress": "",
            "certificate": at("own.pem"),
            "privateKey": at("own.key"),
            "httpPort": port_80.address().port(),
            "tlsPort": port_443.address().port(),
            "ocspResponderURL": "",
            "externalAccountBindingRequired": !customers.is_empty(),
            "externalAccountMACKeys": BTreeMap::from_iter(customers.iter().copied()),
        }});
        std::fs::write(at("config.json"), config.to_string()).unwrap();
        let (child, address) = run(folder.path(), &dns, nonces_percent);
        Self {
            child,
            folder,
            address,
            door: Gateway::new(),
            port_80,
            port_443,
            dns,
            nonces_percent,
        }
    }

    /// Lets servers ask it: those that have asked before have waited.
    pub fn open(&self) {
        self.door.lead_to(&self.address.to_string());
    }

    /// Is set up anew at the same address: it knows no account and no certificate any more.
    pub fn forget(&mut self) {
        self.door.hold();
        (self.child, self.address) = run(self.folder.path(), &self.dns, self.nonces_percent);
    }

    /// Lets nobody in until it is opened again.
    pub fn shut(&self) {
        self.door.hold();
    }

    /// Settings with which a server asks it, proves names in this way, and listens on free ports.
    pub fn settings(&self, challenge: &str) -> Vec<String> {
        let own = self.folder.path().join("own.pem");
        let mut settings = vec![
            format!("acme.directory=https://{}/dir", self.door.address()),
            format!("acme.authority={}", own.display()),
            format!("acme.challenge={challenge}"),
            "acme.http_listen=127.0.0.1:0".to_owned(),
            "acme.https_listen=127.0.0.1:0".to_owned(),
        ];
        if challenge == "dns-01" {
            settings.push(format!("acme.dns_hook={}", json!(self.hook())));
        }
        settings
    }

    /// A program that writes records for its name server. It waits at the gate, if there is one.
    fn hook(&self) -> Vec<String> {
        let script = r#"if [ -p "$1.gate" ] && [ "$2" = add ]; then read -r _ < "$1.gate"; fi
            case $2 in add) echo "$4" >> "$1/$3";; remove) rm -f "$1/$3";; *) exit 1;; esac"#;
        let folder = self.records().display().to_string();
        ["sh", "-c", script, "hook", &folder].map(str::to_owned).to_vec()
    }

    /// Builds a gate, at which the operator's program waits.
    pub fn build_gate(&self) {
        let mut mkfifo = Child::start(Command::new("mkfifo").arg(self.gate()));
        assert!(mkfifo.wait(20).success(), "{}", mkfifo.output());
    }

    /// Lets one that waits, or will come, through the gate.
    pub fn open_gate(&self) {
        std::fs::write(self.gate(), "\n").unwrap();
    }

    fn gate(&self) -> PathBuf {
        self.folder.path().join("dns.gate")
    }

    /// Where the records are, a file for each name.
    pub fn records(&self) -> PathBuf {
        self.folder.path().join("dns")
    }

    /// Its process.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }
}

/// Its program, which has lost all that an earlier one knew.
fn run(folder: &Path, dns: &Dns, nonces_percent: u8) -> (Child, SocketAddr) {
    let mut pebble = Command::new(tool("pebble"));
    pebble.arg("-config").arg(folder.join("config.json"));
    pebble.args(["-strict", "-dnsserver", &dns.address().to_string()]);
    // It would wait for up to 15 s before it looks, take what it saw last time for granted, and refuse what is right.
    pebble.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_AUTHZREUSE", "0");
    pebble.env("PEBBLE_WFE_NONCEREJECT", nonces_percent.to_string());
    let mut child = Child::start(&mut pebble);
    let address = wait_until("the authority to listen", 20, || {
        assert!(child.ended().is_none(), "pebble ended:\n{}", child.output());
        listens(child.id())
    });
    (child, address)
}

/// A program of scripts/acme-peer.sh.
pub fn tool(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = root.join(".cache/acme-peer/usr/bin").join(name);
    assert!(path.exists(), "{} is missing: scripts/acme-peer.sh fetches it", path.display());
    path
}

/// The address that a process listens on, once it does: it took any free port, and the system knows which.
pub fn listens(process: u32) -> Option<SocketAddr> {
    let descriptors = std::fs::read_dir(format!("/proc/{process}/fd")).ok()?;
    let links = descriptors.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok());
    let own: BTreeSet<String> = links
        .filter_map(|link| {
            let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
            Some(inode.to_owned())
        })
        .collect();
    let table = std::fs::read_to_string(format!("/proc/{process}/net/tcp")).ok()?;
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // 0A: the state of a socket that listens.
        if fields.get(3) != Some(&"0A") || !own.contains(*fields.get(9)?) {
            return None;
        }
        let port = u16::from_str_radix(fields.get(1)?.split_once(':')?.1, 16).ok()?;
        Some(SocketAddr::from(([127, 0, 0, 1], port)))
    })
}
