//! The log of one MoQ session (qlog, JSON text sequences) as lines for people, and its times in a few numbers.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, BufRead, Read, Write};

use serde_json::Value;

/// The longest record that is read: more than a control message with all that can stand in it.
const RECORD_BYTES_MAX: u64 = 1 << 20;

/// RFC 7464 §2.2: begins a record.
const SEPARATOR: u8 = 0x1e;

/// A log that is read.
#[derive(Default)]
pub(super) struct Timeline {
    /// Names of tracks, by the request and by the stream that asks for them.
    requests: BTreeMap<u64, String>,
    streams: BTreeMap<u64, String>,
    /// Names of tracks, by their alias.
    aliases: BTreeMap<u64, String>,
    /// What objects on a stream belong to.
    subgroups: BTreeMap<u64, (String, Value)>,
    tracks: BTreeMap<String, Track>,
}

/// What came of a track.
#[derive(Default)]
struct Track {
    objects: u64,
    bytes: u64,
    groups: u64,
    ages_ms: Vec<f64>,
    /// Between two objects.
    gaps_ms: Vec<f64>,
    last_ms: Option<f64>,
}

impl Timeline {
    /// Prints all of it.
    pub(super) fn print(mut self, mut from: impl BufRead, to: &mut impl Write) -> io::Result<()> {
        let (mut record, mut first) = (Vec::new(), true);
        loop {
            record.clear();
            let read = (&mut from).take(RECORD_BYTES_MAX).read_until(SEPARATOR, &mut record)?;
            if read == 0 {
                break;
            }
            if record.last() == Some(&SEPARATOR) {
                record.pop();
            } else if read as u64 == RECORD_BYTES_MAX {
                return Err(io::Error::other("this is no log of a session (qlog, JSON-SEQ)"));
            }
            if record.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            match serde_json::from_slice::<Value>(&record) {
                Ok(value) if first => writeln!(to, "{}", header(&value)?)?,
                Ok(value) => {
                    if let Some(line) = self.event(&value) {
                        writeln!(to, "{line}")?;
                    }
                }
                // What was being written when the server ended.
                Err(_) if !first => writeln!(to, "(a record is cut off here)")?,
                Err(error) => {
                    let words = format!("this is no log of a session (qlog, JSON-SEQ): {error}");
                    return Err(io::Error::other(words));
                }
            }
            first = false;
        }
        write!(to, "{}", self.summary())
    }

    /// One event in a line; nothing, if it says nothing to people.
    fn event(&mut self, event: &Value) -> Option<String> {
        let ms = event["time"].as_f64()?;
        let (name, data) = (event["name"].as_str()?, &event["data"]);
        let words = match name {
            "moqt:control_message_created" => format!("> {}", self.message(data)),
            "moqt:control_message_parsed" => format!("< {}", self.message(data)),
            "moqt:subgroup_header_created" => format!("> {}", self.subgroup(data)),
            "moqt:subgroup_header_parsed" => format!("< {}", self.subgroup(data)),
            "moqt:subgroup_object_created" => format!("> {}", self.object(ms, data)),
            "moqt:subgroup_object_parsed" => format!("< {}", self.object(ms, data)),
            "moqt:object_datagram_created" => format!("> {}", self.datagram(ms, data)),
            "moqt:object_datagram_parsed" => format!("< {}", self.datagram(ms, data)),
            "moqt:fetch_header_created" => format!("> {}", self.fetch(data)),
            "moqt:fetch_header_parsed" => format!("< {}", self.fetch(data)),
            "moqt:fetch_object_created" | "moqt:fetch_object_parsed" => {
                let arrow = if name.ends_with("created") { ">" } else { "<" };
                let length = &data["object_payload_length"];
                let (group, object) = (&data["group_id"], &data["object_id"]);
                format!("{arrow} object {group}.{object} of the past, {length} bytes")
            }
            "quic:recovery_metrics_updated" => path(data),
            "quic:connection_closed" => {
                let who = if data["owner"] == "local" { "the server" } else { "the peer" };
                let code = data["application_code"].as_u64();
                let code = code.map_or(String::new(), |code| format!(" with {code:#x}"));
                format!("= closed by {who}{code}: {}", text(&data["reason"]))
            }
            "loglevel:warning" => format!("! {}", text(&data["message"])),
            _ => return None,
        };
        Some(format!("{ms:>12.3} ms  {words}"))
    }

