/** The quality menu beside MoQ frame by frame, whose levels another list has. */
import { afterEach, expect, it, vi } from 'vitest';
import type { Engine } from '../src/player/engine';
import { Quality } from '../src/player/quality';

const engine = (mode: string, levels = 1) => ({ mode, levels: () => Array.from({ length: levels }, () => ({})) }) as unknown as Engine;
const list = (...heights: number[]) => heights.map((height) => `#EXT-X-STREAM-INF:BANDWIDTH=1,RESOLUTION=640x${height}\nx.m3u8\n`).join('');

afterEach(() => vi.unstubAllGlobals());

/** Each request is answered with the next of these; none: it fails. */
function server(...answers: (string | null)[]): { asked: () => number } {
  let asked = 0;
  vi.stubGlobal('fetch', () => {
    const text = answers[asked++] ?? null;
    return text === null ? Promise.reject(new TypeError('no connection')) : Promise.resolve(new Response(text));
  });
  return { asked: () => asked };
}

it('is asked for again where there was no answer, and then no more', async () => {
  const { asked } = server(null, list(1080, 360));
  const [quality, playing] = [new Quality(), engine('Real time')];
  const heights = () => quality.levels(playing).map(({ height }) => height);
  for (const [atMs, learned] of [[0, false], [7_000, false], [8_000, true], [60_000, false]] as const) {
    expect(await quality.learn(playing, 'list', atMs)).toBe(learned);
  }
  expect([asked(), heights()]).toEqual([2, [1080, 360]]);
});

it('is that of the broadcast that plays', async () => {
  const { asked } = server(list(1080, 360), null, list(720, 480));
  const [quality, first, next] = [new Quality(), engine('Real time'), engine('Real time')];
  await quality.learn(first, 'list', 0);
  // Its encoder brings its own ladder, or another size.
  await quality.learn(next, 'list', 1_000);
  await quality.learn(next, 'list', 9_000);
  expect([asked(), quality.levels(next).map(({ height }) => height)]).toEqual([3, [720, 480]]);
});

it('is not asked for where the engine has it', async () => {
  const { asked } = server();
  const quality = new Quality();
  for (const other of [engine('MoQ', 2), engine('Low latency'), null]) await quality.learn(other, 'list', 0);
  expect(asked()).toBe(0);
});
