/** The page at `/publish`: camera or screen of this browser as a live input, over MoQ. */
import { type Address, Refused } from '../moq/session';
import { copyText } from '../shared/copy';
import { type Chosen, list, Meter, open, type Picture, withMicrophone, words } from './devices';
import { supported } from './encode';
import { type Key, makeLink, onlyHere, readLink } from './link';
import { Publisher, type PublisherEvents } from './publisher';
import { qrCode } from './qr';

const LOOK_EVERY_MS = 100;
const LINE_EVERY_MS = 1_000;
/** A connection that broke is tried again so often; an input waits 15 s for its encoder. */
const AGAIN_MS = [500, 1_000, 2_000, 4_000, 8_000];
/** Who has been with a server for so long was not sent to and fro. */
const STAYED_MS = 30_000;
/** An answer that is worth waiting for, where there is a reason to think that there is none. */
const STILL_THERE_MS = 2_000;
const QUIET_MODULES = 4;

const SCREEN_ENDED = 'The screen is not shown any more; sound goes on. Choose a camera or a screen, or stop.';
const CAMERA_ENDED = 'The camera is gone: plug it in again, or choose another one.';
const HELD_BACK = 'No picture comes at the moment: the system or another program holds it back.';

let picture: Picture = 'camera';
let stream: MediaStream | null = null;
/** Choices of what to send are numbered, as they may open in another order; and the one of them that `stream` is. */
let choices = 0;
let taken = 0;
let publisher: Publisher | null = null;
/** Where the server has sent us. */
let movedTo: Address | null = null;
let movedAtMs = Number.NEGATIVE_INFINITY;
/** A connection is being made: one more is not tried when an older one is lost. */
let connecting = false;
let retryTimer = 0;
/** Since when somebody wants to be live; null: not. */
let liveSinceMs: number | null = null;
let again = 0;
let sentBefore = { bytes: 0, frames: 0 };
let awake: WakeLockSentinel | null = null;
const meter = new Meter();

start();

function start(): void {
  const key = readLink(location.hash);
  field('input').value = key.input;
  field('key').value = key.key;
  // The key is out of the address bar, where others might read it.
  if (key.key !== '') history.replaceState(null, '', location.pathname);
  if (!window.isSecureContext) return refuse('Browsers give camera and microphone to pages over HTTPS only. Open this page over HTTPS.');
  if (!supported()) return refuse('This browser can’t broadcast from a page (it lacks WebTransport or WebCodecs). Chrome and Edge can.');
  element('go').addEventListener('click', () => void (liveSinceMs === null ? goLive() : stop()));
  for (const kind of ['camera', 'screen'] as const) element(kind).addEventListener('click', () => void choose(kind));
  // The dialog that asks for a screen is for who wants another one.
  element('cameras').addEventListener('change', () => void (picture === 'camera' && choose(picture)));
  element('microphones').addEventListener('change', () => void (picture === 'camera' ? choose(picture) : chooseMicrophone()));
  navigator.mediaDevices.addEventListener('devicechange', () => void onDevices());
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) return;
    void keepAwake();
    // While the page was away nobody looked.
    void publisher?.look(STILL_THERE_MS);
  });
  window.addEventListener('online', onOnline);
  window.addEventListener('offline', () => void publisher?.look(STILL_THERE_MS));
  element<HTMLDetailsElement>('phone').addEventListener('toggle', showCode);
  for (const name of ['input', 'key']) field(name).addEventListener('input', showCode);
  element('copy').addEventListener('click', () => void copyLink());
  window.setInterval(() => {
    element<HTMLMeterElement>('level').value = meter.level();
  }, LOOK_EVERY_MS);
  window.setInterval(showLine, LINE_EVERY_MS);
  void choose('camera');
}

function refuse(reason: string): void {
  say(reason);
  for (const name of ['go', 'camera', 'screen']) element<HTMLButtonElement>(name).disabled = true;
}

