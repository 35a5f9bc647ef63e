import type { Failure } from './session';

export interface Level {
  width: number;
  height: number;
  bitrateBps: number;
  codecs: string;
}

export interface EngineEvents {
  /** Live or ended; told again whenever it changes. */
  onLive(live: boolean): void;
  onFailure(failure: Failure): void;
}

export type Mode = 'Low latency' | 'HLS';
export type From = 'live' | 'start' | 'end';

/** What turns a manifest into a moving picture: hls.js, or the browser itself. */
export interface Engine {
  readonly mode: Mode | null;
  readonly live: boolean;
  /** Distance to the newest media that the server has announced. */
  edgeLatencyS(): number | null;
  targetLatencyS(): number | null;
  /** Wall clock at which the frame on the screen was taken, in ms since 1970. */
  playingAtMs(): number | null;
  /** Where "live" is on the media element's timeline. */
  livePositionS(): number | null;
  level(): Level | null;
  retry(): void;
  destroy(): void;
}

export async function startEngine(
  video: HTMLVideoElement,
  url: string,
  from: From,
  events: EngineEvents,
): Promise<Engine | null> {
  if (prefersNative(video)) {
    const { NativeEngine } = await import('./native-engine');
    return new NativeEngine(video, url, from, events);
  }
  const { HlsEngine } = await import('./hls-engine');
  if (HlsEngine.supported()) return new HlsEngine(video, url, from, events);
  if (video.canPlayType(HLS_TYPE) !== '') {
    const { NativeEngine } = await import('./native-engine');
    return new NativeEngine(video, url, from, events);
  }
  return null;
}

const HLS_TYPE = 'application/vnd.apple.mpegurl';

/** Apple's phones and tablets play LL-HLS best by themselves, and keep it in the pocket and on AirPlay. */
function prefersNative(video: HTMLVideoElement): boolean {
  if (video.canPlayType(HLS_TYPE) === '') return false;
  const appleTouch =
    /iP(hone|ad|od)/.test(navigator.userAgent) ||
    (/Mac/.test(navigator.platform) && navigator.maxTouchPoints > 1);
  return appleTouch || !('MediaSource' in window);
}
