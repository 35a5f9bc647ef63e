/**
 * What a page and the player in its iframe say to each other, by `postMessage`. Both ends come from one server, so
 * there is one version. Nothing here is secret; the checks are about who may steer:
 *
 * - the player obeys the window that holds it, and answers the origin that said `hello`;
 * - the page believes the window of its iframe, at the origin in the iframe's `src`.
 */
export interface Properties {
  adUrl: string | null;
  autoplay: boolean;
  buffered: Range[];
  controls: boolean;
  currentTime: number;
  defaultTextTrack: string | null;
  duration: number;
  ended: boolean;
  letterboxColor: string | null;
  loop: boolean;
  muted: boolean;
  paused: boolean;
  playbackRate: number;
  played: Range[];
  poster: string | null;
  preload: 'none' | 'metadata' | 'auto';
  primaryColor: string | null;
  src: string;
  videoHeight: number;
  videoWidth: number;
  volume: number;
}

export type Range = [startS: number, endS: number];

export const unknown: Properties = {
  adUrl: null,
  autoplay: false,
  buffered: [],
  controls: true,
  currentTime: 0,
  defaultTextTrack: null,
  duration: Number.NaN,
  ended: false,
  letterboxColor: null,
  loop: false,
  muted: false,
  paused: true,
  playbackRate: 1,
  played: [],
  poster: null,
  preload: 'metadata',
  primaryColor: null,
  src: '',
  videoHeight: 0,
  videoWidth: 0,
  volume: 1,
};

export const SETTABLE = [
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
  'src',
  'volume',
] as const;

export type Settable = (typeof SETTABLE)[number];
export type Method = 'play' | 'pause';

/** Of the media element, by its own names. */
export const MEDIA_EVENTS = [
  'abort',
  'canplay',
  'canplaythrough',
  'durationchange',
  'emptied',
  'ended',
  'loadeddata',
  'loadedmetadata',
  'loadstart',
  'pause',
  'play',
  'playing',
  'progress',
  'ratechange',
  'resize',
  'seeked',
  'seeking',
  'stalled',
  'suspend',
  'timeupdate',
  'volumechange',
  'waiting',
] as const;

export interface ToPlayer {
  hello: object;
  set: { name: Settable; value: unknown };
  call: { call: number; method: Method };
}

export interface ToPage {
  /** The player is there and can be greeted. */
  here: object;
  state: { properties: Properties };
  event: { name: string; properties: Properties };
  reply: { call: number; error: { name: string; message: string } | null };
}

type Tagged<M> = { [K in keyof M]: { airwave: 1; kind: K } & M[K] }[keyof M];
export type PlayerMessage = Tagged<ToPlayer>;
export type PageMessage = Tagged<ToPage>;

export function toPlayer<K extends keyof ToPlayer>(kind: K, body: ToPlayer[K]): PlayerMessage {
  return { airwave: 1, kind, ...body } as PlayerMessage;
}

export function toPage<K extends keyof ToPage>(kind: K, body: ToPage[K]): PageMessage {
  return { airwave: 1, kind, ...body } as PageMessage;
}

/** null: somebody else's message. */
export function parsePlayerMessage(data: unknown): PlayerMessage | null {
  const message = ours(data);
  switch (message?.kind) {
    case 'hello':
      return toPlayer('hello', {});
    case 'set': {
      const name = SETTABLE.find((settable) => settable === message.name);
      return name === undefined ? null : toPlayer('set', { name, value: message.value });
    }
    case 'call': {
      const { call, method } = message;
      if (typeof call !== 'number' || (method !== 'play' && method !== 'pause')) return null;
      return toPlayer('call', { call, method });
    }
    default:
      return null;
  }
}

/** The player's origin was checked, so that its messages have the shape of this version. */
export function parsePageMessage(data: unknown): PageMessage | null {
  const message = ours(data);
  const kinds = ['here', 'state', 'event', 'reply'];
  return message !== null && kinds.includes(String(message.kind)) ? (message as unknown as PageMessage) : null;
}

function ours(data: unknown): Record<string, unknown> | null {
  if (typeof data !== 'object' || data === null) return null;
  const fields = data as Record<string, unknown>;
  return fields.airwave === 1 ? fields : null;
}
