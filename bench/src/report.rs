//! What a run says: a line of JSON for machines, words for people, and whether it counts.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::anchor;
use crate::stats::Sample;

/// How far a peer may miss its known figure before a run is void.
pub(crate) const PEER_OFF_MAX: f64 = 0.20;

/// What is known of a peer: measured with the machine at rest, by the kind of its processor, because
/// another one is faster or slower at everything.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    /// The peer, and doing what.
    pub(crate) what: &'static str,
    /// In what.
    pub(crate) unit: &'static str,
    /// How a processor's name begins, and the figure there.
    pub(crate) figures: &'static [(&'static str, f64)],
}

// Intel: family 6 model 167, November 2026, with ffmpeg as the encoder and wrk as the viewers.
// AMD: EPYC model 17 on 2026-11-26, with this program.

/// One stream of 6.85 Mbit/s.
pub(crate) const NGINX_RTMP_HLS: Known = Known {
    what: "nginx-rtmp with hls on",
    unit: "% of a core a stream",
    figures: &[("Intel", 0.48), ("AMD EPYC", 0.654)],
};
/// Over HTTPS, sendfile on.
pub(crate) const NGINX_SEGMENTS: Known = Known {
    what: "nginx, 3 MB files over HTTPS",
    unit: "CPU-s/GB",
    figures: &[("Intel", 0.741), ("AMD EPYC", 0.892)],
};
/// The same.
pub(crate) const NGINX_PARTS: Known = Known {
    what: "nginx, 100 KB files over HTTPS",
    unit: "CPU-s/GB",
    figures: &[("Intel", 0.730), ("AMD EPYC", 0.941)],
};
/// The same; 2 KB on Intel, 3.5 KB on AMD.
pub(crate) const NGINX_PLAYLISTS: Known = Known {
    what: "nginx, playlists over HTTPS",
    unit: "requests/CPU-s",
    figures: &[("Intel", 114_000.0), ("AMD EPYC", 70_000.0)],
};

impl Known {
    /// What is known of it on this kind of processor.
    fn on(&self, processor: &str) -> Option<f64> {
        let known = self.figures.iter().find(|(name, _)| processor.starts_with(name));
        known.map(|(_, figure)| *figure)
    }
}

/// How far `measured` is off, and whether that voids the run.
fn off(known: f64, measured: f64) -> (f64, bool) {
    let off = measured / known - 1.0;
    (off, off.is_nan() || off.abs() > PEER_OFF_MAX)
}

/// What is asked of a figure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Goal {
    least: bool,
    gate: f64,
    aim: Option<f64>,
}

impl Goal {
    /// No more than this; a record at the second.
    pub(crate) const fn within(gate: f64, aim: Option<f64>) -> Self {
        Self { least: false, gate, aim }
    }

    /// No more than this.
    pub(crate) fn at_most(gate: f64, aim: impl Into<Option<f64>>) -> Self {
        Self::within(gate, aim.into())
    }

    /// No less than this.
    pub(crate) fn at_least(gate: f64, aim: impl Into<Option<f64>>) -> Self {
        Self { least: true, gate, aim: aim.into() }
    }

    fn side(self) -> &'static str {
        if self.least { "at least" } else { "at most" }
    }

    fn bad_end(self, sample: &Sample) -> f64 {
        let (low, high) = sample.interval();
        if self.least { low } else { high }
    }

    fn judge(self, value: f64) -> &'static str {
        let meets = |bound: f64| if self.least { value >= bound } else { value <= bound };
        match (meets(self.gate), self.aim.map(meets)) {
            (true, Some(true)) => "met, aim too",
            (true, Some(false)) => "met, aim missed",
            (true, None) => "met",
            (false, _) => "missed",
        }
    }
}

/// Gathers what one measure has found.
pub(crate) struct Report {
    id: &'static str,
    fields: serde_json::Map<String, Value>,
    lines: String,
    void: Vec<String>,
    anchor: f64,
}

