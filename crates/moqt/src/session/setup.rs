//! SETUP (draft-18 §3.3, §10.3), and what comes before the peer's.

use std::time::Instant;

use bytes::Bytes;

use super::api::{Config, Event, Input, Output, Peer, StreamId, Transport};
use super::{Phase, Role, Session};
use crate::code::{ResetCode, SessionCode};
use crate::error::Violation;
use crate::limits;
use crate::message::Message;
use crate::message::goaway::GoAway;
use crate::message::setup::{self, Setup};
use crate::version::{Requests, SetupForm};

/// What came on other streams before the peer's SETUP, in order (draft-18 §3.3).
#[derive(Debug, Default)]
pub(super) struct Early {
    inputs: Vec<Input>,
    bytes: usize,
}

impl Early {
    pub(super) fn len(&self) -> usize {
        self.inputs.len()
    }

    pub(super) fn held(&self) -> usize {
        self.bytes
    }
}

impl Session {
    pub(super) fn send_setup(&mut self) {
        let Config { transport, path, authority, implementation, tokens, .. } = &self.config;
        // draft-18 §10.3.1.1, §10.3.1.2
        let url = self.role == Role::Client && *transport == Transport::Quic;
        let text =
            |text: &str| (url && !text.is_empty()).then(|| Bytes::copy_from_slice(text.as_bytes()));
        // Of a draft in which a server speaks second, who said nothing of it is told nothing of it.
        let second =
            self.role == Role::Server && self.config.version.row().setup == SetupForm::Counted;
        let told = !second || self.peer_node.is_some();
        let setup = Setup {
            path: text(path),
            max_request_id: self.allowance.max_request_id(),
            authority: text(authority),
            tokens: tokens.clone(),
            token_cache_bytes: self.config.token_cache_bytes,
            implementation: Bytes::copy_from_slice(implementation.as_bytes()),
            filter_ranges: self.config.filter_ranges,
            updates: self.config.request_updates as u64,
            node: self.config.node.filter(|_| told),
            grease: Some(self.config.grease),
        };
        match setup.encode(self.config.version, self.role == Role::Client) {
            Ok(bytes) => self.outputs.push_back(Output::Control(bytes)),
            Err(_) => self.close(SessionCode::InternalError, "SETUP is too long".to_owned()),
        }
    }

    pub(super) fn on_control(&mut self, now: Instant, bytes: &[u8]) -> Result<(), Violation> {
        let version = self.config.version;
        let peers_setup = setup::message(version, self.role == Role::Server);
        self.control.push(bytes);
        while let Some((message, body)) = self.control.next() {
            match (message, self.phase) {
                (message, Phase::Opening) if message == peers_setup => {
                    let setup = Setup::decode(version, body)?;
                    self.on_setup(setup)?;
                    self.replay(now)?;
                }
                (Message::GoAway, Phase::Open) => {
                    let goaway = GoAway::decode(version, body, true)?;
                    self.on_goaway(goaway)?;
                }
                (_, Phase::Opening) => {
                    return Err(Violation::protocol("a control stream does not begin with SETUP"));
                }
                (message, Phase::Open) if version.row().requests == Requests::OnControl => {
                    self.on_shared(now, message, body)?;
                }
                // Nothing that came behind the end counts.
                (_, Phase::Closed) => return Ok(()),
                // draft-18 §10: only these two stand on a control stream, SETUP once.
                _ => return Err(Violation::protocol("a message that no control stream carries")),
            }
        }
        Ok(())
    }

