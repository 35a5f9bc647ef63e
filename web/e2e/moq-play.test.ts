/** What a player makes of MoQ: groups in order, catalogs, properties of parts, and which way media comes. */
import { describe, expect, it } from 'vitest';
import { parseCatalog } from '../src/moq/catalog';
import type { MoqObject } from '../src/moq/objects';
import { Ordered } from '../src/moq/ordered';
import { Writer, writePairs } from '../src/moq/wire';
import { partInfo } from '../src/player/part';
import { Change } from '../src/player/change';
import { Lacking } from '../src/player/lacking';
import { Path } from '../src/player/path';
import { moqPlace } from '../src/player/source';

describe('groups', () => {
  /** `3.0` an object of group 3, `3!` the end of its stream, `+100` so many ms pass. */
  function played(history: string): string {
    const out: string[] = [];
    let now = 0;
    const order = new Ordered(250, ({ group, id }, first) => out.push(`${group}.${id}${first ? '*' : ''}`));
    for (const event of history.split(' ')) {
      if (event.startsWith('+')) order.tick((now += Number(event)));
      else if (event.endsWith('!')) order.streamEnded(parseInt(event), now);
      else {
        const [group = 0, id = 0] = event.split('.').map(Number);
        order.object({ group, id, properties: new Uint8Array(), payload: new Uint8Array() }, now);
      }
    }
    return out.join(' ');
  }

  it.each([
    ['as they come', '3.0 3.1 3! 4.0', '3.0* 3.1 4.0*'],
    ['the next one waits for the end of the one before', '3.0 4.0 4.1 3.1 3! 4.2', '3.0* 3.1 4.0* 4.1 4.2'],
    ['an end without objects', '3.0 3! 4! 5.0', '3.0* 5.0*'],
    ['one that stands still is given up', '3.0 4.0 +200 +60 3.1 4.1', '3.0* 4.0* 4.1'],
    ['not while it is the newest', '3.0 +1000 3.1', '3.0* 3.1'],
    ['late objects of an old group are dropped', '3.0 3! 4.0 3.1', '3.0* 4.0*'],
    ['a hole in the numbers', '3.0 3! 9.0', '3.0* 9.0*'],
    ['long after they were asked for', '+300 3.0 3.1', '3.0* 3.1'],
    ['several behind', '3.0 4.0 5.0 4! +260', '3.0* 4.0* 5.0*'],
  ])('%s', (_name, history, expected) => {
    expect(played(history)).toBe(expected);
  });
});

describe('another level', () => {
  /** `3.1` an object of the old level, `3.1'` of the new one, `+100` so many ms pass; answers what is shown. */
  function shown(at: number | null, history: string): string {
    const out: string[] = [];
    const change = new Change(at);
    let [now, taken] = [0, false];
    for (const event of history.split(' ')) {
      if (event.startsWith('+')) {
        now += Number(event);
        continue;
      }
      const isNew = event.endsWith("'");
      const [group = 0, id = 0] = event.replace("'", '').split('.').map(Number);
      const came: [MoqObject, boolean] = [{ group, id, properties: new Uint8Array(), payload: new Uint8Array() }, id === 0];
      if (isNew) taken ||= change.begins(came);
      if (isNew && taken) out.push(event);
      if (!isNew && !taken) out.push(...change.old(came, now).map(([object]) => `${object.group}.${object.id}`));
    }
    return out.join(' ');
  }

  it.each([
    ['begins with the next group', 3, "3.1 3.0' 3.1' 3.2 4.0' 4.0 4.1'", "3.1 3.2 4.0' 4.1'"],
    ['waits for its beginning, a part behind', 3, "3.1 3.0' 3.2 4.0 4.0' 4.1 4.1'", "3.1 3.2 4.0' 4.1'"],
    ['does not come in time: the group after that', 3, "3.0' 4.0 +500 4.1 +400 4.2 4.0' 5.0' 5.0", "4.0 4.1 4.2 5.0'"],
    ['has nothing yet: all as it was', 3, '3.1 3.2 4.0 +900 4.1', '3.1 3.2 4.0 4.1'],
    ['not in the middle of a group', 3, "3.1 4.1' 4.0 4.1 5.0'", "3.1 5.0'"],
    ['before anything was shown', null, "3.0' 3.0 3.1'", "3.0' 3.1'"],
  ])('%s', (_name, at, history, expected) => {
    expect(shown(at, history)).toBe(expected);
  });
});

