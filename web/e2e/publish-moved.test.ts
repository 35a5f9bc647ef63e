// @vitest-environment happy-dom
/** The publisher page, when the server sends it elsewhere, a second connection before the first one is left; and when devices change. */
import { beforeEach, expect, it, vi } from 'vitest';
import page from '../publish.html?raw';
import type { Address } from '../src/moq/session';
import type { PublisherEvents } from '../src/publish/publisher';

const ELSEWHERE: Address = { url: 'https://b.example:4443/key', certificate: null };

interface Start {
  url: string;
  stream: MediaStream;
  publisher: Record<'stop' | 'abandon' | 'replace' | 'look', ReturnType<typeof vi.fn>> & { sent: object; description: string };
  onError: (words: string) => void;
  onSilent: (words: string) => void;
  onLost: () => void;
  onMoved: (to: Address) => void;
}

const starts: Start[] = [];
/** What the server does before the start resolves, or fails if this throws; once. */
let before: (start: Start) => void | Promise<void> = () => {};
/** What was opened, old ones first, and the microphones that were asked for beside a screen. */
const opened: MediaStream[] = [];
const beside: string[] = [];
/** When the next ones of these open. */
const besides: ((stream: MediaStream, sound: { stop: () => void }) => Promise<MediaStream>)[] = [];
const streamOf = () => {
  const track = Object.assign(new EventTarget(), { readyState: 'live', stop: () => {} });
  return Object.assign(new MediaStream(), { getTracks: () => [], getVideoTracks: () => [track] });
};
/** The cameras there are, and which one of them, or of what is gone, each opening asked for. */
let cameras: string[] = [];
const asked: string[] = [];
const fill = (list: HTMLElement | null) =>
  list?.replaceChildren(...cameras.map((value, at) => Object.assign(document.createElement('option'), { value, textContent: value, selected: at === 0 })));

vi.mock('../src/publish/encode', () => ({ supported: () => true }));
vi.mock('../src/publish/devices', () => ({
  open: ({ picture, camera }: { picture: string; camera: string }) => {
    asked.push(picture === 'screen' ? 'screen' : camera);
    if (picture === 'camera' && !cameras.includes(camera)) return Promise.reject(new DOMException('', 'NotFoundError'));
    const stream = streamOf();
    opened.push(stream);
    return Promise.resolve(stream);
  },
  withMicrophone: (screen: MediaStream, microphone: string) => {
    beside.push(microphone);
    const stream = streamOf();
    const sound = { stop: vi.fn() };
    Object.assign(stream, { getVideoTracks: () => screen.getVideoTracks(), getAudioTracks: () => [sound] });
    return besides.length === 0 ? Promise.resolve(stream) : besides.shift()?.(stream, sound);
  },
  list: (kind: string, target: HTMLSelectElement) => {
    if (kind === 'videoinput') fill(target);
    return Promise.resolve();
  },
  words: () => 'no such camera',
  Meter: class {
    watch() {}
    level = () => 0;
  },
}));
vi.mock('../src/publish/publisher', () => ({
  Publisher: {
    start: async (address: Address, _namespace: string[], stream: MediaStream, events: PublisherEvents) => {
      const publisher = { stop: vi.fn(), abandon: vi.fn(), replace: vi.fn(), look: vi.fn(), sent: { bytes: 0, frames: 0, dropped: 0 }, description: '' };
      const start = { url: address.url, stream, publisher, ...events };
      starts.push(start);
      const does = before;
      before = () => {};
      await does(start);
      return publisher;
    },
  },
}));

beforeEach(async () => {
  starts.length = 0;
  opened.length = 0;
  asked.length = 0;
  cameras = ['own'];
  beside.length = 0;
  besides.length = 0;
  before = () => {};
  vi.resetModules();
  vi.useFakeTimers();
  vi.stubGlobal('fetch', () => Promise.resolve({ json: () => Promise.resolve({ port: 4443, account: 'a', certificate: null }) }));
  Object.defineProperty(window, 'isSecureContext', { value: true, configurable: true });
  Object.defineProperty(navigator, 'mediaDevices', { value: new EventTarget(), configurable: true });
  document.body.innerHTML = /<body>(.*)<\/body>/s.exec(page)?.[1] ?? '';
  fill(document.getElementById('cameras'));
  await import('../src/publish/main');
  for (const name of ['input', 'key']) (document.getElementById(name) as HTMLInputElement).value = name;
  await vi.advanceTimersByTimeAsync(0);
  return async () => {
    // Each test has a page of its own: that of the one before listens no more, as far as it can.
    if (document.getElementById('go')?.hasAttribute('data-live')) await goLive();
    vi.useRealTimers();
    vi.unstubAllGlobals();
  };
});

