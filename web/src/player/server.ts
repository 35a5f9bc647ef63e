/** The few questions that the player asks the server besides media. */
import type { Failure, Lifecycle } from './session';

const TIMEOUT_MS = 8_000;

export class Refused extends Error {
  constructor(readonly failure: Failure) {
    super(failure.kind);
  }
}

export async function fetchLifecycle(base: string, id: string): Promise<Lifecycle> {
  const response = await get(`${base}/${id}/lifecycle`);
  if (!response.ok) throw new Refused({ kind: 'http', status: response.status, words: await words(response) });
  try {
    return parseLifecycle(await response.json());
  } catch {
    throw new Refused({ kind: 'network' });
  }
}

/** Why the server refuses, in its own words: one short line of text, or nothing. */
async function words(response: Response): Promise<string> {
  return wordsOf(response.headers.get('content-type'), await response.text().catch(() => ''));
}

/** The same of an answer that was read already. */
export function wordsOf(type: string | null, body: string): string {
  if (!(type ?? '').startsWith('text/plain')) return '';
  const text = body.trim();
  return text.length > 200 || text.includes('\n') ? '' : text;
}

export function parseLifecycle(body: unknown): Lifecycle {
  const fields = (typeof body === 'object' && body !== null ? body : {}) as Record<string, unknown>;
  const text = (value: unknown) => (typeof value === 'string' && value !== '' ? value : null);
  return {
    isInput: fields.isInput === true,
    videoUID: text(fields.videoUID),
    live: fields.live === true,
    // Why it is *not* live; on the air there is nothing to explain.
    status: fields.live === true ? '' : (text(fields.status) ?? ''),
    name: text(fields.name),
    moq: parseMoq(fields.moq),
    chat: fields.chat === true,
    clips: fields.clips === true,
    thumbnails: fields.thumbnails === true,
    clipSeconds: typeof fields.clipSeconds === 'number' && fields.clipSeconds > 0 ? fields.clipSeconds : null,
  };
}

function parseMoq(value: unknown): Lifecycle['moq'] {
  const { port, account, input, certificate } = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>;
  if (typeof port !== 'number' || typeof account !== 'string' || typeof input !== 'string') return null;
  return { port, namespace: [account, input], certificate: typeof certificate === 'string' ? certificate : null };
}

/** How far the server's clock is ahead of ours in ms, from `/time` (ISO 8601 text); 0 where there is none. */
export async function fetchClockOffset(base: string): Promise<number> {
  try {
    const askedAt = Date.now();
    const response = await get(`${base}/time`);
    if (!response.ok) return 0;
    const serverMs = Date.parse((await response.text()).trim());
    if (Number.isNaN(serverMs)) return 0;
    return serverMs - (askedAt + Date.now()) / 2;
  } catch {
    return 0;
  }
}

/** null: the server does not tell. */
export async function fetchViewers(base: string, id: string): Promise<number | null> {
  try {
    const response = await get(`${base}/${id}/views`);
    if (!response.ok) return null;
    const body = (await response.json()) as { liveViewers?: unknown };
    return typeof body.liveViewers === 'number' ? body.liveViewers : null;
  } catch {
    return null;
  }
}

async function get(url: string): Promise<Response> {
  try {
    return await fetch(url, { cache: 'no-store', signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch {
    throw new Refused({ kind: 'network' });
  }
}
