/** The page at `/`: what is on the air, or how to get there; the dashboard for those who signed in. */
import { Failed } from '../dashboard/api';
import { currentSession, type Session, signIn, signOut } from '../dashboard/session';
import { takeToken } from '../dashboard/token';
import { copyText } from '../shared/copy';
import { hue } from '../shared/hue';
import { type Broadcast, parseBroadcasts, since, summary } from './broadcasts';
import { SignIn } from './sign-in';

const POLL_MS = 5_000;
let shown = '';
let signedIn = false;
let started = false;
const dialog = new SignIn((session) => enter(session));

void start();

async function start(): Promise<void> {
  element('copy').addEventListener('click', () => void copyIngest());
  // A link that was pasted into this very tab changes the address without loading the page.
  window.addEventListener('hashchange', () => {
    const token = takeToken(location, history);
    if (token !== null) void enterBy(token);
  });
  const token = takeToken(location, history);
  if (token !== null) return enterBy(token);
  const session = await currentSession();
  if (session === null) showPublic();
  else enter(session);
}

/** By a link: whoever is refused reads why, and may try another token. */
async function enterBy(token: string): Promise<void> {
  try {
    const session = await signIn(token);
    if (signedIn) location.reload();
    else enter(session);
  } catch (error) {
    if (!(error instanceof Failed)) throw error;
    if (signedIn) return;
    showPublic();
    dialog.open(error.message);
  }
}

function enter(session: Session): void {
  signedIn = true;
  show('dashboard');
  const target = element('dashboard');
  void import('../dashboard/main').then(({ openDashboard }) => {
    element('sign-out').onclick = openDashboard(target, session, (words) => {
      signedIn = false;
      void signOut(session);
      showPublic();
      if (words !== '') dialog.open(words);
      else element('sign-in').focus();
    });
  });
}

function showPublic(): void {
  show('public');
  if (started) return;
  started = true;
  setIngest(`rtmp://${location.hostname}:1935/live/`);
  void refresh();
}

function show(what: 'public' | 'dashboard'): void {
  element('public').hidden = what !== 'public';
  element('dashboard').hidden = what !== 'dashboard';
  element('sign-in').hidden = what !== 'public';
  element('sign-out').hidden = what !== 'dashboard';
}

async function refresh(): Promise<void> {
  if (!document.hidden && !signedIn) {
    try {
      const response = await fetch('/live.json', { cache: 'no-store', signal: AbortSignal.timeout(8_000) });
      if (!response.ok) throw new Error(String(response.status));
      const { broadcasts, ingest } = parseBroadcasts(await response.json());
      if (ingest !== null) setIngest(ingest);
      showBroadcasts(broadcasts);
    } catch {
      element('summary').textContent = 'The server does not answer. Trying again every few seconds.';
    }
  }
  window.setTimeout(() => void refresh(), POLL_MS);
}

function showBroadcasts(broadcasts: Broadcast[]): void {
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

function setIngest(address: string): void {
  element('ingest').textContent = address;
}

async function copyIngest(): Promise<void> {
  const button = element('copy');
  button.textContent = (await copyText(element('ingest').textContent ?? '')) ? 'Copied' : 'Not copied';
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
