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
/** What the page was told of its sound. */
const said: string[] = [];

vi.mock('../src/moq/session', () => ({
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
      return Promise.resolve({ closed: never, goingAway: never, publishNamespace: () => Promise.resolve(), openUni, close: () => {} });
    },
  },
}));
vi.mock('../src/publish/encode', () => {
  class Source {
    replace() {}
    stop() {}
    wantKey() {}
  }
  return {
    AUDIO: { codec: 'opus', samplerate: 48_000, channels: 2, bitrate: 128_000 },
    VideoSource: class extends Source {
      constructor(_track: unknown, format: (format: VideoFormat) => void, frame: (frame: Encoded) => void) {
        super();
        encoders.push({ format, frame });
      }
      askForKey() {
        keysAsked++;
      }
    },
    AudioSource: class extends Source {
      constructor(_track: unknown, frame: (frame: Encoded) => void, fail: (words: string) => void) {
        super();
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
  onAsked({ track: { namespace: ['a'], name }, answer, end: answer, onGroupWanted: () => {}, closed: new Promise(() => {}) });
  await settle();
}

async function start(...kinds: string[]): Promise<Publisher> {
  return Publisher.start({ url: 'https://a.example/', certificate: null }, ['a'], stream(...kinds), { onError: () => {}, onSilent: (words) => said.push(words), onLost: () => {}, onMoved: () => {} });
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
  said.length = 0;
  encoders.length = 0;
  acknowledges = true;
  keysAsked = 0;
});

it('has its encoder make a key frame for who would begin with one', async () => {
  await start('video', 'audio');
  for (const [name, expected] of [['video', 1], ['audio', 1], ['catalog', 1]] as const) {
    const asked: Asked = { track: { namespace: ['a'], name }, answer: () => Promise.resolve(), end: () => Promise.resolve(), onGroupWanted: () => {}, closed: new Promise(() => {}) };
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
