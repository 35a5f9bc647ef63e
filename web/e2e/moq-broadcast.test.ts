/** How a track that is followed over MoQ ends, over a make-believe WebTransport. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { Broadcast, type BroadcastEvents } from '../src/moq/broadcast';
import * as messages from '../src/moq/messages';
import { writeHeader, writeObjectHead } from '../src/moq/objects';
import { Writer } from '../src/moq/wire';
import { answers } from '../src/player/moq-engine';

/** Requests of the page: the catalog gets no answer, the track these. */
function serverThatSays(...said: Uint8Array<ArrayBuffer>[]): void {
  serverThatAnswers([], said);
}

/** Requests of the page get these in their order. */
function serverThatAnswers(...answers: (readonly Uint8Array<ArrayBuffer>[])[]): void {
  let requests = 0;
  const transport = class {
    ready = Promise.resolve();
    closed = new Promise<never>(() => {});
    protocol = messages.VERSION;
    incomingUnidirectionalStreams = new ReadableStream();
    incomingBidirectionalStreams = new ReadableStream();
    createUnidirectionalStream = () => Promise.resolve(new WritableStream());
    createBidirectionalStream = () => {
      const said = answers[requests++] ?? [];
      const start = (controller: ReadableStreamDefaultController) => said.forEach((message) => controller.enqueue(message));
      return Promise.resolve({ readable: new ReadableStream({ start }), writable: new WritableStream() });
    };
    close() {}
  };
  vi.stubGlobal('window', globalThis);
  vi.stubGlobal('WebTransport', transport);
}

afterEach(() => vi.unstubAllGlobals());

/** REQUEST_OK with LARGEST_OBJECT, or with nothing. */
function has(...largest: number[]): Uint8Array<ArrayBuffer> {
  const body = largest.length === 0 ? [0] : [1, 9, ...largest];
  return Uint8Array.of(messages.KIND.REQUEST_OK, 0, body.length, ...body);
}

describe('whether a track lags', () => {
  it.each([
    ['what the server has is not here a moment later', [has(5, 0)], true],
    ['it has nothing', [has()], false],
    ['it knows of no such track', [messages.requestError(0x10, '')], false],
    ['it does not answer in time', [], true],
  ] as const)('%s', async (_name, said, expected) => {
    vi.useFakeTimers();
    try {
      serverThatAnswers([], [messages.subscribeOk(4, new Uint8Array())], said);
      const here = { url: 'https://a.example:4443/', certificate: null };
      const events: BroadcastEvents = { onCatalog: () => {}, onEnd: () => {}, onLost: () => {} };
      const lagging = new Promise<boolean>((resolve) => {
        const follow = (broadcast: Broadcast) => {
          const followed = broadcast.follow('video', 1, () => {});
          setTimeout(() => void followed.isLagging().then(resolve), 0);
        };
        Broadcast.open(here, ['default', 'one'], 'catalog', 60_000, events, follow).catch(() => {});
      });
      await vi.advanceTimersByTimeAsync(3_000);
      expect(await lagging).toBe(expected);
    } finally {
      vi.useRealTimers();
    }
  });
});

describe('a track that is followed', () => {
  const granted = messages.subscribeOk(4, new Uint8Array());
  it.each([
    ['its end is that of the broadcast', [granted, messages.publishDone(0x2, 0)], 'end'],
    ['UNAUTHORIZED takes it away', [granted, messages.publishDone(0x1, 0)], 'unauthorized'],
    ['EXPIRED takes it away, too', [granted, messages.publishDone(0x6, 0)], 'unauthorized'],
    ['a fault of the server is none of the viewer', [granted, messages.publishDone(0x0, 0)], 'path'],
    ['who is too slow may come again', [granted, messages.publishDone(0x5, 0)], 'path'],
    ['refused without a token', [messages.requestError(0x1, '')], 'unauthorized'],
    ['refused with one that is none', [messages.requestError(0x4, '')], 'unauthorized'],
    ['refused with one that is over', [messages.requestError(0x5, '')], 'unauthorized'],
    ['refused for another reason', [messages.requestError(0x9, '')], 'path'],
  ] as const)('%s', async (_name, said, expected) => {
    serverThatSays(...said);
    const ended = await new Promise<string>((resolve) => {
      const events: BroadcastEvents = {
        onCatalog: () => {},
        onEnd: () => resolve('end'),
        onLost: (why) => resolve(why),
      };
      const here = { url: 'https://a.example:4443/', certificate: null };
      const follow = (broadcast: Broadcast) => {
        broadcast.follow('video', 1, () => {});
      };
      Broadcast.open(here, ['default', 'one'], 'catalog', 1_000, events, follow).catch(() => {});
    });
    expect(ended).toBe(expected);
  });

  // Levels are encoded, or not; what plays meanwhile goes on.
  it.each([
    ['a fault of the server costs it alone', [granted, messages.publishDone(0x0, 0)], 'lacks'],
    ['there is none', [messages.requestError(0x10, '')], 'lacks'],
    ['its end is that of the broadcast', [granted, messages.publishDone(0x2, 0)], 'end'],
    ['UNAUTHORIZED takes all away', [granted, messages.publishDone(0x1, 0)], 'unauthorized'],
    ['who is too slow may come again', [granted, messages.publishDone(0x5, 0)], 'path'],
  ] as const)('beside others: %s', async (_name, said, expected) => {
    serverThatSays(...said);
    const ended = await new Promise<string>((resolve) => {
      const events: BroadcastEvents = { onCatalog: () => {}, onEnd: () => resolve('end'), onLost: (why) => resolve(why) };
      const here = { url: 'https://a.example:4443/', certificate: null };
      const follow = (broadcast: Broadcast) => void broadcast.follow('video.360p', 1, () => {}, () => resolve('lacks'));
      Broadcast.open(here, ['default', 'one'], 'catalog', 1_000, events, follow).catch(() => {});
    });
    expect(ended).toBe(expected);
  });
});

