import { parseSeconds } from './seconds';

/** A clip that an address names, if it does. */
export function clipOf(search: string): string | null {
  const query = new URLSearchParams(search);
  const time = query.get('time') ?? '0s';
  const duration = query.get('duration');
  const plain = /^[\dhms.]{1,24}$/;
  if (duration === null || !plain.test(duration) || !plain.test(time)) return null;
  return `time=${time}&duration=${duration}`;
}

/** Its playlist; `id` and `query` as they stand in addresses. */
export function clipList(id: string, query: string): string {
  return `/${id}/manifest/clip.m3u8?${query}`;
}

/** How long it is, for the player: its playlist has whole segments. */
export function clipLengthS(query: string): number {
  return parseSeconds(new URLSearchParams(query).get('duration'));
}
