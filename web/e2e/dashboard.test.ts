import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { parseCaption, parseCaptions, withCaption } from '../src/dashboard/captions';
import { Api, Failed, failure } from '../src/dashboard/api';
import { clock, parseHealth } from '../src/dashboard/health';
import {
  follow,
  forEncoders,
  inOrder,
  merge,
  parseInput,
  previewed,
  stateLine,
  stateWord,
  summary,
  together,
  whomToAsk,
  type Input,
} from '../src/dashboard/inputs';
import { Poll } from '../src/dashboard/poll';
import { parseLinks, summary as sharing } from '../src/dashboard/links';
import { currentSession, signIn } from '../src/dashboard/session';
import { takeToken, tokenInHash } from '../src/dashboard/token';
import { parseChanges } from '../src/dashboard/changes';
import { multitrack } from '../src/dashboard/obs';
import { about, kept, length, parseVideos, summary as recordings } from '../src/dashboard/videos';

const NOW = 10_000_000;
const SESSION = { csrf: 'word' };

function input(fields: Record<string, unknown>): Input {
  const parsed = parseInput({ uid: 'a', meta: { name: 'A' }, ...fields });
  if (parsed === null) throw new Error('unusable');
  return parsed;
}

const current = (state: string) => ({ status: { current: { state } } });

describe('the token', () => {
  test.each([
    ['', null],
    ['#token=', null],
    ['#how', null],
    ['#token=abc', 'abc'],
    ['#token=a%2Bb%3D', 'a+b='],
  ])('in %j is %j', (hash, token) => {
    expect(tokenInHash(hash)).toBe(token);
  });

  test('leaves the address and the history at once', () => {
    const place = { hash: '#token=abc', pathname: '/', search: '?x=1' };
    const replaced: unknown[] = [];
    const history = {
      // Like the browser's: the place changes with the history.
      replaceState: (_state: unknown, _title: string, url?: string | URL | null) => {
        replaced.push(url);
        place.hash = '';
      },
    };
    expect(takeToken(place, history)).toBe('abc');
    expect(replaced).toEqual(['/?x=1']);
    expect(takeToken(place, history)).toBeNull();
    expect(replaced).toHaveLength(1);
  });
});

