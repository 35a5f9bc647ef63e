/** MoQ's bytes: the vectors are those of the crate `moqt`, which another implementation reads too. */
import { describe, expect, it } from 'vitest';
import * as messages from '../src/moq/messages';
import { isSubgroup, readFetched, readHeader, readObjects, writeHeader, writeObjectHead } from '../src/moq/objects';
import { Malformed, pairs, Reader, Source, Writer, writePairs } from '../src/moq/wire';

function hex(text: string): Uint8Array {
  return Uint8Array.from((text.replaceAll(' ', '').match(/../g) ?? []).map((byte) => parseInt(byte, 16)));
}

/** A stream that arrives in pieces of this many bytes. */
function source(bytes: Uint8Array, piece: number): Source {
  const stream = new ReadableStream<Uint8Array>({
    start(controller) {
      for (let at = 0; at < bytes.length; at += piece) controller.enqueue(bytes.subarray(at, at + piece));
      controller.close();
    },
  });
  return new Source(stream.getReader());
}

describe('integers (draft-18 §1.4.1)', () => {
  it.each([
    ['25', 37],
    ['8025', 37],
    ['bbbd', 15_293],
    ['ed7f3e7d', 226_442_877],
    ['faa1a0e403d8', 2_893_212_287_960],
    ['fc8998abc66bc0', 151_288_809_941_952],
  ])('%s is %i', async (bytes, value) => {
    expect(new Reader(hex(bytes)).varint()).toBe(value);
    expect(await source(hex(bytes), 1).varint()).toBe(value);
    if (bytes !== '8025') expect(new Writer().varint(value).done()).toEqual(hex(bytes));
  });

  it('are written in the shortest form at both ends of each length', () => {
    for (let length = 1; length <= 7; length++) {
      for (const [value, bytes] of [[2 ** (7 * length) - 1, length], [2 ** (7 * length), length + 1]] as const) {
        const written = new Writer().varint(value).done();
        expect(written).toHaveLength(bytes);
        expect(new Reader(written).varint()).toBe(value);
      }
    }
  });

  it('that are cut off are no numbers', async () => {
    expect(() => new Reader(hex('ed7f3e')).varint()).toThrow(Malformed);
    await expect(source(hex('ed7f3e'), 2).varint()).rejects.toThrow(Malformed);
  });
});

describe('messages', () => {
  const track = { namespace: ['acc', 'cam'], name: 'catalog' };

  it.each([
    ['SETUP', messages.setup('airwave'), 'af00 0009 07 07 61697277617665'],
    [
      'SUBSCRIBE',
      messages.subscribe(0, track, { priority: 128, order: 'descending' }),
      '03 0019 00 02 03616363 0363616d 07 636174616c6f67 03 10 01 10 80 02 02',
    ],
    ['TRACK_STATUS', messages.trackStatus(2, track), '0d 0013 02 02 03616363 0363616d 07 636174616c6f67 00'],
    ['PUBLISH_NAMESPACE', messages.publishNamespace(4, ['acc']), '06 0007 04 01 03616363 00'],
    ['SUBSCRIBE_OK', messages.subscribeOk(1, hex('0e40')), '04 0004 01 00 0e 40'],
    ['REQUEST_ERROR', messages.requestError(messages.DOES_NOT_EXIST, ''), '05 0003 10 00 00'],
    ['FETCH', messages.fetchGroups(2, { namespace: ['acc', 'cam'], name: 'catalog' }, 5, 5), '16 0018 02 01 02 03616363 0363616d 07 636174616c6f67 05 00 05 00 00'],
    ['PUBLISH_DONE', messages.publishDone(messages.TRACK_ENDED, 12), '0b 0003 02 0c 00'],
  ])('%s is written as the server reads it', (_name, written, expected) => {
    expect(written).toEqual(hex(expected));
  });

  it('are read one after the other, in any pieces', async () => {
    const bytes = hex('04 0008 01 01 09 812c 07 0e 40 05 0003 10 00 00 0b 000b 02 ff3fffffffffffffff 00');
    for (let piece = 1; piece <= bytes.length; piece++) {
      const from = source(bytes, piece);
      const ok = await messages.readMessage(from);
      expect([ok?.kind, messages.readSubscribeOk(ok!.body)]).toEqual([messages.KIND.SUBSCRIBE_OK, 1]);
      const error = await messages.readMessage(from);
      expect(messages.readRequestError(error!.body)).toEqual({ code: messages.DOES_NOT_EXIST, reason: '' });
      const done = await messages.readMessage(from);
      expect(messages.readPublishDone(done!.body)).toEqual({ code: messages.TRACK_ENDED, reason: '' });
      expect(await messages.readMessage(from)).toBeNull();
    }
  });

  it('SUBSCRIBE says which track', () => {
    const body = new Reader(hex('00 02 03616363 0363616d 07 636174616c6f67 04 10 01 10 80 01 01 02 01 02'));
    expect(messages.readSubscribe(body)).toEqual({ id: 0, track });
    expect(() => messages.readSubscribe(new Reader(hex('00 21')))).toThrow(Malformed);
  });
});

