//! Rules about what stands in source files.

use std::collections::BTreeSet;

use crate::Finding;
use crate::rules::layers;
use crate::source::{Line, Source, sources};
use crate::tree::{Tree, ending};

/// A file that is longer than this has more than one subject.
const LINES_MAX: usize = 800;

/// The only crate that may say `unsafe`: it is built around a C library.
const MAY_BE_UNSAFE: &[&str] = &["crates/encoder/"];

/// Files of pure crates that may read the clock, and why.
const MAY_READ_CLOCK: &[(&str, &str)] = &[(
    "crates/sansio/src/harness",
    "`Instant` has no constructor: the harness reads the clock once and counts virtual time from there",
)];

/// What may name libraries of QUIC and WebTransport: this file and this folder.
const TRANSPORT: &str = "crates/io-moq/src/transport";

/// Those libraries.
const TRANSPORT_LIBRARIES: &[&str] = &["quinn", "quinn_proto", "quinn_udp", "web_transport_proto"];

/// Tests that may sleep, and why. `tokio` tests under `start_paused` need no entry: their time is virtual.
const MAY_SLEEP: &[(&str, &str)] = &[];

/// Files are at most [`LINES_MAX`] lines long.
#[must_use]
pub fn length(tree: &Tree) -> Vec<Finding> {
    tree.with_ending(&["rs", "ts", "svelte", "mjs"])
        .filter_map(|(path, text)| {
            let lines = text.lines().count();
            let what = format!("{lines} lines, at most {LINES_MAX}: split it by subject");
            (lines > LINES_MAX).then(|| Finding::new(path, what))
        })
        .collect()
}

/// Every `unwrap` and `expect` outside of tests says `invariant:` on its line, up to two lines above, or in the comment
/// or attribute that these touch.
#[must_use]
pub fn invariants(tree: &Tree) -> Vec<Finding> {
    let dev: Vec<String> = layers::dev_crates().map(|name| format!("crates/{name}/")).collect();
    let mut found = Vec::new();
    for (path, source, test) in sources(tree) {
        // A conformance suite is test code that several engines' tests share.
        let shared = path.contains("/src/conformance/");
        if test || shared || dev.iter().any(|folder| path.starts_with(folder.as_str())) {
            continue;
        }
        for (index, line) in source.lines().iter().enumerate() {
            let panics = line.code.contains(".unwrap()") || line.code.contains(".expect(");
            if panics && !line.test && !justified(source.lines(), index) {
                let what =
                    "an unwrap or expect without an `invariant:` that says why it cannot fail";
                found.push(at(path, line, what));
            }
        }
    }
    found
}

fn justified(lines: &[Line], index: usize) -> bool {
    let says = |line: &Line| line.raw.contains("invariant:");
    let first = index.saturating_sub(2);
    if lines[first..=index].iter().any(says) {
        return true;
    }
    let prose = |line: &&Line| {
        let text = line.raw.trim_start();
        text.starts_with("//") || text.starts_with("#[")
    };
    let above = lines[..index].iter().rev().skip_while(|line| line.number > first && !prose(line));
    above.take_while(prose).any(says)
}

/// `unsafe` stands only where it must.
#[must_use]
pub fn unsafe_code(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for (path, text) in tree.with_ending(&["rs"]) {
        if MAY_BE_UNSAFE.iter().any(|folder| path.starts_with(folder)) {
            continue;
        }
        let source = Source::new(text);
        let unsafes = source.lines().iter().filter(|line| has_word(&line.code, "unsafe"));
        found.extend(unsafes.map(|line| at(path, line, "unsafe code outside of crate encoder")));
    }
    found
}

/// Libraries of QUIC and WebTransport have one home: what is to be known of them stands there, and another one can take their place.
#[must_use]
pub fn transports(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for (path, source, _) in sources(tree) {
        if path.starts_with(TRANSPORT) {
            continue;
        }
        for line in source.lines() {
            let named = TRANSPORT_LIBRARIES.iter().any(|name| has_word(&line.code, name));
            if named {
                found.push(at(path, line, "a library of QUIC outside of io-moq's `transport`"));
            }
        }
    }
    found
}

