/**
 * A session of MoQ Transport draft 18 over WebTransport: what a player asks, and what a publisher is asked.
 *
 * Draft-18 §3.3: each side has a control stream that begins with SETUP, and each request a stream of its own.
 */
import * as messages from './messages';
import { FETCH_HEADER, isSubgroup, type MoqObject, readFetched, readHeader, readObjects } from './objects';
import { Malformed, Source, streamError } from './wire';

/** Where a session is opened. */
export interface Address {
  url: string;
  /** SHA-256 of a certificate that no authority signed, in hex. */
  certificate: string | null;
}

/** Who takes the objects of a subscription. */
export interface Sink {
  object(object: MoqObject): void;
  /** A stream of this group is over; `complete`: with everything that it had. */
  streamEnded(group: number, complete: boolean): void;
  /** The publisher has no more, or takes it away. */
  done(why: messages.Refusal): void;
}

export interface Subscription {
  close(): void;
}

/** A range of the past that comes. */
export interface Fetched {
  /** Resolves when all of it has come; rejected if it does not. */
  done: Promise<void>;
  close(): void;
}

/** A SUBSCRIBE of the peer; what answers it ends with `closed`. */
export interface Asked {
  track: messages.Track;
  answer(message: Uint8Array<ArrayBuffer>): Promise<void>;
  end(message: Uint8Array<ArrayBuffer>): Promise<void>;
  /** To be set: the subscriber would like a new group. */
  onGroupWanted: () => void;
  closed: Promise<void>;
}

export class Refused extends Error {
  constructor(readonly refusal: messages.Refusal) {
    super(refusal.reason || `refused (${refusal.code})`);
  }
}

const IMPLEMENTATION = 'airwave-web';
/** An alias may arrive on a data stream before the answer that names it. */
const ALIAS_WAIT_MS = 2_000;
const CONTROL_STREAM = messages.KIND.SETUP;

export class Session {
  private nextRequest = 0;
  private readonly sinks = new Map<number, Sink>();
  private readonly waiting = new Map<number, (() => void)[]>();
  /** By the request that asked: who takes the objects of a range, and is told of its end. */
  private readonly fetches = new Map<number, { object: (object: MoqObject) => void; over: (error?: unknown) => void }>();
  /** Told when the session is over: of whoever waits for something in it. */
  private readonly waits = new Set<(error: Error) => void>();
  private ended: Error | null = null;
  /** Why the session is over. */
  readonly closed: Promise<string>;
  /** The server asks to leave, to this address: it takes no new requests. */
  readonly goingAway: Promise<Address>;
  private onGoAway: (uri: string) => void = () => {};

  private constructor(
    private readonly transport: WebTransport,
    address: Address,
    /** Kept: the draft forbids to close it, and nobody else holds it. */
    readonly control: WritableStreamDefaultWriter<Uint8Array>,
    private readonly onAsked: (asked: Asked) => void,
  ) {
    this.closed = transport.closed.then(
      ({ reason }) => reason ?? '',
      (error: unknown) => String(error),
    );
    void this.closed.then((why) => {
      this.ended = new Error(why || 'the session is over');
      for (const tell of [...this.waits]) tell(this.ended);
    });
    this.goingAway = new Promise((resolve) => {
      this.onGoAway = (uri) => resolve(moved(address, uri));
    });
    void this.acceptUni();
    void this.acceptBi();
  }

  /** Opens a session, or fails in time. */
  static async open(address: Address, timeoutMs: number, onAsked: (asked: Asked) => void = () => {}): Promise<Session> {
    const transport = new WebTransport(address.url, {
      protocols: [messages.VERSION],
      congestionControl: 'low-latency',
      ...(address.certificate === null ? {} : { serverCertificateHashes: [{ algorithm: 'sha-256', value: fromHex(address.certificate) }] }),
    });
    transport.closed.catch(() => {});
    try {
      await inTime(transport.ready, timeoutMs);
      // Without a word of the server it is some other draft.
      if ((transport as { protocol?: string }).protocol !== messages.VERSION) throw new Error('no common version of MoQ');
      const control = ((await transport.createUnidirectionalStream()) as WritableStream<Uint8Array>).getWriter();
      await control.write(messages.setup(IMPLEMENTATION));
      return new Session(transport, address, control, onAsked);
    } catch (error) {
      close(transport, 0);
      throw error;
    }
  }

