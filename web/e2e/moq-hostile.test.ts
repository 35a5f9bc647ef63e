/** Anything at all from a server: it is refused in words, and nothing waits for what does not come. */
import { describe, expect, it } from 'vitest';
import { parseCatalog } from '../src/moq/catalog';
import { frameInfo } from '../src/moq/loc';
import * as messages from '../src/moq/messages';
import { isSubgroup, readHeader, readObjects } from '../src/moq/objects';
import { Malformed, pairs, Reader, Source, Writer, writePairs } from '../src/moq/wire';
import { partInfo } from '../src/player/part';

/** xorshift32: the same number gives the same bytes. */
function random(seed: number): () => number {
  let state = seed * 2_654_435_761 + 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

/** A few bytes changed, cut out or put in twice. */
function changed(bytes: Uint8Array, next: () => number): Uint8Array<ArrayBuffer> {
  const list = [...bytes];
  for (let times = 1 + Math.floor(next() * 5); times > 0; times--) {
    const at = Math.floor(next() * list.length);
    const length = Math.floor(next() * 8);
    const kind = Math.floor(next() * 4);
    if (kind === 0) list.splice(at, length);
    else if (kind === 1) list.splice(at, 0, ...list.slice(at, at + length));
    else list[at] = kind === 2 ? ([0, 1, 0x7f, 0x80, 0xff][Math.floor(next() * 5)] ?? 0) : Math.floor(next() * 256);
  }
  return Uint8Array.from(list);
}

function source(bytes: Uint8Array): Source {
  const stream = new ReadableStream<Uint8Array>({
    start(controller) {
      for (let at = 0; at < bytes.length; at += 5) controller.enqueue(bytes.subarray(at, at + 5));
      controller.close();
    },
  });
  return new Source(stream.getReader());
}

const properties = writePairs([[0x08, 90_000], [0x09, Uint8Array.of(0xe0)], [0x0d, Uint8Array.of(1, 2, 3)], [0x10, 180_000], [0x3806, 1_700_000_000_000]]);
const stream = new Writer().varint(0x71).varint(4).varint(9).varint(0).prefixed(properties).varint(3).raw(Uint8Array.of(7, 8, 9)).varint(0).prefixed(properties).varint(0).varint(3).done();
const catalog = JSON.stringify({
  version: 'draft-01',
  tracks: [{ name: 'video', packaging: 'loc', role: 'video', codec: 'avc1.64001f', initRef: 'v', timescale: 90_000 }],
  initDataList: [{ id: 'v', type: 'inline', data: 'AQID' }],
});

const BODIES: ((body: Reader) => unknown)[] = [messages.readSubscribe, messages.readUpdate, messages.readSubscribeOk, messages.readRequestError, messages.readPublishDone, messages.readGoAway];

async function readMessages(bytes: Uint8Array): Promise<void> {
  const from = source(bytes);
  for (let message = await messages.readMessage(from); message !== null; message = await messages.readMessage(from)) {
    const body = message.body.rest();
    for (const read of BODIES) tolerate(() => read(new Reader(body)));
  }
}

async function readStream(bytes: Uint8Array): Promise<void> {
  const from = source(bytes);
  const kind = await from.varint();
  if (!isSubgroup(kind)) return;
  const header = await readHeader(kind, from);
  for await (const object of readObjects(from, header)) {
    tolerate(() => frameInfo(object.properties, 90_000));
    tolerate(() => partInfo(object.properties));
  }
}

function tolerate(read: () => unknown): void {
  try {
    read();
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
  }
}

const asked = messages.subscribe(0, { namespace: ['a', 'b'], name: 'c' }, { priority: 200, order: 'ascending' });
const refused = messages.requestError(messages.DOES_NOT_EXIST, 'no such track');

const CASES: [string, Uint8Array, (bytes: Uint8Array) => Promise<void>][] = [
  ['messages', Uint8Array.from([...asked, ...refused, ...messages.publishDone(2, 7), ...messages.subscribeOk(4, properties)]), readMessages],
  ['streams of objects', stream, readStream],
  ['properties', properties, (bytes) => Promise.resolve(void pairs(bytes))],
  ['catalogs', new TextEncoder().encode(catalog), (bytes) => Promise.resolve(void parseCatalog(new TextDecoder().decode(bytes)))],
];

describe('whatever a server sends', () => {
  it.each(CASES)('%s', async (_name, seed, read) => {
    await read(seed);
    const kinds = new Set<string>();
    for (let number = 1; number <= 1_500; number++) {
      try {
        await read(changed(seed, random(number)));
        kinds.add('read');
      } catch (error) {
        if (!(error instanceof Malformed)) throw new Error(`input ${number}: ${String(error)}`);
        kinds.add('refused');
      }
    }
    expect(kinds).toContain('read');
  });
});
