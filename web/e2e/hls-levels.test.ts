// @vitest-environment happy-dom
/** Levels of hls.js and levels that are offered are two lists: of several sounds the viewer is offered one. */
import { ErrorDetails, Events, type HlsConfig } from 'hls.js';
import { expect, test, vi } from 'vitest';
import type { EngineEvents, Level } from '../src/player/engine';
import { HlsEngine } from '../src/player/hls-engine';

const fake = vi.hoisted(() => ({
  config: null as Partial<HlsConfig> | null,
  levels: [] as { height: number; audioCodec: string; uri: string }[],
  handlers: new Map<string, (event?: string, data?: unknown) => void>(),
  loadLevel: -1,
  nextLevel: -1,
  nextAutoLevel: -1,
  nextLoadLevel: -1,
  manualLevel: -1,
  currentLevel: -1,
  latestLevelDetails: null as object | null,
  audioTracks: [] as object[],
  audioTrack: -1,
  on(event: string, handler: () => void) {
    this.handlers.set(event, handler);
  },
  attachMedia() {},
  loadSource() {},
}));

vi.mock('hls.js', async (original) => {
  class Fake {
    static DefaultConfig = {};
    constructor(config: Partial<HlsConfig>) {
      fake.config = config;
      return fake;
    }
  }
  return { ...(await original<typeof import('hls.js')>()), default: Fake };
});

const list = (height: number) => `http://a.example/1/manifest/${height === 1080 ? 'video.cmaf' : `video.${height}p.cmaf`}.m3u8`;
const level = (height: number, audioCodec: string, score: number) => ({ width: 640, height, bitrate: height * 1_000, videoCodec: 'avc1', audioCodec, score, uri: list(height) });
const at = (height: number): Level => ({ width: 640, height, bitrateBps: height * 1_000, codecs: '' });

/** As hls.js sorts them: by height, the sounds mixed. */
function engine(wanted: Level | null): HlsEngine {
  fake.levels = [level(360, 'mp4a', 1), level(360, 'opus', 3), level(1080, 'mp4a', 2), level(1080, 'opus', 4)];
  fake.loadLevel = fake.nextLevel = fake.nextAutoLevel = fake.nextLoadLevel = fake.manualLevel = fake.currentLevel = -1;
  const made = new HlsEngine(document.createElement('video'), { url: 'x', from: 'live', captions: null, moq: null, level: wanted }, {} as EngineEvents);
  fake.handlers.get(Events.MANIFEST_PARSED)?.();
  return made;
}

test.each([
  ['none', null, -1],
  ['the low one', at(360), 1],
  ['the high one', at(1080), 3],
  ['one that is not there', at(720), -1],
])('begins with the level that is wanted: %s', (_, wanted, expected) => {
  engine(wanted);
  expect(fake.loadLevel).toBe(expected);
});

test('what is chosen is the same one in both lists', () => {
  const player = engine(null);
  expect(player.levels().map(({ height, codecs }) => `${height} ${codecs}`)).toEqual(['360 avc1,opus', '1080 avc1,opus']);
  for (const [index, place] of [[0, 1], [1, 3], [null, -1], [7, -1]] as const) {
    player.chooseLevel(index);
    expect(fake.nextLevel).toBe(place);
    fake.manualLevel = place;
    expect(player.chosenLevel()).toBe(place < 0 ? null : index);
    fake.currentLevel = place;
    expect(player.level()?.height).toBe(fake.levels[place]?.height);
  }
});

/** What hls.js does with a segment of this that is answered so: `again`, or `original`, with the sound that is heard; none: its own way. */
function answered(folder: string, code: number, levels = fake.levels): string {
  fake.levels = levels;
  const response = { url: `http://a.example/1/manifest/${folder}/1-5.m4s`, code };
  const retry = fake.config?.fragLoadPolicy?.default.errorRetry;
  const does: string[] = retry?.shouldRetry?.(retry, 0, false, response, true) === true ? ['again'] : [];
  fake.handlers.get(Events.ERROR)?.(Events.ERROR, { details: ErrorDetails.FRAG_LOAD_ERROR, fatal: false, response });
  expect(fake.nextLoadLevel).toBe(fake.nextAutoLevel);
  if (fake.nextLoadLevel >= 0) does.push(`original ${fake.levels[fake.nextLoadLevel]?.audioCodec}`);
  return does.join(' ');
}

