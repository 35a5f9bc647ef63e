/** A chat over HTTP: for browsers and networks without MoQ, and for what was said before. */
import { type Everything, type Message, parseEverything } from './message';

const TIMEOUT_MS = 8_000;

/** The server's words for why it does not take a message. */
export class NotSaid extends Error {}

/** Perhaps it has it: it does not answer. */
export class NotSure extends Error {
  constructor() {
    super('It is not sure that this was sent: the server does not answer. It shows here if it was.');
  }
}

/** `place`: the path of what is watched, such as `/ID`. */
export class HttpChat {
  private tag: string | null = null;

  constructor(private readonly place: string) {}

  /** null: nothing is new since the last time. */
  async look(): Promise<Everything | null> {
    const headers: Record<string, string> = this.tag === null ? {} : { 'If-None-Match': this.tag };
    const response = await this.fetch('', { headers });
    if (response.status === 304) return null;
    // What is forbidden or gone is closed.
    if (!response.ok) return { open: false, messages: [] };
    this.tag = response.headers.get('etag');
    return parseEverything(await response.json());
  }

  async after(id: number): Promise<Message[]> {
    return this.page(`/after/${id}`);
  }

  async until(ms: number): Promise<Message[]> {
    return this.page(`/until/${Math.max(0, Math.floor(ms))}`);
  }

  private async page(which: string): Promise<Message[]> {
    const response = await this.fetch(which, {});
    if (!response.ok) throw new Error(`${response.status}`);
    return parseEverything(await response.json()).messages;
  }

  async say(name: string, text: string): Promise<void> {
    const response = await this.fetch('', { method: 'POST', body: JSON.stringify({ name, text }) }).catch(() => {
      throw new NotSure();
    });
    if (response.ok) return;
    const words = (await response.text().catch(() => '')).trim();
    throw new NotSaid(words.length > 0 && words.length < 200 ? words : 'the chat did not take it');
  }

  private fetch(which: string, init: RequestInit): Promise<Response> {
    return fetch(`${this.place}/chat${which}`, { cache: 'no-store', signal: AbortSignal.timeout(TIMEOUT_MS), ...init });
  }
}
