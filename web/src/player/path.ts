/**
 * Which way the media comes: MoQ while it works, LL-HLS while it does not, and when the first is tried again.
 *
 * Pure: time is an argument.
 */
import type { Address } from '../moq/session';

const RETRY_MS = [2_000, 4_000, 8_000, 15_000, 30_000];
/** What is too narrow is so for longer, and to try it costs the viewer a few seconds. */
const NARROW_RETRY_MS = [20_000, 60_000, 180_000, 300_000];
/** So often a way that is open is gone anew at once: another engine, another server, sound that has come. */
const OPEN_AT_ONCE = 3;
/** Played so long without trouble: what failed before does not count any more. */
const STEADY_MS = 20_000;
const WIDE_MS = 60_000;

/** `open`: only this engine can't go it, or not to this server; `narrow`: it carries less than comes. */
export type PathLost = 'gone' | 'open' | 'narrow';

export class Path {
  private failures = 0;
  private narrow = 0;
  private opens = 0;
  private retryAtMs = 0;
  private sinceMs: number | null = null;
  /** What it was too narrow for; 0: for nothing. */
  private neededBps = 0;
  /** What it carries by now, as the other way shows. */
  private carriedBps = 0;
  /** Where the server has sent us, for as long as that works. */
  movedTo: Address | null = null;

  /** Whether MoQ is worth a try now. */
  mayTryMoq(nowMs: number): boolean {
    return nowMs >= this.retryAtMs && this.carriedBps >= this.neededBps;
  }

  /** What comes the other way shows that so much comes through; undefined: it does not show. */
  carries(bps = Number.POSITIVE_INFINITY): void {
    this.carriedBps = bps;
  }

  /** MoQ plays, or still does. */
  works(nowMs: number): void {
    this.sinceMs ??= nowMs;
    this.neededBps = 0;
    if (nowMs - this.sinceMs >= STEADY_MS) this.failures = this.opens = 0;
    if (nowMs - this.sinceMs >= WIDE_MS) this.narrow = 0;
  }

  /** `to`: where the server says that it goes on; `neededBps`: what MoQ would begin with again. */
  lost(why: PathLost, to: Address | null, nowMs: number, neededBps = 0): void {
    if (why === 'gone') this.failed(nowMs);
    if (why !== 'narrow') this.movedTo = to;
    if (why === 'gone') return;
    this.sinceMs = null;
    if (why === 'open') {
      const late = this.opens++ - OPEN_AT_ONCE;
      if (late >= 0) this.retryAtMs = nowMs + (RETRY_MS[Math.min(late, RETRY_MS.length - 1)] ?? 0);
      return;
    }
    this.retryAtMs = nowMs + (NARROW_RETRY_MS[Math.min(this.narrow, NARROW_RETRY_MS.length - 1)] ?? 0);
    this.narrow++;
    [this.neededBps, this.carriedBps] = [neededBps, 0];
  }

  /** MoQ did not come about, or went away. */
  failed(nowMs: number): void {
    this.sinceMs = null;
    this.movedTo = null;
    this.retryAtMs = nowMs + (RETRY_MS[Math.min(this.failures, RETRY_MS.length - 1)] ?? 0);
    this.failures++;
  }
}
