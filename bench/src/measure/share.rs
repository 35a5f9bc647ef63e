//! H9, the server's share: from the picture that ends a part to the end of the playlist that names it,
//! over HTTPS, with other streams beside it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use testkit::{MediaPlaylist, Url, wait_until};

use crate::Setup;
use crate::airwave::Airwave;
use crate::client::Client;
use crate::load_http::tls;
use crate::load_rtmp::Fleet;
use crate::report::Report;
use crate::ring::{FRAMES_PER_S, HD, Ring};
use crate::stats::Sample;

/// Streams beside the one that is watched.
const OTHERS: usize = 20;
const WINDOW: Duration = Duration::from_secs(25);

/// H9, the server's share.
pub(crate) fn run(setup: &Setup) -> Result<bool> {
    let mut valid = true;
    for part_ms in [333, 200] {
        valid &= with_parts(setup, part_ms)?;
    }
    Ok(valid)
}

fn with_parts(setup: &Setup, part_ms: u32) -> Result<bool> {
    let ring = Arc::new(Ring::make(&setup.clips, &HD)?);
    let mut report = Report::begin("H9 share")?;
    let airwave = Airwave::start(&setup.program, &[&format!("hls.part_ms={part_ms}")])?;
    let inputs = airwave.inputs(OTHERS + 1, false);
    let urls: Vec<String> = inputs.iter().map(|input| input.rtmp.clone()).collect();
    let others = Fleet::start(&ring, &urls[1..], false)?;
    let watched = Fleet::start(&ring, &urls[..1], true)?;
    let id = &inputs[0].uid;
    let url = wait_until("a playlist", 10, || airwave.media_playlist(id, false).ok());
    let tls = tls(&airwave.certificate().0)?;
    let client = Client::connect(airwave.address("https")?, tls)?;
    let mut viewer = Viewer { client, url, whole: BTreeMap::new(), newest: None };
    let start = Instant::now();
    let mut seen = Vec::new();
    while start.elapsed() < setup.window(WINDOW) {
        seen.extend(viewer.reload()?);
    }
    ensure!(others.running(), "a connection was lost");
    let sent = watched.cut()?.pictures.pop().context("no pictures")?;
    let times = seen.iter().filter_map(|&(frames, at)| {
        // The first picture behind a part ends it: pictures are counted from 0.
        let closing = sent.get(usize::try_from(frames).ok()?)?;
        Some((at - *closing).as_secs_f64() * 1e3)
    });
    let times = Sample::new(times);
    ensure!(times.len() > 10, "{} parts only", times.len());
    if times.min() < 0.0 {
        report.void("a part came before the picture that ends it");
    }
    report.set("part_ms", part_ms);
    report.set("streams", OTHERS + 1);
    report.times(&format!("last byte of a part of {part_ms} ms to its playlist"), &times);
    report.end(&setup.results)
}

/// Follows a playlist by blocking reloads.
struct Viewer {
    client: Client,
    url: Url,
    /// Pictures of each segment that was whole.
    whole: BTreeMap<u64, u64>,
    /// What to wait for: a segment and a part.
    newest: Option<(u64, usize)>,
}

impl Viewer {
    /// Waits for the next part. Answers how many pictures there are up to its end, counted from the
    /// beginning of the broadcast, and when its playlist was here.
    fn reload(&mut self) -> Result<Option<(u64, Instant)>> {
        let path = match self.newest {
            Some((segment, part)) => {
                format!("{}?_HLS_msn={segment}&_HLS_part={part}", self.url.path)
            }
            None => self.url.path.clone(),
        };
        let body = self.client.get(&path)?;
        let at = Instant::now();
        let list = MediaPlaylist::parse(&String::from_utf8_lossy(&body));
        let list = list.map_err(|problem| anyhow::anyhow!("{path}: {problem}"))?;
        let first = self.newest.is_none();
        for segment in &list.segments {
            if let Some((seconds, _)) = segment.file {
                self.whole.insert(segment.number, frames(seconds));
            }
        }
        let last = list.segments.last().context("an empty playlist")?;
        let open: f64 = match last.file {
            Some(_) => 0.0,
            None => last.parts.iter().map(|part| part.duration).sum(),
        };
        self.newest = Some(match last.file {
            Some(_) => (last.number + 1, 0),
            None => (last.number, last.parts.len()),
        });
        // What the first answer has may have been there for a while.
        Ok((!first).then(|| (self.whole.values().sum::<u64>() + frames(open), at)))
    }
}

fn frames(seconds: f64) -> u64 {
    (seconds * FRAMES_PER_S as f64).round() as u64
}
