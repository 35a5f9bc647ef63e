/**
 * Where a player goes on that stands at a hole in its buffer, or has come over one. Pure: time is an argument.
 *
 * Chromium plays on over a hole that only the picture has, for a second or two without it, and then stands for good in the midst of what is
 * buffered (crbug.com/40280613); a seek lets it begin anew. And a seek to where one of the two ends at once never comes about.
 */

/** A hole that the player stands before for so long stays one. */
const AFTER_MS = 250;
/** And who stands where media is ahead of him, for so long. */
const INSIDE_AFTER_MS = 2_000;
/** With less than that ahead nothing begins. */
const THIN_S = 0.5;
/** So near behind a hole it is the hole at which he stands. */
const BEHIND_S = 3;
/** Into a range, not onto its edge. */
const INSIDE_S = 0.01;

export interface Standing {
  atS: number;
  /** There is enough to play. */
  ready: boolean;
  seeking: boolean;
  ranges: readonly (readonly [startS: number, endS: number])[];
}

export class Holes {
  private sinceMs: number | null = null;
  private lastS: number | null = null;

  /** It does not want to move, or what it wants is still being fetched. */
  rests(): void {
    this.sinceMs = null;
    this.lastS = null;
  }

  /** Where to seek to, if so. */
  look({ atS, ready, seeking, ranges }: Standing, nowMs: number): number | null {
    const within = ranges.findIndex(([startS, endS]) => atS >= startS && atS < endS);
    const [startS, endS] = ranges[within] ?? [atS, atS];
    const crossed = within > 0 && !seeking && this.lastS !== null && this.lastS < startS;
    this.lastS = seeking ? null : atS;
    if (crossed) return this.go(atS + INSIDE_S);
    if (ready && !seeking) {
      this.sinceMs = null;
      return null;
    }
    this.sinceMs ??= nowMs;
    const standsMs = nowMs - this.sinceMs;
    const isThere = endS - atS >= THIN_S;
    // The element only has to come to it, or to begin.
    if (standsMs < AFTER_MS || (isThere && (seeking || standsMs < INSIDE_AFTER_MS))) return null;
    if (isThere && within > 0 && atS - startS < BEHIND_S) return this.go(atS + INSIDE_S);
    const next = ranges.find((range) => range[0] > atS);
    return next === undefined ? null : this.go(next[0] + INSIDE_S);
  }

  private go(toS: number): number {
    this.rests();
    return toS;
  }
}
