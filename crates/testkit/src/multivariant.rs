//! Authoring rules for multivariant playlists: draft-pantos-hls-rfc8216bis §4.4.6 and Apple's HLS authoring specification.
//! Like [`rules`](crate::rules), they look at text alone.

use std::collections::{BTreeMap, BTreeSet};

use package::hls::{MediaPlaylist, attribute};

use crate::rules::Broken;

/// The media playlists that a multivariant playlist leads to, by their URI in it.
pub type Lists = BTreeMap<String, String>;

/// The names of the rules, each with a mutant that it catches.
const RULES: &[&str] = &[
    "extm3u-first",
    "a-variant",
    "uri-is-a-playlist",
    "one-target-duration",
    "one-count-of-discontinuities",
    "media-is-described",
    "names-are-unique",
    "one-default",
    "default-is-selected",
    "media-of-its-kind",
    "all-have-a-score",
    "codecs",
    "resolution",
    "frame-rate",
    "score",
    "group-exists",
    "captions-on-all-or-none",
    "bandwidth-covers-the-peak",
    "bandwidth-is-no-more",
    "average-is-no-more",
    "iframes-are-described",
];

struct Checker<'a> {
    lists: BTreeMap<&'a str, &'a MediaPlaylist>,
    /// The attributes of each `EXT-X-STREAM-INF`, with its URI.
    streams: Vec<(&'a str, &'a str)>,
    /// The attributes of each `EXT-X-MEDIA`.
    media: Vec<&'a str>,
    broken: Vec<Broken>,
}

/// The broken rules of a multivariant playlist. `bytes_of` answers the size of a segment by its list's URI and its own.
pub fn check_multivariant(
    text: &str,
    lists: &Lists,
    bytes_of: impl Fn(&str, &str) -> u64,
) -> Vec<Broken> {
    let lines: Vec<&str> = text.lines().collect();
    let of = |tag: &'static str| lines.iter().filter_map(move |line| line.strip_prefix(tag));
    let pairs = lines.windows(2).filter_map(|pair| match pair {
        [tag, uri] => Some((tag.strip_prefix("#EXT-X-STREAM-INF:")?, *uri)),
        _ => None,
    });
    let read = lists
        .iter()
        .filter_map(|(uri, list)| Some((uri.clone(), MediaPlaylist::parse(list).ok()?)));
    let owned: BTreeMap<String, MediaPlaylist> = read.collect();
    let mut checker = Checker {
        lists: owned.iter().map(|(uri, list)| (&**uri, list)).collect(),
        streams: pairs.collect(),
        media: of("#EXT-X-MEDIA:").collect(),
        broken: Vec::new(),
    };
    let first = lines.first().copied().unwrap_or_default();
    checker.rule(first == "#EXTM3U", "extm3u-first", || first.to_owned());
    checker.rule(!checker.streams.is_empty(), "a-variant", || "there is none".to_owned());
    let peaks: BTreeMap<String, f64> =
        owned.iter().map(|(uri, list)| (uri.clone(), peak(list, |s| bytes_of(uri, s)))).collect();
    checker.uris();
    checker.groups();
    checker.variants();
    checker.bandwidth(&peaks);
    of("#EXT-X-I-FRAME-STREAM-INF:").for_each(|line| {
        let whole = ["BANDWIDTH", "CODECS", "RESOLUTION", "URI"];
        let whole = whole.iter().all(|name| attribute(line, name).is_some());
        checker.rule(whole, "iframes-are-described", || line.to_owned());
    });
    checker.broken
}

/// §4.4.6.2: the largest bits a second of any segments in a row that last 0.5 to 1.5 target durations.
fn peak(list: &MediaPlaylist, bytes_of: impl Fn(&str) -> u64) -> f64 {
    let files: Vec<(f64, f64)> = list
        .segments
        .iter()
        .filter(|s| !s.gap)
        .filter_map(|s| s.file.as_ref())
        .map(|(seconds, uri)| (*seconds, bytes_of(uri) as f64 * 8.0))
        .collect();
    let target = list.target_duration as f64;
    let mut most = 0.0_f64;
    for from in 0..files.len() {
        let (mut seconds, mut bits) = (0.0, 0.0);
        for (more, its) in &files[from..] {
            (seconds, bits) = (seconds + more, bits + its);
            if (0.5 * target..=1.5 * target).contains(&seconds) {
                most = most.max(bits / seconds);
            }
        }
    }
    most
}

fn decimal(attributes: &str, name: &str) -> Option<f64> {
    attribute(attributes, name)?.parse().ok()
}

