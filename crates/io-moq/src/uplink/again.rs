//! Why there is no upstream, in words, and when it is tried again.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use moqt::{RequestCode, RequestError};

use crate::client::{ClientError, Denial, Over, Server};
use crate::limits::{
    UPLINK_AGAIN, UPLINK_AGAIN_MAX, UPLINK_REASONS_KEPT, UPLINK_REFUSED_MAX, UPLINK_STEADY,
};
use crate::transport::ConnectError;

/// Why an upstream does not tell us anything.
pub(super) enum Ended {
    Failed(ClientError),
    Refused(Denial),
    Silent,
    Over(Over),
    /// It tells of more changes than are taken.
    Restless,
    Panicked,
    /// It took nothing of what was said with the first packet: it is said again at once.
    TooEarly,
    /// This node stops.
    Left,
}

impl Ended {
    /// In words, and what helps.
    pub(super) fn words(&self) -> (String, &'static str) {
        let unauthorized = |error: &RequestError| error.code == RequestCode::Unauthorized;
        let advice = match self {
            Self::Failed(ClientError::Name { .. }) => "is the name in moq.upstreams right?",
            Self::Failed(ClientError::Connect { error: ConnectError::Untrusted(_), .. }) => {
                "moq.upstream_trust says whose certificates are believed"
            }
            Self::Failed(ClientError::Connect { error: ConnectError::Protocol, .. }) => {
                "it must speak a draft that this one speaks: moq.drafts, there"
            }
            Self::Failed(_) => "does it run, and does UDP get there?",
            Self::Refused(Denial::Answered(error)) if unauthorized(error) => {
                "is the token in moq.upstreams good, and not over?"
            }
            Self::Refused(_) => "moq.upstream_namespaces says what is asked for",
            Self::Silent => "is it a relay of MoQ?",
            Self::Restless => "what does it tell of? moq.upstream_namespaces can leave some out",
            Self::Over(_) | Self::Panicked | Self::TooEarly | Self::Left => {
                "it is tried again by itself"
            }
        };
        let words = match self {
            Self::Failed(error) => error.to_string(),
            Self::Refused(denial) => denial.to_string(),
            Self::Silent => "it does not say what it has".to_owned(),
            Self::Over(over) => over.reason().to_owned(),
            Self::Restless => "its namespaces come and go too fast".to_owned(),
            Self::Panicked => "an error of this program (a panic, which the log has)".to_owned(),
            Self::TooEarly => "it does not know us from earlier".to_owned(),
            Self::Left => "this node stops".to_owned(),
        };
        // Some of them are a stranger's.
        (words.escape_debug().to_string(), advice)
    }

    /// Where it is to be tried next. A redirect (decision 103) under other names is not followed: what comes would have those.
    pub(super) fn next(&self, configured: &Server) -> Server {
        let there = match self {
            Self::Over(Over::GoAway { uri }) => Some(configured.moved(uri)),
            Self::Refused(denial) => {
                let redirect = denial.redirect().filter(|it| it.namespace.is_root());
                redirect.and_then(|redirect| configured.redirected(&redirect.uri))
            }
            _ => None,
        };
        there.unwrap_or_else(|| configured.clone())
    }
}

/// How long to wait before the next try.
pub(super) struct Again {
    wait: Duration,
    /// When it went on at once, as it was asked to.
    moved: Option<Instant>,
}

impl Again {
    pub(super) fn new() -> Self {
        Self { wait: UPLINK_AGAIN, moved: None }
    }

    /// After a link that has told what it has for so long, or never did.
    pub(super) fn after(
        &mut self,
        ended: &Ended,
        stood: Option<Duration>,
        now: Instant,
        random: u64,
    ) -> Duration {
        if stood >= Some(UPLINK_STEADY) {
            self.wait = UPLINK_AGAIN;
        }
        match ended {
            // It said where it goes on: it is there by now, and viewers wait. Two that send us to and fro do not
            // hurry us.
            Ended::Over(Over::GoAway { .. })
                if stood.is_some()
                    && self.moved.is_none_or(|at| now.duration_since(at) >= UPLINK_STEADY) =>
            {
                self.moved = Some(now);
                return Duration::ZERO;
            }
            // When it wants to be asked again.
            Ended::Refused(Denial::Answered(error)) if error.redirect.is_none() => {
                // Not at all, if it says nothing: what is wrong may be mended there all the same.
                let least = error.retry_after.unwrap_or(UPLINK_AGAIN_MAX).min(UPLINK_REFUSED_MAX);
                return self.next(random).max(least);
            }
            _ => {}
        }
        self.next(random)
    }

