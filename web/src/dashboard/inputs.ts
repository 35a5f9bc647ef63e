/** Live inputs as the dashboard shows them. Pure: no clock, no network, no DOM. */
import { type Broadcast, since } from '../landing/broadcasts';
import { type Fields, date, number, record, text } from '../shared/json';
import { type Fact, parseHealth } from './health';

export type OnAir = 'live' | 'reconnecting' | 'off';

export interface Ingest {
  url: string;
  key: string;
  /** The key travels in clear. */
  plain: boolean;
}

export interface Input {
  uid: string;
  name: string;
  named: boolean;
  meta: Fields;
  enabled: boolean;
  createdMs: number | null;
  onAir: OnAir;
  /** When `onAir` became what it is. */
  sinceMs: number | null;
  /** Somebody has published here at some time. */
  used: boolean;
  reason: string;
  videoUID: string | null;
  ingest: Ingest[];
  /** Only a signed link opens it; null: not known yet, lists do not say. */
  locked: boolean | null;
  /** Its next broadcast is recorded; null: not known yet. */
  recorded: boolean | null;
  /** After how many days the recordings of its next broadcasts are deleted; null: as the server is configured. */
  days: number | null;
  /** Viewers get levels beside what the encoder sends; null: not known yet. */
  levels: boolean | null;
  /** Why there are none, or not as the server is configured; empty: all is well. */
  levelsProblem: string;
  /** Its viewers may chat; null: not known yet. */
  chat: boolean | null;
  /** null: the server tells none. */
  health: Fact[] | null;
}

/** Asked in one round: those on the air first, the others in turn. */
const DETAILS_PER_ROUND = 8;

/** From an entry of the list, or from a whole live input; null: unusable. */
export function parseInput(value: unknown): Input | null {
  const fields = record(value);
  const uid = text(fields.uid);
  if (uid === null) return null;
  const meta = record(fields.meta);
  const name = text(meta.name);
  const { current, state } = status(fields.status);
  return {
    uid,
    name: name ?? 'Live input without a name',
    named: name !== null,
    meta,
    enabled: fields.enabled !== false,
    createdMs: date(fields.created),
    onAir: onAirOf(state),
    sinceMs: date(current.statusEnteredAt),
    used: state !== null,
    reason: text(current.reason) ?? '',
    videoUID: text(current.videoUID),
    ingest: ingestOf(fields),
    locked: fields.recording === undefined ? null : record(fields.recording).requireSignedURLs === true,
    recorded: fields.recording === undefined ? null : record(fields.recording).mode !== 'off',
    days: number(fields.deleteRecordingAfterDays),
    levels: fields.ladder === undefined ? null : !(Array.isArray(fields.ladder) && fields.ladder.length === 0),
    levelsProblem: text(fields.ladderComplaint) ?? '',
    chat: fields.recording === undefined ? null : record(fields.recording).allowChat === true,
    health: parseHealth(fields.health),
  };
}

/** The object form `{current: {state, …}}`, or the bare word of the vendor's schema. */
function status(value: unknown): { current: Fields; state: string | null } {
  if (typeof value === 'string') return { current: {}, state: value };
  const current = record(record(value).current);
  return { current, state: text(current.state) };
}

function onAirOf(state: string | null): OnAir {
  switch (state) {
    case 'connected':
    case 'reconnected':
    case 'new_configuration_accepted':
      return 'live';
    case 'reconnecting':
      return 'reconnecting';
    default:
      return 'off';
  }
}

/** RTMPS before RTMP; a server without TLS says the same under both names. */
function ingestOf(fields: Fields): Ingest[] {
  const found: Ingest[] = [];
  for (const entry of [record(fields.rtmps), record(fields.rtmp)]) {
    const [url, key] = [text(entry.url), text(entry.streamKey)];
    if (url === null || key === null || found.some((other) => other.url === url)) continue;
    found.push({ url, key, plain: !url.startsWith('rtmps:') });
  }
  return found;
}

/**
 * What to paste first. OBS takes RTMPS only with a certificate that the machine trusts: where this page came without one, there is
 * hardly one for encoders.
 */
export function forEncoders(ingest: Ingest[], trusted: boolean): Ingest[] {
  return trusted ? ingest : [...ingest].sort((a, b) => Number(b.plain) - Number(a.plain));
}

