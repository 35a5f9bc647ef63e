/** A session of MoQ over a make-believe WebTransport. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { VERSION } from '../src/moq/messages';
import { Session } from '../src/moq/session';
import { Writer } from '../src/moq/wire';

/** A server whose control stream is fed from here. */
function server() {
  const control = new TransformStream<Uint8Array, Uint8Array>();
  const transport = class {
    ready = Promise.resolve();
    closed = new Promise<never>(() => {});
    protocol = VERSION;
    incomingUnidirectionalStreams = new ReadableStream({ start: (controller) => controller.enqueue(control.readable) });
    incomingBidirectionalStreams = new ReadableStream();
    createUnidirectionalStream = () => Promise.resolve(new WritableStream());
    close() {}
  };
  return { transport, control: control.writable.getWriter() };
}

describe('a server that goes away', () => {
  afterEach(() => vi.unstubAllGlobals());

  it('says so with GOAWAY (draft-18 §10.4), and not before', async () => {
    const { transport, control } = server();
    vi.stubGlobal('window', globalThis);
    vi.stubGlobal('WebTransport', transport);
    const session = await Session.open({ url: 'https://a.example:4443/', certificate: null }, 1_000);
    let going = false;
    void session.goingAway.then(() => {
      going = true;
    });
    // Resolves when it is read.
    await control.write(new Writer().varint(0x2f00).byte(0).byte(0).done());
    expect(going).toBe(false);
    // No URI, half a second.
    void control.write(new Writer().varint(0x10).byte(0).byte(3).varint(0).varint(500).done());
    await session.goingAway;
    expect(going).toBe(true);
  });
});
