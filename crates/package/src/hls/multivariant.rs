//! Multivariant playlists. RFC 8216bis §4.4.6.

use std::fmt::Write;

/// One rendition as the multivariant playlist lists it.
#[derive(Debug, Clone, PartialEq)]
pub struct Variant {
    /// The rendition's name; its playlist is NAME.m3u8.
    pub name: String,
    /// RFC 6381 codec strings of everything that its playlist lists (§4.4.6.2), separated by commas.
    pub codec: String,
    /// Peak bits a second as measured or declared, whichever is larger.
    pub peak: u64,
    /// What is added to it for segments to come, in hundredths of it.
    pub room_percent: u64,
    /// Mean bits a second as measured.
    pub average: Option<u64>,
    /// Picture or sound.
    pub kind: VariantKind,
    /// Peak bits a second of its key pictures alone, where they are known: its list of them is NAME.iframes.m3u8.
    pub iframes: Option<u64>,
}

/// What a rendition carries.
#[derive(Debug, Clone, PartialEq)]
pub enum VariantKind {
    /// Picture.
    Video {
        /// Pixels across, as it is shown.
        width: u32,
        /// Pixels down.
        height: u32,
        /// Frames a second.
        frame_rate: Option<f64>,
    },
    /// Sound.
    Audio {
        /// Channels.
        channels: u32,
        /// BCP 47.
        language: Option<String>,
        /// The rendition that it is a level of.
        original: Option<String>,
    },
    /// Captions beside the picture, of no codec and no bitrate.
    Captions {
        /// BCP 47.
        language: String,
        /// What viewers read.
        label: String,
    },
    /// Captions inside the picture, which have no playlist. `CC1` to `CC4`, or `SERVICE1` to `SERVICE63`.
    Embedded {
        /// INSTREAM-ID.
        instream_id: String,
    },
}

/// Room for segments to come, in hundredths: nobody knows what an encoder sends next.
pub const ROOM_LIVE: u64 = 20;

impl Variant {
    fn with_room(&self, peak: u64) -> u64 {
        peak.saturating_add(peak.saturating_mul(self.room_percent).div_ceil(100))
    }

    /// Captions inside the pictures.
    pub fn embedded(instream_id: String) -> Self {
        let kind = VariantKind::Embedded { instream_id: instream_id.clone() };
        let codec = String::new();
        Self {
            name: instream_id,
            codec,
            peak: 0,
            room_percent: 0,
            average: None,
            kind,
            iframes: None,
        }
    }
}

const AUDIO_GROUP: &str = "audio";
const CAPTIONS_GROUP: &str = "captions";
const EMBEDDED_GROUP: &str = "cc";

/// Whether it is made of more channels in the same codec, which players that play one play, too.
fn is_mixed_down(level: &Variant, all: &[&Variant]) -> bool {
    let VariantKind::Audio { channels, original: Some(original), .. } = &level.kind else {
        return false;
    };
    all.iter().any(|of| match of.kind {
        VariantKind::Audio { channels: more, .. } => {
            of.name == *original && of.codec == level.codec && more > *channels
        }
        _ => false,
    })
}

