/** The viewer's choice of quality. Beside MoQ frame by frame, which has the originals only, the levels of HLS are offered: who chooses one gets it in parts. */
import { type Engine, isMoq, type Level } from './engine';
import { fetchLadder } from './ladder';

/** Where there was no answer it is asked again after this. */
const AGAIN_MS = 8_000;

export class Quality {
  /** A level that the viewer has chosen and frame by frame is not to be had. */
  pinned: Level | null = null;
  /** Of the source that is loaded, over HLS. */
  private ladder: Level[] = [];
  /** What it was asked for: each load may be of another broadcast, with other levels. */
  private of: Engine | null = null;
  private askAtMs = 0;

  /** Another source. */
  forget(): void {
    this.pinned = null;
    this.ladder = [];
    this.of = null;
  }

  levels(engine: Engine | null): Level[] {
    return this.besideMoq(engine) ? this.ladder : (engine?.levels() ?? []);
  }

  chosen(engine: Engine | null): number | null {
    return this.besideMoq(engine) ? null : (engine?.chosenLevel() ?? null);
  }

  /** null: left to the player. Answers whether the source has to be loaded anew, another way. */
  choose(engine: Engine | null, index: number | null): boolean {
    if (this.besideMoq(engine)) {
      this.pinned = index === null ? null : (this.ladder[index] ?? null);
      return this.pinned !== null;
    }
    const pinned = this.pinned !== null;
    // From here on the way back to frame by frame is open, if there is one.
    if (index === null) this.pinned = null;
    else if (pinned) this.pinned = engine?.levels()[index] ?? null;
    if (index === null && pinned && engine?.mode === 'MoQ') return true;
    engine?.chooseLevel(index);
    return false;
  }

  /** Asks for the levels beside MoQ, once for each engine if there is an answer; answers whether it has come. */
  async learn(engine: Engine | null, url: string, nowMs: number): Promise<boolean> {
    if (engine === null || !isMoq(engine.mode) || engine.levels().length > 1) return false;
    if (this.of === engine && nowMs < this.askAtMs) return false;
    this.of = engine;
    this.askAtMs = nowMs + AGAIN_MS;
    const ladder = await fetchLadder(url);
    if (ladder === null || this.of !== engine) return false;
    this.ladder = ladder;
    this.askAtMs = Number.POSITIVE_INFINITY;
    return true;
  }

  private besideMoq(engine: Engine | null): boolean {
    return engine !== null && isMoq(engine.mode) && engine.levels().length < 2 && this.ladder.length > 1;
  }
}
