import { expect, test } from 'vitest';
import { playbackRate } from '../src/player/catch-up';

const TARGET_S = 1;
const PART_S = 1 / 3;
const TICK_S = 0.25;

/** Plays parts that come in time, from so far behind the edge: where that leads, and the slowest and fastest pace. */
function play(latencyS: number): { latencyS: number; slowest: number; fastest: number; last: number } {
  let rate = 1;
  let [slowest, fastest] = [1, 1];
  for (let s = 0; s < 120; s += TICK_S) {
    latencyS += (1 - rate) * TICK_S;
    // What is missing of a part is not there yet.
    rate = playbackRate(rate, { latencyS, targetS: TARGET_S, bufferS: Math.max(0, latencyS - (s % PART_S)) });
    [slowest, fastest] = [Math.min(slowest, rate), Math.max(fastest, rate)];
  }
  return { latencyS, slowest, fastest, last: rate };
}

test('who began nearer than the hold-back, with nothing in hand, falls back to it', () => {
  for (const beganS of [0.3, 0.35, 0.38]) {
    const { latencyS, slowest, fastest, last } = play(beganS);
    expect(latencyS).toBeGreaterThan(TARGET_S - 0.1);
    expect(latencyS).toBeLessThan(TARGET_S);
    expect([slowest, fastest, last]).toEqual([0.92, 1, 1]);
  }
});

test('who is a little nearer, with parts in hand, keeps the pace, as does who is where he should be', () => {
  for (const beganS of [0.8, 0.9, 1, 1.2]) expect(play(beganS)).toEqual({ latencyS: beganS, slowest: 1, fastest: 1, last: 1 });
});

test('who is behind catches up, and no further', () => {
  const { latencyS, slowest, fastest, last } = play(3);
  expect(latencyS).toBeGreaterThan(TARGET_S);
  expect(latencyS).toBeLessThan(TARGET_S + 0.1);
  expect([slowest, fastest, last]).toEqual([1, 1.08, 1]);
});

test('who chose to be far behind stays there', () => {
  expect(play(20)).toEqual({ latencyS: 20, slowest: 1, fastest: 1, last: 1 });
});
