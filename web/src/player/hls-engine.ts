/** LL-HLS by hls.js. This module and hls.js are loaded only when a picture is wanted. */
import Hls, {
  type ErrorData,
  ErrorDetails,
  ErrorTypes,
  Events,
  type FragLoadingData,
  type Level as HlsLevel,
  type LevelDetails,
  type LoaderResponse,
  type RetryConfig,
} from 'hls.js';
import {
  type AudioTrack,
  type Engine,
  type EngineEvents,
  type From,
  type Level,
  type Mode,
  type Wanted,
} from './engine';
import { partByPart } from './hls-captions';
import { placeOf } from './ladder';
import { offerAirPlay } from './remote';
import { wordsOf } from './server';
import type { Failure } from './session';

/** A second fatal media error within this time is not repaired in place again. */
const MEDIA_REPAIR_INTERVAL_MS = 5_000;
/** So much is replaced from a segment on that does not play yet: hls.js takes a second or two for it. */
const REPLACEABLE_S = 4;
/** A seek to the very last frame never finishes in Chromium: it wants some media ahead of it. */
const END_RESERVE_S = 0.3;
/** Nor does one that has not finished by then: one of the tracks ends before that. So much earlier there may be both. */
const END_PATIENCE_MS = 5_000;
const END_STEP_S = 1;
/** So far into the oldest segment goes who sought to what is before it. */
const OLDEST_MARGIN_S = 0.1;
const LEVEL_AGAIN_MS = 30_000;
/** What the server encodes when somebody asks lies so (`video.360p.cmaf`), the original in `video.cmaf`. */
const LEVEL = /\/video\d*\.[^/]+\.cmaf/;

export class HlsEngine implements Engine {
  private readonly hls: Hls;
  private readonly url: string;
  private liveNow: boolean | null = null;
  private endTimer = 0;
  private repairedAtMs = Number.NEGATIVE_INFINITY;
  /** A level that was chosen (-1: by itself), from the next segment on. */
  private awaited: number | null = null;

  static supported(): boolean {
    return Hls.isSupported();
  }

  constructor(
    private readonly video: HTMLVideoElement,
    { url, from, captions, level }: Wanted,
    private readonly events: EngineEvents,
  ) {
    this.url = url;
    this.hls = new Hls({
      lowLatencyMode: true,
      // A worker would need `worker-src blob:`; remuxing fMP4 is little work.
      enableWorker: false,
      // The distance to the edge is the server's PART-HOLD-BACK; each stall adds a little.
      liveSyncOnStallIncrease: 0.5,
      // Our own controller (catch-up.ts) paces the playback.
      maxLiveSyncPlaybackRate: 1,
      liveDurationInfinity: true,
      backBufferLength: 60,
      // Of captions inside the picture nobody says the language; hls.js would say English and Spanish.
      captionsTextTrack1LanguageCode: 'und',
      captionsTextTrack2LanguageCode: 'und',
      timelineController: partByPart(),
      ...(captions === null ? {} : { subtitlePreference: { lang: captions } }),
      // Broadcasts come over the network that just carried the page: begin with a good picture.
      abrEwmaDefaultEstimate: 3_000_000,
      // A level that could not be encoded may be to be had again by then.
      errorPenaltyExpireMs: LEVEL_AGAIN_MS,
      // Long outages are counted and explained by the session, not hidden in retries.
      fragLoadPolicy: { default: loadPolicy(10_000, 20_000, 3, (response, retry) => retry && !this.isRefusedLevel(response)) },
      playlistLoadPolicy: { default: loadPolicy(15_000, 20_000, 2) },
      manifestLoadPolicy: { default: loadPolicy(8_000, 10_000, 0) },
    });
    this.hls.on(Events.ERROR, (_event, data) => this.onError(data));
    this.hls.on(Events.FRAG_LOADING, (_event, data) => this.onLoading(data));
    this.hls.on(Events.LEVEL_UPDATED, (_event, { details }) => this.onDetails(details, from));
    this.hls.on(Events.AUDIO_TRACK_UPDATED, () => this.stayInList());
    this.hls.on(Events.MANIFEST_PARSED, () => {
      const at = level === null ? null : placeOf(level, this.levels());
      if (at !== null) this.hls.loadLevel = this.placeIn(at);
    });
    video.addEventListener('seeking', this.stayInList);
    this.hls.attachMedia(video);
    offerAirPlay(video, url);
    this.hls.loadSource(url);
  }

  get mode(): Mode | null {
    const details = this.hls.latestLevelDetails;
    if (details === null) return null;
    return details.live && details.partTarget > 0 ? 'Low latency' : 'HLS';
  }

  get live(): boolean {
    return this.liveNow === true;
  }

  edgeLatencyS(): number | null {
    return this.live && this.hls.latency > 0 ? this.hls.latency : null;
  }

  targetLatencyS(): number | null {
    return this.live ? this.hls.targetLatency : null;
  }

  playingAtMs(): number | null {
    return this.hls.playingDate?.getTime() ?? null;
  }

