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
  const list = Array.isArray(fields.broadcasts) ? fields.broadcasts : [];
  const broadcasts = list
    .map(record)
    .filter((entry) => typeof entry.id === 'string' && entry.id !== '' && entry.live !== false)
    .map((entry) => {
      const startedAt = typeof entry.startedAt === 'string' ? Date.parse(entry.startedAt) : Number.NaN;
      return {
        id: String(entry.id),
        name: typeof entry.name === 'string' && entry.name.trim() !== '' ? entry.name : 'Live broadcast',
        startedAt: Number.isNaN(startedAt) ? null : startedAt,
        viewers: typeof entry.viewers === 'number' ? entry.viewers : null,
        thumbnail: typeof entry.thumbnail === 'string' ? entry.thumbnail : null,
      };
    });
  const rtmp = record(fields.ingest).rtmp;
  return { broadcasts, ingest: typeof rtmp === 'string' ? rtmp : null };
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

function record(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
