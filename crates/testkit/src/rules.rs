//! Authoring rules for media playlists: draft-pantos-hls-rfc8216bis and Apple's HLS authoring
//! specification. They look at text, and share with the program that writes it only the reader that its own clients have
//! (`package::hls::parse`): none of what decides what is written.
//!
//! [`check`] looks at one playlist, [`check_versions`] at all that one URL answered over time, [`check_hints`] at what came of
//! what those hinted at, [`check_codecs`] and [`check_multivariant`](crate::check_multivariant) at lists of tracks.

use std::collections::BTreeMap;

use package::hls::{MediaPlaylist, attribute};

/// A broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The rule's name.
    pub rule: &'static str,
    /// What was found.
    pub found: String,
}

/// The names of the rules that [`check`] knows, each with a mutant that it catches.
const RULES: &[&str] = &[
    "extm3u-first",
    "once",
    "target-duration",
    "version",
    "sequence-first",
    "discontinuity-sequence-first",
    "segment-fits-target",
    "segment-duration",
    "map",
    "map-change-is-discontinuity",
    "date",
    "dates-go-on",
    "gap-has-no-value",
    "gap-before-its-segment",
    "gap-of-all-parts",
    "part-inf",
    "part-fits-target",
    "part-long-enough",
    "parts-make-the-segment",
    "old-parts-go",
    "independent-is-yes",
    "independent-segments",
    "part-hold-back",
    "can-block-reload",
    "can-skip-until",
    "one-hint",
    "hint-is-to-come",
    "rendition-report",
    "report-has-its-part",
    "nothing-after-the-end",
    "whole-at-the-end",
    "skip-was-offered",
];

/// Those of [`check_versions`].
const VERSION_RULES: &[&str] = &[
    "sequence-rises",
    "three-targets-stay",
    "target-is-fixed",
    "part-target-is-fixed",
    "discontinuity-sequence",
    "segments-never-change",
    "parts-never-change",
    "ended-stays",
];

/// Those of [`check_reports`].
const REPORT_RULES: &[&str] = &["report-of-each", "report-is-true"];

/// Playlists round to 5 digits.
const ROUNDING: f64 = 0.000_02;

struct Checker<'a> {
    text: &'a str,
    playlist: MediaPlaylist,
    broken: Vec<Broken>,
}

/// The broken rules of one media playlist.
pub fn check(text: &str) -> Vec<Broken> {
    if !text.starts_with("#EXTM3U\n") {
        // RFC 8216bis §4.4.1.1.
        return vec![Broken {
            rule: "extm3u-first",
            found: text.lines().next().unwrap_or("").into(),
        }];
    }
    let mut checker =
        Checker { text, playlist: MediaPlaylist::parse(text).unwrap(), broken: Vec::new() };
    checker.header();
    checker.segments();
    checker.gaps();
    checker.parts();
    checker.independent();
    checker.low_latency();
    checker.end();
    checker.broken
}

