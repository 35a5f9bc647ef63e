/** A path that is alive but too narrow: how it is seen, and what is done about it. */
import { describe, expect, it } from 'vitest';
import { parseCatalog } from '../src/moq/catalog';
import { readLargest } from '../src/moq/messages';
import { Ordered } from '../src/moq/ordered';
import { Reader, Writer } from '../src/moq/wire';
import { Descent } from '../src/player/descent';
import { Path } from '../src/player/path';
import { Throughput } from '../src/player/throughput';

const FRAME_MS = 1_000 / 30;

describe('media against the clock', () => {
  /** So many seconds of frames in groups of 30, at this pace, without some groups; answers when it was said to be narrow, and what share came. */
  async function watched({ seconds, pace, lagging, lostGroups = [] }: { seconds: number; pace: (atMs: number) => number; lagging: boolean; lostGroups?: number[] }) {
    let [asked, presentMs, count, owedMs] = [0, 0, 0, 0];
    const narrow: [number, number][] = [];
    let now = 0;
    const throughput = new Throughput(
      () => {
        asked++;
        return Promise.resolve(lagging);
      },
      (share) => narrow.push([now, share]),
    );
    for (; now < seconds * 1_000; now += 10) {
      for (owedMs += 10 * pace(now); owedMs >= FRAME_MS; owedMs -= FRAME_MS) {
        if (!lostGroups.includes(Math.floor(count / 30))) throughput.frame(presentMs, count % 30 === 0, now);
        presentMs += FRAME_MS;
        count++;
      }
      if (now % 100 === 0) throughput.look(now);
      await Promise.resolve();
    }
    return { asked, narrow };
  }

  it('asks nothing while all comes', async () => {
    expect(await watched({ seconds: 60, pace: () => 1, lagging: true })).toEqual({ asked: 0, narrow: [] });
  });

  it('is narrow where half comes and the server has more', async () => {
    const { narrow } = await watched({ seconds: 30, pace: (atMs) => (atMs < 10_000 ? 1 : 0.5), lagging: true });
    const [atMs = 0, share = 0] = narrow[0] ?? [];
    expect(atMs).toBeGreaterThan(11_000);
    expect(atMs).toBeLessThan(14_000);
    expect(share).toBeGreaterThan(0.4);
    expect(share).toBeLessThan(0.7);
  });

  it('is narrow where a tenth is missing', async () => {
    const { narrow } = await watched({ seconds: 30, pace: (atMs) => (atMs < 10_000 ? 1 : 0.9), lagging: true });
    expect(narrow.length).toBeGreaterThan(0);
  });

  it('is not where the server has no more: the encoder is slow, or pauses', async () => {
    const { asked, narrow } = await watched({ seconds: 30, pace: (atMs) => (atMs < 10_000 ? 1 : 0.5), lagging: false });
    expect(narrow).toEqual([]);
    // Once a second.
    expect(asked).toBeGreaterThan(15);
    expect(asked).toBeLessThanOrEqual(20);
  });

  it('does not count a group that was stepped over', async () => {
    const { asked } = await watched({ seconds: 12, pace: () => 1, lagging: false, lostGroups: [8, 9] });
    // While it lacks, and after that.
    expect(asked).toBe(4);
  });

  it('begins anew with another track', () => {
    const throughput = new Throughput(
      () => Promise.reject(new Error('asked')),
      () => {},
    );
    throughput.frame(0, true, 0);
    throughput.forget();
    throughput.look(60_000);
    throughput.frame(0, true, 60_000);
    throughput.look(60_500);
  });
});

