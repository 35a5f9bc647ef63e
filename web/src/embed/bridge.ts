/** The player's end of `postMessage`; the page's end is src/sdk/player.ts, who may say what is in src/sdk/protocol.ts. */
import {
  MEDIA_EVENTS,
  type PageMessage,
  parsePlayerMessage,
  type PlayerMessage,
  type Properties,
  type Range,
  toPage,
} from '../sdk/protocol';

/** What the bridge steers; the page assembles it around the player. */
export interface Steered {
  video: HTMLVideoElement;
  properties(): Properties;
  set(name: string, value: unknown): void;
  play(): Promise<void>;
  pause(): void;
}

export class Bridge {
  /** The origin that said hello; null: nobody did. */
  private origin: string | null = null;
  /** The advertisement of which the page was told that it does not come. */
  private givenUp: string | null = null;

  constructor(
    private readonly steered: Steered,
    private readonly page: Window = window.parent,
  ) {
    if (page === window) return;
    window.addEventListener('message', (event) => this.onMessage(event));
    for (const name of MEDIA_EVENTS) steered.video.addEventListener(name, () => this.tell(name));
    // Whoever holds us learns that we are here, and nothing else.
    page.postMessage(toPage('here', {}), '*');
  }

  tell(event: string): void {
    this.send(toPage('event', { name: event, properties: this.steered.properties() }));
  }

  private onMessage(event: MessageEvent): void {
    if (event.source !== this.page) return;
    const message = parsePlayerMessage(event.data);
    if (message === null) return;
    if (message.kind !== 'hello' && event.origin !== this.origin) return;
    this.take(message, event.origin);
  }

  private take(message: PlayerMessage, origin: string): void {
    switch (message.kind) {
      case 'hello':
        this.origin = origin;
        this.send(toPage('state', { properties: this.steered.properties() }));
        return this.giveUpAdvertisement();
      case 'set':
        this.steered.set(message.name, message.value);
        return this.giveUpAdvertisement();
      case 'call':
        void this.call(message.call, message.method);
        return;
    }
  }

  /** None is ever loaded; a page that waits for its end goes on. */
  private giveUpAdvertisement(): void {
    const { adUrl } = this.steered.properties();
    const news = adUrl !== null && adUrl !== this.givenUp;
    this.givenUp = adUrl;
    if (news) this.tell('stream-adtimeout');
  }

  private async call(call: number, method: 'play' | 'pause'): Promise<void> {
    try {
      if (method === 'play') await this.steered.play();
      else this.steered.pause();
      this.send(toPage('reply', { call, error: null }));
    } catch (error) {
      const { name, message } = error instanceof Error ? error : new Error(String(error));
      this.send(toPage('reply', { call, error: { name, message } }));
    }
  }

  private send(message: PageMessage): void {
    if (this.origin === null) return;
    // A page from a file, or in a sandbox, has no origin that could be named.
    this.page.postMessage(message, this.origin === 'null' ? '*' : this.origin);
  }
}

/** As the page is told: of a clip what is in it, since it began. */
export function ranges(list: TimeRanges, { video, currentTime, duration }: { video: HTMLVideoElement; currentTime: number; duration: number }): Range[] {
  const offsetS = video.currentTime - currentTime;
  const within = (positionS: number) => (offsetS === 0 ? positionS : Math.min(Math.max(0, positionS - offsetS), duration));
  const all = Array.from({ length: list.length }, (_, at): Range => [within(list.start(at)), within(list.end(at))]);
  return offsetS === 0 ? all : all.filter(([start, end]) => end > start);
}
