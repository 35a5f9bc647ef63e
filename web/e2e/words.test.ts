import { describe, expect, test } from 'vitest';
import { parseBroadcasts, since } from '../src/landing/broadcasts';
import { playbackRate } from '../src/player/catch-up';
import { parseLifecycle } from '../src/player/server';
import type { Lifecycle, State } from '../src/player/session';
import { codecName, describe as say } from '../src/player/words';
import { clock } from '../src/shared/clock';
import { line } from '../src/watch/text';

const waiting: State = { name: 'waiting', recording: null, status: 'the broadcaster stopped', polls: 0 };
const calm: State = {
  name: 'live',
  videoUID: 'v',
  isInput: true,
  stalled: false,
  needsLoad: false,
  mediaFailures: 0,
  status: '',
};

describe('words', () => {
  test.each<[string, State, string]>([
    ['waiting', waiting, 'The broadcaster is not live at the moment'],
    ['stalled', { ...calm, stalled: true }, 'Waiting for the broadcaster…'],
    [
      'lost',
      { name: 'lost', before: calm, attempt: 1, retryMs: 3000 },
      'Connection lost, trying again in 3 s',
    ],
    [
      'codec',
      { name: 'stopped', failure: { kind: 'codec', codec: 'hvc1.1' }, videoUID: null },
      "This browser can't play the broadcast's codec",
    ],
    [
      'forbidden',
      { name: 'stopped', failure: { kind: 'http', status: 403 }, videoUID: null },
      'You may not watch this broadcast',
    ],
    [
      'unknown',
      { name: 'stopped', failure: { kind: 'http', status: 404 }, videoUID: null },
      'There is no broadcast at this address',
    ],
    [
      'a clip of nothing',
      { name: 'stopped', failure: { kind: 'http', status: 404, words: 'there is nothing at 9 s', list: true }, videoUID: null },
      'There is nothing to play at this address',
    ],
    ['the end of a clip', { name: 'replay', videoUID: null, ended: true, next: null, failures: 0, isInput: false, list: true }, 'The end'],
    ['the end of a recording', { name: 'replay', videoUID: null, ended: true, next: null, failures: 0, isInput: false }, 'The broadcast has ended'],
  ])('%s', (_name, state, title) => {
    expect(say(state, 2.4, true)?.title).toBe(title);
  });

  test('a running picture has no words over it, a missing one has', () => {
    expect(say(calm, 0, true)).toBeNull();
    expect(say(calm, 0, false)?.title).toBe('Tuning in…');
  });

  test("the server's reason becomes a sentence", () => {
    expect(say(waiting, 0, false)?.detail).toMatch(/^The broadcaster stopped\. /);
  });

  test.each([
    ['hvc1.1.6.L93.B0,mp4a.40.2', 'HEVC (H.265) and AAC'],
    ['av01.0.08M.08', 'AV1'],
    ['', 'in a codec that is not known here'],
  ])('codec %s', (codec, name) => {
    expect(codecName(codec)).toBe(name);
  });
});

describe('under the picture', () => {
  const on: Lifecycle = { isInput: true, videoUID: 'v', live: true, status: '', name: null, moq: null };
  test.each<[string, 'live' | 'replay', Lifecycle | null, string]>([
    ['before anything is known', 'live', null, 'Live now · 3 watching'],
    ['on the air', 'live', on, 'Live now · 3 watching'],
    ['over, while the picture is paused', 'live', { ...on, live: false }, 'The broadcast has ended'],
    ['its recording', 'replay', { ...on, live: false }, 'Recording of the last broadcast'],
  ])('%s', (_name, state, lifecycle, words) => {
    expect(line({ state }, lifecycle, 3)).toBe(words);
  });
});

describe('catch-up', () => {
  test.each([
    ['at the target', 1, { latencyS: 1.0, targetS: 1.0, bufferS: 0.9 }, 1],
    ['a little behind is left alone', 1, { latencyS: 1.2, targetS: 1.0, bufferS: 1 }, 1],
    ['but finished once begun', 1.02, { latencyS: 1.2, targetS: 1.0, bufferS: 1 }, 1.02],
    ['one second behind', 1, { latencyS: 2.0, targetS: 1.0, bufferS: 1.8 }, 1.06],
    ['never faster than 8 %', 1, { latencyS: 5.0, targetS: 1.0, bufferS: 4 }, 1.08],
    ['not on an empty buffer', 1, { latencyS: 2.0, targetS: 1.0, bufferS: 0.2 }, 1],
    ['not where the viewer went on purpose', 1, { latencyS: 20, targetS: 1.0, bufferS: 10 }, 1],
  ])('%s', (_name, current, pace, rate) => {
    expect(playbackRate(current, pace)).toBe(rate);
  });
});

describe('what comes from the server', () => {
  test('a refusal has the reason of the server, or ours', () => {
    const refused = (words?: string): State => ({
      name: 'stopped',
      failure: { kind: 'http', status: 401, ...(words === undefined ? {} : { words }) },
      videoUID: null,
    });
    const detail = (words?: string) => say(refused(words), 0, false)?.detail;
    expect(detail('this link was taken back')).toBe('This link was taken back. Ask the broadcaster for a new link.');
    expect(detail()).toMatch(/^The link is not valid, or no longer\. Ask/);
    expect(detail('')).toBe(detail());
  });

  test.each([null, 7, 'text', {}, { live: 'yes', videoUID: 7 }])('lifecycle %j is not live', (body) => {
    expect(parseLifecycle(body)).toEqual({
      isInput: false,
      videoUID: null,
      live: false,
      status: '',
      name: null,
      moq: null,
      chat: false,
      clips: false,
      thumbnails: false,
      clipSeconds: null,
    });
  });

  test.each([null, {}, { broadcasts: 1 }, { broadcasts: [null, {}, { id: '' }, { id: 'x', live: false }] }])(
    'list %j is empty',
    (body) => {
      expect(parseBroadcasts(body).broadcasts).toEqual([]);
    },
  );

  test.each([
    [0, '0:00'],
    [65.4, '1:05'],
    [3725, '1:02:05'],
    [-3, '0:00'],
  ])('%d s is %s', (seconds, text) => {
    expect(clock(seconds)).toBe(text);
  });

  test('since', () => {
    expect([since(null, 0), since(0, 30_000), since(0, 300_000), since(0, 7_500_000)]).toEqual([
      '',
      'Just started',
      'Live for 5 min',
      'Live for 2 h 5 min',
    ]);
  });
});
