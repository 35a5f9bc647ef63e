/** The page at `/ID/iframe`: the player alone, steered by its query and by the page around it. */
import '../player';
import { fetchLifecycle } from '../player/server';
import type { Lifecycle } from '../player/session';
import { clipLengthS, clipList, clipOf } from '../shared/clip-link';
import { Bridge, ranges, type Steered } from './bridge';
import { computedColour, inkOn, isColour } from './colours';
import { parseOptions, parsePreload, pictureUrl } from './options';

const player = document.createElement('airwave-player');
/** What the player has no place for: told back as it was set. */
const kept: { primaryColor: string | null; letterboxColor: string | null; adUrl: string | null } = {
  primaryColor: null,
  letterboxColor: null,
  adUrl: null,
};

const steered: Steered = {
  video: player.video,
  properties() {
    const { video, screen, currentTime, duration } = player;
    const shown = { video: screen, currentTime, duration };
    return {
      ...kept,
      autoplay: player.hasAttribute('autoplay'),
      buffered: ranges(video.buffered, shown),
      controls: !player.hasAttribute('bare'),
      currentTime,
      defaultTextTrack: player.getAttribute('captions'),
      duration,
      ended: player.ended,
      loop: player.hasAttribute('loop'),
      muted: video.muted,
      paused: screen.paused,
      playbackRate: player.playbackRate,
      played: ranges(video.played, shown),
      poster: player.getAttribute('poster'),
      preload: parsePreload(player.getAttribute('preload')),
      src: player.getAttribute('src') ?? '',
      videoHeight: video.videoHeight,
      videoWidth: video.videoWidth,
      volume: video.volume,
    };
  },
  play: () => player.play(),
  pause: () => player.pause(),
  set,
};

start();

function start(): void {
  const options = parseOptions(new URLSearchParams(location.search));
  for (const name of ['autoplay', 'muted', 'loop', 'dvr'] as const) player.toggleAttribute(name, options[name]);
  player.toggleAttribute('bare', !options.controls);
  player.setAttribute('preload', options.preload);
  attribute('poster', options.poster);
  attribute('captions', options.defaultTextTrack);
  attribute('bandwidth', options.clientBandwidthHint);
  if (options.startS > 0) player.setAttribute('start', String(options.startS));
  kept.adUrl = options.adUrl;
  paint('primaryColor', options.primaryColor);
  paint('letterboxColor', options.letterboxColor);
  const id = location.pathname.split('/')[1] ?? '';
  const clip = clipOf(location.search);
  if (clip !== null) player.setAttribute('clip', String(clipLengthS(clip)));
  player.setAttribute('src', clip === null ? decodeURIComponent(id) : clipList(id, clip));
  player.addEventListener('airwave-lifecycle', (event) => onLifecycle((event as CustomEvent<Lifecycle>).detail));
  // A clip's own address has no lifecycle to ask; the broadcast's has its name.
  if (clip !== null) void fetchLifecycle('', id).then((whole) => entitle(`Clip of ${nameOf(whole)}`), () => undefined);
  document.addEventListener('keydown', (event) => player.handleKey(event));
  document.getElementById('stage')?.append(player);
  const bridge = new Bridge(steered);
  player.addEventListener('airwave-state', (event) => {
    const { state } = (event as CustomEvent<{ state: string }>).detail;
    if (state === 'stopped') bridge.tell('error');
  });
  player.addEventListener('airwave-remote', (event) => bridge.tell((event as CustomEvent<string>).detail));
  window.airwave = { player, stats: () => player.stats };
}

function onLifecycle(whole: Lifecycle): void {
  entitle(nameOf(whole));
}

function nameOf({ name, isInput }: Lifecycle): string {
  return name ?? (isInput ? 'Live broadcast' : 'Recording');
}

function entitle(title: string): void {
  document.title = title;
  const heading = document.getElementById('title');
  if (heading !== null) heading.textContent = title;
}

function set(name: string, value: unknown): void {
  const number = typeof value === 'number' && Number.isFinite(value) ? value : null;
  const text = typeof value === 'string' && value !== '' ? value : null;
  switch (name) {
    case 'autoplay':
    case 'loop':
      player.toggleAttribute(name, value === true);
      return;
    case 'controls':
      player.toggleAttribute('bare', value !== true);
      return;
    case 'muted':
      player.muted = value === true;
      return;
    case 'currentTime':
      if (number !== null) player.currentTime = number;
      return;
    case 'playbackRate':
      if (number !== null) player.playbackRate = number;
      return;
    case 'volume':
      if (number !== null) player.volume = number;
      return;
    case 'src':
      if (text === null) return;
      player.removeAttribute('clip');
      player.setAttribute('src', text);
      return;
    case 'preload':
      player.setAttribute('preload', parsePreload(typeof value === 'boolean' ? String(value) : text));
      return;
    case 'poster':
      attribute('poster', pictureUrl(text));
      return;
    case 'defaultTextTrack':
      attribute('captions', text);
      return;
    case 'primaryColor':
    case 'letterboxColor':
      paint(name, text);
      return;
    case 'adUrl':
      kept.adUrl = text;
  }
}

function attribute(name: string, value: string | null): void {
  if (value === null) player.removeAttribute(name);
  else player.setAttribute(name, value);
}

function paint(name: 'primaryColor' | 'letterboxColor', value: string | null): void {
  const colour = value !== null && isColour(value) ? value : null;
  kept[name] = colour;
  const variable = (property: string, to: string | null) => {
    if (to === null) player.style.removeProperty(property);
    else player.style.setProperty(property, to);
  };
  if (name === 'letterboxColor') return variable('--letterbox', colour);
  variable('--accent', colour);
  variable('--accent-ink', colour === null ? null : inkOn(computedColour(colour)));
}
