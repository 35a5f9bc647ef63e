/** Pictures above the seek bar: what a storyboard says, and which of it is shown where. */
import { describe, expect, test, vi } from 'vitest';
import type { Engine } from '../src/player/engine';
import { Pictures } from '../src/player/pictures';
import type { Lifecycle } from '../src/player/session';
import { parseStoryboard, tileAt } from '../src/player/storyboard';

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
