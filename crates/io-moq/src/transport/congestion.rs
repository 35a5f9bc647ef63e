//! A congestion controller that keeps queues short: no more is under way than the path delivers in about two of its
//! shortest round trips, however much its routers would hold. Behind it stands CUBIC, which answers loss, if it is more
//! than chance.
//!
//! What is newest can't overtake what waits in a router. A window that grows until something is lost (CUBIC alone)
//! fills whatever the path buffers, seconds of it on a mobile network.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::congestion::{Controller, ControllerFactory, CubicConfig};
use quinn_proto::RttEstimator;

/// By how much what is under way exceeds what the path delivers in its shortest round trip: enough to see in one
/// round trip that it has become faster.
const GAIN: f64 = 2.0;

/// The same while the shortest round trip is looked for again: queues run empty.
const PROBE_GAIN: f64 = 0.5;

/// A shortest round trip that was not seen again for so long is looked for.
const MIN_RTT_AGE: Duration = Duration::from_secs(4);

/// The fastest delivery counts for so long.
const RATE_AGE: Duration = Duration::from_millis(600);

/// Besides, for acknowledgements that peers hold back (25 ms: RFC 9000 §18.2) and that come in bursts over the air.
const SLACK: Duration = Duration::from_millis(60);

/// Packets that may always be under way.
const PACKETS_MIN: u64 = 6;

/// What share of loss is taken for chance, as over the air, and not for a queue that is full.
const LOSS_BORNE: f64 = 0.02;

/// Over how many packets it is counted.
const LOSS_PACKETS: u64 = 300;

/// Makes them.
pub(super) struct DelayConfig(pub(super) Arc<CubicConfig>);

impl ControllerFactory for DelayConfig {
    fn build(self: Arc<Self>, now: Instant, mtu: u16) -> Box<dyn Controller> {
        Box::new(Delay::new(self.0.clone().build(now, mtu), mtu))
    }
}

struct Delay {
    loss: Box<dyn Controller>,
    mtu: u64,
    /// Bytes acknowledged so far, and how many it were at earlier acknowledgements.
    delivered: u64,
    history: VecDeque<(Instant, u64)>,
    /// When the newest packet of those that are being acknowledged was sent.
    sent: Option<Instant>,
    /// Bytes a second, falling: the first one counts.
    rates: VecDeque<(Instant, f64)>,
    shortest: Option<Shortest>,
    /// Bytes lost, and delivered, of the last few round trips: what is older counts less.
    lost: f64,
    passed: f64,
}

/// The shortest round trip.
#[derive(Clone, Copy)]
struct Shortest {
    rtt: Duration,
    seen: Instant,
    /// Until when it is looked for again, and what was found.
    probe: Option<(Instant, Duration)>,
}

impl Delay {
    fn new(loss: Box<dyn Controller>, mtu: u16) -> Self {
        Self {
            loss,
            mtu: mtu.into(),
            delivered: 0,
            history: VecDeque::new(),
            sent: None,
            rates: VecDeque::new(),
            shortest: None,
            lost: 0.0,
            passed: 0.0,
        }
    }

    fn round_trip(&mut self, now: Instant, rtt: Duration) {
        let Some(shortest) = &mut self.shortest else {
            self.shortest = Some(Shortest { rtt, seen: now, probe: None });
            return;
        };
        if rtt <= shortest.rtt {
            *shortest = Shortest { rtt, seen: now, probe: None };
            return;
        }
        match &mut shortest.probe {
            None if now > shortest.seen + MIN_RTT_AGE => {
                // A round trip for the queue to run empty, and one to see that it has.
                let until = now + rtt * 2 + SLACK;
                shortest.probe = Some((until, rtt));
            }
            None => {}
            Some((until, found)) => {
                *found = rtt.min(*found);
                if now > *until {
                    *shortest = Shortest { rtt: *found, seen: now, probe: None };
                }
            }
        }
    }

    fn deliver(&mut self, now: Instant, app_limited: bool) {
        let Some(sent) = self.sent.take() else { return };
        self.round_trip(now, now.saturating_duration_since(sent));
        // What had been delivered when that packet was sent, and when that was told.
        let before = self.history.partition_point(|(at, _)| *at <= sent);
        if let Some((at, delivered)) = before.checked_sub(1).and_then(|n| self.history.get(n)) {
            let seconds = now.saturating_duration_since(*at).as_secs_f64();
            let rate = (self.delivered - delivered) as f64 / seconds.max(1e-4);
            let fastest = self.rates.front().map_or(0.0, |(_, rate)| *rate);
            // A source that pauses says nothing of how fast the path is, unless it was faster still.
            if !app_limited || rate > fastest {
                while self.rates.back().is_some_and(|(_, slower)| *slower <= rate) {
                    self.rates.pop_back();
                }
                self.rates.push_back((now, rate));
                while self.rates.len() > 1 && self.rates[0].0 + RATE_AGE < now {
                    self.rates.pop_front();
                }
            }
        }
        self.history.push_back((now, self.delivered));
        while self.history.len() > 2 && self.history[1].0 + RATE_AGE * 4 < now {
            self.history.pop_front();
        }
    }
}

impl Controller for Delay {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.loss.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        app_limited: bool,
        rtt: &RttEstimator,
    ) {
        self.loss.on_ack(now, sent, bytes, app_limited, rtt);
        self.delivered += bytes;
        self.passed += bytes as f64;
        let memory = (self.mtu * LOSS_PACKETS) as f64;
        if self.passed > memory {
            self.lost *= memory / self.passed;
            self.passed = memory;
        }
        self.sent = self.sent.max(Some(sent));
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        app_limited: bool,
        largest: Option<u64>,
    ) {
        self.loss.on_end_acks(now, in_flight, app_limited, largest);
        self.deliver(now, app_limited);
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        self.lost += lost_bytes as f64;
        // No bytes: a router says so before it loses any (ECN).
        let many = self.lost > LOSS_BORNE * (self.lost + self.passed);
        if many || is_persistent_congestion || lost_bytes == 0 {
            self.loss.on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
        }
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.mtu = new_mtu.into();
        self.loss.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        let window = self.loss.window();
        let (Some((_, rate)), Some(shortest)) = (self.rates.front(), self.shortest) else {
            return window;
        };
        let gain = if shortest.probe.is_some() { PROBE_GAIN } else { GAIN };
        let trip = shortest.rtt.as_secs_f64() * gain + SLACK.as_secs_f64();
        window.min(((rate * trip) as u64).max(self.mtu * PACKETS_MIN))
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self {
            loss: self.loss.clone_box(),
            mtu: self.mtu,
            delivered: self.delivered,
            history: self.history.clone(),
            sent: self.sent,
            rates: self.rates.clone(),
            shortest: self.shortest,
            lost: self.lost,
            passed: self.passed,
        })
    }

    fn initial_window(&self) -> u64 {
        self.loss.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
