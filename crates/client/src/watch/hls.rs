//! Watching over HLS and LL-HLS: which tracks there are.

use package::hls::{Multivariant, Playlist};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::http::Http;
use super::track::{Event, Follower};
use super::{ASK_AGAIN, Begin, Begun, Options, SETTLE_ROUNDS, TrackName, Url, WatchError};
use crate::limits::TRACKS_MAX;

/// A track and its playlist.
type Listed = (TrackName, Url);

/// Finds the tracks, and follows each in a task of its own.
pub(super) async fn begin(
    url: &Url,
    options: &Options,
    sender: mpsc::Sender<Event>,
) -> Result<Begun, WatchError> {
    let tls = options.trust.connector()?;
    let mut http = Http::new(tls.clone());
    let playlist = url
        .playlist()
        .map_err(|_| WatchError::Reference { url: url.clone(), uri: url.path.clone() })?;
    let playlist = match options.begin {
        // All that there is since the start.
        Begin::Start | Begin::Back(_) if !playlist.path.contains("dvrEnabled=") => {
            playlist.with("dvrEnabled=true")
        }
        _ => playlist,
    };
    let mut tracks = loop {
        match tracks(&mut http, &playlist).await {
            Err(WatchError::NotOnAir(_)) if options.wait => tokio::time::sleep(ASK_AGAIN).await,
            found => break found?,
        }
    };
    // A broadcast that has just begun lists its tracks as they come.
    for _ in 0..if options.wait { SETTLE_ROUNDS } else { 0 } {
        tokio::time::sleep(ASK_AGAIN).await;
        let again = self::tracks(&mut http, &playlist).await?;
        let same = again.len() == tracks.len();
        tracks = again;
        if same {
            break;
        }
    }
    let mut tasks = JoinSet::new();
    for (i, (_, url)) in tracks.iter().enumerate() {
        let http = Http::new(tls.clone());
        let follower = Follower::new(i, url.clone(), http, sender.clone());
        let begin = match options.begin {
            // Recording takes all there is.
            Begin::Live if options.record.is_some() => Begin::Oldest,
            begin => begin,
        };
        tasks.spawn(follower.run(begin));
    }
    let tracks = tracks.into_iter().map(|(track, _)| track).collect();
    Ok(Begun { tracks, tasks, leave: None })
}

/// The tracks of a broadcast: of each rendition once, pictures first.
async fn tracks(http: &mut Http, playlist: &Url) -> Result<Vec<Listed>, WatchError> {
    let answer = http.get(playlist).await?;
    match answer.status {
        200 => {}
        204 => return Err(WatchError::NotOnAir(playlist.to_string())),
        status => return Err(WatchError::Status { url: playlist.clone(), status }),
    }
    let url = answer.url;
    let text = String::from_utf8_lossy(&answer.body);
    let list = match Playlist::parse(&text) {
        Ok(list) => list,
        Err(error) => return Err(WatchError::Playlist { url, error }),
    };
    let tracks = match list {
        Playlist::Media(_) => {
            vec![(TrackName { name: name_of(&url.path), codecs: None, size: None }, url)]
        }
        Playlist::Multivariant(list) => listed(&list, &url)?,
    };
    match tracks.len() {
        1..=TRACKS_MAX => Ok(tracks),
        count => Err(WatchError::Tracks { url: playlist.to_string(), count }),
    }
}

fn listed(list: &Multivariant, url: &Url) -> Result<Vec<Listed>, WatchError> {
    let mut tracks: Vec<Listed> = Vec::new();
    let variants = list.variants.iter().map(|v| (&v.uri, v.codecs.clone(), v.resolution));
    let audio = list.renditions.iter().filter(|r| r.kind == "AUDIO");
    for (uri, codecs, size) in variants.chain(audio.map(|r| (&r.uri, None, None))) {
        let own = url
            .join(uri)
            .map_err(|_| WatchError::Reference { url: url.clone(), uri: uri.clone() })?;
        // A variant stands once for each group of sound.
        if !tracks.iter().any(|(_, url)| *url == own) {
            tracks.push((TrackName { name: name_of(&own.path), codecs, size }, own));
        }
    }
    Ok(tracks)
}

/// `video` of `/ID/manifest/video.cmaf.m3u8?query`.
fn name_of(path: &str) -> String {
    let path = path.split('?').next().unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default();
    let name = name.trim_end_matches(".m3u8");
    name.strip_suffix(".cmaf").unwrap_or(name).to_owned()
}