/// Renders the multivariant playlist. Videos come best first, audio tracks in their order; `query`
/// is appended to every URI, but for parameters that would break the list.
pub fn render_multivariant(variants: &[Variant], query: Option<&str>) -> String {
    let query = query.map(appended).unwrap_or_default();
    let is_audio = |v: &&Variant| matches!(v.kind, VariantKind::Audio { .. });
    let is_video = |v: &&Variant| matches!(v.kind, VariantKind::Video { .. });
    let audio: Vec<&Variant> = variants.iter().filter(is_audio).collect();
    let video: Vec<&Variant> = variants.iter().filter(is_video).collect();
    let mut out = String::from("#EXTM3U\n#EXT-X-VERSION:6\n");
    if video.is_empty() {
        // Players would go from more channels to fewer with the bandwidth.
        for v in audio.iter().filter(|a| !is_mixed_down(a, &audio)) {
            let codec = &v.codec;
            let _ =
                writeln!(out, "{},CODECS=\"{codec}\"\n{}.m3u8{query}", stream_inf(v, None), v.name);
        }
        return out;
    }
    // A variant's CODECS are those of everything in its group (§4.4.6.2), and a player leaves out variants of which it
    // can't play one: so each audio codec has a group of its own.
    let (mut groups, mut labels): (Vec<&str>, Vec<(usize, String)>) = Default::default();
    for (i, a) in audio.iter().enumerate() {
        let VariantKind::Audio { channels, language, original } = &a.kind else { continue };
        let known = groups.iter().position(|codec| *codec == a.codec);
        let group = known.unwrap_or(groups.len());
        if known.is_none() {
            groups.push(&a.codec);
        }
        // §4.4.6.1: at most one default a group.
        let default = if known.is_none() { "YES" } else { "NO" };
        // §4.4.6.1.1: what is the same in several groups has the same name in each.
        let of = original.as_ref().and_then(|name| audio.iter().position(|a| a.name == *name));
        let language = language.as_deref().map(quoted);
        let label = language.clone().unwrap_or_else(|| format!("Audio {}", of.unwrap_or(i) + 1));
        // Stereo that is made of more channels of the same codec is in one group with them: in two, players that go by
        // bandwidth would go from one to the other with each picture. It is chosen by who wants it.
        let fewer = is_mixed_down(a, &audio);
        let label = if fewer { format!("{label}, {channels} channels") } else { label };
        let autoselect = if fewer { "NO" } else { "YES" };
        let label = once(&mut labels, group, label);
        let language = language.map(|l| format!(",LANGUAGE=\"{l}\"")).unwrap_or_default();
        let _ = writeln!(
            out,
            "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"{}\",NAME=\"{label}\"{language},\
             DEFAULT={default},AUTOSELECT={autoselect},CHANNELS=\"{channels}\",URI=\"{}.m3u8{query}\"",
            group_id(group),
            a.name
        );
    }
    let captions: Vec<String> = variants.iter().filter_map(|v| captions(v, &query)).collect();
    captions.iter().for_each(|line| out.push_str(line));
    let embedded: Vec<String> = variants.iter().filter_map(embedded).collect();
    embedded.iter().for_each(|line| out.push_str(line));
    for v in &video {
        iframes(&mut out, v, &query);
    }
    // Without sound there is one round.
    for group in 0..groups.len().max(1) {
        let codec = groups.get(group).copied();
        let loudest =
            audio.iter().filter(|a| Some(&*a.codec) == codec).max_by_key(|a| a.peak).copied();
        for (i, v) in video.iter().enumerate() {
            let VariantKind::Video { width, height, frame_rate } = v.kind else { continue };
            let codecs =
                [Some(&*v.codec), codec].into_iter().flatten().collect::<Vec<_>>().join(",");
            let _ = write!(
                out,
                "{},CODECS=\"{codecs}\",RESOLUTION={width}x{height}",
                stream_inf(v, loudest)
            );
            if let Some(rate) = frame_rate {
                let _ = write!(out, ",FRAME-RATE={rate:.3}");
            }
            // Higher is better; the first one listed is the best, with the first sound.
            let score = (groups.len().max(1) - group) * video.len() - i;
            let _ = write!(out, ",SCORE={score}.0");
            // The same on all (§4.4.6.2). Players that are not told of none look for them in segments (shaka-player
            // fails on one that is open).
            match embedded.is_empty() {
                true => out.push_str(",CLOSED-CAPTIONS=NONE"),
                false => {
                    let _ = write!(out, ",CLOSED-CAPTIONS=\"{EMBEDDED_GROUP}\"");
                }
            }
            if !captions.is_empty() {
                let _ = write!(out, ",SUBTITLES=\"{CAPTIONS_GROUP}\"");
            }
            if codec.is_some() {
                let _ = write!(out, ",AUDIO=\"{}\"", group_id(group));
            }
            let _ = writeln!(out, "\n{}.m3u8{query}", v.name);
        }
    }
    out
}