/// Drafts of MoQ differ in a column of one table, and nowhere else.
#[must_use]
pub fn versions(tree: &Tree) -> Vec<Finding> {
    const OF_MOQ: &[&str] = &["crates/moqt/src/", "crates/io-moq/src/"];
    const TABLE: &str = "crates/moqt/src/version";
    const WAYS: &[&str] = &[" == ", " != ", " <= ", " >= ", " < ", " > "];
    let compared = |code: &str| {
        let choices = ["=>", "matches!", "match "];
        let chosen = WAYS.iter().chain(&choices).any(|way| code.contains(way));
        let named = code.contains("Version::Draft") || code.contains(".draft()");
        (named && chosen) || WAYS.iter().any(|way| compares_version(code, way))
    };
    let mut found = Vec::new();
    for (path, source, test) in sources(tree) {
        let ours = OF_MOQ.iter().any(|folder| path.starts_with(folder));
        if test || !ours || path.starts_with(TABLE) {
            continue;
        }
        for line in source.lines().iter().filter(|line| !line.test && compared(&line.code)) {
            found.push(at(path, line, "a draft is looked at: make it a column of `version.rs`"));
        }
    }
    found
}

/// Whether a version stands on a side of this, and not what one says.
fn compares_version(code: &str, way: &str) -> bool {
    let right = ["version", "self.version", "link.version"].iter().any(|name| {
        let form = format!("{way}{name}");
        let mut behind = code.split(form.as_str()).skip(1);
        behind.any(|rest| !rest.starts_with(['.', '_', '(', ':', 's']))
    });
    right || code.contains(&format!("version{way}"))
}

/// Pure crates are told the time.
#[must_use]
pub fn clocks(tree: &Tree) -> Vec<Finding> {
    let pure: BTreeSet<&str> = layers::pure_crates().collect();
    let mut found = Vec::new();
    for (path, source, test) in sources(tree) {
        let name = path.split('/').nth(1).unwrap_or_default();
        let allowed = MAY_READ_CLOCK.iter().any(|(prefix, _)| path.starts_with(prefix));
        if test || allowed || !pure.contains(name) {
            continue;
        }
        for line in source.lines().iter().filter(|line| !line.test) {
            if line.code.contains("Instant::now") || line.code.contains("SystemTime::now") {
                found.push(at(
                    path,
                    line,
                    "a pure crate reads the clock: take `now` as an argument",
                ));
            }
        }
    }
    found
}

/// Tests wait for events, never for time to pass; and none is switched off silently.
#[must_use]
pub fn test_habits(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for (path, text) in tree.with_ending(&["rs", "ts", "mjs"]) {
        if MAY_SLEEP.iter().any(|(allowed, _)| path == *allowed) {
            continue;
        }
        if ending(path) == "rs" {
            found.extend(rust_tests(path, text));
        } else if path.starts_with("tests/") || path.starts_with("web/") {
            let source = Source::new(text);
            let sleeps = source.lines().iter().filter(|line| line.code.contains("waitForTimeout("));
            found.extend(sleeps.map(|line| at(path, line, "a test sleeps: wait for the event")));
        }
    }
    found
}

fn rust_tests(path: &str, text: &str) -> Vec<Finding> {
    let all = path.starts_with("tests/")
        || path.split('/').any(|part| part == "tests" || part == "tests.rs");
    let virtual_time = text.contains("start_paused");
    let source = Source::new(text);
    let mut found = Vec::new();
    for line in source.lines().iter().filter(|line| all || line.test) {
        let sleeps = line.code.contains("thread::sleep") || line.code.contains("time::sleep");
        if sleeps && !virtual_time {
            found.push(at(path, line, "a test sleeps: wait for the event, or use virtual time"));
        }
        if line.code.contains("#[ignore") && !line.raw.contains("#[ignore = \"child: ") {
            let what = "a test is switched off: only `#[ignore = \"child: ...\"]` may stand, for what \
                        another test starts. Longer runs are sizes (`make soak`), measurements are `bench`";
            found.push(at(path, line, what));
        }
    }
    found
}