    fn message(&mut self, data: &Value) -> String {
        let (message, stream) = (&data["message"], data["stream_id"].as_u64());
        let kind = text(&message["type"]);
        let track = [message, &message["standalone_fetch"]].into_iter().find_map(track_of);
        let request = message["request_id"].as_u64();
        if let Some(track) = &track {
            request.map(|request| self.requests.insert(request, track.clone()));
            stream.map(|stream| self.streams.insert(stream, track.clone()));
        }
        if let Some(alias) = message["track_alias"].as_u64() {
            // An answer names its request, or comes on its stream.
            let by_request = request.and_then(|request| self.requests.get(&request));
            let asked = by_request.or_else(|| self.streams.get(&stream?));
            if let Some(track) = track.as_ref().or(asked) {
                self.aliases.insert(alias, track.clone());
            }
        }
        let mut words = kind.to_uppercase();
        if let Some(request) = request {
            let _ = write!(words, " {request}");
        }
        let places = ["track_namespace", "track_namespace_prefix", "track_namespace_suffix"];
        let place = places.into_iter().find_map(|place| namespace(&message[place]));
        if let Some(name) = track.or(place) {
            let _ = write!(words, " {name}");
        }
        for (field, label) in [
            ("track_alias", "alias"),
            ("error_code", "error"),
            ("status_code", "status"),
            ("stream_count", "streams"),
        ] {
            if let Some(number) = message[field].as_u64() {
                let _ = write!(words, ", {label} {number}");
            }
        }
        for parameter in message["parameters"].as_array().into_iter().flatten() {
            let _ = write!(words, ", {}", said(parameter));
        }
        for option in message["setup_options"].as_array().into_iter().flatten() {
            let _ = write!(words, ", {}", said(option));
        }
        if let Some(reason) = message["reason"].as_str().filter(|reason| !reason.is_empty()) {
            let _ = write!(words, ": {}", plain(reason));
        }
        words
    }

    fn track(&self, data: &Value) -> String {
        let alias = data["track_alias"].as_u64().unwrap_or_default();
        self.aliases.get(&alias).cloned().unwrap_or_else(|| format!("alias {alias}"))
    }

    fn subgroup(&mut self, data: &Value) -> String {
        let (track, group) = (self.track(data), &data["group_id"]);
        self.tracks.entry(track.clone()).or_default().groups += 1;
        let subgroup = data["subgroup_id"].as_u64().filter(|id| *id > 0);
        let subgroup = subgroup.map_or(String::new(), |id| format!(", subgroup {id}"));
        let stream = &data["stream_id"];
        if let Some(stream) = stream.as_u64() {
            self.subgroups.insert(stream, (track.clone(), group.clone()));
        }
        format!("group {group} of {track}{subgroup}, on stream {stream}")
    }

    fn object(&mut self, ms: f64, data: &Value) -> String {
        let stream = data["stream_id"].as_u64().unwrap_or_default();
        let (track, group) = self.subgroups.get(&stream).cloned().unwrap_or_default();
        let (object, length) = (&data["airwave_object_id"], &data["object_payload_length"]);
        let age = data["airwave_age_ms"].as_f64();
        self.count(&track, ms, length, age);
        let age = age.map_or(String::new(), |age| format!(", {age:.3} ms old"));
        format!("object {group}.{object} of {track}, {length} bytes{age}")
    }

    fn datagram(&mut self, ms: f64, data: &Value) -> String {
        let track = self.track(data);
        let length = &data["object_payload"]["length"];
        self.count(&track, ms, length, None);
        let (group, object) = (&data["group_id"], &data["object_id"]);
        format!("object {group}.{object} of {track} in a datagram, {length} bytes")
    }

    fn fetch(&self, data: &Value) -> String {
        let request = data["request_id"].as_u64().unwrap_or_default();
        let track = self.requests.get(&request).map_or("a track", String::as_str);
        format!("the past of {track} for request {request}, on stream {}", data["stream_id"])
    }

