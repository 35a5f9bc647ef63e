//! Rules for MPDs: elements, attributes and types of the schema of ISO/IEC 23009-1:2022 (DASH-MPD.xsd), and what its text says beyond
//! that, with its section numbers. They look at the answer, and share nothing with the program that writes it.

use std::collections::BTreeSet;

use crate::rules::Broken;

/// The names of the rules that [`check_mpd`] knows, each with a mutant that it catches.
const RULES: &[&str] = &[
    "well-formed",
    "namespace",
    "element",
    "order",
    "how-often",
    "attribute",
    "required",
    "type",
    "dynamic",
    "static",
    "unique-id",
    "periods-follow",
    "mime-type",
    "addresses",
    "timeline",
    "longest-segment",
];

/// The schema, as far as we write any of it: elements of a type, its attributes (`!` must be there) with their types, and its
/// elements in the order of the sequence (`?` at most once, `+` at least once).
const SCHEMA: &[(&str, &str, &str)] = &[
    (
        "MPD",
        "xmlns:word! profiles:word! minBufferTime:duration! type:static|dynamic availabilityStartTime:dateTime \
         publishTime:dateTime mediaPresentationDuration:duration minimumUpdatePeriod:duration timeShiftBufferDepth:duration \
         suggestedPresentationDelay:duration maxSegmentDuration:duration",
        "BaseURL ServiceDescription Period+ EssentialProperty SupplementalProperty UTCTiming",
    ),
    ("ServiceDescription", "id:u32", "Scope Latency PlaybackRate"),
    ("Latency", "referenceId:u32 target:u32 max:u32 min:u32", ""),
    ("PlaybackRate", "max:double min:double", ""),
    (
        "Period",
        "id:text start:duration duration:duration",
        "BaseURL AdaptationSet SupplementalProperty",
    ),
    (
        "AdaptationSet",
        "id:u32 lang:language contentType:text|image|audio|video|application|font par:ratio segmentAlignment:boolean \
         mimeType:word startWithSAP:0|1|2|3|4|5|6 selectionPriority:u32",
        "AudioChannelConfiguration EssentialProperty SupplementalProperty Label Accessibility Role BaseURL SegmentTemplate? \
         Representation",
    ),
    (
        "Representation",
        "id:word! bandwidth:u32! codecs:text mimeType:word width:u32 height:u32 sar:ratio frameRate:rate \
         audioSamplingRate:u32",
        "AudioChannelConfiguration EssentialProperty SupplementalProperty Label BaseURL SegmentTemplate?",
    ),
    (
        "SegmentTemplate",
        "timescale:u32 presentationTimeOffset:u64 availabilityTimeOffset:double availabilityTimeComplete:boolean \
         duration:u32 startNumber:u32 media:word initialization:word",
        "SegmentTimeline?",
    ),
    ("SegmentTimeline", "", "S"),
    ("S", "t:u64 n:u64 d:u64! r:integer k:u64", ""),
    ("BaseURL", "", ""),
    ("Label", "id:u32 lang:language", ""),
    (
        "Accessibility AudioChannelConfiguration EssentialProperty Role Scope SupplementalProperty UTCTiming",
        "schemeIdUri:word! value:text id:text",
        "",
    ),
];

/// The broken rules of one MPD.
pub fn check_mpd(text: &str) -> Vec<Broken> {
    let mut checker = Checker(Vec::new());
    match read(text) {
        Ok(mpd) => {
            checker.element(&mpd);
            checker.presentation(&mpd);
        }
        Err(found) => checker.rule(false, "well-formed", || found),
    }
    checker.0
}

struct Checker(Vec<Broken>);

impl Checker {
    fn rule(&mut self, holds: bool, rule: &'static str, found: impl FnOnce() -> String) {
        assert!(RULES.contains(&rule), "{rule} is no rule");
        if !holds {
            self.0.push(Broken { rule, found: found() });
        }
    }

