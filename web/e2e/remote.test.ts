// @vitest-environment happy-dom
import { afterEach, describe, expect, it, vi } from 'vitest';
import { HLS_TYPE } from '../src/player/engine';
import { attach, offerAirPlay, Remote } from '../src/player/remote';
import { Stalls } from '../src/player/stalls';

afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
  Reflect.deleteProperty(HTMLMediaElement.prototype, 'remote');
});

/** Counts what is told. */
function told() {
  return { changed: vi.fn(), left: vi.fn(), back: vi.fn() };
}

it('offers AirPlay while there is a device', () => {
  const picker = vi.fn();
  const video = Object.assign(document.createElement('video'), { webkitShowPlaybackTargetPicker: picker, webkitCurrentPlaybackTargetIsWireless: false });
  const events = told();
  const remote = new Remote(video, events);
  remote.offer('/a/manifest/video.m3u8');
  expect([remote.kind, remote.available, remote.connected]).toEqual(['airplay', false, false]);
  const tell = (availability: string) =>
    video.dispatchEvent(Object.assign(new Event('webkitplaybacktargetavailabilitychanged'), { availability }));
  tell('available');
  tell('available');
  expect([remote.available, events.changed.mock.calls.length]).toEqual([true, 1]);
  remote.prompt();
  expect(picker).toHaveBeenCalledOnce();
  video.webkitCurrentPlaybackTargetIsWireless = true;
  video.dispatchEvent(new Event('webkitcurrentplaybacktargetiswirelesschanged'));
  expect([remote.connected, events.changed.mock.calls.length, events.left.mock.calls.length]).toEqual([true, 2, 0]);
  video.webkitCurrentPlaybackTargetIsWireless = false;
  video.dispatchEvent(new Event('webkitcurrentplaybacktargetiswirelesschanged'));
  expect([remote.connected, events.back.mock.calls]).toEqual([false, [[false]]]);
  tell('not-available');
  expect(remote.available).toBe(false);
});

/** As Chromium has it: each media element has one, and what plays a Media Source is told of no device. */
function castable(devices: boolean) {
  const remotes: { of: HTMLVideoElement; remote: EventTarget & { state: string; prompt: ReturnType<typeof vi.fn> } }[] = [];
  const found: ((available: boolean) => void)[] = [];
  const remote = function (this: HTMLVideoElement) {
    const known = remotes.find(({ of }) => of === this);
    if (known !== undefined) return known.remote;
    const watchAvailability = (callback: (available: boolean) => void) => {
      if (!devices) return Promise.reject(new DOMException('no', 'NotSupportedError'));
      found.push(callback);
      return Promise.resolve(1);
    };
    const prompt = vi.fn(() => Promise.reject(new DOMException('closed', 'NotAllowedError')));
    const made = Object.assign(new EventTarget(), { state: 'disconnected', watchAvailability, prompt });
    remotes.push({ of: this, remote: made });
    return made;
  };
  Object.defineProperty(HTMLMediaElement.prototype, 'remote', { get: remote, configurable: true });
  const calls: string[] = [];
  for (const name of ['play', 'pause', 'load'] as const) {
    vi.spyOn(HTMLMediaElement.prototype, name).mockImplementation(function (this: HTMLMediaElement) {
      calls.push(`${name} ${this.getAttribute('src')}`);
      return Promise.resolve();
    });
  }
  return { remotes, found, calls };
}

