//! Blocking playlist reload: is what a client asks for there, shall it wait, or is it out of reach?

use crate::hls::listed_parts;
use crate::index::Index;
use crate::limits::AHEAD_SEGMENTS;

/// The delivery directives of a request. RFC 8216bis §6.2.5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Directives {
    /// `_HLS_msn`: the playlist must have this segment...
    pub msn: Option<u64>,
    /// ...or this part of it (`_HLS_part`).
    pub part: Option<u64>,
    /// `_HLS_skip`: older segments may be left out.
    pub skip: bool,
}

/// Directives that a client must not send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadDirectives {
    /// `_HLS_part` needs `_HLS_msn`. RFC 8216bis §6.2.5.2.
    #[error("_HLS_part needs _HLS_msn")]
    PartAlone,
    /// Not a number.
    #[error("{0} must be a decimal number")]
    NotANumber(&'static str),
    /// Not a value of `_HLS_skip`.
    #[error("_HLS_skip must be YES or v2")]
    Skip,
}

impl Directives {
    /// Reads the directives out of a query; other parameters are left alone.
    pub fn parse(query: &str) -> Result<Self, BadDirectives> {
        let mut directives = Self::default();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "_HLS_msn" => directives.msn = Some(number("_HLS_msn", value)?),
                "_HLS_part" => directives.part = Some(number("_HLS_part", value)?),
                "_HLS_skip" => match value {
                    "YES" | "v2" => directives.skip = true,
                    _ => return Err(BadDirectives::Skip),
                },
                _ => {}
            }
        }
        if directives.part.is_some() && directives.msn.is_none() {
            return Err(BadDirectives::PartAlone);
        }
        Ok(directives)
    }
}

fn number(name: &'static str, value: &str) -> Result<u64, BadDirectives> {
    let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    value.parse().ok().filter(|_| digits).ok_or(BadDirectives::NotANumber(name))
}

/// What to do with a request for a media playlist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Answer now.
    Ready,
    /// Answer when the index has changed and this says [`Ready`](Self::Ready), or at the deadline.
    Wait,
    /// More than two segments ahead: answer 400. RFC 8216bis §6.2.5.2.
    TooFarAhead,
    /// No such rendition.
    NotFound,
}

/// Decides one request against the index as it is.
pub fn decide(index: &Index, rendition: &str, directives: &Directives) -> Decision {
    let Some(r) = index.rendition(rendition) else {
        // In a broadcast's first seconds its tracks still appear one by one.
        let young = index.target_duration().is_none() && !index.ended();
        return if young { Decision::Wait } else { Decision::NotFound };
    };
    let Some(newest) = r.segments.back() else { return Decision::Wait };
    if index.ended() {
        return Decision::Ready;
    }
    // Players want a whole segment to begin with; shaka-player fails without one.
    if index.target_duration().is_none() || !r.segments.front().is_some_and(|s| s.complete) {
        return Decision::Wait;
    }
    let Some(msn) = directives.msn else { return Decision::Ready };
    if msn > newest.number + AHEAD_SEGMENTS {
        return Decision::TooFarAhead;
    }
    let parts = listed_parts(newest, r.part_target_ms);
    let there = match directives.part {
        // A whole segment is there when it is complete.
        None => msn < newest.number || (msn == newest.number && newest.complete),
        Some(_) if msn < newest.number => true,
        Some(part) if msn == newest.number => part < parts,
        Some(_) => false,
    };
    // A part behind the last one of a complete segment is the first part of the next segment
    // (RFC 8216bis §6.2.5.2), so it waits like that one does.
    if there { Decision::Ready } else { Decision::Wait }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::index_of;

    #[test]
    fn directives_are_read_strictly() {
        let ok = |q: &str| Directives::parse(q).unwrap();
        assert_eq!(ok(""), Directives::default());
        assert_eq!(ok("a=b&_HLS_msn=7"), Directives { msn: Some(7), ..Directives::default() });
        assert_eq!(
            ok("_HLS_msn=7&_HLS_part=0&_HLS_skip=YES"),
            Directives { msn: Some(7), part: Some(0), skip: true }
        );
        let bad = |q: &str| Directives::parse(q).unwrap_err();
        assert_eq!(bad("_HLS_part=1"), BadDirectives::PartAlone);
        for query in ["_HLS_msn=", "_HLS_msn=-1", "_HLS_msn=%31", "_HLS_msn=99999999999999999999"] {
            assert_eq!(bad(query), BadDirectives::NotANumber("_HLS_msn"), "{query}");
        }
        assert_eq!(bad("_HLS_skip=no"), BadDirectives::Skip);
    }

    #[test]
    fn reloads_wait_for_exactly_what_they_ask_for() {
        // Segments 10 and 11 complete with 6 parts, 12 with 2 parts so far.
        let index = index_of(10, &[6, 6, 2], false);
        let check = |msn: Option<u64>, part: Option<u64>, expect: Decision| {
            let directives = Directives { msn, part, skip: false };
            assert_eq!(decide(&index, "video", &directives), expect, "{msn:?} {part:?}");
        };
        check(None, None, Decision::Ready);
        check(Some(9), None, Decision::Ready);
        check(Some(11), None, Decision::Ready);
        check(Some(12), None, Decision::Wait);
        check(Some(12), Some(1), Decision::Ready);
        check(Some(12), Some(2), Decision::Wait);
        check(Some(11), Some(99), Decision::Ready);
        check(Some(14), None, Decision::Wait);
        check(Some(15), None, Decision::TooFarAhead);
        check(Some(u64::MAX), Some(0), Decision::TooFarAhead);
        let nobody = Directives::default();
        assert_eq!(decide(&index, "audio", &nobody), Decision::NotFound);
        let ended = index_of(10, &[6, 6, 2], true);
        let far = Directives { msn: Some(99), ..nobody };
        assert_eq!(decide(&ended, "video", &far), Decision::Ready);
    }
}