/** The list decides what there is and what it is called; a whole input keeps what lists leave out. */
export function merge(rows: unknown[], known: Input[]): Input[] {
  const before = new Map(known.map((input) => [input.uid, input]));
  return rows.map(parseInput).flatMap((row) => {
    if (row === null) return [];
    const whole = before.get(row.uid);
    if (whole === undefined) return [row];
    const { name, named, meta, enabled } = row;
    return [{ ...whole, name, named, meta, enabled }];
  });
}

/** Where the API does not say since when, the page does: by the public list, or by what it saw itself. */
export function follow(before: Input | undefined, now: Input, onAir: Broadcast | undefined, nowMs: number): Input {
  if (now.sinceMs !== null) return now;
  if (now.onAir === 'live' && onAir !== undefined && onAir.startedAt !== null) return { ...now, sinceMs: onAir.startedAt };
  if (before === undefined || before.ingest.length === 0) return now;
  return { ...now, sinceMs: before.onAir === now.onAir ? before.sinceMs : nowMs };
}

/** Whom to ask in this round: those on the air, and then the others in the order of their last answer, the oldest first. */
export function whomToAsk(inputs: Input[], askedAtMs: ReadonlyMap<string, number>, onAir: ReadonlySet<string> = new Set()): string[] {
  const rank = (input: Input) => (input.onAir === 'off' && !onAir.has(input.uid) ? 1 : 0);
  const asked = (input: Input) => askedAtMs.get(input.uid) ?? 0;
  const sorted = [...inputs].sort((a, b) => rank(a) - rank(b) || asked(a) - asked(b));
  return sorted.slice(0, DETAILS_PER_ROUND).map(({ uid }) => uid);
}

/** On the air first, then the newest. */
export function inOrder(inputs: Input[]): Input[] {
  const rank = (input: Input) => (input.onAir === 'off' ? 1 : 0);
  return [...inputs].sort((a, b) => rank(a) - rank(b) || (b.createdMs ?? 0) - (a.createdMs ?? 0));
}

/** The one whose picture moves: a browser has few connections to a server, and the API needs one of them. */
export function previewed(inputs: Input[], chosen: string | null): string | null {
  const live = inputs.filter(({ onAir }) => onAir !== 'off').map(({ uid }) => uid);
  return chosen !== null && live.includes(chosen) ? chosen : (live[0] ?? null);
}

export function stateWord(input: Input): string {
  if (input.onAir === 'live') return 'Live';
  if (input.onAir === 'reconnecting') return 'Reconnecting';
  return input.enabled ? 'Off the air' : 'Disabled';
}

export function stateLine(input: Input, viewers: number | null, nowMs: number): string {
  const watching = viewers === null || viewers < 1 ? '' : `${viewers} watching`;
  switch (input.onAir) {
    case 'live':
      return [since(input.sinceMs, nowMs), watching].filter((part) => part !== '').join(' · ');
    case 'reconnecting':
      return input.reason === ''
        ? 'The encoder was lost; viewers wait for it to come back.'
        : `Viewers wait: ${input.reason}.`;
    case 'off':
      if (!input.enabled) return 'Encoders are turned away.';
      if (!input.used) return 'No encoder has connected yet.';
      if (input.sinceMs === null) return 'Ready for the next broadcast.';
      return `Since ${ago(input.sinceMs, nowMs)}${input.reason === '' ? '' : `: ${input.reason}`}`;
  }
}

export function ago(ms: number, nowMs: number): string {
  const minutes = Math.max(0, Math.floor((nowMs - ms) / 60_000));
  if (minutes < 1) return 'just now';
  if (minutes < 60) return `${minutes} min ago`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ago` : `${Math.floor(hours / 24)} days ago`;
}

/** The rows of a list, and those of another one that are not among them. */
export function together(rows: unknown[], more: unknown[]): unknown[] {
  const uids = uidsOf(rows);
  return [...rows, ...more.filter((row) => !uids.has(text(record(row).uid) ?? ''))];
}

export function uidsOf(rows: unknown[]): Set<string> {
  return new Set(rows.map((row) => text(record(row).uid)).filter((uid) => uid !== null));
}

/** What a list says of itself, with how many there are, shown or not. */
export function summary(found: number, live: number, search: string): string {
  const count = found === 1 ? 'One input' : `${found} inputs`;
  if (search !== '') return found === 0 ? `No input is called “${search}”.` : `${count} of that name`;
  if (found === 0) return 'An input is a place to send a broadcast to, with a key of its own.';
  return `${count}, ${live === 0 ? 'none' : live} on the air`;
}

export function viewersOf(broadcast: Broadcast | undefined): number | null {
  return number(broadcast?.viewers);
}