/// Where routes are declared: lists with who may use each, of which the routers and the authorisation table are made. How
/// often such a file may say `.route(`: in the loops over its list, and delivery once for what is no route at all.
const MAY_ROUTE: &[(&str, usize)] = &[
    ("crates/api/src/routes.rs", 2),
    ("crates/deliver/src/http.rs", 2),
    ("crates/node/src/quic.rs", 1),
    ("crates/node/src/domain.rs", 2),
    ("crates/node/src/admin.rs", 1),
];

/// Every route is a row of the authorisation table.
#[must_use]
pub fn routes(tree: &Tree) -> Vec<Finding> {
    let what = "a route outside of the authorisation table: put it into the list of `routes()` in \
                crates/api/src/routes.rs (the API) or crates/deliver/src/http.rs (delivery), with who may use it and on \
                what; then AIRWAVE_WRITE_SNAPSHOTS=1 cargo nextest run -p node authorisation";
    let mut found = Vec::new();
    for (path, source, test) in sources(tree) {
        let allowed = MAY_ROUTE.iter().find(|(file, _)| *file == path).map_or(0, |(_, n)| *n);
        let says = |line: &&Line| {
            let code = &line.code;
            let calls = [".route(", ".route_service(", ".nest(", ".nest_service(", ".fallback("];
            let routes = calls.iter().any(|call| code.contains(call)) && !code.contains(".route()");
            !test && !line.test && routes
        };
        let lines = source.lines().iter().filter(says).skip(allowed);
        found.extend(lines.map(|line| at(path, line, what)));
    }
    found
}

fn at(path: &str, line: &Line, what: &str) -> Finding {
    Finding::new(format!("{path}:{}", line.number), what)
}

