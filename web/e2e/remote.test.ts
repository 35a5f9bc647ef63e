// @vitest-environment happy-dom
import { afterEach, describe, expect, it, vi } from 'vitest';
import { HLS_TYPE } from '../src/player/engine';
import { attach, offerAirPlay, Remote, type RemoteEvents } from '../src/player/remote';
import { Stalls } from '../src/player/stalls';

afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
  Reflect.deleteProperty(HTMLMediaElement.prototype, 'remote');
});

/** Watches, as on a page. */
function watching(video: HTMLVideoElement, events: RemoteEvents): Remote {
  const remote = new Remote(video, events);
  remote.watch();
  return remote;
}

/** Counts what is told. */
function told() {
  return { changed: vi.fn(), happened: vi.fn(), playing: vi.fn(), left: vi.fn(), back: vi.fn() };
}

it('offers AirPlay while there is a device', () => {
  const picker = vi.fn();
  const video = Object.assign(document.createElement('video'), { webkitShowPlaybackTargetPicker: picker, webkitCurrentPlaybackTargetIsWireless: false });
  const events = told();
  const remote = watching(video, events);
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
  const cancelled: HTMLVideoElement[] = [];
  const remote = function (this: HTMLVideoElement) {
    const known = remotes.find(({ of }) => of === this);
    if (known !== undefined) return known.remote;
    const watchAvailability = (callback: (available: boolean) => void) => {
      if (!devices) return Promise.reject(new DOMException('no', 'NotSupportedError'));
      found.push(callback);
      return Promise.resolve(1);
    };
    const prompt = vi.fn(() => Promise.reject(new DOMException('closed', 'NotAllowedError')));
    const cancelWatchAvailability = () => {
      cancelled.push(this);
      return Promise.resolve();
    };
    const made = Object.assign(new EventTarget(), { state: 'disconnected', watchAvailability, cancelWatchAvailability, prompt });
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
  return { remotes, found, cancelled, calls };
}

it('offers Cast of the playlist, and plays it there and not here', async () => {
  const { remotes, found, calls } = castable(true);
  const video = document.createElement('video');
  let paused = false;
  Object.defineProperties(video, { paused: { get: () => paused }, duration: { value: 30, writable: true } });
  const events = told();
  const remote = watching(video, events);
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
  // The broadcast is over: its recording goes on there, once there is one.
  remote.offer('/b/manifest/video.m3u8');
  expect(calls.at(-1)).toBe('play /a/manifest/video.m3u8');
  remote.pictured();
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

/** On a device, from a picture that plays here. */
function away(play?: () => Promise<void>) {
  const { remotes, found, calls, cancelled } = castable(true);
  const video = document.createElement('video');
  Object.defineProperties(video, { paused: { value: false, writable: true }, duration: { value: 30 } });
  const events = told();
  const remote = watching(video, events);
  remote.offer('/a');
  const [first] = remotes;
  if (first === undefined) throw new Error('nothing is watched');
  const become = (state: string, event: string) => {
    first.remote.state = state;
    first.remote.dispatchEvent(new Event(event));
  };
  if (play !== undefined) vi.spyOn(HTMLMediaElement.prototype, 'play').mockImplementation(play);
  become('connected', 'connect');
  calls.length = 0;
  return { remote, video, cast: first.of, become, found, calls, cancelled, events };
}

it('gives another screen the next broadcast at the same address, and not what plays there already', () => {
  const { remote, calls } = away();
  remote.offer('/a', true);
  remote.pictured();
  expect(calls).toEqual([]);
  remote.offer('/a');
  expect(calls).toEqual([]);
  remote.pictured();
  remote.pictured();
  expect(calls).toEqual(['load /a', 'play /a']);
  remote.pause();
  remote.offer('/a');
  remote.pictured();
  expect(calls.slice(2)).toEqual(['pause /a', 'load /a']);
});

it('goes on here as it was wanted there', () => {
  const { remote, video, become, events } = away();
  Object.assign(video, { paused: true });
  remote.pause();
  become('disconnected', 'disconnect');
  become('connected', 'connect');
  remote.play();
  become('disconnected', 'disconnect');
  // And as it was here if nobody has said anything, whatever came next there.
  become('connected', 'connect');
  remote.offer('/b');
  remote.pictured();
  become('disconnected', 'disconnect');
  expect(events.back.mock.calls).toEqual([[false], [true], [false]]);
});

it('tells what happens there while it plays there, and steers that', async () => {
  const { remote, video, cast, calls, become, events } = away();
  expect([remote.screen === cast, remote.elsewhere]).toEqual([true, true]);
  await Promise.resolve();
  expect(events.playing).toHaveBeenCalledOnce();
  cast.dispatchEvent(new Event('pause'));
  expect(events.happened.mock.calls).toEqual([['pause']]);
  remote.goLive();
  expect(calls).toEqual(['load /a', 'play /a']);
  become('disconnected', 'disconnect');
  cast.dispatchEvent(new Event('pause'));
  expect([remote.screen === video, events.happened.mock.calls.length]).toEqual([true, 1]);
});

it.each([
  ['refuses it', 'NotSupportedError', [[true]], true],
  ['was given something else meanwhile', 'AbortError', [], false],
])('goes on here if another screen %s', async (_, name, back, refused) => {
  const { remote, events, become } = away(() => Promise.reject(new DOMException('no', name)));
  await Promise.resolve();
  await Promise.resolve();
  expect([events.back.mock.calls, remote.refused, remote.elsewhere]).toEqual([back, refused, !refused]);
  if (!refused) return;
  remote.offer('/a', true);
  expect(remote.refused).toBe(true);
  become('disconnected', 'disconnect');
  expect([events.back.mock.calls.length, remote.refused]).toEqual([1, false]);
});

it('leaves nothing on a device once it is off the page, and looks for one again where it is put', () => {
  const { remote, cast, found, calls, cancelled, become, events } = away();
  remote.close();
  expect([cancelled, calls, cast.hasAttribute('src'), remote.elsewhere]).toEqual([[cast], ['pause /a', 'load null'], false, false]);
  const before = events.changed.mock.calls.length;
  become('disconnected', 'disconnect');
  found[0]?.(true);
  expect([events.changed.mock.calls.length, events.back.mock.calls]).toEqual([before, []]);
  remote.watch();
  found[1]?.(true);
  expect(remote.available).toBe(true);
});

it('offers nothing where the browser cannot look for devices', async () => {
  castable(false);
  const cast = watching(document.createElement('video'), told());
  await Promise.resolve();
  expect(cast.available).toBe(false);
  const none = watching(new EventTarget() as never, told());
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