async function goLive(): Promise<void> {
  document.getElementById('go')?.click();
  await vi.advanceTimersByTimeAsync(0);
}

it('goes on elsewhere, and leaves the first place then', async () => {
  await goLive();
  expect(starts.map(({ publisher }) => publisher.stop.mock.calls.length)).toEqual([0]);
  starts[0]?.onMoved(ELSEWHERE);
  await vi.advanceTimersByTimeAsync(0);
  expect(starts.map(({ url }) => url)).toEqual([expect.stringContaining('/key'), ELSEWHERE.url]);
  expect(starts.map(({ publisher }) => publisher.stop.mock.calls.length)).toEqual([1, 0]);
});

it('also if it was told before the start was known', async () => {
  before = ({ onMoved }) => onMoved(ELSEWHERE);
  await goLive();
  expect(starts.map(({ url }) => url)).toEqual([expect.stringContaining('/key'), ELSEWHERE.url]);
  expect(starts.map(({ publisher }) => publisher.stop.mock.calls.length)).toEqual([1, 0]);
});

it('also if who is going away refuses it: the key may be good', async () => {
  const { Refused } = await import('../src/moq/session');
  before = ({ onMoved }) => {
    onMoved(ELSEWHERE);
    throw new Refused({ code: 0, reason: 'going away' });
  };
  await goLive();
  expect(starts.map(({ url }) => url)).toEqual([expect.stringContaining('/key'), ELSEWHERE.url]);
  expect(document.getElementById('error')?.textContent).toBe('');
  expect(document.getElementById('badge')?.hidden).toBe(false);
});

it('goes to and fro between two servers ever more slowly', async () => {
  const tries = async (ms: number) => {
    const made = starts.length;
    starts.at(-1)?.onMoved(ELSEWHERE);
    await vi.advanceTimersByTimeAsync(ms);
    return starts.length - made;
  };
  await goLive();
  expect(await tries(0)).toBe(1);
  expect(await tries(0)).toBe(0);
  await vi.advanceTimersByTimeAsync(500);
  expect(starts).toHaveLength(3);
  expect(await tries(500)).toBe(0);
  await vi.advanceTimersByTimeAsync(500);
  expect(starts).toHaveLength(4);
  // Where it has stayed it is sent on as at first.
  await vi.advanceTimersByTimeAsync(30_000);
  expect(await tries(0)).toBe(1);
});

it('tries again if the connection ended before the start was known', async () => {
  before = ({ onLost }) => onLost();
  await goLive();
  expect(starts[0]?.publisher.abandon).toHaveBeenCalledOnce();
  expect(starts).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(500);
  expect(starts).toHaveLength(2);
});

it('does not try again for a broadcast that was stopped meanwhile', async () => {
  await goLive();
  starts[0]?.onLost();
  // Stopped and begun again before the second try is due.
  await goLive();
  await goLive();
  expect(starts).toHaveLength(2);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(starts).toHaveLength(2);
});

function change(list: 'cameras' | 'microphones'): Promise<unknown> {
  document.getElementById(list)?.dispatchEvent(new Event('change'));
  return vi.advanceTimersByTimeAsync(0);
}

