/** What `window.Stream(iframe)` answers: the API of `/embed/sdk.latest.js`. */
export type Preload = 'auto' | 'metadata' | 'none' | boolean;

export interface StreamPlayerApi {
  /** Starts playing. Rejected where the browser allows no sound without a click. */
  play(): Promise<void>;
  pause(): void;
  /** Every event of a media element, by its name there. */
  addEventListener(event: string, listener: EventListener, options?: AddEventListenerOptions | boolean): void;
  removeEventListener(event: string, listener: EventListener, options?: EventListenerOptions | boolean): void;

  /** Kept for the vendor's clients; Airwave shows no advertisements. */
  adUrl?: string | undefined;
  autoplay: boolean;
  readonly buffered: TimeRanges;
  controls: boolean;
  /** Seconds on the timeline of the media; setting it seeks. */
  currentTime: number;
  /** BCP 47; works until captions were chosen once. */
  defaultTextTrack?: string | undefined;
  /** Seconds; infinite while live. */
  readonly duration: number;
  readonly ended: boolean;
  /** Any CSS colour. */
  letterboxColor?: string | undefined;
  loop: boolean;
  muted: boolean;
  readonly paused: boolean;
  /** Of recordings; a live picture keeps its own pace. */
  playbackRate: number;
  readonly played: TimeRanges;
  poster?: string | undefined;
  preload: Preload;
  /** Any CSS colour. */
  primaryColor?: string | undefined;
  /** A live input, a video, or a signed token. */
  src: string;
  readonly videoHeight: number;
  readonly videoWidth: number;
  /** 0 to 1. */
  volume: number;
}

declare global {
  interface Window {
    Stream?: (iframe: HTMLIFrameElement) => StreamPlayerApi;
  }
}
