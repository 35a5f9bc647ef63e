//! H8: what a TLS handshake and one small request cost, beside nginx with the same certificate; and with a ticket of
//! an earlier one.

use std::sync::Arc;

use anyhow::Result;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::client::Resumption;

use crate::Setup;
use crate::airwave::Airwave;
use crate::client::Client;
use crate::host::Cpu;
use crate::load_http::tls;
use crate::report::Report;
use crate::stats::{Sample, noise, ratios};

/// Handshakes of one run.
const HANDSHAKES: usize = 2_000;

/// H8.
pub(crate) fn run(setup: &Setup) -> Result<bool> {
    let mut airwave = Airwave::start(&setup.program, &[])?;
    let (certificate, key) = airwave.certificate();
    let nginx =
        setup.peers.nginx_static(&certificate, &key, &[("time", b"2026-11-26T00:00:00.000Z")])?;
    let (our, their) = (airwave.address("https")?, nginx.address);
    let (our_pid, their_pid) = (airwave.pid(), nginx.pid());
    let trusting = tls(&certificate)?;
    let mut full = ClientConfig::clone(&trusting);
    full.resumption = Resumption::disabled();
    let mut valid = true;
    for (id, tls) in [("H8", Arc::new(full)), ("H8, resumed", trusting)] {
        let mut report = Report::begin(id)?;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let count = if setup.results.quick { HANDSHAKES / 4 } else { HANDSHAKES };
        for _ in 0..setup.pairs() {
            for (pid, address, runs) in [(their_pid, their, &mut theirs), (our_pid, our, &mut ours)]
            {
                let before = Cpu::of(pid)?;
                for _ in 0..count {
                    Client::connect(address, tls.clone())?.get("/time")?;
                }
                runs.push((Cpu::of(pid)? - before).seconds * 1e6 / count as f64);
            }
        }
        report.sample("airwave", "us", &Sample::new(ours.iter().copied()));
        report.sample("nginx", "us", &Sample::new(theirs.iter().copied()));
        report.sample("ratio", "", &ratios(&ours, &theirs));
        report.set("noise", noise(&theirs));
        valid &= report.end(&setup.results)?;
    }
    Ok(valid)
}