  /** Resolves with the server's consent. */
  async subscribe(track: messages.Track, wishes: messages.Wishes, sink: Sink): Promise<Subscription> {
    const { answer, source, finish, cancel } = await this.request((id) => messages.subscribe(id, track, wishes));
    if (answer.kind !== messages.KIND.SUBSCRIBE_OK) throw refused(answer);
    const alias = messages.readSubscribeOk(answer.body);
    this.sinks.set(alias, sink);
    for (const tell of this.waiting.get(alias) ?? []) tell();
    this.waiting.delete(alias);
    void this.followUntilDone(source, sink).finally(finish);
    return {
      close: () => {
        this.sinks.delete(alias);
        cancel();
      },
    };
  }

  private async followUntilDone(source: Source, sink: Sink): Promise<void> {
    try {
      for (let message = await messages.readMessage(source); message !== null; message = await messages.readMessage(source)) {
        if (message.kind === messages.KIND.PUBLISH_DONE) return sink.done(messages.readPublishDone(message.body));
      }
    } catch {
      // Of a session that is over, which `closed` tells.
    }
  }

  /** Groups of the past. Objects of one come one after the other; what nobody has any more is passed over. */
  fetch(track: messages.Track, first: number, last: number, object: (object: MoqObject) => void): Fetched {
    let close = () => {};
    const done = new Promise<void>((resolve, reject) => {
      let id: number | null = null;
      let isOver = false;
      const over = (error?: unknown) => {
        isOver = true;
        this.waits.delete(over);
        if (id !== null) this.fetches.delete(id);
        if (error === undefined) resolve();
        else reject(error instanceof Error ? error : new Error('broken off'));
      };
      if (this.ended !== null) return over(this.ended);
      // Its objects come on another stream than its answer: that one knows nothing of their end.
      this.waits.add(over);
      // The stream may be here before the answer.
      const message = (next: number) => {
        if (!isOver) this.fetches.set((id = next), { object, over });
        return messages.fetchGroups(next, track, first, last);
      };
      const asked = this.request(message).then(({ answer, finish, cancel }) => {
        if (answer.kind !== messages.KIND.FETCH_OK) return over(refused(answer));
        void done.then(finish, cancel);
      });
      asked.catch(over);
      close = () => over(new Error('not wanted any more'));
    });
    return { done, close };
  }

  /** Whether the other end still answers. */
  async ping(track: messages.Track, timeoutMs: number): Promise<boolean> {
    const asked = this.request((id) => messages.trackStatus(id, track)).then(({ finish }) => finish());
    return inTime(asked, timeoutMs).then(
      () => true,
      () => false,
    );
  }

  /** The newest object that the server has of a track; null: it does not say. Fails without an answer in time. */
  async newest(track: messages.Track, timeoutMs: number): Promise<messages.Location | null> {
    const asked = this.request((id) => messages.trackStatus(id, track)).then(({ answer, finish }) => {
      finish();
      return answer.kind === messages.KIND.REQUEST_OK ? messages.readLargest(answer.body) : null;
    });
    return inTime(asked, timeoutMs);
  }

  /** Resolves once the server takes it. `ended`: it wants no more of it, or the session is over. */
  async publishNamespace(namespace: string[]): Promise<{ ended: Promise<void> }> {
    const { answer, source, finish } = await this.request((id) => messages.publishNamespace(id, namespace));
    if (answer.kind !== messages.KIND.REQUEST_OK) throw refused(answer);
    return { ended: untilOver(source).finally(finish) };
  }

  /** Offers a track, whose objects go on streams of their own; resolves once the server takes it. `ended`: it wants no more. */
  async publish(track: messages.Track, alias: number): Promise<{ ended: Promise<void> }> {
    const { answer, source, finish } = await this.request((id) => messages.publish(id, track, alias));
    if (answer.kind !== messages.KIND.REQUEST_OK) throw refused(answer);
    return { ended: untilOver(source).finally(finish) };
  }

