//! Every codec of Enhanced RTMP, sent by FFmpeg 9 and compared packet by packet with what it sent.
//!
//! All comparisons are exact. A clip is encoded once into Matroska and published with `-c copy`; FFmpeg carries the packets
//! of all these codecs over FLV unchanged (Matroska holds NAL units with lengths and AV1 without temporal delimiters, as
//! fMP4 does), we keep them, and the same FFmpeg reads both files. Configuration records are not compared byte by byte, as
//! ours are written anew: what comes out of a decoder is compared instead, picture by picture and sample by sample. Times
//! agree within RTMP's millisecond.

use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::{Child, Follower, Packet, Server, play, skip, wait_until};

use crate::AIRWAVE;
use crate::live::MILLISECOND;

pub(crate) const FFMPEG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.cache/ffmpeg9/ffmpeg");
const SECONDS: &str = "8";

const H264: &[&str] =
    &["libx264", "-preset", "ultrafast", "-g", "60", "-bf", "2", "-sc_threshold", "0"];
// Open groups: key frames behind the first one are CRA with leading pictures.
const HEVC: &[&str] = &[
    "libx265",
    "-preset",
    "ultrafast",
    "-x265-params",
    "keyint=60:min-keyint=60:scenecut=0:open-gop=1:bframes=3:log-level=0",
];
const AV1: &[&str] = &["libsvtav1", "-preset", "12", "-g", "60"];
const VP9: &[&str] = &["libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "60"];
const AAC: &[&str] = &["aac"];
const OPUS: &[&str] = &["libopus"];
const FLAC: &[&str] = &["flac"];
const AC3: &[&str] = &["ac3"];
const EAC3: &[&str] = &["eac3"];
const MP3: &[&str] = &["libmp3lame"];

/// A track of a clip, and what it becomes.
#[derive(Clone, Copy)]
struct Track {
    /// Its encoder with options.
    encoder: &'static [&'static str],
    /// The packaged track.
    name: &'static str,
    /// Pixels of a picture.
    size: Option<(u32, u32)>,
}

const fn picture(encoder: &'static [&'static str]) -> Track {
    Track { encoder, name: "video.cmaf", size: Some((320, 180)) }
}

const fn sound(encoder: &'static [&'static str]) -> Track {
    Track { encoder, name: "audio.cmaf", size: None }
}

impl Track {
    fn kind(&self) -> char {
        if self.size.is_some() { 'v' } else { 'a' }
    }
}

fn ffmpeg() -> Command {
    assert!(Path::new(FFMPEG).is_file(), "FFmpeg 9 is missing: make deps-test fetches it");
    let mut command = Command::new(FFMPEG);
    command.args(["-nostdin", "-v", "error"]);
    command
}

pub(crate) fn run(command: &mut Command) -> String {
    let mut child = Child::start(command);
    let status = child.wait(120);
    let output = child.output();
    assert!(status.success(), "{status}: {output}");
    output
}

/// Encodes a clip; each track has a picture or a tone of its own.
fn clip(folder: &Path, tracks: &[Track]) -> PathBuf {
    let path = folder.join("clip.mkv");
    let mut command = ffmpeg();
    for (i, track) in tracks.iter().enumerate() {
        let source = match track.size {
            Some((width, height)) => format!("testsrc2=s={width}x{height}:r=30,format=yuv420p"),
            None => format!("sine=frequency={}:sample_rate=48000,volume=4", 1000 + 220 * (i - 1)),
        };
        command.args(["-f", "lavfi", "-i", &source]);
    }
    let (mut videos, mut audios) = (0, 0);
    for (i, track) in tracks.iter().enumerate() {
        let nth = if track.kind() == 'v' { &mut videos } else { &mut audios };
        command.args(["-map", &i.to_string()]);
        command.arg(format!("-c:{}:{nth}", track.kind())).arg(track.encoder[0]);
        for option in track.encoder[1..].chunks(2) {
            command.arg(format!("{}:{}:{nth}", option[0], track.kind())).arg(option[1]);
        }
        *nth += 1;
    }
    command.args(["-ac", "2", "-t", SECONDS]).arg(&path);
    run(&mut command);
    path
}