describe('failures in words', () => {
  const envelope = { success: false, errors: [{ code: 1, message: 'meta: must be an object' }] };

  test.each([
    [401, {}, 'token', /airwave token/],
    [403, envelope, 'forbidden', /^Meta: must be an object\.$/],
    [404, {}, 'missing', /no longer there/],
    [409, envelope, 'refused', /must be an object/],
    [400, null, 'refused', /400/],
    [507, { errors: [{ message: 'the disk is full' }] }, 'server', /The disk is full/],
    [502, 'not an envelope', 'server', /502/],
  ])('%d', (status, answer, fault, words) => {
    const failed = failure(status, answer);
    expect(failed.fault).toBe(fault);
    expect(failed.message).toMatch(words);
  });

  test('no network, a body that is no JSON, a list that is not there', async () => {
    const dead = new Api(SESSION, () => Promise.reject(new TypeError('failed to fetch')));
    await expect(dead.inputs(50)).rejects.toMatchObject({ fault: 'network' });
    const odd = new Api(SESSION, () => Promise.resolve(new Response('<html>', { status: 200 })));
    await expect(odd.inputs(50)).resolves.toEqual({ rows: [], total: 0 });
    const old = new Api(SESSION, () => Promise.resolve(new Response('{}', { status: 404 })));
    await expect(old.videos('a')).resolves.toBeNull();
    await expect(old.input('a')).rejects.toBeInstanceOf(Failed);
  });

  test.each([
    [50, 130, [50], ['limit=50&page=1']],
    [150, 130, [130], ['limit=150&page=1']],
    [1_500, 2_300, [1_000, 1_000], ['limit=1000&page=1', 'limit=1000&page=2']],
    [2_000, 2_000, [1_000, 1_000], ['limit=1000&page=1', 'limit=1000&page=2']],
    [5_000, 2_300, [1_000, 1_000, 300], ['limit=1000&page=1', 'limit=1000&page=2', 'limit=1000&page=3']],
  ])('the first %d of %d inputs', async (most, total, pages, asked) => {
    const sent: string[] = [];
    const api = new Api(SESSION, (url) => {
      sent.push((typeof url === 'string' ? url : '').replace(/.*\?(.*)&search=$/, '$1'));
      const liveInputs = Array.from({ length: pages[sent.length - 1] ?? 0 }, (_, n) => ({ uid: `${sent.length} ${n}` }));
      return Promise.resolve(new Response(JSON.stringify({ result: { liveInputs, total } })));
    });
    const found = await api.inputs(most);
    expect([found.rows.length, found.total]).toEqual([Math.min(most, total), total]);
    expect(sent).toEqual(asked);
  });

  test('what changes something says the word of the session, and nothing else does', async () => {
    const sent: RequestInit[] = [];
    const api = new Api(SESSION, (_url, init) => {
      sent.push(init ?? {});
      return Promise.resolve(new Response('{"result": {}}'));
    });
    await api.update('a', { enabled: false });
    await api.input('a');
    expect(sent[0]).toMatchObject({
      method: 'PUT',
      body: '{"enabled":false}',
      credentials: 'same-origin',
      headers: { 'x-csrf-token': 'word', 'content-type': 'application/json' },
    });
    expect(sent[1]?.headers).toEqual({});
  });

  test.each([
    [200, { result: { signedIn: true, csrfToken: 'word' } }, SESSION],
    [200, { result: { signedIn: false } }, null],
    [200, { result: { signedIn: true } }, null],
    [403, {}, null],
  ])('whether somebody is signed in: %d %j', async (status, answer, session) => {
    const send = () => Promise.resolve(new Response(JSON.stringify(answer), { status }));
    await expect(currentSession(send)).resolves.toEqual(session);
  });

  test('signing in shows the token once, and a refusal has words', async () => {
    const sent: RequestInit[] = [];
    const answer = (status: number, body: unknown) => (_url: unknown, init?: RequestInit) => {
      sent.push(init ?? {});
      return Promise.resolve(new Response(JSON.stringify(body), { status }));
    };
    const good = answer(200, { result: { signedIn: true, csrfToken: 'word' } });
    await expect(signIn('secret', good)).resolves.toEqual(SESSION);
    expect(sent[0]).toMatchObject({ method: 'POST', body: '{"token":"secret"}' });
    await expect(signIn('wrong', answer(401, {}))).rejects.toMatchObject({ fault: 'token' });
    const wait = { errors: [{ message: 'too many wrong API tokens from this address: wait 6 s' }] };
    await expect(signIn('wrong', answer(429, wait))).rejects.toThrow('wait 6 s');
  });
});