describe('a level of which nothing comes', () => {
  /** So many seconds after its last object, of group 5, the server has this group of the original; answers when it was found to be lacking, and how often it was asked. */
  async function looked(seconds: number, newest: (atS: number) => number | null): Promise<[lackingAtS: number[], asked: number]> {
    const lackingAtS: number[] = [];
    let [nowMs, asked] = [0, 0];
    const newestOriginal = () => {
      asked++;
      return Promise.resolve(newest(nowMs / 1_000));
    };
    const lacking = new Lacking(newestOriginal, () => {
      lackingAtS.push(nowMs / 1_000);
      lacking.forget();
    });
    lacking.object(5, 0);
    for (; nowMs <= seconds * 1_000; nowMs += 100) {
      lacking.look(nowMs);
      await Promise.resolve();
    }
    return [lackingAtS, asked];
  }

  it.each([
    ['its original goes on', 20, (atS: number) => 5 + Math.floor(atS / 2), [[4], 2]],
    ['its original pauses, too', 10, () => 6, [[], 8]],
    ['nobody says, or it is the original', 10, () => null, [[], 8]],
    ['it was silent for a moment', 2.9, () => 9, [[], 0]],
  ] as const)('%s', async (_name, seconds, newest, expected) => {
    expect(await looked(seconds, newest)).toEqual(expected);
  });

  it('comes again while it is asked about its original', async () => {
    let said: (newest: number) => void = () => {};
    const newest = new Promise<number>((resolve) => (said = resolve));
    let lacks = false;
    const lacking = new Lacking(() => newest, () => (lacks = true));
    lacking.object(5, 0);
    lacking.look(3_000);
    lacking.object(6, 3_100);
    said(9);
    await newest;
    expect(lacks).toBe(false);
  });
});

describe('catalogs', () => {
  const track = { name: 'video.cmaf', packaging: 'cmaf', role: 'video', codec: 'avc1.64001e', width: 640, height: 360, bitrate: 7, initRef: 'v' };

  it('name tracks and how to begin them', () => {
    const catalog = parseCatalog(JSON.stringify({ version: 'draft-01', tracks: [track], initDataList: [{ id: 'v', type: 'inline', data: 'AQID' }] }));
    expect(catalog?.tracks[0]).toMatchObject({ name: 'video.cmaf', role: 'video', width: 640, init: Uint8Array.of(1, 2, 3) });
    expect(catalog?.complete).toBe(false);
  });

  it.each([
    [[{ scheme: 'urn:scte:dash:cc:cea-608:2015', value: 'CC1=und' }], true],
    [[{ scheme: 'urn:scte:dash:cc:cea-708:2015', value: '1=lang:und' }], true],
    [[{ scheme: 'urn:tva:metadata:cs:AudioPurposeCS:2007', value: '1' }], false],
    [[null, {}, { scheme: 7 }], false],
    [7, false],
  ])('say whether there are captions inside the picture: %j', (accessibility, expected) => {
    expect(parseCatalog(JSON.stringify({ version: 'draft-01', tracks: [{ name: 'sound' }, { ...track, accessibility }] }))?.captions).toBe(expected);
  });

  it('say that it is over', () => {
    expect(parseCatalog('{"version":"draft-01","isComplete":true,"tracks":[]}')).toEqual({ complete: true, captions: false, tracks: [] });
  });

  it.each(['', '7', '{}', '{"version":"draft-99","tracks":[]}', '{"version":1}'])('%s is none', (json) => {
    expect(parseCatalog(json)).toBeNull();
  });

  it.each([{ tracks: 7 }, { tracks: [null, 7, {}] }, { initDataList: [null, { id: 'v', type: 'inline', data: '!' }], tracks: [track] }])('%j is borne', (more) => {
    expect(parseCatalog(JSON.stringify({ version: 'draft-01', ...more }))).not.toBeNull();
  });
});

