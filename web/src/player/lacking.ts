/**
 * Whether what plays is not to be had though its original goes on: nobody can encode it now. The server goes on trying for longer than
 * anybody likes to look at a picture that stands still.
 *
 * Pure but for that question: time is an argument.
 */

/** A part, and a machine that is busy for a moment. */
const SILENT_MS = 3_000;
const ASK_EVERY_MS = 1_000;
/** In groups. What is encoded live may be one behind. */
const BEHIND = 2;

export class Lacking {
  private came: { group: number; atMs: number } | null = null;
  private asking = false;
  private askAfterMs = 0;

  constructor(
    /** The newest group of the original; null: what plays is one, or nobody says. */
    private readonly newest: () => Promise<number | null>,
    private readonly onLacking: () => void,
  ) {}

  /** Something of this group has come. */
  object(group: number, nowMs: number): void {
    this.came = { group, atMs: nowMs };
  }

  look(nowMs: number): void {
    const { came } = this;
    if (came === null || this.asking || nowMs < Math.max(came.atMs + SILENT_MS, this.askAfterMs)) return;
    this.asking = true;
    this.askAfterMs = nowMs + ASK_EVERY_MS;
    void this.newest().then((newest) => {
      this.asking = false;
      if (this.came === came && newest !== null && newest >= came.group + BEHIND) this.onLacking();
    });
  }

  /** Nothing is expected. */
  forget(): void {
    this.came = null;
  }
}
