/** The recordings of a live input. */
import { clock } from '../shared/clock';
import { date, number, record, text } from '../shared/json';

export interface Video {
  uid: string;
  name: string;
  createdMs: number | null;
  /** null: not known yet. */
  durationS: number | null;
  live: boolean;
  /** Only a signed link opens it. */
  locked: boolean;
  /** Cut out of another one. */
  clip: boolean;
  failed: string;
  /** null: the server makes none. */
  thumbnail: string | null;
}

export function parseVideos(rows: unknown[]): Video[] {
  return rows
    .map(parseVideo)
    .filter((video) => video !== null)
    .sort((a, b) => (b.createdMs ?? 0) - (a.createdMs ?? 0));
}

function parseVideo(value: unknown): Video | null {
  const fields = record(value);
  const uid = text(fields.uid);
  if (uid === null) return null;
  const status = record(fields.status);
  const durationS = number(fields.duration);
  return {
    uid,
    name: text(record(fields.meta).name) ?? 'Recording',
    createdMs: date(fields.created),
    durationS: durationS === null || durationS < 0 ? null : durationS,
    live: status.state === 'live-inprogress',
    thumbnail: text(fields.thumbnail) === null ? null : `/${encodeURIComponent(uid)}/thumbnails/thumbnail.jpg?width=128&height=72`,
    locked: fields.requireSignedURLs === true,
    clip: text(fields.clippedFrom) !== null,
    failed: status.state === 'error' ? (text(status.errorReasonText) ?? 'This recording has failed.') : '',
  };
}

/** What stands above the list. */
export function summary(recorded: boolean | null, videos: number): string {
  const off = recorded === false;
  if (videos === 0) return off ? 'Recordings: off' : 'Recordings: none yet';
  return off ? `Recordings (${videos}): off` : `Recordings (${videos})`;
}

/** What becomes of the next broadcasts, in words. */
export function kept(recorded: boolean, days: number | null): string {
  if (!recorded) return 'A broadcast is gone when it is over. Recordings that are there stay as they are.';
  if (days === null)
    return 'Each is kept as long as the server is configured to: where nothing else is said, until less than 1 GB of its disk is free. Then the oldest are deleted.';
  const after = days === 1 ? 'a day' : `${days} days`;
  return `Those of the next broadcasts are deleted ${after} after their end; sooner if the server is configured so, or its disk is nearly full. Clips, and recordings that are there, stay as they are.`;
}

export function length(video: Video): string {
  if (video.live) return 'on the air';
  return video.durationS === null ? '' : clock(video.durationS);
}

/** What there is to say of it beside its name. */
export function about(video: Video): string {
  const parts = [day(video.createdMs), length(video), video.clip ? 'clip' : '', video.locked ? 'locked' : '', video.failed];
  return parts.filter((part) => part !== '').join(' · ');
}

export function day(ms: number | null): string {
  if (ms === null) return '';
  return new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' }).format(ms);
}
