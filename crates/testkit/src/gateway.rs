//! A port that leads somewhere once it is told where: both ends can then take any free port.

use std::io::{Write, copy};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

/// Hands on TCP connections. Those that come before it knows where to wait.
pub struct Gateway {
    address: SocketAddr,
    to: Arc<Target>,
}

#[derive(Default)]
struct Target {
    now: Mutex<Leads>,
    told: Condvar,
}

#[derive(Default, Clone)]
struct Leads {
    to: Option<String>,
    /// Written before anything else.
    first: Vec<u8>,
    over: bool,
}

impl Gateway {
    /// Listens on a free port of the loopback.
    #[allow(clippy::new_without_default, reason = "it binds a port")]
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, to) = (listener.local_addr().unwrap(), Arc::<Target>::default());
        let target = to.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if target.now.lock().unwrap().over {
                    return;
                }
                let target = target.clone();
                std::thread::spawn(move || target.hand_on(client));
            }
        });
        Self { address, to }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on, and for those who wait, it leads to this address.
    pub fn lead_to(&self, address: &str) {
        self.lead_with(address, b"");
    }

    /// The same, with these bytes in front of each connection: what a load balancer says.
    pub fn lead_with(&self, address: &str, first: &[u8]) {
        let mut now = self.to.now.lock().unwrap();
        (now.to, now.first) = (Some(address.to_owned()), first.to_vec());
        self.to.told.notify_all();
    }

    /// From now on, who comes waits.
    pub fn hold(&self) {
        self.to.now.lock().unwrap().to = None;
    }
}

impl Target {
    fn hand_on(&self, client: TcpStream) {
        let now = self.now.lock().unwrap();
        let now = self.told.wait_while(now, |now| now.to.is_none() && !now.over).unwrap().clone();
        // Nobody there: the client sees its connection closed.
        let Some(server) = now.to.and_then(|to| TcpStream::connect(to).ok()) else { return };
        if (&server).write_all(&now.first).is_err() {
            return;
        }
        let (mut up, mut into) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        std::thread::spawn(move || {
            let _ = copy(&mut up, &mut into);
            let _ = into.shutdown(Shutdown::Write);
        });
        let (mut down, mut out) = (server, client);
        let _ = copy(&mut down, &mut out);
        let _ = out.shutdown(Shutdown::Write);
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.to.now.lock().unwrap().over = true;
        self.to.told.notify_all();
        // The listener looks up.
        let _ = TcpStream::connect(self.address);
    }
}