/// The packets of one track of a file (`v:0`, `a:1`), as they are stored.
pub(crate) fn packets(file: &Path, track: &str) -> Vec<Packet> {
    let mut command = ffmpeg();
    command.arg("-i").arg(file);
    command.args(["-map", &format!("0:{track}"), "-c", "copy", "-copyts", "-f", "framemd5", "-"]);
    let text = run(&mut command);
    let base = text.lines().find_map(|l| l.strip_prefix("#tb 0: ")).unwrap();
    let (num, den) = base.split_once('/').unwrap();
    let (num, den): (i64, i64) = (num.trim().parse().unwrap(), den.trim().parse().unwrap());
    let row = |line: &str| {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let present: i64 = fields[2].parse().unwrap();
        Packet { present_us: present * 1_000_000 * num / den, hash: fields[5].to_owned() }
    };
    text.lines().filter(|l| !l.starts_with('#') && !l.is_empty()).map(row).collect()
}

/// What a decoder makes of one track of a file: MD5 of each picture, of the samples of each packet of sound. With `trimmed`,
/// without what the container says is no part of the sound.
fn decoded(file: &Path, track: &str, trimmed: bool) -> Vec<String> {
    let mut command = ffmpeg();
    command.arg("-xerror");
    if !trimmed {
        command.args(["-flags2", "+skip_manual"]);
    }
    command.arg("-i").arg(file).args(["-map", &format!("0:{track}"), "-fps_mode", "passthrough"]);
    let text = run(command.args(["-f", "framemd5", "-"]));
    let hash = |line: &str| {
        assert!(line.starts_with("0,"), "{} decodes: {text}", file.display());
        // What is said beside the sound stands behind its hash.
        line.split(',').nth(5).unwrap().trim().to_owned()
    };
    text.lines().filter(|l| !l.starts_with('#') && !l.is_empty()).map(hash).collect()
}

/// The source, packet by packet and as it is decoded.
struct Sent {
    packets: Vec<Packet>,
    whole: Vec<String>,
    trimmed: Vec<String>,
}

impl Sent {
    fn of(clip: &Path, track: &str) -> Self {
        let [whole, trimmed] = [false, true].map(|trimmed| decoded(clip, track, trimmed));
        Self { packets: packets(clip, track), whole, trimmed }
    }
}

/// Follows a packaged track from its first segment to the end of the broadcast.
fn follow(server: &Server, video: &str, name: &str) -> Follower {
    let path = format!("/{video}/manifest/{name}.m3u8");
    wait_until(name, 20, || (server.get(&path).status == 200).then_some(()));
    let mut follower = Follower::new(server.url(&path));
    while !follower.reload().ended {}
    follower
}

fn publish(clip: &Path, url: &str) -> Child {
    let mut command = ffmpeg();
    command.args(["-re", "-i"]).arg(clip).args(["-map", "0", "-c", "copy", "-f", "flv", url]);
    Child::start(&mut command)
}

/// The same with GStreamer, which has an RTMP client of its own.
fn publish_gstreamer(clip: &Path, url: &str) -> Child {
    let file = clip.with_extension("mp4");
    run(ffmpeg().arg("-i").arg(clip).args(["-map", "0", "-c", "copy"]).arg(&file));
    let pipeline = format!(
        "filesrc location={} ! qtdemux name=d flvmux name=m streamable=true ! \
         rtmp2sink location={url} sync=true \
         d.video_0 ! queue ! h264parse ! m.video d.audio_0 ! queue ! aacparse ! m.audio",
        file.display()
    );
    Child::start(Command::new("gst-launch-1.0").arg("-q").args(pipeline.split_whitespace()))
}

/// The same with our own publisher, out of an MP4 file.
fn publish_ours(clip: &Path, url: &str) -> Child {
    let file = clip.with_extension("mp4");
    run(ffmpeg().arg("-i").arg(clip).args(["-map", "0", "-c", "copy"]).arg(&file));
    Child::start(Command::new(AIRWAVE).arg("publish").arg(&file).args(["--to", url]))
}

/// Publishes a clip of these tracks; everything must arrive, and the list must hold these variants.
fn check(tracks: &[Track], codecs: &[&str]) {
    check_by(publish, tracks, codecs, EXACT);
}

/// Sound and picture stay together: both are rounded to RTMP's millisecond.
const EXACT: i64 = MILLISECOND;

