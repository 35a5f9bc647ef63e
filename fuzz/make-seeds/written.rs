//! Seeds of what is asked over HTTP, configured, and kept.

use std::io::Result;

use control::{Epoch, PartRecord, SegmentRecord, TrackRecord};
use package::properties::{Part, Segment, encode};

use crate::Seeds;

pub(crate) fn write(seeds: &Seeds) -> Result<()> {
    requests(seeds)?;
    tokens(seeds)?;
    proxies(seeds)?;
    for (name, bytes) in io_moq::fuzzing::web_transport_samples() {
        seeds.add("web_transport", name, bytes[0], &bytes[1..])?;
    }
    records(seeds)?;
    parts(seeds)?;
    let catalog = br#"{"version":"draft-01","generatedAt":1763812800123,"tracks":[{"name":"video.cmaf","packaging":"cmaf",
"isLive":true,"role":"video","initRef":"00000000000007","codec":"avc1.64001f","width":1280,"height":720,"framerate":29.97,
"bitrate":3000000,"timescale":90000,"targetLatency":1000},{"name":"audio.cmaf","packaging":"cmaf","isLive":true,"role":
"audio","initRef":"00000000000008","codec":"mp4a.40.2","channelConfig":"2","samplerate":48000,"lang":"en"}],
"initDataList":[{"id":"00000000000007","type":"inline","data":"aW5pdA=="}]}"#;
    seeds.add("stored", "catalog", 0, &[&[1], &catalog[..]].concat())
}

const INPUT: &str = r#"{"meta":{"name":"Hall 1"},"enabled":true,"preferLowLatency":false,"defaultCreator":"me",
"deleteRecordingAfterDays":45.0,"recording":{"mode":"automatic","timeoutSeconds":30,"requireSignedURLs":false,
"hideLiveViewerCount":true,"allowedOrigins":[]}}"#;
const VIDEO: &str = r#"{"meta":{"name":"\u00e9"},"creator":null,"requireSignedURLs":true,"allowedOrigins":["example.com"],
"thumbnailTimestampPct":0.5,"scheduledDeletion":"2027-01-31T12:00:00Z","uid":"0123456789abcdef0123456789abcdef"}"#;
const LIST: &str = "status=ready&type=live&video_name=Hall%201+b&limit=7&asc=true&include_counts=true&search=a&creator=me\
                    &id=a,b&before=2027-01-31T12:00:00Z&after=2024-01-31T12:00:00.5%2B01:00&live_input_id=\
                    0123456789abcdef0123456789abcdef";

const CLAIMS: &str = r#"{"sub":"0123456789abcdef0123456789abcdef","exp":1795700000,"nbf":"1795600000","downloadable":true,
"jti":"l","accessRules":[{"type":"ip.src","action":"allow","ip":["192.0.2.0/24","2001:db8::/32"]},
{"type":"ip.geoip.country","action":"block","country":["DE"]},{"type":"any","action":"block"}]}"#;
const PEM: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH\n\
                   -----END PRIVATE KEY-----\n";

