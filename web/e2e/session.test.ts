import { describe, expect, test } from 'vitest';
import { type Effect, type Input, initial, type Lifecycle, next, type State } from '../src/player/session';
import { DIRECT } from '../src/player/source';

const A = 'a'.repeat(32);
const B = 'b'.repeat(32);
const live = (videoUID: string): Input => lifecycle({ live: true, videoUID });
const off = (videoUID: string | null, status = 'the broadcaster stopped'): Input =>
  lifecycle({ videoUID, status });

function lifecycle(some: Partial<Lifecycle>): Input {
  const base: Lifecycle = { isInput: true, videoUID: null, live: false, status: '', name: null, moq: null };
  return { kind: 'lifecycle', lifecycle: { ...base, ...some } };
}

/** Feeds the inputs and writes down the state's name and what was to be done after each. */
function run(...inputs: Input[]): { trace: string[]; state: State } {
  let state = initial;
  const trace: string[] = [];
  for (const input of [{ kind: 'start' } as Input, ...inputs]) {
    const [after, effects] = next(state, input);
    state = after;
    trace.push([state.name, ...effects.map(word)].join(' '));
  }
  return { trace: trace.slice(1), state };
}

function word(effect: Effect): string {
  switch (effect.do) {
    case 'ask':
      return `ask:${effect.afterMs}`;
    case 'load':
      return `load:${effect.id?.slice(0, 1) ?? 'own'}:${effect.from}${effect.afterMs > 0 ? `:${effect.afterMs}` : ''}`;
    default:
      return effect.do;
  }
}

/** What a list's own address is taken for. */
const list: Input = { kind: 'lifecycle', lifecycle: DIRECT };

const scenarios: { name: string; inputs: Input[]; expect: string[] }[] = [
  {
    name: 'waits, goes live, flows into the replay, goes live again',
    inputs: [
      off(null),
      off(null),
      live(A),
      { kind: 'playlist-ended' },
      { kind: 'played-out' },
      off(A),
      live(B),
    ],
    expect: [
      'waiting ask:2000',
      'waiting ask:2100',
      'live load:own:live ask:10000',
      'ending ask:2000',
      'replay load:a:end ask:3000',
      'replay ask:3000',
      'live load:own:live ask:10000',
    ],
  },
  {
    name: 'a new broadcast does not pull a viewer out of the replay',
    inputs: [off(A), { kind: 'watch-recording' }, live(B), { kind: 'go-live' }],
    expect: [
      'waiting ask:2000',
      'replay load:a:start ask:3000',
      'replay ask:3000',
      'live load:own:live ask:10000',
    ],
  },
  {
    name: 'a replay that ends while a new broadcast runs goes live',
    inputs: [off(A), { kind: 'watch-recording' }, live(B), { kind: 'played-out' }],
    expect: [
      'waiting ask:2000',
      'replay load:a:start ask:3000',
      'replay ask:3000',
      'live load:own:live ask:10000',
    ],
  },
  {
    name: 'an encoder that reconnects in time changes nothing for the session',
    inputs: [
      live(A),
      { kind: 'stalled', stalled: true },
      live(A),
      { kind: 'stalled', stalled: false },
      live(A),
    ],
    expect: ['live load:own:live ask:10000', 'live ask:0', 'live ask:2000', 'live', 'live ask:10000'],
  },
  {
    name: 'a broadcast that vanished without an end of its playlist becomes its replay',
    inputs: [live(A), { kind: 'stalled', stalled: true }, off(A)],
    expect: ['live load:own:live ask:10000', 'live ask:0', 'replay load:a:end ask:3000'],
  },
  {
    name: 'a broadcast replaced by another one is followed',
    inputs: [live(A), live(B)],
    expect: ['live load:own:live ask:10000', 'live load:own:live ask:10000'],
  },
  {
    name: 'a manifest that answers 204 is asked for again while the lifecycle says live',
    inputs: [live(A), { kind: 'failure', failure: { kind: 'not-live' } }, live(A)],
    expect: ['live load:own:live ask:10000', 'live ask:0', 'live load:own:live:2000 ask:4000'],
  },
  ...[400, 404, 422].map((status): (typeof scenarios)[number] => ({
    name: `a list by its own address that is refused with ${status} is not asked for again`,
    inputs: [list, { kind: 'failure', failure: { kind: 'http', status } }],
    expect: ['live load:own:live', 'stopped unload'],
  })),
  {
    name: 'a list by its own address that is not there yet is asked for again',
    inputs: [list, { kind: 'failure', failure: { kind: 'not-live' } }],
    expect: ['live load:own:live', 'live ask:0'],
  },
  {
    name: 'a lost connection is retried with growing pauses and keeps the picture',
    inputs: [
      live(A),
      { kind: 'failure', failure: { kind: 'network' } },
      { kind: 'lifecycle-failed', failure: { kind: 'network' } },
      { kind: 'lifecycle-failed', failure: { kind: 'network' } },
      live(A),
    ],
    expect: [
      'live load:own:live ask:10000',
      'lost ask:1000',
      'lost ask:2000',
      'lost ask:3000',
      'live retry ask:10000',
    ],
  },
  {
    name: 'the broadcast ended while the connection was lost',
    inputs: [live(A), { kind: 'failure', failure: { kind: 'network' } }, off(A)],
    expect: ['live load:own:live ask:10000', 'lost ask:1000', 'replay load:a:end ask:3000'],
  },
  {
    name: 'a codec that this browser lacks stops, until another broadcast begins',
    inputs: [
      live(A),
      { kind: 'failure', failure: { kind: 'codec', codec: 'hvc1.1.6.L93.B0' } },
      live(A),
      live(B),
    ],
    expect: [
      'live load:own:live ask:10000',
      'stopped unload ask:10000',
      'stopped ask:10000',
      'live load:own:live ask:10000',
    ],
  },
  {
    name: 'the id of a finished video plays the recording and asks no more',
    inputs: [lifecycle({ isInput: false, videoUID: A }), { kind: 'played-out' }, { kind: 'replaying' }],
    expect: ['replay load:own:start', 'replay', 'replay'],
  },
  {
    name: 'a list that was over when it came, a clip say, is a replay by itself',
    inputs: [list, { kind: 'playlist-ended', whole: true }, { kind: 'played-out' }, { kind: 'replaying' }],
    expect: ['live load:own:live', 'replay', 'replay', 'replay'],
  },
  {
    name: 'a list that was live and has ended is asked for anew: it may have all of it now',
    inputs: [list, { kind: 'playlist-ended', whole: false }, { kind: 'played-out' }],
    expect: ['live load:own:live', 'ending', 'replay load:own:end'],
  },
  {
    name: 'a broadcast whose list is over already is asked about',
    inputs: [live(A), { kind: 'playlist-ended', whole: true }, { kind: 'played-out' }],
    expect: ['live load:own:live ask:10000', 'ending ask:2000', 'replay load:a:end ask:3000'],
  },
  {
    name: 'a recording that is not there yet is asked for again, then given up',
    inputs: [
      live(A),
      { kind: 'playlist-ended' },
      { kind: 'played-out' },
      ...Array.from(
        { length: 4 },
        (): Input => ({ kind: 'failure', failure: { kind: 'http', status: 404 } }),
      ),
    ],
    expect: [
      'live load:own:live ask:10000',
      'ending ask:2000',
      'replay load:a:end ask:3000',
      'replay load:a:end:500',
      'replay load:a:end:1000',
      'replay load:a:end:1500',
      'waiting unload ask:2000',
    ],
  },
  {
    name: 'an unknown id is not polled',
    inputs: [{ kind: 'lifecycle-failed', failure: { kind: 'http', status: 404 } }],
    expect: ['stopped'],
  },
  {
    name: 'a decoder that breaks again and again is reported',
    inputs: [
      live(A),
      ...Array.from(
        { length: 4 },
        (): Input => ({ kind: 'failure', failure: { kind: 'media', detail: 'x' } }),
      ),
    ],
    expect: [
      'live load:own:live ask:10000',
      'live load:own:live',
      'live load:own:live',
      'live load:own:live',
      'stopped unload ask:10000',
    ],
  },
];

