/** The query of `/ID/iframe`, with the vendor's names. Unknown ones are left alone. */
import { parseSeconds } from '../shared/seconds';

export interface EmbedOptions {
  autoplay: boolean;
  muted: boolean;
  loop: boolean;
  controls: boolean;
  dvr: boolean;
  preload: Preload;
  poster: string | null;
  primaryColor: string | null;
  letterboxColor: string | null;
  /** BCP 47. */
  defaultTextTrack: string | null;
  startS: number;
  /** Mbit/s that the viewer has; as it stands, the server passes over what is no number. */
  clientBandwidthHint: string | null;
  /** Kept for whoever asks for it, and never loaded: nothing is shown before the picture. */
  adUrl: string | null;
}

export type Preload = 'none' | 'metadata' | 'auto';

export function parseOptions(query: URLSearchParams): EmbedOptions {
  return {
    autoplay: flag(query.get('autoplay'), false),
    muted: flag(query.get('muted'), false),
    loop: flag(query.get('loop'), false),
    controls: flag(query.get('controls'), true),
    dvr: flag(query.get('dvrEnabled'), false),
    preload: parsePreload(query.get('preload')),
    poster: pictureUrl(query.get('poster')),
    primaryColor: query.get('primaryColor') || null,
    letterboxColor: query.get('letterboxColor') || null,
    defaultTextTrack: query.get('defaultTextTrack') || null,
    startS: parseSeconds(query.get('startTime')),
    clientBandwidthHint: query.get('clientBandwidthHint') || null,
    adUrl: query.get('ad-url') || null,
  };
}

/** `?muted`, `?muted=true`, `?muted=muted`: all yes. */
function flag(value: string | null, otherwise: boolean): boolean {
  return value === null ? otherwise : !['false', '0', 'no', 'off'].includes(value.toLowerCase());
}

/** As an attribute of `<video>`: without a value it is "auto". */
export function parsePreload(value: string | null): Preload {
  if (value === 'none' || value === 'false') return 'none';
  return value === 'auto' || value === 'true' || value === '' ? 'auto' : 'metadata';
}

/** Whoever embeds chooses the picture, but not a script: http and https only. */
export function pictureUrl(value: string | null): string | null {
  if (value === null || value === '') return null;
  let url: URL;
  try {
    url = new URL(value, 'https://relative.invalid/');
  } catch {
    return null;
  }
  if (!/^https?:$/.test(url.protocol)) return null;
  return url.hostname === 'relative.invalid' ? url.pathname + url.search : url.href;
}
