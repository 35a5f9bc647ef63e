//! A disk that is full, and one that can't be written any more: the broadcast goes on, what is not recorded
//! is a gap, words say so, and with room there is recording again.

use control::VideoUid;
use serde_json::Value;
use testkit::{
    Clip, ClipSpec, Follower, Input, Mount, Server, can_mount, check, make_image, try_request,
    wait_until,
};

use crate::AIRWAVE;
use crate::aftermath::{Aftermath, Known, Source};
use crate::codecs::replay;
use crate::kills::acknowledged;

/// MiB of the whole disk, and GB of it that must stay free.
const DISK_MIB: u32 = 24;
const SETTINGS: [&str; 4] = [
    "hls.segment_ms=1000",
    "limits.cache_mb=3",
    "limits.recorder_patience_s=1",
    "retention.min_free_gb=0.008",
];

/// Of about a megabit, so that memory soon has no more of what is lost.
fn clip() -> Clip {
    let spec = ClipSpec { size: (640, 360), group: 30, ..ClipSpec::plain("browser", 60) };
    Clip::make(&spec)
}

struct Rig {
    disk: Mount,
    server: Server,
    input: Input,
    video: String,
    live: Follower,
    encoder: testkit::Child,
}

impl Rig {
    /// On the air, with something recorded.
    fn start(disk: Mount, speed: f64) -> Self {
        let server = Server::start_in(AIRWAVE, &disk.path().join("data"), &SETTINGS);
        let input = server.input();
        let encoder = clip().publish_at(speed, &input.rtmp, -1);
        let video = server.wait_live(&input);
        let path = format!("/{video}/manifest/video.cmaf.m3u8");
        wait_until("a list", 20, || (server.get(&path).status == 200).then_some(()));
        let live = Follower::new(server.url(&path));
        let mut rig = Self { disk, server, input, video, live, encoder };
        rig.watch(4);
        rig
    }

    /// Watches so many more segments.
    fn watch(&mut self, segments: usize) {
        let wanted = self.live.segments.len() + segments;
        while self.live.segments.len() < wanted {
            assert!(!self.live.reload().ended, "the broadcast ended");
        }
    }

    fn admin(&self, path: &str) -> String {
        let authority = self.server.addresses["admin"].as_str().unwrap().to_owned();
        let url = testkit::Url { authority, path: path.to_owned() };
        let answer = try_request("GET", &url, &[], b"").unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.text()
    }

    fn metric(&self, name: &str) -> u64 {
        let text = self.admin("/metrics");
        let line = text.lines().find_map(|l| l.strip_prefix(&format!("airwave_{name} ")));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }

    fn advice(&self) -> String {
        let path = format!("/stream/live_inputs/{}", self.input.uid);
        let input: Value = self.server.api("GET", &path, None).json();
        input["result"]["health"]["advice"].to_string()
    }

    /// Ends the broadcast, and looks at everything that is left.
    fn check_to_the_end(mut self) {
        // The live list knows the gaps as soon as memory has none of it any more.
        let dvr = format!("/{}/manifest/video.cmaf.m3u8?dvrEnabled=true", self.video);
        let told: Vec<u64> = loop {
            // Whoever does not watch on misses what leaves the window.
            assert!(!self.live.reload().ended, "the broadcast ended before the gaps were listed");
            let list = testkit::MediaPlaylist::parse(&self.server.get(&dvr).text()).unwrap();
            let gaps = list.segments.iter().filter(|s| s.gap).map(|s| s.number);
            let gaps: Vec<u64> = gaps.collect();
            if !gaps.is_empty() {
                break gaps;
            }
        };
        self.watch(4);
        self.encoder.terminate();
        while !self.live.reload().ended {}
        self.encoder.wait(60);
        // The live picture is whole.
        self.live.numbers();

        let replay = replay(&self.server, &self.video, "video.cmaf");
        assert_eq!(check(&replay.versions[0]), []);
        let gaps: Vec<u64> =
            replay.newest.segments.iter().filter(|s| s.gap).map(|s| s.number).collect();
        assert!(told.iter().all(|number| gaps.contains(number)), "{told:?} {gaps:?}");
        for (number, (_, bytes)) in &self.live.segments {
            match replay.segments.get(number) {
                Some((_, recorded)) => assert!(recorded == bytes, "segment {number}"),
                None => assert!(gaps.contains(number), "segment {number} is silently missing"),
            }
        }
        let last = *replay.segments.keys().next_back().unwrap();
        assert!(last > told[told.len() - 1], "recorded again after the gaps {gaps:?}");
        let data = self.disk.path().join("data");
        let uid = VideoUid::parse(&self.video).unwrap();
        drop(self.server);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (source, mut known) = (Source::new(clip().path()), Known::default());
            let left = Aftermath::open(&data);
            left.check(&uid, &source, &mut known).await;
            left.check_tidy(&uid).await;
        });
    }
}