impl Checker<'_> {
    fn rule(&mut self, holds: bool, rule: &'static str, found: impl FnOnce() -> String) {
        assert!(RULES.contains(&rule), "{rule} is no rule");
        if !holds {
            self.broken.push(Broken { rule, found: found() });
        }
    }

    fn count(&self, tag: &str) -> usize {
        let with = format!("{tag}:");
        self.text.lines().filter(|l| *l == tag || l.starts_with(&with)).count()
    }

    fn value(&self, tag: &str) -> Option<&str> {
        self.text.lines().find_map(|l| l.strip_prefix(tag)?.strip_prefix(':'))
    }

    /// §4.4.3.1, §4.4.3.2, §8.
    fn header(&mut self) {
        for tag in [
            "#EXT-X-TARGETDURATION",
            "#EXT-X-VERSION",
            "#EXT-X-MEDIA-SEQUENCE",
            "#EXT-X-PART-INF",
            "#EXT-X-SERVER-CONTROL",
            "#EXT-X-DISCONTINUITY-SEQUENCE",
            "#EXT-X-SKIP",
            "#EXT-X-INDEPENDENT-SEGMENTS",
            "#EXT-X-ENDLIST",
        ] {
            let count = self.count(tag);
            self.rule(count <= 1, "once", || format!("{tag} {count} times"));
        }
        let target = self.count("#EXT-X-TARGETDURATION");
        self.rule(target == 1, "target-duration", || "no TARGETDURATION".into());
        let version: u32 = self.value("#EXT-X-VERSION").and_then(|v| v.parse().ok()).unwrap_or(1);
        let needed = if self.count("#EXT-X-SKIP") > 0 {
            9
        } else if self.count("#EXT-X-MAP") > 0 {
            6
        } else {
            3
        };
        self.rule(version >= needed, "version", || format!("{version}, {needed} is needed"));
        // §4.4.3.2: "before the first Media Segment", and a part is of one.
        let of_a_segment = ["#EXTINF", "#EXT-X-PART:"].iter().filter_map(|tag| self.text.find(tag));
        let first_segment = of_a_segment.min().unwrap_or(self.text.len());
        let sequence = self.text.find("#EXT-X-MEDIA-SEQUENCE").unwrap_or(0);
        self.rule(sequence < first_segment, "sequence-first", || "behind a segment".into());
        // §4.4.3.3: before the first Media Segment, and before any EXT-X-DISCONTINUITY.
        let first = self.text.find("#EXT-X-DISCONTINUITY\n").unwrap_or(first_segment);
        let sequence = self.text.find("#EXT-X-DISCONTINUITY-SEQUENCE").unwrap_or(0);
        let found = || "behind a segment or a discontinuity".into();
        self.rule(sequence < first.min(first_segment), "discontinuity-sequence-first", found);
    }

    /// §4.4.3.1, §4.4.4.5, §4.4.4.3.
    fn segments(&mut self) {
        let target = self.playlist.target_duration as f64;
        let mut last_map: Option<String> = None;
        for segment in self.playlist.segments.clone() {
            let number = segment.number;
            if let Some((duration, _)) = segment.file {
                let fits = duration.round() <= target;
                self.rule(fits, "segment-fits-target", || {
                    format!("{number}: {duration} > {target}")
                });
                self.rule(duration > 0.0, "segment-duration", || format!("{number}: {duration}"));
            }
            // A delta update leaves out the tags of what it skips (§6.2.5.1).
            let mapped = !segment.map.is_empty() || segment.gap || self.playlist.skipped > 0;
            self.rule(mapped, "map", || format!("{number} has no EXT-X-MAP"));
            let same = last_map.as_ref().is_none_or(|m| *m == segment.map);
            self.rule(same || segment.discontinuity, "map-change-is-discontinuity", || {
                format!("{number}: {}", segment.map)
            });
            last_map = Some(segment.map.clone());
        }
        self.dates();
    }

    /// §4.4.4.6: dates go on with the durations, but for discontinuities.
    fn dates(&mut self) {
        let segments = self.playlist.segments.clone();
        if let Some(first) = segments.first() {
            // Apple's authoring specification: live playlists have dates.
            self.rule(first.date.is_some(), "date", || "no PROGRAM-DATE-TIME".into());
        }
        for pair in segments.windows(2) {
            let (a, b) = (&pair[0], &pair[1]);
            let dates = a.date.as_deref().and_then(millis).zip(b.date.as_deref().and_then(millis));
            if let (Some((from, to)), Some((duration, _)), false) =
                (dates, &a.file, b.discontinuity)
            {
                let off = (to - from) - duration * 1000.0;
                self.rule(off.abs() <= 50.0, "dates-go-on", || {
                    format!("{}: {off} ms off", b.number)
                });
            }
        }
    }

    /// §4.4.4.7: a tag without value, of the segment whose URI follows; its parts are not there either.
    fn gaps(&mut self) {
        let mut of_the_next = false;
        for line in self.text.lines() {
            let tag = line.strip_prefix("#EXT-X-GAP");
            self.rule(tag.is_none_or(str::is_empty), "gap-has-no-value", || line.to_owned());
            self.rule(!(tag.is_some() && of_the_next), "gap-before-its-segment", || "twice".into());
            of_the_next = (of_the_next || tag.is_some()) && line.starts_with('#');
        }
        self.rule(!of_the_next, "gap-before-its-segment", || "behind the last segment".into());
        for segment in self.playlist.segments.clone().into_iter().filter(|s| s.gap) {
            let all = segment.parts.iter().all(|part| part.gap);
            self.rule(all, "gap-of-all-parts", || format!("{}", segment.number));
        }
    }

    /// §4.4.2.1, §4.4.4.9.
    fn independent(&mut self) {
        for line in self.text.lines().filter_map(|l| l.strip_prefix("#EXT-X-PART:")) {
            let said = attribute(line, "INDEPENDENT");
            self.rule(said.is_none_or(|said| said == "YES"), "independent-is-yes", || line.into());
        }
        if self.count("#EXT-X-INDEPENDENT-SEGMENTS") == 0 {
            return;
        }
        for segment in self.playlist.segments.clone() {
            let first = segment.parts.first();
            let begins = first.is_none_or(|part| part.independent || part.gap);
            self.rule(begins, "independent-segments", || format!("{}", segment.number));
        }
    }

    /// §4.4.4.9.
    fn parts(&mut self) {
        let parts: usize = self.playlist.segments.iter().map(|s| s.parts.len()).sum();
        let Some(target) = self.playlist.part_target else {
            return self.rule(parts == 0, "part-inf", || "parts without PART-INF".into());
        };
        for segment in self.playlist.segments.clone() {
            let number = segment.number;
            for (i, part) in segment.parts.iter().enumerate() {
                let last = segment.file.is_some() && i + 1 == segment.parts.len();
                let (is, at) = (part.duration, format!("{number}.{i}"));
                self.rule(is <= target + ROUNDING, "part-fits-target", || format!("{at}: {is}"));
                let long = is >= 0.85 * target - ROUNDING;
                self.rule(long || last, "part-long-enough", || format!("{at}: {is} of {target}"));
            }
            if let (Some((duration, _)), false) = (&segment.file, segment.parts.is_empty()) {
                let sum: f64 = segment.parts.iter().map(|p| p.duration).sum();
                let off = (sum - duration).abs();
                self.rule(off < 0.001, "parts-make-the-segment", || {
                    format!("{number}: {off} s off")
                });
            }
        }
        // Of what ends more than three target durations before the end they are of no use.
        let mut behind = 0.0;
        for segment in self.playlist.segments.clone().iter().rev() {
            let fresh = behind <= 3.0 * self.playlist.target_duration as f64 + ROUNDING;
            self.rule(fresh || segment.parts.is_empty(), "old-parts-go", || {
                format!("{}: {behind} s before the end", segment.number)
            });
            let of_parts = || segment.parts.iter().map(|part| part.duration).sum();
            behind += segment.file.as_ref().map_or_else(of_parts, |file| file.0);
        }
    }

    /// §4.4.3.8, §4.4.5.3, §4.4.5.4.
    fn low_latency(&mut self) {
        let Some(part) = self.playlist.part_target else { return };
        let target = self.playlist.target_duration as f64;
        let control = self.value("#EXT-X-SERVER-CONTROL").unwrap_or("").to_owned();
        let number = |name: &str| attribute(&control, name).and_then(|v| v.parse::<f64>().ok());
        let hold = number("PART-HOLD-BACK").unwrap_or(0.0);
        // "MUST be at least twice the Part Target Duration", recommended is three times.
        self.rule(hold >= 3.0 * part - ROUNDING, "part-hold-back", || format!("{hold} for {part}"));
        let blocks = attribute(&control, "CAN-BLOCK-RELOAD").as_deref() == Some("YES");
        self.rule(blocks, "can-block-reload", || control.clone());
        if let Some(until) = number("CAN-SKIP-UNTIL") {
            self.rule(until >= 6.0 * target, "can-skip-until", || format!("{until} for {target}"));
        }
        let hints = self.count("#EXT-X-PRELOAD-HINT");
        self.rule(hints <= 1, "one-hint", || format!("{hints} hints"));
        if let Some(hint) = self.playlist.hint.clone() {
            let listed =
                self.playlist.segments.iter().flat_map(|s| &s.parts).any(|p| p.uri == hint);
            self.rule(!listed, "hint-is-to-come", || hint.clone());
        }
        for line in self.text.lines().filter_map(|l| l.strip_prefix("#EXT-X-RENDITION-REPORT:")) {
            let whole = ["URI", "LAST-MSN"].iter().all(|name| attribute(line, name).is_some());
            self.rule(whole, "rendition-report", || line.to_owned());
            // §4.4.5.4: "REQUIRED if the Rendition contains a Partial Segment". The others have them if this one does.
            let parts = self.playlist.segments.iter().any(|s| !s.parts.is_empty());
            let part = attribute(line, "LAST-PART").is_some_and(|n| n.parse::<u64>().is_ok());
            self.rule(part || !parts, "report-has-its-part", || line.to_owned());
        }
    }

    /// §4.4.3.4.
    fn end(&mut self) {
        let hinted = self.playlist.hint.is_some();
        self.rule(!(self.playlist.ended && hinted), "nothing-after-the-end", || "a hint".into());
        let whole = self.playlist.segments.iter().all(|s| s.file.is_some() || !self.playlist.ended);
        self.rule(whole, "whole-at-the-end", || "a segment with parts only".into());
        let skip = self.count("#EXT-X-SKIP") > 0;
        let can = self.value("#EXT-X-SERVER-CONTROL").is_some_and(|c| c.contains("CAN-SKIP-UNTIL"));
        self.rule(!skip || can, "skip-was-offered", || "SKIP without CAN-SKIP-UNTIL".into());
    }
}

