/**
 * What of the media can be shown: all that can be sought, or the clip in it. Over HLS a clip is whole segments and where in them to
 * begin (EXT-X-START); how long it is, the page says.
 */
import type { Engine } from './engine';

/** A live window shorter than this is not worth a seek bar. */
const SEEK_BAR_MIN_S = 30;
/** Less than a frame. */
const NEAR_S = 0.01;
/** Between two events the end is waited for; a longer way has more of them. */
const TIMER_WITHIN_S = 1;

export interface Shown {
  startS: number;
  endS: number;
}

export class Range {
  private timer = 0;
  private over = false;

  /** `lengthS`: of the clip; null: all of it. `engine`: that which plays. */
  constructor(
    private readonly video: HTMLVideoElement,
    private readonly lengthS: () => number | null,
    private readonly engine: () => Engine | null,
  ) {
    for (const event of ['timeupdate', 'seeking', 'play', 'ratechange']) video.addEventListener(event, () => this.look());
  }

  /** null: nothing is loaded. */
  get shown(): Shown | null {
    const { seekable } = this.video;
    const engine = this.engine();
    if (engine === null || seekable.length === 0) return null;
    const startS = seekable.start(0);
    const endS = engine.livePositionS() ?? seekable.end(seekable.length - 1);
    return engine.live ? { startS, endS } : (this.clip(endS) ?? { startS, endS });
  }

  /** null: there is no clip, or not yet. */
  private clip(endS = this.video.duration): Shown | null {
    const lengthS = this.lengthS();
    const startS = this.engine()?.beginsAtS?.() ?? null;
    return lengthS === null || startS === null || Number.isNaN(endS) ? null : { startS, endS: Math.min(endS, startS + lengthS) };
  }

  /** Places and lengths of the media as pages are told: a clip begins at 0. */
  get offsetS(): number {
    return this.clip()?.startS ?? 0;
  }

  get durationS(): number {
    const clip = this.clip();
    return clip === null ? this.video.duration : clip.endS - clip.startS;
  }

  within(positionS: number): number {
    const { startS, endS } = this.shown ?? { startS: positionS, endS: positionS };
    return Math.min(endS, Math.max(startS, positionS));
  }

  /** null: not worth one. `currentTime`: of what plays it. */
  bar({ currentTime } = this.video): (Shown & { positionS: number; live: boolean }) | null {
    const { shown } = this;
    const live = this.engine()?.live === true;
    if (shown === null || (live && shown.endS - shown.startS < SEEK_BAR_MIN_S)) return null;
    return { ...shown, positionS: Math.min(currentTime, shown.endS), live };
  }

  /** The browser's own end is that of the last segment. */
  private look(): void {
    window.clearTimeout(this.timer);
    const clip = this.clip();
    if (clip === null) return;
    const { video } = this;
    const leftS = clip.endS - video.currentTime;
    if (video.currentTime < clip.startS - NEAR_S && !video.seeking) video.currentTime = clip.startS;
    if (leftS > NEAR_S) {
      this.over = false;
      const inMs = (leftS / video.playbackRate) * 1000;
      if (!video.paused && leftS < TIMER_WITHIN_S) this.timer = window.setTimeout(() => this.look(), inMs);
      return;
    }
    if (this.over || video.ended) return;
    this.over = true;
    video.pause();
    video.dispatchEvent(new Event('ended'));
  }
}