async function choose(kind: Picture): Promise<void> {
  // What is in them may be gone.
  if (shown()?.readyState === 'ended') await lists();
  const chosen: Chosen = { picture: kind, camera: element<HTMLSelectElement>('cameras').value, microphone: element<HTMLSelectElement>('microphones').value };
  const choice = ++choices;
  let opened: MediaStream;
  try {
    opened = await open(chosen);
  } catch (error) {
    return say(words(error));
  }
  if (choice < taken) return letGo(opened.getTracks());
  say('');
  picture = kind;
  taken = choice;
  take(opened);
  for (const name of ['camera', 'screen'] as const) element(name).setAttribute('aria-pressed', String(name === kind));
  const [track] = opened.getVideoTracks();
  track?.addEventListener('ended', () => void (track === shown() && replaceEnded()));
  track?.addEventListener('mute', () => void (track === shown() && say(HELD_BACK)));
  track?.addEventListener('unmute', () => void (track === shown() && said() === HELD_BACK && say('')));
  await lists();
}

function shown(): MediaStreamTrack | undefined {
  return stream?.getVideoTracks()[0];
}

/**
 * A camera was unplugged: another one may be there, or the same again. Who stopped sharing in the browser's own bar while he was live
 * has not asked for his camera.
 */
async function replaceEnded(): Promise<void> {
  if (picture === 'camera' || liveSinceMs === null) await choose('camera');
  if (missing() !== '') say(missing());
}

async function onDevices(): Promise<void> {
  if (shown()?.readyState === 'ended') await replaceEnded();
  else await lists();
}

/** What is to be said of what is sent. */
function missing(): string {
  if (shown()?.readyState !== 'ended') return '';
  if (picture === 'camera') return CAMERA_ENDED;
  return liveSinceMs === null ? '' : SCREEN_ENDED;
}

/** Beside the screen that is shown. */
async function chooseMicrophone(): Promise<void> {
  const before = stream;
  if (before === null) return;
  const choice = ++choices;
  let opened: MediaStream | null;
  try {
    opened = await withMicrophone(before, element<HTMLSelectElement>('microphones').value);
  } catch (error) {
    return say(words(error));
  }
  if (opened === null) return;
  const isShown = stream?.getVideoTracks()[0] === before.getVideoTracks()[0];
  if (choice < taken || !isShown) return letGo(opened.getAudioTracks());
  taken = choice;
  take(opened);
}

function letGo(tracks: MediaStreamTrack[]): void {
  for (const track of tracks) track.stop();
}

/** Shown and sent from now on; what nobody needs any more is let go. */
function take(opened: MediaStream): void {
  const kept = opened.getTracks();
  letGo((stream?.getTracks() ?? []).filter((track) => !kept.includes(track)));
  stream = opened;
  element<HTMLVideoElement>('preview').srcObject = opened;
  meter.watch(opened);
  publisher?.replace(opened);
}

async function lists(): Promise<void> {
  await list('videoinput', element<HTMLSelectElement>('cameras'), 'No camera');
  await list('audioinput', element<HTMLSelectElement>('microphones'), 'No microphone');
}

async function goLive(): Promise<void> {
  say('');
  if (keyOf().input === '' || keyOf().key === '') return say('Input and stream key are needed: the dashboard has both.');
  if (stream === null) return say('There is no picture yet.');
  liveSinceMs = Date.now();
  movedTo = null;
  movedAtMs = Number.NEGATIVE_INFINITY;
  again = 0;
  window.addEventListener('beforeunload', askToStay);
  void keepAwake();
  await connect();
}

/** Who leaves ends the broadcast, and the key is in this page alone: it is not kept where others of this browser find it. */
function askToStay(event: BeforeUnloadEvent): void {
  event.preventDefault();
}

