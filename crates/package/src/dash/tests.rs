use std::collections::BTreeMap;

use media::codec::{Config, Ratio, VideoConfig};
use spine::Location;

use super::*;
use crate::properties::{Part, Segment as Info, encode};
use crate::testing::{add, audio_config, init_of, lasting, segment, two_renditions, video_config};

const LIVE: MpdOptions = MpdOptions { low_latency: false, everything: false, length_ns: None };
const LOW: MpdOptions = MpdOptions { low_latency: true, everything: false, length_ns: None };

fn contents() -> BTreeMap<u64, Content> {
    [(7, Content::new(&video_config())), (8, Content::new(&audio_config()))].into()
}

fn sources<'a>(
    contents: &'a BTreeMap<u64, Content>,
    languages: &'a BTreeMap<String, String>,
    base: &'a str,
) -> Sources<'a> {
    Sources { contents, languages, embedded: &[], captions: &[], levels: None, only: None, base }
}

fn render(index: &Index, options: MpdOptions) -> String {
    let (contents, languages) = (contents(), BTreeMap::new());
    let sources = sources(&contents, &languages, "../media/V");
    render_mpd(index, sources, options).unwrap()
}

/// Values of an attribute, in the order of the text.
fn values<'a>(text: &'a str, attribute: &str) -> Vec<&'a str> {
    let pattern = format!(" {attribute}=\"");
    text.split(&pattern).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

/// Two renditions with `count` whole segments from 10 on; `change` may alter what a segment says.
fn changed(count: u64, change: impl Fn(&str, u64, &mut Info)) -> Index {
    let mut index = Index::new();
    for rendition in ["audio.cmaf", "video.cmaf"] {
        for number in 10..10 + count {
            let mut info = Info { init: init_of(rendition), ..segment(number) };
            change(rendition, number, &mut info);
            let part = Part {
                duration: 180_000,
                independent: true,
                last: true,
                closes: false,
                target_ms: 2_000,
                target_duration: Some(2),
                open: false,
                key_bytes: None,
            };
            let at = Location { group: number, object: 0 };
            index.apply(rendition, at, &encode(&part, Some(&info)), 500_000).unwrap();
        }
    }
    index
}

/// What is lost later is left out as what was lost at first: numbers of one list follow each other.
#[test]
fn what_is_lost_parts_its_period() {
    for lost in [10, 13, 17] {
        let expect = changed(8, |_, number, info| info.gap = number == lost);
        let mut index = changed(8, |_, _, _| {});
        ["audio.cmaf", "video.cmaf"].iter().for_each(|name| index.lose(name, lost));
        let everything = MpdOptions { everything: true, ..LIVE };
        assert_eq!(render(&index, everything), render(&expect, everything), "{lost}");
        let periods = |index: &Index| {
            let segments = &index.rendition("video.cmaf").unwrap().segments;
            segments.iter().map(|s| s.period.number).collect::<Vec<_>>()
        };
        assert_eq!(periods(&index), periods(&expect), "{lost}");
    }
}

