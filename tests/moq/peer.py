#!/usr/bin/env python3
"""An independent MoQ client for the end-to-end tests: moq-rs (moq-dev/moq) from .cache/moq-peer.

    peer.py watch URL NAMESPACE FOLDER   every track of the catalog, to the end of the broadcast
    peer.py publish URL NAMESPACE FILE   a fragmented MP4, in real time
    peer.py say URL NAMESPACE TRACK      a line a tenth of a second, until it is ended
    peer.py hear URL NAMESPACE TRACK     five lines in a row
    peer.py chat URL NAMESPACE TEXT      says it in the chat beside a broadcast, and prints what the chat says until it is there

`watch` finds its way by the MSF catalog alone. It writes FOLDER/NAME.mp4 for each cmaf track (initialisation
segment, then the objects in order), and FOLDER/NAME.json for the raw track `video`: [MD5, microseconds] of
each object. It prints a line as soon as a track has begun. Whoever is told in the middle that it is too far behind
has written what came until then, without a hole, and fails.
"""

import asyncio
import base64
import hashlib
import json
import os
import pathlib
import struct
import sys

import moq


async def watch(client, namespace, folder):
    broadcast = await client.announced_broadcast(namespace)
    track = await broadcast.subscribe_track("catalog")
    catalog = json.loads((await track.read_frame()).payload)
    track.cancel()
    inits = {init["id"]: base64.b64decode(init["data"]) for init in catalog["initDataList"]}
    cmaf = [entry for entry in catalog["tracks"] if entry["packaging"] == "cmaf"]
    jobs = [whole(broadcast, name) for name in [*(entry["name"] for entry in cmaf), "video"]]
    *tracks, (raw, _) = read = await asyncio.gather(*jobs)
    folder = pathlib.Path(folder)
    for entry, (frames, _) in zip(cmaf, tracks):
        media = b"".join(frame.payload for frame in frames)
        (folder / f"{entry['name']}.mp4").write_bytes(inits[entry["initRef"]] + media)
    objects = [[hashlib.md5(frame.payload).hexdigest(), frame.timestamp_us] for frame in raw]
    (folder / "video.json").write_text(json.dumps(objects))
    for _, why in read:
        if why is not None:
            raise why


async def whole(broadcast, name):
    """The objects of a track, in order: all of them to its end, or what came before it failed, and why it did."""
    # Left to itself the library gives a group up as soon as a newer one is there.
    patient = moq.Subscription(max_age_us=60_000_000)
    track = await broadcast.subscribe_track(name, patient)
    groups, jobs, broken = {}, [], {}

    async def read(group):
        frames = groups.setdefault(group.sequence, [])
        try:
            async for frame in group:
                frames.append(frame)
        except Exception as error:
            said = str(getattr(error, "details", error))
            print("broken", name, group.sequence, "after", len(frames), "frames:", said, flush=True)
            broken[group.sequence] = error

    why = None
    try:
        async for group in track.groups_as_arrived():
            if not jobs:
                print("begun", name, group.sequence, flush=True)
            jobs.append(asyncio.create_task(read(group)))
    except Exception as error:
        why = error
    await asyncio.gather(*jobs)
    why = next(iter(broken.values()), why)
    if why is None:
        return [frame for sequence in sorted(groups) for frame in groups[sequence]], None
    # Up to the first hole: an end tells which groups there are, and there was none.
    run, sequence = [], min(groups, default=0)
    while sequence in groups:
        run += groups[sequence]
        if sequence in broken:
            break
        sequence += 1
    return run, why


async def publish(client, namespace, file):
    data = pathlib.Path(file).read_bytes()
    boxes, at = [], 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        boxes.append((kind, data[at : at + size]))
        at += size
    broadcast = client.create_broadcast(namespace)
    stream = broadcast.publish_container_stream(moq.ContainerFormat.FMP4)
    broadcast.announce()
    # The file has fragments of 100 ms.
    loop = asyncio.get_running_loop()
    began, fragments = loop.time(), 0
    for kind, box in boxes:
        if kind == b"moof":
            await asyncio.sleep(began + fragments * 0.1 - loop.time())
            fragments += 1
        stream.write(box)
    stream.finish()
    # The last words must get out before the broadcast is taken back, which may cut what is under way.
    await asyncio.sleep(1)
    broadcast.close()
    await asyncio.sleep(1)


async def say(client, namespace, name):
    broadcast = client.create_broadcast(namespace)
    track = broadcast.publish_track(name)
    broadcast.announce()
    for line in range(10_000):
        track.write_frame(f"line {line}".encode())
        await asyncio.sleep(0.1)


async def hear(client, namespace, name):
    broadcast = await client.announced_broadcast(namespace)
    # Each line is a group of its own, on a stream of its own: the last may come first, and none is given up.
    track = await broadcast.subscribe_track(name, moq.Subscription(max_age_us=60_000_000))
    lines, jobs = {}, []

    async def read(group):
        async for frame in group:
            lines[group.sequence] = frame.payload.decode()

    # Side by side: the one that was under way comes by FETCH, and nothing says that it is over.
    async for group in track.groups_as_arrived():
        jobs.append(asyncio.create_task(read(group)))
        await asyncio.sleep(0)
        # One may be lost to a machine that stands still.
        for first in lines:
            row = range(first, first + 5)
            if not all(sequence in lines for sequence in row):
                continue
            for sequence in row:
                print(lines[sequence], flush=True)
            for job in jobs:
                job.cancel()
            return


async def chat(client, namespace, text):
    watched = await client.announced_broadcast(namespace)
    track = await watched.subscribe_track("chat")
    own = None
    async for group in track:
        async for frame in group:
            line = frame.payload.decode()
            print(line, flush=True)
            if text in line:
                return
            if own is None:
                own = client.create_broadcast(f"{namespace}/chat")
                messages = own.publish_track("messages")
                own.announce()
                await messages.used()
                messages.write_frame(json.dumps({"name": "peer", "text": text}).encode())


async def main():
    what, url, *rest = sys.argv[1:]
    async with moq.Client(url, tls_verify=False) as client:
        await {"watch": watch, "publish": publish, "say": say, "hear": hear, "chat": chat}[what](client, *rest)


# Whatever happens, it ends by itself.
asyncio.run(asyncio.wait_for(main(), int(os.environ.get("MOQ_PEER_SECONDS", "120"))))