    fn next(&mut self, random: u64) -> Duration {
        let wait = self.wait;
        self.wait = (wait * 2).min(UPLINK_AGAIN_MAX);
        // Three quarters of it to five quarters.
        wait * 3 / 4 + (wait / 2).mul_f64((random % 1_000) as f64 / 1_000.0)
    }
}

/// Reasons that were said since the link was there: each once, and not with each try.
#[derive(Default)]
pub(super) struct Said(BTreeSet<String>);

impl Said {
    /// Whether it is to be said.
    pub(super) fn is_new(&mut self, words: &str, was_there: bool) -> bool {
        if was_there || self.0.len() >= UPLINK_REASONS_KEPT {
            self.0.clear();
        }
        self.0.insert(words.to_owned())
    }
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_lost_is_asked_less_and_less_often() {
        let (mut again, now) = (Again::new(), Instant::now());
        let lost = Ended::Silent;
        let waits: Vec<Duration> = (0..10).map(|_| again.after(&lost, None, now, 0)).collect();
        assert!(waits.is_sorted() && waits[0] >= UPLINK_AGAIN / 2, "{waits:?}");
        assert_eq!(waits[9], UPLINK_AGAIN_MAX * 3 / 4);
        assert!(again.after(&lost, None, now, 999) < UPLINK_AGAIN_MAX * 5 / 4);
        // One that comes for a moment is no better; one that stood for a while begins anew.
        let moment = Some(UPLINK_STEADY / 2);
        assert_eq!(again.after(&lost, moment, now, 0), UPLINK_AGAIN_MAX * 3 / 4);
        assert_eq!(again.after(&lost, Some(UPLINK_STEADY), now, 0), UPLINK_AGAIN * 3 / 4);
    }

    #[test]
    fn who_asks_to_leave_is_followed_at_once_and_not_to_and_fro() {
        let (mut again, now) = (Again::new(), Instant::now());
        let away = Ended::Over(Over::GoAway { uri: String::new() });
        let moment = Some(Duration::from_millis(1));
        assert_eq!(again.after(&away, moment, now, 0), Duration::ZERO);
        let waits: Vec<Duration> = (0..9).map(|_| again.after(&away, moment, now, 0)).collect();
        assert!(waits.is_sorted() && waits[0] == UPLINK_AGAIN * 3 / 4, "{waits:?}");
        assert_eq!(waits[8], UPLINK_AGAIN_MAX * 3 / 4);
        let later = now + UPLINK_STEADY;
        assert_eq!(again.after(&away, Some(UPLINK_STEADY), later, 0), Duration::ZERO);
        assert_eq!(again.after(&away, moment, later, 0), UPLINK_AGAIN * 3 / 4);
        // Who never told anything has nothing to go on with.
        assert!(Again::new().after(&away, None, now, 0) > Duration::ZERO);
    }

    #[test]
    fn who_refuses_is_asked_again_when_he_wants_it() {
        let refused = |retry_after| {
            let error = RequestError::new(RequestCode::Unauthorized, "");
            let error = RequestError { retry_after, ..error };
            Again::new().after(&Ended::Refused(Denial::Answered(error)), None, Instant::now(), 0)
        };
        assert_eq!(refused(None), UPLINK_AGAIN_MAX);
        assert_eq!(refused(Some(Duration::ZERO)), UPLINK_AGAIN * 3 / 4);
        assert_eq!(refused(Some(Duration::from_secs(77))), Duration::from_secs(77));
        assert_eq!(refused(Some(Duration::MAX)), UPLINK_REFUSED_MAX);
    }

    #[test]
    fn each_reason_is_said_once_until_the_link_was_there() {
        let mut said = Said::default();
        let mut say = |words: &str, was_there| said.is_new(words, was_there);
        assert!(say("timed out", false) && say("refused", false));
        assert!(!say("timed out", false) && !say("refused", false));
        assert!(say("timed out", true) && !say("timed out", false) && say("refused", false));
        let many = (0..10_000).map(|n| n.to_string());
        assert!(many.into_iter().all(|words| said.is_new(&words, false)));
        assert!(said.0.len() <= UPLINK_REASONS_KEPT);
    }
}
