/** Bare frames over MoQ: what stands on them, when each is shown, and what decoders are told. */
import { describe, expect, it } from 'vitest';
import { parseCatalog } from '../src/moq/catalog';
import { frameInfo } from '../src/moq/loc';
import { writePairs } from '../src/moq/wire';
import { audioConfig, videoConfig } from '../src/player/decoding';
import { Delay } from '../src/player/delay';

describe('frames (LOC-04)', () => {
  const config = Uint8Array.of(1, 100, 0, 31);

  it.each([
    ['in units of their track', [[0x10, 90_000]], 90_000, { presentMs: 1_000 }],
    ['in units of their own', [[0x08, 1_000], [0x10, 1_500]], 90_000, { presentMs: 1_500 }],
    ['in microseconds', [[0x10, 1_700_000_000_000_000]], 0, { presentMs: 1_700_000_000_000 }],
    ['a key frame', [[0x09, Uint8Array.of(0xe0)], [0x0d, config], [0x10, 0]], 1_000, { independent: true, config }],
    ['another frame', [[0x09, Uint8Array.of(0xc0)], [0x10, 0]], 1_000, { independent: false, config: null }],
    ['one that does not say', [[0x10, 0]], 1_000, { independent: null }],
    ['sound with its configuration', [[0x0f, config], [0x10, 0]], 48_000, { config }],
    ['a group with its wall clock', [[0x10, 0], [0x3806, 1_700_000_000_123]], 1_000, { wallClockMs: 1_700_000_000_123 }],
    ['one that goes on', [[0x10, 0], [0x3808, 0]], 1_000, { discontinuity: false }],
    ['one of a publisher who has come back', [[0x10, 0], [0x3808, 1]], 1_000, { discontinuity: true }],
  ] as [string, [number, number | Uint8Array][], number, object][])('%s', (_name, properties, timescale, expected) => {
    expect(frameInfo(writePairs(properties), timescale)).toMatchObject(expected);
  });

  it('without a time are none', () => {
    expect(frameInfo(writePairs([[0x08, 1_000]]), 1_000)).toBeNull();
  });
});

describe('decoders', () => {
  const catalog = (codec: string) => parseCatalog(JSON.stringify({ version: 'draft-01', tracks: [{ codec, samplerate: 48_000, channelConfig: '2' }] }))?.tracks[0];
  const record = Uint8Array.of(1);

  it.each([
    ['avc1.64001f', record, { description: record }],
    // Annex B has its configuration in the bitstream.
    ['avc1.64001f', null, {}],
    ['vp09.00.10.08', record, {}],
    ['av01.0.04M.08', record, {}],
  ])('%s', (codec, config, more) => {
    const track = catalog(codec);
    expect(track && videoConfig(track, config)).toEqual({ codec, optimizeForLatency: true, ...more });
  });

  it.each([
    ['mp4a.40.2', 'mp4a.40.2', { description: record }],
    ['Opus', 'opus', {}],
    ['opus', 'opus', {}],
  ])('%s', (codec, name, more) => {
    const track = catalog(codec);
    expect(track && audioConfig(track, record)).toEqual({ codec: name, sampleRate: 48_000, numberOfChannels: 2, ...more });
  });
});

describe('when frames are shown', () => {
  /** Frames each 33 ms, each so much later than the fastest; the delay after the last one. */
  function play(delay: Delay, fromMs: number, seconds: number, lateMs: (at: number) => number): number {
    const frames = Math.round(seconds * 30);
    for (let at = 0; at < frames; at++) {
      const presentMs = fromMs + (at * 100) / 3;
      const nowMs = 1_000 + presentMs + lateMs(at);
      delay.arrived(presentMs, nowMs);
      delay.decoded(presentMs, nowMs);
    }
    return delay.ms;
  }

  it('as soon as may be where they come evenly', () => {
    const delay = new Delay();
    expect(play(delay, 0, 20, () => 0)).toBe(25);
    expect(delay.dueMs(100)).toBeCloseTo(1_125, 3);
  });

  it('later where many are late, and none is then', () => {
    const ms = play(new Delay(), 0, 20, (at) => (at % 10 === 0 ? 150 : 0));
    expect(ms).toBeGreaterThanOrEqual(160);
    expect(ms).toBeLessThan(200);
  });

  it('no later for long because one was late', () => {
    const delay = new Delay();
    play(delay, 0, 5, () => 0);
    expect(play(delay, 5_000, 1, (at) => (at === 5 ? 250 : 0))).toBeLessThanOrEqual(25 + 40);
    expect(play(delay, 6_000, 12, () => 0)).toBe(25);
  });

  it('with what came before all had to be caught up with left out', () => {
    const delay = new Delay();
    // Two seconds at once, as a viewer who joins gets them, decoded when all have come.
    for (let at = 0; at < 60; at++) delay.arrived((at * 100) / 3, 3_000);
    for (let at = 0; at < 45; at++) delay.decoded((at * 100) / 3, 3_000 + at);
    expect(delay.ms).toBe(50);
  });

  it('anew where the source stood still and goes on where it was', () => {
    const delay = new Delay();
    play(delay, 0, 5, () => 0);
    const ms = play(delay, 5_000, 5, () => 4_000);
    expect(ms).toBeLessThanOrEqual(50);
    expect(delay.dueMs(10_000)).toBeCloseTo(15_000 + ms, 3);
  });

  it('by the clock of who publishes now, from the first of his frames on', () => {
    const delay = new Delay();
    play(delay, 0, 5, () => 0);
    delay.anew(6_000);
    // A fifth of a second later than the one before: too little to be taken for another clock.
    expect(play(delay, 5_000, 1, () => 200)).toBe(25);
    expect(delay.dueMs(6_000)).toBeCloseTo(7_225, 3);
    // His picture says so too, a second later.
    delay.anew(7_200);
    expect(delay.dueMs(6_000)).toBeCloseTo(7_225, 3);
  });

  it('by a clock that drifts', () => {
    const delay = new Delay();
    play(delay, 0, 60, (at) => at / 30);
    // 60 ms in a minute: it followed.
    expect(delay.ms).toBeLessThan(50);
    expect(delay.dueMs(60_000) - 61_060).toBeGreaterThan(0);
  });
});
