// @vitest-environment happy-dom
/** The publisher page, when the server sends it elsewhere: a second connection, before the first one is left. */
import { beforeEach, expect, it, vi } from 'vitest';
import page from '../publish.html?raw';
import type { Address } from '../src/moq/session';

const ELSEWHERE: Address = { url: 'https://b.example:4443/key', certificate: null };

interface Start {
  url: string;
  publisher: { stop: ReturnType<typeof vi.fn>; abandon: ReturnType<typeof vi.fn>; sent: object; description: string };
  onLost: () => void;
  onMoved: (to: Address) => void;
}

const starts: Start[] = [];
/** What the server does before the start resolves, or fails if this throws; once. */
let before: (start: Start) => void = () => {};

vi.mock('../src/publish/encode', () => ({ supported: () => true }));
vi.mock('../src/publish/devices', () => ({
  open: () => Promise.resolve(new MediaStream()),
  list: () => Promise.resolve(),
  Meter: class {
    watch() {}
    level = () => 0;
  },
}));
vi.mock('../src/publish/publisher', () => ({
  Publisher: {
    start: (address: Address, _namespace: string[], _stream: unknown, _onError: unknown, onLost: () => void, onMoved: (to: Address) => void) => {
      const publisher = { stop: vi.fn(), abandon: vi.fn(), sent: { bytes: 0, frames: 0, dropped: 0 }, description: '' };
      const start = { url: address.url, publisher, onLost, onMoved };
      starts.push(start);
      const does = before;
      before = () => {};
      try {
        does(start);
      } catch (error) {
        return Promise.reject(error instanceof Error ? error : new Error(String(error)));
      }
      return Promise.resolve(publisher);
    },
  },
}));

beforeEach(async () => {
  starts.length = 0;
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
