/**
 * Sending the picture to another screen: AirPlay in Safari, Remote Playback (Cast) where a browser has it. Both devices load
 * the playlist by its address; what plays over MoQ or through Media Source Extensions has none.
 */
import { HLS_TYPE } from './engine';

interface AirPlayVideo extends HTMLVideoElement {
  webkitShowPlaybackTargetPicker?(): void;
  webkitCurrentPlaybackTargetIsWireless?: boolean;
}

export type RemoteKind = 'airplay' | 'cast';

export interface RemoteEvents {
  /** A device appeared or vanished, or playback moved. */
  changed(): void;
  /** Another screen shows it now: this one pauses. */
  left(): void;
  /** And no more. `playing`: as it did before, or there. */
  back(playing: boolean): void;
}

export class Remote {
  available = false;
  readonly kind: RemoteKind | null;
  /** Of Cast: never on the page. Its source is the playlist, of which nothing is loaded here before a device is chosen. */
  private cast: HTMLVideoElement | null = null;
  /** Another screen has it. */
  private away = false;
  private wasPlaying = false;

  constructor(
    private readonly video: HTMLVideoElement,
    private readonly events: RemoteEvents,
  ) {
    this.kind = kindOf(video);
    if (this.kind === 'airplay') this.watchAirPlay();
    if (this.kind === 'cast') this.watchCast();
  }

  get connected(): boolean {
    if (this.kind === 'airplay') return (this.video as AirPlayVideo).webkitCurrentPlaybackTargetIsWireless === true;
    return this.cast !== null && this.cast.remote.state !== 'disconnected';
  }

  /** Address of the list of what is loaded here. For AirPlay the engine has it. */
  offer(url: string): void {
    if (this.cast === null || this.cast.getAttribute('src') === url) return;
    this.cast.src = url;
    if (this.away) this.playThere();
  }

  /** Opens the browser's own list of devices. */
  prompt(): void {
    if (this.kind === 'airplay') (this.video as AirPlayVideo).webkitShowPlaybackTargetPicker?.();
    // Closing the list without a choice is a refusal, too.
    else this.cast?.remote.prompt().catch(() => {});
  }

  private watchAirPlay(): void {
    this.video.addEventListener('webkitplaybacktargetavailabilitychanged', (event) => {
      this.tell((event as Event & { availability?: string }).availability === 'available');
    });
    this.video.addEventListener('webkitcurrentplaybacktargetiswirelesschanged', () => {
      // The Media Source is closed by then.
      if (this.away && !this.connected) this.events.back(!this.video.paused);
      this.away = this.connected;
      this.events.changed();
    });
  }

  private watchCast(): void {
    this.cast = document.createElement('video');
    this.cast.preload = 'none';
    const { remote } = this.cast;
    remote.addEventListener('connecting', () => this.events.changed());
    remote.addEventListener('connect', () => this.leave());
    remote.addEventListener('disconnect', () => this.comeBack());
    // Refused where the browser cannot look for devices: then it has none to offer.
    remote.watchAvailability((available) => this.tell(available)).catch(() => {});
  }

  private leave(): void {
    this.away = true;
    this.wasPlaying = !this.video.paused;
    this.events.left();
    this.playThere();
    this.events.changed();
  }

  /** A recording from where it is, what is live where it is by then. */
  private playThere(): void {
    if (this.cast === null) return;
    if (Number.isFinite(this.video.duration)) this.cast.currentTime = this.video.currentTime;
    this.cast.play().catch(() => {});
  }

  private comeBack(): void {
    const { away, cast } = this;
    this.away = false;
    if (away && cast !== null) {
      cast.pause();
      if (Number.isFinite(this.video.duration) && cast.currentTime > 0) this.video.currentTime = cast.currentTime;
      // Nothing more of it is loaded here.
      cast.load();
      this.events.back(this.wasPlaying);
    }
    this.events.changed();
  }

  private tell(available: boolean): void {
    if (this.available === available) return;
    this.available = available;
    this.events.changed();
  }
}

function kindOf(video: HTMLVideoElement): RemoteKind | null {
  if (typeof (video as AirPlayVideo).webkitShowPlaybackTargetPicker === 'function') return 'airplay';
  return 'remote' in video ? 'cast' : null;
}

function hasAirPlay(): boolean {
  return 'WebKitPlaybackTargetAvailabilityEvent' in window;
}

/**
 * Safari takes the second source of two when its viewer picks a device. `video`: a Media Source is attached as `<source>`, as hls.js
 * does it where there is a managed one. https://webkit.org/blog/15036/how-to-use-media-source-extensions-with-airplay/
 */
export function offerAirPlay(video: HTMLVideoElement, list: string): void {
  if (!hasAirPlay() || !('ManagedMediaSource' in window)) return;
  video.append(sourceOf(list, HLS_TYPE));
  video.disableRemotePlayback = false;
}

/** Plays a Media Source by its address, beside which `list` has the same for AirPlay. Answers what ends that. */
export function attach(video: HTMLVideoElement, url: string, list: string): () => void {
  if (!hasAirPlay()) {
    video.src = url;
    return () => {
      // Not of another engine, which began meanwhile.
      if (video.src !== url) return;
      video.removeAttribute('src');
      video.load();
    };
  }
  const sources = [sourceOf(url, 'video/mp4'), sourceOf(list, HLS_TYPE)];
  // An address of its own goes before those of sources.
  video.removeAttribute('src');
  video.append(...sources);
  video.disableRemotePlayback = false;
  video.load();
  return () => {
    if (sources.every((source) => source.parentNode !== video)) return;
    for (const source of sources) source.remove();
    if (!video.hasAttribute('src')) video.load();
  };
}

function sourceOf(url: string, type: string): HTMLSourceElement {
  const source = document.createElement('source');
  source.type = type;
  source.src = url;
  return source;
}
