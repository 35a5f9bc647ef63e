//! Where a URL leads.

use rtmp::client::{Target as RtmpTarget, TargetError};

use crate::address::{AddressProblem, MoqAddress};

/// A server, and what is published there.
#[derive(Debug, Clone)]
pub enum Target {
    /// With the key.
    Rtmp(RtmpTarget),
    /// With the key in the path, and the namespace.
    Moq(MoqAddress),
}

impl Target {
    /// Host and port.
    pub fn server(&self) -> String {
        match self {
            Self::Rtmp(target) => format!("{}:{}", target.host, target.port),
            Self::Moq(address) => address.server.authority(),
        }
    }

    /// The same, over MoQ to be spoken to in this draft alone.
    pub fn speaking(self, draft: Option<u8>) -> Self {
        match self {
            Self::Moq(address) => Self::Moq(address.speaking(draft)),
            other => other,
        }
    }
}

/// Why a URL can't be published to. Never shows the URL: it holds a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetProblem {
    /// A protocol that Airwave will publish to.
    #[error("publishing over {0} is not there yet; rtmp://, rtmps:// and moqt:// are")]
    NotYet(&'static str),
    /// Another one.
    #[error("{0}:// is no protocol to publish over; rtmp://, rtmps:// and moqt:// are")]
    Unknown(String),
    /// No URL at all.
    #[error("the target is a URL such as rtmp://127.0.0.1:1935/live/KEY")]
    NoUrl,
    /// An RTMP URL that is wrong.
    #[error("{0}; write rtmp://HOST:1935/live/KEY")]
    Rtmp(#[from] TargetError),
    /// A MoQ address that is wrong.
    #[error(transparent)]
    Moq(#[from] AddressProblem),
    /// A MoQ address that names no broadcast.
    #[error(
        "the URL names no broadcast; write moqt://HOST:4443/KEY#msf:default-ID with the input's ID"
    )]
    NoBroadcast,
}

/// Reads the URL.
pub fn target(url: &str) -> Result<Target, TargetProblem> {
    let (scheme, _) = url.split_once("://").ok_or(TargetProblem::NoUrl)?;
    match scheme.to_ascii_lowercase().as_str() {
        "rtmp" | "rtmps" => Ok(Target::Rtmp(RtmpTarget::parse(url)?)),
        "srt" => Err(TargetProblem::NotYet("SRT")),
        "http" | "https" => Err(TargetProblem::NotYet("WHIP")),
        "moqt" => {
            let address = MoqAddress::parse(url)?;
            let named = address.namespace.is_some();
            named.then_some(Target::Moq(address)).ok_or(TargetProblem::NoBroadcast)
        }
        other if other.chars().all(|c| c.is_ascii_alphanumeric()) => {
            Err(TargetProblem::Unknown(other.to_owned()))
        }
        _ => Err(TargetProblem::NoUrl),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_yet_is_said() {
        for (url, expect) in [
            ("srt://h:8890?streamid=KEY", "publishing over SRT is not there yet"),
            ("https://h/KEY/webRTC/publish", "publishing over WHIP is not there yet"),
            ("moqt://h:4443/KEY", "the URL names no broadcast"),
            ("moqt://h:4443/KEY#msf:a/b", "#msf:default-ID--catalog"),
            ("gopher://h/KEY", "gopher:// is no protocol"),
            ("KEY", "such as rtmp://127.0.0.1:1935/live/KEY"),
            ("rtmp://h/KEY", "the URL's path is not /application/key"),
        ] {
            let text = target(url).unwrap_err().to_string();
            assert!(text.contains(expect), "{url}: {text}");
        }
        assert!(matches!(target("RTMPS://h/live/KEY"), Ok(Target::Rtmp(target)) if target.tls));
        let moq = target("moqt://h/KEY#msf:default-00ab").unwrap();
        assert_eq!(moq.server(), "h:4443");
    }
}
