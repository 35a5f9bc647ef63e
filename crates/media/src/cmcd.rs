//! What a player says of itself: Common Media Client Data. CTA-5004, version 1; of version 2 the media start delay.
//!
//! Anybody may say anything, so this is read leniently and believed within bounds: a pair that can't be read is left
//! out, and what the pairs mean for a broadcast is [`playback`](crate::playback)'s business.

use crate::limits::{CMCD_BYTES_MAX, CMCD_SESSION_BYTES_MAX, CMCD_START_MS_MAX};

/// The header fields of header mode, each a list of pairs. CTA-5004 §3.1.
pub const HEADERS: [&str; 4] = ["cmcd-object", "cmcd-request", "cmcd-session", "cmcd-status"];

/// The parameter of query mode. CTA-5004 §3.2.
pub const PARAMETER: &str = "CMCD";

/// What is taken of one report.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Said {
    /// `sid`: which playback this is; random, made by the player.
    pub session: Option<String>,
    /// `bs`: playback has stood still for want of media since the report before.
    pub starved: bool,
    /// `su`: media are needed at once, because playback begins, or begins again.
    pub starting: bool,
    /// `br`: the encoded bitrate of what is asked for, in kbit/s.
    pub bitrate_kbps: Option<u32>,
    /// `ot`: what is asked for.
    pub object: Option<Object>,
    /// `msd` of version 2: from the wish to play to the first picture, in milliseconds.
    pub start_ms: Option<u32>,
}

/// What kind of object a report is about. CTA-5004 §3.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Object {
    /// `v`, `av`: pictures.
    Video,
    /// `a`: sound.
    Audio,
    /// `m`, `i` and whatever else: nothing that is played.
    Other,
}

impl Said {
    /// Takes a list of pairs, in clear: the value of a header field, or a body. True if there was anything to take.
    pub fn take(&mut self, list: &str) -> bool {
        if list.len() > CMCD_BYTES_MAX {
            return false;
        }
        let before = self.clone();
        let mut rest = list;
        while let Some((pair, behind)) = next(rest) {
            rest = behind;
            let (key, value) = pair.split_once('=').map_or((pair, None), |(k, v)| (k, Some(v)));
            self.pair(key.trim(), value.map(str::trim));
        }
        *self != before
    }

    /// Takes the parameter of a query, percent-encoded as it is.
    pub fn take_query(&mut self, query: &str) -> bool {
        let mut values = query.split('&').filter_map(|pair| pair.split_once('='));
        let value = values.find(|(name, _)| *name == PARAMETER).map(|(_, value)| value);
        // Each byte may take three.
        let value = value.filter(|value| value.len() <= CMCD_BYTES_MAX * 3);
        value.and_then(decoded).is_some_and(|list| self.take(&list))
    }

    fn pair(&mut self, key: &str, value: Option<&str>) {
        // CTA-5004 §3.2: a key by itself is true.
        let yes = value.is_none_or(|v| v == "true" || v == "?1");
        let number = || value.and_then(|v| v.parse::<u32>().ok());
        match key {
            "sid" => {
                let text = value.and_then(|v| v.strip_prefix('"')?.strip_suffix('"'));
                let fits = text.filter(|t| !t.is_empty() && t.len() <= CMCD_SESSION_BYTES_MAX);
                self.session = fits.map(str::to_owned).or(self.session.take());
            }
            "bs" => self.starved = yes,
            "su" => self.starting = yes,
            "br" => self.bitrate_kbps = number().or(self.bitrate_kbps),
            "msd" => self.start_ms = number().map(|ms| ms.min(CMCD_START_MS_MAX)).or(self.start_ms),
            "ot" => {
                self.object = value.map(|v| match v {
                    "v" | "av" => Object::Video,
                    "a" => Object::Audio,
                    _ => Object::Other,
                });
            }
            _ => {}
        }
    }
}

/// The next pair and what is behind it. A comma between quotes belongs to a string.
fn next(list: &str) -> Option<(&str, &str)> {
    if list.is_empty() {
        return None;
    }
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in list.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => return Some((&list[..at], &list[at + 1..])),
            _ => {}
        }
    }
    Some((list, ""))
}

/// RFC 3986 §2.1.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_read_in_every_mode() {
        let id = "6e2fb550-c457-11e9-bb97-0800200c9a66";
        let expect = Said {
            session: Some(id.to_owned()),
            starved: true,
            bitrate_kbps: Some(3_200),
            object: Some(Object::Video),
            ..Said::default()
        };
        let mut headers = Said::default();
        assert!(headers.take("br=3200,d=4004,ot=v"));
        assert!(headers.take("bs,rtp=15000"));
        assert!(headers.take(&format!("sid=\"{id}\",sf=h,st=l")));
        assert!(!headers.take("bl=21300,mtp=25400"), "nothing that is taken");
        assert_eq!(headers, expect);
        let mut query = Said::default();
        let text = format!(
            "_HLS_msn=7&CMCD=br%3D3200%2Cbs%2Cnor%3D%22a%2Cb%3Dc%22%2Cot%3Dv%2Csid%3D%22{id}%22&x=y"
        );
        assert!(query.take_query(&text));
        assert_eq!(query, expect);
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        let said = |list: &str| {
            let mut said = Said::default();
            said.take(list);
            said
        };
        let long = format!("sid=\"{}\"", "x".repeat(CMCD_SESSION_BYTES_MAX + 1));
        for nothing in [
            "",
            ",,,",
            "sid=unquoted",
            "sid=\"\"",
            &long,
            "br=-1",
            "br=9999999999999",
            "br=NaN",
            "bs=false",
            "msd=\"1\"",
            "=",
            "\"",
            "sid=\"",
        ] {
            assert_eq!(said(nothing), Said::default(), "{nothing}");
        }
        assert_eq!(said("msd=4000000000").start_ms, Some(CMCD_START_MS_MAX));
        assert!(!said("cid=\"a\\\",bs,\",br=7").starved, "between quotes");
        assert_eq!(said("cid=\"a\\\",bs,\",br=7").bitrate_kbps, Some(7));
        assert!(!Said::default().take(&format!("bs,{}", "x".repeat(CMCD_BYTES_MAX))));
        for bad in ["CMCD=%", "CMCD=%zz", "CMCD=%ff%fe", "cmcd=bs", "CMCD"] {
            assert!(!Said::default().take_query(bad), "{bad}");
        }
    }
}
