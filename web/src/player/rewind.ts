/**
 * Back into the past over MoQ: what lies between a place before the buffer and what comes live is fetched, in whole groups. What comes
 * live meanwhile waits: a buffer that is filled here and there by turns would drop all that does not begin with a key frame.
 */
import type { Fetched } from '../moq/session';
import type { MoqObject } from '../moq/objects';

/** When a group begins. */
export type Begins = readonly [group: number, startS: number];

/** How far back there is something to be had. Less than a buffer keeps ahead of somebody who stays there. */
export const REWIND_S = 45;
/** How long groups are, before anything is known. */
const USUAL_S = 2;
/** Nothing has come for so long: what is live goes on. */
const SILENT_MS = 4_000;

/** The group that was under way at a time; what was not seen is guessed from how long those are that were, one more rather than one less. */
export function groupAt(begins: readonly Begins[], atS: number): number | null {
  const [first, last] = [begins[0], begins[begins.length - 1]];
  if (first === undefined || last === undefined) return null;
  const known = [...begins].reverse().find(([, startS]) => startS <= atS);
  if (known !== undefined) return known[0];
  const groups = last[0] - first[0];
  const lengthS = groups > 0 ? (last[1] - first[1]) / groups : USUAL_S;
  return Math.max(0, first[0] - Math.ceil((first[1] - atS) / Math.max(lengthS, 0.1)) - 1);
}

/** One track on its way back. */
export class Rewind {
  private readonly held: MoqObject[];
  private readonly fetched: Fetched;
  private timer = 0;
  private over = false;

  /** `current`: what has come of the group that is under way. `done`: with what came live, to be shown from its beginning. */
  constructor(
    current: readonly MoqObject[],
    fetch: (object: (object: MoqObject) => void) => Fetched,
    past: (object: MoqObject) => void,
    private readonly done: (live: readonly MoqObject[]) => void,
  ) {
    this.held = [...current];
    this.wait();
    this.fetched = fetch((object) => {
      if (this.over) return;
      this.wait();
      past(object);
    });
    this.fetched.done.then(
      () => this.end(),
      () => this.end(),
    );
  }

  /** Something has come live. */
  hold(object: MoqObject): void {
    this.held.push(object);
  }

  end(): void {
    if (this.over) return;
    this.over = true;
    window.clearTimeout(this.timer);
    this.fetched.close();
    this.done(this.held);
  }

  private wait(): void {
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.end(), SILENT_MS);
  }
}
