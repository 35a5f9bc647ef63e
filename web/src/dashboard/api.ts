/** The REST API with the session of this browser. Every failure is a `Failed` whose words a person can act on. */
import { list, number, record, text } from '../shared/json';
import type { Session } from './session';

const ACCOUNT = '/client/v4/accounts/default/stream';
const AUDIT = '/client/v4/accounts/default/audit_logs';
const TIMEOUT_MS = 10_000;
/** Ten megabytes over a slow line. */
const UPLOAD_TIMEOUT_MS = 120_000;
/** Rows that the server lists at once. */
const PAGE_MAX = 1_000;

/** A page of the audit log. */
export const CHANGES_PER_PAGE = 25;

export type Fault = 'token' | 'forbidden' | 'missing' | 'refused' | 'server' | 'network';

export class Failed extends Error {
  constructor(
    readonly fault: Fault,
    message: string,
  ) {
    super(message);
  }
}

export class Api {
  constructor(
    private readonly session: Session,
    private readonly send?: typeof fetch,
  ) {}

  /** The newest `most` of those that a search finds, and how many it finds. */
  async inputs(most: number, search = ''): Promise<{ rows: unknown[]; total: number }> {
    const rows: unknown[] = [];
    const limit = Math.min(most, PAGE_MAX);
    for (let page = 1; ; page++) {
      const asked = new URLSearchParams({ limit: String(limit), page: String(page), search });
      const result = record(await this.ask('GET', `/live_inputs?${asked}`));
      const found = list(result.liveInputs);
      rows.push(...found);
      const total = number(result.total) ?? rows.length;
      if (found.length < limit || rows.length >= Math.min(most, total)) return { rows: rows.slice(0, most), total };
    }
  }

  /** Those on the air, wherever they stand in the list. */
  async inputsOnAir(most: number): Promise<unknown[]> {
    return list(record(await this.ask('GET', `/live_inputs?live=true&limit=${most}`)).liveInputs);
  }

  input(uid: string): Promise<unknown> {
    return this.ask('GET', `/live_inputs/${uid}`);
  }

  create(name: string): Promise<unknown> {
    return this.ask('POST', '/live_inputs', { meta: { name } });
  }

  /** Only the fields that are named change. */
  update(uid: string, fields: Record<string, unknown>): Promise<unknown> {
    return this.ask('PUT', `/live_inputs/${uid}`, fields);
  }

  remove(uid: string): Promise<unknown> {
    return this.ask('DELETE', `/live_inputs/${uid}`);
  }

  rotateKeys(uid: string): Promise<unknown> {
    return this.ask('POST', `/live_inputs/${uid}/rotate_keys`);
  }

  /** null: this server has no such list. */
  async videos(uid: string): Promise<unknown[] | null> {
    try {
      return list(await this.ask('GET', `/live_inputs/${uid}/videos`));
    } catch (error) {
      if (error instanceof Failed && error.fault === 'missing') return null;
      throw error;
    }
  }

  /** Only the fields that are named change. */
  updateVideo(uid: string, fields: Record<string, unknown>): Promise<unknown> {
    return this.ask('POST', `/${uid}`, fields);
  }

  removeVideo(uid: string): Promise<unknown> {
    return this.ask('DELETE', `/${uid}`);
  }

  async captions(uid: string): Promise<unknown[]> {
    return list(await this.ask('GET', `/${uid}/captions`));
  }

  /** A file of another language is another one. */
  putCaptions(uid: string, language: string, file: Blob): Promise<unknown> {
    return this.ask('PUT', `/${uid}/captions/${encodeURIComponent(language)}`, file);
  }

  removeCaptions(uid: string, language: string): Promise<unknown> {
    return this.ask('DELETE', `/${uid}/captions/${encodeURIComponent(language)}`);
  }

  /** What stands in the place of the uid in addresses that this page opens itself; for a day. */
  async token(uid: string): Promise<string | null> {
    const exp = Math.floor(Date.now() / 1000) + 86_000;
    return text(record(await this.ask('POST', `/${uid}/token`, { exp })).token);
  }

