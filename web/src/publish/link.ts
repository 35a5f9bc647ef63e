/** The link that lets somebody broadcast: it holds the stream key, behind the `#`, which no server sees. */
export interface Key {
  input: string;
  key: string;
}

export function readLink(hash: string): Key {
  const fields = new URLSearchParams(hash.replace(/^#/, ''));
  return { input: fields.get('input')?.trim() ?? '', key: fields.get('key')?.trim() ?? '' };
}

export function makeLink(page: string, { input, key }: Key): string {
  const url = new URL('/publish', page);
  url.hash = new URLSearchParams({ input, key }).toString();
  return url.href;
}

/** What a phone cannot open: this machine as it calls itself. */
export function onlyHere(page: string): boolean {
  return /^(localhost|127\..*|\[::1\])$/.test(new URL(page).hostname);
}