describe('properties of parts', () => {
  const part = new Writer().varint(1).varint(30_000).varint(334).varint(2).done();
  const segment = new Writer().varint(0).varint(90_000).varint(3).varint(1_763_812_800_123).varint(180_000).varint(0).varint(7).done();

  it('say how long parts are, and when it was', () => {
    expect(partInfo(writePairs([[0x3801, part]]))).toEqual({ duration: 30_000, targetMs: 334, segment: null });
    const begins = { timescale: 90_000, wallClockMs: 1_763_812_800_123, startS: 2, init: 7 };
    expect(partInfo(writePairs([[0x3801, part], [0x3803, segment]]))).toEqual({ duration: 30_000, targetMs: 334, segment: begins });
    expect(partInfo(writePairs([[0x10, 5]]))).toBeNull();
  });
});

describe('the way that media comes', () => {
  it('is MoQ until it fails, and again after a while that grows', () => {
    const path = new Path();
    expect(path.mayTryMoq(0)).toBe(true);
    path.works(0);
    path.failed(10_000);
    expect([path.mayTryMoq(11_999), path.mayTryMoq(12_000)]).toEqual([false, true]);
    path.failed(12_000);
    expect([path.mayTryMoq(15_999), path.mayTryMoq(16_000)]).toEqual([false, true]);
    for (let at = 0; at < 9; at++) path.failed(16_000);
    expect([path.mayTryMoq(45_999), path.mayTryMoq(46_000)]).toEqual([false, true]);
  });

  it('forgets what failed after twenty good seconds', () => {
    const path = new Path();
    for (let at = 0; at < 9; at++) path.failed(0);
    path.works(30_000);
    path.works(49_999);
    path.works(50_000);
    path.failed(60_000);
    expect(path.mayTryMoq(62_000)).toBe(true);
  });

  it('is gone anew at once where it is open, but not again and again', () => {
    const path = new Path();
    const there = { url: 'https://b.example/', certificate: null };
    path.works(0);
    for (let at = 1_000; at <= 3_000; at += 1_000) {
      path.lost('open', there, at);
      expect(path.mayTryMoq(at)).toBe(true);
      path.works(at);
    }
    path.works(29_000);
    path.lost('open', there, 30_000);
    expect([path.mayTryMoq(30_000), path.movedTo]).toEqual([true, there]);
    for (let at = 31_000; at <= 33_000; at += 1_000) path.lost('open', there, at);
    expect([path.mayTryMoq(34_999), path.mayTryMoq(35_000), path.movedTo]).toEqual([false, true, there]);
    path.lost('open', there, 35_000);
    expect([path.mayTryMoq(38_999), path.mayTryMoq(39_000)]).toEqual([false, true]);
    path.works(39_000);
    path.works(59_000);
    path.lost('open', there, 60_000);
    expect(path.mayTryMoq(60_000)).toBe(true);
  });

  it('is on the host of the page or of the server, at the id that the page has', () => {
    const moq = { port: 4443, namespace: ['default', 'in'], certificate: 'ab' };
    const id = { kind: 'id', server: '', id: 'token' } as const;
    const place = (url: string) => ({ address: { url, certificate: 'ab' }, namespace: ['default', 'in'] });
    expect(moqPlace(id, moq, 'https://a.example:8443/token/watch')).toEqual(place('https://a.example:4443/token'));
    expect(moqPlace({ ...id, server: 'https://b.example' }, moq, 'https://a.example/')).toEqual(place('https://b.example:4443/token'));
    expect(moqPlace(id, moq, 'http://[::1]:8080/x')).toEqual(place('https://[::1]:4443/token'));
    expect(moqPlace(id, null, 'https://a.example/')).toBeNull();
    expect(moqPlace({ kind: 'url', url: 'x.m3u8' }, moq, 'https://a.example/')).toBeNull();
  });
});
