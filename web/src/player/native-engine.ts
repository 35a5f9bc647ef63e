import type { AudioTrack, Engine, EngineEvents, From, Level, Mode, Wanted } from './engine';
import type { Failure } from './session';

/** `<video src=…m3u8>`: iOS, and browsers without Media Source Extensions. */
export class NativeEngine implements Engine {
  readonly mode: Mode = 'HLS';
  live = true;
  private readonly url: string;
  /** Where a list says that it begins (EXT-X-START), as the browser went there. */
  private beginS = 0;
  private readonly abort = new AbortController();

  constructor(
    private readonly video: HTMLVideoElement,
    { url, from }: Wanted,
    private readonly events: EngineEvents,
  ) {
    this.url = url;
    const options = { signal: this.abort.signal };
    video.addEventListener('loadedmetadata', () => this.onMetadata(from), options);
    video.addEventListener('durationchange', () => this.onDuration(), options);
    video.addEventListener('error', () => this.onError(), options);
    video.src = url;
  }

  edgeLatencyS(): number | null {
    const edge = this.edgeS();
    return this.live && edge !== null ? Math.max(0, edge - this.video.currentTime) : null;
  }

  targetLatencyS(): number | null {
    return null;
  }

  playingAtMs(): number | null {
    // Safari only: the PROGRAM-DATE-TIME of the start of the timeline.
    const withStartDate = this.video as HTMLVideoElement & { getStartDate?(): Date };
    const start = withStartDate.getStartDate?.().getTime() ?? Number.NaN;
    return Number.isNaN(start) ? null : start + this.video.currentTime * 1000;
  }

  livePositionS(): number | null {
    return this.live ? this.edgeS() : null;
  }

  beginsAtS(): number {
    return this.live ? 0 : this.beginS;
  }

  segmentAt(): null {
    return null;
  }

  level(): Level | null {
    const { videoWidth: width, videoHeight: height } = this.video;
    return width > 0 ? { width, height, bitrateBps: 0, codecs: '' } : null;
  }

  levels(): Level[] {
    return [];
  }

  chosenLevel(): null {
    return null;
  }

  chooseLevel(): void {}

  audioTracks(): AudioTrack[] {
    return [...this.tracks()].map(({ label, language, enabled }) => ({ name: label, language, chosen: enabled }));
  }

  chooseAudio(index: number): void {
    [...this.tracks()].forEach((track, at) => {
      track.enabled = at === index;
    });
  }

  /** The browser loads what it thinks right. */
  suspend(): void {}

  resume(): void {}

  retry(): void {
    this.video.src = this.url;
    this.video.load();
  }

  destroy(): void {
    this.abort.abort();
    this.video.removeAttribute('src');
    this.video.load();
  }

  private edgeS(): number | null {
    const { seekable } = this.video;
    return seekable.length > 0 ? seekable.end(seekable.length - 1) : null;
  }

  /** Safari only. */
  private tracks(): Iterable<NativeAudioTrack> {
    return (this.video as HTMLVideoElement & { audioTracks?: Iterable<NativeAudioTrack> }).audioTracks ?? [];
  }

  private onMetadata(from: From): void {
    const { duration, currentTime } = this.video;
    this.beginS = currentTime;
    if (from === 'live' || !Number.isFinite(duration)) return;
    if (from === 'end' && !this.video.paused) return;
    const startS = from === 'end' ? duration : Math.min(this.beginS + from.s, duration);
    if (startS > currentTime) this.video.currentTime = startS;
  }

  private onDuration(): void {
    const live = !Number.isFinite(this.video.duration);
    if (live === this.live) return;
    this.live = live;
    this.events.onLive(live);
  }

  private onError(): void {
    const error = this.video.error;
    if (error === null) return;
    this.events.onFailure(failureOf(error));
  }
}

interface NativeAudioTrack {
  label: string;
  language: string;
  enabled: boolean;
}

function failureOf(error: MediaError): Failure {
  switch (error.code) {
    case MediaError.MEDIA_ERR_NETWORK:
      return { kind: 'network' };
    case MediaError.MEDIA_ERR_SRC_NOT_SUPPORTED:
      // Also what a browser says about a 204 or a 404.
      return { kind: 'not-live' };
    default:
      return { kind: 'media', detail: error.message || `error ${error.code}` };
  }
}