describe('session', () => {
  test.each(scenarios)('$name', ({ inputs, expect: expected }) => {
    expect(run(...inputs).trace).toEqual(expected);
  });

  test('polling while nothing is on the air slows down to 3 s', () => {
    const { trace } = run(...Array.from({ length: 30 }, () => off(null)));
    expect(trace.at(-1)).toBe('waiting ask:3000');
  });

  test('any order of inputs leaves a viewer with a poll, a picture or a reason', () => {
    const inputs: Input[] = [
      live(A),
      live(B),
      off(A),
      off(null),
      { kind: 'failure', failure: { kind: 'network' } },
      { kind: 'failure', failure: { kind: 'not-live' } },
      { kind: 'lifecycle-failed', failure: { kind: 'network' } },
      { kind: 'stalled', stalled: true },
      { kind: 'playlist-ended' },
      { kind: 'playlist-ended', whole: true },
      { kind: 'played-out' },
      { kind: 'replaying' },
      { kind: 'watch-recording' },
      { kind: 'go-live' },
      { kind: 'steady' },
    ];
    let seed = 7;
    for (let round = 0; round < 20_000; round++) {
      let state = initial;
      let asked = false;
      for (let step = 0; step < 8; step++) {
        seed = (seed * 48_271) % 2_147_483_647;
        const input = inputs[seed % inputs.length] as Input;
        const answer = input.kind === 'lifecycle' || input.kind === 'lifecycle-failed';
        const [after, effects] = next(state, input);
        // The poll in flight is used up by its answer; without a new one nobody would ever ask again.
        asked = (asked && !answer) || effects.some((effect) => effect.do === 'ask');
        if (answer) expect(asked, `${state.name} + ${JSON.stringify(input)}`).toBe(true);
        state = after;
      }
    }
  });
});
