/** The levels that a multivariant playlist lists: what the player offers beside MoQ frame by frame, which has the originals only. */
import type { Level } from './engine';

const TIMEOUT_MS = 8_000;

/** null: there is no answer now. */
export async function fetchLadder(url: string): Promise<Level[] | null> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) });
    return response.ok ? parseLadder(await response.text()) : null;
  } catch {
    // The menu offers what is on the screen.
    return null;
  }
}

/** RFC 8216 §4.3.4.2, pictures only: each once, with the sound of the first, though each sound's group lists them all. */
export function parseLadder(text: string): Level[] {
  const lines = [...text.matchAll(/^#EXT-X-STREAM-INF:(.*)$/gm)].flatMap(([, attributes = '']) => {
    const [, width = '', height = ''] = attributes.match(/(?:^|,)RESOLUTION=(\d+)x(\d+)/) ?? [];
    const [, bitrate = ''] = attributes.match(/(?:^|,)BANDWIDTH=(\d+)/) ?? [];
    const [, codecs = ''] = attributes.match(/(?:^|,)CODECS="([^"]*)"/) ?? [];
    const [, sound = ''] = attributes.match(/(?:^|,)AUDIO="([^"]*)"/) ?? [];
    const level = { width: Number(width), height: Number(height), bitrateBps: Number(bitrate), codecs };
    return height === '' ? [] : [{ level, sound }];
  });
  return lines.filter(({ sound }) => sound === lines[0]?.sound).map(({ level }) => level);
}

/** Where a level is in a list that was made at another time: bitrates are measured, sizes stay. */
export function placeOf(level: Level, levels: Level[]): number | null {
  const alike = levels.filter(({ width, height }) => width === level.width && height === level.height);
  const nearest = alike.sort((a, b) => Math.abs(a.bitrateBps - level.bitrateBps) - Math.abs(b.bitrateBps - level.bitrateBps))[0];
  return nearest === undefined ? null : levels.indexOf(nearest);
}