  livePositionS(): number | null {
    return this.live ? this.hls.liveSyncPosition : null;
  }

  beginsAtS(): number {
    return this.live ? 0 : Math.max(0, this.hls.latestLevelDetails?.startTimeOffset ?? 0);
  }

  segmentAt(positionS: number): number | null {
    const fragments = this.hls.latestLevelDetails?.fragments ?? [];
    const at = fragments.filter(({ start }) => start <= positionS).at(-1) ?? fragments[0];
    return typeof at?.sn === 'number' ? at.sn : null;
  }

  carriesBps(): number {
    return this.hls.bandwidthEstimate;
  }

  level(): Level | null {
    const level = this.hls.levels[this.hls.currentLevel];
    return level === undefined ? null : levelOf(level);
  }

  levels(): Level[] {
    return this.offered().map(levelOf);
  }

  chosenLevel(): number | null {
    const chosen = this.hls.levels[this.awaited ?? this.hls.manualLevel];
    const at = chosen === undefined ? -1 : this.offered().indexOf(chosen);
    return at < 0 ? null : at;
  }

  /**
   * hls.js begins another level with the newest key frame that it has loaded already, and so replaces pictures. A decoder
   * that is among them goes on with the old ones to their end and then waits for the next key frame: those between are
   * never shown. So near the edge it changes while a segment begins, which is a second before it is decoded. Not with a key
   * frame within one: hls.js (1.7.4) then waits for the parts before it, which it never loads of this level, until they are in
   * the list no more: the player stands still for some seconds, and jumps.
   */
  chooseLevel(index: number | null): void {
    this.awaited = index === null ? -1 : this.placeIn(index);
    if (this.mode !== 'Low latency' || this.aheadS() > REPLACEABLE_S) {
      this.hls.nextLevel = this.awaited;
      this.awaited = null;
    }
  }

  /** Each picture with the best sound that the browser plays; with the others it is the same picture. */
  private offered(): HlsLevel[] {
    const { levels } = this.hls;
    const best = levels.reduce<HlsLevel | null>((best, level) => (best === null || level.score > best.score ? level : best), null);
    return levels.filter(({ audioCodec }) => audioCodec === best?.audioCodec);
  }

  /** Where hls.js has what is offered at `index`; -1: nowhere, which leaves the choice to it. */
  private placeIn(index: number): number {
    const chosen = this.offered()[index];
    return chosen === undefined ? -1 : this.hls.levels.indexOf(chosen);
  }

  private onLoading({ frag, part }: FragLoadingData): void {
    const type: string = frag.type;
    if (this.awaited === null || type !== 'main') return;
    if (part !== undefined && part.index > 0) return;
    this.hls.loadLevel = this.awaited;
    this.awaited = null;
  }

  private aheadS(): number {
    const { buffered, currentTime } = this.video;
    return buffered.length === 0 ? 0 : buffered.end(buffered.length - 1) - currentTime;
  }

  audioTracks(): AudioTrack[] {
    const chosen = this.hls.audioTrack;
    return this.hls.audioTracks.map(({ name, lang }, at) => ({ name, language: lang ?? '', chosen: at === chosen }));
  }

  chooseAudio(index: number): void {
    this.hls.audioTrack = index;
  }

  suspend(): void {
    this.hls.stopLoad();
  }

  resume(): void {
    this.hls.startLoad(this.live ? -1 : this.video.currentTime);
  }

  retry(): void {
    if (this.hls.levels.length === 0) this.hls.loadSource(this.url);
    else this.hls.startLoad(this.live ? -1 : this.video.currentTime);
  }

  destroy(): void {
    window.clearTimeout(this.endTimer);
    this.video.removeEventListener('seeking', this.stayInList);
    this.hls.destroy();
  }

  /**
   * hls.js (1.7.4) loads what is live for who has sought to a place before its list, and leaves him standing there. The
   * list may begin later than `seekable` says: it moves while it slides, and by some frames once the first times are known.
   */
  private readonly stayInList = (): void => {
    if (!this.live || !this.video.seeking) return;
    const { latestLevelDetails, audioTracks, audioTrack } = this.hls;
    const oldestS = Math.max(latestLevelDetails?.fragmentStart ?? 0, audioTracks[audioTrack]?.details?.fragmentStart ?? 0);
    if (this.video.currentTime < oldestS) this.video.currentTime = oldestS + OLDEST_MARGIN_S;
  };

  private onDetails(details: LevelDetails, from: From): void {
    this.stayInList();
    if (this.liveNow === details.live) return;
    const first = this.liveNow === null;
    this.liveNow = details.live;
    if (first && !details.live && from !== 'live') {
      const endS = Math.max(0, details.edge - END_RESERVE_S);
      // hls.js goes to where the list begins by itself.
      if (from !== 'end') this.startAt(from.s > 0 ? Math.min(this.beginsAtS() + from.s, endS) : 0);
      else if (this.video.paused) this.seekToEnd(endS);
    }
    this.events.onLive(details.live);
  }

