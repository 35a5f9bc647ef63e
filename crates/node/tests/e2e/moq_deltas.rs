//! A publisher of CMAF over MoQ whose tracks come and go by deltas of its catalog, played in HLS:
//! our client with a catalog that is written by hand.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use io_moq::client::{Client, Server as Address, Trust};
use media::properties::{MSF_INITIALIZATION, PairsWriter};
use serde_json::json;
use spine::{Close, Header, NodeId, Origin, Route, Takeover, TrackInfo, TrackName, track};
use testkit::{Child, Clip, ClipSpec, Server, packets};

use crate::AIRWAVE;
use crate::live::{follow_to_the_end, received};
use crate::moq::{hashes, run_of};

/// The sound is there from this second on, and no more from that one on.
const SOUND: std::ops::Range<usize> = 2..6;

/// A track of the clip in fragments of a second: its initialisation segment, and those.
struct Fragmented {
    file: PathBuf,
    init: Bytes,
    fragments: Vec<Bytes>,
}

impl Fragmented {
    fn of(clip: &Clip, kind: &str, folder: &Path) -> Self {
        let file = folder.join(format!("source-{kind}.mp4"));
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-i"]).arg(clip.path());
        command.args(["-map", &format!("0:{kind}"), "-c", "copy", "-frag_duration", "1000000"]);
        let flags = if kind == "v" { "frag_keyframe+" } else { "" };
        command.args(["-movflags", &format!("{flags}empty_moov+default_base_moof")]);
        let mut ffmpeg = Child::start(command.arg(&file));
        assert!(ffmpeg.wait(60).success(), "{}", ffmpeg.output());
        let bytes = Bytes::from(std::fs::read(&file).unwrap());
        let (mut init, mut fragments, mut at) = (Vec::new(), Vec::<Vec<u8>>::new(), 0);
        while at < bytes.len() {
            let length = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
            let (kind, whole) = (&bytes[at + 4..at + 8], &bytes[at..at + length]);
            match kind {
                b"ftyp" | b"moov" => init.extend_from_slice(whole),
                b"moof" => fragments.push(whole.to_vec()),
                b"mdat" => fragments.last_mut().unwrap().extend_from_slice(whole),
                _ => {}
            }
            at += length;
        }
        let fragments = fragments.into_iter().map(Bytes::from).collect();
        Self { file, init: init.into(), fragments }
    }

    /// What it would be of these fragments alone.
    fn some(&self, fragments: &[Bytes]) -> PathBuf {
        let file = self.file.with_extension("some.mp4");
        let bytes: Vec<u8> = [&self.init].into_iter().chain(fragments).flatten().copied().collect();
        std::fs::write(&file, bytes).unwrap();
        file
    }
}

/// A group of one object.
fn group(track: &track::Producer, id: u64, bytes: &Bytes) {
    let now = Instant::now();
    let group = track.group(id, now).unwrap();
    let subgroup = group.subgroup(0, now).unwrap();
    let payload = track.budget().payload(bytes.clone());
    subgroup.write(Header::new(0, now), vec![payload]).unwrap();
    subgroup.fin();
    group.end(Some(0), now);
}