it.each(['at first', 'elsewhere'])('sends the camera that was chosen while it connected, %s', async (when) => {
  let connected = () => {};
  const connects = () => new Promise<void>((resolve) => (connected = resolve));
  if (when === 'elsewhere') await goLive();
  before = connects;
  if (when === 'elsewhere') starts[0]?.onMoved(ELSEWHERE);
  else document.getElementById('go')?.click();
  await vi.advanceTimersByTimeAsync(0);
  const start = starts.at(-1);
  expect(start?.stream).toBe(opened[0]);
  await change('cameras');
  connected();
  await vi.advanceTimersByTimeAsync(0);
  expect(start?.publisher.replace.mock.calls).toEqual([[opened[1]]]);
  // One that was there before is not begun anew.
  await goLive();
  await goLive();
  expect(starts.at(-1)?.publisher.replace).not.toHaveBeenCalled();
});

it('asks for no screen anew when another microphone or camera is chosen beside it', async () => {
  document.getElementById('screen')?.click();
  await goLive();
  const [start] = starts;
  expect([opened.length, start?.stream === opened[1]]).toEqual([2, true]);
  await change('cameras');
  expect([opened.length, start?.publisher.replace.mock.calls.length]).toEqual([2, 0]);
  await change('microphones');
  expect([opened.length, beside.length, start?.publisher.replace.mock.calls.length]).toEqual([2, 1, 1]);
});

it('sends the microphone that was chosen last, whichever opens first', async () => {
  document.getElementById('screen')?.click();
  await goLive();
  const [start] = starts;
  const chosen: { open: () => void; stream: MediaStream; sound: { stop: () => void } }[] = [];
  const late = (stream: MediaStream, sound: { stop: () => void }) =>
    new Promise<MediaStream>((resolve) => chosen.push({ open: () => resolve(stream), stream, sound }));
  besides.push(late, late, late);
  for (let at = 0; at < 3; at++) await change('microphones');
  for (const at of [0, 2, 1]) {
    chosen[at]?.open();
    await vi.advanceTimersByTimeAsync(0);
  }
  expect(start?.publisher.replace.mock.calls).toEqual([[chosen[0]?.stream], [chosen[2]?.stream]]);
  expect(chosen[1]?.sound.stop).toHaveBeenCalled();
});

it('stays live without its sound, and says why', async () => {
  before = ({ onSilent }) => onSilent('no sound');
  await goLive();
  expect(document.getElementById('error')?.textContent).toBe('no sound');
  expect(document.getElementById('badge')?.hidden).toBe(false);
});

const error = () => document.getElementById('error')?.textContent;
const isLive = () => document.getElementById('badge')?.hidden === false;

/** A device is gone: its track says so. */
async function end(stream: MediaStream | undefined): Promise<void> {
  const [track] = stream?.getVideoTracks() ?? [];
  Object.assign(track ?? {}, { readyState: 'ended' });
  track?.dispatchEvent(new Event('ended'));
  await vi.advanceTimersByTimeAsync(0);
}

async function devicesChange(...now: string[]): Promise<void> {
  cameras = now;
  navigator.mediaDevices.dispatchEvent(new Event('devicechange'));
  await vi.advanceTimersByTimeAsync(0);
}

it('shows no camera to who stopped sharing his screen while he was live', async () => {
  document.getElementById('screen')?.click();
  await goLive();
  await end(opened[1]);
  expect([asked, starts[0]?.publisher.replace.mock.calls.length]).toEqual([['own', 'screen'], 0]);
  expect([error(), isLive()]).toEqual([expect.stringContaining('screen is not shown any more'), true]);
  // Nor when another one is plugged in, nor by another connection.
  await devicesChange('own', 'other');
  starts[0]?.onLost();
  await vi.advanceTimersByTimeAsync(500);
  expect([asked.length, starts.length, error()]).toEqual([2, 2, expect.stringContaining('screen is not shown any more')]);
});

it('goes back to the camera where the screen was not sent', async () => {
  document.getElementById('screen')?.click();
  await vi.advanceTimersByTimeAsync(0);
  await end(opened[1]);
  expect([asked, error()]).toEqual([['own', 'screen', 'own'], '']);
});

it('takes another camera for one that was unplugged', async () => {
  await goLive();
  // The list may hear of it later.
  cameras = ['other'];
  await end(opened[0]);
  expect([asked, starts[0]?.publisher.replace.mock.calls]).toEqual([['own', 'other'], [[opened[1]]]]);
  expect([error(), isLive()]).toEqual(['', true]);
});

