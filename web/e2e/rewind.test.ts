/** Back into the past over MoQ: which group, and what waits meanwhile. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { MoqObject } from '../src/moq/objects';
import { type Begins, groupAt, Rewind } from '../src/player/rewind';

describe('the group that was under way', () => {
  const seen: Begins[] = [[40, 80], [41, 82], [42, 84.5], [43, 86]];

  it.each([
    [[], 5, null],
    [seen, 82, 41],
    [seen, 84.4, 41],
    [seen, 99, 43],
    // Before what was seen: by the length of those groups, and one more.
    [seen, 79.9, 38],
    [seen, 70, 34],
    [seen, 0, 0],
    [[[40, 80]], 76, 37],
    [[[2, 4]], 0, 0],
  ] as const)('of %j at %d is %s', (begins, atS, expected) => {
    expect(groupAt(begins, atS)).toBe(expected);
  });
});

describe('on the way back', () => {
  beforeEach(() => {
    vi.stubGlobal('window', globalThis);
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });

  const object = (group: number, id: number): MoqObject => ({ group, id, properties: new Uint8Array(), payload: new Uint8Array() });
  const name = ({ group, id }: MoqObject) => `${group}.${id}`;

  function rewind() {
    const out: string[] = [];
    let give: (object: MoqObject) => void = () => {};
    let end: (failed: boolean) => void = () => {};
    const done = new Promise<void>((resolve, reject) => {
      end = (failed) => (failed ? reject(new Error('broken off')) : resolve());
    });
    let closed = 0;
    const fetch = (take: (object: MoqObject) => void) => {
      give = take;
      return { done, close: () => closed++ };
    };
    const it = new Rewind([object(9, 0), object(9, 1)], fetch, (past) => out.push(name(past)), (live) => out.push(`live ${live.map(name).join(' ')}`));
    return { it, out, give: (group: number, id: number) => give(object(group, id)), end: (failed: boolean) => end(failed), closed: () => closed };
  }

  it.each([false, true])('the past comes first, then what came live from the beginning of its group; broken off: %s', async (failed) => {
    const { it, out, give, end } = rewind();
    give(7, 0);
    it.hold(object(9, 2));
    give(8, 0);
    it.hold(object(10, 0));
    expect(out).toEqual(['7.0', '8.0']);
    end(failed);
    await vi.advanceTimersByTimeAsync(0);
    expect(out).toEqual(['7.0', '8.0', 'live 9.0 9.1 9.2 10.0']);
    it.end();
    give(8, 1);
    expect(out).toHaveLength(3);
  });

  it('what does not come keeps nobody waiting', () => {
    const { out, give, closed } = rewind();
    vi.advanceTimersByTime(3_900);
    give(7, 0);
    vi.advanceTimersByTime(3_900);
    expect(out).toEqual(['7.0']);
    vi.advanceTimersByTime(200);
    expect(out).toEqual(['7.0', 'live 9.0 9.1']);
    expect(closed()).toBe(1);
  });
});
