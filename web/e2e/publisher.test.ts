/** What the publisher page sends: groups on streams, and the catalog. */
import { beforeEach, expect, it, vi } from 'vitest';
import type { Asked } from '../src/moq/session';
import type { Encoded, VideoFormat } from '../src/publish/encode';
import { Publisher } from '../src/publish/publisher';

/** The streams that were opened: what was written, and how each ended. */
const streams: { written: Uint8Array[]; end: 'open' | 'closed' | 'reset' }[] = [];
let onAsked: (asked: Asked) => void = () => {};
/** Whether the peer acknowledges anything. */
let acknowledges = true;
const encoders: { format?: (format: VideoFormat) => void; frame: (frame: Encoded) => void; fail?: (words: string) => void }[] = [];
/** Key frames that the encoder was asked for. */
let keysAsked = 0;
/** What the page was told: of its sound, and why it can't go on. */
const said: string[] = [];
const failed: string[] = [];
let lost = 0;
/** PUBLISH_NAMESPACE of the session: how each one ends, and what the next ones are answered instead of yes. */
const announced: (() => void)[] = [];
const refusals: Error[] = [];
/** Whether the server answers; and what was asked of it. */
let answers = true;
const pinged: unknown[] = [];
let closedWith: number | undefined;

const { Refused } = vi.hoisted(() => ({
  Refused: class extends Error {
    constructor(readonly refusal: { code: number; reason: string }) {
      super(refusal.reason);
    }
  },
}));

vi.mock('../src/moq/session', () => ({
  Refused,
  Session: {
    open: (_address: unknown, _timeoutMs: number, asked: (asked: Asked) => void) => {
      onAsked = asked;
      const never = new Promise<never>(() => {});
      const openUni = () => {
        const stream: (typeof streams)[number] = { written: [], end: 'open' };
        streams.push(stream);
        return Promise.resolve({
          write: (bytes: Uint8Array) => Promise.resolve(void stream.written.push(bytes)),
          close: () => {
            stream.end = 'closed';
            return acknowledges ? Promise.resolve() : never;
          },
          abort: () => Promise.resolve(void (stream.end = 'reset')),
        });
      };
      const publishNamespace = () => {
        const refusal = refusals.shift();
        if (refusal !== undefined) return Promise.reject(refusal);
        return Promise.resolve({ ended: new Promise<void>((resolve) => void announced.push(resolve)) });
      };
      const ping = (track: unknown, patienceMs: number) => {
        pinged.push(track);
        return answers ? Promise.resolve(true) : new Promise((resolve) => setTimeout(() => resolve(false), patienceMs));
      };
      return Promise.resolve({ closed: never, goingAway: never, publishNamespace, ping, openUni, close: (code: number) => (closedWith = code) });
    },
  },
}));
vi.mock('../src/publish/encode', () => {
  // As Chromium's MediaStreamTrackProcessor.
  const mustLive = (track: unknown) => {
    if ((track as MediaStreamTrack).readyState === 'ended') throw new TypeError('Input track cannot be ended');
  };
  class Source {
    replace() {}
    stop() {}
    wantKey() {}
  }
  return {
    AUDIO: { codec: 'opus', samplerate: 48_000, channels: 2, bitrate: 128_000 },
    VideoSource: class extends Source {
      constructor(track: unknown, format: (format: VideoFormat) => void, frame: (frame: Encoded) => void) {
        super();
        mustLive(track);
        encoders.push({ format, frame });
      }
      askForKey() {
        keysAsked++;
      }
    },
    AudioSource: class extends Source {
      constructor(track: unknown, frame: (frame: Encoded) => void, fail: (words: string) => void) {
        super();
        mustLive(track);
        encoders.push({ frame, fail });
      }
    },
  };
});

const stream = (...kinds: string[]) => ({ getVideoTracks: () => kinds.filter((kind) => kind === 'video'), getAudioTracks: () => kinds.filter((kind) => kind === 'audio') }) as unknown as MediaStream;
const frame = (sync: boolean): Encoded => ({ data: new Uint8Array(1), sync, timeUs: 0, config: null });
const settle = () => new Promise((resolve) => setTimeout(resolve, 0));

async function subscribe(name: string): Promise<void> {
  const answer = () => Promise.resolve();
  onAsked({ track: { namespace: ['a', 'input'], name }, answer, end: answer, onGroupWanted: () => {}, closed: new Promise(() => {}) });
  await settle();
}

async function start(...kinds: string[]): Promise<Publisher> {
  return startWith(stream(...kinds));
}

function startWith(stream: MediaStream): Promise<Publisher> {
  const events = { onError: (words: string) => failed.push(words), onSilent: (words: string) => said.push(words), onLost: () => lost++, onMoved: () => {} };
  return Publisher.start({ url: 'https://a.example/', certificate: null }, ['a', 'input'], stream, events);
}

/** What each catalog that went out lists, or takes out of the one before it in its group. */
function catalogs(): string[][] {
  type Listed = { tracks: { name: string }[] };
  const names = ({ tracks }: Listed) => tracks.map(({ name }) => name);
  return streams.flatMap(({ written }) => written.map((bytes) => new TextDecoder().decode(bytes))).flatMap((text) => {
    const json = /\{"(version|generatedAt)".*\}$/s.exec(text)?.[0];
    if (json === undefined) return [];
    const catalog = JSON.parse(json) as Listed & { deltaUpdate?: (Listed & { op: string })[] };
    return catalog.deltaUpdate?.map((change) => [change.op, ...names(change)]) ?? [names(catalog)];
  });
}

