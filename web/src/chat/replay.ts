/** What was said, beside a recording: each message when the picture comes to its time. */
import type { Message } from './message';
import { Transcript } from './transcript';

/** The picture moved by more than playing on does. */
const JUMP_MS = 5_000;
/** More is asked for when so few are left. */
const AHEAD = 30;
const AGAIN_MS = 3_000;

export interface Past {
  after(id: number): Promise<Message[]>;
  until(ms: number): Promise<Message[]>;
}

export class ReplayChat {
  readonly transcript = new Transcript();
  private ahead: Message[] = [];
  private lastId = 0;
  private atMs: number | null = null;
  private asking = false;
  private exhausted = false;
  private notBeforeMs = 0;

  constructor(
    private readonly past: Past,
    private readonly changed: () => void,
  ) {}

  /** Nothing was ever said, or all of it was deleted. */
  get empty(): boolean {
    return this.exhausted && this.ahead.length === 0 && this.transcript.messages.length === 0;
  }

  /** The picture shows this time. Called again and again. */
  async at(ms: number | null, nowMs: number): Promise<void> {
    if (ms === null || this.asking || nowMs < this.notBeforeMs) return;
    const jumped = this.atMs === null || ms < this.atMs - 500 || ms > this.atMs + JUMP_MS;
    this.asking = true;
    try {
      if (jumped) await this.jump(ms);
      else this.play(ms);
      this.atMs = ms;
      if (this.ahead.length < AHEAD && !this.exhausted) await this.more();
      if (jumped) this.changed();
    } catch {
      this.notBeforeMs = nowMs + AGAIN_MS;
    } finally {
      this.asking = false;
    }
  }

  private async jump(ms: number): Promise<void> {
    const before = await this.past.until(ms);
    this.transcript.replace(before);
    this.ahead = [];
    this.exhausted = false;
    this.lastId = before.at(-1)?.id ?? 0;
  }

  private play(ms: number): void {
    let any = false;
    for (let next = this.ahead[0]; next !== undefined && next.at <= ms; next = this.ahead[0]) {
      this.transcript.add(next);
      this.ahead.shift();
      any = true;
    }
    if (any) this.changed();
  }

  private async more(): Promise<void> {
    const more = await this.past.after(this.ahead.at(-1)?.id ?? this.lastId);
    this.exhausted = more.length === 0;
    this.ahead.push(...more);
    this.lastId = this.ahead.at(-1)?.id ?? this.lastId;
  }
}