    /// What the schema says.
    fn element(&mut self, element: &Element<'_>) {
        let name = element.name;
        let is = |(of, ..): &&(&str, &str, &str)| of.split(' ').any(|of| of == name);
        let Some((_, attributes, sequence)) = SCHEMA.iter().find(is) else {
            return self.rule(false, "element", || name.to_owned());
        };
        let known: Vec<(&str, &str)> =
            attributes.split(' ').filter_map(|attribute| attribute.split_once(':')).collect();
        for (attribute, _) in known.iter().filter(|(_, of)| of.ends_with('!')) {
            let there = element.value(attribute).is_some();
            self.rule(there, "required", || format!("{name} has no {attribute}"));
        }
        for (attribute, value) in &element.attributes {
            let of = known.iter().find(|(known, _)| known == attribute).map(|(_, of)| of);
            self.rule(of.is_some(), "attribute", || format!("{name} {attribute}"));
            let of = of.map_or("text", |of| of.trim_end_matches('!'));
            let found = || format!("{name} {attribute}={value:?} is no {of}");
            self.rule(has_type(value, of), "type", found);
        }
        let sequence: Vec<&str> = sequence.split(' ').filter(|entry| !entry.is_empty()).collect();
        let of = |entry: &str| entry.trim_end_matches(['?', '+']).to_owned();
        let mut last = 0;
        for child in &element.children {
            let at = sequence.iter().position(|entry| of(entry) == child.name);
            self.rule(at.is_some(), "element", || format!("{} in {name}", child.name));
            let at = at.unwrap_or(last);
            self.rule(at >= last, "order", || format!("{} in {name}", child.name));
            last = last.max(at);
            self.element(child);
        }
        for entry in sequence {
            let count = element.all(&of(entry)).count();
            let often = count > 1 && entry.ends_with('?') || count == 0 && entry.ends_with('+');
            self.rule(!often, "how-often", || format!("{entry} {count} times in {name}"));
        }
    }

    /// What the text says besides.
    fn presentation(&mut self, mpd: &Element<'_>) {
        let namespace =
            mpd.name == "MPD" && mpd.value("xmlns") == Some("urn:mpeg:dash:schema:mpd:2011");
        self.rule(namespace, "namespace", || format!("{} {:?}", mpd.name, mpd.value("xmlns")));
        let has = |name: &str| mpd.value(name).is_some();
        // §5.3.1.2: what must be there depends on the type.
        if mpd.value("type") == Some("dynamic") {
            let when = has("availabilityStartTime") && has("publishTime");
            self.rule(when, "dynamic", || "when is it available, and of when is this".to_owned());
        } else {
            let lasts = has("mediaPresentationDuration")
                && !has("minimumUpdatePeriod")
                && !has("timeShiftBufferDepth");
            self.rule(lasts, "static", || "how long is it, and nothing of what changes".to_owned());
        }
        // §5.3.2: each Period begins when the one before is over, or later.
        let (mut ids, mut end) = (BTreeSet::new(), 0.0);
        let longest = mpd.seconds("maxSegmentDuration");
        for period in mpd.all("Period") {
            let id = period.value("id").unwrap_or_default();
            self.rule(!id.is_empty() && ids.insert(id), "unique-id", || format!("Period {id:?}"));
            let start = period.seconds("start").unwrap_or(end);
            self.rule(start >= end - ROUNDING, "periods-follow", || {
                format!("{id} begins at {start}, before {end}")
            });
            end = start + period.seconds("duration").unwrap_or(0.0);
            let mut of_period = BTreeSet::new();
            for set in period.all("AdaptationSet") {
                for representation in set.all("Representation") {
                    // §5.3.5.2: unique within a Period.
                    let name = representation.value("id").unwrap_or_default();
                    self.rule(of_period.insert(name), "unique-id", || {
                        format!("Representation {name:?} in {id}")
                    });
                    // §5.3.7.2: of each Representation, there or for all of a set.
                    let mime = set.value("mimeType").or(representation.value("mimeType"));
                    self.rule(mime.is_some(), "mime-type", || name.to_owned());
                    self.media(representation, longest);
                }
            }
        }
    }