fn has_word(code: &str, word: &str) -> bool {
    code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|found| found == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a rule on one file and gives the lines that it complains about.
    fn lines(rule: fn(&Tree) -> Vec<Finding>, path: &str, text: &str) -> Vec<String> {
        rule(&Tree::fake(&[(path, text)]))
            .into_iter()
            .map(|finding| finding.place.replace(path, ""))
            .collect()
    }

    #[test]
    fn long_files() {
        let long = "x\n".repeat(LINES_MAX + 1);
        assert_eq!(lines(length, "crates/a/src/lib.rs", &long).len(), 1);
        assert_eq!(lines(length, "web/src/a.svelte", &long).len(), 1);
        assert_eq!(lines(length, "web/src/a.ts", &long[2..]).len(), 0);
        assert_eq!(lines(length, "docs/a.md", &long).len(), 0);
    }

    #[test]
    fn unwraps_need_a_reason() {
        let path = "crates/media/src/a.rs";
        for (text, want) in [
            ("a.unwrap();", &[":1"][..]),
            ("a\n    .expect(\"b\");", &[":2"]),
            ("// a.unwrap()\n\"b.unwrap()\"", &[]),
            ("a.unwrap(); // invariant: a is some", &[]),
            ("a.expect(\"invariant: a is some\");", &[]),
            ("// invariant: a is some\nlet b =\n    a.unwrap();", &[]),
            ("// invariant: a is some,\n// because\n// of b\nlet c = a\n    .unwrap();", &[]),
            ("// invariant: of c\nc();\nd();\n\na.unwrap();", &[":5"]),
            ("a.unwrap_or(b); a.unwrap_or_default();", &[]),
            ("#[cfg(test)]\nmod tests {\n    a.unwrap();\n}\nb.unwrap();", &[":5"]),
        ] {
            assert_eq!(lines(invariants, path, text), want, "{text}");
        }
        assert_eq!(lines(invariants, "crates/testkit/src/a.rs", "a.unwrap();").len(), 0);
        assert_eq!(lines(invariants, "crates/media/tests/a.rs", "a.unwrap();").len(), 0);
    }

    #[test]
    fn unsafe_has_one_home() {
        let text = "// unsafe\n#![forbid(unsafe_code)]\nunsafe { a() }\nlet b = \"unsafe\";";
        assert_eq!(lines(unsafe_code, "crates/spine/src/a.rs", text), [":3"]);
        assert_eq!(lines(unsafe_code, "tests/a.rs", text), [":3"]);
        assert_eq!(lines(unsafe_code, "crates/encoder/src/a.rs", text).len(), 0);
    }

    #[test]
    fn pure_crates_read_no_clock() {
        let text = "let a = Instant::now();\nlet b = std::time::SystemTime::now();\n#[cfg(test)]\nfn c() { Instant::now(); }";
        assert_eq!(lines(clocks, "crates/spine/src/a.rs", text), [":1", ":2"]);
        assert_eq!(lines(clocks, "crates/sansio/src/harness.rs", text).len(), 0);
        assert_eq!(lines(clocks, "crates/io-rtmp/src/a.rs", text).len(), 0);
    }

    #[test]
    fn libraries_of_quic_have_one_home() {
        let text = "// quinn\nuse quinn::Connection;\nlet quinns = 1;\n#[cfg(test)]\nfn a() { web_transport_proto::b(); }";
        assert_eq!(lines(transports, "crates/io-moq/src/link.rs", text), [":2", ":5"]);
        assert_eq!(lines(transports, "crates/node/src/quic.rs", text), [":2", ":5"]);
        assert_eq!(lines(transports, "crates/io-moq/src/transport.rs", text).len(), 0);
        assert_eq!(lines(transports, "crates/io-moq/src/transport/web.rs", text).len(), 0);
    }

    #[test]
    fn drafts_differ_in_one_table() {
        for (text, want) in [
            ("if version == Version::Draft16 {", &[":1"][..]),
            ("if self.version != other {", &[":1"]),
            ("if link.version.draft() >= 20 {", &[":1"]),
            ("match v {\n    Version::Draft16 => a,", &[":2"]),
            ("matches!(v, Version::Draft20 | Version::Draft21)", &[":1"]),
            ("if 18 <= version {", &[":1"]),
            ("let v = Version::Draft18;", &[]),
            ("if version.fills() && a == b {", &[]),
            ("// if version == Version::Draft16", &[]),
            ("#[cfg(test)]\nfn a() { v == Version::Draft16 }", &[]),
        ] {
            assert_eq!(lines(versions, "crates/moqt/src/session.rs", text), want, "{text}");
            assert_eq!(lines(versions, "crates/io-moq/src/link.rs", text), want, "{text}");
            assert_eq!(lines(versions, "crates/moqt/src/version.rs", text).len(), 0);
            assert_eq!(lines(versions, "crates/moqt/src/version/draft16.rs", text).len(), 0);
            assert_eq!(lines(versions, "crates/client/src/a.rs", text).len(), 0);
        }
    }

    #[test]
    fn routes_have_rows() {
        let text = "r.route(&path, handler);\nr.route(a, b);\n#[cfg(test)]\nfn c() { r.route(a, b); }\n// r.route(a)";
        assert_eq!(lines(routes, "crates/api/src/inputs.rs", text), [":1", ":2"]);
        assert_eq!(lines(routes, "crates/node/src/quic.rs", text), [":2"]);
        assert_eq!(lines(routes, "crates/api/tests/a.rs", text).len(), 0);
    }

    #[test]
    fn tests_do_not_sleep() {
        let text = "thread::sleep(a);\ntokio::time::sleep(b).await;";
        assert_eq!(lines(test_habits, "crates/node/tests/a.rs", text), [":1", ":2"]);
        assert_eq!(lines(test_habits, "tests/a.rs", text), [":1", ":2"]);
        assert_eq!(lines(test_habits, "crates/node/src/a.rs", text).len(), 0);
        let inside = "#[cfg(test)]\nfn c() { thread::sleep(a); }";
        assert_eq!(lines(test_habits, "crates/node/src/a.rs", inside), [":2"]);
        let paused = "#[tokio::test(start_paused = true)]\ntime::sleep(a)";
        assert_eq!(lines(test_habits, "crates/node/tests/a.rs", paused).len(), 0);
        let page = "await page.waitForTimeout(500);";
        assert_eq!(lines(test_habits, "web/e2e/a.test.ts", page), [":1"]);
    }

    #[test]
    fn tests_are_not_switched_off() {
        let text = "#[ignore]\n#[ignore = \"flaky\"]\n#[ignore = \"soak: takes an hour\"]\n#[ignore = \"child: started by a()\"]";
        assert_eq!(lines(test_habits, "crates/node/tests/a.rs", text), [":1", ":2", ":3"]);
    }
}
