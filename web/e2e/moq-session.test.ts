/** A session of MoQ over a make-believe WebTransport. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { VERSION } from '../src/moq/messages';
import { Session } from '../src/moq/session';
import { Writer } from '../src/moq/wire';

/** A server that sends these bytes on its control stream. */
function server(control: Uint8Array<ArrayBuffer>) {
  const open = new Promise<never>(() => {});
  const stream = new ReadableStream({
    start(controller) {
      controller.enqueue(control);
    },
  });
  return class {
    ready = Promise.resolve();
    closed = open;
    protocol = VERSION;
    incomingUnidirectionalStreams = new ReadableStream({ start: (controller) => controller.enqueue(stream) });
    incomingBidirectionalStreams = new ReadableStream();
    createUnidirectionalStream = () => Promise.resolve(new WritableStream());
    close() {}
  };
}

const setup = () => new Writer().varint(0x2f00).byte(0).byte(0);
const address = { url: 'https://a.example:4443/', certificate: null };

describe('a server that goes away', () => {
  afterEach(() => vi.unstubAllGlobals());

  async function goesAway(control: Uint8Array<ArrayBuffer>): Promise<boolean> {
    vi.stubGlobal('window', globalThis);
    vi.stubGlobal('WebTransport', server(control));
    const session = await Session.open(address, 1_000);
    const soon = new Promise<boolean>((resolve) => setTimeout(() => resolve(false), 20));
    return Promise.race([session.goingAway.then(() => true), soon]);
  }

  it('says so with GOAWAY (draft-18 §10.4)', async () => {
    // No URI, half a second.
    expect(await goesAway(setup().varint(0x10).byte(0).byte(3).varint(0).varint(500).done())).toBe(true);
  });

  it('and else does not', async () => {
    expect(await goesAway(setup().done())).toBe(false);
  });
});
