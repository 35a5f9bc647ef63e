/** Both ends of the protocol between a page and the player in its iframe, over windows that are stand-ins. */
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Bridge, type Steered } from '../src/embed/bridge';
import { stream } from '../src/sdk/player';
import { unknown } from '../src/sdk/protocol';

const PAGE = 'https://page.example';
const PLAYER = 'https://live.example';

/** A window: what is posted to it arrives as events, if the sender named its origin or `*`. */
class FakeWindow extends EventTarget {
  refused: unknown[] = [];
  received: unknown[] = [];

  constructor(readonly origin: string) {
    super();
  }

  deliver(data: unknown, target: string, source: unknown, origin: string): void {
    if (target !== '*' && target !== this.origin) return void this.refused.push(data);
    this.received.push(data);
    this.dispatchEvent(Object.assign(new Event('message'), { data: structuredClone(data), source, origin }));
  }
}

/** `to` as `from` sees it: with a `postMessage` that says who posted. */
function seenBy(from: FakeWindow, to: FakeWindow) {
  return { postMessage: (data: unknown, target: string) => to.deliver(data, target, views.get(from), from.origin) };
}

const views = new Map<FakeWindow, unknown>();
let page: FakeWindow;
let frame: FakeWindow;
let iframe: HTMLIFrameElement & EventTarget;
let told: [string, unknown][];
let steered: Steered & { video: EventTarget; properties(): typeof unknown };
let playing: () => Promise<void>;
let properties = { ...unknown };

beforeEach(() => {
  page = new FakeWindow(PAGE);
  frame = new FakeWindow(PLAYER);
  // What stands in `event.source`: the sender as the receiver knows it.
  views.set(page, seenBy(frame, page)).set(frame, seenBy(page, frame));
  iframe = Object.assign(new EventTarget(), { src: `${PLAYER}/ID/iframe`, contentWindow: views.get(frame) }) as never;
  told = [];
  playing = () => Promise.resolve();
  properties = { ...unknown, src: 'ID', duration: 12, paused: true, buffered: [[1, 5]], played: [] };
  steered = {
    video: new EventTarget() as never,
    properties: () => properties,
    set: (name: string, value: unknown) => void told.push([name, value]),
    play: () => playing(),
    pause: () => void told.push(['pause', null]),
  };
  vi.stubGlobal('location', { href: `${PAGE}/index.html` });
});
afterEach(() => vi.unstubAllGlobals());

function startPage() {
  vi.stubGlobal('window', page);
  return stream(iframe);
}

function startPlayer() {
  vi.stubGlobal('window', frame);
  return new Bridge(steered, views.get(page) as Window);
}

const settled = () => new Promise((resolve) => queueMicrotask(() => queueMicrotask(() => resolve(null))));

it.each(['page first', 'player first'])('they find each other: %s', (order) => {
  if (order === 'player first') startPlayer();
  const player = startPage();
  if (order === 'page first') startPlayer();
  expect(player.duration).toBe(12);
  expect(player.src).toBe('ID');
  expect([player.buffered.length, player.buffered.start(0), player.buffered.end(0)]).toEqual([1, 1, 5]);
  expect(() => player.played.end(0)).toThrow('0 ranges');
  expect(player.poster).toBeUndefined();
});

it('what is said before the player is there arrives later', async () => {
  const player = startPage();
  player.volume = 0.2;
  player.volume = 0.5;
  player.muted = true;
  const started = player.play();
  expect(player.volume).toBe(0.5);
  expect(told).toEqual([]);
  startPlayer();
  await started;
  expect(told).toEqual([
    ['volume', 0.5],
    ['muted', true],
  ]);
});

it('events come with the properties of their moment', () => {
  startPlayer();
  const player = startPage();
  const seen: [string, number][] = [];
  const listener = ({ type }: Event) => void seen.push([type, player.currentTime]);
  for (const name of ['timeupdate', 'seeked']) player.addEventListener(name, listener);
  properties = { ...properties, currentTime: 3 };
  steered.video.dispatchEvent(new Event('timeupdate'));
  properties = { ...properties, currentTime: 4 };
  steered.video.dispatchEvent(new Event('seeked'));
  player.removeEventListener('seeked', listener);
  steered.video.dispatchEvent(new Event('seeked'));
  expect(seen).toEqual([
    ['timeupdate', 3],
    ['seeked', 4],
  ]);
});

