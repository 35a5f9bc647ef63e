/**
 * Whether a path that is alive carries what comes on it.
 *
 * Media that fell short of the clock in the last seconds may be the encoder's doing. So the server is asked what it has: if that is
 * not here a moment later, twice in a row, the path is too narrow. Pure but for that question: time is an argument.
 */
const WINDOW_MS = 10_000;
/** A part, and a hiccup. */
const SHORT_BY_MS = 700;
const ASK_EVERY_MS = 1_000;
const LAGS_MAX = 2;
/** What the path carries is seen in so much of it. */
const RECENT_MS = 3_000;

export class Throughput {
  private received: { atMs: number; mediaMs: number }[] = [];
  private sinceMs: number | null = null;
  private newestMs: number | null = null;
  /** The longest step of the group: the last frame of a group lasts about as long. */
  private stepMs = 0;
  private asking = false;
  private askAfterMs = 0;
  private lags = 0;
  private following = 0;

  constructor(
    /** Whether what the server has now is not here in time. */
    private readonly isLagging: () => Promise<boolean>,
    /** `share`: of the media that should have come. */
    private readonly onNarrow: (share: number) => void,
  ) {}

  /** `first`: of its group. What is missing between two groups has not come. */
  frame(presentMs: number, first: boolean, nowMs: number): void {
    const stepMs = Math.max(0, presentMs - (this.newestMs ?? presentMs));
    if (first) this.newestMs = presentMs;
    else this.newestMs = Math.max(presentMs, this.newestMs ?? presentMs);
    this.media(first ? Math.min(stepMs, this.stepMs) : stepMs, nowMs);
    this.stepMs = first ? 0 : Math.max(this.stepMs, stepMs);
  }

  media(mediaMs: number, nowMs: number): void {
    this.sinceMs ??= nowMs;
    this.received.push({ atMs: nowMs, mediaMs });
  }

  look(nowMs: number): void {
    this.received = this.received.filter(({ atMs }) => atMs > nowMs - WINDOW_MS);
    if (this.sinceMs === null || this.asking || nowMs < this.askAfterMs) return;
    const windowMs = Math.min(WINDOW_MS, nowMs - this.sinceMs);
    if (windowMs - this.receivedMs(nowMs - WINDOW_MS) < SHORT_BY_MS) {
      this.lags = 0;
      return;
    }
    this.asking = true;
    this.askAfterMs = nowMs + ASK_EVERY_MS;
    const { following } = this;
    void this.isLagging().then((lagging) => {
      if (following !== this.following) return;
      this.asking = false;
      this.lags = lagging ? this.lags + 1 : 0;
      if (this.lags < LAGS_MAX) return;
      const share = this.receivedMs(nowMs - RECENT_MS) / RECENT_MS;
      this.forget();
      this.onNarrow(share);
    });
  }

  /** Another track, or the same anew. */
  forget(): void {
    this.received = [];
    this.sinceMs = null;
    this.newestMs = null;
    this.stepMs = 0;
    this.asking = false;
    this.lags = 0;
    this.following++;
  }

  private receivedMs(sinceMs: number): number {
    return this.received.reduce((sum, { atMs, mediaMs }) => (atMs > sinceMs ? sum + mediaMs : sum), 0);
  }
}
