//! Levels of sound over MoQ, of recordings and of what lies back on the air: fetched, decoded, and laid beside their source.

use std::future::poll_fn;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use client::address::MoqAddress;
use io_moq::client::{Client, Trust};
use media::catalog::Catalog;
use moqt::{Filter, GroupOrder, Location, Range};
use serde_json::json;
use testkit::{Child, Follower, Input, MediaPlaylist, Server, packets, request, skip, wait_until};

use crate::AIRWAVE;
use crate::codecs::{FFMPEG, run};
use crate::live::received;
use crate::moq_program::{Groups, address, all_of, fetch};

/// Samples a second of every level.
const RATE: i64 = 48_000;

/// Of the original's codec: what its level is called, in which codec, and samples of its frames.
type Row = (&'static str, &'static str, &'static str, i64);

const ROWS: [Row; 2] =
    [("aac", "audio.opus.cmaf", "Opus", 960), ("libopus", "audio.aac.cmaf", "mp4a.40.2", 1_024)];

/// A tone that rises, so that every moment is another.
fn clip(folder: &Path, codec: &str) -> std::path::PathBuf {
    let clip = folder.join(format!("{codec}.mkv"));
    let mut make = Command::new(FFMPEG);
    make.args(["-nostdin", "-v", "error", "-f", "lavfi", "-i"]);
    make.args(["testsrc2=s=320x180:r=30,format=yuv420p", "-f", "lavfi", "-i"]);
    make.arg("aevalsrc=0.4*sin(2*PI*(300+20*t)*t):s=48000");
    make.args(["-t", "60", "-c:v", "libx264", "-preset", "ultrafast", "-g", "30"]);
    run(make.args(["-c:a", codec, "-b:a", "160k", "-ac", "2"]).arg(&clip));
    clip
}

fn groups(server: &Server, id: &str, track: &str, (first, last): (u64, u64)) -> Groups {
    let start = Location::new(first, 0);
    let range = Range { start, end: Location::new(last, Range::WHOLE_GROUP) };
    fetch(server, id, track, range, GroupOrder::Ascending).unwrap()
}

/// The whole segments of a list, as players load them.
fn segments(server: &Server, id: &str, track: &str) -> (MediaPlaylist, Vec<(u64, String)>) {
    let path = format!("/{id}/manifest/{track}.m3u8?dvrEnabled=true");
    let list = MediaPlaylist::parse(&server.get(&path).text()).unwrap();
    let files = list.segments.iter().filter(|segment| !segment.gap);
    let files = files.filter_map(|s| Some((s.number, s.file.clone()?.1))).collect();
    (list, files)
}

fn file(server: &Server, id: &str, uri: &str) -> Vec<u8> {
    let at = server.url(&format!("/{id}/manifest/video.m3u8"));
    let answer = request("GET", &at.join(uri), &[], &[]);
    assert_eq!(answer.status, 200, "{uri}: {}", answer.text());
    answer.body
}

/// The samples of a file from zero of its time line on, both channels in one.
fn samples(file: &Path, opus: bool) -> Vec<f32> {
    let mut decode = Command::new("ffmpeg");
    decode.args(["-nostdin", "-v", "error", "-copyts"]);
    if opus {
        // The other decoder puts out another number of samples at first.
        decode.args(["-c:a", "libopus"]);
    }
    let pcm = file.with_extension("pcm");
    decode.arg("-i").arg(file).args(["-ac", "1", "-af", "aresample=48000:async=1:first_pts=0"]);
    run(decode.args(["-f", "f32le", "-y"]).arg(&pcm));
    let pcm = std::fs::read(pcm).unwrap();
    pcm.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

/// How much of `made` is not `source`, of its energy.
fn error(made: &[f32], source: &[f32]) -> f64 {
    let energy: f64 = made.iter().map(|m| f64::from(*m).powi(2)).sum();
    let off = made.iter().zip(source).map(|(m, s)| f64::from(m - s).powi(2)).sum::<f64>();
    off / energy
}

#[test]
fn levels_of_sound_are_fetched_of_recordings_and_of_what_lies_back() {
    if skip("codecs") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(AIRWAVE, &["encode.ladder=[\"96p\"]", "hls.segment_ms=1000"]);
    for row in ROWS {
        let clip = clip(folder.path(), row.0);
        let on_air = |input: &Input| {
            let mut publish = Command::new(FFMPEG);
            publish.args(["-nostdin", "-v", "error", "-re", "-i"]).arg(&clip);
            publish.args(["-c", "copy", "-f", "flv", &input.rtmp]);
            let publisher = Child::start(&mut publish);
            (server.wait_live(input), publisher)
        };
        // What nobody records lies back in memory.
        let input = server.create_input(&json!({ "recording": { "mode": "off" } }));
        let (_, publisher) = on_air(&input);
        what_lies_back(&server, row, &input);
        drop(publisher);
        let input = server.input();
        let (video, mut publisher) = on_air(&input);
        what_lies_back(&server, row, &input);
        let count = || segments(&server, &input.uid, row.1).1.len();
        wait_until("seven segments", 60, || (count() >= 7).then_some(()));
        publisher.signal("INT");
        publisher.wait(20);
        server.wait_ready(&video);
        recorded(&server, row, &video, folder.path());
    }
}

/// Subscribes to a level, and fetches what lies back as soon as there is something of it: the segment that ended a moment ago
/// may not be committed yet.
fn joined(server: &Server, id: &str, level: &str, first: u64) -> Groups {
    let address = MoqAddress::parse(&address(server, "", id)).unwrap().speaking(Some(18));
    let namespace = address.namespace.clone().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let origin = spine::Origin::new(spine::Limits::default());
        let client = Client::connect(&address.server, Trust::Anybody, origin).await;
        let mut client = client.map_err(|error| error.to_string()).unwrap();
        let remote = client.handle().remote(namespace).unwrap();
        let work = async {
            let subscribed = remote.subscribe(level, Filter::NextObject).await;
            let subscribed = subscribed.map_err(|denial| denial.to_string())?;
            let from = spine::Filter::from(spine::Start::NextObject);
            let mut cursor = subscribed.track.subscribe(from, spine::Policy::EVERYTHING);
            loop {
                match poll_fn(|cx| cursor.poll(cx, Instant::now())).await {
                    spine::Event::Subgroup(_) => break,
                    spine::Event::End(end) => return Err(format!("{end:?}")),
                    _ => {}
                }
            }
            let (start, end) = (Location::new(first, 0), Location::new(first + 3_600, 0));
            let fetched = remote.fetch(level, Range { start, end }, GroupOrder::Ascending).await;
            all_of(fetched.map_err(|denial| denial.to_string())?).await
        };
        tokio::select! {
            done = work => done.unwrap(),
            over = client.run() => panic!("{}", over.reason()),
        }
    })
}