  async openUni(): Promise<WritableStreamDefaultWriter<Uint8Array>> {
    return (await this.transport.createUnidirectionalStream()).getWriter();
  }

  close(code = 0): void {
    close(this.transport, code);
  }

  /** Asks something, and waits for the answer as long as the session lasts. */
  private async request(message: (id: number) => Uint8Array<ArrayBuffer>) {
    let tell: (error: Error) => void = () => {};
    const over = new Promise<never>((_, reject) => (tell = reject));
    if (this.ended !== null) throw this.ended;
    this.waits.add(tell);
    try {
      return await Promise.race([this.ask(message), over]);
    } finally {
      this.waits.delete(tell);
    }
  }

  private async ask(message: (id: number) => Uint8Array<ArrayBuffer>) {
    const { readable, writable } = await this.transport.createBidirectionalStream();
    const id = this.nextRequest;
    this.nextRequest += 2;
    const writer = (writable as WritableStream<Uint8Array>).getWriter();
    const source = new Source((readable as ReadableStream<Uint8Array>).getReader());
    // draft-21 §6.4.2.2: a stream that is left open takes the place of another one.
    const finish = () => {
      writer.close().catch(() => {});
      void source.cancel();
    };
    const cancel = () => {
      writer.abort(streamError(1)).catch(() => {});
      void source.cancel();
    };
    try {
      await writer.write(message(id));
      const answer = await messages.readMessage(source);
      if (answer === null) throw new Malformed('a request without an answer');
      if (answer.kind === messages.KIND.REQUEST_ERROR) finish();
      return { answer, source, finish, cancel };
    } catch (error) {
      cancel();
      throw error;
    }
  }

  private async acceptUni(): Promise<void> {
    for await (const stream of each<ReadableStream<Uint8Array>>(this.transport.incomingUnidirectionalStreams)) {
      const source = new Source(stream.getReader());
      this.readStream(source).catch((error: unknown) => {
        void source.cancel();
        // draft-18 §3.4
        if (error instanceof Malformed) this.close(0x3);
      });
    }
  }

  private async readStream(source: Source): Promise<void> {
    const kind = await source.varint();
    if (kind === CONTROL_STREAM) {
      await messages.readBody(source);
      // draft-18 §10.4: GOAWAY is all that may follow.
      for (let message = await messages.readMessage(source); message !== null; message = await messages.readMessage(source)) {
        if (message.kind === messages.KIND.GOAWAY) this.onGoAway(messages.readGoAway(message.body));
      }
      return;
    }
    if (kind === FETCH_HEADER) return this.readFetch(await source.varint(), source);
    if (!isSubgroup(kind)) return source.cancel();
    const header = await readHeader(kind, source);
    const sink = this.sinks.get(header.alias) ?? (await this.late(header.alias));
    if (sink === null) return source.cancel();
    let complete = false;
    try {
      for await (const object of readObjects(source, header)) {
        // Unsubscribed meanwhile.
        if (this.sinks.get(header.alias) !== sink) return await source.cancel();
        sink.object(object);
      }
      complete = true;
    } catch (error) {
      if (error instanceof Malformed) throw error;
      // Reset: this group has no more.
    } finally {
      sink.streamEnded(header.group, complete);
    }
  }

  private async readFetch(id: number, source: Source): Promise<void> {
    const fetch = this.fetches.get(id);
    if (fetch === undefined) return source.cancel();
    try {
      for await (const object of readFetched(source)) {
        if (this.fetches.get(id) !== fetch) return await source.cancel();
        fetch.object(object);
      }
      fetch.over();
    } catch (error) {
      fetch.over(error);
      if (error instanceof Malformed) throw error;
    }
  }