#[test]
fn a_live_mpd_reads_like_this() {
    let text = render(&two_renditions(), LIVE);
    let expect = "\
<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" profiles=\"urn:mpeg:dash:profile:isoff-live:2011,urn:mpeg:dash:profile:cmaf:2019\" type=\"dynamic\" availabilityStartTime=\"1970-01-01T00:00:00Z\" publishTime=\"1970-01-01T00:00:22.000Z\" minimumUpdatePeriod=\"PT2S\" timeShiftBufferDepth=\"PT12.000S\" maxSegmentDuration=\"PT2.000S\" minBufferTime=\"PT2S\" suggestedPresentationDelay=\"PT6.000S\">
  <Period id=\"10\" start=\"PT20.000S\">
    <AdaptationSet contentType=\"video\" mimeType=\"video/mp4\" segmentAlignment=\"true\" startWithSAP=\"1\">
      <Role schemeIdUri=\"urn:mpeg:dash:role:2011\" value=\"main\"/>
      <Representation id=\"video\" codecs=\"avc1.640028\" bandwidth=\"8000\" width=\"1920\" height=\"1080\" frameRate=\"30\">
        <SegmentTemplate timescale=\"90000\" presentationTimeOffset=\"1800000\" startNumber=\"10\" initialization=\"../media/V/video/init-00000000000007.mp4\" media=\"../media/V/video/3-$Number$.m4s\">
          <SegmentTimeline>
            <S t=\"1800000\" d=\"180000\"/>
          </SegmentTimeline>
        </SegmentTemplate>
      </Representation>
    </AdaptationSet>
    <AdaptationSet contentType=\"audio\" mimeType=\"audio/mp4\" segmentAlignment=\"true\" startWithSAP=\"1\">
      <Role schemeIdUri=\"urn:mpeg:dash:role:2011\" value=\"main\"/>
      <Representation id=\"audio\" codecs=\"mp4a.40.2\" bandwidth=\"8000\" audioSamplingRate=\"48000\">
        <AudioChannelConfiguration schemeIdUri=\"urn:mpeg:dash:23003:3:audio_channel_configuration:2011\" value=\"2\"/>
        <SegmentTemplate timescale=\"90000\" presentationTimeOffset=\"1800000\" startNumber=\"10\" initialization=\"../media/V/audio/init-00000000000008.mp4\" media=\"../media/V/audio/3-$Number$.m4s\">
          <SegmentTimeline>
            <S t=\"1800000\" d=\"180000\"/>
          </SegmentTimeline>
        </SegmentTemplate>
      </Representation>
    </AdaptationSet>
  </Period>
  <UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:http-xsdate:2014\" value=\"../../time\"/>
</MPD>
";
    assert_eq!(text, expect);
}

#[test]
fn low_latency_lists_the_segment_that_is_being_made() {
    let mut index = Index::new();
    add(&mut index, "video.cmaf", 10, &[6, 6, 1]);
    assert!(!render(&index, LIVE).contains("availabilityTime"), "only what is whole");
    let mut between = Index::new();
    add(&mut between, "video.cmaf", 10, &[6, 6]);
    let text = render(&between, LOW);
    assert_eq!(values(&text, "availabilityTimeComplete"), ["false"], "players look once");
    let text = render(&index, LOW);
    assert_eq!(values(&text, "t"), ["1800000"]);
    assert_eq!((values(&text, "d"), values(&text, "r")), (vec!["180000"], vec!["2"]), "{text}");
    assert_eq!(values(&text, "availabilityTimeOffset"), ["1.666"], "a part after it began");
    assert_eq!(values(&text, "availabilityTimeComplete"), ["false"]);
    assert_eq!(values(&text, "minimumUpdatePeriod"), ["PT0.5S"]);
    assert!(text.contains("<Latency target=\"1500\""), "{text}");
}

#[test]
fn the_window_is_that_of_hls_and_dvr_has_everything() {
    let index = changed(20, |_, _, _| ());
    let text = render(&index, LIVE);
    assert_eq!(values(&text, "startNumber"), ["24", "24"]);
    assert_eq!(values(&text, "r"), ["5", "5"]);
    // The Period keeps its name and its beginning when that has left the window.
    assert_eq!((values(&text, "id")[0], values(&text, "start")), ("10", vec!["PT20.000S"]));
    assert_eq!(values(&text, "presentationTimeOffset"), ["1800000", "1800000"]);
    let text = render(&index, MpdOptions { everything: true, ..LIVE });
    assert_eq!((values(&text, "startNumber"), values(&text, "r")), (vec!["10"; 2], vec!["19"; 2]));
    assert_eq!(values(&text, "timeShiftBufferDepth"), ["PT40.000S"]);
}

/// Key frames that were asked for make short segments: the window is as long as ever.
#[test]
fn a_window_of_short_segments_has_more_of_them() {
    let mut index = Index::new();
    for rendition in ["audio.cmaf", "video.cmaf"] {
        lasting(&mut index, rendition, &[500; 41]);
    }
    let text = render(&index, LIVE);
    assert_eq!(values(&text, "startNumber"), ["26", "26"]);
    assert_eq!(values(&text, "r"), ["23", "23"]);
    assert_eq!(values(&text, "timeShiftBufferDepth"), ["PT12.000S"]);
}