    fn count(&mut self, track: &str, ms: f64, length: &Value, age_ms: Option<f64>) {
        let track = self.tracks.entry(track.to_owned()).or_default();
        track.objects += 1;
        track.bytes += length.as_u64().unwrap_or_default();
        track.ages_ms.extend(age_ms);
        track.gaps_ms.extend(track.last_ms.replace(ms).map(|last| ms - last));
    }

    fn summary(self) -> String {
        let mut out = String::new();
        for (name, mut track) in self.tracks {
            let Track { objects, bytes, groups, .. } = track;
            let _ = writeln!(out, "\n{name}: {objects} objects in {groups} streams, {bytes} bytes");
            if let Some(times) = percentiles(&mut track.ages_ms) {
                let _ = writeln!(out, "  age when sent    {times}");
            }
            let jitter = jitter(&track.gaps_ms);
            if let Some(times) = percentiles(&mut track.gaps_ms) {
                let _ = writeln!(out, "  between objects  {times}; jitter {jitter:.3} ms");
            }
        }
        out
    }
}

fn header(header: &Value) -> io::Result<String> {
    let title = header["title"].as_str();
    let sequence = header["file_schema"].as_str().is_some_and(|it| it.contains("sequential"));
    if !sequence {
        return Err(io::Error::other("this is no log of a session (qlog, JSON-SEQ)"));
    }
    let time = &header["trace"]["common_fields"]["reference_time"]["wall_clock_time"];
    Ok(format!("{}, from {}\n", plain(title.unwrap_or("a session")), text(time)))
}

fn path(data: &Value) -> String {
    let number = |name: &str| data[name].as_f64().unwrap_or_default();
    format!(
        "= round trip {:.3} ms, window {} bytes, {} of {} packets lost",
        number("smoothed_rtt"),
        number("congestion_window"),
        number("airwave_packets_lost"),
        number("airwave_packets_sent"),
    )
}

/// The name of a track: its namespace, a blank and what it is called in it.
fn track_of(message: &Value) -> Option<String> {
    let namespace = namespace(&message["track_namespace"])?;
    Some(format!("{namespace} {}", string(&message["track_name"])?))
}

fn namespace(fields: &Value) -> Option<String> {
    let fields = fields.as_array()?.iter().map(|field| string(field).unwrap_or_default());
    Some(fields.collect::<Vec<_>>().join("/"))
}

/// MOQTByteString
fn string(field: &Value) -> Option<String> {
    let hex = || field["value_bytes"].as_str().map(|hex| format!("0x{hex}"));
    field["value"].as_str().map(plain).or_else(hex)
}

/// A parameter or a setup option.
fn said(parameter: &Value) -> String {
    let name = text(&parameter["name"]);
    match &parameter["value"] {
        Value::Null => match parameter["alias_type"].as_str() {
            Some(kind) => format!("{name} {kind}"),
            None => name,
        },
        Value::String(value) => format!("{name} {}", plain(value)),
        value => format!("{name} {}", plain(&value.to_string())),
    }
}

fn text(value: &Value) -> String {
    plain(value.as_str().unwrap_or_default())
}

/// Strangers' words do nothing to a terminal.
fn plain(text: &str) -> String {
    text.replace(char::is_control, "?")
}

/// RFC 3550 §6.4.1 has it between arrival and timestamp; here it is how much the times between objects differ from one to the
/// next, in the mean.
fn jitter(gaps_ms: &[f64]) -> f64 {
    let differences: Vec<f64> = gaps_ms.windows(2).map(|pair| (pair[1] - pair[0]).abs()).collect();
    match differences.len() {
        0 => 0.0,
        count => differences.iter().sum::<f64>() / count as f64,
    }
}