/// The broken rules of all versions of one playlist, oldest first, without delta updates. §6.2.1.
pub fn check_versions(versions: &[String]) -> Vec<Broken> {
    let mut broken = Vec::new();
    let mut known: BTreeMap<u64, (f64, String)> = BTreeMap::new();
    let mut parts: BTreeMap<(u64, usize), String> = BTreeMap::new();
    let mut discontinuities: BTreeMap<u64, u64> = BTreeMap::new();
    let mut last: Option<(&String, MediaPlaylist)> = None;
    for text in versions {
        broken.extend(check(text));
        let now = MediaPlaylist::parse(text).unwrap();
        let mut rule = |holds: bool, rule: &'static str, found: String| {
            assert!(VERSION_RULES.contains(&rule), "{rule} is no rule");
            if !holds {
                broken.push(Broken { rule, found });
            }
        };
        if let Some((written, before)) = &last {
            rule(!before.ended || text == *written, "ended-stays", text.clone());
            let (was, is) = (before.sequence, now.sequence);
            rule(is >= was, "sequence-rises", format!("{was} then {is}"));
            let (was, is) = (before.target_duration, now.target_duration);
            rule(is == was, "target-is-fixed", format!("{was} then {is}"));
            let fixed = now.part_target == before.part_target || now.ended;
            rule(fixed, "part-target-is-fixed", format!("{:?}", now.part_target));
            // §6.2.2: nothing is removed if less than three target durations would be left.
            let lasts: f64 = now.segments.iter().flat_map(|s| &s.file).map(|file| file.0).sum();
            let enough = lasts + ROUNDING >= 3.0 * now.target_duration as f64;
            let removed = now.sequence > before.sequence && !now.ended;
            rule(
                enough || !removed,
                "three-targets-stay",
                format!("{lasts} s from {}", now.sequence),
            );
        }
        let mut sequence = now.discontinuity_sequence;
        for segment in &now.segments {
            let number = segment.number;
            sequence += u64::from(segment.discontinuity);
            let was = *discontinuities.entry(number).or_insert(sequence);
            rule(was == sequence, "discontinuity-sequence", format!("{number}: {was}, {sequence}"));
            if let Some((duration, uri)) = &segment.file {
                let was = known.entry(number).or_insert_with(|| (*duration, uri.clone()));
                let same = (was.0 - duration).abs() < ROUNDING && was.1 == *uri;
                rule(same, "segments-never-change", format!("{number}: {uri}"));
            }
            for (i, part) in segment.parts.iter().enumerate() {
                let was = parts.entry((number, i)).or_insert_with(|| part.uri.clone());
                rule(*was == part.uri, "parts-never-change", format!("{number}.{i}: {}", part.uri));
            }
        }
        last = Some((text, now));
    }
    broken
}