/// Whose picture comes a second behind his sound, in the middle of a number: the Period has all of his sound.
#[test]
fn no_sound_lies_before_its_period() {
    let late = |rendition: &str, number: u64, info: &mut Info| {
        if number >= 13 {
            info.discontinuity = number == 13;
            info.discontinuity_sequence = 1;
            info.epoch = 4;
            let is_late = rendition == "video.cmaf" && number == 13;
            info.wall_clock_ms += 5_000 + u64::from(is_late) * 1_000;
            info.start += u64::from(is_late) * 90_000;
        }
    };
    let mut index = changed(5, late);
    for _ in 0..2 {
        let contents = contents();
        let text = render_mpd(&index, sources(&contents, &BTreeMap::new(), "m"), LIVE).unwrap();
        let offsets = values(&text, "presentationTimeOffset");
        assert_eq!(offsets[2..], ["2340000", "2340000"], "{text}");
        index.end();
    }
}

#[test]
fn a_period_begins_where_the_media_does_not_follow() {
    // An encoder that comes back 5 s later: media time goes on, the wall clock has gone on.
    let back = |_: &str, number: u64, info: &mut Info| {
        if number >= 13 {
            info.discontinuity = number == 13;
            info.discontinuity_sequence = 1;
            info.epoch = 4;
            info.wall_clock_ms += 5_000;
        }
    };
    // The size changes; sound goes on as it was.
    let size = |rendition: &str, number: u64, info: &mut Info| {
        if number >= 13 && rendition == "video.cmaf" {
            info.init = 7 + 2;
        }
    };
    for (name, change, starts) in [
        ("back", &back as &dyn Fn(&str, u64, &mut Info), ["PT20.000S", "PT31.000S"]),
        ("size", &size, ["PT20.000S", "PT26.000S"]),
    ] {
        let mut index = changed(5, change);
        let mut contents = contents();
        contents.insert(9, Content::new(&video_config()));
        let languages = BTreeMap::new();
        let sources = sources(&contents, &languages, "m");
        let text = render_mpd(&index, sources, LIVE).unwrap();
        assert_eq!(values(&text, "start"), starts, "{name}: {text}");
        assert_eq!(values(&text, "startNumber"), ["10", "10", "13", "13"], "{name}");
        let offsets = values(&text, "presentationTimeOffset");
        assert_eq!(offsets, ["1800000", "1800000", "2340000", "2340000"], "{name}");
        // What is over has no holes, and the same files.
        index.end();
        let over = render_mpd(&index, sources, LIVE).unwrap();
        assert_eq!(values(&over, "start"), ["PT0.000S", "PT6.000S"], "{name}: {over}");
        assert_eq!(values(&over, "duration"), ["PT6.000S", "PT4.000S"], "{name}");
        assert_eq!(values(&over, "media"), values(&text, "media"), "{name}");
        assert_eq!(values(&over, "mediaPresentationDuration"), ["PT10.000S"], "{name}");
        assert!(over.contains("type=\"static\"") && !over.contains("UTCTiming"), "{over}");
        // A clip ends where it was cut, whatever its sound has behind that; the segments are the same.
        let cut = MpdOptions { length_ns: Some(9_961_600_000), ..LIVE };
        let cut = render_mpd(&index, sources, cut).unwrap();
        assert_eq!(values(&cut, "duration"), ["PT6.000S", "PT3.962S"], "{name}");
        assert_eq!(values(&cut, "mediaPresentationDuration"), ["PT9.962S"], "{name}");
        assert_eq!(values(&cut, "d"), values(&over, "d"), "{name}");
    }
}

#[test]
fn gaps_are_holes() {
    let gap = |_: &str, number: u64, info: &mut Info| info.gap = (13..15).contains(&number);
    let mut index = changed(8, gap);
    let text = render(&index, MpdOptions { everything: true, ..LIVE });
    assert_eq!(values(&text, "start"), ["PT20.000S", "PT30.000S"], "{text}");
    assert_eq!(values(&text, "startNumber"), ["10", "10", "15", "15"]);
    assert_eq!(values(&text, "r"), ["2"; 4]);
    // In the replay too: its length is that of HLS.
    index.end();
    let text = render(&index, LIVE);
    assert_eq!(values(&text, "start"), ["PT0.000S", "PT10.000S"], "{text}");
    // Of one rendition: the other one goes on alone.
    let video = |name: &str, number: u64, info: &mut Info| {
        info.gap = name == "video.cmaf" && number == 13;
    };
    let text = render(&changed(5, video), MpdOptions { everything: true, ..LIVE });
    assert_eq!(values(&text, "start"), ["PT20.000S", "PT26.000S", "PT28.000S"], "{text}");
    assert_eq!(text.matches("contentType=\"video\"").count(), 2);
    assert_eq!(text.matches("contentType=\"audio\"").count(), 3);
}

