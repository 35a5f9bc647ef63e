/** Pictures above the seek bar: what a storyboard says, and which of it is shown where. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Engine } from '../src/player/engine';
import { Pictures } from '../src/player/pictures';
import type { Lifecycle } from '../src/player/session';
import { Storyboard, parseStoryboard, tileAt } from '../src/player/storyboard';

const BASE = 'https://host/ID/thumbnails/storyboard.vtt';
const TEXT = `WEBVTT

98
00:00:00.000 --> 00:00:02.000
sheet-1-98-99.jpg#xywh=0,0,192,108

99
00:00:02.000 --> 00:00:04.000
sheet-1-98-99.jpg#xywh=192,0,192,108

102
01:00:04.500 --> 01:00:06.000
sheet-1-102-102.jpg#xywh=0,108,96,54
`;

describe('whose pictures are asked for', () => {
  const source = { kind: 'id', server: '', id: 'input' } as const;
  const said = { isInput: true, videoUID: 'video', live: true, status: '', name: null, moq: null, thumbnails: true };
  test.each<[string, Partial<Lifecycle>, RegExp | null, string | null]>([
    ['on the air', {}, /^\/input\/thumbnails/, '/input/thumbnails/storyboard.vtt'],
    ['an input off the air: of its recording, when that is played', { live: false }, null, '/video/thumbnails/storyboard.vtt'],
    ['a recording', { live: false, isInput: false }, /^\/input\/thumbnails/, '/input/thumbnails/storyboard.vtt'],
    ['nobody makes any', { thumbnails: false }, null, null],
  ])('%s', (_name, lifecycle, poster, storyboard) => {
    const asked: string[] = [];
    vi.stubGlobal('fetch', (url: string) => {
      asked.push(url);
      return Promise.reject(new Error('off'));
    });
    const pictures = new Pictures();
    pictures.follow({ ...said, ...lifecycle });
    pictures.load(source, lifecycle.live === false && lifecycle.isInput !== false ? 'video' : null, () => {});
    pictures.at(1, { segmentAt: () => null, live: false } as unknown as Engine);
    vi.unstubAllGlobals();
    expect(asked).toEqual(storyboard === null ? [] : [storyboard]);
    const address = pictures.poster(source);
    if (poster === null) expect(address).toBeNull();
    else expect(address).toMatch(poster);
  });
});

describe('a storyboard', () => {
  test('has a tile for each cue', () => {
    const tiles = parseStoryboard(TEXT, BASE);
    expect(tiles.map(({ segment, fromS, x, y }) => [segment, fromS, x, y])).toEqual([
      [98, 0, 0, 0],
      [99, 2, 192, 0],
      [102, 3604.5, 0, 108],
    ]);
    expect(tiles[2]).toMatchObject({ url: 'https://host/ID/thumbnails/sheet-1-102-102.jpg', width: 96, height: 54 });
    expect(parseStoryboard(TEXT.replaceAll('\n', '\r\n'), BASE)).toEqual(tiles);
  });

  test('of somebody else may have no ids and no hours; what is no cue is passed over', () => {
    const text = 'WEBVTT - made elsewhere\n\nNOTE x\n\n01:02.5 --> 01:04.0\n/a.jpg#xywh=1,2,3,4\n\nnothing\n\n00:00 --> 00:01\na.jpg\n';
    expect(parseStoryboard(text, BASE)).toEqual([
      { segment: null, fromS: 62.5, url: 'https://host/a.jpg', x: 1, y: 2, width: 3, height: 4 },
    ]);
    expect(parseStoryboard('', BASE)).toEqual([]);
  });

  test.each([
    [0, 98, 98],
    [500, 98, 98],
    [0, 99, 99],
    [0, 101, 99],
    [0, 102, 102],
    [0, 5, 98],
    [0, null, 98],
    [3.9, null, 99],
    [9_999, null, 102],
  ])('at %s s, which is segment %s, it shows %s', (positionS, segment, expected) => {
    expect(tileAt(parseStoryboard(TEXT, BASE), positionS, segment)?.segment).toBe(expected);
  });

  test('without pictures there is none', () => {
    expect(tileAt([], 1, 1)).toBeNull();
  });
});

describe('what is refused', () => {
  beforeEach(() => vi.useFakeTimers());
  afterEach(() => {
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });
  const settled = () => vi.advanceTimersByTimeAsync(0);
  const later = () => vi.advanceTimersByTimeAsync(8_001);

  /** One whose answers are these, the last one for ever; null: none in time. */
  const storyboard = (answers: (number | null)[], sheets: boolean[] = [true]) => {
    const asked: string[] = [];
    const next = <T>(all: T[]): T => (all.length > 1 ? all.shift()! : all[0]!);
    vi.stubGlobal('fetch', (url: string) => {
      asked.push(url.split('/').pop()!);
      const status = next(answers);
      return status === null ? Promise.reject(new Error('timeout')) : Promise.resolve(new Response(TEXT, { status }));
    });
    const load = (url: string) => {
      asked.push(url.split('/').pop()!);
      return next(sheets) ? Promise.resolve() : Promise.reject(new Error('503'));
    };
    const onNews = vi.fn();
    const board = new Storyboard(BASE, onNews, load);
    const look = async (grows = false) => {
      const tile = board.at(0, 98, grows);
      await settled();
      return tile?.segment ?? null;
    };
    return { asked, onNews, look };
  };

  test.each([[503], [null]])('a storyboard that is answered with %s is asked for again after a while', async (refused) => {
    const { asked, look } = storyboard([refused, 200]);
    expect([await look(), await look()]).toEqual([null, null]);
    expect(asked).toEqual(['storyboard.vtt']);
    await later();
    // It is there, then its sheet is.
    expect([await look(), await look(), await look()]).toEqual([null, null, 98]);
    await later();
    expect(await look()).toBe(98);
    expect(asked).toEqual(['storyboard.vtt', 'storyboard.vtt', 'sheet-1-98-99.jpg']);
  });

  test('a sheet that is refused is asked for again after a while, and shown when it is there', async () => {
    const { asked, onNews, look } = storyboard([200], [false, true]);
    expect([await look(), await look(), await look()]).toEqual([null, null, null]);
    expect([asked.length, onNews.mock.calls.length]).toEqual([2, 1]);
    await later();
    expect([await look(), await look()]).toEqual([null, 98]);
    expect([asked.length, onNews.mock.calls.length]).toEqual([3, 2]);
    await later();
    expect(await look()).toBe(98);
    expect(asked.length).toBe(3);
  });

  test('one that grows is asked for again, and its sheets that are there are not', async () => {
    const { asked, look } = storyboard([200]);
    await look(true);
    await look(true);
    await later();
    expect(await look(true)).toBe(98);
    expect(asked).toEqual(['storyboard.vtt', 'sheet-1-98-99.jpg', 'storyboard.vtt']);
  });
});
