//! F1: from exec to the first answer, with an existing data directory: a usual one, and one of ten
//! thousand inputs and a million committed segments.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use control::{
    Claim, ClaimMode, Control, End, Epoch, InputSettings, InputUid, MasterKey, NodeId, PartRecord,
    SegmentRecord, SessionId, TrackRecord, VideoUid,
};
use testkit::Server;

use crate::Setup;
use crate::host::{memory_mb, unpin};
use crate::peer::free_port;
use crate::report::{Report, short};
use crate::stats::Sample;

const ROUNDS: usize = 20;
const INPUTS: u64 = 10_000;
const BROADCASTS: u64 = 1_000;
const SEGMENTS: u64 = 1_000;
const GIVEN_UP: Duration = Duration::from_secs(20);

/// F1.
pub(crate) fn run(setup: &Setup) -> Result<bool> {
    unpin()?;
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let program = setup.program.display().to_string();
    let mut first = Server::start_in(&program, &data, &[]);
    first.child().terminate();
    first.child().wait(10);
    drop(first);
    let mut report = Report::begin("F1")?;
    let rounds = if setup.results.quick { 5 } else { ROUNDS };
    measure(&mut report, &setup.program, &data, rounds, "exec to the first answer")?;
    let mut valid = report.end(&setup.results)?;

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (inputs, broadcasts) =
        if setup.results.quick { (1_000, 100) } else { (INPUTS, BROADCASTS) };
    let (begun, mut report) = (Instant::now(), Report::begin("F1 full")?);
    runtime.block_on(fill(&data, inputs, broadcasts))?;
    report.say(format_args!(
        "filled {inputs} inputs and {} segments in {} s",
        broadcasts * SEGMENTS,
        short(begun.elapsed().as_secs_f64())
    ));
    report.set("inputs", inputs);
    report.set("segments", broadcasts * SEGMENTS);
    let name = "exec to the first answer, full index";
    measure(&mut report, &setup.program, &data, rounds, name)?;
    valid &= report.end(&setup.results)?;
    Ok(valid)
}

fn measure(
    report: &mut Report,
    program: &Path,
    data: &Path,
    rounds: usize,
    name: &str,
) -> Result<()> {
    let mut times = Vec::new();
    let mut resident: f64 = 0.0;
    for _ in 0..rounds {
        let (ms, mb) = start(program, data)?;
        times.push(ms);
        resident = resident.max(mb);
    }
    report.times(name, &Sample::new(times));
    report.set("resident_mb", resident);
    report.say(format_args!("{resident:.1} MB resident at the first answer"));
    Ok(())
}