describe('live inputs', () => {
  test.each([null, 7, {}, { uid: 3 }, []])('%j is none', (value) => {
    expect(parseInput(value)).toBeNull();
  });

  test.each<[Record<string, unknown>, string, string]>([
    [{ status: null }, 'Off the air', 'No encoder has connected yet.'],
    [{ enabled: false }, 'Disabled', 'Encoders are turned away.'],
    [current('connected'), 'Live', '3 watching'],
    [current('reconnecting'), 'Reconnecting', 'The encoder was lost; viewers wait for it to come back.'],
    [current('client_disconnect'), 'Off the air', 'Ready for the next broadcast.'],
    [{ status: 'connected' }, 'Live', '3 watching'],
    [{ status: { current: { state: 'ttl_exceeded', statusEnteredAt: NOW - 120_000 } } }, 'Off the air', 'Since 2 min ago'],
    [
      { status: { current: { state: 'reconnecting', reason: 'the server was started again' } } },
      'Reconnecting',
      'Viewers wait: the server was started again.',
    ],
    [
      { status: { current: { state: 'client_disconnect', reason: 'the key changed', statusEnteredAt: NOW - 120_000 } } },
      'Off the air',
      'Since 2 min ago: the key changed',
    ],
  ])('%j is %s', (fields, word, line) => {
    expect([stateWord(input(fields)), stateLine(input(fields), 3, NOW)]).toEqual([word, line]);
  });

  test('the same server under two names is shown once, and RTMPS first', () => {
    const rtmp = { url: 'rtmp://h/live/', streamKey: 'k' };
    expect(input({ rtmp, rtmps: rtmp }).ingest).toEqual([{ url: rtmp.url, key: 'k', plain: true }]);
    const rtmps = { url: 'rtmps://h/live/', streamKey: 'k' };
    expect(input({ rtmp, rtmps }).ingest.map(({ plain }) => plain)).toEqual([false, true]);
    const both = input({ rtmp, rtmps }).ingest;
    expect(forEncoders(both, true)[0]?.plain).toBe(false);
    // OBS refuses a certificate that nobody trusts.
    expect(forEncoders(both, false).map(({ plain }) => plain)).toEqual([true, false]);
    expect(input({ rtmp: null, rtmps: null }).ingest).toEqual([]);
  });

  test('the list renames and removes, and keeps what it leaves out', () => {
    const known = [input({ ...current('connected'), rtmp: { url: 'u', streamKey: 'k' } }), input({ uid: 'gone' })];
    const [merged, ...others] = merge([{ uid: 'a', meta: { name: 'B' }, enabled: false }], known);
    expect(others).toEqual([]);
    expect(merged).toMatchObject({ name: 'B', enabled: false, onAir: 'live', ingest: [{ key: 'k' }] });
  });

  test('since when, where the API does not say', () => {
    const seen = input({ ...current('connected'), rtmp: { url: 'u', streamKey: 'k' } });
    const listed = { id: 'a', name: 'A', startedAt: 5, viewers: 1, thumbnail: null };
    expect(follow(undefined, seen, listed, NOW).sinceMs).toBe(5);
    expect(follow(undefined, seen, undefined, NOW).sinceMs).toBeNull();
    const ended = input(current('client_disconnect'));
    expect(follow(seen, ended, undefined, NOW).sinceMs).toBe(NOW);
    expect(follow({ ...seen, onAir: 'off', sinceMs: 7 }, ended, undefined, NOW).sinceMs).toBe(7);
  });

  test('what is on the air is asked for every time, the others in turn', () => {
    const inputs = Array.from({ length: 20 }, (_, at) => input({ uid: `u${at}` }));
    inputs.push(input({ uid: 'live', ...current('connected') }));
    const asked = new Map<string, number>();
    const seen = new Set<string>();
    for (let round = 1; round <= 3; round++) {
      const uids = whomToAsk(inputs, asked);
      expect(uids).toHaveLength(8);
      expect(uids).toContain('live');
      for (const uid of uids) {
        seen.add(uid);
        asked.set(uid, round);
      }
    }
    expect(seen.size).toBe(21);
  });

  test('what is on the air by the list is asked first, though nothing of it is known yet', () => {
    const inputs = Array.from({ length: 60 }, (_, n) => input({ uid: `${n}` }));
    expect(whomToAsk(inputs, new Map(), new Set(['59', '41', 'gone'])).slice(0, 3)).toEqual(['41', '59', '0']);
  });

  test('order and the one picture that moves', () => {
    const inputs = [
      input({ uid: 'old', created: '2026-01-01T00:00:00Z' }),
      input({ uid: 'new', created: '2026-02-01T00:00:00Z' }),
      input({ uid: 'live', created: '2025-01-01T00:00:00Z', ...current('connected') }),
      input({ uid: 'lost', created: '2024-01-01T00:00:00Z', ...current('reconnecting') }),
    ];
    expect(inOrder(inputs).map(({ uid }) => uid)).toEqual(['live', 'lost', 'new', 'old']);
    expect([previewed(inputs, null), previewed(inputs, 'lost'), previewed(inputs, 'old')]).toEqual(['live', 'lost', 'live']);
    expect(previewed([], 'x')).toBeNull();
    expect(together([{ uid: 'a' }, { uid: 'b' }], [{ uid: 'b' }, { uid: 'c' }])).toEqual([{ uid: 'a' }, { uid: 'b' }, { uid: 'c' }]);
    const words = [summary(0, 0, ''), summary(1, 0, ''), summary(2_000, 2, ''), summary(7, 1, 'hall'), summary(0, 0, 'hall')];
    expect(words).toEqual([
      'An input is a place to send a broadcast to, with a key of its own.',
      'One input, none on the air',
      '2000 inputs, 2 on the air',
      '7 inputs of that name',
      'No input is called “hall”.',
    ]);
  });
});

