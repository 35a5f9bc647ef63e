/** The page at `/ID/watch`: the first path segment is a live input, a video or a signed token. */
import type { Chat, Watched } from '../chat';
import '../player';
import { clipLengthS, clipList, clipOf } from '../shared/clip-link';
import { copyText } from '../shared/copy';
import { embedCode } from '../shared/embed';
import { fetchLifecycle, fetchViewers } from '../player/server';
import type { Lifecycle } from '../player/session';
import { addressed, moqPlace } from '../player/source';
import { ClipPanel } from './clip';
import { element } from './page';
import { playClip } from './shared-clip';
import { line, rows } from './text';

const VIEWERS_EVERY_MS = 10_000;
const NUMBERS_EVERY_MS = 500;
const COPIED_FOR_MS = 1_500;

const id = location.pathname.split('/')[1] ?? '';
const player = document.createElement('airwave-player');
const clip = clipOf(location.search);
const clips = new ClipPanel(id, player);
let viewers: number | null = null;
let lifecycle: Lifecycle | null = null;
let chat: Promise<Chat> | null = null;

start();

function start(): void {
  // A clip's own address has no lifecycle to ask; the broadcast's has its name.
  player.setAttribute('src', clip === null ? decodeURIComponent(id) : clipList(id, clip));
  if (clip !== null) player.setAttribute('clip', String(clipLengthS(clip)));
  player.setAttribute('autoplay', '');
  if (new URLSearchParams(location.search).get('dvrEnabled') === 'true') player.setAttribute('dvr', '');
  player.addEventListener('airwave-lifecycle', (event) =>
    onLifecycle((event as CustomEvent<Lifecycle>).detail),
  );
  player.addEventListener('airwave-state', () => {
    const nothing = lifecycle === null && player.stats.state === 'stopped';
    if (nothing) entitle('Nothing to watch here');
    element('share').hidden = nothing;
    showLine();
    followChat();
  });
  document.addEventListener('keydown', onKey);
  if (clip === null) element('stage').append(player);
  else showClip(clip);
  window.setInterval(showNumbers, NUMBERS_EVERY_MS);
  window.setInterval(() => void countViewers(), VIEWERS_EVERY_MS);
  // Once the picture runs; a first count with the picture on is the honest one.
  window.setTimeout(() => void countViewers(), 2_500);
  offer('copy-link', () => location.href);
  offer('copy-embed', () => embedCode(location.origin, decodeURIComponent(id), lifecycle?.name ?? '', clip));
  suggestHttps();
}

function showClip(query: string): void {
  playClip(id, query, () => element('stage').replaceChildren(player));
  void fetchLifecycle('', id).then(onLifecycle, () => entitle('There is no such clip'));
}

function offer(name: string, text: () => string): void {
  const button = element(name);
  const label = button.textContent;
  button.addEventListener('click', () => {
    void copyText(text()).then((copied) => {
      const said = copied ? 'Copied' : 'Not copied';
      button.textContent = said;
      element('copied').textContent = said;
      window.setTimeout(() => {
        button.textContent = label;
        element('copied').textContent = '';
      }, COPIED_FOR_MS);
    });
  });
}

function onLifecycle(answer: Lifecycle): void {
  lifecycle = answer;
  const whole = answer.name ?? (answer.isInput ? 'Live broadcast' : 'Recording');
  const name = clip === null ? whole : `Clip of ${whole}`;
  entitle(name);
  // Of a clip there are none.
  if (clip === null) clips.follow(answer);
  document.title = `${name} · Airwave`;
  showLine();
  followChat();
}

/** Loaded where there is a chat, or was. */
function followChat(): void {
  const watched = whatIsSaid();
  if (chat === null && watched.kind === 'nothing') return;
  chat ??= import('../chat').then(({ Chat }) => new Chat(element('stage').parentElement ?? document.body, () => player.stats.playingAtMs));
  void chat.then((loaded) => loaded.follow(watched));
}

function whatIsSaid(): Watched {
  const { state, videoUID } = player.stats;
  if (clip !== null || lifecycle?.chat !== true) return { kind: 'nothing' };
  if (state === 'replay') return { kind: 'replay', http: `/${addressed(id, videoUID)}` };
  if (!lifecycle.live || state === 'stopped') return { kind: 'nothing' };
  const moq = moqPlace({ kind: 'id', server: '', id }, lifecycle.moq, location.href);
  return { kind: 'live', place: { http: `/${id}`, moq } };
}

function entitle(words: string): void {
  const title = element('title');
  title.textContent = words;
  title.hidden = false;
}

function showLine(): void {
  const text = clip === null ? line(player.stats, lifecycle, viewers) : '';
  const target = element('line');
  if (target.textContent !== text) target.textContent = text;
}

async function countViewers(): Promise<void> {
  if (document.hidden || player.stats.state !== 'live') return;
  viewers = await fetchViewers('', id);
  showLine();
}

function showNumbers(): void {
  if (!element<HTMLDetailsElement>('stats').open) return;
  element('numbers').replaceChildren(
    ...rows(player.stats).map(([name, value]) => {
      const row = document.createElement('div');
      const term = document.createElement('dt');
      const number = document.createElement('dd');
      term.textContent = name;
      number.textContent = value;
      row.append(term, number);
      return row;
    }),
  );
}

function onKey(event: KeyboardEvent): void {
  if (event.shiftKey && event.key.toLowerCase() === 'd') {
    const panel = element<HTMLDetailsElement>('stats');
    panel.open = !panel.open;
    showNumbers();
    if (panel.open) panel.scrollIntoView({ block: 'nearest' });
    return;
  }
  player.handleKey(event);
}

/** Browsers give WebTransport, WebCodecs and the camera to secure pages only. */
function suggestHttps(): void {
  if (window.isSecureContext) return;
  const hint = element('https');
  hint.hidden = false;
  hint.textContent =
    'This page came over plain HTTP, so it plays low-latency HLS. Over HTTPS, browsers also offer delivery with even less delay.';
}

window.airwave = { player, stats: () => player.stats };