  private startAt(atS: number): void {
    if (atS > 0) this.video.currentTime = atS;
  }

  private seekToEnd(atS: number): void {
    if (atS <= 0) return;
    this.video.currentTime = atS;
    this.endTimer = window.setTimeout(() => {
      const { seeking, currentTime } = this.video;
      if (seeking && Math.abs(currentTime - atS) < 0.01) this.seekToEnd(atS - END_STEP_S);
    }, END_PATIENCE_MS);
  }

  /** Nobody can encode it now, which the server may say after seconds, each time: whoever asks again stands still, and the original is there. */
  private isRefusedLevel(response: { code?: number; url: string } | undefined): boolean {
    return response?.code === 503 && LEVEL.test(response.url) && this.original() >= 0;
  }

  /** -1: it is not among what this browser plays. */
  private original(): number {
    const { levels, loadLevel } = this.hls;
    const originals = levels.filter(({ uri }) => !LEVEL.test(uri));
    const sound = levels[loadLevel]?.audioCodec;
    const same = originals.find(({ audioCodec }) => audioCodec === sound) ?? originals[0];
    return same === undefined ? -1 : levels.indexOf(same);
  }

  private onError(data: ErrorData): void {
    if (data.details === ErrorDetails.FRAG_LOAD_ERROR && !data.fatal && this.isRefusedLevel(data.response)) {
      // hls.js (1.7.4) would try the next lower level, which waits for the same encoders.
      const original = this.original();
      this.hls.nextAutoLevel = original;
      this.hls.nextLoadLevel = original;
      return;
    }
    if (data.details === ErrorDetails.BUFFER_ADD_CODEC_ERROR) {
      this.events.onFailure({ kind: 'codec', codec: data.mimeType?.match(/codecs="?([^"]+)/)?.[1] ?? '' });
      return;
    }
    if (!data.fatal) return;
    const now = performance.now();
    if (
      data.type === ErrorTypes.MEDIA_ERROR &&
      repairable(data) &&
      now - this.repairedAtMs > MEDIA_REPAIR_INTERVAL_MS
    ) {
      this.repairedAtMs = now;
      this.hls.recoverMediaError();
      return;
    }
    this.events.onFailure(failureOf(data, this.hls));
  }
}

function levelOf(level: HlsLevel): Level {
  const codecs = [level.videoCodec, level.audioCodec].filter((codec) => codec !== undefined).join(',');
  return { width: level.width, height: level.height, bitrateBps: level.bitrate, codecs };
}

type MayRetry = (response: LoaderResponse | undefined, retry: boolean) => boolean;

function loadPolicy(maxTimeToFirstByteMs: number, maxLoadTimeMs: number, retries: number, mayRetry: MayRetry = (_, retry) => retry) {
  const retry = { maxNumRetry: retries, retryDelayMs: 300, maxRetryDelayMs: 1_500 };
  const shouldRetry: RetryConfig['shouldRetry'] = (_config, _count, _timeout, response, may) => mayRetry(response, may);
  return { maxTimeToFirstByteMs, maxLoadTimeMs, timeoutRetry: retry, errorRetry: { ...retry, shouldRetry } };
}

function repairable(data: ErrorData): boolean {
  return (
    data.details !== ErrorDetails.MANIFEST_INCOMPATIBLE_CODECS_ERROR &&
    data.details !== ErrorDetails.BUFFER_INCOMPATIBLE_CODECS_ERROR
  );
}

function failureOf(data: ErrorData, hls: Hls): Failure {
  switch (data.details) {
    case ErrorDetails.MANIFEST_INCOMPATIBLE_CODECS_ERROR:
    case ErrorDetails.BUFFER_INCOMPATIBLE_CODECS_ERROR: {
      const declared = hls.levels.map((level) => level.attrs.CODECS).find((codecs) => codecs !== undefined);
      return { kind: 'codec', codec: declared ?? codecsIn(data.error.message) };
    }
    case ErrorDetails.MANIFEST_PARSING_ERROR:
    case ErrorDetails.LEVEL_PARSING_ERROR:
    case ErrorDetails.LEVEL_EMPTY_ERROR:
      // 204 arrives as an empty text.
      return { kind: 'not-live' };
    default:
  }
  const status = data.response?.code ?? 0;
  if (data.type === ErrorTypes.NETWORK_ERROR) {
    if (status === 204) return { kind: 'not-live' };
    return status >= 400 ? { kind: 'http', status, words: wordsIn(data.networkDetails) } : { kind: 'network' };
  }
  return { kind: 'media', detail: data.details };
}

/** Why the server refuses a list; nothing of what is no text. */
function wordsIn(details: unknown): string {
  if (!(details instanceof XMLHttpRequest) || !['', 'text'].includes(details.responseType)) return '';
  return wordsOf(details.getResponseHeader('content-type'), details.responseText);
}

function codecsIn(text: string): string {
  return text.match(/\b(hvc1|hev1|av01|vp09|ac-3|ec-3|avc1)[\w.]*/g)?.join(',') ?? '';
}