describe('health and recordings', () => {
  test.each([undefined, null, 'bad', {}, { advice: [], video: 'x', framesDropped: 0 }])('health %j is hidden', (value) => {
    expect(parseHealth(value)).toBeNull();
  });

  test('health in words, advice first', () => {
    const facts = parseHealth({
      video: { bitsPerSecond: 6_100_000, framesPerSecond: 29.97 },
      audio: { bitsPerSecond: 128_000, framesPerSecond: 46.88 },
      repairs: { clockJumps: 1, audioGaps: 2, droppedAtStart: 9 },
      framesDropped: 0,
      keyFrameIntervalSeconds: 8.333,
      uploadRatio: 0.71,
      advice: ['a', { message: 'b' }, 7],
    });
    expect(facts?.map(({ name, value }) => `${name} ${value}`.trim())).toEqual([
      'a',
      'b',
      'Video 6.1 Mbit/s',
      'Sound 128 kbit/s',
      'Frame rate 29.97 fps',
      'Key frames every 8.3 s',
      'Upload 71 % of real time',
      'Times repaired 3',
    ]);
  });

  test('advice says since when', () => {
    const facts = parseHealth({ advice: [7, 'a', 'b', 'c'], adviceSince: [null, '2026-01-01T12:05:00Z', null] });
    expect(facts?.map(({ value, sinceMs }) => [value, sinceMs])).toEqual([
      ['a', Date.UTC(2026, 0, 1, 12, 5)],
      ['b', null],
      ['c', null],
    ]);
    const noon = new Date(2026, 0, 1, 12, 5).getTime();
    expect(clock(noon, noon + 3_600_000)).toMatch(/^\S*12:05\S*(\s?PM)?$/);
    expect(clock(noon, noon + 24 * 3_600_000)).toMatch(/2026.*12:05/);
  });

  test('recordings, the newest first', () => {
    const videos = parseVideos([
      { uid: 'a', created: '2026-01-01T00:00:00Z', duration: 65.2, meta: { name: 'One' } },
      { uid: 'b', created: '2026-01-02T00:00:00Z', duration: -1, status: { state: 'live-inprogress' } },
      { uid: 'c', duration: -1, status: { state: 'error', errorReasonText: 'broken' } },
      null,
      {},
    ]);
    expect(videos.map(({ uid, name }) => [uid, name])).toEqual([['b', 'Recording'], ['a', 'One'], ['c', 'Recording']]);
    expect(videos.map(length)).toEqual(['on the air', '1:05', '']);
    expect(videos[2]?.failed).toBe('broken');
  });
});

describe('polling', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  test('one round at a time, none while hidden, at once when asked', async () => {
    let rounds = 0;
    let hidden = false;
    const poll = new Poll(
      () => {
        rounds++;
        return Promise.resolve();
      },
      3_000,
      () => hidden,
    );
    poll.now();
    poll.now();
    await vi.advanceTimersByTimeAsync(0);
    // The second wish came during the first round and got one of its own.
    expect(rounds).toBe(2);
    await vi.advanceTimersByTimeAsync(3_000);
    expect(rounds).toBe(3);
    hidden = true;
    await vi.advanceTimersByTimeAsync(60_000);
    expect(rounds).toBe(3);
    hidden = false;
    poll.now();
    await vi.advanceTimersByTimeAsync(0);
    expect(rounds).toBe(4);
    poll.stop();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(rounds).toBe(4);
  });
});

describe('links', () => {
  test('are read without belief', () => {
    const rows = [{ id: 'a', token: 'x.y.z', name: 'Anna', expires: '2027-01-01T00:00:00Z' }, { id: 'b' }, 7, { id: 'c', token: 't' }];
    expect(parseLinks(rows)).toEqual([
      { id: 'a', token: 'x.y.z', name: 'Anna', expiresMs: Date.UTC(2027, 0, 1) },
      { id: 'c', token: 't', name: 'Link without a name', expiresMs: null },
    ]);
  });

  test.each([
    [false, 0, /everybody/],
    [true, 0, /gets a link/],
    [true, 1, /has the link$/],
    [true, 2, /one of 2 links$/],
  ])('who may watch: %s with %d', (locked, count, words) => {
    expect(sharing(locked, count)).toMatch(words);
  });
});