it('takes the camera again that is plugged in again', async () => {
  await goLive();
  cameras = [];
  await end(opened[0]);
  expect([error(), isLive()]).toEqual([expect.stringContaining('camera is gone'), true]);
  await devicesChange('own');
  expect([asked.at(-1), starts[0]?.publisher.replace.mock.calls, error()]).toEqual(['own', [[opened[1]]], '']);
  // One that goes on is let go on.
  const times = asked.length;
  await devicesChange('own', 'other');
  expect(asked).toHaveLength(times);
});

it('is not live any more where the server ended that, and tries nothing', async () => {
  await goLive();
  starts[0]?.onError('another encoder has taken over this input');
  await vi.advanceTimersByTimeAsync(100_000);
  expect([isLive(), error(), starts.length]).toEqual([false, 'another encoder has taken over this input', 1]);
  expect(starts[0]?.publisher.stop).toHaveBeenCalledOnce();
});

it('goes on elsewhere whatever becomes of who is left', async () => {
  await goLive();
  let connected = () => {};
  before = () => new Promise<void>((resolve) => (connected = resolve));
  starts[0]?.onMoved(ELSEWHERE);
  await vi.advanceTimersByTimeAsync(0);
  // The other place has it by now.
  starts[0]?.onError('another encoder has taken over this input');
  connected();
  await vi.advanceTimersByTimeAsync(0);
  starts[0]?.onError('an encoder that nobody needs');
  starts[0]?.onSilent('a sound that nobody needs');
  await vi.advanceTimersByTimeAsync(0);
  expect([isLive(), error(), starts[1]?.publisher.stop.mock.calls.length]).toEqual([true, '', 0]);
});

it('asks who leaves while it is live, and nobody else', async () => {
  const leaves = () => !window.dispatchEvent(new Event('beforeunload', { cancelable: true }));
  expect(leaves()).toBe(false);
  await goLive();
  expect(leaves()).toBe(true);
  await goLive();
  expect(leaves()).toBe(false);
  await goLive();
  starts.at(-1)?.onError('over');
  expect(leaves()).toBe(false);
});

it('looks at once whether a network that changes still leads there, and does not wait where there is none', async () => {
  await goLive();
  const { publisher } = starts[0] as Start;
  for (const name of ['online', 'offline']) window.dispatchEvent(new Event(name));
  document.dispatchEvent(new Event('visibilitychange'));
  expect(publisher.look.mock.calls.length).toBe(3);
  starts[0]?.onLost();
  before = () => Promise.reject(new Error('no network'));
  await vi.advanceTimersByTimeAsync(500);
  before = () => Promise.reject(new Error('no network'));
  await vi.advanceTimersByTimeAsync(1_000);
  expect([starts.length, error()]).toEqual([3, 'no network Trying again…']);
  window.dispatchEvent(new Event('online'));
  await vi.advanceTimersByTimeAsync(0);
  expect([starts.length, isLive()]).toEqual([4, true]);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(starts).toHaveLength(4);
});

it('keeps the screen of a phone on while it is live', async () => {
  const locks: { released: boolean; release: () => void }[] = [];
  const request = () => {
    const lock = { released: false, release: () => void (lock.released = true) };
    locks.push(lock);
    return Promise.resolve(lock);
  };
  Object.defineProperty(navigator, 'wakeLock', { value: { request }, configurable: true });
  await goLive();
  expect(locks.map(({ released }) => released)).toEqual([false]);
  // The browser lets go of it with the page, and who comes back needs another one.
  locks[0]?.release();
  document.dispatchEvent(new Event('visibilitychange'));
  await vi.advanceTimersByTimeAsync(0);
  expect(locks.map(({ released }) => released)).toEqual([true, false]);
  await goLive();
  expect(locks.map(({ released }) => released)).toEqual([true, true]);
  Reflect.deleteProperty(navigator, 'wakeLock');
});

it('says that a camera is held back, until it is not', async () => {
  await goLive();
  const [track] = opened[0]?.getVideoTracks() ?? [];
  track?.dispatchEvent(new Event('mute'));
  expect(error()).toContain('No picture comes');
  track?.dispatchEvent(new Event('unmute'));
  expect(error()).toBe('');
});