  async links(uid: string): Promise<unknown[]> {
    return list(await this.ask('GET', `/${uid}/links`));
  }

  createLink(uid: string, name: string, expiresMs: number): Promise<unknown> {
    return this.ask('POST', `/${uid}/links`, { name, exp: Math.floor(expiresMs / 1000) });
  }

  removeLink(uid: string, link: string): Promise<unknown> {
    return this.ask('DELETE', `/${uid}/links/${link}`);
  }

  /** What was said in the newest broadcast of an input, the oldest first. */
  async chat(uid: string): Promise<unknown[]> {
    return list(await this.ask('GET', `/${uid}/chat`));
  }

  removeSaid(uid: string, id: number): Promise<unknown> {
    return this.ask('DELETE', `/${uid}/chat/${id}`);
  }

  clearChat(uid: string): Promise<unknown> {
    return this.ask('DELETE', `/${uid}/chat`);
  }

  /** Who changed what, the newest first; null: not for who is signed in. */
  async changes(page: number): Promise<unknown[] | null> {
    try {
      return list(await request('GET', `${AUDIT}?page=${page}&per_page=${CHANGES_PER_PAGE}`, {}, undefined, this.send));
    } catch (error) {
      if (error instanceof Failed && (error.fault === 'forbidden' || error.fault === 'missing')) return null;
      throw error;
    }
  }

  private ask(method: string, route: string, body?: unknown): Promise<unknown> {
    const headers: Record<string, string> = method === 'GET' ? {} : { 'x-csrf-token': this.session.csrf };
    return request(method, ACCOUNT + route, headers, body, this.send);
  }
}

/** One request to this server; the result of its answer. `body`: a file as it is, anything else as JSON. */
export async function request(
  method: string,
  route: string,
  headers: Record<string, string>,
  body?: unknown,
  send: typeof fetch = (...asked) => fetch(...asked),
): Promise<unknown> {
  let response: Response;
  let answer: unknown;
  const file = body instanceof Blob;
  const type = file ? 'text/vtt' : 'application/json';
  try {
    response = await send(route, {
      method,
      cache: 'no-store',
      credentials: 'same-origin',
      headers: { ...headers, ...(body === undefined ? {} : { 'content-type': type }) },
      ...(body === undefined ? {} : { body: file ? body : JSON.stringify(body) }),
      signal: AbortSignal.timeout(file ? UPLOAD_TIMEOUT_MS : TIMEOUT_MS),
    });
    answer = await response.text().then(parse);
  } catch {
    throw new Failed('network', 'The server does not answer. Check the network of this device, and that Airwave runs.');
  }
  if (response.ok) return record(answer).result;
  throw failure(response.status, answer);
}

export function failure(status: number, answer: unknown): Failed {
  const said = messages(answer);
  switch (status) {
    case 401:
      return new Failed('token', 'This token is not valid on this server. "airwave token" prints the right one.');
    case 403:
      return new Failed('forbidden', said || 'The server refuses this.');
    case 404:
      return new Failed('missing', said || 'That is no longer there.');
    case 429:
      return new Failed('server', said || 'Too many requests. Try again in a moment.');
    default:
      if (status < 500) return new Failed('refused', said || `The server refused this (${status}).`);
      return new Failed('server', `The server could not do this: ${said || `error ${status}`}`);
  }
}

/** An answer without a body (a deletion) is as good as null. */
function parse(body: string): unknown {
  try {
    return JSON.parse(body) as unknown;
  } catch {
    return null;
  }
}

function messages(answer: unknown): string {
  const said = list(record(answer).errors).map((error) => text(record(error).message));
  return said.filter((message) => message !== null).map(sentence).join(' ');
}

function sentence(message: string): string {
  const capital = message.charAt(0).toUpperCase() + message.slice(1);
  return /[.!?]$/.test(capital) ? capital : `${capital}.`;
}
