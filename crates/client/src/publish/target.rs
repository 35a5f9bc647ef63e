//! Where a URL leads.

use rtmp::client::{Target, TargetError};

/// Why a URL can't be published to. Never shows the URL: it holds a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetProblem {
    /// A protocol that Airwave will publish to.
    #[error("publishing over {0} is not there yet; rtmp:// and rtmps:// are")]
    NotYet(&'static str),
    /// Another one.
    #[error("{0}:// is no protocol to publish over; rtmp:// and rtmps:// are")]
    Unknown(String),
    /// No URL at all.
    #[error("the target is a URL such as rtmp://127.0.0.1:1935/live/KEY")]
    NoUrl,
    /// An RTMP URL that is wrong.
    #[error("{0}; write rtmp://HOST:1935/live/KEY")]
    Rtmp(#[from] TargetError),
}

/// Reads the URL.
pub fn target(url: &str) -> Result<Target, TargetProblem> {
    let (scheme, _) = url.split_once("://").ok_or(TargetProblem::NoUrl)?;
    match scheme.to_ascii_lowercase().as_str() {
        "rtmp" | "rtmps" => Ok(Target::parse(url)?),
        "srt" => Err(TargetProblem::NotYet("SRT")),
        "http" | "https" => Err(TargetProblem::NotYet("WHIP")),
        "moqt" => Err(TargetProblem::NotYet("MoQ")),
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
            ("moqt://h:4443/KEY", "publishing over MoQ is not there yet"),
            ("gopher://h/KEY", "gopher:// is no protocol"),
            ("KEY", "such as rtmp://127.0.0.1:1935/live/KEY"),
            ("rtmp://h/KEY", "the URL's path is not /application/key"),
        ] {
            let text = target(url).unwrap_err().to_string();
            assert!(text.contains(expect), "{url}: {text}");
        }
        assert!(target("RTMPS://h/live/KEY").unwrap().tls);
    }
}
