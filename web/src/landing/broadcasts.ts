import { date, list, number, record, text } from '../shared/json';

/** `GET /live.json`: `{broadcasts: [{id, name, live, startedAt, viewers, thumbnail?}], ingest?: {rtmp}}`. */
export interface Broadcast {
  id: string;
  name: string;
  /** ms since 1970. */
  startedAt: number | null;
  viewers: number | null;
  thumbnail: string | null;
}

export function parseBroadcasts(body: unknown): { broadcasts: Broadcast[]; ingest: string | null } {
  const fields = record(body);
  const broadcasts = list(fields.broadcasts)
    .map(record)
    .filter((entry) => text(entry.id) !== null && entry.live !== false)
    .map((entry) => ({
      id: String(entry.id),
      name: text(entry.name) ?? 'Live broadcast',
      startedAt: date(entry.startedAt),
      viewers: number(entry.viewers),
      thumbnail: text(entry.thumbnail),
    }));
  return { broadcasts, ingest: text(record(fields.ingest).rtmp) };
}

export function summary(count: number): string {
  if (count === 0)
    return 'Nothing is on the air right now. This page notices by itself when a broadcast begins.';
  return count === 1 ? 'One broadcast right now.' : `${count} broadcasts right now.`;
}

export function since(startedAtMs: number | null, nowMs: number): string {
  if (startedAtMs === null) return '';
  const minutes = Math.max(0, Math.floor((nowMs - startedAtMs) / 60_000));
  if (minutes < 1) return 'Just started';
  if (minutes < 60) return `Live for ${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return `Live for ${hours} h ${minutes % 60} min`;
}
