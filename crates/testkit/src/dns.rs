//! A name server for tests: every name is this machine, and texts are what stands in a folder.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const A: u16 = 1;
const TXT: u16 = 16;

/// A running name server.
pub(crate) struct Dns {
    address: SocketAddr,
    over: Arc<AtomicBool>,
}

impl Dns {
    /// Answers on a free port. The texts of `name` are the lines of the file `folder/name`.
    pub(crate) fn start(folder: &Path) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (address, over) = (socket.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let (folder, until) = (folder.to_owned(), over.clone());
        std::thread::spawn(move || {
            let mut query = [0; 1_500];
            while let Ok((n, client)) = socket.recv_from(&mut query) {
                if until.load(Ordering::SeqCst) {
                    return;
                }
                if let Some(answer) = answer(&query[..n], &folder) {
                    let _ = socket.send_to(&answer, client);
                }
            }
        });
        Self { address, over }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let wake = UdpSocket::bind("127.0.0.1:0").and_then(|s| s.send_to(&[0], self.address));
        drop(wake);
    }
}

/// RFC 1035 §4.1.
fn answer(query: &[u8], folder: &Path) -> Option<Vec<u8>> {
    let (mut labels, mut at) = (Vec::new(), 12);
    loop {
        let length = usize::from(*query.get(at)?);
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(query.get(at + 1..at + 1 + length)?).to_lowercase());
        at += 1 + length;
    }
    let end = at + 5;
    let kind = u16::from_be_bytes([*query.get(at + 1)?, *query.get(at + 2)?]);
    let found: Vec<Vec<u8>> = match kind {
        A => vec![Ipv4Addr::LOCALHOST.octets().to_vec()],
        TXT => texts(&folder.join(labels.join("."))),
        // Neither IPv6 nor a word on who may sign (CAA).
        _ => Vec::new(),
    };
    let mut out = query.get(..2)?.to_vec();
    // An answer, with authority, as recursive as was asked for.
    out.extend([0x85, 0x80, 0, 1, 0, u8::try_from(found.len()).ok()?, 0, 0, 0, 0]);
    out.extend(query.get(12..end)?);
    for data in found {
        out.extend([0xc0, 12]);
        out.extend(kind.to_be_bytes());
        out.extend([0, 1, 0, 0, 0, 0]);
        out.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
        out.extend(data);
    }
    Some(out)
}

fn texts(file: &PathBuf) -> Vec<Vec<u8>> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let of = |line: &str| [&[u8::try_from(line.len()).unwrap()], line.as_bytes()].concat();
    text.lines().map(of).collect()
}
