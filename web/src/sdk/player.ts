/** The player in an iframe, as an object of the page around it. `window.Stream(iframe)` makes it. */
import type { StreamPlayerApi } from '../../packages/react/src/api';
import {
  type Method,
  type PageMessage,
  parsePageMessage,
  type Properties,
  type Range,
  SETTABLE,
  type Settable,
  toPlayer,
  unknown,
} from './protocol';

/** What is said before the player answers is kept, of each property the last value. */
interface Waiting {
  sets: Map<Settable, unknown>;
  calls: { call: number; method: Method }[];
}

interface Call {
  done: () => void;
  failed: (error: unknown) => void;
}

class RemotePlayer extends EventTarget {
  private properties: Properties = { ...unknown };
  private connected = false;
  private waiting: Waiting = { sets: new Map(), calls: [] };
  private calls = 0;
  private readonly pending = new Map<number, Call>();

  constructor(private readonly iframe: HTMLIFrameElement) {
    super();
    window.addEventListener('message', (event) => this.onMessage(event));
    // A new document in the frame knows nothing of us; it says `here` when it listens.
    iframe.addEventListener('load', () => this.greet());
    this.greet();
  }

  play(): Promise<void> {
    return this.call('play');
  }

  pause(): void {
    void this.call('pause');
  }

  get(name: keyof Properties): unknown {
    const value = this.properties[name];
    if (name === 'buffered' || name === 'played') return timeRanges(value as Range[]);
    // What was never set is undefined in the vendor's API.
    return value ?? undefined;
  }

  set(name: Settable, value: unknown): void {
    // Seen at once by whoever set it; the player's word counts as soon as it comes.
    this.properties = { ...this.properties, [name]: value };
    if (this.connected) this.send(toPlayer('set', { name, value }));
    else this.waiting.sets.set(name, value);
  }

  private call(method: Method): Promise<void> {
    const call = ++this.calls;
    const answered = new Promise<void>((done, failed) => this.pending.set(call, { done, failed }));
    if (this.connected) this.send(toPlayer('call', { call, method }));
    else this.waiting.calls.push({ call, method });
    return answered;
  }

  /** To whoever is in the frame: it says nothing but that we are here. */
  private greet(): void {
    this.iframe.contentWindow?.postMessage(toPlayer('hello', {}), '*');
  }

  private send(message: ReturnType<typeof toPlayer>): void {
    this.iframe.contentWindow?.postMessage(message, this.origin());
  }

  private origin(): string {
    return new URL(this.iframe.src, location.href).origin;
  }

  private onMessage(event: MessageEvent): void {
    if (event.source !== this.iframe.contentWindow || event.source === null || event.origin !== this.origin()) return;
    const message = parsePageMessage(event.data);
    if (message !== null) this.take(message);
  }

  private take(message: PageMessage): void {
    switch (message.kind) {
      case 'here':
        this.connected = false;
        return this.greet();
      case 'state':
        this.properties = message.properties;
        return this.connect();
      case 'event':
        this.properties = message.properties;
        this.dispatchEvent(new Event(message.name));
        return;
      case 'reply': {
        const call = this.pending.get(message.call);
        this.pending.delete(message.call);
        if (message.error === null) call?.done();
        else call?.failed(new DOMException(message.error.message, message.error.name));
        return;
      }
    }
  }

  private connect(): void {
    if (this.connected) return;
    this.connected = true;
    const { sets, calls } = this.waiting;
    this.waiting = { sets: new Map(), calls: [] };
    for (const [name, value] of sets) this.set(name, value);
    for (const call of calls) this.send(toPlayer('call', call));
  }
}

for (const name of Object.keys(unknown) as (keyof Properties)[]) {
  const settable = SETTABLE.find((other) => other === name);
  Object.defineProperty(RemotePlayer.prototype, name, {
    enumerable: true,
    get(this: RemotePlayer) {
      return this.get(name);
    },
    ...(settable === undefined
      ? {}
      : {
          set(this: RemotePlayer, value: unknown) {
            this.set(settable, value);
          },
        }),
  });
}

const players = new WeakMap<HTMLIFrameElement, StreamPlayerApi>();

/** One player for each iframe, however often it is asked for. */
export function stream(iframe: HTMLIFrameElement): StreamPlayerApi {
  const known = players.get(iframe);
  if (known !== undefined) return known;
  // The accessors of the API were defined by name, above.
  const player = new RemotePlayer(iframe) as unknown as StreamPlayerApi;
  players.set(iframe, player);
  return player;
}

function timeRanges(ranges: Range[]): TimeRanges {
  const at = (index: number): Range => {
    const range = ranges[index];
    if (range === undefined) throw new DOMException(`there are ${ranges.length} ranges`, 'IndexSizeError');
    return range;
  };
  return { length: ranges.length, start: (index) => at(index)[0], end: (index) => at(index)[1] };
}