/// Sorts.
fn percentiles(times_ms: &mut [f64]) -> Option<String> {
    times_ms.sort_by(f64::total_cmp);
    let last = times_ms.len().checked_sub(1)?;
    let at = |percent: usize| times_ms[last * percent / 100];
    let (p50, p95, p99) = (at(50), at(95), at(99));
    Some(format!("p50 {p50:.3} ms, p95 {p95:.3}, p99 {p99:.3}, most {:.3}", at(100)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn printed(records: &[Value]) -> String {
        let log: String = records.iter().map(|record| format!("\u{1e}{record}\n")).collect();
        let mut out = Vec::new();
        Timeline::default().print(log.as_bytes(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn at(ms: f64, name: &str, data: Value) -> Value {
        json!({ "time": ms, "name": name, "data": data })
    }

    fn object(ms: f64, id: u64, age_ms: f64) -> Value {
        let data = json!({
            "stream_id": 3, "airwave_object_id": id, "object_payload_length": 100, "airwave_age_ms": age_ms,
        });
        at(ms, "moqt:subgroup_object_created", data)
    }

    #[test]
    fn a_session_reads_like_this() {
        let name = |name: &str| json!({ "value": name });
        let header = json!({
            "file_schema": "urn:ietf:params:qlog:file:sequential",
            "title": "MoQ draft 18 over QUIC with 127.0.0.1:9",
            "trace": { "common_fields": { "reference_time": { "wall_clock_time": "2026-11-26T19:00:00.000Z" } } },
        });
        let subscribe = json!({
            "type": "subscribe", "request_id": 2, "track_namespace": [name("default"), name("0123")],
            "track_name": name("video\u{1b}"),
            "parameters": [
                { "name": "authorization_token", "alias_type": "use_value" }, { "name": "forward", "value": 1 },
            ],
        });
        let ok = json!({ "type": "subscribe_ok", "track_alias": 7 });
        let error = json!({ "type": "request_error", "error_code": 4, "reason": "no" });
        let told = printed(&[
            header,
            at(0.5, "moqt:control_message_parsed", json!({ "stream_id": 0, "message": subscribe })),
            at(0.75, "moqt:control_message_created", json!({ "stream_id": 0, "message": ok })),
            at(
                1.0,
                "moqt:subgroup_header_created",
                json!({ "stream_id": 3, "track_alias": 7, "group_id": 12 }),
            ),
            object(2.0, 0, 1.0),
            object(35.0, 1, 2.0),
            object(69.0, 2, 0.5),
            at(70.0, "moqt:control_message_created", json!({ "stream_id": 4, "message": error })),
            at(71.0, "loglevel:warning", json!({ "message": "3 events are missing here" })),
            at(
                80.0,
                "quic:connection_closed",
                json!({ "owner": "remote", "application_code": 0, "reason": "bye" }),
            ),
            at(81.0, "moqt:unheard_of", json!({})),
        ]);
        let expect = "\
MoQ draft 18 over QUIC with 127.0.0.1:9, from 2026-11-26T19:00:00.000Z

       0.500 ms  < SUBSCRIBE 2 default/0123 video?, authorization_token use_value, forward 1
       0.750 ms  > SUBSCRIBE_OK, alias 7
       1.000 ms  > group 12 of default/0123 video?, on stream 3
       2.000 ms  > object 12.0 of default/0123 video?, 100 bytes, 1.000 ms old
      35.000 ms  > object 12.1 of default/0123 video?, 100 bytes, 2.000 ms old
      69.000 ms  > object 12.2 of default/0123 video?, 100 bytes, 0.500 ms old
      70.000 ms  > REQUEST_ERROR, error 4: no
      71.000 ms  ! 3 events are missing here
      80.000 ms  = closed by the peer with 0x0: bye

default/0123 video?: 3 objects in 1 streams, 300 bytes
  age when sent    p50 1.000 ms, p95 1.000, p99 1.000, most 2.000
  between objects  p50 33.000 ms, p95 33.000, p99 33.000, most 34.000; jitter 1.000 ms
";
        assert_eq!(told, expect);
    }

    #[test]
    fn what_is_no_log_is_refused_and_what_is_cut_off_is_not() {
        let print = |log: &[u8]| {
            let mut out = Vec::new();
            let printed = Timeline::default().print(log, &mut out);
            printed.map(|()| String::from_utf8(out).unwrap()).map_err(|error| error.to_string())
        };
        let header = json!({ "file_schema": "urn:ietf:params:qlog:file:sequential" });
        let cut = format!("\u{1e}{header}\n\u{1e}{{\"time\":");
        assert!(print(cut.as_bytes()).unwrap().contains("cut off"));
        for log in [&b"hello"[..], b"\x1e{}\n", &[b'x'; 3 << 20]] {
            assert!(print(log).unwrap_err().contains("no log of a session"));
        }
        assert_eq!(print(b""), Ok(String::new()));
    }
}
