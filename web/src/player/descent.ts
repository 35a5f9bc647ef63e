/** A lower level while the path is too narrow for a better one, which is tried again after a while that grows. Pure: time is an argument. */
import type { CatalogTrack } from '../moq/catalog';

const UP_AFTER_MS = [20_000, 60_000, 180_000, 300_000];
/** What the path is seen to carry has to be more than a level's average. */
const MARGIN = 0.8;

export class Descent {
  /** The track to play, if it is to be had. */
  name: string | null = null;
  private upAtMs = 0;
  private times = 0;

  /** Whether there is a lower one. `share`: how much of the current one comes. */
  down(tracks: CatalogTrack[], current: CatalogTrack, share: number, nowMs: number): boolean {
    const lower = tracks.filter(({ bitrate }) => bitrate > 0 && bitrate < current.bitrate).sort((a, b) => b.bitrate - a.bitrate);
    const next = lower.find(({ bitrate }) => bitrate < current.bitrate * share * MARGIN) ?? lower.at(-1);
    if (next === undefined) return false;
    this.name = next.name;
    this.upAtMs = nowMs + (UP_AFTER_MS[Math.min(this.times, UP_AFTER_MS.length - 1)] ?? 0);
    this.times++;
    return true;
  }

  /** Whether it is time to try the better one again. */
  up(nowMs: number): boolean {
    if (this.name === null || nowMs < this.upAtMs) return false;
    this.name = null;
    return true;
  }
}