beforeEach(() => {
  streams.length = 0;
  for (const list of [said, failed, announced, refusals, pinged]) list.length = 0;
  lost = 0;
  answers = true;
  closedWith = undefined;
  encoders.length = 0;
  acknowledges = true;
  keysAsked = 0;
});

it('has its encoder make a key frame for who would begin with one', async () => {
  await start('video', 'audio');
  for (const [name, expected] of [['video', 1], ['audio', 1], ['catalog', 1]] as const) {
    const asked: Asked = { track: { namespace: ['a', 'input'], name }, answer: () => Promise.resolve(), end: () => Promise.resolve(), onGroupWanted: () => {}, closed: new Promise(() => {}) };
    onAsked(asked);
    await settle();
    asked.onGroupWanted();
    expect(keysAsked, name).toBe(expected);
  }
});

it('begins a group without waiting until the one before has arrived, and resets what is older than two', async () => {
  acknowledges = false;
  await start('video');
  await subscribe('video');
  for (let group = 0; group < 5; group++) {
    encoders[0]?.frame(frame(true));
    encoders[0]?.frame(frame(false));
  }
  await settle();
  expect(streams.map(({ written }) => written.length)).toEqual([3, 3, 3, 3, 3]);
  expect(streams.map(({ end }) => end)).toEqual(['reset', 'reset', 'closed', 'closed', 'open']);
});

it('resets none that has arrived', async () => {
  await start('video');
  await subscribe('video');
  for (let group = 0; group < 5; group++) {
    encoders[0]?.frame(frame(true));
    await settle();
  }
  expect(streams.map(({ end }) => end)).toEqual(['closed', 'closed', 'closed', 'closed', 'open']);
});

it('says what there is when sound comes later', async () => {
  const publisher = await start('video');
  await subscribe('catalog');
  encoders[0]?.format?.({ codec: 'avc1.42e01f', width: 640, height: 360, bitrate: 1 });
  await settle();
  expect(catalogs()).toEqual([['video']]);
  publisher.replace(stream('video', 'audio'));
  await settle();
  expect(catalogs()).toEqual([['video'], ['video', 'audio']]);
  // Another microphone is no other track.
  publisher.replace(stream('video', 'audio'));
  await settle();
  expect(catalogs()).toHaveLength(2);
});

it.each(['fails', 'is not in what is shown now'])('goes on without sound that %s, and says so', async (why) => {
  const publisher = await start('video', 'audio');
  await subscribe('catalog');
  encoders[0]?.format?.({ codec: 'avc1.42e01f', width: 640, height: 360, bitrate: 1 });
  await settle();
  if (why === 'fails') encoders[1]?.fail?.('no sound');
  else publisher.replace(stream('video'));
  await settle();
  expect([catalogs(), said]).toEqual([[['video', 'audio'], ['remove', 'audio']], why === 'fails' ? ['no sound'] : []]);
  expect(streams).toHaveLength(1);
  // The next microphone may do.
  publisher.replace(stream('video', 'audio'));
  await settle();
  expect(catalogs().at(-1)).toEqual(['video', 'audio']);
  expect(encoders).toHaveLength(3);
});

it('says why the server wants no more of it, which it asks', async () => {
  await start('video');
  refusals.push(new Refused({ code: 0x20, reason: 'another encoder has taken over this input' }));
  announced[0]?.();
  await settle();
  expect(failed).toEqual(['another encoder has taken over this input']);
});

it('goes on where the server takes it again, but for one who puts it out at once', async () => {
  await start('video');
  announced[0]?.();
  await settle();
  expect([announced.length, failed]).toEqual([2, []]);
  announced[1]?.();
  await settle();
  expect(failed).toEqual(['The server has ended this broadcast.']);
});

it.each(['it has stopped', 'the session is over'])('has nothing to say where %s', async (why) => {
  const publisher = await start('video');
  if (why === 'it has stopped') await publisher.stop();
  else refusals.push(new Error('the session is over'));
  announced[0]?.();
  await settle();
  expect([announced.length, failed]).toEqual([1, []]);
});

it.each([
  ['sound', 'video'],
  ['picture', 'audio'],
])('begins without the %s of a device that has ended', async (_name, living) => {
  const track = (kind: string) => ({ kind, readyState: kind === living ? 'live' : 'ended' });
  const [video, audio] = [track('video'), track('audio')];
  await startWith({ getVideoTracks: () => [video], getAudioTracks: () => [audio] } as unknown as MediaStream);
  await subscribe('catalog');
  encoders[0]?.format?.({ codec: 'avc1.42e01f', width: 640, height: 360, bitrate: 1 });
  await settle();
  expect(catalogs()).toEqual([[living]]);
});

it('asks whether the server is still there, and is lost where nothing comes back', async () => {
  vi.useFakeTimers();
  try {
    const publisher = await start('video');
    await vi.advanceTimersByTimeAsync(10_000);
    // Not about what is sent: who may watch that would be looked at.
    expect([pinged.length, pinged[0], lost]).toEqual([5, { namespace: ['a'], name: 'catalog' }, 0]);
    answers = false;
    await vi.advanceTimersByTimeAsync(10_000);
    expect(lost).toBe(1);
    publisher.abandon();
    // No goodbye: that would end the broadcast.
    expect(closedWith).toBe(1);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(lost).toBe(1);
  } finally {
    vi.useRealTimers();
  }
});
