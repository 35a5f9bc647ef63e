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
  /** An event of a media element, there. */
  happened(name: string): void;
  /** It plays there, as it was asked to. */
  playing(): void;
  /** Another screen shows it now: this one pauses. */
  left(): void;
  /** And no more. `playing`: as it did before, or as it was wanted there. */
  back(playing: boolean): void;
}

const TOLD = ['play', 'pause', 'playing', 'seeking', 'seeked', 'timeupdate', 'ended'];

export class Remote {
  available = false;
  /** The device has not played what it was asked to. */
  refused = false;
  readonly kind: RemoteKind | null;
  /** Of Cast: never on the page. Its source is the playlist, of which nothing is loaded here before a device is chosen. */
  private cast: HTMLVideoElement | null = null;
  /** Another screen has it. */
  private away = false;
  private wasPlaying = false;
  /** The viewer has paused it there. */
  private paused = false;
  /** Address of what it has not been given yet. */
  private next: string | null = null;
  private listening = new AbortController();

  constructor(
    private readonly video: HTMLVideoElement,
    private readonly events: RemoteEvents,
  ) {
    this.kind = kindOf(video);
  }

  get connected(): boolean {
    if (this.kind === 'airplay') return (this.video as AirPlayVideo).webkitCurrentPlaybackTargetIsWireless === true;
    return this.cast !== null && this.cast.remote.state !== 'disconnected';
  }

  /** What plays: the element here, or that whose picture another screen shows. */
  get screen(): HTMLVideoElement {
    return this.away ? (this.cast ?? this.video) : this.video;
  }

  get elsewhere(): boolean {
    return this.screen !== this.video;
  }

  /** The player is on a page. */
  watch(): void {
    this.listening = new AbortController();
    if (this.kind === 'airplay') this.watchAirPlay(this.listening);
    if (this.kind === 'cast') this.watchCast(this.listening);
  }

  /** And no more: nothing of it is left on a device. */
  close(): void {
    this.listening.abort();
    const { cast, away } = this;
    this.cast = this.next = null;
    this.available = this.refused = this.away = false;
    if (cast === null) return;
    void unwatch(cast);
    if (away) cast.pause();
    cast.removeAttribute('src');
    cast.load();
  }

  /** Address of the list of what is loaded here. For AirPlay the engine has it. `again`: of what plays already, another way. */
  offer(url: string, again = false): void {
    const { cast, away } = this;
    const known = cast?.getAttribute('src') === url;
    if (cast === null || (known && again)) return;
    this.refused = false;
    // The next broadcast has the address of the one before. What is not there yet, a device would refuse.
    this.next = away ? url : null;
    if (!away && !known) cast.src = url;
  }

  /** There is a picture of what was offered: another screen has it as well, where one has been playing. */
  pictured(): void {
    if (!this.away || this.next === null) return;
    this.take();
    if (!this.paused) this.playThere();
  }

  /** What another screen has. */
  play(): void {
    this.wasPlaying = true;
    this.paused = false;
    this.ask();
  }

  /** What plays, here or there. */
  pause(): void {
    if (this.elsewhere) [this.wasPlaying, this.paused] = [false, true];
    this.screen.pause();
  }

  /** Where its list is by now; what is live begins there. */
  goLive(): void {
    this.cast?.load();
    this.play();
  }

  /** Opens the browser's own list of devices. */
  prompt(): void {
    this.refused = false;
    if (this.kind === 'airplay') (this.video as AirPlayVideo).webkitShowPlaybackTargetPicker?.();
    // Closing the list without a choice is a refusal, too.
    else this.cast?.remote.prompt().catch(() => {});
  }

  private watchAirPlay(options: AddEventListenerOptions): void {
    const listen = (name: string, on: (event: Event) => void) => this.video.addEventListener(name, on, options);
    listen('webkitplaybacktargetavailabilitychanged', (event) => {
      this.tell((event as Event & { availability?: string }).availability === 'available');
    });
    listen('webkitcurrentplaybacktargetiswirelesschanged', () => {
      // The Media Source is closed by then.
      if (this.away && !this.connected) this.events.back(!this.video.paused);
      this.away = this.connected;
      this.events.changed();
    });
  }

  private watchCast(options: AddEventListenerOptions): void {
    const cast = document.createElement('video');
    this.cast = cast;
    cast.preload = 'none';
    for (const name of TOLD) cast.addEventListener(name, () => this.away && this.events.happened(name), options);
    const { remote } = cast;
    remote.addEventListener('connecting', () => this.events.changed(), options);
    remote.addEventListener('connect', () => this.leave(), options);
    remote.addEventListener('disconnect', () => this.comeBack(), options);
    // Refused where the browser cannot look for devices: then it has none to offer.
    remote.watchAvailability((available) => cast === this.cast && this.tell(available)).catch(() => {});
  }

  private leave(): void {
    // Who had paused it here finds it paused.
    const wasPlaying = !this.video.paused;
    this.events.left();
    this.wasPlaying = wasPlaying;
    this.away = true;
    this.refused = this.paused = false;
    this.playThere();
    this.events.changed();
  }

  /** A recording from where it is, what is live where it is by then. */
  private playThere(): void {
    if (this.cast !== null && Number.isFinite(this.video.duration)) this.cast.currentTime = this.video.currentTime;
    this.ask();
  }

  private ask(): void {
    const { cast } = this;
    cast?.play().then(
      () => this.events.playing(),
      (error: unknown) => {
        // Another list, or a pause, is no refusal.
        if (cast === this.cast && !(error instanceof DOMException && error.name === 'AbortError')) this.refuse();
      },
    );
  }

  /** Nothing of it is loaded before it is played. */
  private take(): void {
    const { cast, next } = this;
    this.next = null;
    if (next !== null && cast?.getAttribute('src') !== next) cast?.setAttribute('src', next);
    else cast?.load();
  }

  /** The picture here goes on. */
  private refuse(): void {
    if (!this.away) return;
    this.away = false;
    this.refused = true;
    this.take();
    this.events.back(this.wasPlaying);
    this.events.changed();
  }

  private comeBack(): void {
    const { away, cast } = this;
    this.away = this.refused = false;
    if (away && cast !== null) {
      cast.pause();
      if (Number.isFinite(this.video.duration) && cast.currentTime > 0) this.video.currentTime = cast.currentTime;
      this.take();
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

async function unwatch({ remote }: HTMLVideoElement): Promise<void> {
  // Refused where the browser cannot look for devices.
  await Promise.allSettled([remote.cancelWatchAvailability()]);
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