it('offers Cast of the playlist, and plays it there and not here', async () => {
  const { remotes, found, calls } = castable(true);
  const video = document.createElement('video');
  let paused = false;
  Object.defineProperties(video, { paused: { get: () => paused }, duration: { value: 30, writable: true } });
  const events = told();
  const remote = new Remote(video, events);
  const element = remotes[0]?.of;
  if (element === undefined) throw new Error('nothing is watched');
  expect([remote.kind, remote.available, element === video, element.preload, element.isConnected]).toEqual(['cast', false, false, 'none', false]);
  remote.offer('/a/manifest/video.m3u8');
  found[0]?.(true);
  expect([remote.available, events.changed.mock.calls.length, element.getAttribute('src')]).toEqual([true, 1, '/a/manifest/video.m3u8']);
  remote.prompt();
  await Promise.resolve();
  const { prompt } = remotes[0]?.remote ?? {};
  expect(prompt).toHaveBeenCalledOnce();
  expect(calls).toEqual([]);

  const become = (state: string, event: string) => {
    const made = remotes[0]?.remote;
    if (made === undefined) return;
    made.state = state;
    made.dispatchEvent(new Event(event));
  };
  video.currentTime = 7;
  become('connecting', 'connecting');
  expect([remote.connected, events.left.mock.calls.length]).toEqual([true, 0]);
  become('connected', 'connect');
  paused = true;
  expect([events.left.mock.calls.length, element.currentTime, calls]).toEqual([1, 7, ['play /a/manifest/video.m3u8']]);
  // The broadcast is over: its recording goes on there.
  remote.offer('/b/manifest/video.m3u8');
  expect(calls.at(-1)).toBe('play /b/manifest/video.m3u8');
  element.currentTime = 12;
  become('disconnected', 'disconnect');
  expect([remote.connected, events.back.mock.calls, video.currentTime]).toEqual([false, [[true]], 12]);
  expect(calls.slice(-2)).toEqual(['pause /b/manifest/video.m3u8', 'load /b/manifest/video.m3u8']);
  // What is live has no place to go back to, and who had paused it finds it paused.
  Object.assign(video, { duration: Number.POSITIVE_INFINITY });
  become('connected', 'connect');
  become('disconnected', 'disconnect');
  expect([events.back.mock.calls.at(-1), video.currentTime]).toEqual([[false], 12]);
});

it('offers nothing where the browser cannot look for devices', async () => {
  castable(false);
  const cast = new Remote(document.createElement('video'), told());
  await Promise.resolve();
  expect(cast.available).toBe(false);
  const none = new Remote(new EventTarget() as never, told());
  expect([none.kind, none.available, none.connected]).toEqual([null, false, false]);
  none.offer('/a');
  none.prompt();
});

describe('AirPlay beside a Media Source', () => {
  const safari = () => ['WebKitPlaybackTargetAvailabilityEvent', 'ManagedMediaSource'].forEach((name) => vi.stubGlobal(name, class {}));
  const sources = (video: HTMLVideoElement) => [...video.querySelectorAll('source')].map((source) => `${source.type} ${source.getAttribute('src')}`);

  it('has the playlist behind what hls.js has attached', () => {
    const video = document.createElement('video');
    offerAirPlay(video, '/a/manifest/video.m3u8');
    expect(sources(video)).toEqual([]);
    safari();
    video.disableRemotePlayback = true;
    offerAirPlay(video, '/a/manifest/video.m3u8');
    expect([sources(video), video.disableRemotePlayback]).toEqual([[`${HLS_TYPE} /a/manifest/video.m3u8`], false]);
  });

  it('has it behind what comes over MoQ, for as long as that does', () => {
    safari();
    const video = document.createElement('video');
    video.src = 'before';
    const detach = attach(video, 'blob:x', '/a/manifest/video.m3u8');
    expect([video.hasAttribute('src'), sources(video)]).toEqual([false, ['video/mp4 blob:x', `${HLS_TYPE} /a/manifest/video.m3u8`]]);
    detach();
    expect(sources(video)).toEqual([]);
    // Another engine has the element by then.
    const late = attach(video, 'blob:y', '/a/manifest/video.m3u8');
    video.replaceChildren();
    video.src = 'blob:z';
    late();
    expect(video.getAttribute('src')).toBe('blob:z');
  });

  it('is not there elsewhere: the Media Source is all', () => {
    const video = document.createElement('video');
    const detach = attach(video, 'blob:x', '/a/manifest/video.m3u8');
    expect([video.getAttribute('src'), sources(video)]).toEqual(['blob:x', []]);
    video.src = 'blob:z';
    detach();
    expect(video.getAttribute('src')).toBe('blob:z');
  });
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