    /// §5.3.9: where the segments are, and when.
    fn media(&mut self, representation: &Element<'_>, longest: Option<f64>) {
        let name = representation.value("id").unwrap_or_default();
        let Some(template) = representation.all("SegmentTemplate").next() else {
            let file =
                representation.all("BaseURL").next().is_some_and(|url| !url.text.trim().is_empty());
            return self.rule(file, "addresses", || format!("{name} is nowhere"));
        };
        // §5.3.9.4.4: `$` begins and ends an identifier, and segments of one list differ by it.
        let media = template.value("media").unwrap_or_default();
        let parts: Vec<&str> = media.split('$').collect();
        self.rule(parts.len() == 3 && parts[1] == "Number", "addresses", || {
            format!("{name}: {media:?}")
        });
        let init = template.value("initialization").unwrap_or("$");
        self.rule(!init.contains('$'), "addresses", || format!("{name}: {init:?}"));
        // §5.3.9.6: segments do not overlap, and there is one at least.
        let scale = template.number("timescale").unwrap_or(1).max(1) as f64;
        let (mut end, mut any) = (0, false);
        for entry in template.all("SegmentTimeline").flat_map(|timeline| timeline.all("S")) {
            let duration = entry.number("d").unwrap_or(0);
            let start = entry.number("t").unwrap_or(end);
            let repeats = entry.number("r").unwrap_or(0);
            self.rule(start >= end && duration > 0, "timeline", || {
                format!("{name}: {duration} from {start}, behind {end}")
            });
            let seconds = duration as f64 / scale;
            let fits = longest.is_some_and(|longest| seconds <= longest + ROUNDING);
            self.rule(fits, "longest-segment", || format!("{name}: {seconds} of {longest:?}"));
            (end, any) = (start.saturating_add(duration.saturating_mul(repeats + 1)), true);
        }
        self.rule(any, "timeline", || format!("{name} has no segments"));
    }
}

/// Times are written in thousandths: so much a sum of three may be off.
const ROUNDING: f64 = 0.002;

/// Whether a value has a lexical form of this type: one of XML Schema's, one that the MPD's restricts (`ratio`, `rate`), one of
/// those between `|`; a `word` is neither empty nor has it a space, and a `double` is a number.
fn has_type(text: &str, of: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let positive = |text: &str| digits(text) && !text.starts_with('0');
    match of {
        "text" => true,
        "word" => !text.is_empty() && !text.contains(char::is_whitespace),
        "boolean" => ["true", "false", "0", "1"].contains(&text),
        "u32" => digits(text) && text.parse::<u32>().is_ok(),
        "u64" => digits(text) && text.parse::<u64>().is_ok(),
        "integer" => digits(text.strip_prefix('-').unwrap_or(text)),
        "double" => {
            let plain = text.strip_prefix('-').unwrap_or(text);
            let (whole, part) = plain.split_once('.').unwrap_or((plain, "0"));
            digits(whole) && digits(part)
        }
        "duration" => seconds(text).is_some(),
        // As we write it: in UTC.
        "dateTime" => {
            let shape: String =
                text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
            ["0000-00-00T00:00:00Z", "0000-00-00T00:00:00.000Z"].contains(&&*shape)
        }
        "language" => {
            let plain = |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric());
            let part = |part: &str| (1..=8).contains(&part.len()) && plain(part);
            text.split('-').all(part) && text.starts_with(|c: char| c.is_ascii_alphabetic())
        }
        "ratio" => text.split_once(':').is_some_and(|(a, b)| positive(a) && positive(b)),
        "rate" => {
            let (frames, seconds) = text.split_once('/').unwrap_or((text, "1"));
            digits(frames) && positive(seconds)
        }
        values => values.split('|').any(|value| value == text),
    }
}

/// xs:duration as we write it: hours, minutes and seconds.
fn seconds(text: &str) -> Option<f64> {
    let mut rest = text.strip_prefix("PT").filter(|rest| !rest.is_empty())?;
    let mut sum = 0.0;
    for (unit, seconds) in [('H', 3_600.0), ('M', 60.0), ('S', 1.0)] {
        if let Some((number, behind)) = rest.split_once(unit) {
            let plain = number.bytes().all(|b| b.is_ascii_digit() || (b == b'.' && unit == 'S'));
            sum += number.parse::<f64>().ok().filter(|_| plain)? * seconds;
            rest = behind;
        }
    }
    rest.is_empty().then_some(sum)
}

