import { expect, it } from 'vitest';
import { Cmcd } from '../src/player/cmcd';
import { cmcdUrl } from '../src/player/source';

function player(): { cmcd: Cmcd; sent: string[] } {
  const sent: string[] = [];
  return { cmcd: new Cmcd((url, text) => sent.push(`${url} ${text.replace(/sid="[0-9a-f]{32}"/, 'sid')}`)), sent };
}

it('reports the start once, stalls, and now and then', () => {
  const { cmcd, sent } = player();
  const playing = { moq: false, live: true, stalls: 0, bitrateBps: 2_999_600 };
  cmcd.begin('/a/cmcd', 1_000);
  cmcd.playing(playing, 1_480.4);
  cmcd.playing(playing, 1_730);
  cmcd.begin('/a/cmcd', 2_000);
  cmcd.playing({ ...playing, stalls: 1 }, 9_000);
  cmcd.playing({ ...playing, stalls: 1 }, 38_999);
  cmcd.playing({ ...playing, stalls: 1, bitrateBps: 0 }, 39_000);
  expect(sent).toEqual([
    '/a/cmcd br=3000,msd=480,ot=v,sf=h,sid,st=l',
    '/a/cmcd br=3000,bs,ot=v,sf=h,sid,st=l',
    '/a/cmcd ot=v,sf=h,sid,st=l',
  ]);
});

it('counts the start from the wish to play, and anew for another source', () => {
  const { cmcd, sent } = player();
  cmcd.begin('/a/cmcd', 0);
  cmcd.wanted(5_000);
  cmcd.playing({ moq: false, live: false, stalls: 0, bitrateBps: 0 }, 5_100);
  cmcd.begin('/b/cmcd', 8_000);
  cmcd.playing({ moq: false, live: true, stalls: 3, bitrateBps: 0 }, 8_200);
  expect(sent).toEqual(['/a/cmcd msd=100,ot=v,sf=h,sid,st=v', '/b/cmcd msd=200,ot=v,sf=h,sid,st=l']);
});

it('tells nobody about a manifest of somebody else', () => {
  expect(cmcdUrl({ kind: 'url', url: 'https://example.com/x.m3u8' }, null)).toBe(null);
  expect(cmcdUrl({ kind: 'id', server: 'https://s', id: 'I' }, 'V')).toBe('https://s/V/cmcd');
  const { cmcd, sent } = player();
  cmcd.begin(null, 0);
  cmcd.playing({ moq: false, live: true, stalls: 0, bitrateBps: 0 }, 100);
  expect(sent).toEqual([]);
});

it('over MoQ the format is another one', () => {
  const { cmcd, sent } = player();
  cmcd.begin('/a/cmcd', 0);
  cmcd.playing({ moq: true, live: true, stalls: 0, bitrateBps: 0 }, 100);
  cmcd.playing({ moq: false, live: true, stalls: 1, bitrateBps: 0 }, 200);
  expect(sent).toEqual(['/a/cmcd msd=100,ot=v,sf=o,sid,st=l', '/a/cmcd bs,ot=v,sf=h,sid,st=l']);
});