fn check_by(publish: fn(&Path, &str) -> Child, tracks: &[Track], codecs: &[&str], apart_us: i64) {
    if skip("codecs") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let clip = clip(folder.path(), tracks);
    let server = Server::start(AIRWAVE, &[]);
    let input = server.input();
    let mut encoder = publish(&clip, &input.rtmp);
    let video = server.wait_video(&input, &[]);
    let followers: Vec<Follower> = std::thread::scope(|scope| {
        let (server, video) = (&server, &video);
        let all: Vec<_> =
            tracks.iter().map(|t| scope.spawn(|| follow(server, video, t.name))).collect();
        let list = wait_until("every variant in the list", 20, || {
            let list = server.get(&format!("/{video}/manifest/video.m3u8")).text();
            assert!(!list.contains("ENDLIST"));
            (list.matches("#EXT-X-STREAM-INF").count() == codecs.len()).then_some(list)
        });
        for codecs in codecs {
            assert!(list.contains(&format!("CODECS=\"{codecs}\"")), "{codecs} in {list}");
        }
        all.into_iter().map(|follower| follower.join().unwrap()).collect()
    });
    assert!(encoder.wait(20).success(), "{}", encoder.output());
    let (mut videos, mut audios) = (0, 0);
    let mut shifts = Vec::new();
    for (track, follower) in tracks.iter().zip(&followers) {
        let nth = if track.kind() == 'v' { &mut videos } else { &mut audios };
        let source = Sent::of(&clip, &format!("{}:{nth}", track.kind()));
        *nth += 1;
        shifts.push(check_track(folder.path(), track, follower, &source));
        // And as it was recorded: the same packets, in files of the same bytes.
        let replay = replay(&server, &video, track.name);
        check_track(folder.path(), track, &replay, &source);
        for (number, (_, bytes)) in &follower.segments {
            assert!(&replay.segments[number].1 == bytes, "{}: segment {number}", track.name);
        }
    }
    for (track, shift) in tracks.iter().zip(&shifts) {
        let off = shift - shifts[0];
        assert!(off.abs() <= apart_us, "{} is {off} us off the first picture", track.name);
    }
    check_file(folder.path(), &server, &video, &clip);
}