  private async late(alias: number): Promise<Sink | null> {
    let tell = () => {};
    const known = new Promise<void>((resolve) => (tell = resolve));
    this.waiting.set(alias, [...(this.waiting.get(alias) ?? []), tell]);
    await inTime(known, ALIAS_WAIT_MS).catch(() => {
      const others = this.waiting.get(alias)?.filter((other) => other !== tell) ?? [];
      if (others.length > 0) this.waiting.set(alias, others);
      else this.waiting.delete(alias);
    });
    return this.sinks.get(alias) ?? null;
  }

  private async acceptBi(): Promise<void> {
    for await (const { readable, writable } of each<WebTransportBidirectionalStream>(this.transport.incomingBidirectionalStreams)) {
      const source = new Source((readable as ReadableStream<Uint8Array>).getReader());
      const writer = (writable as WritableStream<Uint8Array>).getWriter();
      this.readRequest(source, writer).catch(() => {
        void source.cancel();
        writer.abort(streamError(1)).catch(() => {});
      });
    }
  }

  private async readRequest(source: Source, writer: WritableStreamDefaultWriter<Uint8Array>): Promise<void> {
    const message = await messages.readMessage(source);
    if (message === null) return;
    if (message.kind !== messages.KIND.SUBSCRIBE) {
      await writer.write(messages.requestError(messages.DOES_NOT_EXIST, 'only SUBSCRIBE is answered here'));
      return writer.close();
    }
    const { track } = messages.readSubscribe(message.body);
    const asked: Asked = {
      track,
      onGroupWanted: () => {},
      answer: (bytes) => writer.write(bytes),
      end: async (bytes) => {
        await writer.write(bytes);
        await writer.close();
      },
      closed: this.untilClosed(source, writer, () => asked.onGroupWanted()),
    };
    this.onAsked(asked);
  }

  /** Its updates are answered; it ends when its stream does, or ours is not wanted. */
  private async untilClosed(source: Source, writer: WritableStreamDefaultWriter<Uint8Array>, groupWanted: () => void): Promise<void> {
    const read = async () => {
      for (let message = await messages.readMessage(source); message !== null; message = await messages.readMessage(source)) {
        if (message.kind !== messages.KIND.REQUEST_UPDATE) continue;
        if (messages.readUpdate(message.body).wantsGroup) groupWanted();
        await writer.write(messages.requestOk());
      }
      // A requester may say no more without giving up (draft-18 §3.3.2).
      await new Promise(() => {});
    };
    await Promise.race([read(), writer.closed]).catch(() => {});
  }
}

/** draft-18 §3.1.3: a `moqt` URI is an `https` one over WebTransport. What is no address of either kind leads nowhere else. */
function moved(from: Address, uri: string): Address {
  const wanted = uri.replace(/^moqt:/i, 'https:');
  if (!/^https:/i.test(wanted) || !URL.canParse(wanted)) return from;
  const url = new URL(wanted);
  // Who is elsewhere has a certificate of its own.
  return { url: url.href, certificate: url.hostname === new URL(from.url).hostname ? from.certificate : null };
}

async function untilOver(source: Source): Promise<void> {
  try {
    while ((await messages.readMessage(source)) !== null);
  } catch {
    // Reset, or cut off: over as well.
  }
}

function refused(answer: messages.Message): Error {
  if (answer.kind === messages.KIND.REQUEST_ERROR) return new Refused(messages.readRequestError(answer.body));
  return new Malformed('an answer to something else');
}

function close(transport: WebTransport, closeCode: number): void {
  try {
    transport.close({ closeCode, reason: '' });
  } catch {
    // It never came about.
  }
}

async function* each<T>(streams: ReadableStream): AsyncGenerator<T> {
  const reader = streams.getReader() as ReadableStreamDefaultReader<T>;
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
  } catch {
    // The session is over.
  }
}

export async function inTime<T>(promise: Promise<T>, timeoutMs: number): Promise<T> {
  let timer = 0;
  const late = new Promise<never>((_, reject) => {
    timer = window.setTimeout(() => reject(new Error('no answer in time')), timeoutMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    window.clearTimeout(timer);
  }
}

function fromHex(hex: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from((hex.match(/../g) ?? []).map((byte) => parseInt(byte, 16)));
}