/// §4.4.6.1: no NAME comes twice in a group. There may be a level of sound in the codec and the language of another original.
fn once(taken: &mut Vec<(usize, String)>, group: usize, label: String) -> String {
    let names = std::iter::once(label.clone()).chain((2..).map(|n| format!("{label} {n}")));
    let mut free = names.filter(|name| !taken.contains(&(group, name.clone())));
    let name = free.next().unwrap_or(label);
    taken.push((group, name.clone()));
    name
}

/// The picture whose BANDWIDTH, with the loudest sound, is nearest to so many bits a second; none where there is no choice.
pub fn nearest(variants: &[Variant], bandwidth: u64) -> Option<&str> {
    let of = |video: bool| {
        variants.iter().filter(move |v| match v.kind {
            VariantKind::Video { .. } => video,
            VariantKind::Audio { .. } => !video,
            VariantKind::Captions { .. } | VariantKind::Embedded { .. } => false,
        })
    };
    let loudest = of(false).max_by_key(|a| a.peak);
    let off = |v: &&Variant| bandwidth_of(v, loudest).abs_diff(bandwidth);
    of(true).min_by_key(off).map(|v| v.name.as_str())
}

/// §4.2: what may not stand in a quoted string.
fn quoted(text: &str) -> String {
    text.replace(['"', '\n', '\r'], "'")
}

/// §4.4.6.1. Whoever wants captions turns them on.
fn captions(v: &Variant, query: &str) -> Option<String> {
    let VariantKind::Captions { language, label } = &v.kind else { return None };
    Some(format!(
        "#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"{CAPTIONS_GROUP}\",NAME=\"{}\",LANGUAGE=\"{}\",\
         DEFAULT=NO,AUTOSELECT=YES,FORCED=NO,URI=\"{}.m3u8{query}\"\n",
        quoted(label),
        quoted(language),
        v.name
    ))
}

/// §4.4.6.1: no URI, the pictures have them. Their language is not known.
fn embedded(v: &Variant) -> Option<String> {
    let VariantKind::Embedded { instream_id } = &v.kind else { return None };
    Some(format!(
        "#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID=\"{EMBEDDED_GROUP}\",NAME=\"{instream_id}\",\
         DEFAULT=NO,AUTOSELECT=YES,INSTREAM-ID=\"{instream_id}\"\n"
    ))
}

/// §4.4.6.3.
fn iframes(out: &mut String, v: &Variant, query: &str) {
    let (Some(peak), VariantKind::Video { width, height, .. }) = (v.iframes, &v.kind) else {
        return;
    };
    let (bandwidth, codec, name) = (v.with_room(peak).max(1), &v.codec, &v.name);
    let _ = writeln!(
        out,
        "#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH={bandwidth},CODECS=\"{codec}\",\
         RESOLUTION={width}x{height},URI=\"{name}.iframes.m3u8{query}\""
    );
}

/// What of a query can stand in a URI: an attribute ends at a quotation mark, a playlist has no control characters
/// (§4.1), and clients send both.
fn appended(query: &str) -> String {
    // RFC 3986 §3.4.
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&b);
    let kept = query.split('&').filter(|pair| !pair.is_empty() && pair.bytes().all(allowed));
    let kept = kept.collect::<Vec<_>>().join("&");
    if kept.is_empty() { kept } else { format!("?{kept}") }
}

fn group_id(group: usize) -> String {
    if group == 0 { AUDIO_GROUP.to_owned() } else { format!("{AUDIO_GROUP}{}", group + 1) }
}

/// §4.4.6.2: the peak, with room for segments to come where there are any.
fn bandwidth_of(v: &Variant, audio: Option<&Variant>) -> u64 {
    let sound = audio.map_or(0, |a| a.with_room(a.peak));
    v.with_room(v.peak).saturating_add(sound).max(1)
}

