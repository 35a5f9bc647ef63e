/**
 * From one level to another without a hole: groups of both have the same numbers and begin at the same time, so the change is made
 * between two groups. Pure.
 */
import type { MoqObject } from '../moq/objects';

/** What comes: the object, and whether it is the first of its group. */
export type Came = [object: MoqObject, first: boolean];

/** A level that begins so much later than its original has not come about; the next group is tried. */
const WAIT_MS = 800;

export class Change {
  /** The first group that is shown of the new level; null: nothing of it has come yet. */
  private from: number | null = null;
  private held: Came[] = [];
  private heldSinceMs = 0;

  /** `at`: the newest group of the old level that has been shown; null: none. */
  constructor(private at: number | null) {}

  /** An object of the old level came; answers what of it is to be shown now. */
  old(came: Came, nowMs: number): Came[] {
    const [{ group }] = came;
    if (this.from === null || group < this.from) {
      this.at = Math.max(group, this.at ?? group);
      return [came];
    }
    if (this.held.length === 0) this.heldSinceMs = nowMs;
    this.held.push(came);
    if (nowMs - this.heldSinceMs < WAIT_MS) return [];
    const shown = this.held;
    this.held = [];
    this.at = group;
    this.from = group + 1;
    return shown;
  }

  /** An object of the new level came; answers whether it is shown from here on, and the old one no more. */
  begins([{ group }, first]: Came): boolean {
    if (this.at !== null) this.from ??= this.at + 1;
    return first && group >= (this.from ?? group);
  }
}
