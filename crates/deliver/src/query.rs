//! The query of a playlist: what is read of it, and the one form in which playlists hand it on.

use package::hls::Reach;

use crate::share::percent_decoded;

/// All that delivery reads of a query. A shared cache may leave everything else out of its keys, and should: players
/// and pages add what they like.
pub const PARAMETERS: [&str; 15] = [
    "_HLS_msn",
    "_HLS_part",
    "_HLS_skip",
    "clientBandwidthHint",
    "duration",
    "dvrEnabled",
    "filename",
    "fit",
    "fps",
    "height",
    "protocol",
    "segments",
    "start",
    "time",
    "width",
];

/// Whether every cache and this server read the same out of a query. Of a parameter that is there with two values one takes
/// the first and another the last, and to some a name in other letters, or with some of them encoded, is the same name: one
/// answer would be kept under the name of another, for everybody. The same pair again, byte for byte, is the same to all:
/// players that add directives to an address that has them already send that. In words, what is wrong.
pub(crate) fn unequivocal(query: &str) -> Result<(), String> {
    let mut seen = [None; PARAMETERS.len()];
    for pair in query.split('&') {
        let name = pair.split_once('=').map_or(pair, |(name, _)| name);
        let plain = percent_decoded(&name.replace('+', " "));
        let plain = plain.trim();
        let known = PARAMETERS.iter().position(|known| known.eq_ignore_ascii_case(plain));
        let Some(known) = known else { continue };
        if name != PARAMETERS[known] {
            return Err(format!("{0}: write it as {0}, in these letters", PARAMETERS[known]));
        }
        if seen[known].replace(pair).is_some_and(|before| before != pair) {
            return Err(format!("{name}: one value, not several"));
        }
    }
    Ok(())
}

/// What a client may ask of a playlist besides the delivery directives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Wishes {
    low_latency: Option<bool>,
    /// Everything since the start, or the live window.
    pub(crate) everything: Option<bool>,
    /// Bits a second that the client says it has: of the pictures only the one that is nearest to it.
    pub(crate) bandwidth: Option<u64>,
}

impl Wishes {
    pub(crate) fn parse(query: &str) -> Self {
        let mut wishes = Self::default();
        for pair in query.split('&') {
            match pair {
                "protocol=llhls" => wishes.low_latency = Some(true),
                "protocol=hls" => wishes.low_latency = Some(false),
                "dvrEnabled=true" => wishes.everything = Some(true),
                "dvrEnabled=false" => wishes.everything = Some(false),
                pair => {
                    let hint = pair.strip_prefix("clientBandwidthHint=").and_then(bits_of);
                    wishes.bandwidth = hint.or(wishes.bandwidth);
                }
            }
        }
        wishes
    }

    /// How far back a media playlist goes. By a video's own address without more it is whole from its first segment on, as what
    /// is over has to be and no list may go back (RFC 8216bis §6.2.2).
    pub(crate) fn reach(self, by_input: bool) -> Reach {
        match self.everything {
            Some(true) => Reach::Live,
            None if !by_input => Reach::Everything,
            Some(false) | None => Reach::Window,
        }
    }

    /// These as the lists have them that a multivariant playlist names. While a video is on the air it names other ones by its own
    /// address than when it is over, so that those who watch keep theirs.
    pub(crate) fn of_lists(self, by_input: bool, ended: bool) -> Self {
        let everything = match (by_input, ended) {
            (true, _) => self.everything.filter(|all| *all),
            (false, true) => None,
            (false, false) => Some(self.everything.unwrap_or(false)),
        };
        Self { everything, ..self }
    }

    /// With parts, unless something else is asked for.
    pub(crate) fn low_latency(self, otherwise: bool) -> bool {
        self.low_latency.unwrap_or(otherwise)
    }

    /// The query for playlists that this one names: what was understood and concerns them, sorted by name and each once. The
    /// same wishes in another order, or beside a parameter that means nothing here, are the same bytes.
    pub(crate) fn handed_on(self) -> String {
        let protocol =
            self.low_latency.map(|low| if low { "protocol=llhls" } else { "protocol=hls" });
        let everything =
            self.everything.map(|all| if all { "dvrEnabled=true" } else { "dvrEnabled=false" });
        let pairs = [everything, protocol];
        pairs.into_iter().flatten().collect::<Vec<_>>().join("&")
    }
}

