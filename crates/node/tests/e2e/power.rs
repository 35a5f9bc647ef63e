//! Power cuts: the server is killed, and the disk is what was synced to it. The data directory is a file
//! system in an image; what is written to it stays in the page cache of that file system until somebody
//! syncs, so a copy of the image at the moment of the kill is what a disk has after a power cut. The next
//! life is on the copy, after the file system has replayed its journal.
//!
//! What this proves: every sync that an acknowledgement needs is made: of objects, of their names, of the
//! folders above, and of SQLite's log (`synchronous=FULL`). What it does not: a disk that lies about its
//! syncs, or writes that a real disk would reorder within one sync; ext4 alone is tried.

use std::path::{Path, PathBuf};
use std::process::Command;

use control::VideoUid;
use testkit::{Input, Mount, Server, can_mount, make_image, wait_until};

use crate::AIRWAVE;
use crate::aftermath::{Aftermath, Known, Source};
use crate::kills::{SETTINGS, SPEED, acknowledged, check_replay, clip, next_random};

/// The image is smaller than the floor of free space.
fn settings() -> Vec<&'static str> {
    [&SETTINGS[..], &["retention.min_free_gb=0"]].concat()
}

/// How many power cuts: more in a soak run.
fn rounds() -> u32 {
    let said = std::env::var("AIRWAVE_POWER_ROUNDS");
    said.ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(4)
}

/// What the disk has: a copy of the image as it is.
fn cut_power(image: &Path, round: u32) -> PathBuf {
    let copy = image.with_file_name(format!("disk-{}", round + 1));
    let copied = Command::new("cp").arg("--sparse=always").arg(image).arg(&copy).status();
    assert!(copied.is_ok_and(|status| status.success()), "can't copy the image");
    copy
}

#[test]
fn after_power_cuts_everything_acknowledged_is_there() {
    if !can_mount() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut image = folder.path().join("disk-0");
    make_image(&image, 256);
    let (source, mut known) = (Source::new(clip().path()), Known::default());
    let (mut input, mut video, mut random): (Option<Input>, Option<String>, u64) =
        (None, None, 0x2545_f491_4f6c_dd1d);
    let mut cuts = 0;
    for round in 0..rounds() {
        let disk = Mount::image(&image).unwrap();
        let data = disk.path().join("data");
        let mut server = Server::start_in(AIRWAVE, &data, &settings());
        let input = input.get_or_insert_with(|| server.input());
        let address = server.addresses["rtmp"].as_str().unwrap();
        let rtmp = format!("rtmp://{address}/live/{}", input.key);
        let mut encoder = clip().publish_at(SPEED, &rtmp, -1);
        let video = video.get_or_insert_with(|| server.wait_live(input));
        let (begun, more) = (acknowledged(&server, video).unwrap(), next_random(&mut random));
        let wanted = begun + 150_000 + more % 250_000;
        let said = wait_until("acknowledged segments", 60, || {
            acknowledged(&server, video).filter(|there| *there >= wanted)
        });
        // Nobody syncs this: it must be gone, or nothing here is a power cut.
        std::fs::write(disk.path().join("unsynced"), [7; 100_000]).unwrap();
        server.child().kill();
        let copy = cut_power(&image, round);
        encoder.kill();
        drop((server, disk));
        let _ = std::fs::remove_file(std::mem::replace(&mut image, copy));

        let disk = Mount::image(&image).unwrap();
        let canary = std::fs::read(disk.path().join("unsynced")).unwrap_or_default();
        cuts += u32::from(canary != [7; 100_000]);
        let uid = VideoUid::parse(video).unwrap();
        runtime.block_on(async {
            let left = Aftermath::open(&disk.path().join("data"));
            let there = left.bytes(&uid).await;
            assert!(there >= said, "{there} bytes of {said} that were acknowledged");
            left.check(&uid, &source, &mut known).await;
        });
    }
    println!("{} cuts, after {cuts} of them what nobody had synced was gone", rounds());
    // The kernel may write back what it likes when it likes, but hardly each time within milliseconds.
    assert!(cuts > 0, "what nobody synced was on the disk each time");
    let disk = Mount::image(&image).unwrap();
    let (input, video) = (input.unwrap(), video.unwrap());
    let server = Server::start_in(AIRWAVE, &disk.path().join("data"), &settings());
    let address = server.addresses["rtmp"].as_str().unwrap();
    let rtmp = format!("rtmp://{address}/live/{}", input.key);
    let mut encoder = clip().publish_at(4.0 * SPEED, &rtmp, 1);
    assert!(encoder.wait(30).success(), "{}", encoder.output());
    server.wait_ready(&video);
    check_replay(&server, &video, &known, folder.path());
    drop(server);
    runtime.block_on(async {
        let uid = VideoUid::parse(&video).unwrap();
        Aftermath::open(&disk.path().join("data")).check_tidy(&uid).await;
    });
}
