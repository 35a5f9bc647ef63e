//! The query of a playlist: what is read of it, and the one form in which playlists hand it on.

/// All that delivery reads of a query. A shared cache may leave everything else out of its keys, and should: players
/// and pages add what they like.
pub const PARAMETERS: [&str; 14] = [
    "_HLS_msn",
    "_HLS_part",
    "_HLS_skip",
    "clientBandwidthHint",
    "duration",
    "dvrEnabled",
    "fit",
    "fps",
    "height",
    "protocol",
    "segments",
    "start",
    "time",
    "width",
];

/// What a client may ask of a playlist besides the delivery directives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Wishes {
    low_latency: Option<bool>,
    /// Everything since the start, not the live window.
    pub(crate) everything: bool,
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
                "dvrEnabled=true" => wishes.everything = true,
                pair => {
                    let hint = pair.strip_prefix("clientBandwidthHint=").and_then(bits_of);
                    wishes.bandwidth = hint.or(wishes.bandwidth);
                }
            }
        }
        wishes
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
        let pairs = [self.everything.then_some("dvrEnabled=true"), protocol];
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
            ("protocol=dash&dvrEnabled=false", ""),
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
