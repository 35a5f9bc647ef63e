//! What is kept of a server that we come back to: what is said first then goes with the first packet (0-RTT, RFC 9001 §4.6).

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use quinn::{ClientConfig, VarInt};

use super::{ConnectError, Connection, Endpoint, EndpointError, Trust, client_config, finish};
use crate::limits;

/// A server that is connected to again and again, by one trust and for the same protocols.
#[derive(Default)]
pub(crate) struct Known(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    /// With what resumes sessions.
    config: Option<ClientConfig>,
    /// Where it was the last time, and what was spoken.
    was: Option<(SocketAddr, Vec<u8>)>,
}

impl Known {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where it was the last time.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.kept().was.as_ref().map(|(address, _)| *address)
    }

    fn config(&self, trust: Trust, protocols: &[&str]) -> Result<ClientConfig, EndpointError> {
        let mut kept = self.kept();
        if let Some(config) = &kept.config {
            return Ok(config.clone());
        }
        let mut config = client_config(trust, protocols)?;
        let mut transport = super::transport();
        transport
            .receive_window(VarInt::from_u32(limits::UPLINK_RECEIVE_WINDOW))
            .keep_alive_interval(Some(limits::UPLINK_KEEP_ALIVE))
            .max_idle_timeout(quinn::IdleTimeout::try_from(limits::UPLINK_IDLE).ok());
        config.transport_config(Arc::new(transport));
        Ok(kept.config.insert(config).clone())
    }
}

impl Endpoint {
    /// Connects to a relay that we pull from: that it is gone is to be known soon. `early`: at once, if it is known from the last time;
    /// then it may turn out that nothing of what was said counts ([`Connection::was_too_early`]).
    pub(crate) async fn connect_up(
        &self,
        to: SocketAddr,
        name: &str,
        (trust, protocols): (Trust, &[&str]),
        (known, early): (&Known, bool),
    ) -> Result<Connection, ConnectError> {
        let config = known
            .config(trust, protocols)
            .map_err(|_| ConnectError::Address(quinn::ConnectError::NoDefaultClientConfig))?;
        let mut connecting = self.quic().connect_with(config, to, name)?;
        let was = known.kept().was.clone().filter(|(address, _)| early && *address == to);
        if let Some((_, protocol)) = was {
            match connecting.into_0rtt() {
                Ok((quic, accepted)) => {
                    let (early, resumed) = (Some(accepted.shared()), Some(protocol));
                    return Ok(Connection { early, resumed, ..Connection::raw(quic) });
                }
                Err(unknown) => connecting = unknown,
            }
        }
        let connection = Connection::raw(finish(connecting).await?);
        known.kept().was = connection.protocol().map(|protocol| (to, protocol));
        Ok(connection)
    }
}

impl Connection {
    /// Whether a server has taken nothing of what was said with the first packet, once that is known: all of it is to be said again, over
    /// another connection. Not, if nothing was, or the connection is over.
    pub(crate) async fn was_too_early(&self) -> bool {
        match self.early.clone().filter(|_| self.resumed.is_some()) {
            Some(accepted) => !accepted.await && !self.is_over(),
            None => false,
        }
    }
}
