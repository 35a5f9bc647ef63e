//! Authoring rules for lists of key pictures (draft-pantos-hls-rfc8216bis §4.4.3.6): an independent reader of text, as `rules`.

use crate::rules::Broken;

/// One entry.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyPicture {
    /// Seconds that it stands for.
    pub seconds: f64,
    /// Its initialisation segment.
    pub map: String,
    /// Its file; none where there is no picture.
    pub uri: Option<String>,
}

/// Reads a list of key pictures, and says which rules it breaks.
pub fn check_key_pictures(text: &str) -> (Vec<KeyPicture>, Vec<Broken>) {
    let mut broken = Vec::new();
    let mut rule = |holds: bool, rule: &'static str, found: &str| {
        if !holds {
            broken.push(Broken { rule, found: found.to_owned() });
        }
    };
    rule(text.starts_with("#EXTM3U\n"), "extm3u-first", text.lines().next().unwrap_or(""));
    let once = |tag: &str| text.lines().filter(|l| l.split(':').next() == Some(tag)).count() == 1;
    for tag in
        ["#EXT-X-I-FRAMES-ONLY", "#EXT-X-TARGETDURATION", "#EXT-X-VERSION", "#EXT-X-MEDIA-SEQUENCE"]
    {
        rule(once(tag), "once", tag);
    }
    let value = |tag: &str| {
        let found = text.lines().find_map(|l| l.strip_prefix(tag)?.strip_prefix(':'));
        found.and_then(|v| v.parse::<u64>().ok()).unwrap_or(0)
    };
    // §8: EXT-X-MAP in such a list.
    rule(value("#EXT-X-VERSION") >= 5, "version", "below 5");
    rule(!text.contains("#EXT-X-PART"), "no-parts", "EXT-X-PART");
    // Our own: of a range of a segment a demuxer reads that it lasts for a part.
    rule(!text.contains("#EXT-X-BYTERANGE"), "files", "EXT-X-BYTERANGE");
    let target = value("#EXT-X-TARGETDURATION");
    let mut pictures = Vec::new();
    let (mut map, mut seconds, mut gap) = (String::new(), None, false);
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("#EXT-X-MAP:URI=\"") {
            map = rest.trim_end_matches('"').to_owned();
        } else if let Some(rest) = line.strip_prefix("#EXTINF:") {
            seconds = rest.trim_end_matches(',').parse::<f64>().ok();
        } else if line == "#EXT-X-GAP" {
            gap = true;
        } else if !line.starts_with('#') && !line.is_empty() {
            let long = seconds.unwrap_or(f64::MAX);
            rule(long > 0.0 && long.round() <= target as f64, "fits-target", line);
            rule(!map.is_empty(), "map", line);
            let uri = (!gap).then(|| line.to_owned());
            pictures.push(KeyPicture { seconds: long, map: map.clone(), uri });
            (seconds, gap) = (None, false);
        }
    }
    rule(!pictures.is_empty(), "pictures", "none");
    (pictures, broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:7\n\
        #EXT-X-I-FRAMES-ONLY\n#EXT-X-MAP:URI=\"i.mp4\"\n#EXTINF:2.0,\na.m4s\n\
        #EXT-X-GAP\n#EXTINF:2.0,\nb.m4s\n";

    #[test]
    fn a_mutant_breaks_each_rule() {
        let (pictures, broken) = check_key_pictures(GOOD);
        assert_eq!(broken, []);
        assert_eq!((pictures[0].uri.as_deref(), &pictures[1].uri), (Some("a.m4s"), &None));
        for (from, to, rule) in [
            ("#EXTM3U\n", "#EXTM3\n", "extm3u-first"),
            ("#EXT-X-I-FRAMES-ONLY\n", "", "once"),
            ("VERSION:6", "VERSION:4", "version"),
            ("#EXT-X-MAP:URI=\"i.mp4\"\n", "", "map"),
            ("a.m4s", "#EXT-X-BYTERANGE:10@5\na.m4s", "files"),
            ("#EXTINF:2.0", "#EXTINF:2.6", "fits-target"),
            ("a.m4s", "#EXT-X-PART:DURATION=1,URI=\"x\"\na.m4s", "no-parts"),
        ] {
            let mutant = GOOD.replacen(from, to, 1);
            let (_, broken) = check_key_pictures(&mutant);
            assert!(broken.iter().any(|b| b.rule == rule), "{rule}: {broken:?}");
        }
        let (_, broken) = check_key_pictures(GOOD.split("#EXTINF").next().unwrap());
        assert_eq!(broken[0].rule, "pictures");
    }
}
