import type { RefObject } from 'react';
import type { Preload, StreamPlayerApi } from './api';

/** Of each prop, the event of the player that it listens to. */
export const EVENTS = {
  onAbort: 'abort',
  onCanPlay: 'canplay',
  onCanPlayThrough: 'canplaythrough',
  onDurationChange: 'durationchange',
  onEnded: 'ended',
  onError: 'error',
  onLoadedData: 'loadeddata',
  onLoadedMetaData: 'loadedmetadata',
  onLoadStart: 'loadstart',
  onPause: 'pause',
  onPlay: 'play',
  onPlaying: 'playing',
  onProgress: 'progress',
  onRateChange: 'ratechange',
  onResize: 'resize',
  onSeeked: 'seeked',
  onSeeking: 'seeking',
  onStalled: 'stalled',
  onSuspend: 'suspend',
  onTimeUpdate: 'timeupdate',
  onVolumeChange: 'volumechange',
  onWaiting: 'waiting',
  onStreamAdStart: 'stream-adstart',
  onStreamAdEnd: 'stream-adend',
  onStreamAdTimeout: 'stream-adtimeout',
} as const;

export type StreamEvents = Partial<Record<keyof typeof EVENTS, EventListener>>;

export interface StreamProps extends StreamEvents {
  /** The Airwave server, `https://live.example.org`; none: the server that the page itself came from. */
  host?: string;
  /** A live input, a video, or a signed token. */
  src: string;
  /** Accepted, without meaning: the vendor's name for a host. */
  customerCode?: string;

  adUrl?: string;
  autoplay?: boolean;
  controls?: boolean;
  defaultTextTrack?: string;
  letterboxColor?: string;
  loop?: boolean;
  muted?: boolean;
  poster?: string;
  preload?: Preload;
  primaryColor?: string;
  /** `123` or `1h12m27s`, of a recording. */
  startTime?: string | number;
  /** Everything since the start of the broadcast, not only its last seconds. */
  dvrEnabled?: boolean;
  /** Mbit/s that the viewer has: the picture that is nearest to it, and no other. */
  clientBandwidthHint?: string | number;

  currentTime?: number;
  playbackRate?: number;
  volume?: number;

  className?: string;
  height?: string;
  width?: string;
  id?: string;
  /** The box has the shape of the picture. Default: true; `false` leaves the shape to `height` and `width`. */
  responsive?: boolean;
  /** What the iframe is, for those who do not see it. */
  title?: string;
  streamRef?: RefObject<StreamPlayerApi | undefined>;
}

/** What can be changed while the player runs. */
export const LIVE_PROPS = [
  'adUrl',
  'autoplay',
  'controls',
  'currentTime',
  'defaultTextTrack',
  'letterboxColor',
  'loop',
  'muted',
  'playbackRate',
  'poster',
  'preload',
  'primaryColor',
  'volume',
] as const satisfies (keyof StreamProps & keyof StreamPlayerApi)[];
