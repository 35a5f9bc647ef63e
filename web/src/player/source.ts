import type { MoqPlace } from './engine';
import type { Lifecycle } from './session';

/** What `src` means: an id on a server, or the URL of a manifest. */
export type Source = { kind: 'id'; server: string; id: string } | { kind: 'url'; url: string };

/** A manifest URL has no lifecycle: it is there or it is not. */
export const DIRECT: Lifecycle = { isInput: false, videoUID: null, live: true, status: '', name: null, moq: null };

export function sourceOf(player: Element): Source | null {
  const src = player.getAttribute('src')?.trim() ?? '';
  if (src === '') return null;
  if (/[/:]/.test(src) || src.endsWith('.m3u8')) return { kind: 'url', url: src };
  const server = (player.getAttribute('server') ?? '').replace(/\/+$/, '');
  return { kind: 'id', server, id: encodeURIComponent(src) };
}

/** What the player's attributes ask of a manifest, as a query. */
export function manifestQuery(player: Element): string {
  const query = new URLSearchParams();
  if (player.hasAttribute('dvr')) query.set('dvrEnabled', 'true');
  const bandwidth = player.getAttribute('bandwidth') ?? '';
  if (bandwidth !== '') query.set('clientBandwidthHint', bandwidth);
  return query.size === 0 ? '' : `?${query.toString()}`;
}

/**
 * What stands in addresses for a video that is watched by `id`, as that stands there: a token for an input opens what was
 * recorded of it too, if it stands before it. null: what `id` means itself.
 */
export function addressed(id: string, video: string | null): string {
  if (video === null) return id;
  const token = id.split('.').slice(0, 3);
  return token.length === 3 ? [...token, video].join('.') : video;
}

/** `id`: of the video to play instead of the source's own. */
export function manifestUrl(source: Source, id: string | null, query = ''): string {
  if (source.kind === 'url') return source.url;
  return `${source.server}/${addressed(source.id, id)}/manifest/video.m3u8${query}`;
}

/** Where the player says how it plays; null: nowhere, the manifest may be anybody's. */
export function cmcdUrl(source: Source, id: string | null): string | null {
  return source.kind === 'url' ? null : `${source.server}/${addressed(source.id, id)}/cmcd`;
}

/** Where pictures of it are; null: nowhere, the manifest may be anybody's. */
export function picturesUrl(source: Source, id: string | null, file: string): string | null {
  return source.kind === 'url' ? null : `${source.server}/${addressed(source.id, id)}/thumbnails/${file}`;
}

/** The id is the path over MoQ too: it may be a token. `movedTo`: where the server has sent us. */
export function moqPlace(source: Source, moq: Lifecycle['moq'], page: string, movedTo: MoqPlace['address'] | null = null): MoqPlace | null {
  if (source.kind === 'url' || moq === null) return null;
  const { hostname } = new URL(source.server === '' ? page : source.server);
  const url = `https://${hostname}:${moq.port}/${source.id}`;
  return { address: movedTo ?? { url, certificate: moq.certificate }, namespace: moq.namespace };
}
