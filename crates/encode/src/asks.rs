//! Who has asked for what a job makes. Addresses take turns, and what several ask for is made in the turn of whoever of them has the
//! first one: who joins what another one waits for is neither delayed by that, nor before others.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::limits::ASKERS_MAX;

/// Who has asked for what a job makes.
#[derive(Debug, Default)]
pub(crate) struct Asks {
    by: Mutex<By>,
    told: Notify,
}

/// Who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum By {
    /// These; nobody yet, if there are none.
    Addresses(Vec<IpAddr>),
    /// Many people, or the server itself: they wait for nobody's turn.
    Many,
}

impl Default for By {
    fn default() -> Self {
        Self::Addresses(Vec::new())
    }
}

impl Asks {
    /// This address has asked; none: many people, or the server itself.
    pub(crate) fn of(address: Option<IpAddr>) -> Arc<Self> {
        let by = address.map_or(By::Many, |address| By::Addresses(vec![address]));
        Arc::new(Self { by: by.into(), told: Notify::new() })
    }

    /// It asks, too. The job hears of who has not asked before.
    pub(crate) fn ask(&self, address: Option<IpAddr>) {
        {
            let mut by = self.lock();
            match (&mut *by, address) {
                (By::Many, _) => return,
                (By::Addresses(all), Some(address)) if all.contains(&address) => return,
                (By::Addresses(all), Some(address)) if all.len() < ASKERS_MAX => all.push(address),
                (all, _) => *all = By::Many,
            }
        }
        self.told.notify_one();
    }

    /// Ends when somebody has asked who had not before. For one who waits.
    pub(crate) async fn more(&self) {
        self.told.notified().await;
    }

    pub(crate) fn by(&self) -> By {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, By> {
        self.by.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_job_hears_of_each_who_has_not_asked_before_until_they_are_many() {
        let address = |n: usize| Some(Ipv4Addr::from(n as u32).into());
        let asks = Asks::default();
        let hears = async || timeout(Duration::from_secs(1), asks.more()).await.is_ok();
        assert!(!hears().await, "nobody has asked");
        for n in 0..ASKERS_MAX {
            for new in [true, false] {
                asks.ask(address(n));
                assert_eq!(hears().await, new, "{n}");
            }
        }
        let all = (0..ASKERS_MAX).filter_map(address).collect();
        assert_eq!(asks.by(), By::Addresses(all));
        asks.ask(address(ASKERS_MAX));
        assert_eq!((hears().await, asks.by()), (true, By::Many));
        asks.ask(address(ASKERS_MAX + 1));
        assert!(!hears().await);
        // The server itself has no turn to wait for.
        let asks = Asks::of(address(1));
        asks.ask(None);
        assert_eq!((asks.by(), Asks::of(None).by()), (By::Many, By::Many));
    }
}