it('a refusal to play is a rejection with its name', async () => {
  startPlayer();
  const player = startPage();
  playing = () => Promise.reject(new DOMException('a click is needed', 'NotAllowedError'));
  await expect(player.play()).rejects.toMatchObject({ name: 'NotAllowedError', message: 'a click is needed' });
});

it('pause, and one object for one iframe', async () => {
  startPlayer();
  const player = startPage();
  player.pause();
  await settled();
  expect(told).toEqual([['pause', null]]);
  expect(stream(iframe)).toBe(player);
});

it('the player obeys nobody but the page that holds it and said hello', () => {
  startPlayer();
  const set = { airwave: 1, kind: 'set', name: 'muted', value: true };
  const stranger = { postMessage: vi.fn() };
  // Another window, before and after the hello of the page.
  frame.deliver({ airwave: 1, kind: 'hello' }, '*', stranger, 'https://evil.example');
  frame.deliver(set, '*', stranger, PAGE);
  // The page, without hello.
  frame.deliver(set, '*', views.get(page), PAGE);
  startPage();
  frame.deliver(set, '*', stranger, PAGE);
  // What the page has become after it went elsewhere.
  frame.deliver(set, '*', views.get(page), 'https://evil.example');
  expect(told).toEqual([]);
  expect(stranger.postMessage).not.toHaveBeenCalled();
  frame.deliver(set, '*', views.get(page), PAGE);
  expect(told).toEqual([['muted', true]]);
});

it('the player tells its state to the origin that said hello alone', () => {
  startPlayer();
  startPage();
  const before = page.received.length;
  // The page went elsewhere; its window is the same.
  Object.defineProperty(page, 'origin', { value: 'https://evil.example' });
  steered.video.dispatchEvent(new Event('timeupdate'));
  expect(page.received.length).toBe(before);
  expect(page.refused).toHaveLength(1);
});

it.each([
  ['another origin', () => [views.get(frame), 'https://evil.example']],
  ['another window', () => [{ postMessage: () => undefined }, PLAYER]],
])('the page does not believe %s', (_who, sender) => {
  startPlayer();
  const player = startPage();
  const [source, origin] = sender();
  const lie = { airwave: 1, kind: 'state', properties: { ...unknown, duration: 99 } };
  page.deliver(lie, '*', source, origin as string);
  expect(player.duration).toBe(12);
  page.deliver(lie, '*', views.get(frame), PLAYER);
  expect(player.duration).toBe(99);
});

it.each([
  null,
  'hello',
  { kind: 'hello' },
  { airwave: 1 },
  { airwave: 1, kind: 'set', name: 'innerHTML', value: '<b>' },
  { airwave: 1, kind: 'set', name: 'constructor', value: 1 },
  { airwave: 1, kind: 'call', call: 'x', method: 'play' },
  { airwave: 1, kind: 'call', call: 1, method: 'destroy' },
])('nonsense changes nothing: %j', (data) => {
  startPlayer();
  startPage();
  const before = page.received.length;
  frame.deliver(data, '*', views.get(page), PAGE);
  expect(told).toEqual([]);
  expect(page.received.length).toBe(before);
});

it('a new document in the frame is greeted again', () => {
  startPlayer();
  const player = startPage();
  frame = new FakeWindow(PLAYER);
  views.set(page, seenBy(frame, page)).set(frame, seenBy(page, frame));
  Object.assign(iframe, { contentWindow: views.get(frame) });
  properties = { ...properties, src: 'OTHER' };
  startPlayer();
  expect(player.src).toBe('OTHER');
});

it('an advertisement does not come, and who waits for it is told at once', async () => {
  const adUrl = 'https://ads.example/vast';
  const properties = { ...steered.properties(), adUrl: adUrl as string | null };
  steered = { ...steered, properties: () => properties, set: (name, value) => void (name === 'adUrl' && Object.assign(properties, { adUrl: value })) };
  const player = startPage();
  const heard: string[] = [];
  for (const name of ['stream-adtimeout', 'stream-adstart', 'stream-adend']) player.addEventListener(name, () => heard.push(name));
  startPlayer();
  await settled();
  expect(heard).toEqual(['stream-adtimeout']);
  // A component sets what stands in the address already, and everything else.
  player.adUrl = adUrl;
  player.volume = 0.5;
  await settled();
  expect(heard).toHaveLength(1);
  player.adUrl = `${adUrl}?2`;
  await settled();
  expect(heard).toEqual(['stream-adtimeout', 'stream-adtimeout']);
});