/// An element, in clear.
#[derive(Debug, Default)]
struct Element<'a> {
    name: &'a str,
    attributes: Vec<(&'a str, String)>,
    children: Vec<Element<'a>>,
    text: String,
}

impl<'a> Element<'a> {
    fn value(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.value(name)?.parse().ok()
    }

    fn seconds(&self, name: &str) -> Option<f64> {
        seconds(self.value(name)?)
    }

    fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s Element<'a>> {
        self.children.iter().filter(move |child| child.name == name)
    }
}

/// XML as far as an MPD of ours needs it: elements, attributes, text and the five names for characters.
fn read(text: &str) -> Result<Element<'_>, String> {
    let declaration = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
    let mut rest = text.strip_prefix(declaration).ok_or("no declaration")?;
    let mut open = vec![Element::default()];
    while let Some((before, tag)) = rest.split_once('<') {
        let (tag, behind) = tag.split_once('>').ok_or_else(|| format!("<{tag} is not closed"))?;
        rest = behind;
        let parent = open.last_mut().ok_or("an end too many")?;
        parent.text.push_str(&clear(before)?);
        if let Some(name) = tag.strip_prefix('/') {
            let element = open.pop().filter(|element| element.name == name && !open.is_empty());
            let element = element.ok_or_else(|| format!("</{name}> ends nothing"))?;
            open.last_mut().ok_or("an end too many")?.children.push(element);
        } else if let Some(tag) = tag.strip_suffix('/') {
            let element = start(tag)?;
            parent.children.push(element);
        } else {
            open.push(start(tag)?);
        }
    }
    let mut document = open.pop().filter(|_| open.is_empty()).ok_or("something is not ended")?;
    match (
        document.children.pop(),
        document.children.is_empty() && (document.text + rest).trim().is_empty(),
    ) {
        (Some(root), true) => Ok(root),
        _ => Err("not one element, and nothing else".to_owned()),
    }
}

fn start(tag: &str) -> Result<Element<'_>, String> {
    let (name, mut rest) = tag.split_at(tag.find(' ').unwrap_or(tag.len()));
    let mut element = Element { name, ..Element::default() };
    while !rest.is_empty() {
        let pair = rest.strip_prefix(' ').and_then(|rest| rest.split_once("=\""));
        let pair = pair.and_then(|(name, rest)| Some((name, rest.split_once('"')?)));
        let (attribute, (value, behind)) = pair.ok_or_else(|| format!("<{tag}>"))?;
        if attribute.is_empty() || element.value(attribute).is_some() {
            return Err(format!("{attribute} twice in <{tag}>"));
        }
        element.attributes.push((attribute, clear(value)?));
        rest = behind;
    }
    Ok(element)
}

