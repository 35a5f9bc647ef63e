//! The fuzz targets in `fuzz/` that need several crates, as functions, so that the committed seeds are tests too: any
//! bytes in, no panic out, and what is promised of them holds.

use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use io_rtmp::fuzzing::Encoder;
use media::Publication;
use media::flv::{self, TagKind};
use media::timeline::SourceClock;
use package::fuzzing::well_formed;
use package::hls::{MediaOptions, Reach, render_media};
use package::{Index, Packaging, Rules};
use rtmp::{Kind, Media};
use spine::broadcast::Consumer;
use spine::{Close, Limits, Location, NodeId, Origin, Path, Route, Takeover};

use crate::config::{Layer, load};

/// What is kept or passed on and read again. The first byte says which: properties and catalogs, properties of parts,
/// records and pages of the index.
pub fn stored(data: &[u8]) {
    match data.split_first() {
        Some((0, data)) => media::fuzzing::written(data),
        Some((1, data)) => package::fuzzing::objects(data),
        Some((_, data)) => control::fuzzing::stored(data),
        None => {}
    }
}

/// What comes over HTTP, and the configuration. The first byte says which: a request to watch, one to the API, a
/// configuration file, a setting, an environment variable, a playlist.
pub fn requests(data: &[u8]) {
    let Some((which, data)) = data.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(data).into_owned();
    match which {
        0 => deliver::fuzzing::request(&text),
        1 => api::fuzzing::request(data),
        2 => configuration(Layer::text("airwave.toml", &text)),
        3 => configuration(Layer::setting(&text)),
        5 => package::fuzzing::playlist(&text),
        _ => {
            let (name, value) = text.split_once('=').unwrap_or((&text, ""));
            let variable = (format!("AIRWAVE__{name}").into(), value.into());
            Layer::environment([variable].into_iter()).into_iter().for_each(configuration);
        }
    }
}

fn configuration(layer: Result<Layer, crate::config::ConfigError>) {
    match layer.map(|layer| load(&[layer])) {
        Ok(Ok(_)) => {}
        Ok(Err(errors)) => {
            assert!(errors.iter().all(|e| !e.problem.is_empty()) && !errors.is_empty());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// An encoder's messages, as the tags of an FLV file, all the way to playlists.
pub fn broadcast(mut now: Instant, data: &[u8]) {
    let limits = Limits { cache_bytes: 4 << 20, ..Limits::default() };
    let origin = Origin::new(limits);
    // invariant: a path of two short fields.
    let Ok(path) = Path::new(["default", "input"]) else {
        return;
    };
    let Ok(producer) = origin.publish(&path, Route::local(NodeId(1), 7), Takeover::Replace) else {
        panic!("an empty origin takes a broadcast");
    };
    let consumer = producer.consume();
    let mut encoder = Encoder::new(Publication::new(producer, SourceClock::RTMP, 0, now));
    let Ok(mut packaging) = Packaging::new(consumer.clone(), Rules::default(), 1) else {
        panic!("an empty broadcast takes derived tracks");
    };
    let cx = Context::from_waker(Waker::noop());
    let mut file = flv::Reader::new();
    file.push(data);
    let mut failed = false;
    while let Ok(Some(tag)) = file.next_tag() {
        let kind = match tag.kind {
            TagKind::Video => Kind::Video,
            TagKind::Audio => Kind::Audio,
            _ => Kind::Data,
        };
        now += Duration::from_millis(20);
        let media = Media { stream_id: 1, kind, timestamp: tag.timestamp, payload: tag.body };
        let taken = encoder.media(&media, now);
        failed |= matches!(packaging.poll(&cx, now), Poll::Ready(_));
        if !taken || failed {
            break;
        }
    }
    encoder.into_publication().end(Close::Ended, now);
    match packaging.poll(&cx, now) {
        Poll::Ready(Ok(why)) => assert_eq!(why, Close::Ended),
        Poll::Ready(Err(_)) => {}
        Poll::Pending => assert!(failed, "packaging ends with its broadcast"),
    }
    listed(&consumer);
    let budget = origin.budget().clone();
    drop((consumer, packaging, origin));
    assert_eq!(budget.used(), 0, "bytes stay charged");
}

/// What was packaged makes good playlists.
fn listed(broadcast: &Consumer) {
    let mut index = Index::new();
    for name in broadcast.tracks() {
        let packaged = name.as_str().filter(|name| name.ends_with(".cmaf"));
        let (Some(name), Some(track)) = (packaged, broadcast.get(&name)) else {
            continue;
        };
        let last = track.largest().map_or(0, |at| at.group);
        for group in track.oldest_group().unwrap_or(0)..=last {
            let objects = (0..).map_while(|object| track.object(Location { group, object }).ok());
            for object in objects {
                let properties = &object.header().properties;
                let bytes = object.len() as u64;
                let applied = index.apply(name, object.location(), properties, bytes);
                assert!(applied.is_ok(), "{name} {:?}", object.location());
            }
        }
    }
    for ended in [false, true] {
        for (name, _) in index.renditions() {
            for low_latency in [true, false] {
                let options = MediaOptions { low_latency, reach: Reach::of(ended), skip: !ended };
                let list = render_media(&index, name, "../media/V", options);
                list.into_iter().for_each(|list| well_formed(&list));
            }
        }
        index.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sansio::harness::{epoch, replay};

    #[test]
    fn seeds_and_changes_of_them_pass() {
        replay("stored", 300, stored);
        replay("requests", 300, requests);
        replay("broadcast", 100, |data| broadcast(epoch(), data));
    }
}
