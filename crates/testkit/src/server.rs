//! The built program on free ports of the loopback.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::child::Child;
use crate::http::{Response, Url, request};
use crate::mpd::check_mpd;
use crate::wait::wait_until;

/// A running server. Dropping it kills it.
pub struct Server {
    child: Child,
    /// Where it listens, from its ready file.
    pub addresses: Value,
    /// The API token.
    pub token: String,
    data: PathBuf,
    _folder: Option<tempfile::TempDir>,
}

/// A live input.
#[derive(Debug, Clone)]
pub struct Input {
    /// Its uid.
    pub uid: String,
    /// Where an encoder publishes, key included.
    pub rtmp: String,
    /// Its stream key.
    pub key: String,
}

impl Server {
    /// Starts `program` in a new data directory, with these settings besides free ports.
    pub fn start(program: &str, settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let mut server = Self::start_in(program, &data, settings);
        server._folder = Some(folder);
        server
    }

    /// Starts `program` in this data directory.
    pub fn start_in(program: &str, data: &Path, settings: &[&str]) -> Self {
        Self::start_with(program, data, settings, &[])
    }

    /// Starts `program` in this data directory, with these arguments besides.
    pub fn start_with(program: &str, data: &Path, settings: &[&str], arguments: &[&str]) -> Self {
        Self::start_as(program, data, settings, arguments, &[])
    }

    /// Starts `program` in this data directory, with these arguments and environment variables.
    pub fn start_as(
        program: &str,
        data: &Path,
        settings: &[&str],
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let ready = data.with_extension("ready.json");
        let _ = std::fs::remove_file(&ready);
        let mut command = Command::new(program);
        command.arg("serve").arg("--data").arg(data).arg("--ready-file").arg(&ready);
        for listener in ["http", "https", "rtmp", "rtmps", "quic", "admin"] {
            command.args(["--set", &format!("{listener}.listen=127.0.0.1:0")]);
        }
        // What tests are about is the original, but for those that say so.
        if !settings.iter().any(|s| s.starts_with("encode.ladder")) {
            command.args(["--set", "encode.ladder=[]"]);
        }
        if !settings.iter().any(|s| s.starts_with("encode.pictures")) {
            command.args(["--set", "encode.pictures=false"]);
        }
        for setting in settings {
            command.args(["--set", setting]);
        }
        command.args(arguments).envs(variables.iter().copied());
        let mut child = Child::start(&mut command);
        let text = wait_until("the server to be ready", 20, || {
            assert!(child.ended().is_none(), "the server ended:\n{}", child.output());
            std::fs::read_to_string(&ready).ok()
        });
        // Not there if it is set in the configuration.
        let token = std::fs::read_to_string(data.join("api-token")).unwrap_or_default();
        let token = token.trim().to_owned();
        let addresses = serde_json::from_str(&text).unwrap();
        Self { child, addresses, token, data: data.to_owned(), _folder: None }
    }

    /// Its process.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Its data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// A URL of it.
    pub fn url(&self, path: &str) -> Url {
        let authority =
            self.addresses["http"].as_str().expect("the HTTP listener is on").to_owned();
        Url { authority, path: path.to_owned() }
    }

    /// Gets a path. Fails the test if it is an MPD that breaks a rule.
    pub fn get(&self, path: &str) -> Response {
        let answer = request("GET", &self.url(path), &[], b"");
        let kind = answer.headers.get("content-type").map_or("", String::as_str);
        if answer.status == 200 && kind == "application/dash+xml" {
            let mpd = answer.text();
            assert_eq!(check_mpd(&mpd), [], "{path}: {mpd}");
        }
        answer
    }

    /// Calls the API under the account.
    pub fn api(&self, method: &str, path: &str, body: Option<&Value>) -> Response {
        let url = self.url(&format!("/client/v4/accounts/default{path}"));
        let authorization = format!("Bearer {}", self.token);
        let headers = [("authorization", &*authorization), ("content-type", "application/json")];
        let body = body.map(Value::to_string).unwrap_or_default();
        request(method, &url, &headers, body.as_bytes())
    }

    /// Creates a live input with these fields.
    pub fn create_input(&self, fields: &Value) -> Input {
        let answer = self.api("POST", "/stream/live_inputs", Some(fields));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let result = answer.json()["result"].clone();
        let text = |v: &Value| v.as_str().unwrap_or_else(|| panic!("{result}")).to_owned();
        let key = text(&result["rtmp"]["streamKey"]);
        let rtmp = format!("{}{key}", text(&result["rtmp"]["url"]));
        Input { uid: text(&result["uid"]), rtmp, key }
    }

    /// Creates a live input with the defaults.
    pub fn input(&self) -> Input {
        self.create_input(&json!({ "meta": { "name": "Test" } }))
    }

    /// What an id is at the moment.
    pub fn lifecycle(&self, id: &str) -> Value {
        self.get(&format!("/{id}/lifecycle")).json()
    }

    /// Gets a path of the admin listener.
    pub fn admin(&self, path: &str) -> Response {
        let authority = self.addresses["admin"].as_str().expect("the admin listener is on");
        let url = Url { authority: authority.to_owned(), path: path.to_owned() };
        request("GET", &url, &[], b"")
    }

    /// Everything that `/metrics` says, by name without `airwave_`.
    pub fn metrics(&self) -> BTreeMap<String, u64> {
        let text = self.admin("/metrics").text();
        let values = text.lines().filter_map(|line| line.strip_prefix("airwave_")?.split_once(' '));
        values
            .map(|(name, value)| (name.to_owned(), value.parse::<f64>().unwrap() as u64))
            .collect()
    }

    /// One of them.
    pub fn metric(&self, name: &str) -> u64 {
        let metrics = self.metrics();
        *metrics.get(name).unwrap_or_else(|| panic!("no {name} in {metrics:?}"))
    }

    /// How many descriptors its process has open.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// Its resident memory in KiB.
    pub fn resident_kib(&self) -> u64 {
        self.memory_kib("VmRSS:")
    }

    /// The most that this has been.
    pub fn peak_kib(&self) -> u64 {
        self.memory_kib("VmHWM:")
    }

    fn memory_kib(&self, which: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(which)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Waits until an input is, or was, on the air with another video than these; answers its uid. For what may be over
    /// before anybody looks.
    pub fn wait_video(&self, input: &Input, but: &[String]) -> String {
        wait_until("a broadcast", 60, || {
            let video = self.lifecycle(&input.uid)["videoUID"].as_str().map(str::to_owned);
            video.filter(|video| !but.contains(video))
        })
    }

    /// Waits until a video is over and all of it is committed: it is off the air a moment earlier.
    pub fn wait_ready(&self, video: &str) {
        let path = format!("/stream/{video}");
        wait_until("the recording", 60, || {
            let answer = self.api("GET", &path, None).json();
            (answer["result"]["readyToStream"] == true && self.lifecycle(video)["live"] == false)
                .then_some(())
        });
    }

    /// Waits until an input is on the air; answers the video's uid.
    pub fn wait_live(&self, input: &Input) -> String {
        wait_until("the broadcast to begin", 20, || {
            let lifecycle = self.lifecycle(&input.uid);
            let live = lifecycle["live"] == true;
            lifecycle["videoUID"].as_str().filter(|_| live).map(str::to_owned)
        })
    }
}
