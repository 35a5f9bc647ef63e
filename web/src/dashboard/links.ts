/** Links for somebody: who has one watches what is locked, until it ends or is taken back. */
import { date, record, text } from '../shared/json';

export interface Link {
  id: string;
  name: string;
  expiresMs: number | null;
  /** In the place of the uid, in the address of the watch page. */
  token: string;
}

/** How long a link may live, in the words of the choice; the vendor's tokens end after a day, these can be taken back. */
export const LIFETIMES: readonly (readonly [label: string, hours: number])[] = [
  ['1 hour', 1],
  ['1 day', 24],
  ['1 week', 7 * 24],
  ['30 days', 30 * 24],
];

export function parseLinks(rows: unknown[]): Link[] {
  return rows.map(parseLink).filter((link) => link !== null);
}

export function parseLink(value: unknown): Link | null {
  const fields = record(value);
  const [id, token] = [text(fields.id), text(fields.token)];
  if (id === null || token === null) return null;
  return { id, token, name: text(fields.name) ?? 'Link without a name', expiresMs: date(fields.expires) };
}

export function watchAddress(origin: string, token: string): string {
  return `${origin}/${token}/watch`;
}

export function summary(locked: boolean, links: number): string {
  if (!locked) return 'Who may watch: everybody who knows the address';
  if (links === 0) return 'Who may watch: only who gets a link from you';
  return links === 1 ? 'Who may watch: only who has the link' : `Who may watch: only who has one of ${links} links`;
}
