/** The REST API with a bearer token. Every failure is a `Failed` whose words a person can act on. */
import { list, record, text } from '../shared/json';

const ACCOUNT = '/client/v4/accounts/default/stream';
const TIMEOUT_MS = 10_000;

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
    private readonly token: string,
    private readonly send: typeof fetch = (...request) => fetch(...request),
  ) {}

  async inputs(): Promise<{ rows: unknown[]; total: number }> {
    const result = record(await this.ask('GET', '/live_inputs'));
    const rows = list(result.liveInputs);
    return { rows, total: typeof result.total === 'number' ? result.total : rows.length };
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

  removeVideo(uid: string): Promise<unknown> {
    return this.ask('DELETE', `/${uid}`);
  }

  private async ask(method: string, route: string, body?: unknown): Promise<unknown> {
    let response: Response;
    let answer: unknown;
    try {
      response = await this.send(ACCOUNT + route, {
        method,
        cache: 'no-store',
        credentials: 'omit',
        headers: {
          authorization: `Bearer ${this.token}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      answer = await response.text().then(parse);
    } catch {
      throw new Failed('network', 'The server does not answer. Check the network of this device, and that Airwave runs.');
    }
    if (response.ok) return record(answer).result;
    throw failure(response.status, answer);
  }
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
      return new Failed('server', 'Too many requests. Try again in a moment.');
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