impl Report {
    /// Begins a run: the machine is looked at first.
    pub(crate) fn begin(id: &'static str) -> Result<Self> {
        let anchor = anchor::aes_gb_per_s()?;
        Ok(Self {
            id,
            fields: serde_json::Map::new(),
            lines: String::new(),
            void: Vec::new(),
            anchor,
        })
    }

    /// A figure or a setting.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.fields.insert(name.to_owned(), value.into());
    }

    /// Several values of one figure; the median with its spread for people.
    pub(crate) fn sample(&mut self, name: &str, unit: &str, sample: &Sample) {
        let (low, high) = sample.interval();
        let value = json!({
            "median": sample.median(), "min": sample.min(), "max": sample.max(),
            "low": low, "high": high, "n": sample.len(),
        });
        self.set(name, value);
        self.say(format_args!(
            "{name}: {} {unit} (90 % of medians {} to {}; {} to {} in {} runs)",
            short(sample.median()),
            short(low),
            short(high),
            short(sample.min()),
            short(sample.max()),
            sample.len()
        ));
    }

    /// The same, and whether it is what it should be: by the bad end of the interval.
    pub(crate) fn judged(
        &mut self,
        (id, goal): (&str, Goal),
        name: &str,
        unit: &str,
        sample: &Sample,
    ) {
        self.sample(name, unit, sample);
        self.goal(&format!("{id}: {name}"), goal.bad_end(sample), goal);
    }

    /// Many times of one event.
    pub(crate) fn times(&mut self, name: &str, sample: &Sample) {
        let value = json!({
            "p50": sample.median(), "p90": sample.percentile(0.9), "p99": sample.percentile(0.99),
            "max": sample.max(), "n": sample.len(),
        });
        self.set(name, value);
        self.say(format_args!(
            "{name}: p50 {} ms, p90 {} ms, p99 {} ms, max {} ms of {}",
            short(sample.median()),
            short(sample.percentile(0.9)),
            short(sample.percentile(0.99)),
            short(sample.max()),
            sample.len()
        ));
    }

    /// A figure beside its goal.
    pub(crate) fn goal(&mut self, name: &str, value: f64, goal: Goal) {
        let (words, Goal { gate, aim, .. }) = (goal.judge(value), goal);
        self.set(
            &format!("{name}, goal"),
            json!({ "value": value, "gate": gate, "aim": aim, "is": words }),
        );
        let aim = aim.map(|aim| format!(", aim {aim}")).unwrap_or_default();
        self.say(format_args!(
            "{name}: {}, goal {} {gate}{aim}: {words}",
            short(value),
            goal.side()
        ));
    }

    /// A line for people.
    pub(crate) fn say(&mut self, line: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.lines, "  {line}");
    }

    /// The run does not count, and why.
    pub(crate) fn void(&mut self, why: impl Into<String>) {
        self.void.push(why.into());
    }

    /// A peer's figure beside the known one.
    pub(crate) fn peer(&mut self, known: &Known, measured: f64) {
        let (what, unit) = (known.what, known.unit);
        let figure = known.on(&crate::host::processor());
        self.set(
            "peer",
            json!({ "what": what, "known": figure, "measured": measured, "unit": unit }),
        );
        let Some(figure) = figure else {
            let measured = short(measured);
            self.say(format_args!(
                "{what}: {measured} {unit}; nothing is known of it on this processor"
            ));
            return;
        };
        let (off, void) = off(figure, measured);
        let off = off * 100.0;
        self.say(format_args!(
            "{what}: {} {unit}, {off:+.0} % off the known {figure}",
            short(measured)
        ));
        if void {
            self.void(format!("{what} is {off:+.0} % off its known figure"));
        }
    }

    /// Looks at the machine again, appends the line and prints the words. Whether the run counts.
    pub(crate) fn end(mut self, results: &Results) -> Result<bool> {
        let after = anchor::aes_gb_per_s()?;
        if !anchor::steady(self.anchor, after) {
            self.void(format!(
                "the machine changed: AES at {:.2}, then {after:.2} GB/s",
                self.anchor
            ));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let line = json!({
            "id": self.id,
            "date": media::date::date_time(now * 1000),
            "commit": results.commit,
            "machine": crate::host::class(),
            "quick": results.quick,
            "aes_gb_per_s": [self.anchor, after],
            "void": self.void,
            "figures": self.fields,
        });
        results.append(&line)?;
        for why in &self.void {
            let _ = writeln!(self.lines, "  VOID: {why}");
        }
        results.print(&format!("{}\n{}", self.id, self.lines))?;
        Ok(self.void.is_empty())
    }
}

