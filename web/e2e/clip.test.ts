import { describe, expect, it } from 'vitest';
import { clipOf } from '../src/shared/clip-link';
import { clipQuery, clockText, linkWords, moved, newest, pinned } from '../src/watch/clip-range';

describe('the range of a clip', () => {
  it('begins with the newest half minute', () => {
    expect(newest(300)).toEqual({ fromS: 270, toS: 300 });
    expect(newest(10)).toEqual({ fromS: 0, toS: 10 });
    expect(newest(300, 8)).toEqual({ fromS: 296, toS: 300 });
    expect(moved({ fromS: 10, toS: 18 }, 'from', 2, 100, 8)).toEqual({ fromS: 2, toS: 10 });
  });

  it.each([
    ['from', 20, { fromS: 20, toS: 40 }],
    ['from', 39.8, { fromS: 39.8, toS: 40.8 }],
    ['from', 500, { fromS: 99, toS: 100 }],
    ['from', -1, { fromS: 0, toS: 40 }],
    ['to', 100, { fromS: 40, toS: 100 }],
    ['to', 10.5, { fromS: 9.5, toS: 10.5 }],
    ['to', 0, { fromS: 0, toS: 1 }],
  ] as const)('%s moved to %s stays within a second and a minute', (end, positionS, expected) => {
    const range = moved({ fromS: 10, toS: 40 }, end, positionS, 100);
    expect(range.fromS).toBeCloseTo(expected.fromS);
    expect(range.toS).toBeCloseTo(expected.toS);
  });

  it('is not handed on with a token of the viewer without a word', () => {
    const link = 'https://live.example.org/a.b.c/watch?time=1s&duration=2s';
    const own = ' It has your own token in it: whoever gets it can watch the whole broadcast, as you can.';
    expect(linkWords(link, false, true)).toBe('The link to the clip is copied.');
    expect(linkWords(link, false, false)).toBe(link);
    expect(linkWords(link, true, true)).toBe(`The link to the clip is copied.${own}`);
    expect(linkWords(link, true, false)).toBe(link + own);
  });

  it('is written as the server reads it', () => {
    expect(clipQuery({ fromS: 1.25, toS: 31.2504 }, 100)).toBe('time=101.25s&duration=30s');
  });

  it.each([
    ['?time=1m2s&duration=30s', 'time=1m2s&duration=30s'],
    ['?duration=5', 'time=0s&duration=5'],
    ['?time=5', null],
    ['?time="><script>&duration=5', null],
    ['', null],
  ])('is read from the address %s', (search, expected) => expect(clipOf(search)).toBe(expected));

  it('names its segments', () => {
    expect(pinned('#EXTM3U\nvideo.cmaf.m3u8?protocol=hls&segments=7-12\n')).toBe('segments=7-12');
    expect(pinned('#EXTM3U\n')).toBeNull();
  });

  it.each([
    [0, '0:00.0'],
    [61.26, '1:01.3'],
    [3_725, '1:02:05.0'],
  ])('%s s reads %s', (seconds, text) => expect(clockText(seconds)).toBe(text));
});