describe('who changed what', () => {
  const row = (type: string, kind: string, more: Record<string, unknown> = {}) => ({
    id: '7',
    when: '2026-01-01T12:00:00Z',
    action: { type, result: true },
    actor: { id: 'aw1', name: 'Anna', ip: '192.0.2.7' },
    interface: 'page',
    resource: { id: '0123456789abcdef0123456789abcdef', type: kind },
    metadata: { fields: ['enabled'], status: 200 },
    ...more,
  });

  test.each([
    ['create', 'live_inputs', 'Live input: made (01234567)'],
    ['rotate_keys', 'live_inputs', 'Live input: new key (01234567)'],
    ['delete', 'videos', 'Recording: deleted (01234567)'],
    ['sign_in', 'session', 'Signed in'],
    ['something_new', 'things', 'Things: something new (01234567)'],
  ])('%s %s', (type, kind, words) => {
    expect(parseChanges([row(type, kind)])[0]).toMatchObject({ what: words, who: 'Anna · 192.0.2.7 · page', fields: ['enabled'], refused: false });
  });

  test('a refusal, an answer without names, and nonsense', () => {
    const refused = row('update', 'tokens', { action: { type: 'update', result: false }, actor: {}, interface: '', metadata: 7 });
    expect(parseChanges([refused, null, 7, {}])).toMatchObject([{ refused: true, who: 'somebody', fields: [] }]);
  });

  test('not for everybody: no list, and no error', async () => {
    const refusing = new Api(SESSION, () => Promise.resolve(new Response('{}', { status: 403 })));
    await expect(refusing.changes(1)).resolves.toBeNull();
    const asked: string[] = [];
    const api = new Api(SESSION, (url) => {
      asked.push(`${url as string}`);
      return Promise.resolve(new Response('{"result": []}'));
    });
    await expect(api.changes(3)).resolves.toEqual([]);
    expect(asked).toEqual(['/client/v4/accounts/default/audit_logs?page=3&per_page=25']);
  });
});

test('a recording says that it is locked, and that it is a clip', () => {
  const [video] = parseVideos([{ uid: 'a', duration: 5, requireSignedURLs: true, clippedFrom: 'b', status: { state: 'ready' } }]);
  expect(video).toMatchObject({ locked: true, clip: true });
  expect(video && about(video)).toBe('0:05 · clip · locked');
});

test.each([
  [{}, null, null],
  [{ deleteRecordingAfterDays: null, recording: {} }, true, null],
  [{ deleteRecordingAfterDays: 45, recording: { mode: 'automatic' } }, true, 45],
  [{ deleteRecordingAfterDays: '45', recording: { mode: 'off' } }, false, null],
])('whether it is recorded, and for how long: %j', (fields, recorded, days) => {
  expect(input(fields)).toMatchObject({ recorded, days });
});

test.each([
  [true, 0, 'Recordings: none yet'],
  [true, 3, 'Recordings (3)'],
  [false, 0, 'Recordings: off'],
  [false, 3, 'Recordings (3): off'],
  // A server that does not say has a list all the same.
  [null, 3, 'Recordings (3)'],
])('what stands above the recordings: %s, %d', (recorded, videos, words) => {
  expect(recordings(recorded, videos)).toBe(words);
});

test.each([
  [false, 45, /^A broadcast is gone when it is over\. /],
  [true, null, /until less than 1 GB of its disk is free/],
  [true, 1, /deleted a day after their end/],
  [true, 45, /deleted 45 days after their end/],
])('what becomes of a broadcast: %s, %j', (recorded, days, words) => {
  expect(kept(recorded, days)).toMatch(words);
});

test.each([
  [undefined, null],
  [null, true],
  [['720p=2800'], true],
  [[], false],
])('a ladder of %j: levels %j', (ladder, expected) => {
  expect(input({ ladder }).levels).toBe(expected);
});

test('why there are no levels', () => {
  expect(input({}).levelsProblem).toBe('');
  expect(input({ ladderComplaint: null }).levelsProblem).toBe('');
  expect(input({ ladderComplaint: 'there is no airwave-encode' }).levelsProblem).toBe('there is no airwave-encode');
});

test('what OBS takes to send a ladder of its own', () => {
  const config = multitrack('rtmps://live.example.org:1936/live/');
  expect(config.ingest_endpoints).toEqual([{ protocol: 'RTMPS', url_template: 'rtmps://live.example.org:1936/live/{stream_key}' }]);
  // OBS refuses a `meta` in which one of these is missing.
  expect(Object.keys(config.meta)).toEqual(['service', 'schema_version', 'config_id']);
  expect(config.encoder_configurations.map(({ height }) => height)).toEqual([1080, 720, 480, 360]);
  for (const encoder of config.encoder_configurations) expect(encoder).toMatchObject({ type: 'obs_x264', framerate: { numerator: 30, denominator: 1 }, settings: { keyint_sec: 2, x264opts: 'scenecut=0' } });
  expect(config.audio_configurations.live).toMatchObject([{ track_id: 1, channels: 2 }]);
});

