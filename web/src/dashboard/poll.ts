/** Runs a task again and again, never two at a time, and not while nobody looks. */
export class Poll {
  private timer: ReturnType<typeof setTimeout> | null = null;
  private running = false;
  private again = false;
  private stopped = false;

  constructor(
    private readonly task: () => Promise<void>,
    private readonly pauseMs: number,
    private readonly hidden: () => boolean = () => document.hidden,
  ) {}

  /** At once, or right after the round that is under way: it may have asked before what is now to be seen. */
  now(): void {
    if (this.stopped) return;
    if (this.running) {
      this.again = true;
      return;
    }
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    if (!this.hidden()) void this.round();
  }

  stop(): void {
    this.stopped = true;
    if (this.timer !== null) clearTimeout(this.timer);
  }

  private async round(): Promise<void> {
    this.running = true;
    try {
      await this.task();
    } finally {
      // Also after a bug in the task: a page that asks again shows it again, one that does not looks healthy.
      this.running = false;
      if (!this.stopped) this.timer = setTimeout(() => this.now(), this.again ? 0 : this.pauseMs);
      this.again = false;
    }
  }
}
