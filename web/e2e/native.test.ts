import { expect, test } from 'vitest';
import { type EngineEvents, type From, HLS_TYPE, prefersNative } from '../src/player/engine';
import { NativeEngine } from '../src/player/native-engine';

const video = (answer: CanPlayTypeResult) => ({ canPlayType: (type: string) => (type === HLS_TYPE ? answer : '') });

const IPHONE = 'Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1';
const MAC = 'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15';
const ANDROID = 'Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36';
const LINUX = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36';

test.each([
  ['an iPhone', IPHONE, 'iPhone', 5, 'maybe', false, true],
  ['an iPhone with a MediaSource of sorts', IPHONE, 'iPhone', 5, 'maybe', true, true],
  // It says that it is a Mac.
  ['an iPad', MAC, 'MacIntel', 5, 'maybe', true, true],
  ['Safari on a Mac', MAC, 'MacIntel', 0, 'maybe', true, false],
  ['Chrome on Android', ANDROID, 'Linux armv81', 5, 'maybe', true, false],
  ['Chromium that plays HLS', LINUX, 'Linux x86_64', 0, 'maybe', true, false],
  ['Firefox, which does not', LINUX, 'Linux x86_64', 0, '', true, false],
  ['an old browser without MediaSource', LINUX, 'Linux x86_64', 0, 'probably', false, true],
  ['an iPhone without HLS, if there were one', IPHONE, 'iPhone', 5, '', false, false],
] as const)('%s', (_, userAgent, platform, maxTouchPoints, answer, mediaSource, native) => {
  expect(prefersNative(video(answer), { userAgent, platform, maxTouchPoints }, mediaSource)).toBe(native);
});

test.each([
  ['a recording', 0, { s: 5 }, 5],
  // The browser went to where its list says that it begins.
  ['a clip', 1.5, { s: 5 }, 6.5],
  ['a clip, from its start', 1.5, { s: 0 }, 1.5],
  ['a clip, beyond its list', 1.5, { s: 60 }, 30],
  ['the end', 1.5, 'end', 30],
] as const)('where to begin is a place of what is played: %s', (_, currentTime, from: From, expected) => {
  const video = Object.assign(new EventTarget(), { src: '', duration: 30, currentTime, paused: true });
  new NativeEngine(video as unknown as HTMLVideoElement, { url: 'x', from, captions: null, moq: null, level: null }, {} as EngineEvents);
  video.dispatchEvent(new Event('loadedmetadata'));
  expect(video.currentTime).toBe(expected);
});