/// The broken rules of reports (§4.4.5.4) among low-latency playlists of one moment, by their URI: each names all others, and tells
/// the last segment and part of each.
pub fn check_reports(lists: &BTreeMap<String, String>) -> Vec<Broken> {
    let mut broken = Vec::new();
    let mut rule = |holds: bool, rule: &'static str, found: String| {
        assert!(REPORT_RULES.contains(&rule), "{rule} is no rule");
        if !holds {
            broken.push(Broken { rule, found });
        }
    };
    for (uri, text) in lists {
        let reports = text.lines().filter_map(|l| l.strip_prefix("#EXT-X-RENDITION-REPORT:"));
        let mut missing: BTreeMap<_, _> = lists.iter().filter(|(of, _)| *of != uri).collect();
        for line in reports {
            let of = attribute(line, "URI").unwrap_or_default();
            let Some(other) = missing.remove(&of) else {
                rule(false, "report-of-each", format!("{uri}: a second one, or of none: {line}"));
                continue;
            };
            let other = MediaPlaylist::parse(other).unwrap();
            let newest = other.segments.last();
            let last = newest.map(|s| (s.number, s.parts.len().checked_sub(1)));
            let number = |name: &str| attribute(line, name).and_then(|n| n.parse::<u64>().ok());
            let part = number("LAST-PART").map(|n| n as usize);
            let said = number("LAST-MSN").map(|msn| (msn, part));
            rule(said == last, "report-is-true", format!("{uri}: {line}, and it is {last:?}"));
        }
        rule(missing.is_empty(), "report-of-each", format!("{uri}: none of {:?}", missing.keys()));
    }
    broken
}

