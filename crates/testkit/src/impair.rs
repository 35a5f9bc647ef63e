//! Paths that lose, delay, reorder and hold back what is sent over them: [`Path`] as arithmetic, for networks in
//! virtual time, and [`Impaired`] with it between real UDP sockets.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};

/// How one direction of a path treats datagrams.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// Bits a second that the narrowest line passes; none: any.
    pub rate: Option<u64>,
    /// Bytes that wait in front of that line. What does not fit is lost.
    pub queue: u64,
    /// From one end to the other, without the queue.
    pub delay: Duration,
    /// Share that is lost by chance.
    pub loss: f64,
    /// Share that is overtaken by what comes after it.
    pub reorder: f64,
    /// How much later that arrives.
    pub reorder_by: Duration,
}

impl Default for Shape {
    /// A cable: nothing is lost or late.
    fn default() -> Self {
        Self {
            rate: None,
            queue: 64 << 10,
            delay: Duration::ZERO,
            loss: 0.0,
            reorder: 0.0,
            reorder_by: Duration::ZERO,
        }
    }
}

/// One direction of a path. The same seed and the same datagrams have the same fate.
#[derive(Debug)]
pub struct Path {
    shape: Shape,
    random: u64,
    /// When the line has passed all that waits for it.
    free: Option<Instant>,
    lost: u64,
}

impl Path {
    /// A path that is empty.
    pub fn new(shape: Shape, seed: u64) -> Self {
        Self { shape, random: seed, free: None, lost: 0 }
    }

    /// It is different from now on. What waits leaves as it would have.
    pub fn reshape(&mut self, shape: Shape) {
        self.shape = shape;
    }

    /// Datagrams lost so far, by chance and for want of room.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// When a datagram that is sent now arrives; never, if it is lost.
    pub fn send(&mut self, now: Instant, bytes: usize) -> Option<Instant> {
        // Drawn for each, so that one fate does not depend on another one's.
        let (chance, late) = (self.draw(), self.draw());
        let passed = match self.shape.rate {
            _ if chance < self.shape.loss => None,
            None => Some(now),
            Some(rate) => self.queue(now, bytes as u64, rate),
        };
        let Some(passed) = passed else {
            self.lost += 1;
            return None;
        };
        let more = if late < self.shape.reorder { self.shape.reorder_by } else { Duration::ZERO };
        Some(passed + self.shape.delay + more)
    }

    fn queue(&mut self, now: Instant, bytes: u64, rate: u64) -> Option<Instant> {
        let free = self.free.map_or(now, |free| free.max(now));
        let waiting = (free - now).as_secs_f64() * rate as f64 / 8.0;
        if waiting + bytes as f64 > self.shape.queue as f64 {
            return None;
        }
        let passed = free + Duration::from_secs_f64(bytes as f64 * 8.0 / rate as f64);
        self.free = Some(passed);
        Some(passed)
    }