/// Milliseconds from exec to the whole of the first answer, and memory then.
fn start(program: &Path, data: &Path) -> Result<(f64, f64)> {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
    let mut command = Command::new(program);
    command.arg("serve").arg("--data").arg(data);
    command.args(["--set", &format!("http.listen={address}"), "--set", "log.level=warn"]);
    for listener in ["https", "rtmp", "rtmps", "quic", "admin"] {
        command.args(["--set", &format!("{listener}.listen=127.0.0.1:0")]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let begun = Instant::now();
    let mut child = command.spawn().context("starting the server")?;
    let answered = first_answer(address, begun);
    let ms = begun.elapsed().as_secs_f64() * 1e3;
    let mb = memory_mb(child.id()).map_or(f64::NAN, |(resident, _)| resident);
    let stopped = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    child.wait()?;
    ensure!(stopped.is_ok_and(|s| s.success()), "the server could not be stopped");
    answered?;
    Ok((ms, mb))
}

fn first_answer(address: SocketAddr, begun: Instant) -> Result<()> {
    let mut socket = loop {
        match TcpStream::connect(address) {
            Ok(socket) => break socket,
            Err(error) if begun.elapsed() > GIVEN_UP => bail!("nobody listens: {error}"),
            // Leaves the cores to the server.
            Err(_) => std::thread::sleep(Duration::from_micros(100)),
        }
    };
    socket.set_read_timeout(Some(GIVEN_UP))?;
    socket.write_all(b"GET /live.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer)?;
    ensure!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    Ok(())
}

/// Puts inputs and finished broadcasts into the index of a data directory that nobody uses now. None
/// of the records is sealed into a page: that is the most that the database can have to hold.
async fn fill(data: &Path, inputs: u64, broadcasts: u64) -> Result<()> {
    let key = std::fs::read(data.join("master.key")).context("the data directory's key")?;
    let key: [u8; 32] = key.try_into().ok().context("the key has 32 bytes")?;
    let control = Control::open(&data.join("airwave.db"), MasterKey::new(&key))?;
    let control = std::sync::Arc::new(control);
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..inputs {
        let control = control.clone();
        tasks.spawn(async move {
            let uid = create(&control, n).await?;
            if n < broadcasts { broadcast(&control, uid, n).await } else { Ok(()) }
        });
        // Few at a time: each waits for the disk, and shares its sync with the others.
        while tasks.len() >= 64 {
            tasks.join_next().await.context("a task")???;
        }
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

async fn create(control: &Control, n: u64) -> Result<InputUid> {
    let mut random = [0; 15];
    random[..8].copy_from_slice(&n.to_be_bytes());
    let uid = InputUid::from_random(random);
    let mut settings = InputSettings::default();
    settings.meta.insert("name".to_owned(), format!("Input {n}").into());
    let mut keys = [0x5a; control::KEY_RANDOM_BYTES];
    for chunk in keys.chunks_exact_mut(8) {
        chunk.copy_from_slice(&n.to_be_bytes());
    }
    for (i, byte) in keys.iter_mut().enumerate() {
        // Each key of an input is another one.
        *byte ^= i as u8;
    }
    control.create_input(uid.clone(), settings, keys, n).await?;
    Ok(uid)
}

async fn broadcast(control: &Control, input: InputUid, n: u64) -> Result<()> {
    let mut random = [1; 16];
    random[..8].copy_from_slice(&n.to_be_bytes());
    let claim = Claim {
        input,
        node: NodeId::parse("local")?,
        session: SessionId::parse(&format!("{n:032x}"))?,
        mode: ClaimMode::TakeOver,
        now_ms: n,
        resume_within_ms: 1_000,
        new_video: VideoUid::from_random(random),
    };
    let claimed = control.claim(claim).await?;
    let (first, epoch) = (claimed.first_segment, claimed.owned.epoch);
    let mut number = first;
    while number < first + SEGMENTS {
        let end = (number + control::limits::COMMIT_RECORDS as u64).min(first + SEGMENTS);
        let records = (number..end).map(|number| record(number, first, epoch)).collect();
        control.commit(&claimed.owned, records, end).await?;
        number = end;
    }
    control.release(&claimed.owned, End::Goodbye, n + 1).await?;
    Ok(())
}

/// What the recorder commits of 2 s of pictures and sound in six parts each.
fn record(number: u64, first: u64, epoch: Epoch) -> SegmentRecord {
    let start = number - first;
    let track = |name: &str, timescale: u32, bytes: u64, offset: u64| TrackRecord {
        name: name.to_owned(),
        timescale,
        start: start * 2 * u64::from(timescale),
        wall_clock_ms: start * 2_000,
        init: 7,
        part_target_ms: 334,
        target_duration: 2,
        offset,
        parts: (0..6)
            .map(|part| PartRecord {
                duration: timescale / 3,
                bytes: bytes / 6,
                independent: part == 0,
                last: part == 5,
                target_known: true,
                key_bytes: (part == 0).then_some(60_000),
            })
            .collect(),
        ..TrackRecord::default()
    };
    let (video, audio) = (1_680_000, 32_000);
    SegmentRecord {
        number,
        epoch,
        object: Some(number),
        duration_ms: 2_000,
        bytes: video + audio,
        wall_clock_ms: start * 2_000,
        tracks: vec![
            track("video.cmaf", 90_000, video, 0),
            track("audio.cmaf", 48_000, audio, video),
        ],
        ..SegmentRecord::default()
    }
}
