import { afterEach, expect, it, vi } from 'vitest';
import { Remote } from '../src/player/remote';
import { Stalls } from '../src/player/stalls';

afterEach(() => vi.unstubAllGlobals());

it('offers AirPlay while there is a device', () => {
  const picker = vi.fn();
  const video = Object.assign(new EventTarget(), { webkitShowPlaybackTargetPicker: picker, webkitCurrentPlaybackTargetIsWireless: false });
  const changed = vi.fn();
  const remote = new Remote(video as never, changed);
  expect([remote.kind, remote.available, remote.connected]).toEqual(['airplay', false, false]);
  const tell = (availability: string) =>
    video.dispatchEvent(Object.assign(new Event('webkitplaybacktargetavailabilitychanged'), { availability }));
  tell('available');
  tell('available');
  expect([remote.available, changed.mock.calls.length]).toEqual([true, 1]);
  remote.prompt();
  expect(picker).toHaveBeenCalledOnce();
  video.webkitCurrentPlaybackTargetIsWireless = true;
  video.dispatchEvent(new Event('webkitcurrentplaybacktargetiswirelesschanged'));
  expect([remote.connected, changed.mock.calls.length]).toEqual([true, 2]);
  tell('not-available');
  expect(remote.available).toBe(false);
});

it('offers Cast while there is a device, and survives a closed list', async () => {
  let found: (available: boolean) => void = () => undefined;
  const remotePlayback = Object.assign(new EventTarget(), {
    state: 'disconnected',
    watchAvailability: (callback: typeof found) => {
      found = callback;
      return Promise.resolve(1);
    },
    prompt: vi.fn(() => Promise.reject(new DOMException('closed', 'NotAllowedError'))),
  });
  const changed = vi.fn();
  const remote = new Remote(Object.assign(new EventTarget(), { remote: remotePlayback }) as never, changed);
  expect([remote.kind, remote.available]).toEqual(['cast', false]);
  found(true);
  expect([remote.available, changed.mock.calls.length]).toEqual([true, 1]);
  remote.prompt();
  await Promise.resolve();
  expect(remotePlayback.prompt).toHaveBeenCalledOnce();
  remotePlayback.state = 'connected';
  remotePlayback.dispatchEvent(new Event('connect'));
  expect([remote.connected, changed.mock.calls.length]).toEqual([true, 2]);
});

it('offers nothing where the browser cannot look for devices', async () => {
  const refused = Object.assign(new EventTarget(), { watchAvailability: () => Promise.reject(new DOMException('no', 'NotSupportedError')) });
  const cast = new Remote(Object.assign(new EventTarget(), { remote: refused }) as never, () => undefined);
  await Promise.resolve();
  expect(cast.available).toBe(false);
  const none = new Remote(new EventTarget() as never, () => undefined);
  expect([none.kind, none.available, none.connected]).toEqual([null, false, false]);
  none.prompt();
});

it('stalls are counted once and timed', () => {
  const stalls = new Stalls();
  stalls.begin(1_000);
  stalls.begin(1_500);
  expect([stalls.stalling, stalls.count, stalls.currentMs(3_000), stalls.totalS(3_000)]).toEqual([true, 1, 2_000, 2]);
  stalls.end(3_000);
  stalls.end(9_000);
  expect([stalls.stalling, stalls.endedAtMs, stalls.totalS(9_000)]).toEqual([false, 3_000, 2]);
  stalls.begin(10_000);
  stalls.forget();
  stalls.end(20_000);
  expect([stalls.count, stalls.totalS(20_000)]).toEqual([2, 2]);
});
