/** The API token of a link `/#token=…`. It is shown to the server once, for a session, and kept nowhere. */

export interface Place {
  hash: string;
  pathname: string;
  search: string;
}

/** The token of a link `/#token=…`; null where there is none. */
export function tokenInHash(hash: string): string | null {
  const token = new URLSearchParams(hash.replace(/^#/, '')).get('token')?.trim() ?? '';
  return token === '' ? null : token;
}

/**
 * Takes the token out of the address. The entry of the history is replaced, not followed by a clean one: going back
 * must not bring the token into the address bar again.
 */
export function takeToken(place: Place, history: Pick<History, 'replaceState'>): string | null {
  if (!/(^#|&)token=/.test(place.hash)) return null;
  const token = tokenInHash(place.hash);
  history.replaceState(null, '', place.pathname + place.search);
  return token;
}