describe('what the server has (draft-18 §10.2)', () => {
  it.each([
    ['nothing said', new Writer().varint(0), null],
    ['its newest object', new Writer().varint(1).varint(9).varint(70_000).varint(3), { group: 70_000, id: 3 }],
    ['behind when it expires', new Writer().varint(2).varint(8).varint(500).varint(1).varint(7).varint(0), { group: 7, id: 0 }],
    ['another parameter', new Writer().varint(1).varint(0x10).byte(1), null],
  ])('%s', (_name, body, expected) => {
    expect(readLargest(new Reader(body.done()))).toEqual(expected);
  });

  it('is here once that object, or a newer one, was handed out', () => {
    const order = new Ordered(250, () => {});
    const object = (group: number, id: number) => order.object({ group, id, properties: new Uint8Array(), payload: new Uint8Array() }, 0);
    expect(order.reaches({ group: 3, id: 0 })).toBe(false);
    object(3, 0);
    // It waits for the end of the group before.
    object(4, 0);
    expect([order.reaches({ group: 3, id: 0 }), order.reaches({ group: 3, id: 1 }), order.reaches({ group: 4, id: 0 })]).toEqual([true, false, false]);
    order.streamEnded(3, 0);
    expect([order.reaches({ group: 3, id: 9 }), order.reaches({ group: 4, id: 0 }), order.reaches({ group: 4, id: 1 })]).toEqual([true, true, false]);
  });
});

describe('a lower level', () => {
  const named = [['own', 6_000], ['720p', 3_000], ['480p', 1_500], ['360p', 800], ['unknown', 0]] as const;
  const tracks = parseCatalog(JSON.stringify({ version: 'draft-01', tracks: named.map(([name, bitrate]) => ({ name, bitrate })) }))?.tracks ?? [];
  const at = (name: string) => {
    const found = tracks.find((track) => track.name === name);
    if (found === undefined) throw new Error(`no ${name}`);
    return found;
  };

  it.each([
    ['own', 0.9, '720p'],
    ['own', 0.5, '480p'],
    ['own', 0.1, '360p'],
    ['480p', 0.9, '360p'],
    ['360p', 0.5, null],
    ['unknown', 0.5, null],
  ] as const)('than %s, of which %f comes, is %s', (name, share, expected) => {
    const descent = new Descent();
    expect(descent.down(tracks, at(name), share, 0)).toBe(expected !== null);
    expect(descent.name).toBe(expected);
  });

  it('is left again after a while that grows', () => {
    const descent = new Descent();
    expect(descent.up(0)).toBe(false);
    descent.down(tracks, at('own'), 0.9, 0);
    expect([descent.up(19_999), descent.up(20_000), descent.name]).toEqual([false, true, null]);
    descent.down(tracks, at('own'), 0.9, 30_000);
    expect([descent.up(89_999), descent.up(90_000), descent.up(90_000)]).toEqual([false, true, false]);
  });
});

describe('a way that is too narrow', () => {
  it('is tried again later than one that was lost, and ever later', () => {
    const path = new Path();
    path.lost('narrow', null, 0);
    expect([path.mayTryMoq(19_999), path.mayTryMoq(20_000)]).toEqual([false, true]);
    path.works(20_000);
    path.works(45_000);
    path.lost('narrow', null, 50_000);
    expect([path.mayTryMoq(109_999), path.mayTryMoq(110_000)]).toEqual([false, true]);
    // It was wide enough for a minute.
    path.works(110_000);
    path.works(170_000);
    path.lost('narrow', null, 200_000);
    expect([path.mayTryMoq(219_999), path.mayTryMoq(220_000)]).toEqual([false, true]);
  });

  it('is not tried again for as long as it stays so', () => {
    const path = new Path();
    path.carries(9_000_000);
    path.lost('narrow', null, 0, 3_000_000);
    // What came before it was too narrow says nothing.
    expect(path.mayTryMoq(400_000)).toBe(false);
    for (const [bps, may] of [[2_900_000, false], [3_000_000, true], [1_000_000, false]] as const) {
      path.carries(bps);
      expect(path.mayTryMoq(400_000), String(bps)).toBe(may);
    }
    // An engine that does not know can't say so for ever.
    path.carries(undefined);
    expect([path.mayTryMoq(19_999), path.mayTryMoq(20_000)]).toEqual([false, true]);
    path.works(20_000);
    path.carries(1_000_000);
    path.failed(30_000);
    expect(path.mayTryMoq(32_000)).toBe(true);
  });

  it('leads where the server has sent us', () => {
    const there = { url: 'https://b.example/', certificate: null };
    const path = new Path();
    path.lost('open', there, 0);
    expect([path.movedTo, path.mayTryMoq(0)]).toEqual([there, true]);
    path.lost('narrow', null, 0);
    expect(path.movedTo).toBe(there);
    path.lost('gone', null, 0);
    expect(path.movedTo).toBeNull();
  });
});