#[test]
fn tracks_that_come_and_go_by_deltas_of_a_catalog_play_in_hls() {
    let server = Server::start(AIRWAVE, &[]);
    let input = server.input();
    let folder = tempfile::tempdir().unwrap();
    let clip = Clip::make(&ClipSpec { rising: true, ..ClipSpec::plain("rising", 10) });
    let [pictures, sound] = ["v", "a"].map(|kind| Fragmented::of(&clip, kind, folder.path()));
    let quic: std::net::SocketAddr = server.addresses["quic"].as_str().unwrap().parse().unwrap();
    let address = Address {
        host: quic.ip().to_string(),
        port: quic.port(),
        path: format!("/{}", input.key),
        draft: None,
    };
    let origin = Origin::new(spine::Limits::default());
    let path = spine::Path::new(["default".to_owned(), input.uid.clone()]).unwrap();
    let broadcast = origin.publish(&path, Route::local(NodeId(0), 0), Takeover::Refuse).unwrap();
    let track = |name, properties| {
        let info = TrackInfo { properties, ..TrackInfo::default() };
        broadcast.track(TrackName::from_static(name), info).unwrap()
    };
    let catalog = track("catalog", Bytes::new());
    let now = Instant::now();
    let editions = catalog.group(0, now).unwrap().subgroup(0, now).unwrap();
    let say = |object: u64, edition: serde_json::Value| {
        let payload = catalog.budget().payload(Bytes::from(edition.to_string()));
        editions.write(Header::new(object, Instant::now()), vec![payload]).unwrap();
    };
    // What the sound begins with is a property of its track: a delta has no list for it.
    say(
        0,
        json!({
            "version": "draft-01",
            "tracks": [{
                "name": "camera", "packaging": "cmaf", "isLive": true, "role": "video",
                "codec": "avc1.64001f", "initRef": "camera",
            }],
            "initDataList": [
                { "id": "camera", "type": "inline", "data": BASE64.encode(&pictures.init) },
                { "id": "own", "type": "track-property", "data": "79" },
            ],
        }),
    );
    let camera = track("camera", Bytes::new());
    let own = PairsWriter::default().bytes(MSF_INITIALIZATION, &sound.init).finish();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let publish = async {
        let mut client = Client::connect(&address, Trust::Anybody, origin.clone()).await.unwrap();
        let handle = client.handle();
        let namespace = ["default", &input.uid].map(|f| Bytes::copy_from_slice(f.as_bytes()));
        let namespace = moqt::Namespace::new(namespace).unwrap();
        let work = async {
            let _published = handle.publish(&namespace).await.unwrap();
            // In real time, as an encoder.
            let mut seconds = tokio::time::interval(Duration::from_secs(1));
            let mut microphone = None;
            for (second, fragment) in pictures.fragments.iter().enumerate() {
                seconds.tick().await;
                if second == SOUND.start {
                    microphone = Some(track("sound", own.clone()));
                    say(
                        1,
                        json!({ "generatedAt": 1, "deltaUpdate": [{ "op": "add", "tracks": [{
                        "name": "sound", "packaging": "cmaf", "isLive": true, "role": "audio",
                        "codec": "mp4a.40.2", "samplerate": 48000, "channelConfig": "2",
                        "initRef": "own",
                    }] }] }),
                    );
                }
                if second == SOUND.end {
                    say(
                        2,
                        json!({ "generatedAt": 2, "deltaUpdate": [
                        { "op": "remove", "tracks": [{ "name": "sound" }] },
                    ] }),
                    );
                }
                group(&camera, second as u64, fragment);
                if let Some(microphone) = &microphone
                    && SOUND.contains(&second)
                {
                    group(microphone, second as u64, &sound.fragments[second]);
                }
            }
            camera.end(Close::Ended);
            microphone.unwrap().end(Close::Ended);
            catalog.end(Close::Ended);
        };
        tokio::select! {
            () = work => {}
            over = client.run() => panic!("{}", over.reason()),
        }
        client.finish().await;
    };
    let [video, audio] = std::thread::scope(|scope| {
        let followed = scope.spawn(|| {
            let video = server.wait_video(&input, &[]);
            follow_to_the_end(&server, &video)
        });
        runtime.block_on(publish);
        followed.join().unwrap()
    });
    let source = packets(&pictures.file, 'v');
    let got = hashes(&received(folder.path(), &video, 'v'));
    assert_eq!((run_of(&source, &got, "pictures"), got.len()), (0, source.len()));
    let source = packets(&sound.some(&sound.fragments[SOUND]), 'a');
    let got = hashes(&received(folder.path(), &audio, 'a'));
    // Pictures came before it was known that the sound goes: silence meanwhile (decision 121).
    let (got, silence) = got.split_at(source.len());
    assert_eq!(run_of(&source, got, "sound"), 0);
    assert!(silence.iter().all(|packet| *packet == silence[0]), "{silence:?}");
    assert!(silence.len() < 100, "{} packets of silence", silence.len());
}
