/** A picture that was announced and does not come: the decoder ignores the codec (HEVC in Chromium). */
import { type Engine, isAudioOnly } from './engine';

/** Played this long without it. */
const NO_PICTURE_AFTER_S = 1.5;

export class Missing {
  private playedS = 0;
  private lastTimeS = 0;

  /** Another source. */
  forget(): void {
    this.playedS = 0;
  }

  /** Asked several times a second: whether it is missing. */
  look({ currentTime, videoWidth }: HTMLVideoElement, engine: Engine | null): boolean {
    const elapsed = currentTime - this.lastTimeS;
    this.lastTimeS = currentTime;
    if (videoWidth > 0 || engine === null || isAudioOnly(engine.level())) this.playedS = 0;
    else if (elapsed > 0 && elapsed < 1) this.playedS += elapsed;
    return this.playedS >= NO_PICTURE_AFTER_S;
  }
}
