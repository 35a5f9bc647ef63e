//! Where a client goes whose server asks it to leave (GOAWAY, draft-18 §10.4), and the sessions that it leaves behind.

use std::future::Future;
use std::time::{Duration, Instant};

use io_moq::client::{Client, Server};
use tokio::task::JoinSet;

use crate::limits::{LEAVING_MAX, MOVES_MAX, RECONNECT_AFTER, STAYED};

/// Where a client is, which servers may send on.
#[derive(Debug)]
pub(crate) struct Way {
    home: Server,
    at: Server,
    /// When it was sent there.
    since: Instant,
    /// How often it was sent on, each time before it had stayed.
    moves: u32,
}

impl Way {
    /// It begins at home, which is where it goes back to.
    pub(crate) fn new(home: Server, now: Instant) -> Self {
        Self { at: home.clone(), home, since: now, moves: 0 }
    }

    pub(crate) fn at(&self) -> &Server {
        &self.at
    }

    pub(crate) fn home(&self) -> &Server {
        &self.home
    }

    pub(crate) fn is_home(&self) -> bool {
        self.at == self.home
    }

    /// A server sends it there. How long to wait before that: two servers that send it to each other do so ever more slowly.
    /// Nothing: it was sent on too often, and stays where it is.
    pub(crate) fn sent(&mut self, uri: &str, now: Instant) -> Option<Duration> {
        let stayed = now.saturating_duration_since(self.since) >= STAYED;
        self.moves = if stayed { 1 } else { self.moves.saturating_add(1) };
        self.since = now;
        if self.moves > MOVES_MAX {
            return None;
        }
        self.at = self.at.moved(uri);
        Some(RECONNECT_AFTER * (self.moves - 1))
    }

    /// A request is to be made elsewhere (REDIRECT). How long to wait before that, as above;
    /// nothing: that is no address for us, or it was sent on too often.
    pub(crate) fn redirected(&mut self, uri: &str, now: Instant) -> Option<Duration> {
        let there = self.at.redirected(uri)?;
        let pause = self.sent("", now)?;
        self.at = there;
        Some(pause)
    }

    /// Where it was sent is nobody, or does not want it.
    pub(crate) fn go_home(&mut self) {
        self.at = self.home.clone();
    }
}

/// Sessions that go on beside the next one, until everything has moved there. They end with this.
#[derive(Default)]
pub(crate) struct Leaving(JoinSet<()>);

impl Leaving {
    /// One more, in a task of its own. What is open in it goes on until the server ends it, or until `done`: then it is
    /// brought to its end.
    pub(crate) fn push(
        &mut self,
        mut client: Client,
        done: impl Future<Output = ()> + Send + 'static,
    ) {
        while self.0.try_join_next().is_some() {}
        self.0.spawn(async move {
            let over = async {
                tokio::select! {
                    _ = client.run_out() => false,
                    () = done => true,
                }
            };
            match tokio::time::timeout(LEAVING_MAX, over).await {
                Ok(true) => client.finish().await,
                Ok(false) | Err(_) => client.leave().await,
            }
        });
    }

    /// Waits until all have ended.
    pub(crate) async fn over(&mut self) {
        while self.0.join_next().await.is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(host: &str) -> Server {
        Server { host: host.to_owned(), port: 4443, path: "/KEY".to_owned(), draft: None }
    }

    #[test]
    fn two_servers_that_send_us_to_each_other_do_so_ever_more_slowly() {
        let mut now = Instant::now();
        let mut way = Way::new(server("a"), now);
        let mut pauses = Vec::new();
        let uris = ["moqt://b:4443/KEY", "moqt://a:4443/KEY"];
        for uri in uris.iter().cycle() {
            let Some(pause) = way.sent(uri, now) else { break };
            pauses.push(pause);
            now += pause;
        }
        assert_eq!(pauses.len(), MOVES_MAX as usize);
        assert_eq!(pauses[0], Duration::ZERO, "the first one is no loop");
        assert!(pauses.windows(2).all(|pair| pair[0] < pair[1]), "{pauses:?}");
        // It stays where it was, and is told so again.
        let at = way.at().clone();
        assert_eq!((way.sent("moqt://c:1/", now), way.at()), (None, &at));
        // Who has stayed is sent on as at first.
        now += STAYED;
        assert_eq!(way.sent("moqt://b:4443/KEY", now), Some(Duration::ZERO));
        assert!(!way.is_home());
        way.go_home();
        assert!(way.is_home());
        // An address that is none, or that of another protocol, leads to where we are.
        for uri in ["", "https://b:4443/KEY", "nonsense"] {
            now += STAYED;
            assert_eq!(way.sent(uri, now), Some(Duration::ZERO));
            assert!(way.is_home(), "{uri}");
        }
    }
}
