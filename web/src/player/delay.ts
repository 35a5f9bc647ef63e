/**
 * When a frame is to be shown, so that late ones are still in time and nothing waits longer than it must.
 *
 * Pure: time is an argument, all times are milliseconds. The fastest frames of the last seconds say how far the source's clock is
 * from ours; what the others come later than those is waited for. Sound and picture have one delay, so they stay in step.
 */
const CLOCK_WINDOW_MS = 4_000;
const DELAY_START_MS = 50;
const DELAY_MIN_MS = 25;
/** Kept between the moment a frame is decoded and its time. */
const RESERVE_MS = 10;
/** What is late once, by whatever it was, is no reason to wait for as long from then on; what is late again and again is. */
const RISE_MAX_MS = 40;
const RISE_EVERY_MS = 250;
/** Looked at for so long before frames are shown earlier: each change is heard as a seam. Shorter at the start, which is never smooth. */
const FALL_WINDOW_MS = [1_000, 2_000, 5_000];
const FALL_MIN_MS = 20;
/** Later than this a frame belongs to a past that is caught up with; what stays so late has another clock. */
const BEHIND_MS = 300;
const BEHIND_FOR_MS = 500;

export class Delay {
  /** The least difference of the current window and of the one before, as clocks drift. */
  private least = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  private windowEndsMs = 0;
  private slackMs = Number.POSITIVE_INFINITY;
  private slackSinceMs: number | null = null;
  private windows = 0;
  private roseAtMs = Number.NEGATIVE_INFINITY;
  private behindSinceMs: number | null = null;
  private anewAtMs = Number.NEGATIVE_INFINITY;
  ms = DELAY_START_MS;

  /** A frame has come. */
  arrived(presentMs: number, nowMs: number): void {
    if (nowMs >= this.windowEndsMs) {
      this.least = [Number.POSITIVE_INFINITY, this.least[0] ?? Number.POSITIVE_INFINITY];
      this.windowEndsMs = nowMs + CLOCK_WINDOW_MS;
    }
    this.least[0] = Math.min(this.least[0] ?? Number.POSITIVE_INFINITY, nowMs - presentMs);
  }

  /** What comes from now on is of another publisher: what was learnt of his clock says nothing of this one's. */
  anew(nowMs: number): void {
    // Sound and picture have one clock, and both say so.
    if (nowMs - this.anewAtMs < CLOCK_WINDOW_MS) return;
    this.anewAtMs = nowMs;
    this.least = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
    this.windowEndsMs = nowMs + CLOCK_WINDOW_MS;
    this.behindSinceMs = null;
    this.look(nowMs);
  }

  /** When it is to be shown. */
  dueMs(presentMs: number): number {
    return presentMs + Math.min(...this.least) + this.ms;
  }

  /** A frame is decoded: the time that it can still wait makes the next ones wait longer, or less. */
  decoded(presentMs: number, nowMs: number): void {
    const slackMs = this.dueMs(presentMs) - nowMs;
    if (slackMs < -BEHIND_MS) return this.behind(presentMs, nowMs);
    this.behindSinceMs = null;
    if (slackMs < RESERVE_MS) {
      if (nowMs - this.roseAtMs < RISE_EVERY_MS) return;
      this.ms += Math.min(RESERVE_MS - slackMs, RISE_MAX_MS);
      this.roseAtMs = nowMs;
      this.look(nowMs);
      return;
    }
    this.slackSinceMs ??= nowMs;
    this.slackMs = Math.min(this.slackMs, slackMs);
    if (nowMs - this.slackSinceMs < (FALL_WINDOW_MS[Math.min(this.windows, FALL_WINDOW_MS.length - 1)] ?? 0)) return;
    this.windows++;
    const spareMs = Math.min(this.slackMs - RESERVE_MS, this.ms - DELAY_MIN_MS);
    if (spareMs >= FALL_MIN_MS) this.ms -= spareMs;
    this.look(nowMs);
  }

  private behind(presentMs: number, nowMs: number): void {
    this.behindSinceMs ??= nowMs;
    if (nowMs - this.behindSinceMs < BEHIND_FOR_MS) return;
    this.least = [nowMs - presentMs, Number.POSITIVE_INFINITY];
    this.windowEndsMs = nowMs + CLOCK_WINDOW_MS;
    this.ms = DELAY_START_MS;
    this.behindSinceMs = null;
    this.look(nowMs);
  }

  private look(nowMs: number): void {
    this.slackMs = Number.POSITIVE_INFINITY;
    this.slackSinceMs = nowMs;
  }
}
