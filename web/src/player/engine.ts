import type { CatalogTrack } from '../moq/catalog';
import type { Address } from '../moq/session';
import type { PathLost } from './path';
import type { Failure } from './session';

export interface Level {
  width: number;
  height: number;
  bitrateBps: number;
  codecs: string;
}

/** One of several sounds of the same broadcast. */
export interface AudioTrack {
  name: string;
  /** BCP 47; empty where the playlist does not say. */
  language: string;
  chosen: boolean;
}

export interface EngineEvents {
  /** Live or ended; told again whenever it changes. */
  onLive(live: boolean): void;
  onFailure(failure: Failure): void;
  /** The way that the media came is gone, unless it says otherwise; another one may be open. `to`: the server says where it goes on. */
  onPathLost(why?: PathLost, to?: Address | null): void;
}

/** Over MoQ: parts through Media Source Extensions, or bare frames through WebCodecs. */
export type Mode = 'MoQ' | 'Real time' | 'Low latency' | 'HLS';

export function isMoq(mode: Mode | null | undefined): boolean {
  return mode === 'MoQ' || mode === 'Real time';
}

/** Where playback begins: at the live edge, so many seconds after it begins (`Engine.beginsAtS`), or standing at the end unless somebody has pressed play. */
export type From = 'live' | 'end' | { s: number };

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
  /** Where what is over begins, if its list says that this is behind its first frame. */
  beginsAtS?(): number;
  /** The number of the segment at a place of the media element's timeline; null: not known. */
  segmentAt(positionS: number): number | null;
  level(): Level | null;
  /** All levels in the order of the playlist; empty where the browser chooses by itself and tells nobody. */
  levels(): Level[];
  /** An index of `levels`; null: chosen by what the network carries. */
  chosenLevel(): number | null;
  chooseLevel(index: number | null): void;
  audioTracks(): AudioTrack[];
  chooseAudio(index: number): void;
  /** What the path carries, as far as what comes shows it. */
  carriesBps?(): number;
  /** There are captions inside the picture that this engine does not draw, and HLS would. */
  captionsElsewhere?(): boolean;
  /** Stop loading until `resume`: nobody is watching yet. */
  suspend(): void;
  resume(): void;
  retry(): void;
  destroy(): void;
}

/** What to play. */
export interface Wanted {
  url: string;
  from: From;
  /** BCP 47 tag of the captions to begin with. */
  captions: string | null;
  /** Where the same comes over MoQ; null: it does not, or shall not be tried now. */
  moq: MoqPlace | null;
  /** The level to play; null: by what the network carries. */
  level: Level | null;
}

export interface MoqPlace {
  address: Address;
  namespace: string[];
}

export async function startEngine(
  video: HTMLVideoElement,
  wanted: Wanted,
  events: EngineEvents,
): Promise<Engine | null> {
  if (prefersNative(video)) {
    const { NativeEngine } = await import('./native-engine');
    return new NativeEngine(video, wanted, events);
  }
  if (wanted.moq !== null) {
    const engine = await startMoq(video, wanted.moq, events, wanted);
    if (engine !== null) return engine;
  }
  const { HlsEngine } = await import('./hls-engine');
  if (HlsEngine.supported()) return new HlsEngine(video, wanted, events);
  if (video.canPlayType(HLS_TYPE) !== '') {
    const { NativeEngine } = await import('./native-engine');
    return new NativeEngine(video, wanted, events);
  }
  return null;
}

const moqEngines = () => Promise.all([import('./moq-engine'), import('./real-time-engine')]);

/** Loads the code beforehand: a click on play then costs no round trip for it. */
export function prepareMoq(): void {
  if (window.isSecureContext && 'WebTransport' in window) void moqEngines().catch(() => {});
}

async function startMoq(video: HTMLVideoElement, place: MoqPlace, events: EngineEvents, { level, url }: Wanted): Promise<Engine | null> {
  const [{ MoqEngine }, { NoWay, RealTimeEngine, realTimeSupported }] = await moqEngines();
  // Levels are parts: frame by frame there are the originals only.
  if (level === null && realTimeSupported(video)) {
    try {
      const engine = await RealTimeEngine.open(video, place, events);
      if (engine !== null) return engine;
    } catch (error) {
      // As closed for the other one.
      if (error instanceof NoWay) return null;
      throw error;
    }
  }
  return MoqEngine.open(video, place, events, level, url);
}

export const HLS_TYPE = 'application/vnd.apple.mpegurl';

/** Apple's phones and tablets play LL-HLS best by themselves, and keep it in the pocket and on AirPlay. */
export function prefersNative(
  video: Pick<HTMLVideoElement, 'canPlayType'>,
  browser: Pick<Navigator, 'userAgent' | 'platform' | 'maxTouchPoints'> = navigator,
  mediaSource = 'MediaSource' in window,
): boolean {
  if (video.canPlayType(HLS_TYPE) === '') return false;
  const appleTouch =
    /iP(hone|ad|od)/.test(browser.userAgent) ||
    (/Mac/.test(browser.platform) && browser.maxTouchPoints > 1);
  return appleTouch || !mediaSource;
}

/** Of all that an engine may play. */
export function bestBps(engine: Engine | null): number {
  return Math.max(0, ...(engine?.levels() ?? []).map(({ bitrateBps }) => bitrateBps));
}

export function isAudioOnly(level: Level | null): boolean {
  return level !== null && level.codecs !== '' && !/avc|hvc|hev|vp0|av01/.test(level.codecs);
}

export function levelOf({ width, height, bitrate, codec }: CatalogTrack): Level {
  return { width, height, bitrateBps: bitrate, codecs: codec };
}