/** What OBS reads of it (`GoLiveApi::Config`): names, what they hold, and whether it refuses the text without one. */
type Shape = { [name: string]: 'text' | 'whole' | 'any' | Shape | [Shape] };
const FRAME_RATE: Shape = { numerator: 'whole', denominator: 'whole' };
const SOUND: Shape = { codec: 'text', track_id: 'whole', channels: 'whole', settings: 'any' };
const OBS: Shape = {
  meta: { service: 'text', schema_version: 'text', config_id: 'text' },
  ingest_endpoints: [{ protocol: 'text', url_template: 'text' }],
  encoder_configurations: [{ type: 'text', width: 'whole', height: 'whole', framerate: FRAME_RATE, settings: 'any' }],
  audio_configurations: { live: [SOUND] },
};

function shaped(value: unknown, shape: Shape[string], at: string): void {
  if (shape === 'text') expect(value, at).toBeTypeOf('string');
  else if (shape === 'whole') expect(value, at).toSatisfy((n) => Number.isInteger(n) && (n as number) >= 0 && (n as number) <= 0xffff_ffff);
  else if (shape === 'any') expect(value, at).toBeTypeOf('object');
  else if (Array.isArray(shape)) {
    // Without any of them it does not start.
    expect(Array.isArray(value) && value.length, at).toBeTruthy();
    for (const [i, one] of (value as unknown[]).entries()) shaped(one, shape[0], `${at}[${i}]`);
  } else {
    // A name that OBS does not know it passes over in silence.
    expect(Object.keys(value as object).sort(), at).toEqual(Object.keys(shape).sort());
    for (const [name, of] of Object.entries(shape)) shaped((value as { [name: string]: unknown })[name], of, `${at}.${name}`);
  }
}

test.each(['rtmp://live.example.org/live', 'rtmps://live.example.org:1936/live/'])('OBS reads all of it: %s', (server) => {
  const config = JSON.parse(JSON.stringify(multitrack(server))) as ReturnType<typeof multitrack>;
  shaped(config, OBS, 'config');
  for (const { protocol, url_template } of config.ingest_endpoints) {
    // It looks for a protocol that begins with RTMP, and puts the key, which it keeps elsewhere, in this place.
    expect(protocol).toBe(server.startsWith('rtmps') ? 'RTMPS' : 'RTMP');
    expect(url_template).toBe(`${server.replace(/\/$/, '')}/{stream_key}`);
  }
  for (const { width, height, settings } of config.encoder_configurations) {
    expect([width % 2, height % 2]).toEqual([0, 0]);
    // All settings of an encoder are numbers and words; its bits are in kbit/s.
    for (const setting of Object.values(settings)) expect(['string', 'number']).toContain(typeof setting);
    expect(settings.bitrate).toBeGreaterThan(100);
    expect(settings.bitrate).toBeLessThan(10_000);
  }
});

test('a file of captions goes out as it is, and a language has one', async () => {
  const sent: unknown[] = [];
  const api = new Api(SESSION, (url, init) => {
    const headers = init?.headers as Record<string, string>;
    sent.push([init?.method, url, headers['content-type'], init?.body, headers['x-csrf-token'] === SESSION.csrf]);
    return Promise.resolve(new Response('{"result":{"language":"pt-BR","label":"Portuguese (BR)"}}'));
  });
  const file = new Blob(['WEBVTT\n']);
  const added = parseCaption(await api.putCaptions('v', 'pt/BR', file));
  expect(sent).toEqual([['PUT', '/client/v4/accounts/default/stream/v/captions/pt%2FBR', 'text/vtt', file, true]]);
  if (added === null) throw new Error('none');
  const before = parseCaptions([{ language: 'pt-BR', label: 'Old' }, { language: 'en' }, null, {}]);
  expect(withCaption(before, added)).toEqual([{ language: 'en', label: 'en' }, { language: 'pt-BR', label: 'Portuguese (BR)' }]);
});
