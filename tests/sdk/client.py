"""The vendor's official Python client against an Airwave: everything of its API that there is here.

Told by the environment: the address (CLOUDFLARE_BASE_URL) and a token (CLOUDFLARE_API_TOKEN); by its argument: what is on the
server. The client is as it was published. Exit code 1, with a traceback, if anything is not as it should be.
"""

import base64
import json
import sys
import urllib.error
import urllib.request

import cloudflare
from cloudflare import Cloudflare

ACCOUNT = "default"
about = json.loads(sys.argv[1])
client = Cloudflare(max_retries=0)


def status(url):
    try:
        return urllib.request.urlopen(url).status
    except urllib.error.HTTPError as error:
        return error.code


def refused(kind, ask):
    try:
        ask()
    except kind as error:
        return error
    raise AssertionError(f"not refused with {kind}")


def live_inputs():
    inputs = client.stream.live_inputs
    made = inputs.create(
        account_id=ACCOUNT, meta={"name": "A hall"}, recording={"mode": "automatic", "require_signed_urls": True}
    )
    assert len(made.uid) == 32 and made.meta == {"name": "A hall"}, made
    assert made.rtmps.url.startswith("rtmp") and made.rtmps.stream_key, made
    assert made.recording.require_signed_urls is True and made.recording.mode == "automatic", made
    assert made.created.year >= 2020 and made.enabled is True, made
    read = inputs.get(made.uid, account_id=ACCOUNT)
    assert read.rtmps.stream_key == made.rtmps.stream_key
    changed = inputs.update(made.uid, account_id=ACCOUNT, enabled=False, delete_recording_after_days=45)
    assert changed.enabled is False and changed.delete_recording_after_days == 45, changed
    assert changed.meta == {"name": "A hall"}, "what is not named stays"
    listed = inputs.list(account_id=ACCOUNT, include_counts=True)
    uids = [row.uid for row in listed.live_inputs]
    assert made.uid in uids and about["live"] in uids and listed.total == len(uids), listed
    on_air = inputs.get(about["live"], account_id=ACCOUNT)
    assert on_air.status["current"]["state"] == "connected", on_air.status
    inputs.delete(made.uid, account_id=ACCOUNT)
    once = [inputs.create(account_id=ACCOUNT, idempotency_key="a key of a Python client") for _ in range(2)]
    assert once[0].uid == once[1].uid and once[0].rtmps.stream_key == once[1].rtmps.stream_key, once
    inputs.delete(once[0].uid, account_id=ACCOUNT)
    # It stays so: not worth trying again, which the client would do by itself.
    refused(cloudflare.ConflictError, lambda: inputs.create(account_id=ACCOUNT, idempotency_key="a key of a Python client"))
    error = refused(cloudflare.NotFoundError, lambda: inputs.get(made.uid, account_id=ACCOUNT))
    assert "live input" in error.errors[0].message, error.errors
    error = refused(
        cloudflare.BadRequestError, lambda: inputs.create(account_id=ACCOUNT, recording={"mode": "maybe"})
    )
    assert "recording.mode" in error.errors[0].message, error.errors


def videos():
    listed = client.stream.list(account_id=ACCOUNT)
    found = {video.uid: video for video in listed}
    video = found[about["video"]]
    assert video.status.state == "ready" and video.duration > 10 and video.ready_to_stream, video
    assert video.live_input == about["recorded"] and video.input.width > 0, video
    assert status(video.playback.hls) == 200 and status(video.playback.dash) == 200, video.playback
    ready = [v.uid for v in client.stream.list(account_id=ACCOUNT, status="ready", asc=True)]
    assert ready == [about["video"]], ready
    edited = client.stream.edit(
        about["video"], account_id=ACCOUNT, creator="somebody", meta={"name": "The concert"}, require_signed_urls=True
    )
    assert edited.creator == "somebody" and edited.require_signed_urls is True, edited
    read = client.stream.get(about["video"], account_id=ACCOUNT)
    assert read.meta == {"name": "The concert"}, read
    details = {"title": "A concert", "logo": "https://example.com/logo.png"}
    edited = client.stream.edit(about["video"], account_id=ACCOUNT, public_details=details)
    assert edited.public_details.title == "A concert" and edited.public_details.share_link is None, edited
    assert edited.public_details.logo == "https://example.com/logo.png" and edited.creator == "somebody", edited


def captions_and_downloads():
    video, captions = about["video"], client.stream.captions
    of = {"account_id": ACCOUNT, "identifier": video}
    vtt = "WEBVTT\n\n00:00:01.000 --> 00:00:02.000\nGood evening\n"
    made = captions.language.update("en", file=vtt, **of)
    assert made.language == "en" and made.generated is False and made.status == "ready", made
    assert [caption.language for caption in captions.get(video, account_id=ACCOUNT)] == ["en"]
    read = captions.language.get("en", **of)
    assert read == made, read
    assert "Good evening" in captions.language.vtt.get("en", **of)
    captions.language.delete("en", **of)
    assert list(captions.get(video, account_id=ACCOUNT)) == []
    made = client.stream.downloads.create(video, account_id=ACCOUNT)
    assert made.default.status in ("ready", "inprogress") and made.default.url, made
    read = client.stream.downloads.get(video, account_id=ACCOUNT)
    assert read.default.url == made.default.url, read
    client.stream.downloads.delete(video, account_id=ACCOUNT)