/// Each Period once, one behind the other, and as long in all as the media.
#[test]
fn a_rendition_that_ends_or_begins_in_between_begins_a_period() {
    type There = fn(&str, u64) -> bool;
    let table: [(&str, There, &[&str]); 4] = [
        ("picture ends", |name, n| name == "audio.cmaf" || n < 13, &["10", "13"]),
        ("sound ends", |name, n| name == "video.cmaf" || n < 13, &["10", "13"]),
        (
            "picture comes and goes",
            |name, n| name == "audio.cmaf" || (12..15).contains(&n),
            &["10", "12", "15"],
        ),
        ("sound from picture", |name, n| (name == "audio.cmaf") == (n >= 14), &["10", "14"]),
    ];
    for (what, there, ids) in table {
        let mut index = Index::new();
        for rendition in ["audio.cmaf", "video.cmaf"] {
            for number in (10..22).filter(|n| there(rendition, *n)) {
                let info = Info { init: init_of(rendition), ..segment(number) };
                let part = Part {
                    duration: 180_000,
                    independent: true,
                    last: true,
                    closes: false,
                    target_ms: 2_000,
                    target_duration: Some(2),
                    open: false,
                    key_bytes: None,
                };
                let at = Location { group: number, object: 0 };
                index.apply(rendition, at, &encode(&part, Some(&info)), 500_000).unwrap();
            }
        }
        let of_periods = |text: &str| -> Vec<String> {
            let lines = text.lines().filter(|l| l.contains("<Period"));
            lines.map(|l| values(l, "id")[0].to_owned()).collect()
        };
        let live = render(&index, MpdOptions { everything: true, ..LIVE });
        assert_eq!(of_periods(&live), ids, "{what}: {live}");
        index.end();
        let over = render(&index, LIVE);
        assert_eq!(of_periods(&over), ids, "{what}: {over}");
        assert_eq!(values(&over, "mediaPresentationDuration"), ["PT24.000S"], "{what}");
        let starts =
            ids.iter().map(|id| format!("PT{}.000S", (id.parse::<u64>().unwrap() - 10) * 2));
        assert_eq!(values(&over, "start"), starts.collect::<Vec<_>>(), "{what}");
    }
}

/// An encoder is cut off a picture behind a cut, whose sound never came. What it had sent outlasts that picture's decode time.
#[test]
fn a_picture_whose_sound_never_came_is_in_the_period_before() {
    // Its length, and where: alone in a Period if it lasts.
    for (duration, starts, durations, offsets) in [
        (
            3_000,
            &["PT0.000S", "PT2.035S"][..],
            &["PT2.035S", "PT2.033S"][..],
            &["1800000", "1800000", "1992180", "1992180"][..],
        ),
        (
            90_000,
            &["PT0.000S", "PT2.035S", "PT3.035S"],
            &["PT2.035S", "PT1.000S", "PT2.033S"],
            &["1800000", "1800000", "1980000", "2079180", "2079180"],
        ),
    ] {
        let mut index = cut_off(duration);
        let live = render(&index, MpdOptions { everything: true, ..LIVE });
        index.end();
        let text = render(&index, LIVE);
        assert_eq!(values(&text, "start"), starts, "{text}");
        assert_eq!(values(&text, "duration"), durations, "{text}");
        assert_eq!(values(&text, "presentationTimeOffset"), offsets, "{text}");
        assert_eq!(values(&live, "start").len(), starts.len(), "{live}");
        assert_eq!(values(&live, "startNumber"), values(&text, "startNumber"), "{live}");
        // Live, too, no picture lies before its Period, which begins by the clock when that picture does.
        assert_eq!(values(&live, "presentationTimeOffset"), offsets, "{live}");
        let clock = ["PT20.000S", "PT22.000S", "PT24.000S"];
        let clock = clock.into_iter().filter(|at| starts.len() > 2 || *at != "PT22.000S");
        assert_eq!(values(&live, "start"), clock.collect::<Vec<_>>(), "{live}");
    }
}

