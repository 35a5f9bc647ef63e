//! Live inputs.

use access::Permission::InputsWrite;
use access::Resource;
use axum::Extension;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use bytes::Bytes;
use control::{End, Expect, Input, InputKeys, InputSettings, InputUid, Presence, Standing};
use media::health::{Advice, Rate, Report};
use media::playback;
use serde_json::{Map, Value, json};
use spine::Close;
use spine::broadcast::Liveness;

use crate::auth::Caller;
use crate::envelope::{ApiError, Repeated, ok};
use crate::{Api, idempotency, merge};

pub(crate) const MISSING: &str = "there is no such live input";

type Answer = Result<Response, ApiError>;

pub(crate) async fn create(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let mut settings = InputSettings::default();
    merge::settings(&mut settings, &object(&body)?)?;
    let (input, repeated) = match idempotency::key(&headers)? {
        Some(key) => idempotency::create(&api, key, &body, settings).await?,
        None => {
            let uid = InputUid::from_random(random(&api));
            (api.control.create_input(uid, settings, random(&api), now_ms()).await?, false)
        }
    };
    let mut answer = whole(&api, &caller, &headers, &input).await?;
    if repeated {
        tracing::info!(input = %input.uid, "live input asked for again with its Idempotency-Key");
        answer.extensions_mut().insert(Repeated);
    } else {
        tracing::info!(input = %input.uid, "live input created");
    }
    Ok(answer)
}

