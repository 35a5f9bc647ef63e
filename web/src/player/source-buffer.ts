/** One track of a media element: what is appended waits its turn, and what was shown long ago goes. */

const KEEP_BEHIND_S = 30;
/** Somebody who has paused does not keep all that comes. */
const KEEP_AHEAD_S = 60;
const TRIM_EVERY_S = 10;

export class TrackBuffer {
  private readonly queue: Uint8Array<ArrayBuffer>[] = [];
  private trimmedToS = 0;
  private ending: (() => void) | null = null;

  constructor(
    private readonly buffer: SourceBuffer,
    private readonly video: HTMLVideoElement,
    private readonly onAppended: () => void,
    private readonly onError: (detail: string) => void,
  ) {
    buffer.addEventListener('updateend', () => {
      this.onAppended();
      this.next();
    });
    buffer.addEventListener('error', () => this.onError('append'));
  }

  get ranges(): TimeRanges {
    return this.buffer.buffered;
  }

  /** Where the newest media ends; 0 where there is none. */
  get endS(): number {
    const { buffered } = this.buffer;
    return buffered.length === 0 ? 0 : buffered.end(buffered.length - 1);
  }

  append(bytes: Uint8Array<ArrayBuffer>): void {
    this.queue.push(bytes);
    this.next();
  }

  /** Calls back once everything is in. */
  finish(then: () => void): void {
    this.ending = then;
    this.next();
  }

  private next(): void {
    if (this.buffer.updating) return;
    try {
      if (this.trim()) return;
      const bytes = this.queue.shift();
      if (bytes !== undefined) return this.buffer.appendBuffer(bytes);
    } catch (error) {
      // The element has failed, or was taken away.
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