#[test]
fn a_full_disk_pauses_recording_and_nothing_else() {
    if !can_mount() {
        return;
    }
    let mut rig = Rig::start(Mount::memory(DISK_MIB).unwrap(), 2.0);
    assert_eq!(rig.metric("recording_paused"), 0);
    assert!(!rig.advice().contains("record"), "{}", rig.advice());
    // Somebody else fills the disk, to the last byte.
    let filler = rig.disk.path().join("filler");
    let _ = std::fs::write(&filler, vec![1; (DISK_MIB as usize) << 20]);
    while rig.metric("recording_paused") == 0 {
        rig.watch(1);
    }
    rig.watch(8);
    assert!(rig.admin("/readyz").contains("recording is paused: the disk has 0.0 MB free"));
    assert!(rig.advice().contains("recording is paused"), "{}", rig.advice());
    let refused = rig.server.api("POST", "/stream/live_inputs", Some(&serde_json::json!({})));
    assert!([200, 507].contains(&refused.status), "{}", refused.text());
    std::fs::remove_file(&filler).unwrap();
    while rig.metric("recording_paused") == 1 {
        rig.watch(1);
    }
    rig.watch(8);
    assert!(rig.metric("recording_segments_lost_total") >= 4);
    assert!(rig.advice().contains("could not be recorded"), "{}", rig.advice());
    rig.check_to_the_end();
}

#[test]
fn a_disk_that_is_filled_by_recordings_has_the_oldest_deleted() {
    if !can_mount() {
        return;
    }
    let disk = Mount::memory(DISK_MIB).unwrap();
    let (server, videos) = two_recordings(&disk);
    fill(&disk, &server, &videos);
    wait_until("the oldest to be deleted", 30, || {
        (server.get(&format!("/{}/lifecycle", videos[0])).status == 404).then_some(())
    });
    assert_eq!(server.lifecycle(&videos[1])["live"], false, "the newest stays");
}

#[test]
fn where_a_backup_has_the_recordings_no_more_are_deleted_in_vain() {
    if !can_mount() {
        return;
    }
    let disk = Mount::memory(DISK_MIB).unwrap();
    let (server, videos) = two_recordings(&disk);
    let mut backup = std::process::Command::new(AIRWAVE);
    backup.arg("backup").arg(disk.path().join("backup")).arg("--data").arg(server.data());
    let output = backup.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    fill(&disk, &server, &videos);
    let is_there = |video| server.get(&format!("/{video}/lifecycle")).status == 200;
    let words = "freed next to nothing: a backup on the same disk";
    wait_until("words about it", 30, || {
        assert!(is_there(&videos[1]), "the newest stays");
        server.admin("/readyz").text().contains(words).then_some(())
    });
    assert!(!is_there(&videos[0]) && is_there(&videos[1]));
}

/// A server on this disk, and what it has recorded.
fn two_recordings(disk: &Mount) -> (Server, Vec<String>) {
    let server = Server::start_in(AIRWAVE, &disk.path().join("data"), &SETTINGS);
    let input = server.input();
    let mut videos = Vec::new();
    for _ in 0..2 {
        let mut encoder = clip().publish_at(60.0, &input.rtmp, 1);
        let video = server.wait_video(&input, &videos);
        assert!(encoder.wait(60).success(), "{}", encoder.output());
        server.wait_ready(&video);
        videos.push(video);
    }
    (server, videos)
}

/// Leaves a megabyte less than must be free, which the first of the recordings has.
fn fill(disk: &Mount, server: &Server, videos: &[String]) {
    let filler = disk.path().join("filler");
    let free = 8_000_000 - 1_000_000;
    let size = server.api("GET", &format!("/stream/{}", videos[0]), None).json();
    let size = size["result"]["size"].as_u64().unwrap();
    assert!(size > 1_100_000, "a clip of {size} bytes frees enough");
    let used = disk_free(disk.path()).saturating_sub(free);
    std::fs::write(&filler, vec![1; usize::try_from(used).unwrap()]).unwrap();
}