test.each([
  ['a level that nobody can encode now', 'video.360p.00000000000abc.cmaf', 503, 'original opus'],
  ['a level that is not there', 'video.360p.00000000000abc.cmaf', 404, 'again'],
  ['the original of a server that is busy', 'video.cmaf', 503, 'again'],
  ['another picture of the same encoder', 'video2.cmaf', 503, 'again'],
  ['its sound', 'audio.cmaf', 503, 'again'],
])('is asked for once more, or the original instead: %s', (_, folder, code, expected) => {
  engine(null);
  fake.loadLevel = 1;
  expect(answered(folder, code)).toBe(expected);
});

test('where there is no original a level is asked for again', () => {
  engine(null);
  expect(answered('video.360p.00000000000abc.cmaf', 503, [level(360, 'mp4a', 1), level(720, 'mp4a', 2)])).toBe('again');
});

/** A media element that seeks to where it is put and stays there. */
function seeker(): HTMLVideoElement {
  const video = document.createElement('video');
  Object.defineProperty(video, 'seeking', { value: true });
  Object.defineProperty(video, 'currentTime', { value: 0, writable: true });
  return video;
}

test.each([
  ['before the pictures', 4, 3, 0, 4.1],
  ['before the sound', 4, 5, 4.5, 5.1],
  ['in the list', 4, 5, 5.5, 5.5],
])('who seeks to a place %s goes to the oldest there is', (_, pictures, sound, to, expected) => {
  const video = seeker();
  const events = { onLive() {} } as unknown as EngineEvents;
  new HlsEngine(video, { url: 'x', from: 'live', captions: null, moq: null, level: null }, events);
  const updated = (fragmentStart: number) => {
    fake.latestLevelDetails = { live: true, fragmentStart };
    fake.audioTracks = [{ details: { fragmentStart: sound - pictures + fragmentStart } }];
    fake.audioTrack = 0;
    fake.handlers.get(Events.LEVEL_UPDATED)?.(Events.LEVEL_UPDATED, { details: fake.latestLevelDetails });
  };
  updated(pictures);
  video.currentTime = to;
  video.dispatchEvent(new Event('seeking'));
  expect(video.currentTime).toBeCloseTo(expected);
  // And where it slides away meanwhile.
  updated(pictures + 10);
  expect(video.currentTime).toBeCloseTo(Math.max(pictures, sound) + 10.1);
});

test.each([
  ['a recording', 0, 5, 5],
  // Its segments begin 1.5 s before it does.
  ['a clip', 1.5, 5, 6.5],
  // hls.js goes there by itself.
  ['a clip, from its start', 1.5, 0, 0],
  ['a clip, beyond its list', 1.5, 60, 29.7],
])('where to begin is a place of what is played: %s', (_, startTimeOffset, s, expected) => {
  const video = seeker();
  const events = { onLive() {} } as unknown as EngineEvents;
  new HlsEngine(video, { url: 'x', from: { s }, captions: null, moq: null, level: null }, events);
  fake.latestLevelDetails = { live: false, edge: 30, startTimeOffset };
  fake.handlers.get(Events.LEVEL_UPDATED)?.(Events.LEVEL_UPDATED, { details: fake.latestLevelDetails });
  expect(video.currentTime).toBeCloseTo(expected);
});

test('beside the Media Source stands the playlist, for AirPlay', () => {
  for (const name of ['WebKitPlaybackTargetAvailabilityEvent', 'ManagedMediaSource']) vi.stubGlobal(name, class {});
  const video = document.createElement('video');
  new HlsEngine(video, { url: '/a/manifest/video.m3u8', from: 'live', captions: null, moq: null, level: null }, {} as EngineEvents);
  vi.unstubAllGlobals();
  expect([...video.children].map((source) => source.getAttribute('src'))).toEqual(['/a/manifest/video.m3u8']);
});
