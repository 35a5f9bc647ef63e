/** One track of a media element: what is appended waits its turn, and what was shown long ago goes. */

const KEEP_BEHIND_S = 30;
/** Somebody who has paused does not keep all that comes. */
const KEEP_AHEAD_S = 60;
const TRIM_EVERY_S = 10;

export class TrackBuffer {
  /** Media, or the type of what follows. */
  private readonly queue: (Uint8Array<ArrayBuffer> | string)[] = [];
  private trimmedToS = 0;
  private ending: (() => void) | null = null;

  constructor(
    private readonly media: MediaSource,
    private readonly buffer: SourceBuffer,
    private readonly video: HTMLVideoElement,
    private readonly onAppended: () => void,
    private readonly onError: (detail: string) => void,
  ) {
    // The element may play something else by now: its `updateend` and `error` of an append that was under way come all the same.
    buffer.addEventListener('updateend', () => {
      if (!this.attached) return;
      this.onAppended();
      this.next();
    });
    buffer.addEventListener('error', () => {
      if (this.attached) this.onError('append');
    });
  }

  /** Once it is not, nearly everything of it throws: Media Source Extensions §4.1, §5.1. */
  private get attached(): boolean {
    return Array.from(this.media.sourceBuffers).includes(this.buffer);
  }

  /** Where the newest media ends; 0 where there is none. */
  get endS(): number {
    if (!this.attached) return 0;
    const { buffered } = this.buffer;
    return buffered.length === 0 ? 0 : buffered.end(buffered.length - 1);
  }

  append(bytes: Uint8Array<ArrayBuffer>): void {
    if (!this.attached) return;
    this.queue.push(bytes);
    this.next();
  }

  /** What is appended from here on is of another codec. */
  changeType(type: string): void {
    this.queue.push(type);
    this.next();
  }

  /** Calls back once everything is in. */
  finish(then: () => void): void {
    this.ending = then;
    this.next();
  }

  private next(): void {
    if (!this.attached || this.buffer.updating) return;
    try {
      if (this.trim()) return;
      let bytes = this.queue.shift();
      while (typeof bytes === 'string') {
        this.buffer.changeType(bytes);
        bytes = this.queue.shift();
      }
      if (bytes !== undefined) return this.buffer.appendBuffer(bytes);
    } catch (error) {
      // The element has failed.
      return this.onError(error instanceof Error ? error.name : 'append');
    }
    this.ending?.();
    this.ending = null;
  }

  private trim(): boolean {
    const { buffered } = this.buffer;
    if (buffered.length === 0) return false;
    const startS = buffered.start(0);
    const atS = this.video.currentTime;
    const aheadS = this.endS - atS;
    const toS = aheadS > KEEP_AHEAD_S ? this.endS - KEEP_AHEAD_S / 2 : atS - KEEP_BEHIND_S;
    if (toS - Math.max(startS, this.trimmedToS) < TRIM_EVERY_S) return false;
    this.trimmedToS = toS;
    this.buffer.remove(startS, toS);
    return true;
  }
}