/// Mbit/s, as the vendor's clients say it. What is no rate is passed over.
fn bits_of(mbps: &str) -> Option<u64> {
    let mbps: f64 = mbps.parse().ok()?;
    (mbps.is_finite() && mbps > 0.0).then_some((mbps * 1e6) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_caches_may_read_otherwise_is_refused() {
        for name in PARAMETERS {
            let encoded: String = name.bytes().map(|b| format!("%{b:02x}")).collect();
            let mut other = name.to_owned();
            other.replace_range(..2, &name[..2].to_uppercase());
            other.replace_range(other.len() - 1.., &name[name.len() - 1..].to_uppercase());
            for (query, good) in [
                (format!("{name}=1"), true),
                (format!("a=1&{name}=1&b=1&b=2&B=3"), true),
                (format!("x{name}=1&{name}=1&{name}x=1&a={name}&b={name}=1"), true),
                (format!("{name}=1&{name}=1"), true),
                (format!("{name}=1&a=1&{name}=1&{name}=1"), true),
                (format!("{name}=1&{name}=2"), false),
                (format!("{name}=1&{name}=1&{name}=2"), false),
                (format!("{name}=2&{name}=1&{name}=2"), false),
                // The same to who decodes values, and not to who compares them.
                (format!("{name}=1&{name}=%31"), false),
                (format!("{name}=1&{name}=1+"), false),
                (format!("{name}=1&{name}=1;"), false),
                (format!("{name}&a=1&{name}=1"), false),
                (format!("{name}=1&a=1&{name}"), false),
                (format!("{name}&{name}="), false),
                (format!("{name}=1&{other}=1"), false),
                (format!("{name}=1&{other}=2"), false),
                (format!("{other}=1"), false),
                (format!("a=1&{other}"), false),
                (format!("{encoded}=1"), false),
                (format!("%20{name}=1"), false),
                (format!("{name}+=1"), false),
                (format!("{}=1", encoded.to_uppercase()), false),
            ] {
                assert_eq!(unequivocal(&query).is_ok(), good, "{query}");
            }
        }
        for query in ["", "&&", "=", "%", "%5", "%zz=1&%ff=%ff", "é=1", "time%=1"] {
            assert_eq!(unequivocal(query), Ok(()), "{query}");
        }
        let words = unequivocal("protocol=hls&protocol=llhls").unwrap_err();
        assert_eq!(words, "protocol: one value, not several");
        let words = unequivocal("TIME=60s").unwrap_err();
        assert_eq!(words, "time: write it as time, in these letters");
    }

    #[test]
    fn a_bandwidth_is_a_positive_number_of_megabits() {
        for (query, expect) in [
            ("clientBandwidthHint=1.8", Some(1_800_000)),
            ("protocol=hls&clientBandwidthHint=3", Some(3_000_000)),
            ("clientBandwidthHint=1e300", Some(u64::MAX)),
            ("clientBandwidthHint=", None),
            ("clientBandwidthHint=0", None),
            ("clientBandwidthHint=-1", None),
            ("clientBandwidthHint=NaN", None),
            ("clientBandwidthHint=inf", None),
            ("clientBandwidthHint=fast", None),
            ("clientbandwidthhint=1", None),
        ] {
            let wishes = Wishes::parse(query);
            assert_eq!(wishes.bandwidth, expect, "{query}");
            assert!(!wishes.handed_on().contains("Hint"), "a list of segments is the same for all");
        }
    }

    #[test]
    fn what_is_handed_on_has_one_form() {
        for (query, expect) in [
            ("", ""),
            ("_HLS_msn=7&_HLS_part=2", ""),
            ("protocol=llhls&_HLS_msn=7", "protocol=llhls"),
            ("protocol=llhls&dvrEnabled=true", "dvrEnabled=true&protocol=llhls"),
            ("dvrEnabled=true&protocol=llhls&dvrEnabled=true", "dvrEnabled=true&protocol=llhls"),
            ("protocol=llhls&protocol=hls", "protocol=hls"),
            ("viewer=42&CMCD=sid%3D%221%22&x=\"y\"", ""),
            ("protocol=dash&dvrEnabled=false", "dvrEnabled=false"),
            ("protocol=dash&dvrEnabled=1", ""),
        ] {
            let wishes = Wishes::parse(query);
            assert_eq!(wishes.handed_on(), expect, "{query}");
            assert_eq!(Wishes::parse(expect), wishes, "{query}");
            for pair in expect.split('&').filter(|pair| !pair.is_empty()) {
                let (name, _) = pair.split_once('=').unwrap();
                assert!(PARAMETERS.contains(&name), "{name}");
            }
        }
    }
}