/** While it is live: a phone that locks its screen takes the camera away. Browsers let go of it with the page. */
async function keepAwake(): Promise<void> {
  if (!('wakeLock' in navigator)) return;
  if (liveSinceMs !== null && awake?.released !== false) awake = await navigator.wakeLock.request('screen').catch(() => null);
  if (liveSinceMs === null) await awake?.release();
}

async function connect(): Promise<void> {
  window.clearTimeout(retryTimer);
  show();
  if (stream === null || liveSinceMs === null) return;
  const { input, key } = keyOf();
  // Much may happen before the start is known here.
  const early: { told: ((made: Publisher) => void)[]; to?: Address } = { told: [] };
  connecting = true;
  try {
    const place = (await (await fetch('/moq.json')).json()) as { port: number; account: string; certificate: string | null } | null;
    if (place === null) throw new Error('This server does not take MoQ: its QUIC listener is off.');
    const own = { url: `https://${location.hostname}:${place.port}/${encodeURIComponent(key)}`, certificate: place.certificate };
    let started: Publisher | null = null;
    const told = (what: (made: Publisher) => void) => {
      if (started === null) early.told.push(what);
      else what(started);
    };
    const events: PublisherEvents = {
      onError: (words) => told((made) => failed(made, words)),
      onSilent: (words) => told((made) => void (made === publisher && say(words))),
      onLost: () => told(lost),
      onMoved: (to) => {
        if (started === null) early.to = to;
        told((made) => move(made, to));
      },
    };
    const taken = stream;
    const made = await Publisher.start(movedTo ?? own, [place.account, input], taken, events);
    started = made;
    connecting = false;
    if (liveSinceMs === null) return await made.stop();
    // Another camera meanwhile.
    if (stream !== taken) made.replace(stream);
    // Where we were: it goes on there until it goes on here.
    const before = publisher;
    publisher = made;
    void before?.stop();
    sentBefore = { bytes: 0, frames: 0 };
    if (stayed()) again = 0;
    say(missing());
    show();
    for (const what of early.told) what(made);
  } catch (error) {
    connecting = false;
    // Refused by who is going away, or cut off: that says nothing of the key.
    if (early.to !== undefined) return follow(early.to);
    const elsewhere = movedTo !== null;
    movedTo = null;
    if (error instanceof Refused && !elsewhere) return fail(error.refusal.reason || 'The server does not know this input and key.');
    retry(error instanceof Error ? error.message : 'The server does not answer.');
  }
}

/** The server asks to go on elsewhere. */
function move(from: Publisher, to: Address): void {
  if (publisher === from) follow(to);
}

/** At once, where it had stayed for a while; else ever more slowly: two servers may send it to each other. */
function follow(to: Address): void {
  const atOnce = stayed();
  movedTo = to;
  movedAtMs = performance.now();
  if (!atOnce) return retry('The server asks to go elsewhere.');
  again = 0;
  void connect();
}

function stayed(): boolean {
  return performance.now() - movedAtMs >= STAYED_MS;
}

/** The connection ended, and nobody had asked for it. */
function lost(ended: Publisher): void {
  if (publisher !== ended) return;
  ended.abandon();
  publisher = null;
  if (connecting) show();
  else retry('The connection was lost.');
}

/** It can't go on there, and nobody had asked for that. */
function failed(from: Publisher, reason: string): void {
  if (publisher !== from) return;
  if (!connecting) return fail(reason);
  // It goes on elsewhere, or that place says why not.
  publisher = null;
  void from.stop();
  show();
}

/** Nobody waits for the next try any more. */
function onOnline(): void {
  if (publisher !== null) return void publisher.look(STILL_THERE_MS);
  if (liveSinceMs === null || connecting) return;
  again = 0;
  void connect();
}

function retry(reason: string): void {
  if (liveSinceMs === null) return;
  say(`${reason} Trying again…`);
  const afterMs = AGAIN_MS[Math.min(again++, AGAIN_MS.length - 1)];
  window.clearTimeout(retryTimer);
  retryTimer = window.setTimeout(() => void connect(), afterMs);
  show();
}

