/** Signing in and out. The session is a cookie that no script can read; what changes something needs a word beside it. */
import { record, text } from '../shared/json';
import { request } from './api';

export interface Session {
  /** Sent with whatever changes something: no page of another site can know it. */
  csrf: string;
}

const ROUTE = '/client/v4/session';

/** null: nobody is signed in, or this server does not say so over this connection. */
export async function currentSession(send?: typeof fetch): Promise<Session | null> {
  try {
    return parse(await request('GET', ROUTE, {}, undefined, send));
  } catch {
    return null;
  }
}

/** Throws a `Failed` with the server's words. */
export async function signIn(token: string, send?: typeof fetch): Promise<Session> {
  const session = parse(await request('POST', ROUTE, {}, { token }, send));
  if (session === null) throw new Error('a session without its token');
  return session;
}

/** What cannot be told to the server ends there by itself. */
export async function signOut(session: Session, send?: typeof fetch): Promise<void> {
  try {
    await request('DELETE', ROUTE, { 'x-csrf-token': session.csrf }, undefined, send);
  } catch {
    // The page is signed out either way; the cookie is of no use to anybody else.
  }
}

function parse(answer: unknown): Session | null {
  const fields = record(answer);
  const csrf = text(fields.csrfToken);
  return fields.signedIn === true && csrf !== null ? { csrf } : null;
}
