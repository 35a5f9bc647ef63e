/** The page at `/`: what is on the air, or how to get there. */
import { type Broadcast, parseBroadcasts, since, summary } from './broadcasts';

const POLL_MS = 5_000;
let shown = '';

start();

function start(): void {
  const address = `rtmp://${location.hostname}:1935/live/`;
  setIngest(address);
  element('copy').addEventListener('click', () => void copyIngest());
  void refresh();
}

async function refresh(): Promise<void> {
  if (!document.hidden) {
    try {
      const response = await fetch('/live.json', { cache: 'no-store', signal: AbortSignal.timeout(8_000) });
      if (!response.ok) throw new Error(String(response.status));
      const { broadcasts, ingest } = parseBroadcasts(await response.json());
      if (ingest !== null) setIngest(ingest);
      show(broadcasts);
    } catch {
      element('summary').textContent = 'The server does not answer. Trying again every few seconds.';
    }
  }
  window.setTimeout(() => void refresh(), POLL_MS);
}

function show(broadcasts: Broadcast[]): void {
  element('summary').textContent = summary(broadcasts.length);
  element('how').hidden = broadcasts.length > 0;
  const key = JSON.stringify(broadcasts) + Math.floor(Date.now() / 60_000);
  if (key === shown) return;
  shown = key;
  element('broadcasts').replaceChildren(...broadcasts.map(card));
}

function card(broadcast: Broadcast): HTMLElement {
  const item = document.createElement('li');
  const link = make('a', 'card');
  link.href = `/${encodeURIComponent(broadcast.id)}/watch`;
  const poster = make('div', 'poster');
  poster.style.setProperty('--hue', String(hue(broadcast.id)));
  poster.append(rings());
  if (broadcast.thumbnail !== null) poster.append(picture(broadcast.thumbnail));
  const tag = make('span', 'tag');
  tag.textContent = 'LIVE';
  poster.append(tag);
  const text = make('div', 'text');
  const name = document.createElement('h2');
  name.textContent = broadcast.name;
  const facts = document.createElement('p');
  facts.textContent = [since(broadcast.startedAt, Date.now()), watching(broadcast.viewers)]
    .filter((fact) => fact !== '')
    .join(' · ');
  text.append(name, facts);
  link.append(poster, text);
  item.append(link);
  return item;
}

function picture(url: string): HTMLImageElement {
  const image = document.createElement('img');
  image.alt = '';
  image.loading = 'lazy';
  image.src = url;
  image.addEventListener('error', () => image.remove());
  return image;
}

function rings(): SVGElement {
  const space = 'http://www.w3.org/2000/svg';
  const svg = document.createElementNS(space, 'svg');
  svg.setAttribute('viewBox', '0 0 32 32');
  svg.setAttribute('class', 'rings');
  svg.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS(space, 'path');
  path.setAttribute(
    'd',
    'M11.8 20.2a6 6 0 0 1 0-8.4M20.2 11.8a6 6 0 0 1 0 8.4M8.5 23.5a10.6 10.6 0 0 1 0-15M23.5 8.5a10.6 10.6 0 0 1 0 15M16 16h.01',
  );
  for (const [name, value] of [
    ['fill', 'none'],
    ['stroke', 'currentColor'],
    ['stroke-width', '1.6'],
    ['stroke-linecap', 'round'],
  ] as const) {
    path.setAttribute(name, value);
  }
  svg.append(path);
  return svg;
}

function watching(viewers: number | null): string {
  return viewers === null || viewers < 1 ? '' : `${viewers} watching`;
}

/** A steady colour per broadcast, so that the cards tell each other apart. */
function hue(id: string): number {
  let sum = 0;
  for (const character of id) sum = (sum * 31 + character.charCodeAt(0)) % 9973;
  // The golden angle keeps neighbours apart.
  return Math.round(sum * 137.5) % 360;
}

function setIngest(address: string): void {
  element('ingest').textContent = address;
}

async function copyIngest(): Promise<void> {
  const button = element('copy');
  try {
    await navigator.clipboard.writeText(element('ingest').textContent ?? '');
    button.textContent = 'Copied';
  } catch {
    // Plain http pages have no clipboard: select the text instead.
    getSelection()?.selectAllChildren(element('ingest'));
    button.textContent = 'Selected';
  }
  window.setTimeout(() => {
    button.textContent = 'Copy';
  }, 1_500);
}

function make<K extends keyof HTMLElementTagNameMap>(tag: K, name: string): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  made.className = name;
  return made;
}

function element(name: string): HTMLElement {
  const found = document.getElementById(name);
  if (found === null) throw new Error(`index.html has no #${name}`);
  return found;
}