    fn on_setup(&mut self, setup: Setup) -> Result<(), Violation> {
        let by_client = self.role == Role::Server;
        let allowed = by_client && self.config.transport == Transport::Quic;
        if setup.path.is_some() && !allowed {
            // draft-18 §10.3.1.2
            return Err(Violation::new(SessionCode::InvalidPath, "PATH where there is none"));
        }
        if setup.authority.is_some() && !allowed {
            // draft-18 §10.3.1.1
            return Err(Violation::new(
                SessionCode::InvalidAuthority,
                "AUTHORITY where there is none",
            ));
        }
        let path = setup.path.unwrap_or_default();
        if !is_path(&path) {
            return Err(Violation::new(SessionCode::MalformedPath, "PATH is no path"));
        }
        let authority = setup.authority.as_deref();
        if !authority.is_none_or(is_authority) {
            return Err(Violation::new(
                SessionCode::MalformedAuthority,
                "AUTHORITY is no authority",
            ));
        }
        let tokens = self.tokens.setup(setup.tokens, by_client)?;
        self.phase = Phase::Open;
        self.peer_updates_max = setup.updates;
        self.peer_filter_ranges = setup.filter_ranges;
        self.peer_node = setup.node.filter(|_| self.config.node.is_some());
        if by_client && self.config.version.row().setup == SetupForm::Counted {
            self.send_setup();
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let peer = Peer {
            path: text(&path),
            authority: text(authority.unwrap_or_default()),
            implementation: text(&setup.implementation),
            token_cache_bytes: setup.token_cache_bytes,
            tokens,
            filter_ranges: setup.filter_ranges,
        };
        self.event(Event::Ready(peer));
        if self.config.version.row().requests == Requests::OnControl {
            self.allow(setup.max_request_id);
        }
        Ok(())
    }

    /// Holds what came before the peer's SETUP, within bounds; a stream beyond them is reset, which the
    /// draft allows.
    pub(super) fn keep_early(&mut self, input: Input) {
        let bytes = bytes_of(&input);
        let stream = match &input {
            Input::Bytes { stream, .. } => Some(*stream),
            _ => None,
        };
        if stream.is_some_and(|stream| self.dead.contains(&stream)) {
            return;
        }
        let full = self.early.bytes + bytes > limits::EARLY_BYTES_MAX
            || self.early.inputs.len() >= limits::EARLY_INPUTS_MAX;
        match (full, stream, &input) {
            (false, ..) => {
                self.early.bytes += bytes;
                self.early.inputs.push(input);
            }
            (true, Some(stream @ StreamId::Peers(_)), _) => {
                // All of it: half a request is of no use.
                let same = |input: &Input| matches!(input, Input::Bytes { stream: other, .. } if *other == stream);
                self.early.inputs.retain(|input| !same(input));
                self.early.bytes = self.early.inputs.iter().map(bytes_of).sum();
                self.dead.insert(stream);
                self.reset(stream, ResetCode::ExcessiveLoad);
                self.stop(stream, ResetCode::ExcessiveLoad);
            }
            (true, _, Input::DataOpened { stream, .. }) => {
                self.stop_data(*stream, ResetCode::ExcessiveLoad);
            }
            _ => {}
        }
    }

    fn replay(&mut self, now: Instant) -> Result<(), Violation> {
        for input in std::mem::take(&mut self.early).inputs {
            self.input(now, input)?;
        }
        Ok(())
    }
}

fn bytes_of(input: &Input) -> usize {
    match input {
        Input::Bytes { bytes, .. } | Input::Datagram(bytes) => bytes.len(),
        _ => 0,
    }
}

/// RFC 3986 §3.3, §3.4: `path-abempty`, then perhaps `?` and a query.
fn is_path(text: &[u8]) -> bool {
    let mut parts = text.splitn(2, |byte| *byte == b'?');
    let path = parts.next().unwrap_or_default();
    let query = parts.next().unwrap_or_default();
    (path.is_empty() || path.starts_with(b"/")) && is_of(path, b"/:@") && is_of(query, b"/:@?")
}

/// RFC 3986 §3.2: an optional user, a host (not empty, draft-18 §3.1.1), an optional port.
fn is_authority(text: &[u8]) -> bool {
    let host_at = text.iter().rposition(|byte| *byte == b'@').map_or(0, |at| at + 1);
    let (user, rest) = text.split_at(host_at);
    let host_end = match rest.first() {
        Some(b'[') => rest.iter().position(|byte| *byte == b']').map_or(0, |at| at + 1),
        _ => rest.iter().position(|byte| *byte == b':').unwrap_or(rest.len()),
    };
    let (host, port) = rest.split_at(host_end);
    let port_ok = match port.split_first() {
        None => true,
        Some((b':', digits)) => digits.iter().all(u8::is_ascii_digit),
        Some(_) => false,
    };
    let host_ok = match host {
        [b'[', inner @ .., b']'] => !inner.is_empty() && is_of(inner, b":"),
        _ => is_of(host, b""),
    };
    is_of(user.strip_suffix(b"@").unwrap_or(user), b":") && !host.is_empty() && host_ok && port_ok
}

/// Whether a text has only unreserved characters, sub-delimiters, percent-encodings and these.
fn is_of(text: &[u8], also: &[u8]) -> bool {
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = match byte {
            b'%' => match after {
                [high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                    after
                }
                _ => return false,
            },
            byte if byte.is_ascii_alphanumeric()
                || b"-._~!$&'()*+,;=".contains(byte)
                || also.contains(byte) =>
            {
                after
            }
            _ => return false,
        };
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draft18_s10_3_1_2_paths() {
        for (text, good) in [
            ("", true),
            ("/", true),
            ("/live/key?jwt=a.b-c", true),
            ("/a%20b", true),
            ("?a=b/c?d", true),
            ("a", false),
            ("/a b", false),
            ("/a%2", false),
            ("/a#b", false),
            ("/\u{e9}", false),
        ] {
            assert_eq!(is_path(text.as_bytes()), good, "{text}");
        }
    }

    #[test]
    fn draft18_s10_3_1_1_authorities() {
        for (text, good) in [
            ("a.example", true),
            ("a.example:4443", true),
            ("127.0.0.1:1", true),
            ("[::1]:4443", true),
            ("u:p@host", true),
            ("host:", true),
            ("", false),
            (":4443", false),
            ("host:x", false),
            ("[::1", false),
            ("[]", false),
            ("a/b", false),
        ] {
            assert_eq!(is_authority(text.as_bytes()), good, "{text}");
        }
    }
}