function fail(reason: string): void {
  say(reason);
  void stop();
}

async function stop(): Promise<void> {
  window.clearTimeout(retryTimer);
  liveSinceMs = null;
  window.removeEventListener('beforeunload', askToStay);
  void keepAwake();
  const ending = publisher;
  publisher = null;
  show();
  await ending?.stop();
}

function show(): void {
  const live = publisher !== null;
  element('badge').hidden = !live;
  const go = element<HTMLButtonElement>('go');
  go.textContent = liveSinceMs === null ? 'Go live' : 'Stop';
  go.toggleAttribute('data-live', liveSinceMs !== null);
  for (const name of ['input', 'key']) field(name).disabled = liveSinceMs !== null;
  const watch = element<HTMLAnchorElement>('watch');
  watch.hidden = !live;
  watch.href = `/${encodeURIComponent(keyOf().input)}/watch`;
  showLine();
}

function showLine(): void {
  const line = element('line');
  if (liveSinceMs === null) line.textContent = '';
  else if (publisher === null) line.textContent = 'Connecting…';
  else {
    const { bytes, frames, dropped } = publisher.sent;
    const seconds = Math.floor((Date.now() - liveSinceMs) / 1000);
    const clock = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
    const rate = ((bytes - sentBefore.bytes) * 8) / 1_000_000;
    const lost = dropped > 0 ? ` · ${dropped} frames left out` : '';
    line.textContent = `Live for ${clock} · ${publisher.description} · ${frames - sentBefore.frames} frames/s · ${rate.toFixed(1)} Mbit/s${lost}`;
    sentBefore = { bytes, frames };
  }
}

function keyOf(): Key {
  return { input: field('input').value.trim(), key: field('key').value.trim() };
}

function showCode(): void {
  const target = element('code');
  const key = keyOf();
  if (!element<HTMLDetailsElement>('phone').open) return;
  const link = makeLink(location.href, key);
  const code = key.input === '' || key.key === '' ? null : qrCode(link);
  target.replaceChildren(...(code === null ? [] : [picturesque(code)]));
  element('phone-words').textContent =
    key.input === '' || key.key === ''
      ? 'Enter input and stream key first.'
      : onlyHere(location.href)
        ? 'A phone can’t open this address: open this page by the name or address that this machine has in your network.'
        : 'Whoever has this code can broadcast here, as you can.';
}

function picturesque(code: boolean[][]): SVGSVGElement {
  const size = code.length + 2 * QUIET_MODULES;
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', `0 0 ${size} ${size}`);
  svg.setAttribute('role', 'img');
  svg.setAttribute('aria-label', 'QR code of the link that lets a phone broadcast here');
  svg.setAttribute('shape-rendering', 'crispEdges');
  const shape = (name: string, attributes: Record<string, string>) => {
    const made = document.createElementNS('http://www.w3.org/2000/svg', name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    svg.append(made);
  };
  shape('rect', { width: String(size), height: String(size), fill: '#fff' });
  const path = code.flatMap((row, y) => row.flatMap((dark, x) => (dark ? [`M${x + QUIET_MODULES} ${y + QUIET_MODULES}h1v1h-1z`] : [])));
  shape('path', { d: path.join(''), fill: '#000' });
  return svg;
}

async function copyLink(): Promise<void> {
  element('copied').textContent = (await copyText(makeLink(location.href, keyOf()))) ? 'Copied' : 'Not copied';
}

function say(reason: string): void {
  element('error').textContent = reason;
}

function said(): string {
  return element('error').textContent;
}

function field(name: string): HTMLInputElement {
  return element<HTMLInputElement>(name);
}

function element<T extends HTMLElement = HTMLElement>(name: string): T {
  const found = document.getElementById(name);
  if (found === null) throw new Error(`publish.html has no #${name}`);
  return found as T;
}