/// Where lines go.
#[derive(Debug, Clone)]
pub(crate) struct Results {
    /// The folder of the files, one a day.
    pub(crate) folder: PathBuf,
    /// What was measured.
    pub(crate) commit: String,
    /// In a hurry: fewer and shorter runs.
    pub(crate) quick: bool,
}

impl Results {
    fn append(&self, line: &Value) -> Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        let date = line["date"].as_str().and_then(|d| d.get(..10)).context("a date")?;
        let path = self.folder.join(format!("{date}.jsonl"));
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
        writeln!(file, "{line}")?;
        Ok(())
    }

    fn print(&self, text: &str) -> Result<()> {
        Ok(std::io::stdout().write_all(text.as_bytes())?)
    }
}

/// Three figures that matter.
pub(crate) fn short(value: f64) -> String {
    let digits = match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_far_from_its_known_figure_voids_the_run() {
        for (measured, void) in [
            (0.48, false),
            (0.48 * 1.19, false),
            (0.48 * 1.21, true),
            (0.48 * 0.81, false),
            (0.48 * 0.79, true),
            (0.0, true),
            (f64::NAN, true),
        ] {
            assert_eq!(off(0.48, measured).1, void, "{measured}");
        }
    }

    #[test]
    fn a_goal_is_met_by_the_bad_end_of_the_interval() {
        let goal = Goal::within(1.0, Some(0.5));
        for (values, expect) in [
            ([0.4; 3], "met, aim too"),
            ([0.9; 3], "met, aim missed"),
            ([0.4, 0.4, 1.1], "missed"),
            ([f64::NAN; 3], "missed"),
        ] {
            assert_eq!(goal.judge(goal.bad_end(&Sample::new(values))), expect, "{values:?}");
        }
    }

    #[test]
    fn what_is_known_is_of_one_kind_of_processor() {
        for (processor, expect) in [
            ("Intel(R) Xeon(R)", Some(0.48)),
            ("AMD EPYC 9R14", Some(0.654)),
            ("AMD Ryzen 7", None),
            ("", None),
        ] {
            assert_eq!(NGINX_RTMP_HLS.on(processor), expect, "{processor}");
        }
    }

    #[test]
    fn each_run_is_one_line_more() {
        let folder = tempfile::tempdir().unwrap();
        let results =
            Results { folder: folder.path().join("r"), commit: "abc".to_owned(), quick: true };
        for n in 0..2 {
            results.append(&json!({ "date": "2026-11-26T00:00:00.000Z", "n": n })).unwrap();
        }
        let text = std::fs::read_to_string(folder.path().join("r/2026-11-26.jsonl")).unwrap();
        let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[1]["n"], 1);
    }

    #[test]
    fn a_goal_is_met_on_its_side() {
        for (goal, value, expect) in [
            (Goal::at_most(1.0, 0.5), 1.0, "met, aim missed"),
            (Goal::at_most(1.0, 0.5), 0.5, "met, aim too"),
            (Goal::at_most(1.0, None), 0.5, "met"),
            (Goal::at_most(1.0, 0.5), 1.01, "missed"),
            (Goal::at_least(1.0, 2.0), 0.9, "missed"),
            (Goal::at_least(1.0, 2.0), 2.0, "met, aim too"),
            (Goal::at_least(1.0, 2.0), f64::NAN, "missed"),
        ] {
            assert_eq!(goal.judge(value), expect, "{goal:?} {value}");
        }
    }

    #[test]
    fn three_figures() {
        for (value, text) in
            [(1234.5, "1234"), (12.345, "12.3"), (1.2345, "1.23"), (0.12345, "0.123")]
        {
            assert_eq!(short(value), text);
        }
    }
}
