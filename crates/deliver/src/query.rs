//! The query of a playlist: what is read of it, and the one form in which playlists hand it on.

/// All that delivery reads of a query. A shared cache may leave everything else out of its keys, and should: players
/// and pages add what they like.
pub const PARAMETERS: [&str; 13] = [
    "_HLS_msn",
    "_HLS_part",
    "_HLS_skip",
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
}

impl Wishes {
    pub(crate) fn parse(query: &str) -> Self {
        let mut wishes = Self::default();
        for pair in query.split('&') {
            match pair {
                "protocol=llhls" => wishes.low_latency = Some(true),
                "protocol=hls" => wishes.low_latency = Some(false),
                "dvrEnabled=true" => wishes.everything = true,
                _ => {}
            }
        }
        wishes
    }

    /// With parts, unless something else is asked for.
    pub(crate) fn low_latency(self, otherwise: bool) -> bool {
        self.low_latency.unwrap_or(otherwise)
    }

    /// The query for playlists that this one names: what was understood, sorted by name and each once. The
    /// same wishes in another order, or beside a parameter that means nothing here, are the same bytes.
    pub(crate) fn handed_on(self) -> String {
        let protocol =
            self.low_latency.map(|low| if low { "protocol=llhls" } else { "protocol=hls" });
        let pairs = [self.everything.then_some("dvrEnabled=true"), protocol];
        pairs.into_iter().flatten().collect::<Vec<_>>().join("&")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