/// A picture of this length behind the cut, and what comes from the next encoder.
fn cut_off(lasts: u32) -> Index {
    let mut index = Index::new();
    let next = 1_980_000 + u64::from(lasts) + 9_180;
    for (name, segments) in [
        ("audio.cmaf", [(10, 1_800_000, 183_180), (12, next + 3_000, 180_000)].to_vec()),
        (
            "video.cmaf",
            [(10, 1_800_000, 180_000), (11, 1_980_000, lasts), (12, next, 180_000)].to_vec(),
        ),
    ] {
        for (number, start, duration) in segments {
            let info = Info {
                init: init_of(name),
                start,
                discontinuity: number == 12,
                discontinuity_sequence: u64::from(number == 12),
                ..segment(number)
            };
            let part = Part {
                duration,
                independent: true,
                last: true,
                closes: false,
                target_ms: 2_500,
                target_duration: Some(2),
                open: false,
                key_bytes: None,
            };
            let at = Location { group: number, object: 0 };
            index.apply(name, at, &encode(&part, Some(&info)), 500_000).unwrap();
        }
    }
    index
}

/// Sound comes a little later than the picture. A player cannot add it to a Period that it was not in.
#[test]
fn a_rendition_that_is_late_begins_no_period() {
    let mut index = Index::new();
    add(&mut index, "audio.cmaf", 10, &[6, 6, 6]);
    add(&mut index, "video.cmaf", 10, &[6, 6, 6, 1]);
    let numbers = |index: &Index| {
        let text = render(index, LOW);
        let of = |name| values(&text, name).into_iter().map(str::to_owned).collect::<Vec<_>>();
        let periods = of("id").into_iter().filter(|id| id.len() == 2).collect::<Vec<_>>();
        (periods, of("r"))
    };
    let of = |ids: &[&str], repeats: &[&str]| {
        let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        (owned(ids), owned(repeats))
    };
    assert_eq!(numbers(&index), of(&["10"], &["2", "2"]), "it waits for its sound");
    let mut there = Index::new();
    add(&mut there, "audio.cmaf", 10, &[6, 6, 6, 1]);
    add(&mut there, "video.cmaf", 10, &[6, 6, 6, 1]);
    assert_eq!(numbers(&there), of(&["10"], &["3", "3"]));
    let mut over = Index::new();
    add(&mut over, "audio.cmaf", 10, &[6, 6, 6]);
    add(&mut over, "video.cmaf", 10, &[6, 6, 6, 6, 1]);
    assert_eq!(numbers(&over), of(&["10", "13"], &["2", "2", "1"]), "two numbers on it is over");
}

#[test]
fn nothing_to_list_is_no_mpd() {
    let (contents, languages) = (BTreeMap::new(), BTreeMap::new());
    let sources = sources(&contents, &languages, "m");
    assert_eq!(
        render_mpd(&two_renditions(), sources, LIVE),
        None,
        "nothing is known of the tracks"
    );
    assert_eq!(render_mpd(&Index::new(), sources, LIVE), None);
}

#[test]
fn captions_inside_the_pictures_belong_to_them() {
    let (contents, languages) = (contents(), BTreeMap::new());
    let embedded = [("urn:scte:dash:cc:cea-608:2015".to_owned(), "CC1=und".to_owned())];
    let sources = Sources { embedded: &embedded, ..sources(&contents, &languages, "m") };
    let text = render_mpd(&two_renditions(), sources, LIVE).unwrap();
    let line = "<Accessibility schemeIdUri=\"urn:scte:dash:cc:cea-608:2015\" value=\"CC1=und\"/>";
    assert_eq!(text.matches(line).count(), 1, "{text}");
    let (before, _) = text.split_once(line).unwrap();
    assert!(before.contains("contentType=\"video\"") && !before.contains("contentType=\"audio\""));
    assert!(text.contains(&format!("{line}\n      <Role")), "in the order of the schema: {text}");
}

