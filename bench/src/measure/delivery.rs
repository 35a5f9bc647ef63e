//! H1, H2, H3: the same bytes from Airwave and from nginx, over HTTPS.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testkit::{MediaPlaylist, PlaylistSegment, Url, request};

use crate::Setup;
use crate::airwave::Airwave;
use crate::host::Cpu;
use crate::load_http::{Answered, Target, Viewers, tls};
use crate::load_rtmp::Fleet;
use crate::report::{Known, NGINX_PARTS, NGINX_PLAYLISTS, NGINX_SEGMENTS, Report};
use crate::ring::{BIG_SEGMENTS, Ring, SMALL_PARTS, Spec};
use crate::stats::{Sample, noise, ratios};

const WARM: Duration = Duration::from_millis(500);
const WINDOW: Duration = Duration::from_secs(4);

/// What is compared.
struct Case {
    id: &'static str,
    known: Known,
    connections: usize,
    /// Its unit is requests, not bytes: more is better.
    requests: bool,
    path: String,
    file: &'static str,
    content: Vec<u8>,
}

/// H1, H2, H3. The encoders are gone while it is measured, and their broadcasts are waited for: what
/// is served is live media in memory, and nothing else runs.
pub(crate) fn run(setup: &Setup) -> Result<bool> {
    let mut airwave = Airwave::start(&setup.program, &["ingest.reconnect_s=600"])?;
    let (segments, parts) = on_air(setup, &airwave)?;
    let cases = [
        case("H1", NGINX_SEGMENTS, 8, "segment.m4s", &segments.segment()?)?,
        case("H2", NGINX_PARTS, 16, "part.m4s", &parts.part()?)?,
        case("H3", NGINX_PLAYLISTS, 50, "live.m3u8", &parts.url)?,
    ];
    let files: Vec<(&str, &[u8])> = cases.iter().map(|c| (c.file, c.content.as_slice())).collect();
    let (certificate, key) = airwave.certificate();
    let nginx = setup.peers.nginx_static(&certificate, &key, &files)?;
    let tls = tls(&certificate)?;
    let mut valid = true;
    for case in &cases {
        let target = |address, path: &str| Target {
            address,
            tls: Some(Arc::clone(&tls)),
            path: path.to_owned(),
        };
        let our = target(airwave.address("https")?, &case.path);
        let their = target(nginx.address, &format!("/{}", case.file));
        let (our_pid, their_pid) = (airwave.pid(), nginx.pid());
        let mut report = Report::begin(case.id)?;
        report.set("bytes", case.content.len());
        report.set("connections", case.connections);
        report.say(format_args!("{} bytes, {} connections", case.content.len(), case.connections));
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let mut busy: f64 = 0.0;
        let mut rates = Vec::new();
        for _ in 0..setup.pairs() {
            for (pid, target, runs) in
                [(their_pid, &their, &mut theirs), (our_pid, &our, &mut ours)]
            {
                let (answered, cpu) = window(setup, pid, target, case.connections)?;
                busy = busy.max(answered.busy);
                ensure!(answered.requests > 0, "no answers");
                rates.push(answered.requests as f64 / answered.seconds);
                runs.push(if case.requests {
                    answered.requests as f64 / cpu.seconds
                } else {
                    cpu.seconds / (answered.bytes as f64 / 1e9)
                });
            }
        }
        let unit = case.known.unit;
        report.sample("airwave", unit, &Sample::new(ours.iter().copied()));
        report.sample("nginx", unit, &Sample::new(theirs.iter().copied()));
        report.sample("ratio", "", &ratios(&ours, &theirs));
        report.set("noise", noise(&theirs));
        report.set("generator_busy", busy);
        report.set("requests_per_s", Sample::new(rates).median());
        report.say(format_args!(
            "one run of nginx to the next: {:.1} %; the generator used up to {:.0} % of its core",
            noise(&theirs) * 100.0,
            busy * 100.0
        ));
        report.peer(&case.known, Sample::new(theirs).median());
        valid &= report.end(&setup.results)?;
    }
    Ok(valid)
}

fn window(setup: &Setup, pid: u32, target: &Target, connections: usize) -> Result<(Answered, Cpu)> {
    let mut viewers = Viewers::connect(target, connections)?;
    viewers.run(WARM)?;
    let before = Cpu::of(pid)?;
    let answered = viewers.run(setup.window(WINDOW))?;
    Ok((answered, Cpu::of(pid)? - before))
}

/// A broadcast whose encoder is gone.
struct Waiting {
    url: Url,
    list: MediaPlaylist,
}

impl Waiting {
    /// The newest segment but one: where the encoder was cut, the newest one is short.
    fn whole(&self) -> Result<&PlaylistSegment> {
        let mut whole = self.list.segments.iter().rev().filter(|s| s.file.is_some());
        whole.nth(1).context("no whole segment")
    }

    fn segment(&self) -> Result<Url> {
        let file = self.whole()?.file.as_ref().context("no file")?;
        Ok(self.url.join(&file.1))
    }

    /// A part in the middle of it.
    fn part(&self) -> Result<Url> {
        let parts = &self.whole()?.parts;
        Ok(self.url.join(&parts.get(parts.len() / 2).context("no parts")?.uri))
    }
}

fn on_air(setup: &Setup, airwave: &Airwave) -> Result<(Waiting, Waiting)> {
    let inputs = airwave.inputs(2, false);
    let start = |spec: &Spec, n: usize| -> Result<Fleet> {
        let ring = Arc::new(Ring::make(&setup.clips, spec)?);
        Fleet::start(&ring, &[inputs[n].rtmp.clone()], false)
    };
    let fleets = [start(&BIG_SEGMENTS, 0)?, start(&SMALL_PARTS, 1)?];
    // The live window of six segments is full then.
    std::thread::sleep(Duration::from_secs(17));
    for fleet in fleets {
        fleet.cut()?;
    }
    let waiting = |n: usize| -> Result<Waiting> {
        let url = airwave.media_playlist(&inputs[n].uid, false)?;
        let (_, list) = airwave.playlist(&url)?;
        Ok(Waiting { url, list })
    };
    Ok((waiting(0)?, waiting(1)?))
}

fn case(
    id: &'static str,
    known: Known,
    connections: usize,
    file: &'static str,
    url: &Url,
) -> Result<Case> {
    let answer = request("GET", url, &[], b"");
    ensure!(answer.status == 200, "{url}: {}", answer.status);
    let (path, content) = (url.path.clone(), answer.body);
    Ok(Case { id, known, connections, requests: id == "H3", path, file, content })
}