def clips_and_embedding():
    video, of = about["video"], {"account_id": ACCOUNT}
    cut = client.stream.clip.create(
        clipped_from_video_uid=video, start_time_seconds=1, end_time_seconds=3, meta={"name": "The chorus"}, **of
    )
    assert cut.clipped_from == video and cut.duration == 2 and cut.require_signed_urls is True, cut
    assert cut.meta == {"name": "The chorus"} and cut.uid in [row.uid for row in client.stream.list(**of)], cut
    error = refused(
        cloudflare.BadRequestError,
        lambda: client.stream.clip.create(clipped_from_video_uid=video, start_time_seconds=3, end_time_seconds=1, **of),
    )
    assert "startTimeSeconds" in error.errors[0].message, error.errors
    line = client.stream.embed.get(cut.uid, **of)
    assert line.startswith("<iframe src=") and f"/{cut.uid}/iframe" in line and "The chorus" in line, line
    client.stream.delete(cut.uid, **of)
    refused(cloudflare.NotFoundError, lambda: client.stream.embed.get(cut.uid, **of))


def links():
    made = client.stream.token.create(about["video"], account_id=ACCOUNT, downloadable=False)
    manifest = f"{about['playback']}{made.token}/manifest/video.m3u8"
    assert status(manifest) == 200, manifest
    assert status(manifest.replace(made.token, about["video"])) == 401
    key = client.stream.keys.create(account_id=ACCOUNT)
    assert base64.b64decode(key.pem).startswith(b"-----BEGIN"), "PEM in base64"
    assert json.loads(base64.b64decode(key.jwk))["kty"] == "RSA"
    signed = client.stream.token.create(about["video"], account_id=ACCOUNT, id=key.id, pem=key.pem)
    own = f"{about['playback']}{signed.token}/manifest/video.m3u8"
    assert status(own) == 200, own
    assert key.id in [row.id for row in client.stream.keys.get(account_id=ACCOUNT)]
    client.stream.keys.delete(key.id, account_id=ACCOUNT)
    assert status(own) == 401, "taken back"


def tokens():
    groups = {group.name: group.id for group in client.user.tokens.permission_groups.list()}
    policy = {
        "effect": "allow",
        "permission_groups": [{"id": groups["Stream Read"]}],
        "resources": {f"com.cloudflare.api.account.{ACCOUNT}": "*"},
    }
    for tokens, more in [(client.user.tokens, {}), (client.accounts.tokens, {"account_id": ACCOUNT})]:
        assert {group.name: group.id for group in tokens.permission_groups.list(**more)} == groups
        made = tokens.create(name="reader", policies=[policy], expires_on="2999-01-01T00:00:00Z", **more)
        assert made.value and made.status == "active", made
        reader = Cloudflare(api_token=made.value, max_retries=0)
        verified = (reader.user.tokens if not more else reader.accounts.tokens).verify(**more)
        assert verified.id == made.id and verified.status == "active", verified
        assert reader.stream.live_inputs.get(about["live"], account_id=ACCOUNT).rtmps.stream_key is None
        refused(
            cloudflare.PermissionDeniedError,
            lambda: reader.stream.live_inputs.update(about["live"], account_id=ACCOUNT, enabled=False),
        )
        legacy = Cloudflare(api_key=made.value, api_email="nobody@example.com", api_token=None, max_retries=0)
        assert legacy.stream.live_inputs.list(account_id=ACCOUNT).live_inputs
        assert made.id in [token.id for token in tokens.list(**more)]
        assert tokens.get(made.id, **more).name == "reader"
        policies = [{**policy, "effect": "allow"}]
        assert tokens.update(made.id, name="renamed", policies=policies, **more).name == "renamed"
        rolled = tokens.value.update(made.id, **more)
        refused(cloudflare.AuthenticationError, lambda: reader.user.tokens.verify())
        assert Cloudflare(api_token=rolled, max_retries=0).user.tokens.verify().status == "active"
        assert tokens.delete(made.id, **more).id == made.id
        refused(cloudflare.NotFoundError, lambda: tokens.get(made.id, **more))


def audit_log():
    entries = list(client.audit_logs.list(account_id=ACCOUNT, per_page=2, action={"type": "delete"}))
    kinds = [entry.resource.type for entry in entries]
    assert {"live_inputs", "keys", "tokens"} <= set(kinds), kinds
    assert all(entry.action.type == "delete" and entry.actor.ip == "127.0.0.1" for entry in entries), entries
    assert entries[0].when >= entries[-1].when, "the newest first"


live_inputs()
videos()
captions_and_downloads()
clips_and_embedding()
links()
tokens()
audit_log()
client.stream.delete(about["video"], account_id=ACCOUNT)
refused(cloudflare.NotFoundError, lambda: client.stream.get(about["video"], account_id=ACCOUNT))
refused(cloudflare.AuthenticationError, lambda: Cloudflare(api_token="wrong", max_retries=0).stream.list(account_id=ACCOUNT))
