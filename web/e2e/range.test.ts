/** A clip over HLS is whole segments: what is shown of them. */
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { ranges } from '../src/embed/bridge';
import type { Engine } from '../src/player/engine';
import { Range } from '../src/player/range';
import { clipLengthS } from '../src/shared/clip-link';

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal('window', globalThis);
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const times = (...pairs: [number, number][]) => ({ length: pairs.length, start: (at: number) => pairs[at]?.[0] ?? 0, end: (at: number) => pairs[at]?.[1] ?? 0 }) as TimeRanges;

/** Eight seconds of segments, of which the clip begins at 1.5. */
function played(lengthS: number | null, engine: Partial<Engine> | null = { live: false, beginsAtS: () => 1.5, livePositionS: () => null }) {
  const video = Object.assign(new EventTarget(), { seekable: times([0, 8]), currentTime: 1.5, duration: 8, paused: false, seeking: false, ended: false, playbackRate: 1, pause: vi.fn() });
  video.pause.mockImplementation(() => void (video.paused = true));
  const ended = vi.fn();
  video.addEventListener('ended', ended);
  const range = new Range(video as never, () => lengthS, () => engine as Engine | null);
  const at = (positionS: number, event = 'timeupdate') => {
    video.currentTime = positionS;
    video.dispatchEvent(new Event(event));
  };
  return { video, range, at, ended };
}

it('is the clip and no more, and begins at 0 for pages', () => {
  const { range, video } = played(3.5);
  expect([range.shown, range.offsetS, range.durationS]).toEqual([{ startS: 1.5, endS: 5 }, 1.5, 3.5]);
  expect(range.bar()).toEqual({ startS: 1.5, endS: 5, positionS: 1.5, live: false });
  expect([range.within(0), range.within(3), range.within(7)]).toEqual([1.5, 3, 5]);
  expect(ranges(times([0, 4], [6, 8]), { video: video as never, currentTime: 0, duration: 3.5 })).toEqual([[0, 2.5]]);
});

it('is no longer than what there is', () => {
  expect(played(30).range.durationS).toBe(6.5);
});

it('is all of it without a clip, and of what is live its window if that is worth a bar', () => {
  const { range, video, at, ended } = played(null);
  expect([range.shown, range.offsetS, range.durationS]).toEqual([{ startS: 0, endS: 8 }, 0, 8]);
  expect(ranges(times([0, 4]), { video: video as never, currentTime: 1.5, duration: 8 })).toEqual([[0, 4]]);
  at(7.9);
  expect(ended).not.toHaveBeenCalled();
  const live = { live: true, livePositionS: () => 7, beginsAtS: () => 0 };
  expect([played(3.5, live).range.shown, played(null, live).range.bar(), played(3.5, null).range.shown]).toEqual([{ startS: 0, endS: 7 }, null, null]);
});

it('ends where the clip does, between two events of the element, and once', () => {
  const { video, at, ended } = played(3.5);
  at(4.2);
  video.playbackRate = 2;
  at(4.5);
  vi.advanceTimersByTime(240);
  expect(ended).not.toHaveBeenCalled();
  video.currentTime = 5.001;
  vi.advanceTimersByTime(10);
  expect([ended.mock.calls.length, video.paused]).toEqual([1, true]);
  at(5.001);
  expect(ended).toHaveBeenCalledOnce();
  // From its beginning, again.
  at(1.5, 'seeking');
  at(5.02);
  expect(ended).toHaveBeenCalledTimes(2);
});

it('does not begin before it', () => {
  const { video, at } = played(3.5);
  at(0.2);
  expect(video.currentTime).toBe(1.5);
});

it.each([
  ['time=1s&duration=3.5s', 3.5],
  ['time=1s&duration=1m2s', 62],
  ['duration=20', 20],
])('%s is so long', (query, expected) => {
  expect(clipLengthS(query)).toBe(expected);
});
