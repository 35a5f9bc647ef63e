/** A session of MoQ over a make-believe WebTransport. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import * as messages from '../src/moq/messages';
import { type Asked, Session } from '../src/moq/session';
import { Reader, Source, Writer } from '../src/moq/wire';

const HERE = { url: 'https://a.example:4443/KEY', certificate: 'ab' };

/** A server whose control stream, and one request stream, are fed from here. */
function server() {
  const control = new TransformStream<Uint8Array, Uint8Array>();
  const [asking, answering] = [new TransformStream<Uint8Array, Uint8Array>(), new TransformStream<Uint8Array, Uint8Array>()];
  const request = { readable: asking.readable, writable: answering.writable };
  const transport = class {
    ready = Promise.resolve();
    closed = new Promise<never>(() => {});
    protocol = messages.VERSION;
    incomingUnidirectionalStreams = new ReadableStream({ start: (controller) => controller.enqueue(control.readable) });
    incomingBidirectionalStreams = new ReadableStream({ start: (controller) => controller.enqueue(request) });
    createUnidirectionalStream = () => Promise.resolve(new WritableStream());
    close() {}
  };
  vi.stubGlobal('window', globalThis);
  vi.stubGlobal('WebTransport', transport);
  return { control: control.writable.getWriter(), asking: asking.writable.getWriter(), answers: new Source(answering.readable.getReader()) };
}

function message(kind: number, body: Writer): Uint8Array<ArrayBuffer> {
  const bytes = body.done();
  return new Writer().varint(kind).byte(0).byte(bytes.length).raw(bytes).done();
}

afterEach(() => vi.unstubAllGlobals());

describe('a server that goes away', () => {
  it.each([
    ['', HERE],
    ['moqt://b.example:4443/KEY', { url: 'https://b.example:4443/KEY', certificate: null }],
    ['https://a.example/KEY', { url: 'https://a.example/KEY', certificate: 'ab' }],
    // No address of a session: where we are is all that is known.
    ['javascript:alert(1)', HERE],
    ['https://', HERE],
    ['elsewhere', HERE],
  ])('says so with GOAWAY (draft-18 §10.4) to %s, and not before', async (uri, to) => {
    const { control } = server();
    const session = await Session.open(HERE, 20_000);
    let going = false;
    void session.goingAway.then(() => {
      going = true;
    });
    // Resolves when it is read.
    await control.write(message(0x2f00, new Writer()));
    expect(going).toBe(false);
    // Half a second.
    void control.write(message(0x10, new Writer().prefixed(uri).varint(500)));
    expect(await session.goingAway).toEqual(to);
  });
});

describe('a subscriber that updates its subscription (draft-18 §10.9)', () => {
  /** Behind its id: tokens, a filter and bytes stand before what is of interest. */
  const update = (count: number, parameters: Writer) => message(0x02, new Writer().varint(3).varint(count).raw(parameters.done()));

  it('is answered, and NEW_GROUP_REQUEST reaches who encodes', async () => {
    const { asking, answers } = server();
    let asked: Asked | null = null;
    let wanted = 0;
    await Session.open(HERE, 20_000, (request) => {
      asked = request;
      request.onGroupWanted = () => wanted++;
    });
    const track = { namespace: ['a'], name: 'video' };
    void asking.write(message(0x03, new Writer().varint(1).varint(1).prefixed('a').prefixed('video').varint(0)));
    await vi.waitFor(() => expect(asked?.track).toEqual(track), 20_000);
    for (const [count, parameters, groups] of [
      [0, new Writer(), 0],
      [2, new Writer().varint(0x10).byte(1).varint(0x10).byte(7), 0],
      [3, new Writer().varint(0x03).prefixed('token').varint(0x1e).prefixed('filter').varint(0x11).varint(8), 1],
      [1, new Writer().varint(0x32).varint(2 ** 40), 2],
    ] as const) {
      void asking.write(update(count, parameters));
      const answer = await messages.readMessage(answers);
      expect(answer?.kind).toBe(messages.KIND.REQUEST_OK);
      expect(wanted).toBe(groups);
    }
  });

  it('may not say too much', () => {
    expect(() => messages.readUpdate(new Reader(new Writer().varint(3).varint(65).done()))).toThrow('too many');
    expect(() => messages.readUpdate(new Reader(new Writer().varint(3).varint(1).varint(0x32).done()))).toThrow('cut off');
  });
});
