/** How often, and for how long, the picture stood still although it should have moved. Times are `performance.now()`. */
export class Stalls {
  count = 0;
  endedAtMs = Number.NEGATIVE_INFINITY;
  private totalMs = 0;
  private sinceMs: number | null = null;

  get stalling(): boolean {
    return this.sinceMs !== null;
  }

  begin(nowMs: number): void {
    if (this.sinceMs !== null) return;
    this.sinceMs = nowMs;
    this.count++;
  }

  end(nowMs: number): void {
    if (this.sinceMs !== null) {
      this.totalMs += nowMs - this.sinceMs;
      this.endedAtMs = nowMs;
    }
    this.sinceMs = null;
  }

  /** Another source: what stood still is gone. */
  forget(): void {
    this.sinceMs = null;
  }

  currentMs(nowMs: number): number {
    return this.sinceMs === null ? 0 : nowMs - this.sinceMs;
  }

  totalS(nowMs: number): number {
    return (this.totalMs + this.currentMs(nowMs)) / 1000;
  }
}