/// §5.3.7.2, §5.3.3.2: `width` and `height` are as they are coded. Levels have square pixels.
#[test]
fn pixels_that_are_not_square_say_so_and_what_shape_the_picture_is() {
    let list = [Level {
        name: "video.360p.cmaf".to_owned(),
        original: "video.cmaf".to_owned(),
        codec: "avc1.64001f".to_owned(),
        bandwidth: 900_000,
        kind: LevelKind::Pictures { width: 640, height: 360 },
    }];
    let levels = Some(Levels { list: &list, init: &|_, _| 1 });
    let Config::Video(video) = video_config() else { panic!("no pictures") };
    for (aspect, width, par, sar) in [
        (Ratio::new(4, 3), 1_440, &["16:9"][..], &["4:3"][..]),
        (Ratio::new(1, 1), 1_920, &[], &[]),
        (None, 1_920, &[], &[]),
    ] {
        let video = VideoConfig { sample_aspect: aspect, width, height: 1_080, ..video.clone() };
        let mut contents = contents();
        contents.insert(7, Content::new(&Config::Video(video)));
        assert_eq!(contents[&7].display_size(), Some((1_920, 1_080)));
        let languages = BTreeMap::new();
        let sources = Sources { levels, ..sources(&contents, &languages, "m") };
        let text = render_mpd(&changed(6, |_, _, _| {}), sources, LIVE).unwrap();
        assert_eq!((&*values(&text, "par"), &*values(&text, "sar")), (par, sar), "{text}");
        assert_eq!(values(&text, "width"), [&*width.to_string(), "640"], "{text}");
    }
}

#[test]
fn what_encoders_say_is_text() {
    let contents = contents();
    let languages = [("audio".to_owned(), "d\"e<&\u{7}".to_owned())].into();
    let sources = sources(&contents, &languages, "m");
    let text = render_mpd(&two_renditions(), sources, LIVE).unwrap();
    assert_eq!(values(&text, "lang"), ["d&quot;e&lt;&amp;"]);
}

#[test]
fn a_level_has_the_timeline_of_its_original() {
    let level = |name: &str, width, height, bandwidth| Level {
        name: format!("video.{name}.cmaf"),
        original: "video.cmaf".to_owned(),
        codec: "avc1.64001f".to_owned(),
        bandwidth,
        kind: LevelKind::Pictures { width, height },
    };
    let list = [level("720p", 1280, 720, 3_000_000), level("360p", 640, 360, 900_000)];
    let init = |name: &str, original: u64| original * 100 + u64::from(name.contains("360p"));
    let levels = Some(Levels { list: &list, init: &init });
    let size = |_: &str, number: u64, info: &mut Info| {
        info.discontinuity = number == 13;
        info.discontinuity_sequence = u64::from(number >= 13);
    };
    let mut low = changed(6, size);
    add(&mut low, "video.cmaf", 16, &[6, 6, 1]);
    let mut over = changed(6, size);
    over.end();
    let everything = MpdOptions { everything: true, ..LIVE };
    for (what, index, options) in [
        ("live", changed(6, size), LIVE),
        ("low latency", low, LOW),
        ("DVR", changed(6, size), everything),
        ("over", over, LIVE),
    ] {
        // HEVC, which not everything plays, and its levels are two choices.
        for (codec, sets) in [("avc1.640028", 1), ("hvc1.1.6.L93.B0", 2)] {
            let mut contents = contents();
            let original = contents[&7].resized(codec, (1920, 1080));
            contents.insert(7, original);
            let languages = BTreeMap::new();
            let sources = Sources { levels, ..sources(&contents, &languages, "m") };
            let text = render_mpd(&index, sources, options).unwrap();
            let only = Sources { only: Some("video.360p.cmaf"), ..sources };
            let only = render_mpd(&index, only, options).unwrap();
            let listed = |name: &str| only.contains(&format!("<Representation id=\"{name}.cmaf\""));
            assert!(listed("video.360p") && listed("audio"), "{what}: {only}");
            assert!(!listed("video") && !listed("video.720p"), "{what}: {only}");
            assert!(!only.contains("\"alternate\""), "{what}: {only}");
            let periods = text.split("<Period").skip(1);
            for period in periods {
                let found = period.matches("contentType=\"video\"").count();
                assert_eq!(found, sets, "{what} {codec}: {text}");
                let of = |id: &str| {
                    let pattern = format!("id=\"{id}\"");
                    let rest =
                        period.split(&pattern).nth(1).unwrap_or_else(|| panic!("{id}: {text}"));
                    rest.split("</Representation>").next().unwrap().to_owned()
                };
                let times = |of: &str| of.split("<SegmentTimeline>").nth(1).unwrap().to_owned();
                let original = of("video.cmaf");
                for (i, level) in list.iter().enumerate() {
                    let this = of(&level.name);
                    for same in ["startNumber", "presentationTimeOffset", "timescale", "frameRate"]
                    {
                        assert_eq!(values(&this, same), values(&original, same), "{what}: {same}");
                    }
                    let early = "availabilityTimeOffset";
                    assert_eq!(values(&this, early), values(&original, early), "{what}");
                    assert_eq!(times(&this), times(&original), "{what}: {codec}");
                    assert_eq!(values(&this, "bandwidth"), [level.bandwidth.to_string()]);
                    assert_eq!(values(&this, "height"), [["720", "360"][i]]);
                    let init = 700 + i;
                    let folder = level.name.replace(".cmaf", &format!(".{init:014x}.cmaf"));
                    let file = format!("m/{folder}/init-{init:014x}.mp4");
                    assert_eq!(values(&this, "initialization"), [file], "{what}");
                    let media = values(&original, "media")[0].replace("video.cmaf", &folder);
                    assert_eq!(values(&this, "media"), [media], "{what}");
                }
            }
        }
    }
}