fn stream_inf(v: &Variant, audio: Option<&Variant>) -> String {
    let mut line = format!("#EXT-X-STREAM-INF:BANDWIDTH={}", bandwidth_of(v, audio));
    if let Some(average) = v.average {
        let average = average + audio.and_then(|a| a.average).unwrap_or(0);
        let _ = write!(line, ",AVERAGE-BANDWIDTH={}", average.max(1));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn video(name: &str, height: u32, peak: u64) -> Variant {
        let kind = VariantKind::Video { width: height * 16 / 9, height, frame_rate: Some(29.97) };
        let codec = "avc1.64001f".to_owned();
        let name = name.to_owned();
        let average = Some(peak / 2);
        Variant { name, codec, peak, room_percent: ROOM_LIVE, average, kind, iframes: None }
    }

    fn audio(name: &str) -> Variant {
        let kind = VariantKind::Audio { channels: 2, language: None, original: None };
        let codec = "mp4a.40.2".to_owned();
        let name = name.to_owned();
        let (peak, average) = (128_000, Some(126_000));
        Variant { name, codec, peak, room_percent: ROOM_LIVE, average, kind, iframes: None }
    }

    #[test]
    fn a_query_cannot_break_the_list() {
        for (query, expect) in [
            ("", ""),
            ("a=b&protocol=llhls", "?a=b&protocol=llhls"),
            ("a=b%22&&c", "?a=b%22&c"),
            ("a=\"b&c=d", "?c=d"),
            ("a=b\n#EXT", ""),
            ("a=\u{93}&b=\u{e9}", ""),
        ] {
            assert_eq!(appended(query), expect, "{query:?}");
        }
    }

    #[test]
    fn picture_and_sound_are_apart() {
        let text =
            render_multivariant(&[video("video", 720, 3_000_000), audio("audio")], Some("a=b"));
        let expect = "\
#EXTM3U
#EXT-X-VERSION:6
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"Audio 1\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"2\",URI=\"audio.m3u8?a=b\"
#EXT-X-STREAM-INF:BANDWIDTH=3753600,AVERAGE-BANDWIDTH=1626000,CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=1280x720,FRAME-RATE=29.970,SCORE=1.0,CLOSED-CAPTIONS=NONE,AUDIO=\"audio\"
video.m3u8?a=b
";
        assert_eq!(text, expect);
    }

    #[test]
    fn key_pictures_are_listed_where_they_are_known() {
        let known = Variant { iframes: Some(100_000), ..video("video", 720, 3_000_000) };
        let text =
            render_multivariant(&[known, video("video2", 360, 9), audio("audio")], Some("a=b"));
        let lines: Vec<&str> = text.lines().filter(|l| l.contains("I-FRAME")).collect();
        let expect = "#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=120000,CODECS=\"avc1.64001f\",\
                      RESOLUTION=1280x720,URI=\"video.iframes.m3u8?a=b\"";
        assert_eq!(lines, [expect]);
    }

    /// §4.4.6.1.1: what may be chosen by itself differs in more than that.
    #[test]
    fn stereo_of_more_channels_of_the_same_codec_is_a_choice_beside_them() {
        let kind = VariantKind::Audio { channels: 6, language: None, original: None };
        let all = Variant { peak: 384_000, kind, ..audio("audio") };
        let original = Some("audio".to_owned());
        let kind = VariantKind::Audio { channels: 2, language: None, original };
        let stereo = Variant { kind, ..audio("audio.aac") };
        let sound = [all, stereo];
        let alone = render_multivariant(&sound, None);
        assert_eq!(alone.matches("#EXT-X-STREAM-INF:").count(), 1, "by bandwidth: {alone}");
        let [all, stereo] = sound;
        let text = render_multivariant(&[video("video", 720, 1_000_000), all, stereo], None);
        let media = "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"Audio 1";
        let lines: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix(media)).collect();
        let expect = [
            "\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"6\",URI=\"audio.m3u8\"",
            ", 2 channels\",DEFAULT=NO,AUTOSELECT=NO,CHANNELS=\"2\",URI=\"audio.aac.m3u8\"",
        ];
        assert_eq!(lines, expect, "{text}");
        let variants: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("#EXT-X-STREAM-INF:")).collect();
        assert_eq!(variants.len(), 1, "{text}");
        assert_eq!(crate::hls::attribute(variants[0], "BANDWIDTH").unwrap(), "1660800", "{text}");
    }

    #[test]
    fn the_nearest_picture_is_by_bandwidth_with_sound() {
        let list = [
            video("video", 720, 3_000_000),
            video("video.480p", 480, 1_200_000),
            video("video.360p", 360, 700_000),
            audio("audio"),
        ];
        // 3.75, 1.59 and 0.99 Mbit/s.
        for (bandwidth, expect) in [
            (0, "video.360p"),
            (1_200_000, "video.360p"),
            (1_300_000, "video.480p"),
            (2_600_000, "video.480p"),
            (2_700_000, "video"),
            (u64::MAX, "video"),
        ] {
            assert_eq!(nearest(&list, bandwidth), Some(expect), "{bandwidth}");
        }
        assert_eq!(nearest(&[audio("audio")], 1), None, "nothing to choose from");
    }

    #[test]
    fn captions_belong_to_every_picture() {
        let captions = |language: &str, label: &str| {
            let kind = VariantKind::Captions { language: language.into(), label: label.into() };
            Variant { kind, ..video(&format!("captions-{language}"), 1, 0) }
        };
        let list = [
            video("video", 720, 9),
            video("video2", 360, 9),
            audio("audio"),
            captions("en", "English"),
            captions("de", "\"Deutsch\"\n#"),
        ];
        let text = render_multivariant(&list, Some("a=b"));
        let lines: Vec<&str> = text.lines().filter(|l| l.contains("TYPE=SUBTITLES")).collect();
        let line = |name: &str, language: &str| {
            format!(
                "#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"captions\",NAME=\"{name}\",LANGUAGE=\"{language}\",\
                 DEFAULT=NO,AUTOSELECT=YES,FORCED=NO,URI=\"captions-{language}.m3u8?a=b\""
            )
        };
        assert_eq!(lines, [line("English", "en"), line("'Deutsch''#", "de")]);
        assert_eq!(text.matches(",SUBTITLES=\"captions\"").count(), 2);
        assert_eq!(text.matches("#EXT-X-STREAM-INF").count(), 2);
    }

    #[test]
    fn captions_inside_the_picture_belong_to_every_level_of_it() {
        let list = [
            video("video", 720, 9),
            video("video2", 360, 9),
            audio("audio"),
            Variant::embedded("CC1".to_owned()),
            Variant::embedded("CC3".to_owned()),
        ];
        let text = render_multivariant(&list, Some("a=b"));
        let lines: Vec<&str> = text.lines().filter(|l| l.contains("TYPE=CLOSED")).collect();
        let line = |id: &str| {
            format!(
                "#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID=\"cc\",NAME=\"{id}\",DEFAULT=NO,\
                 AUTOSELECT=YES,INSTREAM-ID=\"{id}\""
            )
        };
        assert_eq!(lines, [line("CC1"), line("CC3")]);
        assert_eq!(text.matches(",CLOSED-CAPTIONS=\"cc\",AUDIO").count(), 2, "{text}");
        assert!(!text.contains("NONE"), "{text}");
        let lines = text.lines().filter(|l| !l.is_empty() && !l.starts_with('#'));
        assert!(lines.eq(["video.m3u8?a=b", "video2.m3u8?a=b"]), "{text}");
    }

    #[test]
    fn several_tracks_are_alternatives() {
        let tracks = [
            video("video", 720, 3_000_000),
            video("video2", 360, 800_000),
            audio("audio"),
            Variant { codec: "ac-3".to_owned(), peak: 192_000, ..audio("audio2") },
            audio("audio3"),
        ];
        let text = render_multivariant(&tracks, None);
        let field = |line: &str, name: &str| {
            let (_, rest) =
                line.split_once(&format!("{name}=")).unwrap_or_else(|| panic!("{line}"));
            rest.trim_start_matches('"').split(['"']).next().unwrap().to_owned()
        };
        let lines = |tag: &str| text.lines().filter(|l| l.starts_with(tag)).collect::<Vec<_>>();
        let media: Vec<_> = lines("#EXT-X-MEDIA")
            .into_iter()
            .map(|l| (field(l, "GROUP-ID"), l.contains("DEFAULT=YES"), field(l, "URI")))
            .collect();
        let row = |group: &str, default, uri: &str| (group.to_owned(), default, uri.to_owned());
        assert_eq!(
            media,
            [
                row("audio", true, "audio.m3u8"),
                row("audio2", true, "audio2.m3u8"),
                row("audio", false, "audio3.m3u8")
            ]
        );
        let variants: Vec<_> = lines("#EXT-X-STREAM-INF")
            .into_iter()
            .map(|l| (field(l, "CODECS"), field(l, ",AUDIO")))
            .collect();
        let pair = |codecs: &str, group: &str| (format!("avc1.64001f,{codecs}"), group.to_owned());
        assert_eq!(
            variants,
            [
                pair("mp4a.40.2", "audio"),
                pair("mp4a.40.2", "audio"),
                pair("ac-3", "audio2"),
                pair("ac-3", "audio2")
            ]
        );
        assert!(text.contains("SCORE=4.0") && text.contains("SCORE=1.0"), "{text}");
    }

    #[test]
    fn a_level_of_sound_is_a_choice_for_those_who_cannot_play_its_original() {
        let opus = Variant { codec: "Opus".to_owned(), ..audio("audio.cmaf") };
        let original = Some(opus.name.clone());
        let kind = VariantKind::Audio { channels: 2, language: None, original };
        let level = Variant { kind, ..audio("audio.aac.cmaf") };
        let list = [video("video", 720, 9), video("video.360p", 360, 9), opus, level];
        let text = render_multivariant(&list, None);
        let media: Vec<&str> = text.lines().filter(|l| l.starts_with("#EXT-X-MEDIA")).collect();
        let line = |group: &str, name: &str| {
            format!(
                "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"{group}\",NAME=\"Audio 1\",DEFAULT=YES,\
                 AUTOSELECT=YES,CHANNELS=\"2\",URI=\"{name}.cmaf.m3u8\""
            )
        };
        assert_eq!(media, [line("audio", "audio"), line("audio2", "audio.aac")]);
        let variants = text.lines().filter(|l| l.starts_with("#EXT-X-STREAM-INF"));
        let said = |l: &str| (l.contains("Opus"), l.contains("mp4a.40.2"), l.contains("SCORE=1.0"));
        let found: Vec<_> = variants.map(said).collect();
        let (opus, aac) = ((true, false, false), (false, true, false));
        assert_eq!(found, [opus, opus, aac, (false, true, true)], "the original is better: {text}");
    }

    #[test]
    fn no_name_of_sound_comes_twice_in_a_group() {
        let in_english = |name: &str, codec: &str, original: Option<&str>| {
            let (language, original) = (Some("en".to_owned()), original.map(str::to_owned));
            let kind = VariantKind::Audio { channels: 2, language, original };
            Variant { kind, codec: codec.to_owned(), ..audio(name) }
        };
        let list = [
            video("video", 720, 9),
            in_english("audio.cmaf", "mp4a.40.2", None),
            in_english("audio2.cmaf", "Opus", None),
            in_english("audio2.aac.cmaf", "mp4a.40.2", Some("audio2.cmaf")),
            in_english("audio3.cmaf", "mp4a.40.2", None),
        ];
        let text = render_multivariant(&list, None);
        let media = text.lines().filter(|l| l.starts_with("#EXT-X-MEDIA"));
        let said = |l: &str| {
            let fields = l.split(',').filter(|f| f.starts_with("GROUP") || f.starts_with("NAME"));
            fields.collect::<Vec<_>>().join(" ")
        };
        let expect = [
            "GROUP-ID=\"audio\" NAME=\"en\"",
            "GROUP-ID=\"audio2\" NAME=\"en\"",
            "GROUP-ID=\"audio\" NAME=\"en 2\"",
            "GROUP-ID=\"audio\" NAME=\"en 3\"",
        ];
        assert_eq!(media.map(said).collect::<Vec<_>>(), expect, "{text}");
    }

    #[test]
    fn sound_alone_and_picture_alone_are_variants() {
        let text = render_multivariant(&[audio("audio")], None);
        assert!(text.contains("#EXT-X-STREAM-INF:BANDWIDTH=153600"), "{text}");
        assert!(text.ends_with("\naudio.m3u8\n"));
        let text = render_multivariant(&[video("video", 720, 1)], None);
        assert!(!text.contains("AUDIO"), "{text}");
    }
}