/// What one version of a playlist hinted at and the next one has something else in place of, or lists under another
/// EXT-X-MAP. §6.2.6 and §4.4.5.3 allow the one and the other, and not every player bears them.
pub fn check_hints(versions: &[String]) -> Vec<Broken> {
    let lists: Vec<_> = versions.iter().map(|text| MediaPlaylist::parse(text).unwrap()).collect();
    let came = |before: &MediaPlaylist, now: &MediaPlaylist| {
        let (newest, hint) = (before.segments.last()?, before.hint.as_ref()?);
        // Further on it is no longer said what parts there were.
        let next = now.segments.last().is_some_and(|s| s.number <= newest.number + 1);
        if now.ended || !next || now.hint.as_ref() == Some(hint) {
            return None;
        }
        let its = now.segments.iter().find(|s| s.parts.iter().any(|part| part.uri == *hint));
        match its.map(|segment| &segment.map) {
            Some(map) if *map == newest.map => None,
            map => Some(Broken { rule: "hints-come-true", found: format!("{hint}: {map:?}") }),
        }
    };
    lists.windows(2).filter_map(|two| came(&two[0], &two[1])).collect()
}

/// The broken rules of a multivariant playlist against the media playlists that it leads to, by their URI.
/// `codec_of` answers the codec of an initialisation segment as its URI says.
pub fn check_codecs(
    multivariant: &str,
    media: &BTreeMap<String, String>,
    codec_of: impl Fn(&str) -> String,
) -> Vec<Broken> {
    let mut broken = Vec::new();
    let lines: Vec<&str> = multivariant.lines().collect();
    for pair in lines.windows(2) {
        let Some(stream) = pair[0].strip_prefix("#EXT-X-STREAM-INF:") else { continue };
        let codecs = attribute(stream, "CODECS").unwrap_or_default();
        let group = attribute(stream, "AUDIO");
        let sounds = lines
            .iter()
            .filter_map(|l| l.strip_prefix("#EXT-X-MEDIA:"))
            .filter(|l| group.is_some() && attribute(l, "GROUP-ID") == group);
        let uris = sounds.filter_map(|l| attribute(l, "URI")).chain([pair[1].to_owned()]);
        // §4.4.6.2: every format that is present in any Media Segment of any rendition of the variant.
        for uri in uris {
            let text = media.get(&uri).map(String::as_str).unwrap_or_default();
            let playlist = MediaPlaylist::parse(text);
            let maps = playlist.iter().flat_map(|p| &p.segments).map(|s| &s.map);
            for map in maps.filter(|map| !map.is_empty()) {
                let codec = codec_of(map);
                if !codecs.split(',').any(|listed| listed == codec) {
                    let found = format!("{uri}: {codec} is not in {codecs}");
                    broken.push(Broken { rule: "codecs-of-every-segment", found });
                }
            }
        }
    }
    broken.dedup();
    broken
}