    /// From 0 to 1 (SplitMix64).
    fn draw(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A relay of UDP in front of a server, with a path in each direction that all its clients share. A client that comes
/// from another address comes from another one to the server too. Dropping it ends it.
pub struct Impaired {
    address: SocketAddr,
    paths: Arc<Mutex<Paths>>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

struct Paths {
    up: Path,
    down: Path,
    clients: usize,
}

/// Clients at once: a test has a few, each with a few addresses.
const CLIENTS_MAX: usize = 64;

/// What is on its way at once; the rest is lost.
const DATAGRAMS_MAX: usize = 65_536;

impl Impaired {
    /// In front of the server at this address.
    pub fn start(to: SocketAddr, up: Shape, down: Shape, seed: u64) -> Self {
        Self::start_from(Ipv4Addr::LOCALHOST, to, up, down, seed)
    }

    /// The same, whose clients come to the server from this address of the loopback.
    pub fn start_from(from: Ipv4Addr, to: SocketAddr, up: Shape, down: Shape, seed: u64) -> Self {
        let front = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        front.set_nonblocking(true).unwrap();
        let address = front.local_addr().unwrap();
        let paths = Paths { up: Path::new(up, seed), down: Path::new(down, seed ^ 1), clients: 0 };
        let paths = Arc::new(Mutex::new(paths));
        let (stop, stopped) = watch::channel(false);
        let shared = paths.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let front = Arc::new(UdpSocket::from_std(front).unwrap());
                relay(front, (from, to), shared, stopped).await;
            });
        });
        Self { address, paths, stop, thread: Some(thread) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Both directions are different from now on.
    pub fn reshape(&self, up: Shape, down: Shape) {
        let mut paths = self.paths.lock().unwrap();
        paths.up.reshape(up);
        paths.down.reshape(down);
    }

    /// Addresses that clients have come from.
    pub fn clients(&self) -> usize {
        self.paths.lock().unwrap().clients
    }

    /// Datagrams lost so far: to the server, and from it.
    pub fn lost(&self) -> (u64, u64) {
        let paths = self.paths.lock().unwrap();
        (paths.up.lost(), paths.down.lost())
    }
}

impl Drop for Impaired {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// A datagram on its way: when it arrives, and a number for those of one moment.
type Due = Reverse<(Instant, u64)>;

/// What is sent, through which socket and where to.
type Outgoing = (Arc<UdpSocket>, SocketAddr, Vec<u8>);

async fn relay(
    front: Arc<UdpSocket>,
    (from, to): (Ipv4Addr, SocketAddr),
    paths: Arc<Mutex<Paths>>,
    mut stopped: watch::Receiver<bool>,
) {
    let (answers, mut answered) = mpsc::channel::<(SocketAddr, Vec<u8>)>(1_024);
    let mut clients: BTreeMap<SocketAddr, Arc<UdpSocket>> = BTreeMap::new();
    let mut reading = tokio::task::JoinSet::new();
    let (mut due, mut waiting) = (BinaryHeap::<Due>::new(), BTreeMap::<u64, Outgoing>::new());
    let (mut next, mut buffer) = (0, vec![0; 65_536]);
    loop {
        let first = due.peek().map(|Reverse((at, _))| *at);
        let timer = async {
            match first {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        let (arrives, outgoing) = tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => return,
            () = timer => {
                while let Some(Reverse((at, number))) = due.peek().copied()
                    && at <= Instant::now()
                {
                    due.pop();
                    if let Some((socket, to, bytes)) = waiting.remove(&number) {
                        let _ = socket.send_to(&bytes, to).await;
                    }
                }
                continue;
            }
            Some((client, bytes)) = answered.recv() => {
                let at = paths.lock().unwrap().down.send(Instant::now(), bytes.len());
                (at, (front.clone(), client, bytes))
            }
            Ok((n, client)) = front.recv_from(&mut buffer) => {
                if !clients.contains_key(&client) {
                    if clients.len() >= CLIENTS_MAX {
                        continue;
                    }
                    let socket = Arc::new(UdpSocket::bind((from, 0)).await.unwrap());
                    reading.spawn(read(socket.clone(), client, answers.clone()));
                    clients.insert(client, socket);
                    paths.lock().unwrap().clients = clients.len();
                }
                let at = paths.lock().unwrap().up.send(Instant::now(), n);
                (at, (clients[&client].clone(), to, buffer[..n].to_vec()))
            }
        };
        if let Some(at) = arrives
            && waiting.len() < DATAGRAMS_MAX
        {
            next += 1;
            due.push(Reverse((at, next)));
            waiting.insert(next, outgoing);
        }
    }
}

/// What the server says to one client.
async fn read(
    socket: Arc<UdpSocket>,
    client: SocketAddr,
    answers: mpsc::Sender<(SocketAddr, Vec<u8>)>,
) {
    let mut buffer = vec![0; 65_536];
    loop {
        // A port that nobody listens at is an error, once.
        let Ok((n, _)) = socket.recv_from(&mut buffer).await else { continue };
        if answers.send((client, buffer[..n].to_vec())).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn a_line_passes_its_rate_and_loses_what_does_not_fit() {
        let shape =
            Shape { rate: Some(1_000_000), queue: 2_500, delay: ms(20), ..Shape::default() };
        let (start, mut path) = (Instant::now(), Path::new(shape, 1));
        // 1,250 bytes take 10 ms.
        let sent: Vec<_> = (0..3).map(|_| path.send(start, 1_250)).collect();
        assert_eq!(sent, [Some(start + ms(30)), Some(start + ms(40)), None]);
        // After 10 ms there is room for one more, behind the one that waits.
        let sent: Vec<_> = (0..2).map(|_| path.send(start + ms(10), 1_250)).collect();
        assert_eq!(sent, [Some(start + ms(50)), None]);
        // An empty line does not save up.
        assert_eq!(path.send(start + ms(500), 1_250), Some(start + ms(530)));
        path.reshape(Shape { rate: Some(2_000_000), ..shape });
        assert_eq!(path.send(start + ms(600), 1_250), Some(start + ms(625)));
        assert_eq!(path.lost(), 2);
    }

    #[test]
    fn chance_follows_its_seed() {
        let shape = Shape {
            loss: 0.01,
            reorder: 0.05,
            reorder_by: ms(5),
            delay: ms(1),
            ..Shape::default()
        };
        let now = Instant::now();
        let fates = |seed| {
            let mut path = Path::new(shape, seed);
            (0..10_000).map(|_| path.send(now, 1_200)).collect::<Vec<_>>()
        };
        let one = fates(7);
        assert_eq!(one, fates(7));
        assert_ne!(one, fates(8));
        let lost = one.iter().filter(|at| at.is_none()).count();
        let late = one.iter().filter(|at| **at == Some(now + ms(6))).count();
        assert!((50..150).contains(&lost) && (400..600).contains(&late), "{lost} {late}");
    }

    #[test]
    fn datagrams_go_through_and_back_and_a_new_address_is_one() {
        let wait = Some(Duration::from_secs(20));
        let server = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        server.set_read_timeout(wait).unwrap();
        let shape = Shape { delay: ms(1), ..Shape::default() };
        let relay = Impaired::start(server.local_addr().unwrap(), shape, shape, 3);
        let mut seen = Vec::new();
        for n in 1..=2 {
            let client = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            client.set_read_timeout(wait).unwrap();
            client.send_to(b"to", relay.address()).unwrap();
            let mut buffer = [0; 9];
            let (length, from) = server.recv_from(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], b"to");
            server.send_to(b"back", from).unwrap();
            let (length, answered) = client.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..length], answered), (&b"back"[..], relay.address()));
            seen.push(from);
            assert_eq!(relay.clients(), n);
        }
        assert_ne!(seen[0], seen[1]);
        // Nothing passes that is all lost.
        relay.reshape(Shape { loss: 1.0, ..shape }, shape);
        let client = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        client.send_to(b"gone", relay.address()).unwrap();
        crate::wait_until("it to be lost", 20, || (relay.lost() == (1, 0)).then_some(()));
    }
}
