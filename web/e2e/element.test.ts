// @vitest-environment happy-dom
/** The element with engines, a server and a network that are stood in for. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { AirwavePlayer } from '../src/player';
import type { Engine, Mode, Wanted } from '../src/player/engine';
import type { Lifecycle } from '../src/player/session';

type Start = (video: HTMLVideoElement, wanted: Wanted) => Promise<Engine>;
const stood = vi.hoisted(() => ({
  lifecycle: {} as Lifecycle,
  start: null as Start | null,
  answers: () => Promise.resolve(true),
}));
vi.mock('../src/player/engine', async (original) => ({
  ...(await original<typeof import('../src/player/engine')>()),
  prepareMoq() {},
  startEngine: (video: HTMLVideoElement, wanted: Wanted) => stood.start?.(video, wanted),
}));
vi.mock('../src/player/server', async (original) => ({
  ...(await original<typeof import('../src/player/server')>()),
  fetchClockOffset: () => Promise.resolve(0),
  fetchLifecycle: () => Promise.resolve(stood.lifecycle),
}));
vi.mock('../src/player/moq-engine', () => ({ answers: () => stood.answers() }));

const MOQ = { port: 4433, namespace: ['a'], certificate: null };
const live = (videoUID: string): Lifecycle => ({ isInput: true, videoUID, live: true, status: '', name: null, moq: MOQ });

function engine(mode: Mode): Engine {
  const none = () => null;
  const nothing = () => {};
  return {
    mode, live: true, edgeLatencyS: none, targetLatencyS: none, playingAtMs: none, livePositionS: none, segmentAt: none, level: none,
    levels: () => [], chosenLevel: none, chooseLevel: nothing, audioTracks: () => [], chooseAudio: nothing,
    captionsElsewhere: () => mode === 'Real time', suspend: nothing, resume: nothing, retry: nothing, destroy: nothing,
  };
}

let player: AirwavePlayer;
/** The way of each engine that was started. */
let ways: Mode[];
const calls: string[] = [];

beforeEach(async () => {
  vi.useFakeTimers();
  await import('../src/player');
  [ways, calls.length] = [[], 0];
  stood.lifecycle = live('first');
  stood.answers = () => Promise.resolve(true);
  stood.start = (_, { moq }) => {
    ways.push(moq === null ? 'Low latency' : 'Real time');
    return Promise.resolve(engine(ways.at(-1) ?? 'HLS'));
  };
  for (const name of ['play', 'pause', 'load'] as const) {
    vi.spyOn(HTMLMediaElement.prototype, name).mockImplementation(function (this: HTMLMediaElement) {
      const shown = this === player.video ? 'here' : 'there';
      if (name !== 'load') Object.defineProperty(this, 'paused', { value: name === 'pause', configurable: true });
      calls.push(`${shown} ${name}`);
      return Promise.resolve();
    });
  }
});

afterEach(() => {
  player.remove();
  vi.useRealTimers();
  vi.restoreAllMocks();
  Reflect.deleteProperty(HTMLMediaElement.prototype, 'remote');
});

async function watch(attributes: Record<string, string>): Promise<void> {
  player = document.createElement('airwave-player');
  for (const [name, value] of Object.entries({ src: 'a', ...attributes })) player.setAttribute(name, value);
  document.body.append(player);
  await vi.advanceTimersByTimeAsync(10);
}

const press = (part: string) => player.shadowRoot?.querySelector<HTMLElement>(`[data-part="${part}"]`)?.click();
/** As hls.js leaves it there, whatever comes afterwards. */
const captioned = () => Object.defineProperty(player.video, 'textTracks', { value: [{ kind: 'captions', label: '', language: 'und', mode: 'disabled' }] });

describe('captions over MoQ', () => {
  it('take who asks for them while it plays to HLS, and back', async () => {
    await watch({ autoplay: '' });
    expect([ways, player.stats.mode]).toEqual([['Real time'], 'Real time']);
    player.setAttribute('captions', 'en');
    await vi.advanceTimersByTimeAsync(10);
    expect([ways, player.stats.mode]).toEqual([['Real time', 'Low latency'], 'Low latency']);
    player.removeAttribute('captions');
    await vi.advanceTimersByTimeAsync(1_000);
    expect(player.stats.mode).toBe('Real time');
  });

  it('leave who has not played yet before a button to play', async () => {
    await watch({});
    player.setAttribute('captions', 'en');
    await vi.advanceTimersByTimeAsync(10);
    expect([ways.at(-1), calls.includes('here play'), Reflect.get(player, 'begunToPlay')]).toEqual(['Low latency', false, false]);
  });

  it('are not forgotten while MoQ is being opened', async () => {
    await watch({ autoplay: '' });
    press('captions');
    await vi.advanceTimersByTimeAsync(10);
    captioned();
    press('captions');
    press('captions');
    expect(player.video.textTracks[0]?.mode).toBe('disabled');
    // It has climbed back, and the viewer turns them on before it is there.
    const { start } = stood;
    let open = () => {};
    stood.start = async (video, wanted) => {
      if (wanted.moq !== null) await new Promise<void>((done) => (open = done));
      return start?.(video, wanted) ?? engine('HLS');
    };
    await vi.advanceTimersByTimeAsync(1_000);
    expect(player.stats.mode).toBe('');
    press('captions');
    open();
    await vi.advanceTimersByTimeAsync(10);
    expect([player.stats.mode, player.video.textTracks[0]?.mode]).toEqual(['Low latency', 'showing']);
  });

  it('stay on HLS if they were turned on while MoQ was asked', async () => {
    await watch({ autoplay: '', captions: 'en' });
    expect(ways).toEqual(['Low latency']);
    let answer: (answered: boolean) => void = () => {};
    stood.answers = () => new Promise((done) => (answer = done));
    player.removeAttribute('captions');
    await vi.advanceTimersByTimeAsync(1_000);
    captioned();
    press('captions');
    answer(true);
    await vi.advanceTimersByTimeAsync(10);
    expect(ways).toEqual(['Low latency']);
  });
});
