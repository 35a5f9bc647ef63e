import { expect, test } from 'vitest';
import { Holes, type Standing } from '../src/player/holes';

/** Looks ten times a second, and does what is said as soon as it is said: where it was sent, and when. */
function watched(holes: Holes, seconds: number, at: (ms: number) => Partial<Standing>): [toS: number, atMs: number][] {
  const sent: [number, number][] = [];
  for (let ms = 0; ms <= seconds * 1000; ms += 100) {
    const toS = holes.look({ atS: 0, ready: false, seeking: false, ranges: [], ...at(ms) }, ms);
    if (toS !== null) sent.push([Number(toS.toFixed(3)), ms]);
  }
  return sent;
}

const RANGES = [
  [1, 10],
  [11, 67],
] as const;

test('who stands before a hole goes over it', () => {
  expect(watched(new Holes(), 0.5, () => ({ atS: 10, ranges: RANGES }))).toEqual([[11.01, 300]]);
});

test('a picture that has played on over a hole begins anew behind it, and stays', () => {
  const playing = (ms: number) => ({ atS: 9.5 + ms / 1000, ready: true, ranges: RANGES });
  expect(watched(new Holes(), 5, playing)).toEqual([[11.01, 1500]]);
});

test('who stands behind a hole in the midst of what is buffered begins anew', () => {
  const standing = { atS: 12.747, ranges: RANGES };
  expect(watched(new Holes(), 2.5, () => standing)).toEqual([[12.757, 2000]]);
  // A machine that is slow to begin is left to it, where there is nothing else.
  expect(watched(new Holes(), 2.5, () => ({ ...standing, atS: 1.2 }))).toEqual([[11.01, 2000]]);
  expect(watched(new Holes(), 5, () => ({ atS: 1.2, ranges: [[1, 67]] }))).toEqual([]);
});

test('a seek that never comes about goes on to what can be played', () => {
  const ranges = [[1, 33], [34.066, 34.091], [35.072, 67]] as const;
  expect(watched(new Holes(), 0.5, () => ({ atS: 34.076, seeking: true, ranges }))).toEqual([[35.082, 300]]);
  expect(watched(new Holes(), 0.5, () => ({ atS: 33.5, seeking: true, ranges }))).toEqual([[34.076, 300]]);
  // What is there takes its time, and behind the newest there is nothing.
  for (const atS of [35.082, 70]) expect(watched(new Holes(), 5, () => ({ atS, seeking: true, ranges }))).toEqual([]);
});

test('who plays, or waits at the end, is left alone', () => {
  expect(watched(new Holes(), 5, (ms) => ({ atS: 12 + ms / 1000, ready: true, ranges: RANGES }))).toEqual([]);
  expect(watched(new Holes(), 5, () => ({ atS: 66.95, ranges: RANGES }))).toEqual([]);
});

test('a viewer who goes over a hole himself is not sent back', () => {
  const holes = new Holes();
  const at = (atS: number, seeking: boolean, ms: number) => holes.look({ atS, ready: !seeking, seeking, ranges: RANGES }, ms);
  expect([at(5, false, 0), at(20, true, 100), at(20, false, 200), at(20.1, false, 300)]).toEqual([null, null, null, null]);
});