/// Who comes to a level has what was before that, and nothing of it is missing.
fn what_lies_back(server: &Server, (_, level, ..): Row, input: &Input) {
    let uid = &input.uid;
    wait_until("three segments", 60, || {
        let path = format!("/{uid}/manifest/{level}.m3u8");
        (server.get(&path).status == 200 && segments(server, uid, level).1.len() >= 3).then_some(())
    });
    let listed = segments(server, uid, level).1;
    let got = joined(server, uid, level, listed[0].0);
    let has = got.iter().map(|(number, bytes)| (*number, bytes.is_some()));
    let expect = (listed[0].0..).map(|number| (number, true)).take(got.len());
    assert!(
        has.eq(expect),
        "a hole: {:?}",
        got.iter().map(|(n, b)| (n, b.is_some())).collect::<Vec<_>>()
    );
    let (newest, _) = got.last().unwrap();
    assert!(*newest >= listed.last().unwrap().0, "up to what is live: {newest}");
    // It is being made.
    for ((number, uri), (group, bytes)) in listed.iter().zip(&got).filter(|(_, (n, _))| n < newest)
    {
        assert_eq!(number, group);
        assert!(*bytes == Some(file(server, uid, uri)), "{number}: byte for byte");
    }
}

/// A recording's level is listed with what it begins with, and is the sound of its original.
fn recorded(server: &Server, (source, level, codec, frame): Row, video: &str, folder: &Path) {
    let catalog = groups(server, video, "catalog", (0, 0));
    let catalog = Catalog::parse(catalog[0].1.as_ref().unwrap()).unwrap();
    let names: Vec<&str> = catalog.tracks.iter().map(|track| track.name.as_str()).collect();
    assert_eq!(names, ["video.cmaf", "video.96p.cmaf", "audio.cmaf", level]);
    let track = catalog.tracks.last().unwrap();
    assert_eq!(track.codec.as_deref(), Some(codec));
    assert_eq!((track.samplerate, track.timescale), (Some(48_000), Some(48_000)));
    assert_eq!(track.channel_config.as_deref(), Some("2"));
    assert!(!track.is_live && track.bitrate > Some(128_000), "{track:?}");
    let (list, listed) = segments(server, video, level);
    let init = catalog.init_of(track).unwrap();
    let map = list.segments[0].map.as_str();
    assert!(init == file(server, video, map), "it begins with the same as over HLS");
    let got = groups(server, video, level, (listed[0].0, listed.last().unwrap().0));
    let mut whole = init.to_vec();
    for ((number, uri), (group, bytes)) in listed.iter().zip(&got) {
        assert_eq!(number, group);
        let bytes = bytes.as_ref().unwrap_or_else(|| panic!("{number}: a hole"));
        assert!(*bytes == file(server, video, uri), "{number}: byte for byte");
        whole.extend(bytes);
    }
    assert_eq!(got.len(), listed.len(), "every segment");
    assert!(got.len() >= 5, "{}", got.len());
    let made = folder.join(format!("{source}.level.mp4"));
    std::fs::write(&made, whole).unwrap();
    // Every frame behind the one before, none missing and none twice.
    let packets_of_level = packets(&made, 'a');
    let at_us = |n: i64| n * frame * 1_000_000 / RATE;
    for (n, packet) in (0..).zip(&packets_of_level) {
        let expect = packets_of_level[0].present_us + at_us(n);
        assert!((packet.present_us - expect).abs() <= 25, "frame {n}: {packet:?}");
    }
    let mut original = Follower::new(server.url(&format!("/{video}/manifest/audio.cmaf.m3u8")));
    assert!(original.reload().ended);
    let source_packets = received(folder, &original, 'a');
    let own = folder.join(format!("{source}.own.mp4"));
    std::fs::rename(folder.join("a.mp4"), &own).unwrap();
    // It begins with its original, or on the grid before it, and lacks what an encoder cannot know at the end.
    let (begins, expect) = (packets_of_level[0].present_us, source_packets[0].present_us);
    assert!((0..=64_000).contains(&(expect - begins)), "{begins} beside {expect}");
    let ends = begins + at_us(packets_of_level.len() as i64);
    let last = source_packets[source_packets.len() - 1].present_us;
    assert!((last - 90_000..=last + 25_000).contains(&ends), "{ends}, the last packet at {last}");
    // What is decoded of it is as long, and the same sound at the same time.
    let (made, own) = (samples(&made, codec == "Opus"), samples(&own, source == "libopus"));
    let length = packets_of_level.len() as i64 * frame + begins * RATE / 1_000_000;
    assert!(length.abs_diff(made.len() as i64) <= 2 * frame as u64, "{length}, {}", made.len());
    // From zero on, but for the first and the last tenth of a second.
    let from = usize::try_from(expect * RATE / 1_000_000).unwrap() + 4_800;
    let to = made.len().min(own.len()) - 4_800;
    assert!(to - from >= 4 * RATE as usize, "{from} to {to}");
    for (n, (made, own)) in
        made[from..to].chunks(4_800).zip(own[from..to].chunks(4_800)).enumerate()
    {
        let error = error(made, own);
        assert!(error < 0.02, "{source}: {error} of the energy in tenth {n}");
    }
}