fn disk_free(path: &std::path::Path) -> u64 {
    let out = std::process::Command::new("df").args(["-B1", "--output=avail"]).arg(path).output();
    let text = String::from_utf8(out.unwrap().stdout).unwrap();
    text.lines().last().unwrap().trim().parse().unwrap()
}

#[test]
fn a_disk_that_becomes_read_only_leaves_the_broadcast_and_what_was_recorded() {
    if !can_mount() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("disk");
    make_image(&image, 64);
    let mut rig = Rig::start(Mount::image(&image).unwrap(), 1.0);
    let said = acknowledged(&rig.server, &rig.video).unwrap();
    // What a file system does when its disk fails.
    rig.disk.remount("abort");
    rig.watch(10);
    let refused = rig.server.api("POST", "/stream/live_inputs", Some(&serde_json::json!({})));
    assert!(refused.status >= 500, "{}", refused.text());
    assert_eq!(rig.server.get(&format!("/{}/lifecycle", rig.video)).status, 200);
    while !rig.advice().contains("could not be recorded") {
        rig.watch(1);
    }
    // Shown, and nobody could reserve them.
    let shown = rig.live.newest.segments.last().unwrap().number;
    let Rig { disk, mut server, mut encoder, video, input, .. } = rig;
    server.child().kill();
    encoder.kill();
    drop((server, disk));

    // Repaired, mounted again: everything that was acknowledged is there, and recording goes on.
    let disk = Mount::image(&image).unwrap();
    let data = disk.path().join("data");
    let uid = VideoUid::parse(&video).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (source, mut known) = (Source::new(clip().path()), Known::default());
        let left = Aftermath::open(&data);
        assert!(left.bytes(&uid).await >= said, "{said} bytes were acknowledged");
        left.check(&uid, &source, &mut known).await;
    });
    let server = Server::start_in(AIRWAVE, &data, &SETTINGS);
    assert_eq!(server.lifecycle(&video)["live"], true, "the encoder is waited for");
    let key = input.rtmp.rsplit('/').next().unwrap();
    let rtmp = format!("rtmp://{}/live/{key}", server.addresses["rtmp"].as_str().unwrap());
    let _encoder = clip().publish_at(1.0, &rtmp, -1);
    let path = format!("/{video}/manifest/video.cmaf.m3u8");
    let (first, list) = wait_until("a segment of its second life", 30, || {
        let list = testkit::MediaPlaylist::parse(&server.get(&path).text()).ok()?;
        let again = |s: &&testkit::PlaylistSegment| {
            let uri = s.file.as_ref().map(|(_, uri)| uri.rsplit('/').next().unwrap());
            uri.is_some_and(|name| !name.starts_with("1-"))
        };
        let first = list.segments.iter().find(again)?.number;
        Some((first, list))
    });
    assert!(first > shown, "{first} was shown before, up to {shown}: {list:?}");
}

/// A disk without room: levels play as without one, and it is told once, not of each segment. With room they are kept again.
#[test]
fn levels_on_a_full_disk_play_and_are_told_of_once() {
    if !can_mount() {
        return;
    }
    let disk = Mount::memory(DISK_MIB).unwrap();
    let floor = "retention.min_free_gb=0";
    let settings = [crate::levels::LADDER, "hls.segment_ms=1000", floor];
    let mut server = Server::start_in(AIRWAVE, &disk.path().join("data"), &settings);
    let input = server.input();
    let _encoder = clip().publish(&input.rtmp, -1);
    server.wait_live(&input);
    crate::levels::with_levels(&server, &input.uid);
    let level = server.url(&format!("/{}/manifest/video.96p.cmaf.m3u8", input.uid));
    let mut level = Follower::of_level(level);
    let kept = |server: &Server| server.metric("level_disk_bytes");
    let mut watch = |server: &mut Server, words: &str, segments: usize| {
        wait_until(words, 60, || {
            level.reload();
            server.child().output().contains(words).then_some(())
        });
        let wanted = level.segments.len() + segments;
        while level.segments.len() < wanted {
            level.reload();
        }
    };
    wait_until("a level on the disk", 30, || {
        watch(&mut server, "", 1);
        (kept(&server) > 0).then_some(())
    });
    // Somebody else fills it, to the last byte.
    let filler = disk.path().join("filler");
    let _ = std::fs::write(&filler, vec![1; (DISK_MIB as usize) << 20]);
    watch(&mut server, "levels are not kept on the disk", 4);
    std::fs::remove_file(&filler).unwrap();
    watch(&mut server, "levels are kept on the disk again", 1);
    assert_eq!(server.child().output().matches("levels are not kept on the disk").count(), 1);
}
