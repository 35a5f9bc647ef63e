/** The chat of what is on the air: over MoQ where that works, else over HTTP. */
import { type Address, Refused } from '../moq/session';
import { type Message, tidy } from './message';
import { HttpChat, NotSure } from './over-http';
import { MoqChat } from './over-moq';
import { Transcript } from './transcript';

const POLL_MS = 2_500;
/** Over HTTP for so long until MoQ is tried again; the last one stays. */
const AGAIN_MS = [5_000, 15_000, 60_000];
const ECHO_MS = 4_000;

export interface Place {
  /** The path of what is watched, such as `/ID`. */
  http: string;
  moq: { address: Address; namespace: string[] } | null;
}

interface Pending {
  name: string;
  text: string;
  /** The same may have been said before. */
  after: number;
  heard: () => void;
}

export class LiveChat {
  readonly transcript = new Transcript();
  open = false;
  /** How messages come at the moment. */
  via: '' | 'MoQ' | 'HTTP' = '';
  private readonly http: HttpChat;
  private moq: MoqChat | null = null;
  /** Where the server has sent us. */
  private movedTo: Address | null = null;
  private pending: Pending | null = null;
  private failures = 0;
  private stopped = false;
  private timer = 0;
  private moqAtMs = 0;

  /** `changed`: something on the screen is not so any more. */
  constructor(
    private readonly place: Place,
    private readonly changed: () => void,
  ) {
    this.http = new HttpChat(place.http);
    void this.begin();
  }

  private async begin(): Promise<void> {
    if (!(await this.overMoq())) void this.overHttp();
  }

  private async overMoq(): Promise<boolean> {
    const { moq } = this.place;
    if (moq === null || !window.isSecureContext || !('WebTransport' in window)) return false;
    try {
      const chat = await MoqChat.open(this.movedTo ?? moq.address, moq.namespace, {
        onEverything: ({ open, messages }) => this.everything(open, messages),
        onMessage: (message) => this.message(message),
        onLost: (to) => this.onLost(to),
      });
      if (this.stopped) chat.close();
      else [this.moq, this.via, this.failures] = [chat, 'MoQ', 0];
      return true;
    } catch {
      this.movedTo = null;
      this.later();
      return false;
    }
  }

  private onLost(to: Address | null): void {
    this.moq = null;
    this.movedTo = to;
    this.later();
    void this.overHttp();
  }

  private later(): void {
    this.moqAtMs = performance.now() + (AGAIN_MS[Math.min(this.failures++, AGAIN_MS.length - 1)] ?? 0);
  }

  /** Whether the server says what was said. */
  private async look(): Promise<boolean> {
    try {
      const news = await this.http.look();
      if (news !== null && !this.stopped) this.everything(news.open, news.messages);
      return true;
    } catch {
      return false;
    }
  }

  private async overHttp(): Promise<void> {
    if (this.stopped || this.moq !== null) return;
    this.via = 'HTTP';
    // If not, the next one may reach it.
    await this.look();
    if (this.stopped) return;
    if (this.place.moq !== null && performance.now() >= this.moqAtMs && (await this.overMoq())) return;
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => void this.overHttp(), POLL_MS);
  }

  private everything(open: boolean, messages: Message[]): void {
    this.open = open;
    this.transcript.replace(messages);
    messages.forEach((message) => this.heard(message));
    this.changed();
  }

  private message(message: Message): void {
    this.transcript.add(message);
    this.heard(message);
    this.changed();
  }

  private heard({ id, name, text }: Message): void {
    const { pending } = this;
    if (pending?.name === name && pending.text === text && id > pending.after) pending.heard();
  }

  /** Resolves when everybody sees it. */
  async say(name: string, text: string): Promise<void> {
    const { moq } = this;
    if (moq !== null && (await this.sayOverMoq(moq, name, text))) return;
    await this.http.say(name, text);
    void this.overHttp();
  }

  /** Whether it has come back; false: the server does not have it. A path that is gone says nothing, and so does a server of what it does not take. */
  private async sayOverMoq(moq: MoqChat, name: string, text: string): Promise<boolean> {
    const after = this.transcript.messages.at(-1)?.id ?? 0;
    let isHeard = false;
    const heard = new Promise<void>((resolve) => {
      const pending = () => {
        isHeard = true;
        resolve();
      };
      this.pending = { name: tidy(name), text: tidy(text), after, heard: pending };
    });
    let timer = 0;
    const late = new Promise<void>((resolve) => (timer = window.setTimeout(resolve, ECHO_MS)));
    // Of a session that is over nothing comes any more.
    const over = moq.say(name, text).then(
      () => heard,
      (error: unknown) => {
        if (error instanceof Refused) throw error;
      },
    );
    try {
      await Promise.race([heard, over, late]);
      if (isHeard) return true;
      if (this.moq === moq) {
        moq.close();
        this.onLost(null);
      }
      const looked = await this.look();
      if (!looked && !isHeard) throw new NotSure();
      return isHeard;
    } finally {
      window.clearTimeout(timer);
      this.pending = null;
    }
  }

  stop(): void {
    this.stopped = true;
    window.clearTimeout(this.timer);
    this.moq?.close();
  }
}