/// As one file, too, the first tracks are the same packets, and every one is shown.
fn check_file(folder: &Path, server: &Server, video: &str, clip: &Path) {
    let created = server.api("POST", &format!("/stream/{video}/downloads"), None);
    assert_eq!(created.status, 200, "{}", created.text());
    let answer = server.get(&format!("/{video}/downloads/default.mp4"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let file = folder.join("default.mp4");
    std::fs::write(&file, &answer.body).unwrap();
    let mut decode = ffmpeg();
    let errors = run(decode.args(["-xerror", "-i"]).arg(&file).args(["-f", "null", "-"]));
    assert_eq!(errors, "", "the file decodes");
    for kind in ["v:0", "a:0"] {
        let hashes =
            |file: &Path| packets(file, kind).into_iter().map(|p| p.hash).collect::<Vec<_>>();
        let (sent, got) = (hashes(clip), hashes(&file));
        // The file begins with the first picture: GStreamer's sound begins a tenth of a second before that.
        let ahead = if kind == "a:0" { 8 } else { 0 };
        let all = sent.ends_with(&got) && sent.len() - got.len() <= ahead;
        let lacks = sent.iter().position(|hash| !got.contains(hash));
        let counts = (sent.len(), got.len());
        assert!(
            all,
            "{kind}: {counts:?} packets were sent and are in the file, which lacks {lacks:?}"
        );
    }
}

/// The recording of a track, once the broadcast is over.
pub(crate) fn replay(server: &Server, video: &str, name: &str) -> Follower {
    wait_until("the recording", 20, || {
        let answer = server.api("GET", &format!("/stream/{video}"), None).json();
        (answer["result"]["readyToStream"] == true).then_some(())
    });
    let mut replay = Follower::new(server.url(&format!("/{video}/manifest/{name}.m3u8")));
    assert!(replay.reload().ended && replay.versions[0].contains("#EXT-X-PLAYLIST-TYPE:VOD"));
    replay
}

/// Everything of a track as it was sent, but for a shift of its times, which is answered in microseconds.
fn check_track(folder: &Path, track: &Track, follower: &Follower, sent: &Sent) -> i64 {
    let (name, source) = (track.name, &sent.packets);
    let maps: Vec<&String> = follower.inits.keys().collect();
    assert_eq!(maps.len(), 1, "{name}: one initialisation segment");
    let file = folder.join(format!("{name}.mp4"));
    std::fs::write(&file, follower.file(maps[0])).unwrap();
    check_decoded(track, &file, sent);

    let got = packets(&file, &format!("{}:0", track.kind()));
    let hashes = |list: &[Packet]| list.iter().map(|p| p.hash.clone()).collect::<Vec<_>>();
    let differs = source.iter().zip(&got).position(|(s, g)| s.hash != g.hash);
    let counts = (source.len(), got.len());
    assert!(hashes(source) == hashes(&got), "{name}: {counts:?} packets, differ at {differs:?}");
    let shift = got[0].present_us - source[0].present_us;
    for (s, g) in source.iter().zip(&got) {
        let off = g.present_us - s.present_us - shift;
        assert!(off.abs() <= MILLISECOND, "{name}: {off} us off at {} us", s.present_us);
    }
    assert_eq!(follower.segments.len(), 4, "{name}: segments of 2 s");
    for (segment, _) in follower.segments.values() {
        assert!(!segment.gap && !segment.discontinuity, "{name}: {segment:?}");
        assert!(segment.parts.first().is_none_or(|p| p.independent), "{name}: {segment:?}");
    }
    shift
}

/// The same pictures and samples come out of a decoder. Of sound: out of every packet, the encoder's delay at its start and
/// what fills its last packet included. How much of that a player leaves out is what its container says, and only of that may
/// the two differ: Matroska names both ends of every sound, FLV none. But the delay of Opus (its pre-skip) is a part of its
/// configuration and FLAC has none, so that these two begin for a viewer as the source does.
fn check_decoded(track: &Track, file: &Path, sent: &Sent) {
    let (name, stream) = (track.name, format!("{}:0", track.kind()));
    let got = decoded(file, &stream, false);
    let differs = sent.whole.iter().zip(&got).position(|(s, g)| s != g);
    let counts = (sent.whole.len(), got.len());
    assert!(sent.whole == got, "{name}: {counts:?} are decoded, differ at {differs:?}");
    if track.size.is_some() || [OPUS, FLAC].contains(&track.encoder) {
        let got = decoded(file, &stream, true);
        let differs = sent.trimmed.iter().zip(&got).position(|(s, g)| s != g);
        let last = got.len() - 1;
        let ends = differs.is_none() || track.encoder == OPUS && differs == Some(last);
        assert!(ends && got.len() == sent.trimmed.len(), "{name}: differs at {differs:?}");
    }
}

#[test]
fn hevc_and_aac_arrive() {
    check(&[picture(HEVC), sound(AAC)], &["hvc1.1.6.L60.90,mp4a.40.2"]);
}

#[test]
fn av1_and_opus_arrive() {
    check(&[picture(AV1), sound(OPUS)], &["av01.0.00M.08,Opus"]);
}

#[test]
fn vp9_and_opus_arrive() {
    check(&[picture(VP9), sound(OPUS)], &["vp09.00.11.08,Opus"]);
}

#[test]
fn h264_and_flac_arrive() {
    check(&[picture(H264), sound(FLAC)], &["avc1.4d400d,fLaC"]);
}

#[test]
fn h264_and_ac3_arrive() {
    check(&[picture(H264), sound(AC3)], &["avc1.4d400d,ac-3"]);
}

#[test]
fn h264_and_eac3_arrive() {
    check(&[picture(H264), sound(EAC3)], &["avc1.4d400d,ec-3"]);
}

#[test]
fn h264_and_mp3_arrive() {
    check(&[picture(H264), sound(MP3)], &["avc1.4d400d,mp4a.6B"]);
}

#[test]
fn h264_and_aac_of_gstreamer_arrive() {
    let codecs = ["avc1.4d400d,mp4a.40.2"];
    // Its demuxer counts from the first sound that is heard, a frame of AAC behind what the encoder begins with.
    check_by(publish_gstreamer, &[picture(H264), sound(AAC)], &codecs, EXACT + 21_333);
}

/// Sound of codecs whose silence is made in frames of their own is missing for two seconds, and from 6.5 s on.
#[test]
fn sound_of_every_codec_is_silent_where_none_comes() {
    if skip("codecs") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let encoders = [FLAC, AC3, EAC3, MP3];
    let names = ["audio.cmaf", "audio2.cmaf", "audio3.cmaf", "audio4.cmaf"];
    let sounds = names.iter().zip(encoders).map(|(name, of)| Track { name, ..sound(of) });
    let tracks: Vec<Track> = std::iter::once(picture(H264)).chain(sounds).collect();
    let clip = clip(folder.path(), &tracks);
    let server = Server::start(AIRWAVE, &[]);
    let input = server.input();
    let mut encoder = publish_without(&clip, &input.rtmp, 1, MISSING);
    let video = server.wait_video(&input, &[]);
    assert!(encoder.wait(60).success(), "{}", encoder.output());
    for track in &tracks[1..] {
        let list = replay(&server, &video, track.name);
        let name = track.encoder[0];
        assert!(list.segments.values().all(|(s, _)| !s.gap && !s.discontinuity), "{name}");
        let lasts: f64 = list.segments.values().filter_map(|(s, _)| Some(s.file.as_ref()?.0)).sum();
        assert!((lasts - 8.0).abs() < 0.15, "{name} lasts {lasts} s");
        let (file, pcm) = (folder.path().join("sound.mp4"), folder.path().join("sound.pcm"));
        std::fs::write(&file, list.file(list.inits.keys().next().unwrap())).unwrap();
        let mut decode = ffmpeg();
        decode.args(["-y", "-i"]).arg(&file).args(["-ac", "1", "-ar", "8000", "-f", "s16le"]);
        let errors = run(decode.arg(&pcm));
        // What refers to bits of frames that are missing is left out (ISO 11172-3 §2.4.3.4).
        let minds = errors.lines().filter(|line| !line.contains("invalid new backstep"));
        assert_eq!(minds.count(), 0, "{name}: {errors}");
        let samples: Vec<i16> = std::fs::read(&pcm)
            .unwrap()
            .chunks_exact(2)
            .map(|s| i16::from_le_bytes([s[0], s[1]]))
            .collect();
        let loudest = |from_ms: usize, to_ms: usize| {
            samples[from_ms * 8..to_ms * 8].iter().map(|s| s.unsigned_abs()).max().unwrap()
        };
        let heard = [(500, 2_900), (3_200, 4_800), (5_300, 6_400), (6_700, 7_800)];
        let heard = heard.map(|(from, to)| loudest(from, to));
        assert!(heard[0] > 1_000 && heard[2] > 1_000, "{name}: {heard:?}");
        assert!(heard[1] < 10 && heard[3] < 10, "{name}: {heard:?}");
    }
}

/// Milliseconds at which sound is left out.
const MISSING: &str = r"between(pts\,3000\,5000)+gt(pts\,6500)";

/// The same again and again, but for packets of sound. The muxer must not wait for them.
fn publish_without(clip: &Path, url: &str, times: u32, missing: &str) -> Child {
    let mut command = ffmpeg();
    command.args(["-re", "-stream_loop", &(times - 1).to_string(), "-i"]).arg(clip);
    command.args(["-map", "0", "-c", "copy", "-max_interleave_delta", "100000"]);
    command.args(["-flush_packets", "1", "-bsf:a", &format!("noise=drop={missing}")]);
    Child::start(command.args(["-f", "flv", url]))
}

/// The second of two pictures of one connection stops after three seconds. Who watches it has its last key picture.
#[test]
fn a_second_picture_that_stops_stands_in_a_browser() {
    if skip("codecs") || skip("browser") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let large = Track { name: "video2.cmaf", size: Some((640, 360)), ..picture(H264) };
    let clip = clip(folder.path(), &[picture(H264), large, sound(AAC)]);
    let server = Server::start(AIRWAVE, &["quic.listen=off"]);
    let input = server.input();
    let mut command = ffmpeg();
    command.args(["-re", "-stream_loop", "20", "-i"]).arg(&clip);
    command.args(["-map", "0", "-c", "copy", "-max_interleave_delta", "100000"]);
    command.args(["-flush_packets", "1", "-bsf:v:1", r"noise=drop=gt(pts\,3000)"]);
    let _encoder = Child::start(command.args(["-f", "flv", &input.rtmp]));
    let video = server.wait_live(&input);
    let mut list = Follower::new(server.url(&format!("/{video}/manifest/video2.cmaf.m3u8")));
    wait_until("the second picture", 20, || {
        (server.get(&format!("/{video}/manifest/video2.cmaf.m3u8")).status == 200).then_some(())
    });
    while list.segments.len() < 8 {
        list.reload();
    }
    for (number, (segment, _)) in &list.segments {
        assert!(!segment.gap && !segment.discontinuity, "{number}: {segment:?}");
    }
    // Three times a second it is shown again.
    let path = format!("/{video}/manifest/video2.cmaf.m3u8?dvrEnabled=false");
    let url = server.url(&path).to_string();
    let played = play(&url, "hlsjs", 1, &["--settle", "0", "--frames", "20", "--no-tone"]);
    assert_eq!(played.size(), (640, 360), "{}", played.0);
}

/// FLAC itself; of AC-3, which Chromium has no decoder of, the level in AAC.
#[test]
fn a_picture_goes_on_without_its_flac_or_ac3_in_a_browser() {
    if skip("codecs") || skip("browser") {
        return;
    }
    for encoder in [FLAC, AC3] {
        let folder = tempfile::tempdir().unwrap();
        let clip = clip(folder.path(), &[picture(H264), sound(encoder)]);
        let server = Server::start(AIRWAVE, &["quic.listen=off"]);
        let input = server.input();
        let _encoder = publish_without(&clip, &input.rtmp, 20, MISSING);
        server.wait_live(&input);
        let url = server.url(&format!("/{}/manifest/video.m3u8", input.uid)).to_string();
        // More than came before the sound ended, and any player holds.
        play(&url, "hlsjs", 1, &["--settle", "0", "--frames", "420"]);
    }
}

/// As of two languages: FFmpeg sends the second one as a track of its own. Which language is spoken RTMP does not say.
#[test]
fn two_sounds_of_one_codec_arrive() {
    let tracks = [picture(H264), sound(AAC), Track { name: "audio2.cmaf", ..sound(AAC) }];
    // A viewer chooses between them: one picture with a group of two sounds.
    check(&tracks, &["avc1.4d400d,mp4a.40.2"]);
}

#[test]
fn two_pictures_and_two_sounds_of_one_connection_arrive() {
    let tracks = [
        picture(H264),
        Track { name: "video2.cmaf", size: Some((640, 360)), ..picture(HEVC) },
        sound(AAC),
        Track { name: "audio2.cmaf", ..sound(OPUS) },
    ];
    // Each picture with each sound.
    let codecs = [
        "avc1.4d400d,mp4a.40.2",
        "hvc1.1.6.L63.90,mp4a.40.2",
        "avc1.4d400d,Opus",
        "hvc1.1.6.L63.90,Opus",
    ];
    check(&tracks, &codecs);
}

#[test]
fn our_publisher_sends_two_pictures_and_two_sounds() {
    let tracks = [
        picture(H264),
        Track { name: "video2.cmaf", size: Some((640, 360)), ..picture(HEVC) },
        sound(AAC),
        Track { name: "audio2.cmaf", ..sound(OPUS) },
    ];
    let codecs = [
        "avc1.4d400d,mp4a.40.2",
        "hvc1.1.6.L63.90,mp4a.40.2",
        "avc1.4d400d,Opus",
        "hvc1.1.6.L63.90,Opus",
    ];
    check_by(publish_ours, &tracks, &codecs, EXACT);
}

#[test]
fn our_publisher_sends_av1_and_flac_and_mp3() {
    let tracks = [picture(AV1), sound(FLAC), Track { name: "audio2.cmaf", ..sound(MP3) }];
    check_by(publish_ours, &tracks, &["av01.0.00M.08,fLaC", "av01.0.00M.08,mp4a.6B"], EXACT);
}

#[test]
fn our_publisher_sends_vp9_and_ac3_and_eac3() {
    let tracks = [picture(VP9), sound(AC3), Track { name: "audio2.cmaf", ..sound(EAC3) }];
    check_by(publish_ours, &tracks, &["vp09.00.11.08,ac-3", "vp09.00.11.08,ec-3"], EXACT);
}

#[test]
fn a_recording_of_watch_has_all_tracks_in_one_file() {
    if skip("codecs") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let large = Track { size: Some((640, 360)), ..picture(HEVC) };
    let clip = clip(folder.path(), &[picture(H264), large, sound(AAC), sound(OPUS)]);
    let server = Server::start(AIRWAVE, &[]);
    let input = server.input();
    let file = folder.path().join("got.mp4");
    let url = server.url(&format!("/{}", input.uid)).to_string();
    let mut command = Command::new(AIRWAVE);
    let mut watcher = Child::start(command.args(["watch", &url, "--wait", "--record"]).arg(&file));
    let mut publisher = publish_ours(&clip, &input.rtmp);
    assert!(publisher.wait(40).success(), "{}", publisher.output());
    assert!(watcher.wait(40).success(), "{}", watcher.output());
    assert_eq!(watcher.output().matches("nothing lost").count(), 4, "{}", watcher.output());
    let mut decode = ffmpeg();
    let errors =
        run(decode.args(["-xerror", "-i"]).arg(&file).args(["-map", "0", "-f", "null", "-"]));
    assert_eq!(errors, "", "everything decodes");
    for track in ["v:0", "v:1", "a:0", "a:1"] {
        let hashes =
            |file: &Path| packets(file, track).into_iter().map(|p| p.hash).collect::<Vec<_>>();
        let (source, got) = (hashes(&clip), hashes(&file));
        assert!(source == got, "{track}: {} of {} packets", got.len(), source.len());
    }
}

/// Chromium plays what it can: hls.js, the pixels' size, the tone.
fn check_browser(encoder: &'static [&'static str]) {
    if !skip("browser") && !skip("codecs") {
        plays_in_chromium(encoder, &[]);
    }
}

/// Such a broadcast on the air, the video that it is, and its encoder.
fn on_air(server: &Server, encoder: &'static [&'static str]) -> (String, Child) {
    let folder = tempfile::tempdir().unwrap();
    let clip = clip(folder.path(), &[picture(encoder), sound(OPUS)]);
    let input = server.input();
    let mut command = ffmpeg();
    command.args(["-re", "-stream_loop", "20", "-i"]).arg(&clip);
    command.args(["-map", "0", "-c", "copy", "-f", "flv", &input.rtmp]);
    let encoder = Child::start(&mut command);
    let video = server.wait_live(&input);
    wait_until("its first segments", 40, || {
        let list = server.get(&format!("/{video}/manifest/video.cmaf.m3u8")).text();
        (list.matches("#EXTINF").count() >= 3).then_some(())
    });
    (video, encoder)
}