pub(crate) async fn get(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path((_, uid)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let input = find(&api, &uid).await?;
    whole(&api, &caller, &headers, &input).await
}

pub(crate) async fn update(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path((_, uid)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let uid = find(&api, &uid).await?.uid;
    let body = object(&body)?;
    let merged = move |settings: &mut InputSettings| merge::settings(settings, &body);
    let (before, input) = api.control.change_input(&uid, merged, now_ms()).await?;
    api.access.forget_policies();
    if before.settings.enabled && !input.settings.enabled {
        end_broadcast(&api, &input.uid, Close::Disabled);
    }
    api.chat.switch(&input.uid, input.settings.recording.allow_chat);
    whole(&api, &caller, &headers, &input).await
}

pub(crate) async fn delete(
    State(api): State<Api>,
    Path((_, uid)): Path<(String, String)>,
) -> Answer {
    let input = find(&api, &uid).await?;
    // Its index is written by its owner: no encoder comes from here on, and what is on the air is
    // recorded to its end before there is no owner any more.
    let closed = InputSettings { enabled: false, ..input.settings.clone() };
    api.control.update_input(&input.uid, Expect::Any, closed, now_ms()).await?;
    (api.dismiss)(input.uid.clone()).await;
    api.control.delete_input(&input.uid, Expect::Any, now_ms()).await?;
    api.access.forget_policies();
    api.access.delete_links(input.uid.as_str()).await?;
    // One that was let in before it was closed.
    end_broadcast(&api, &input.uid, Close::Deleted);
    tracing::info!(input = %input.uid, "live input deleted");
    Ok(ok(&Value::Null))
}

pub(crate) async fn rotate_keys(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path((_, uid)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let input = find(&api, &uid).await?;
    let input = api.control.rotate_keys(&input.uid, random(&api), now_ms(), None).await?;
    // A broadcast on the old keys is disconnected.
    end_broadcast(&api, &input.uid, Close::KeyChanged);
    whole(&api, &caller, &headers, &input).await
}

/// Its encoder is told why.
fn end_broadcast(api: &Api, input: &InputUid, why: Close) {
    if let Some(path) = path_of(input) {
        api.origin.end(&path, why);
    }
}

/// The MoQ namespace of a live input: `(<account>, <input uid>)`.
fn path_of(input: &InputUid) -> Option<spine::Path> {
    spine::Path::new(["default".to_owned(), input.to_string()]).ok()
}

async fn find(api: &Api, uid: &str) -> Result<Input, ApiError> {
    let missing = || ApiError::not_found(MISSING);
    let uid = InputUid::parse(uid).map_err(|_| missing())?;
    api.control.input(&uid).await?.ok_or_else(missing)
}

/// A single-tenant installation has one account.
pub(crate) fn check_account(account: &str) -> Result<(), ApiError> {
    let known = account == "default";
    known.then_some(()).ok_or_else(|| ApiError::not_found("the account of this server is: default"))
}

/// A body, which may be empty even where a JSON content type was sent: the SDKs do that.
pub(crate) fn object(body: &Bytes) -> Result<Map<String, Value>, ApiError> {
    if body.is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(ApiError::malformed("the body must be a JSON object")),
        Err(error) => Err(ApiError::malformed(format!("the body is not JSON: {error}"))),
    }
}

/// What lists show: no keys.
pub(crate) fn summary(input: &Input) -> Value {
    json!({
        "uid": input.uid.as_str(),
        "created": date(input.created_ms),
        "modified": date(input.modified_ms),
        "meta": input.settings.meta,
        "enabled": input.settings.enabled,
        "deleteRecordingAfterDays": input.settings.delete_recording_after_days,
    })
}

async fn whole(api: &Api, caller: &Caller, headers: &HeaderMap, input: &Input) -> Answer {
    let missing = || ApiError::not_found(MISSING);
    let keys = api.control.input_keys(&input.uid).await?.ok_or_else(missing)?;
    // Who may only read must not be able to publish.
    let writes = caller.principal.may(InputsWrite, Resource::Input(input.uid.as_str()));
    let keys = writes.then_some(keys);
    let mut value = summary(input);
    let settings = serde_json::to_value(&input.settings).unwrap_or_default();
    merge_into(&mut value, settings);
    merge_into(&mut value, urls(api, headers, input, keys.as_ref()));
    if let Some(rotated) = input.keys_rotated_ms {
        value["keysRotatedAt"] = date(rotated).into();
    }
    value["status"] = status(api, input).await?;
    value["health"] = (api.health)(&input.uid).map_or(Value::Null, |report| health(&report));
    value["ladderComplaint"] = (api.levels)(input.settings.ladder.as_deref()).into();
    value["audience"] = (api.playback)(&input.uid).map_or(Value::Null, |report| audience(&report));
    Ok(ok(&value))
}

fn merge_into(value: &mut Value, more: Value) {
    if let (Value::Object(value), Value::Object(more)) = (value, more) {
        value.extend(more);
    }
}

/// Ready-to-copy URLs for every protocol; null where a listener is off, and in place of keys that are not shown.
fn urls(api: &Api, headers: &HeaderMap, input: &Input, keys: Option<&InputKeys>) -> Value {
    let authority = headers.get(header::HOST).and_then(|v| v.to_str().ok()).unwrap_or("localhost");
    let host = api.public_host.clone().unwrap_or_else(|| host_of(authority).to_owned());
    let web = web(api, headers);
    let uid = input.uid.as_str();
    let key = keys.map(|keys| keys.stream_key.expose());
    let ingest = |scheme: &str, port: u16| {
        let url = format!("{scheme}://{host}:{port}/live/");
        json!({ "url": url, "streamKey": key })
    };
    let rtmp = api.rtmp_port.map(|port| ingest("rtmp", port));
    let rtmps = api.rtmps_port.map(|port| ingest("rtmps", port));
    // Ours: the key in the path to publish, the namespace for both.
    let moq = api.quic_port.map(|port| {
        let url = format!("moqt://{host}:{port}/");
        json!({
            "publish": key.map(|key| format!("{url}{key}")),
            "play": url,
            "namespace": ["default", uid],
        })
    });
    json!({
        "moq": moq,
        "rtmp": rtmp,
        // Always filled, because existing clients read this one.
        "rtmps": rtmps.or_else(|| rtmp.clone()),
        "srt": null,
        "webRTC": null,
        "playback": { "hls": format!("{web}/{uid}/manifest/video.m3u8"), "dash": format!("{web}/{uid}/manifest/video.mpd") },
        "watch": format!("{web}/{uid}/watch"),
    })
}

/// Where this server is found on the web, without the last slash.
pub(crate) fn web(api: &Api, headers: &HeaderMap) -> String {
    if let Some(url) = &api.public_url {
        return url.clone();
    }
    let authority = headers.get(header::HOST).and_then(|v| v.to_str().ok()).unwrap_or("localhost");
    let scheme = if api.tls { "https" } else { "http" };
    match &api.public_host {
        Some(host) => format!("{scheme}://{host}{}", port_of(authority)),
        None => format!("{scheme}://{authority}"),
    }
}

pub(crate) fn host_of(authority: &str) -> &str {
    let end = authority.rfind(':').filter(|at| !authority[*at..].contains(']'));
    &authority[..end.unwrap_or(authority.len())]
}

pub(crate) fn port_of(authority: &str) -> &str {
    &authority[host_of(authority).len()..]
}

/// Null before the first connection, then the object form that clients in the wild read.
async fn status(api: &Api, input: &Input) -> Result<Value, ApiError> {
    let kept = api.control.standing(&input.uid).await?;
    let on_air = path_of(&input.uid).and_then(|path| api.origin.get(&path));
    let live = on_air.map(|broadcast| broadcast.liveness());
    let Some(status) = kept.and_then(|kept| words(&kept, live)) else { return Ok(Value::Null) };
    let video = api.control.broadcast_of(&input.uid).await?;
    let (state, reason, since_ms) = status;
    let now = now_ms();
    // What is not kept yet became so this moment.
    let since_ms = since_ms.unwrap_or(now);
    let last_seen = if ON_AIR.contains(&state) { now } else { since_ms };
    Ok(json!({ "current": {
        "state": state,
        "reason": reason,
        "statusEnteredAt": date(since_ms),
        "statusLastSeen": date(last_seen),
        "videoUID": video.map(|video| video.uid.to_string()),
    } }))
}

const ON_AIR: [&str; 2] = ["connected", "reconnected"];

type Status = (&'static str, Option<&'static str>, Option<u64>);

/// In the vendor's states, with a reason and since when: as it is here, `live`, and as it is `kept`, which follows a
/// moment later (when all of a broadcast is recorded) and lasts.
fn words(kept: &Standing, live: Option<Liveness>) -> Option<Status> {
    let since = Some(kept.since_ms);
    Some(match (kept.presence, live) {
        (Presence::Never, None) => return None,
        (Presence::OnAir { resumed: true }, Some(Liveness::Live)) => ("reconnected", None, since),
        (Presence::OnAir { .. }, Some(Liveness::Live)) => ("connected", None, since),
        // Claimed a moment ago.
        (_, Some(Liveness::Live)) => ("connected", None, None),
        // After a restart nothing is here, and its encoder may come back all the same.
        (Presence::Away(why), Some(Liveness::Parked) | None) => {
            ("reconnecting", Some(away(why)), since)
        }
        (_, Some(Liveness::Parked)) => ("reconnecting", Some(away(End::SourceLost)), None),
        (Presence::Off(why), _) => {
            let (state, reason) = off(why);
            (state, reason, since)
        }
        // It has ended, and the last of it is being recorded.
        (kept, Some(Liveness::Ended(close))) => {
            let (state, reason) = off(end_of(close, kept));
            (state, reason, None)
        }
        (Presence::OnAir { .. }, None) => ("client_disconnect", None, None),
    })
}

/// Why it ended that is not kept yet.
fn end_of(close: Close, kept: Presence) -> End {
    match (close, kept) {
        (Close::KeyChanged, _) => End::KeysChanged,
        (Close::Disabled, _) => End::Disabled,
        (Close::Deleted, _) => End::InputDeleted,
        (Close::Malformed, _) => End::Malformed,
        (_, Presence::Away(why)) => why,
        _ => End::Goodbye,
    }
}

/// Why an encoder is away that is waited for.
fn away(why: End) -> &'static str {
    match why {
        End::NodeLost => "the server was started again, and the encoder may come back",
        End::Idle => "the encoder sent nothing for too long and was cut off; it may come back",
        End::Malformed => "what the encoder sent could not be used; it may come back",
        End::Goodbye => "the encoder has stopped, and may come back",
        _ => "the encoder was lost and may come back",
    }
}

/// Why a broadcast is over.
fn off(why: End) -> (&'static str, Option<&'static str>) {
    match why {
        End::Goodbye => ("client_disconnect", None),
        End::SourceLost => {
            ("failed_to_reconnect", Some("the encoder was lost and did not come back in time"))
        }
        End::NodeLost => (
            "failed_to_reconnect",
            Some("the server broke off, and the encoder did not come back in time"),
        ),
        End::Idle => (
            "failed_to_reconnect",
            Some("the encoder sent nothing for too long, and did not come back in time"),
        ),
        End::Malformed => ("client_disconnect", Some("what the encoder sent could not be used")),
        End::Shutdown => ("client_disconnect", Some("the server was stopped")),
        End::KeysChanged => {
            ("client_disconnect", Some("the stream key was changed while it was on the air"))
        }
        End::Disabled => {
            ("client_disconnect", Some("the live input was disabled while it was on the air"))
        }
        End::InputDeleted => {
            ("client_disconnect", Some("the live input was deleted while it was on the air"))
        }
    }
}

/// Ours: what the encoder does, and what its owner could do better, in words.
fn health(report: &Report) -> Value {
    let rate = |rate: &Rate| {
        json!({
            "bitsPerSecond": rate.bits_per_second,
            "framesPerSecond": (rate.frames_per_second * 100.0).round() / 100.0,
        })
    };
    let repairs = &report.repairs;
    json!({
        "protocol": report.protocol,
        "connectedSeconds": report.connected_s,
        "video": report.video.as_ref().map(rate),
        "audio": report.audio.as_ref().map(rate),
        "keyFrameIntervalSeconds": report.key_frame_interval_s,
        "uploadRatio": report.upload_ratio.map(|r| (r * 1000.0).round() / 1000.0),
        "framesDropped": report.dropped,
        "framesUnreadable": report.unreadable,
        "repairs": {
            "clockJumps": repairs.jumps_back + repairs.jumps_forward,
            "timesNotRising": repairs.times_not_rising,
            "audioReanchored": repairs.audio_reanchored,
            "audioGaps": repairs.audio_gaps,
            "audioOverlaps": repairs.audio_overlaps,
            "droppedAtStart": repairs.dropped_at_start,
            "alignedByArrival": repairs.aligned_by_arrival,
        },
        "advice": report.advice.iter().map(|advice| &advice.words).collect::<Vec<_>>(),
        "adviceSince": report.advice.iter().map(since).collect::<Vec<_>>(),
    })
}

/// When it began to be so.
fn since(advice: &Advice) -> Option<String> {
    Some(date(now_ms().saturating_sub(advice.for_ms?)))
}

/// Ours: how it plays, by what players say of themselves (CMCD).
fn audience(report: &playback::Report) -> Value {
    let started = report.started();
    json!({
        "sessions": report.sessions,
        "sessionsSeen": report.sessions_seen,
        "startMs": {
            "count": started,
            "mean": report.start_ms_sum.checked_div(started),
            "p50": report.start_ms_within(0.5),
            "p95": report.start_ms_within(0.95),
        },
        "stalls": report.stalls,
        "bitrateKbps": report.bitrate_kbps,
    })
}

pub(crate) fn date(ms: u64) -> String {
    media::date::date_time(ms)
}

pub(crate) fn random<const N: usize>(api: &Api) -> [u8; N] {
    let mut bytes = [0; N];
    (api.random)(&mut bytes);
    bytes
}

pub(crate) fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_the_vendors_and_have_a_reason() {
        let [live, parked] = [Some(Liveness::Live), Some(Liveness::Parked)];
        let ended = |why| Some(Liveness::Ended(why));
        for (presence, live, expect) in [
            (Presence::Never, None, None),
            (Presence::Never, live, Some(("connected", None, false))),
            (Presence::OnAir { resumed: false }, live, Some(("connected", None, true))),
            (Presence::OnAir { resumed: true }, live, Some(("reconnected", None, true))),
            // The broadcast before is still what is kept.
            (Presence::Off(End::Idle), live, Some(("connected", None, false))),
            (
                Presence::OnAir { resumed: false },
                parked,
                Some(("reconnecting", Some("the encoder was lost"), false)),
            ),
            (
                Presence::Away(End::Idle),
                parked,
                Some(("reconnecting", Some("the encoder sent nothing"), true)),
            ),
            (
                Presence::Away(End::NodeLost),
                None,
                Some(("reconnecting", Some("the server was started again"), true)),
            ),
            (
                Presence::Off(End::NodeLost),
                None,
                Some(("failed_to_reconnect", Some("the server broke off"), true)),
            ),
            (
                Presence::OnAir { resumed: false },
                ended(Close::Ended),
                Some(("client_disconnect", None, false)),
            ),
            (
                Presence::OnAir { resumed: false },
                ended(Close::Disabled),
                Some(("client_disconnect", Some("the live input was disabled"), false)),
            ),
            (
                Presence::Off(End::KeysChanged),
                ended(Close::KeyChanged),
                Some(("client_disconnect", Some("the stream key was changed"), true)),
            ),
            (Presence::Off(End::Goodbye), None, Some(("client_disconnect", None, true))),
        ] {
            let found = words(&Standing { presence, since_ms: 5 }, live);
            let case = format!("{presence:?} {live:?}: {found:?}");
            assert_eq!(
                found.map(|f| (f.0, f.2)),
                expect.map(|e| (e.0, e.2.then_some(5))),
                "{case}"
            );
            let reason = found.and_then(|f| f.1).unwrap_or("");
            let words = expect.and_then(|e| e.1).unwrap_or("");
            assert!(reason.starts_with(words) && reason.is_empty() == words.is_empty(), "{case}");
        }
    }

    #[test]
    fn hosts_are_taken_out_of_authorities() {
        for (authority, host, port) in [
            ("example.com", "example.com", ""),
            ("example.com:8080", "example.com", ":8080"),
            ("127.0.0.1:1", "127.0.0.1", ":1"),
            ("[::1]:8080", "[::1]", ":8080"),
            ("[::1]", "[::1]", ""),
        ] {
            assert_eq!((host_of(authority), port_of(authority)), (host, port), "{authority}");
        }
    }
}