describe('an encoder that is silent', () => {
  /** How many requests came in so many seconds of silence; `object`: one comes after so long. */
  async function asked(seconds: number, answers: boolean, object: number | null = null): Promise<[requests: number, lost: boolean]> {
    vi.useFakeTimers();
    try {
      const streams = new TransformStream<ReadableStream<Uint8Array>, ReadableStream<Uint8Array>>();
      let [requests, lost] = [0, false];
      serverThatAnswers([], [messages.subscribeOk(4, new Uint8Array())]);
      const Base = WebTransport as unknown as new () => { createBidirectionalStream: () => unknown };
      vi.stubGlobal(
        'WebTransport',
        class extends Base {
          incomingUnidirectionalStreams = streams.readable;
          constructor() {
            super();
            const first = this.createBidirectionalStream;
            this.createBidirectionalStream = () => {
              if (++requests <= 2) return first();
              const start = (controller: ReadableStreamDefaultController) => answers && controller.enqueue(has(5, 0));
              return Promise.resolve({ readable: new ReadableStream({ start: (c) => void start(c) }), writable: new WritableStream() });
            };
          }
        },
      );
      const here = { url: 'https://a.example:4443/', certificate: null };
      const events: BroadcastEvents = { onCatalog: () => {}, onEnd: () => {}, onLost: () => (lost = true) };
      const follow = (broadcast: Broadcast) => void broadcast.follow('video', 1, () => {});
      Broadcast.open(here, ['default', 'one'], 'catalog', 60_000, events, follow).catch(() => {});
      if (object !== null) {
        await vi.advanceTimersByTimeAsync(object * 1_000);
        requests = 2;
        const bytes = new Writer().raw(writeHeader(4, 0)).raw(writeObjectHead(new Uint8Array(), 1)).byte(7).done();
        const stream = new ReadableStream<Uint8Array>({ start: (controller) => controller.enqueue(bytes) });
        void streams.writable.getWriter().write(stream);
      }
      await vi.advanceTimersByTimeAsync(seconds * 1_000);
      return [requests - 2, lost];
    } finally {
      vi.useRealTimers();
    }
  }

  it('is asked after ever less often, at last each four seconds', async () => {
    expect(await asked(10, true)).toEqual([4, false]);
    expect(await asked(60, true)).toEqual([17, false]);
  });

  it('is asked after at once if it falls silent again', async () => {
    expect(await asked(1, true, 20)).toEqual([1, false]);
  });

  it('is gone if the server does not answer', async () => {
    expect(await asked(2, false)).toEqual([1, true]);
  });
});

/** Else a player that has a level over HLS, as MoQ has none, would be taken there and back again and again. */
it.each([
  ['that is listed', 360, true],
  ['that is not', 480, false],
])('there is a way to a level %s', async (_name, height, expected) => {
  const track = { name: 'video.360p.cmaf', packaging: 'cmaf', role: 'video', codec: 'avc1.64001e', width: 640, height: 360, bitrate: 7, initRef: 'v' };
  const catalog = new TextEncoder().encode(JSON.stringify({ version: 'draft-01', tracks: [track], initDataList: [{ id: 'v', type: 'inline', data: 'AQID' }] }));
  const bytes = new Writer().raw(writeHeader(4, 0)).raw(writeObjectHead(new Uint8Array(), catalog.length)).raw(catalog).done();
  serverThatAnswers([messages.subscribeOk(4, new Uint8Array())]);
  const stream = new ReadableStream<Uint8Array>({ start: (controller) => controller.enqueue(bytes) });
  const Base = WebTransport as unknown as new () => object;
  vi.stubGlobal(
    'WebTransport',
    class extends Base {
      incomingUnidirectionalStreams = new ReadableStream({ start: (controller) => controller.enqueue(stream) });
    },
  );
  vi.stubGlobal('MediaSource', { isTypeSupported: () => true });
  vi.stubGlobal('isSecureContext', true);
  const place = { address: { url: 'https://a.example:4443/', certificate: null }, namespace: ['default', 'one'] };
  expect(await answers(place, { width: 640, height, bitrateBps: 7, codecs: '' })).toBe(expected);
});
