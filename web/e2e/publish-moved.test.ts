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
  publisher: { stop: ReturnType<typeof vi.fn>; abandon: ReturnType<typeof vi.fn>; replace: ReturnType<typeof vi.fn>; sent: object; description: string };
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
const streamOf = () => Object.assign(new MediaStream(), { getTracks: () => [], getVideoTracks: () => [] });

vi.mock('../src/publish/encode', () => ({ supported: () => true }));
vi.mock('../src/publish/devices', () => ({
  open: () => {
    const stream = streamOf();
    opened.push(stream);
    return Promise.resolve(stream);
  },
  withMicrophone: (_screen: MediaStream, microphone: string) => {
    beside.push(microphone);
    const stream = streamOf();
    const sound = { stop: vi.fn() };
    Object.assign(stream, { getAudioTracks: () => [sound] });
    return besides.length === 0 ? Promise.resolve(stream) : besides.shift()?.(stream, sound);
  },
  list: () => Promise.resolve(),
  Meter: class {
    watch() {}
    level = () => 0;
  },
}));
vi.mock('../src/publish/publisher', () => ({
  Publisher: {
    start: async (address: Address, _namespace: string[], stream: MediaStream, events: PublisherEvents) => {
      const publisher = { stop: vi.fn(), abandon: vi.fn(), replace: vi.fn(), sent: { bytes: 0, frames: 0, dropped: 0 }, description: '' };
      const { onSilent, onLost, onMoved } = events;
      const start = { url: address.url, stream, publisher, onSilent, onLost, onMoved };
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
  beside.length = 0;
  besides.length = 0;
  before = () => {};
  vi.resetModules();
  vi.useFakeTimers();
  vi.stubGlobal('fetch', () => Promise.resolve({ json: () => Promise.resolve({ port: 4443, account: 'a', certificate: null }) }));
  Object.defineProperty(window, 'isSecureContext', { value: true, configurable: true });
  Object.defineProperty(navigator, 'mediaDevices', { value: new EventTarget(), configurable: true });
  document.body.innerHTML = /<body>(.*)<\/body>/s.exec(page)?.[1] ?? '';
  await import('../src/publish/main');
  for (const name of ['input', 'key']) (document.getElementById(name) as HTMLInputElement).value = name;
  await vi.advanceTimersByTimeAsync(0);
  return () => {
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
