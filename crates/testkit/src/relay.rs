//! A relay in front of a server: it remembers what is asked in clear, and can be cut as a cable is.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::thread::JoinHandle;

/// A running relay. Dropping it closes its connections.
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    cut: bool,
    over: bool,
    requests: Vec<String>,
    sockets: Vec<Weak<TcpStream>>,
}

impl Relay {
    /// In front of the server at this address.
    pub fn start(to: SocketAddr) -> Self {
        let listener = listen();
        let address = listener.local_addr().unwrap();
        let shared: Arc<Shared> = Arc::default();
        let relay = shared.clone();
        let accepting = std::thread::spawn(move || {
            for socket in listener.incoming() {
                let Ok(socket) = socket else { continue };
                if relay.state.lock().unwrap().over {
                    return;
                }
                relay.connect(socket, to);
            }
        });
        Self { address, shared, accepting: Some(accepting) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on no byte passes, in neither direction. Nobody is told: connections stay open.
    pub fn cut(&self) {
        self.set(|state| state.cut = true);
    }

    /// Bytes pass again.
    pub fn mend(&self) {
        self.set(|state| state.cut = false);
    }

    /// The targets of all requests so far, in the order of their arrival.
    pub fn requests(&self) -> Vec<String> {
        self.shared.state.lock().unwrap().requests.clone()
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.shared.state.lock().unwrap());
        self.shared.changed.notify_all();
    }
}

/// With room for all who come at once: std's 128 lose some of a thousand.
fn listen() -> TcpListener {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let listener = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        socket.listen(4_096).unwrap().into_std().unwrap()
    });
    listener.set_nonblocking(false).unwrap();
    listener
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.set(|state| {
            state.over = true;
            for socket in state.sockets.drain(..).filter_map(|socket| socket.upgrade()) {
                let _ = socket.shutdown(Shutdown::Both);
            }
        });
        // Wakes whoever accepts.
        let _ = TcpStream::connect(self.address);
        let _ = self.accepting.take().map(JoinHandle::join);
    }
}

impl Shared {
    /// Two threads a connection, one for each direction; they end with it.
    fn connect(self: &Arc<Self>, near: TcpStream, to: SocketAddr) {
        let Ok(far) = TcpStream::connect(to) else { return };
        let _ = near.set_nodelay(true);
        let _ = far.set_nodelay(true);
        let (near, far) = (Arc::new(near), Arc::new(far));
        let mut state = self.state.lock().unwrap();
        state.sockets.retain(|socket| socket.strong_count() > 0);
        state.sockets.extend([Arc::downgrade(&near), Arc::downgrade(&far)]);
        drop(state);
        let (up, down) = (self.clone(), self.clone());
        let (near2, far2) = (near.clone(), far.clone());
        std::thread::spawn(move || up.copy(&near, &far, Some(Heads::default())));
        std::thread::spawn(move || down.copy(&far2, &near2, None));
    }

    fn copy(&self, mut from: &TcpStream, mut to: &TcpStream, mut heads: Option<Heads>) {
        let mut buffer = [0; 16 << 10];
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            let mut state = self.state.lock().unwrap();
            while state.cut && !state.over {
                state = self.changed.wait(state).unwrap();
            }
            if let Some(heads) = &mut heads {
                state.requests.extend(heads.take(&buffer[..n]));
            }
            drop(state);
            if to.write_all(&buffer[..n]).is_err() {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}

/// Reads the heads of requests out of a stream of HTTP/1.1. What is no HTTP in clear has none.
#[derive(Default)]
struct Heads {
    head: Vec<u8>,
    /// Bytes of a request's body that are still to come.
    body: usize,
}

impl Heads {
    fn take(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut targets = Vec::new();
        for byte in bytes {
            if self.body > 0 {
                self.body -= 1;
                continue;
            }
            self.head.push(*byte);
            if self.head.ends_with(b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.head).to_ascii_lowercase();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
                self.body = length.and_then(|n| n.trim().parse().ok()).unwrap_or(0);
                let head = String::from_utf8_lossy(&self.head);
                targets.extend(head.split(' ').nth(1).map(str::to_owned));
                self.head.clear();
            }
        }
        targets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_known_however_they_are_cut() {
        let stream = b"GET /a?b=C HTTP/1.1\r\nhost: x\r\n\r\nPOST /c HTTP/1.1\r\nContent-Length: 3\r\n\r\nxyzGET /D HTTP/1.1\r\n\r\n";
        for size in 1..stream.len() {
            let mut heads = Heads::default();
            let targets: Vec<String> = stream.chunks(size).flat_map(|p| heads.take(p)).collect();
            assert_eq!(targets, ["/a?b=C", "/c", "/D"], "in pieces of {size}");
        }
    }

    #[test]
    fn nothing_passes_a_cut() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let relay = Relay::start(server.local_addr().unwrap());
        let mut client = TcpStream::connect(relay.address()).unwrap();
        let (mut served, _) = server.accept().unwrap();
        client.write_all(b"GET /1 HTTP/1.1\r\n\r\n").unwrap();
        served.read_exact(&mut [0; 19]).unwrap();
        relay.cut();
        client.write_all(b"GET /2 HTTP/1.1\r\n\r\n").unwrap();
        served.write_all(b"x").unwrap();
        let wait = Some(std::time::Duration::from_millis(100));
        served.set_read_timeout(wait).unwrap();
        client.set_read_timeout(wait).unwrap();
        assert!(served.read(&mut [0; 9]).is_err() && client.read(&mut [0; 9]).is_err());
        relay.mend();
        served.set_read_timeout(None).unwrap();
        client.set_read_timeout(None).unwrap();
        served.read_exact(&mut [0; 19]).unwrap();
        client.read_exact(&mut [0; 1]).unwrap();
        assert_eq!(relay.requests(), ["/1", "/2"]);
        drop(relay);
        assert_eq!(client.read(&mut [0; 1]).unwrap(), 0, "closed with it");
    }
}