/// How many segments of levels were encoded for it.
fn plays_in_chromium(encoder: &'static [&'static str], settings: &[&str]) -> u64 {
    let server = Server::start(AIRWAVE, settings);
    let (video, _encoder) = on_air(&server, encoder);
    let url = server.url(&format!("/{video}/manifest/video.m3u8")).to_string();
    let played = play(&url, "hlsjs", 3, &["--settle", "1", "--frames", "60"]);
    let report = &played.0;
    assert_eq!(played.size(), (320, 180), "{report}");
    let tone = report["tone"]["frequencyHz"].as_f64().unwrap_or(0.0);
    assert!((tone - 1000.0).abs() < 25.0, "the tone: {}", report["tone"]);
    server.metric("level_segments_encoded_total")
}

/// Of which it has no decoder: it plays the level in H.264 that every such input has.
#[test]
fn chromium_plays_hevc_by_its_level() {
    if !skip("browser") && !skip("codecs") {
        let ladder = "encode.ladder=[\"360p\"]";
        assert!(plays_in_chromium(HEVC, &[ladder]) > 2, "the level, not the original");
    }
}

/// So it does clips of it, and the preview that a viewer chooses them from.
#[test]
fn chromium_plays_clips_of_hevc_by_their_level() {
    if skip("browser") || skip("codecs") {
        return;
    }
    let server = Server::start(AIRWAVE, &["encode.ladder=[\"360p\"]"]);
    let (video, _encoder) = on_air(&server, HEVC);
    for list in ["clip.m3u8?time=1s&duration=4s", "video.m3u8?duration=5s"] {
        let url = server.url(&format!("/{video}/manifest/{list}")).to_string();
        let played = play(&url, "hlsjs", 1, &["--settle", "0", "--frames", "20", "--no-tone"]);
        assert_eq!(played.size(), (320, 180), "{list}: {}", played.0);
    }
}

#[test]
fn chromium_plays_av1_and_opus() {
    check_browser(AV1);
}

#[test]
fn chromium_plays_vp9_and_opus() {
    check_browser(VP9);
}
