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

/** A server that is asked, and sends streams. `streams`: what opens one for a request. */
function past(streams: () => Promise<void> = () => Promise.resolve()) {
  let incoming: ReadableStreamDefaultController<ReadableStream<Uint8Array>> | null = null;
  let end: (why: { reason: string }) => void = () => {};
  const requests: { answering: WritableStream<Uint8Array>; end: 'open' | 'closed' | 'reset' }[] = [];
  const transport = class {
    ready = Promise.resolve();
    closed = new Promise<{ reason: string }>((resolve) => (end = resolve));
    protocol = messages.VERSION;
    incomingUnidirectionalStreams = new ReadableStream<ReadableStream<Uint8Array>>({ start: (controller) => void (incoming = controller) });
    incomingBidirectionalStreams = new ReadableStream();
    createUnidirectionalStream = () => Promise.resolve(new WritableStream());
    createBidirectionalStream = async () => {
      await streams();
      const answering = new TransformStream<Uint8Array, Uint8Array>();
      const request: (typeof requests)[number] = { answering: answering.writable, end: 'open' };
      requests.push(request);
      const writable = new WritableStream({ close: () => void (request.end = 'closed'), abort: () => void (request.end = 'reset') });
      return { readable: answering.readable, writable };
    };
    close() {}
  };
  vi.stubGlobal('window', globalThis);
  vi.stubGlobal('WebTransport', transport);
  return { requests, incoming: { enqueue: (stream: ReadableStream<Uint8Array>) => incoming?.enqueue(stream) }, end: (reason: string) => end({ reason }) };
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

describe('the past (draft-18 §10.12)', () => {
  const TRACK = { namespace: ['a'], name: 'video' };
  const answers = { ok: message(0x18, new Writer().byte(0).varint(9).varint(2).varint(0)), refused: message(0x05, new Writer().varint(0x11).varint(0).prefixed('none')) };
  /** Header, then two objects of group 5 and one of group 6. */
  const objects = (id: number) => Uint8Array.of(0x05, id, 0x1c, 5, 0, 0x80 & 0x7f, 1, 97, 0x00, 1, 98, 0x0c, 0, 0, 1, 99);

  async function asking() {
    const { incoming, requests, end } = past();
    const session = await Session.open(HERE, 20_000);
    const seen: string[] = [];
    const fetched = session.fetch(TRACK, 5, 6, ({ group, id, payload }) => seen.push(`${group}.${id} ${String.fromCharCode(...payload)}`));
    await vi.waitFor(() => expect(requests).toHaveLength(1), 20_000);
    const [request] = requests;
    if (request === undefined) throw new Error('nothing is asked');
    const answer = request.answering.getWriter();
    return { session, incoming, fetched, seen, answer, end, stream: (bytes: Uint8Array) => new ReadableStream<Uint8Array>({ start: (c) => (c.enqueue(bytes), c.close()) }) };
  }

  it.each(['the answer first', 'the objects first'])('comes as a stream, %s', async (order) => {
    const { incoming, fetched, seen, answer, stream } = await asking();
    if (order === 'the answer first') await answer.write(answers.ok);
    incoming.enqueue(stream(objects(0)));
    if (order !== 'the answer first') await vi.waitFor(() => expect(seen).toHaveLength(3), 20_000);
    answer.write(answers.ok).catch(() => {});
    await fetched.done;
    expect(seen).toEqual(['5.0 a', '5.1 b', '6.0 c']);
  });

  it('may be refused', async () => {
    const { fetched, answer } = await asking();
    answer.write(answers.refused).catch(() => {});
    await expect(fetched.done).rejects.toThrow('none');
  });

  it('is not wanted any more, and is passed over then', async () => {
    const { incoming, fetched, seen, stream } = await asking();
    fetched.close();
    await expect(fetched.done).rejects.toThrow('not wanted');
    incoming.enqueue(stream(objects(0)));
    await new Promise((resolve) => setTimeout(resolve, 0));
    expect(seen).toEqual([]);
  });

  it.each(['before its answer', 'before its objects', 'in the middle of them'])('ends with the session, %s', async (when) => {
    const { session, incoming, fetched, seen, answer, end } = await asking();
    if (when !== 'before its answer') await answer.write(answers.ok);
    if (when === 'in the middle of them') {
      incoming.enqueue(new ReadableStream({ start: (c) => c.enqueue(objects(0).subarray(0, 8)) }));
      await vi.waitFor(() => expect(seen).toEqual(['5.0 a']), 20_000);
    }
    end('gone');
    expect(await session.closed).toBe('gone');
    await expect(fetched.done).rejects.toThrow('gone');
    // Whatever still comes is nobody's.
    incoming.enqueue(new ReadableStream({ start: (c) => c.enqueue(objects(0)) }));
    await new Promise((resolve) => setTimeout(resolve, 0));
    expect(seen).toHaveLength(when === 'in the middle of them' ? 1 : 0);
  });

  it.each(['closes', 'is closed'])('is not to be had of a session that %s', async (when) => {
    // No stream comes about any more.
    const { end } = past(() => new Promise(() => {}));
    const session = await Session.open(HERE, 20_000);
    if (when === 'is closed') {
      end('');
      await session.closed;
    }
    const fetched = session.fetch(TRACK, 5, 6, () => {});
    const sink = { object: () => {}, streamEnded: () => {}, done: () => {} };
    const wishes = { priority: 0, order: 'ascending' } as const;
    const asked = Promise.allSettled([fetched.done, session.subscribe(TRACK, wishes, sink), session.publish(TRACK, 1), session.publishNamespace(['a'])]);
    if (when === 'closes') end('');
    const over = { status: 'rejected', reason: new Error('the session is over') };
    expect(await asked).toEqual([over, over, over, over]);
    expect(await session.ping(TRACK, 20_000)).toBe(false);
  });

  it('is not taken for another one where it was given up before it could be asked for', async () => {
    let open = () => {};
    const { incoming, requests } = past(() => new Promise((resolve) => (open = resolve)));
    const session = await Session.open(HERE, 20_000);
    const seen: number[] = [];
    const fetched = session.fetch(TRACK, 5, 6, ({ id }) => seen.push(id));
    fetched.close();
    await expect(fetched.done).rejects.toThrow('not wanted');
    open();
    await vi.waitFor(() => expect(requests).toHaveLength(1), 20_000);
    incoming.enqueue(new ReadableStream({ start: (c) => (c.enqueue(objects(0)), c.close()) }));
    await new Promise((resolve) => setTimeout(resolve, 0));
    expect(seen).toEqual([]);
  });
});

describe('a stream of an alias that nobody has named', () => {
  it('waits for a while, and nothing of it stays', async () => {
    vi.useFakeTimers();
    try {
      const { incoming } = past();
      const session = await Session.open(HERE, 20_000);
      const { waiting } = session as unknown as { waiting: Map<number, unknown[]> };
      let cancelled = 0;
      const stream = () =>
        new ReadableStream<Uint8Array>({
          start: (controller) => controller.enqueue(new Writer().varint(0x30).varint(7).varint(1).done()),
          cancel: () => void cancelled++,
        });
      incoming.enqueue(stream());
      await vi.advanceTimersByTimeAsync(1_500);
      incoming.enqueue(stream());
      await vi.advanceTimersByTimeAsync(0);
      expect(waiting.get(7)).toHaveLength(2);
      await vi.advanceTimersByTimeAsync(500);
      expect([waiting.get(7)?.length, cancelled]).toEqual([1, 1]);
      await vi.advanceTimersByTimeAsync(1_500);
      expect([waiting.size, cancelled]).toEqual([0, 2]);
    } finally {
      vi.useRealTimers();
    }
  });
});

describe('the stream of a request that is over', () => {
  const TRACK = { namespace: ['a'], name: 'video' };
  const refused = message(0x05, new Writer().varint(0x11).varint(0).prefixed('none'));
  const sink = { object: () => {}, streamEnded: () => {}, done: () => {} };
  const subscribe = (session: Session) => session.subscribe(TRACK, { priority: 0, order: 'ascending' }, sink);
  const granted = messages.subscribeOk(4, new Uint8Array());
  const fetched = message(0x18, new Writer().byte(0).varint(9).varint(2).varint(0));
  const ok = messages.requestOk();

  it.each([
    ['a subscription that is refused', subscribe, [refused], 'closed'],
    ['one that is granted', subscribe, [granted], 'open'],
    ['one that has ended', subscribe, [granted, messages.publishDone(0x2, 0)], 'closed'],
    ['a range that is refused', (session: Session) => session.fetch(TRACK, 5, 6, () => {}).done, [refused], 'closed'],
    ['one that has not come yet', (session: Session) => session.fetch(TRACK, 5, 6, () => {}).done, [fetched], 'open'],
    ['a namespace that is refused', (session: Session) => session.publishNamespace(['a']), [refused], 'closed'],
    ['one that is published', (session: Session) => session.publishNamespace(['a']), [ok], 'open'],
    ['a track that is refused', (session: Session) => session.publish(TRACK, 1), [refused], 'closed'],
    ['the state of a track', (session: Session) => session.ping(TRACK, 20_000), [ok], 'closed'],
    ['its newest object', (session: Session) => session.newest(TRACK, 20_000), [ok], 'closed'],
    ['a question without an answer', subscribe, [], 'reset'],
  ] as const)('%s', async (_name, ask, answers, end) => {
    const { requests } = past();
    const session = await Session.open(HERE, 20_000);
    void Promise.resolve(ask(session)).catch(() => {});
    await vi.waitFor(() => expect(requests).toHaveLength(1), 20_000);
    const answering = requests[0]?.answering.getWriter();
    for (const answer of answers) await answering?.write(answer);
    if (answers.length === 0) answering?.close().catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 0));
    expect(requests[0]?.end).toBe(end);
  });

  it('whose range has come', async () => {
    const { requests, incoming } = past();
    const session = await Session.open(HERE, 20_000);
    const { done } = session.fetch(TRACK, 5, 6, () => {});
    await vi.waitFor(() => expect(requests).toHaveLength(1), 20_000);
    await requests[0]?.answering.getWriter().write(fetched);
    incoming.enqueue(new ReadableStream({ start: (c) => (c.enqueue(Uint8Array.of(0x05, 0)), c.close()) }));
    await done;
    await new Promise((resolve) => setTimeout(resolve, 0));
    expect(requests[0]?.end).toBe('closed');
  });
});

it('hears that the server wants no more of a namespace', async () => {
  const { requests } = past();
  const session = await Session.open(HERE, 20_000);
  const announced = session.publishNamespace(['a', 'b']);
  await vi.waitFor(() => expect(requests).toHaveLength(1), 20_000);
  const answer = requests[0]?.answering.getWriter();
  await answer?.write(message(0x07, new Writer().varint(0)));
  const { ended } = await announced;
  let isOver = false;
  void ended.then(() => (isOver = true));
  await new Promise((resolve) => setTimeout(resolve));
  expect([isOver, requests[0]?.end]).toEqual([false, 'open']);
  // draft-18 §10.15: it cancels the request.
  await answer?.abort();
  await ended;
  expect(requests[0]?.end).toBe('closed');
});