#[test]
fn a_level_of_sound_is_a_set_of_its_own_with_a_timeline_of_its_own() {
    let parts: &[u32] = &[16_320, 16_320, 960];
    let index = crate::testing::sound(340, &[parts, parts, parts]);
    let opus = Content::sound("Opus", 48_000, 2);
    let contents = BTreeMap::from([(8, opus)]);
    let languages = BTreeMap::new();
    let list = [Level {
        name: "audio.aac".to_owned(),
        original: "audio".to_owned(),
        codec: "mp4a.40.2".to_owned(),
        bandwidth: 153_600,
        kind: LevelKind::Sound {
            grid: Grid { rate: 48_000, frame: 1_024, ahead: 2_048 },
            channels: 2,
        },
    }];
    let init = |_: &str, original: u64| original * 100;
    let levels = Some(Levels { list: &list, init: &init });
    let sources = Sources { levels, ..sources(&contents, &languages, "m") };
    let text = render_mpd(&index, sources, LIVE).unwrap();
    let sets: Vec<&str> = text.split("<AdaptationSet").skip(1).collect();
    let [original, level] = sets[..] else { panic!("{text}") };
    assert_eq!(values(original, "selectionPriority"), ["2"], "{text}");
    assert!(values(level, "selectionPriority").is_empty(), "{text}");
    for (set, codec) in [(original, "Opus"), (level, "mp4a.40.2")] {
        assert_eq!(values(set, "codecs"), [codec]);
        assert_eq!((&values(set, "value")[0], &values(set, "value")[1]), (&"main", &"2"));
    }
    assert_eq!(values(level, "audioSamplingRate"), ["48000"]);
    assert_eq!(values(level, "bandwidth"), ["153600"]);
    let file = "m/audio.00000000000320.aac/init-00000000000320.mp4";
    assert_eq!(values(level, "initialization"), [file]);
    assert_eq!(values(level, "presentationTimeOffset"), values(original, "presentationTimeOffset"));
    let lines = |set: &str| -> Vec<String> {
        set.lines().filter(|l| l.contains("<S ")).map(|l| l.trim().to_owned()).collect()
    };
    assert_eq!(lines(original), ["<S t=\"96000\" d=\"33600\" r=\"2\"/>"]);
    // 33 frames of 1024 each, from the 91st on.
    assert_eq!(lines(level), ["<S t=\"93184\" d=\"33792\" r=\"2\"/>"]);
    // Its segments are longer than the original's 0.7 s, by less than a frame.
    assert_eq!(values(&text, "maxSegmentDuration"), ["PT0.721S"]);
}