impl Checker<'_> {
    fn rule(&mut self, holds: bool, rule: &'static str, found: impl FnOnce() -> String) {
        assert!(RULES.contains(&rule), "{rule} is no rule");
        if !holds {
            self.broken.push(Broken { rule, found: found() });
        }
    }

    /// The group of renditions of a kind with this name.
    fn group(&self, kind: &str, id: &str) -> Vec<String> {
        let of = |line: &&&str| {
            attribute(line, "TYPE").as_deref() == Some(kind)
                && attribute(line, "GROUP-ID").as_deref() == Some(id)
        };
        self.media.iter().filter(of).map(|line| (*line).to_owned()).collect()
    }

    /// Everything named leads to a media playlist, and all of them have one target duration (Apple §8.9).
    fn uris(&mut self) {
        let media = self.media.iter().filter_map(|line| attribute(line, "URI"));
        let named: Vec<String> =
            media.chain(self.streams.iter().map(|(_, uri)| (*uri).to_owned())).collect();
        for uri in named {
            let there = self.lists.contains_key(&*uri);
            self.rule(there, "uri-is-a-playlist", || uri.clone());
        }
        let targets: BTreeSet<u64> = self.lists.values().map(|l| l.target_duration).collect();
        self.rule(targets.len() <= 1, "one-target-duration", || format!("{targets:?}"));
        // §6.2.4: what is the same moment has the same discontinuity sequence number in all of them. A moment is known by
        // its segment's number, as all tracks are cut at the same places.
        let mut counts: BTreeMap<u64, (&str, u64)> = BTreeMap::new();
        let mut differ = Vec::new();
        for (uri, list) in &self.lists {
            let mut count = list.discontinuity_sequence;
            for segment in &list.segments {
                count += u64::from(segment.discontinuity);
                let (other, its) = *counts.entry(segment.number).or_insert((uri, count));
                if its != count {
                    differ.push(format!(
                        "segment {}: {count} in {uri}, {its} in {other}",
                        segment.number
                    ));
                }
            }
        }
        self.rule(differ.is_empty(), "one-count-of-discontinuities", || differ.join("; "));
    }

    /// §4.4.6.1.
    fn groups(&mut self) {
        let mut names = BTreeSet::new();
        let mut defaults = BTreeSet::new();
        for line in self.media.clone() {
            let get = |name: &str| attribute(line, name).unwrap_or_default();
            let (kind, group, name) = (get("TYPE"), get("GROUP-ID"), get("NAME"));
            let whole = !group.is_empty() && !name.is_empty();
            self.rule(whole, "media-is-described", || line.to_owned());
            let fresh = names.insert((kind.clone(), group.clone(), name));
            self.rule(fresh, "names-are-unique", || line.to_owned());
            let default = get("DEFAULT") == "YES";
            let fresh = !default || defaults.insert((kind.clone(), group));
            self.rule(fresh, "one-default", || line.to_owned());
            let auto = !default || get("AUTOSELECT") == "YES";
            self.rule(auto, "default-is-selected", || line.to_owned());
            let (uri, instream) = (!get("URI").is_empty(), !get("INSTREAM-ID").is_empty());
            let right = match &*kind {
                "CLOSED-CAPTIONS" => !uri && instream,
                "AUDIO" => uri && !instream && !get("CHANNELS").is_empty(),
                _ => uri && !instream,
            };
            self.rule(right, "media-of-its-kind", || line.to_owned());
        }
    }

    /// §4.4.6.2.
    fn variants(&mut self) {
        let scored = self.streams.iter().filter(|(line, _)| decimal(line, "SCORE").is_some());
        let scored = scored.count();
        let all = self.streams.len();
        self.rule(scored == 0 || scored == all, "all-have-a-score", || {
            format!("{scored} of {all}")
        });
        let mut captions = BTreeSet::new();
        for (line, uri) in self.streams.clone() {
            let found = || format!("{uri}: {line}");
            let codecs = attribute(line, "CODECS").unwrap_or_default();
            self.rule(!codecs.is_empty(), "codecs", found);
            let pictures = ["avc1.", "avc3.", "hvc1.", "hev1.", "av01.", "vp09.", "vp08."];
            let pictures = codecs.split(',').any(|c| pictures.iter().any(|p| c.starts_with(p)));
            let size = attribute(line, "RESOLUTION").unwrap_or_default();
            let side = |text: &str| text.parse::<u32>().is_ok_and(|n| n > 0);
            let size = size.split_once('x').is_some_and(|(w, h)| side(w) && side(h));
            self.rule(size == pictures, "resolution", found);
            let rate = decimal(line, "FRAME-RATE");
            self.rule(rate.is_some_and(|r| r > 0.0) == pictures, "frame-rate", found);
            let score = decimal(line, "SCORE");
            self.rule(score.is_none_or(|score| score > 0.0), "score", found);
            for (name, kind) in [
                ("AUDIO", "AUDIO"),
                ("SUBTITLES", "SUBTITLES"),
                ("CLOSED-CAPTIONS", "CLOSED-CAPTIONS"),
            ] {
                let group = attribute(line, name);
                if name == "CLOSED-CAPTIONS" {
                    captions.insert(group.clone());
                }
                if let Some(group) = group.filter(|group| group != "NONE") {
                    let there = !self.group(kind, &group).is_empty();
                    self.rule(there, "group-exists", found);
                }
            }
        }
        let none = captions.contains(&Some("NONE".to_owned()));
        self.rule(!none || captions.len() == 1, "captions-on-all-or-none", || {
            format!("{captions:?}")
        });
    }

    /// §4.4.6.2: BANDWIDTH is the peak of everything that may be played together: within a tenth where all of it is
    /// there, with a fifth of headroom while it is live.
    fn bandwidth(&mut self, peaks: &BTreeMap<String, f64>) {
        let peak = |uri: &str| peaks.get(uri).copied().unwrap_or(0.0);
        for (line, uri) in self.streams.clone() {
            let bandwidth = decimal(line, "BANDWIDTH").unwrap_or(0.0);
            let sound = attribute(line, "AUDIO").map(|group| self.group("AUDIO", &group));
            let sounds = sound.iter().flatten().filter_map(|line| attribute(line, "URI"));
            let loudest = sounds.map(|uri| peak(&uri)).fold(0.0, f64::max);
            let whole = self.lists.get(uri).is_some_and(|list| list.ended);
            let room = if whole { 1.0 } else { 1.2 };
            // What is encoded here is known better than what an encoder sends next.
            let name = uri.split_once('?').map_or(uri, |(name, _)| name);
            let is_level = name.strip_suffix(".cmaf.m3u8").is_some_and(|name| name.contains('.'));
            let least = if is_level { 1.0 } else { room } * peak(uri) + room * loudest;
            // Lists round durations to 5 digits.
            self.rule(bandwidth >= least * 0.999, "bandwidth-covers-the-peak", || {
                format!("{uri}: {bandwidth}, {least} is needed")
            });
            self.rule(!whole || bandwidth <= least * 1.1, "bandwidth-is-no-more", || {
                format!("{uri}: {bandwidth}, {least} is all")
            });
            let average = decimal(line, "AVERAGE-BANDWIDTH").unwrap_or(1.0);
            let fits = average > 0.0 && average <= bandwidth;
            self.rule(fits, "average-is-no-more", || format!("{uri}: {average} of {bandwidth}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
#EXTM3U
#EXT-X-VERSION:6
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"Audio 1\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"2\",URI=\"audio.m3u8\"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"Audio 2\",DEFAULT=NO,AUTOSELECT=YES,CHANNELS=\"2\",URI=\"audio2.m3u8\"
#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID=\"cc\",NAME=\"CC1\",AUTOSELECT=YES,INSTREAM-ID=\"CC1\"
#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=9,CODECS=\"avc1.64001f\",RESOLUTION=640x360,URI=\"video.iframes.m3u8\"
#EXT-X-STREAM-INF:BANDWIDTH=13200,AVERAGE-BANDWIDTH=9000,CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=640x360,FRAME-RATE=30.000,SCORE=2.0,CLOSED-CAPTIONS=\"cc\",AUDIO=\"audio\"
video.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=13200,CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=320x180,FRAME-RATE=30.000,SCORE=1.0,CLOSED-CAPTIONS=\"cc\",AUDIO=\"audio\"
video2.m3u8
";

    fn lists() -> Lists {
        // The last one alone is too short to tell: with the one before it is what counts.
        let list =
            "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\n1\n#EXTINF:2.0,\n2\n#EXTINF:0.5,\n3\n";
        ["video.m3u8", "video2.m3u8", "audio.m3u8", "audio2.m3u8"]
            .map(|uri| (uri.to_owned(), list.to_owned()))
            .into()
    }

    /// 8 kbit/s of picture at the peak, 3 of the louder sound.
    fn bytes_of(list: &str, segment: &str) -> u64 {
        match (list, segment) {
            ("audio2.m3u8", "2") => 500,
            ("audio2.m3u8", "3") => 437,
            ("audio.m3u8", _) => 9,
            ("video.m3u8" | "video2.m3u8", "1") => 2_000,
            _ => 200,
        }
    }

    #[test]
    fn a_good_playlist_breaks_no_rule() {
        assert_eq!(check_multivariant(GOOD, &lists(), bytes_of), []);
    }

    #[test]
    fn every_rule_catches_its_mutant() {
        let mut mutated = BTreeSet::from([
            "bandwidth-is-no-more",
            "one-target-duration",
            "one-count-of-discontinuities",
        ]);
        for (rule, from, to) in [
            ("extm3u-first", "#EXTM3U\n", ""),
            ("a-variant", "#EXT-X-STREAM-INF", "#EXT-X-OTHER"),
            ("uri-is-a-playlist", "\nvideo.m3u8", "\nother.m3u8"),
            ("uri-is-a-playlist", "URI=\"audio2.m3u8\"", "URI=\"other.m3u8\""),
            ("media-is-described", ",NAME=\"CC1\"", ""),
            ("names-are-unique", "Audio 2", "Audio 1"),
            ("one-default", "DEFAULT=NO", "DEFAULT=YES"),
            ("default-is-selected", "DEFAULT=YES,AUTOSELECT=YES", "DEFAULT=YES,AUTOSELECT=NO"),
            ("media-of-its-kind", ",URI=\"audio.m3u8\"", ""),
            ("media-of-its-kind", ",CHANNELS=\"2\",URI=\"audio.m3u8\"", ",URI=\"audio.m3u8\""),
            ("media-of-its-kind", ",INSTREAM-ID=\"CC1\"", ",URI=\"audio.m3u8\""),
            ("all-have-a-score", ",SCORE=1.0", ""),
            ("score", "SCORE=1.0", "SCORE=0.0"),
            ("codecs", "CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=320", "RESOLUTION=320"),
            ("resolution", ",RESOLUTION=320x180", ""),
            ("resolution", ",RESOLUTION=320x180", ",RESOLUTION=320"),
            ("frame-rate", ",FRAME-RATE=30.000", ""),
            ("group-exists", "SCORE=1.0,CLOSED-CAPTIONS=\"cc\"", "SCORE=1.0,CLOSED-CAPTIONS=\"x\""),
            ("group-exists", ",AUDIO=\"audio\"", ",AUDIO=\"sound\""),
            ("captions-on-all-or-none", "SCORE=1.0,CLOSED-CAPTIONS=\"cc\"", "CLOSED-CAPTIONS=NONE"),
            ("bandwidth-covers-the-peak", "BANDWIDTH=13200", "BANDWIDTH=13100"),
            ("average-is-no-more", "AVERAGE-BANDWIDTH=9000", "AVERAGE-BANDWIDTH=13201"),
            ("iframes-are-described", "BANDWIDTH=9,CODECS=\"avc1.64001f\"", "BANDWIDTH=9"),
        ] {
            let mutant = match rule {
                "a-variant" => GOOD.replace(from, to),
                _ => GOOD.replacen(from, to, 1),
            };
            assert_ne!(mutant, GOOD, "{rule}: the mutation does nothing");
            let broken = check_multivariant(&mutant, &lists(), bytes_of);
            assert!(broken.iter().any(|b| b.rule == rule), "{rule} is not caught: {broken:?}");
            mutated.insert(rule);
        }
        assert_eq!(mutated, RULES.iter().copied().collect(), "each rule has a mutant");
        // 8 and 3 kbit/s: of what is over a tenth more at most.
        let over: Lists = lists()
            .into_iter()
            .map(|(uri, list)| (uri, format!("{list}#EXT-X-ENDLIST\n")))
            .collect();
        assert_eq!(check_multivariant(&GOOD.replace("13200", "12000"), &over, bytes_of), []);
        let broken = check_multivariant(GOOD, &over, bytes_of);
        assert!(broken.iter().all(|b| b.rule == "bandwidth-is-no-more"), "{broken:?}");
        assert_eq!(broken.len(), 2);
        let mut other = lists();
        let list = other["audio.m3u8"].replace("TARGETDURATION:2", "TARGETDURATION:3");
        other.insert("audio.m3u8".to_owned(), list);
        let broken = check_multivariant(GOOD, &other, bytes_of);
        assert!(broken.iter().any(|b| b.rule == "one-target-duration"), "{broken:?}");
        // A discontinuity that one list alone has, or had before its first segment.
        for (from, to) in [
            ("#EXTINF:2.0,\n2", "#EXT-X-DISCONTINUITY\n#EXTINF:2.0,\n2"),
            ("#EXTINF:2.0,\n1", "#EXT-X-DISCONTINUITY-SEQUENCE:1\n#EXTINF:2.0,\n1"),
        ] {
            let mut other = lists();
            let list = other["audio.m3u8"].replacen(from, to, 1);
            assert_ne!(list, other["audio.m3u8"]);
            other.insert("audio.m3u8".to_owned(), list);
            let broken = check_multivariant(GOOD, &other, bytes_of);
            let rules: Vec<_> = broken.iter().map(|b| b.rule).collect();
            assert_eq!(rules, ["one-count-of-discontinuities"], "{broken:?}");
        }
    }
}