describe('objects (draft-18 §11.4.2)', () => {
  const bytes = hex('71 01 812c 00 03 10 84d2 04 61626364 00 00 04 65666768 00 00 00 03');

  it('are read in any pieces', async () => {
    for (let piece = 1; piece <= bytes.length; piece++) {
      const from = source(bytes, piece);
      const header = await readHeader(await from.varint(), from);
      expect(header).toEqual({ alias: 1, group: 300, properties: true });
      const objects = [];
      for await (const object of readObjects(from, header)) objects.push(object);
      expect(objects.map(({ id, payload }) => [id, new TextDecoder().decode(payload)])).toEqual([[0, 'abcd'], [1, 'efgh']]);
      expect(pairs(objects[0]!.properties).get(0x10)).toBe(1234);
    }
  });

  it('are written as they are read', async () => {
    const properties = writePairs([[0x10, 1234], [0x3801, hex('01')]]);
    const whole = new Writer().raw(writeHeader(1, 300)).raw(writeObjectHead(properties, 4)).raw(hex('61626364')).done();
    expect(whole.subarray(0, 4)).toEqual(hex('71 01 812c'));
    const from = source(whole, 5);
    const header = await readHeader(await from.varint(), from);
    for await (const object of readObjects(from, header)) {
      expect(pairs(object.properties)).toEqual(new Map<number, unknown>([[0x10, 1234], [0x3801, hex('01')]]));
    }
  });

  it('that are cut off, or too long to be true, end their stream', async () => {
    for (const bad of ['00 00 04 6162', '00 00 f8ffffffff', '00 f0ffffff']) {
      const from = source(hex(bad), 3);
      await expect(readObjects(from, { alias: 1, group: 0, properties: true }).next()).rejects.toThrow(Malformed);
    }
  });

  it('have 24 kinds of streams', async () => {
    for (let kind = 0; kind < 256; kind++) {
      const valid = (kind & 0x90) === 0x10 && (kind & 0x06) !== 0x06;
      const read = isSubgroup(kind) ? await readHeader(kind, source(hex('010203040506'), 9)).then(() => true, () => false) : false;
      expect(read, kind.toString(16)).toBe(valid);
    }
  });
});

describe('the answer to FETCH (draft-18 §11.4.4)', () => {
  async function read(bytes: string, piece: number): Promise<string[]> {
    const out: string[] = [];
    for await (const { group, id, properties, payload } of readFetched(source(hex(bytes), piece))) {
      out.push(`${group}.${id} ${String.fromCharCode(...payload)}${properties.length > 0 ? ` +${properties.length}` : ''}`);
    }
    return out;
  }

  it.each([
    ['nothing', '', []],
    // A group, a priority and properties; the next object; one three further on, in a subgroup that is named.
    ['one group', '3c 05 00 80 03 109234 01 61  00 01 62  07 09 03 01 63', ['5.0 a +3', '5.1 b', '5.4 c']],
    // Behind a group that nobody knows, to its end, comes the next one; then a datagram, two groups on.
    ['a gap', '1c 05 00 80 01 61  810c 06 ffffffffffffffffff  0c 00 00 01 62  4c 01 07 01 63', ['5.0 a', '7.0 b', '9.7 c']],
    ['an object without a payload', '1c 05 02 80 00', ['5.2 ']],
  ])('%s', async (_name, bytes, expected) => {
    for (const piece of [1, 2, 100]) expect(await read(bytes, piece)).toEqual(expected);
  });

  it.each(['00 01 61', '08 05 01 61', '04 05 01 61', '8080 05 00', '820c 05 00', '1c 05 00 80 04 61', '1c 05'])('%s can not be right', async (bytes) => {
    await expect(read(bytes, 3)).rejects.toThrow(Malformed);
  });
});