/// Milliseconds since 1970.
fn millis(date: &str) -> Option<f64> {
    media::date::parse_date_time(date).map(|ms| ms as f64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const GOOD: &str = "\
#EXTM3U
#EXT-X-VERSION:9
#EXT-X-TARGETDURATION:2
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12.0,PART-HOLD-BACK=3.000
#EXT-X-PART-INF:PART-TARGET=1.000
#EXT-X-MEDIA-SEQUENCE:10
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MAP:URI=\"init-a.mp4\"
#EXT-X-PROGRAM-DATE-TIME:2026-11-22T10:00:00.000Z
#EXT-X-PART:DURATION=1.00000,URI=\"10.0\",INDEPENDENT=YES
#EXT-X-PART:DURATION=1.00000,URI=\"10.1\"
#EXTINF:2.00000,
10
#EXT-X-PROGRAM-DATE-TIME:2026-11-22T10:00:02.000Z
#EXT-X-PART:DURATION=1.00000,URI=\"11.0\",INDEPENDENT=YES
#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"11.1\"
#EXT-X-RENDITION-REPORT:URI=\"audio.m3u8\",LAST-MSN=10,LAST-PART=0
";

    #[test]
    fn a_good_playlist_breaks_no_rule() {
        assert_eq!(check(GOOD), []);
        assert_eq!(check_versions(&[GOOD.to_owned(), GOOD.to_owned()]), []);
    }

    /// The rule that each mutant breaks, what is in the good playlist and what is instead.
    const MUTANTS: &[(&str, &str, &str)] = &[
        ("extm3u-first", "#EXTM3U\n", ""),
        ("once", "#EXT-X-VERSION:9\n", "#EXT-X-VERSION:9\n#EXT-X-VERSION:9\n"),
        ("target-duration", "#EXT-X-TARGETDURATION:2\n", ""),
        ("version", "#EXT-X-VERSION:9", "#EXT-X-VERSION:5"),
        (
            "once",
            "#EXT-X-INDEPENDENT-SEGMENTS\n",
            "#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-INDEPENDENT-SEGMENTS\n",
        ),
        (
            "sequence-first",
            "URI=\"10.0\",INDEPENDENT=YES\n",
            "URI=\"10.0\",INDEPENDENT=YES\n#EXT-X-MEDIA-SEQUENCE:10\n",
        ),
        (
            "sequence-first",
            "#EXTINF:2.00000,\n10\n",
            "#EXTINF:2.00000,\n10\n#EXT-X-MEDIA-SEQUENCE:10\n",
        ),
        (
            "discontinuity-sequence-first",
            "#EXT-X-PROGRAM-DATE-TIME:2026-11-22T10:00:02.000Z",
            "#EXT-X-DISCONTINUITY\n#EXT-X-DISCONTINUITY-SEQUENCE:1\n#EXT-X-MAP:URI=\"init-b.mp4\"",
        ),
        ("old-parts-go", "\n10\n", "\n10\n#EXTINF:2,\na\n#EXTINF:2,\nb\n#EXTINF:2,\nc\n"),
        ("gap-has-no-value", "#EXTINF", "#EXT-X-GAP:YES\n#EXTINF"),
        ("gap-before-its-segment", "#EXTINF", "#EXT-X-GAP\n#EXT-X-GAP\n#EXTINF"),
        ("gap-before-its-segment", "#EXT-X-PRELOAD", "#EXT-X-GAP\n#EXT-X-PRELOAD"),
        ("gap-of-all-parts", "#EXTINF", "#EXT-X-GAP\n#EXTINF"),
        ("independent-is-yes", "INDEPENDENT=YES", "INDEPENDENT=NO"),
        ("independent-segments", "URI=\"11.0\",INDEPENDENT=YES", "URI=\"11.0\""),
        ("segment-fits-target", "#EXTINF:2.00000", "#EXTINF:2.50000"),
        ("segment-duration", "#EXTINF:2.00000", "#EXTINF:0.00000"),
        ("map", "#EXT-X-MAP:URI=\"init-a.mp4\"\n", ""),
        (
            "map-change-is-discontinuity",
            "#EXT-X-PROGRAM-DATE-TIME:2026-11-22T10:00:02.000Z",
            "#EXT-X-MAP:URI=\"init-b.mp4\"\n#EXT-X-PROGRAM-DATE-TIME:2026-11-22T10:00:02.000Z",
        ),
        ("date", "#EXT-X-PROGRAM-DATE-TIME:2026-11-22T10:00:00.000Z\n", ""),
        ("dates-go-on", "T10:00:02.000Z", "T10:00:03.000Z"),
        ("part-inf", "#EXT-X-PART-INF:PART-TARGET=1.000\n", ""),
        (
            "part-fits-target",
            "PART:DURATION=1.00000,URI=\"10.1\"",
            "PART:DURATION=1.10000,URI=\"10.1\"",
        ),
        (
            "part-long-enough",
            "PART:DURATION=1.00000,URI=\"10.0\"",
            "PART:DURATION=0.80000,URI=\"10.0\"",
        ),
        (
            "parts-make-the-segment",
            "PART:DURATION=1.00000,URI=\"10.1\"",
            "PART:DURATION=0.90000,URI=\"10.1\"",
        ),
        ("part-hold-back", "PART-HOLD-BACK=3.000", "PART-HOLD-BACK=2.500"),
        ("can-block-reload", "CAN-BLOCK-RELOAD=YES,", ""),
        ("can-skip-until", "CAN-SKIP-UNTIL=12.0", "CAN-SKIP-UNTIL=11.0"),
        (
            "one-hint",
            "#EXT-X-PRELOAD-HINT",
            "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"x\"\n#EXT-X-PRELOAD-HINT",
        ),
        ("hint-is-to-come", "URI=\"11.1\"", "URI=\"11.0\""),
        ("rendition-report", ",LAST-MSN=10", ""),
        ("report-has-its-part", ",LAST-PART=0", ""),
        ("report-has-its-part", "LAST-PART=0", "LAST-PART=first"),
        ("nothing-after-the-end", "#EXT-X-RENDITION", "#EXT-X-ENDLIST\n#EXT-X-RENDITION"),
        ("whole-at-the-end", "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"11.1\"", "#EXT-X-ENDLIST"),
        ("skip-was-offered", "CAN-SKIP-UNTIL=12.0,", ""),
    ];

    #[test]
    fn what_is_hinted_at_comes_by_the_same_map_or_is_missed() {
        let part = |n| format!("#EXT-X-PART:DURATION=1.00000,URI=\"11.{n}\"\n");
        let next = GOOD.replace("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"11.1\"\n", &part(1));
        let other = next.replace("11.1", "4-11.0");
        let map = next.replace(&part(1), &format!("#EXT-X-MAP:URI=\"init-b.mp4\"\n{}", part(1)));
        let ended = format!("{GOOD}#EXT-X-ENDLIST\n").replace("11.1", "11.2");
        for (now, missed) in
            [(&GOOD.to_owned(), 0), (&next, 0), (&ended, 0), (&other, 1), (&map, 1)]
        {
            let broken = check_hints(&[GOOD.to_owned(), now.clone()]);
            assert_eq!(broken.len(), missed, "{now}");
        }
    }

    #[test]
    fn every_rule_catches_its_mutant() {
        for (rule, from, to) in MUTANTS {
            let mutant = GOOD.replacen(from, to, 1);
            let mutant = match *rule {
                "skip-was-offered" => {
                    mutant.replace("#EXT-X-MAP", "#EXT-X-SKIP:SKIPPED-SEGMENTS=1\n#EXT-X-MAP")
                }
                // Moved, not doubled.
                "sequence-first" => mutant.replacen("#EXT-X-MEDIA-SEQUENCE:10\n", "", 1),
                _ => mutant,
            };
            assert_ne!(mutant, GOOD, "{rule}: the mutation does nothing");
            let broken = check(&mutant);
            assert!(broken.iter().any(|b| b.rule == *rule), "{rule} is not caught: {broken:?}");
        }
        let mutated = MUTANTS.iter().map(|(rule, ..)| *rule).collect::<BTreeSet<_>>();
        assert_eq!(mutated, RULES.iter().copied().collect(), "each rule has a mutant");
    }

    #[test]
    fn a_delta_update_breaks_no_rule() {
        let skip = "#EXT-X-SKIP:SKIPPED-SEGMENTS=3\n";
        let delta = GOOD.replace("#EXT-X-MAP:URI=\"init-a.mp4\"\n", skip);
        assert_eq!(check(&delta), []);
        // A gap is what it says.
        let gap = GOOD
            .replace("#EXTINF", "#EXT-X-GAP\n#EXTINF")
            .replace("URI=\"10.0\",INDEPENDENT=YES", "URI=\"10.0\",GAP=YES")
            .replace("URI=\"10.1\"", "URI=\"10.1\",GAP=YES");
        assert_eq!(check(&gap), []);
    }

    #[test]
    fn codecs_that_are_not_named_are_caught() {
        let list = "\
#EXTM3U
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"1\",URI=\"audio.m3u8\"
#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS=\"b,a,sound\",AUDIO=\"audio\"
video.m3u8
";
        let changes = GOOD.replace(
            "#EXT-X-PROGRAM-DATE-TIME:2026-11-22T10:00:02.000Z",
            "#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"init-b.mp4\"",
        );
        let sound = GOOD.replace("init-a", "init-sound");
        let media =
            BTreeMap::from([("video.m3u8".to_owned(), changes), ("audio.m3u8".to_owned(), sound)]);
        let codec_of = |uri: &str| uri.replace("init-", "").replace(".mp4", "");
        assert_eq!(check_codecs(list, &media, codec_of), []);
        for (from, to, lacks) in [
            ("b,a,sound", "b,sound", "video.m3u8: a"),
            ("b,a,sound", "a,sound", "video.m3u8: b"),
            ("b,a,sound", "b,a", "audio.m3u8: sound"),
        ] {
            let broken = check_codecs(&list.replace(from, to), &media, codec_of);
            assert_eq!(broken.len(), 1, "{broken:?}");
            assert_eq!(broken[0].rule, "codecs-of-every-segment");
            assert!(broken[0].found.starts_with(lacks), "{broken:?}");
        }
    }

    #[test]
    fn every_rule_of_versions_catches_its_mutant() {
        let mut mutated = BTreeSet::new();
        for (rule, from, to) in [
            ("sequence-rises", "MEDIA-SEQUENCE:10", "MEDIA-SEQUENCE:9"),
            ("three-targets-stay", "MEDIA-SEQUENCE:10", "MEDIA-SEQUENCE:11"),
            ("target-is-fixed", "TARGETDURATION:2", "TARGETDURATION:3"),
            ("part-target-is-fixed", "PART-TARGET=1.000", "PART-TARGET=1.100"),
            (
                "discontinuity-sequence",
                "#EXT-X-MEDIA-SEQUENCE",
                "#EXT-X-DISCONTINUITY-SEQUENCE:1\n#EXT-X-MEDIA-SEQUENCE",
            ),
            ("segments-never-change", "\n10\n", "\nother\n"),
            ("parts-never-change", "URI=\"10.1\"", "URI=\"other\""),
        ] {
            let mutant = GOOD.replacen(from, to, 1);
            assert_ne!(mutant, GOOD, "{rule}: the mutation does nothing");
            let broken = check_versions(&[GOOD.to_owned(), mutant]);
            assert!(broken.iter().any(|b| b.rule == rule), "{rule} is not caught: {broken:?}");
            mutated.insert(rule);
        }
        let ended = format!("{GOOD}#EXT-X-ENDLIST\n");
        let broken = check_versions(&[ended, GOOD.to_owned()]);
        assert!(broken.iter().any(|b| b.rule == "ended-stays"), "{broken:?}");
        mutated.insert("ended-stays");
        assert_eq!(mutated, VERSION_RULES.iter().copied().collect(), "each rule has a mutant");
    }

    #[test]
    fn every_rule_of_reports_catches_its_mutant() {
        let sound = GOOD.replace("audio.m3u8", "video.m3u8").replace("LAST-MSN=10", "LAST-MSN=11");
        let good = GOOD.replace("LAST-MSN=10", "LAST-MSN=11");
        let both = |video: &str| {
            let lists = [("video.m3u8", video), ("audio.m3u8", &sound)];
            BTreeMap::from(lists.map(|(uri, text)| (uri.to_owned(), text.to_owned())))
        };
        assert_eq!(check_reports(&both(&good)), []);
        let report = "#EXT-X-RENDITION-REPORT:URI=\"audio.m3u8\",LAST-MSN=11,LAST-PART=0\n";
        for (rule, from, to) in [
            ("report-of-each", report, String::new()),
            ("report-of-each", report, report.repeat(2)),
            ("report-of-each", "audio.m3u8", "other.m3u8".to_owned()),
            ("report-is-true", "LAST-MSN=11", "LAST-MSN=10".to_owned()),
            ("report-is-true", "LAST-PART=0", "LAST-PART=1".to_owned()),
            ("report-is-true", ",LAST-PART=0", String::new()),
        ] {
            let mutant = good.replacen(from, &to, 1);
            assert_ne!(mutant, good, "{rule}: the mutation does nothing");
            let broken = check_reports(&both(&mutant));
            assert!(broken.iter().any(|b| b.rule == rule), "{rule} is not caught: {broken:?}");
        }
    }
}