fn clear(text: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut parts = text.split('&');
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (name, rest) = part.split_once(';').unwrap_or((part, ""));
        let names =
            [("amp", '&'), ("lt", '<'), ("gt", '>'), ("quot", '"'), ("apos", '\''), ("#39", '\'')];
        let known = names.iter().find(|(known, _)| *known == name);
        out.push(known.ok_or_else(|| format!("&{part}"))?.1);
        out.push_str(rest);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIVE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" profiles="urn:mpeg:dash:profile:isoff-live:2011,urn:mpeg:dash:profile:cmaf:2019" type="dynamic" availabilityStartTime="1970-01-01T00:00:00Z" publishTime="1970-01-01T00:00:26.000Z" minimumUpdatePeriod="PT0.5S" timeShiftBufferDepth="PT12.000S" maxSegmentDuration="PT2.000S" minBufferTime="PT2S" suggestedPresentationDelay="PT1.500S">
  <ServiceDescription id="0">
    <Latency target="1500" max="3000" min="750"/>
    <PlaybackRate max="1.04" min="0.96"/>
  </ServiceDescription>
  <Period id="10" start="PT20.000S">
    <AdaptationSet contentType="video" mimeType="video/mp4" segmentAlignment="true" startWithSAP="1" par="16:9">
      <Accessibility schemeIdUri="urn:scte:dash:cc:cea-608:2015" value="CC1=eng"/>
      <Role schemeIdUri="urn:mpeg:dash:role:2011" value="main"/>
      <Representation id="video" codecs="avc1.640028" bandwidth="8000" width="1440" height="1080" sar="4:3" frameRate="30000/1001">
        <SegmentTemplate timescale="90000" presentationTimeOffset="1800000" startNumber="10" initialization="../media/V/video/init-7.mp4" media="../media/V/video/3-$Number$.m4s" availabilityTimeOffset="1.666" availabilityTimeComplete="false">
          <SegmentTimeline>
            <S t="1800000" d="180000" r="1"/>
            <S d="90000"/>
          </SegmentTimeline>
        </SegmentTemplate>
      </Representation>
    </AdaptationSet>
  </Period>
  <UTCTiming schemeIdUri="urn:mpeg:dash:utc:http-xsdate:2014" value="../../time"/>
</MPD>
"#;

    const OVER: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" profiles="urn:mpeg:dash:profile:isoff-live:2011" type="static" mediaPresentationDuration="PT10.000S" maxSegmentDuration="PT2.000S" minBufferTime="PT2S">
  <Period id="10" start="PT0.000S" duration="PT6.000S">
    <AdaptationSet contentType="audio" mimeType="audio/mp4" segmentAlignment="true" lang="pt-BR" selectionPriority="2">
      <Representation id="audio" codecs="mp4a.40.2" bandwidth="8000" audioSamplingRate="48000">
        <AudioChannelConfiguration schemeIdUri="urn:mpeg:dash:23003:3:audio_channel_configuration:2011" value="2"/>
        <SegmentTemplate timescale="90000" presentationTimeOffset="0" startNumber="10" initialization="a/init.mp4" media="a/$Number$.m4s">
          <SegmentTimeline>
            <S t="0" d="180000" r="2"/>
          </SegmentTimeline>
        </SegmentTemplate>
      </Representation>
    </AdaptationSet>
    <AdaptationSet contentType="text" mimeType="text/vtt" lang="en">
      <Label>Tom &amp; Anna&#39;s</Label>
      <Role schemeIdUri="urn:mpeg:dash:role:2011" value="subtitle"/>
      <Representation id="captions-en" bandwidth="1000">
        <BaseURL>captions-en.vtt?start=0.000</BaseURL>
      </Representation>
    </AdaptationSet>
  </Period>
  <Period id="13" start="PT6.000S" duration="PT4.000S">
    <AdaptationSet contentType="audio" mimeType="audio/mp4">
      <Representation id="audio" bandwidth="8000">
        <SegmentTemplate initialization="b/init.mp4" media="b/$Number$.m4s">
          <SegmentTimeline>
            <S d="2" r="1"/>
          </SegmentTimeline>
        </SegmentTemplate>
      </Representation>
    </AdaptationSet>
  </Period>
</MPD>
"#;

    /// A rule, and what breaks it.
    const MUTANTS: &[(&str, &str, &str, &str)] = &[
        ("well-formed", LIVE, "</Period>", ""),
        ("well-formed", LIVE, "</Period>", "</Periods>"),
        ("well-formed", LIVE, "</MPD>", "</MPD></MPD>"),
        ("well-formed", LIVE, "</MPD>", "</MPD><MPD/>"),
        ("well-formed", LIVE, "version=\"1.0\" ", ""),
        ("well-formed", LIVE, " min=\"750\"", " max=\"750\""),
        ("well-formed", LIVE, "id=\"0\"", "id=0"),
        ("well-formed", OVER, "&amp;", "&"),
        ("namespace", LIVE, "schema:mpd:2011", "schema:mpd:2010"),
        ("element", LIVE, "<UTCTiming", "<UtcTiming"),
        ("element", LIVE, "<S d=\"90000\"/>", "<Role schemeIdUri=\"x\"/>"),
        ("order", LIVE, "<PlaybackRate max=\"1.04\" min=\"0.96\"/>", "<Scope schemeIdUri=\"x\"/>"),
        ("order", OVER, "<BaseURL>captions", "<SegmentTemplate/><BaseURL>captions"),
        ("how-often", LIVE, "<SegmentTimeline>", "<SegmentTimeline/><SegmentTimeline>"),
        ("attribute", LIVE, "startNumber", "startnumber"),
        ("required", LIVE, " minBufferTime=\"PT2S\"", ""),
        ("required", LIVE, " bandwidth=\"8000\"", ""),
        ("required", LIVE, "<S d=\"90000\"/>", "<S t=\"2160000\"/>"),
        ("required", LIVE, " schemeIdUri=\"urn:mpeg:dash:role:2011\"", ""),
        ("type", LIVE, "PT0.5S", "0.5S"),
        ("type", LIVE, "PT0.5S", "PT-0.5S"),
        ("type", LIVE, "PT0.5S", "PT1e3S"),
        ("type", LIVE, "PT0.5S", "PTS"),
        ("type", LIVE, "1970-01-01T00:00:00Z", "1970-01-01 00:00:00Z"),
        ("type", LIVE, "bandwidth=\"8000\"", "bandwidth=\"4294967296\""),
        ("type", LIVE, "bandwidth=\"8000\"", "bandwidth=\"8000.5\""),
        ("type", LIVE, "1.666", "NaN"),
        ("type", LIVE, "startWithSAP=\"1\"", "startWithSAP=\"7\""),
        ("type", LIVE, "16:9", "16/9"),
        ("type", LIVE, "30000/1001", "29.97"),
        ("type", LIVE, "30000/1001", "30/0"),
        ("type", LIVE, "segmentAlignment=\"true\"", "segmentAlignment=\"yes\""),
        ("type", LIVE, "id=\"video\"", "id=\"the video\""),
        ("type", LIVE, "contentType=\"video\"", "contentType=\"movie\""),
        ("type", LIVE, "r=\"1\"", "r=\"one\""),
        ("type", OVER, "lang=\"en\"", "lang=\"en_US\""),
        ("dynamic", LIVE, " publishTime=\"1970-01-01T00:00:26.000Z\"", ""),
        ("static", OVER, " mediaPresentationDuration=\"PT10.000S\"", ""),
        ("static", OVER, " minBufferTime", " minimumUpdatePeriod=\"PT2S\" minBufferTime"),
        ("unique-id", OVER, "Period id=\"13\"", "Period id=\"10\""),
        ("unique-id", OVER, "id=\"captions-en\"", "id=\"audio\""),
        ("periods-follow", OVER, "start=\"PT6.000S\"", "start=\"PT5.990S\""),
        ("mime-type", LIVE, " mimeType=\"video/mp4\"", ""),
        ("addresses", LIVE, "3-$Number$.m4s", "3-$Time$.m4s"),
        ("addresses", LIVE, "3-$Number$.m4s", "3-10.m4s"),
        ("addresses", LIVE, "init-7.mp4", "init-$Number$.mp4"),
        ("addresses", OVER, "<BaseURL>captions-en.vtt?start=0.000</BaseURL>", ""),
        ("timeline", LIVE, "<S d=\"90000\"/>", "<S t=\"2150000\" d=\"90000\"/>"),
        ("timeline", LIVE, "<S d=\"90000\"/>", "<S d=\"0\"/>"),
        ("timeline", OVER, "<S d=\"2\" r=\"1\"/>", ""),
        (
            "longest-segment",
            LIVE,
            "maxSegmentDuration=\"PT2.000S\"",
            "maxSegmentDuration=\"PT1.900S\"",
        ),
    ];

    #[test]
    fn every_rule_of_mpds_catches_its_mutant() {
        for good in [LIVE, OVER] {
            assert_eq!(check_mpd(good), [], "{good}");
        }
        for (rule, good, from, to) in MUTANTS {
            let mutant = good.replacen(from, to, 1);
            assert_ne!(mutant, *good, "{rule}: the mutation does nothing");
            let broken = check_mpd(&mutant);
            assert!(
                broken.iter().any(|b| b.rule == *rule),
                "{rule} is not caught by {to}: {broken:?}"
            );
        }
        let no_period = check_mpd("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<MPD/>");
        assert!(no_period.iter().any(|b| b.found.starts_with("Period+ 0 times")), "{no_period:?}");
        let mutated = MUTANTS.iter().map(|(rule, ..)| *rule).collect::<BTreeSet<_>>();
        assert_eq!(mutated, RULES.iter().copied().collect(), "each rule has a mutant");
    }
}
