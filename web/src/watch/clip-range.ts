/** A range of a broadcast, chosen by a viewer: pure numbers and words, no DOM. */

/** The server's bounds; it says what its operator has chosen instead of the first one. */
export const CLIP_S_MAX = 60;
export const CLIP_S_MIN = 1;

export interface Range {
  fromS: number;
  toS: number;
}

/** What is chosen first: the newest part of what can be chosen from. */
export function newest(lengthS: number, maxS = CLIP_S_MAX): Range {
  const toS = Math.max(CLIP_S_MIN, lengthS);
  return { fromS: Math.max(0, toS - maxS / 2), toS };
}

/** What is within reach of the handles where so much can be chosen from that a finger would move them by minutes. */
const REACH_S = 300;

/** The least and the most that can be chosen of a recording that is watched here. */
export function around(watchedS: number, lengthS: number): [leastS: number, mostS: number] {
  const leastS = Math.max(0, Math.min(watchedS - REACH_S / 2, lengthS - REACH_S));
  return [leastS, Math.min(lengthS, leastS + REACH_S)];
}

/** One end is moved; the other one follows where the range would be too short or too long. */
export function moved(range: Range, end: 'from' | 'to', positionS: number, lengthS: number, maxS = CLIP_S_MAX): Range {
  const within = (value: number, least: number, most: number) => Math.min(Math.max(value, least), Math.max(least, most));
  if (end === 'from') {
    const fromS = within(positionS, 0, lengthS - CLIP_S_MIN);
    return { fromS, toS: within(range.toS, fromS + CLIP_S_MIN, Math.min(lengthS, fromS + maxS)) };
  }
  const toS = within(positionS, CLIP_S_MIN, lengthS);
  return { fromS: within(range.fromS, Math.max(0, toS - maxS), toS - CLIP_S_MIN), toS };
}

/** `time` and `duration` as the server reads them; `startS`: what position 0 is in the whole broadcast. */
export function clipQuery({ fromS, toS }: Range, startS: number): string {
  const seconds = (value: number) => `${Number(value.toFixed(3))}s`;
  return `time=${seconds(startS + fromS)}&duration=${seconds(toS - fromS)}`;
}

/** What is said of a link that was copied, or could not be. A token in it is the viewer's own: it opens what he may see. */
export function linkWords(link: string, token: boolean, copied: boolean): string {
  const words = copied ? 'The link to the clip is copied.' : link;
  return token ? `${words} It has your own token in it: whoever gets it can watch the whole broadcast, as you can.` : words;
}

/** The list of a preview names the segments that it has: asked for by them, it stays as it is. */
export function pinned(list: string): string | null {
  return list.match(/[?&](segments=\d+-\d+)/)?.[1] ?? null;
}

export function clockText(seconds: number): string {
  const tenths = Math.round(seconds * 10);
  const two = (value: number) => String(value).padStart(2, '0');
  const [hours, minutes] = [Math.floor(tenths / 36_000), Math.floor(tenths / 600) % 60];
  const rest = `${two(Math.floor(tenths / 10) % 60)}.${tenths % 10}`;
  return hours > 0 ? `${hours}:${two(minutes)}:${rest}` : `${minutes}:${rest}`;
}