fn tokens(seeds: &Seeds) -> Result<()> {
    let header = r#"{"alg":"EdDSA","kid":"own"}"#;
    let signed = access::fuzzing::sample(header, CLAIMS);
    let none = format!("{}.", access::fuzzing::sample(r#"{"alg":"none"}"#, CLAIMS));
    let jwk = r#"{"alg":"EdDSA","kid":"own","jwk":{"kty":"OKP","crv":"Ed25519","x":"AA"},"jku":"https://example.com","crit":["exp"]}"#;
    let strange = r#"{"sub":"a","exp":1e300,"nbf":-1,"accessRules":[{"type":"moon"}]}"#;
    let api = format!("aw_0123456789abcdef0123456789abcdef_{}", "A".repeat(32));
    for (which, name, text) in [
        (0, "signed", &*signed),
        (0, "none", &none),
        (1, "header", header),
        (1, "header-jwk", jwk),
        (2, "claims", CLAIMS),
        (2, "claims-strange", strange),
        (3, "api-token", &api),
        (4, "pem", PEM),
    ] {
        seeds.add("tokens", name, which, text.as_bytes())?;
    }
    Ok(())
}

/// What load balancers and proxies say.
fn proxies(seeds: &Seeds) -> Result<()> {
    let v2 =
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10\xc0\0\x02\x01\x0a\0\0\x01\xdd\xd5\x01\xbb\x04\0\x01\0";
    for (name, data) in [
        ("line-4", &b"PROXY TCP4 192.0.2.1 10.0.0.1 56789 443\r\n"[..]),
        ("line-6", b"PROXY TCP6 2001:db8::1 ::1 56789 443\r\n"),
        ("unknown", b"PROXY UNKNOWN ffff:ffff ::1 1 1\r\n"),
        ("binary", v2),
        ("local", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"),
        ("forwarded", b"127.0.0.1, 198.51.100.7:4711,[2001:db8::1]:4711 , unknown\n10.0.0.2"),
        ("scheme", b"https,http"),
        ("network", b"2001:db8::/32"),
    ] {
        seeds.add("proxy", name, data[0], &data[1..])?;
    }
    Ok(())
}

fn requests(seeds: &Seeds) -> Result<()> {
    let uid = "0123456789abcdef0123456789abcdef";
    for (name, target, range) in [
        ("reload", "/manifest/video.cmaf.m3u8?_HLS_msn=17&_HLS_part=2&_HLS_skip=YES", ""),
        ("multivariant", "/manifest/video.m3u8?protocol=llhls&dvrEnabled=true&a=%22b", ""),
        ("part", "/media/V/video.cmaf/3-17.0.m4s", "bytes=0-99"),
        ("segment", "/media/V/video.cmaf/3-17.m4s", "bytes=-500"),
        ("init", "/media/V/video.cmaf/init-0000000000001f.mp4", "bytes=90-"),
        ("conditions", "/downloads/default.mp4", "bytes=0-9\nW/\"a,b\"\n\"x\", W/\"a,b\"\n*"),
        ("strange", "/%2e%2e/..%2f%00/a\"{}|%zz?%00=&&=", "bytes=18446744073709551615-0,1-"),
    ] {
        let text = format!("/{uid}{target}\n{range}");
        seeds.add("requests", &format!("watch-{name}"), 0, text.as_bytes())?;
    }
    for (which, name, text) in [
        (0, "input", INPUT),
        (1, "video", VIDEO),
        (2, "list", LIST),
        (2, "inputs", "limit=10&cursor=7&search=Hall%201&asc=true&live=true"),
        (3, "host", "[::1]:8080"),
        (3, "bearer", "Bearer abc"),
    ] {
        seeds.add("requests", &format!("api-{name}"), 1, &[&[which], text.as_bytes()].concat())?;
    }
    let list = b"#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,\
PART-HOLD-BACK=1.002\n#EXT-X-PART-INF:PART-TARGET=0.334\n#EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-MAP:URI=\"../media/V/init.mp4\"\n\
#EXT-X-PROGRAM-DATE-TIME:2025-11-22T12:00:00.123Z\n#EXT-X-PART:DURATION=0.333,URI=\"7.0.m4s\",INDEPENDENT=YES\n\
#EXTINF:2.00000,\n7.m4s\n#EXT-X-DISCONTINUITY\n#EXT-X-GAP\n#EXTINF:2.0,\n8.m4s\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"9.0.m4s\"\n";
    seeds.add("requests", "playlist", 5, list)?;
    let defaults = include_bytes!("../../crates/node/src/config/defaults.toml");
    seeds.add("requests", "config-file", 2, defaults)?;
    seeds.add(
        "requests",
        "config-wrong",
        2,
        b"[http]\nlisten = \"nonsense\"\n[hls]\npart_ms = 5\n[no]\nb = {c = [1]}",
    )?;
    seeds.add("requests", "config-setting", 3, b"http.listen=127.0.0.1:0")?;
    seeds.add("requests", "config-variable", 4, b"RETENTION__MIN_FREE_GB=0.5")
}

fn a_record() -> SegmentRecord {
    let part = |duration, bytes, independent| PartRecord {
        duration,
        bytes,
        independent,
        last: false,
        target_known: true,
        key_bytes: Some(1_000).filter(|_| independent),
    };
    let video = TrackRecord {
        name: "video.cmaf".into(),
        timescale: 90_000,
        start: 1 << 40,
        wall_clock_ms: 1_763_812_800_123,
        discontinuity: true,
        discontinuity_sequence: 3,
        gap: false,
        init: (1 << 53) - 1,
        init_at: Some(0..700),
        part_target_ms: 334,
        target_duration: 2,
        offset: 700,
        parts: (0..6).map(|i| part(30_000, 250_000 + i, i == 0)).collect(),
        closes: true,
    };
    let audio = TrackRecord {
        name: "audio.cmaf".into(),
        timescale: 48_000,
        discontinuity: false,
        init_at: None,
        offset: 1_500_715,
        parts: (0..6).map(|i| part(16_384 - (i & 1) * 1_024, 5_333, true)).collect(),
        ..video.clone()
    };
    SegmentRecord {
        number: 7,
        epoch: Epoch(4),
        object: Some(u64::MAX),
        duration_ms: 2_000,
        bytes: 1_532_713,
        wall_clock_ms: 1_763_812_800_123,
        gap: false,
        discontinuity: true,
        tracks: vec![video, audio],
    }
}

fn records(seeds: &Seeds) -> Result<()> {
    let record = a_record().encode().expect("a record");
    let gap = SegmentRecord { gap: true, object: None, bytes: 0, tracks: Vec::new(), ..a_record() };
    let gap = gap.encode().expect("a gap");
    seeds.add("stored", "record", 2, &[&[0], &record[..]].concat())?;
    seeds.add("stored", "record-gap", 2, &[&[0], &gap[..]].concat())?;
    // Lengths are numbers of seven bits a byte, the lowest first.
    let length = |r: &[u8]| vec![r.len() as u8 & 0x7f | 0x80, (r.len() >> 7) as u8];
    let records = [&length(&record), &record[..], &length(&gap), &gap].concat();
    let page = [&b"AWPG\x01\x02\x07"[..], &records].concat();
    seeds.add("stored", "page", 2, &[&[2], &page[..]].concat())?;
    seeds.add("stored", "page-records", 2, &[&[3], &records[..]].concat())
}

fn parts(seeds: &Seeds) -> Result<()> {
    let segment = Segment {
        timescale: 90_000,
        epoch: 3,
        wall_clock_ms: 1_763_812_800_123,
        start: 1 << 40,
        discontinuity: false,
        discontinuity_sequence: 1,
        gap: false,
        init: 7,
    };
    let mut data = Vec::new();
    for number in 0..4u64 {
        for at in 0..3 {
            let part = Part {
                duration: 30_000,
                independent: at == 0,
                last: at == 2,
                closes: at == 2 && number == 1,
                open: at == 2 && number == 2,
                target_ms: 334,
                target_duration: (number > 0).then_some(2),
                key_bytes: Some(1_000).filter(|_| at == 0),
            };
            let start = segment.start + number * 90_000;
            let segment = Segment { start, discontinuity: number == 2, ..segment };
            let properties = encode(&part, (at == 0).then_some(&segment));
            data.push(properties.len() as u8);
            data.extend_from_slice(&properties);
        }
    }
    seeds.add("stored", "parts", 1, &data)
}
