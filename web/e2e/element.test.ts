// @vitest-environment happy-dom
/** The element with engines, a server and a network that are stood in for. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { AirwavePlayer } from '../src/player';
import type { Engine, EngineEvents, Level, Mode, Wanted } from '../src/player/engine';
import type { Lifecycle } from '../src/player/session';

type Start = (video: HTMLVideoElement, wanted: Wanted, events: EngineEvents) => Promise<Engine>;
const stood = vi.hoisted(() => ({
  lifecycle: {} as Lifecycle,
  start: null as Start | null,
  answers: () => Promise.resolve(true),
  arrives: true,
  carriesBps: 9_000_000,
}));
vi.mock('../src/player/engine', async (original) => ({
  ...(await original<typeof import('../src/player/engine')>()),
  prepareMoq() {},
  startEngine: (video: HTMLVideoElement, wanted: Wanted, events: EngineEvents) => stood.start?.(video, wanted, events),
}));
vi.mock('../src/player/server', async (original) => ({
  ...(await original<typeof import('../src/player/server')>()),
  fetchClockOffset: () => Promise.resolve(0),
  fetchLifecycle: () => Promise.resolve(stood.lifecycle),
}));
// Its code comes late or not at all.
vi.mock('../src/player/moq-engine', () => ({
  get answers() {
    if (!stood.arrives) throw new TypeError('Failed to fetch dynamically imported module');
    return () => stood.answers();
  },
}));

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
  vi.stubGlobal('fetch', () => Promise.resolve(new Response('', { status: 404 })));
  stood.lifecycle = live('first');
  stood.answers = () => Promise.resolve(true);
  stood.arrives = true;
  stood.carriesBps = 9_000_000;
  stood.start = (_, { moq }) => {
    ways.push(moq === null ? 'Low latency' : 'Real time');
    return Promise.resolve(engine(ways.at(-1) ?? 'HLS'));
  };
  for (const name of ['play', 'pause', 'load'] as const) {
    vi.spyOn(HTMLMediaElement.prototype, name).mockImplementation(function (this: HTMLMediaElement) {
      const shown = this === player.video ? 'here' : 'there';
      if (name !== 'load') Object.defineProperty(this, 'paused', { value: name === 'pause', configurable: true });
      calls.push(`${shown} ${name}`);
      if (name === 'play') this.dispatchEvent(new Event('play'));
      return Promise.resolve();
    });
  }
});

afterEach(() => {
  player.remove();
  vi.useRealTimers();
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
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
    stood.start = async (video, wanted, events) => {
      if (wanted.moq !== null) await new Promise<void>((done) => (open = done));
      return start?.(video, wanted, events) ?? engine('HLS');
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

it('goes live from where it has just been sought to, whatever the engine says of before', async () => {
  stood.start = () => Promise.resolve({ ...engine('Low latency'), livePositionS: () => 40, edgeLatencyS: () => 1, targetLatencyS: () => 0.6 });
  await watch({ autoplay: '' });
  for (const [at, expected] of [[0, 40], [38, 38]] as const) {
    player.video.currentTime = at;
    press('live');
    expect(player.video.currentTime).toBe(expected);
  }
});

describe('the way back to MoQ', () => {
  /** Lost once, which is tried again after two seconds. */
  async function loseOnce(why: 'gone' | 'narrow', levels: Level[] = []): Promise<void> {
    let lose: (why: 'gone' | 'narrow') => void = () => {};
    stood.start = (_, { moq }, events) => {
      ways.push(moq === null ? 'Low latency' : 'Real time');
      if (moq !== null) lose = (why) => events.onPathLost(why);
      return Promise.resolve({ ...engine(ways.at(-1) ?? 'HLS'), levels: () => levels, carriesBps: () => stood.carriesBps });
    };
    await watch({ autoplay: '' });
    lose(why);
    await vi.advanceTimersByTimeAsync(10);
    expect(ways).toEqual(['Real time', 'Low latency']);
  }

  it('is taken after all where its code did not come the first time', async () => {
    await loseOnce('gone');
    stood.arrives = false;
    await vi.advanceTimersByTimeAsync(3_000);
    expect(ways).toHaveLength(2);
    stood.arrives = true;
    await vi.advanceTimersByTimeAsync(10_000);
    expect(ways).toEqual(['Real time', 'Low latency', 'Real time']);
  });

  it('is not tried while it stays too narrow, not even where it begins anew', async () => {
    stood.carriesBps = 1_500_000;
    await loseOnce('narrow', [{ width: 640, height: 360, bitrateBps: 1_000_000, codecs: '' }, { width: 1280, height: 720, bitrateBps: 2_000_000, codecs: '' }]);
    await vi.advanceTimersByTimeAsync(600_000);
    stood.lifecycle = live('second');
    await vi.advanceTimersByTimeAsync(20_000);
    expect(ways).toEqual(['Real time', 'Low latency', 'Low latency']);
    stood.carriesBps = 2_500_000;
    await vi.advanceTimersByTimeAsync(1_000);
    expect(ways.at(-1)).toBe('Real time');
  });
});

describe('on another screen', () => {
  /** Each media element has one: `connect` is that of the player's. */
  function castable() {
    const made = new Map<HTMLMediaElement, EventTarget & { state: string }>();
    const remote = function (this: HTMLMediaElement) {
      const done = () => Promise.resolve(1);
      const of = made.get(this) ?? Object.assign(new EventTarget(), { state: 'disconnected', watchAvailability: done, cancelWatchAvailability: done, prompt: done });
      made.set(this, of);
      return of;
    };
    Object.defineProperty(HTMLMediaElement.prototype, 'remote', { get: remote, configurable: true });
    return (state: 'connected' | 'disconnected') => {
      const [of] = made.values();
      if (of === undefined) throw new Error('nothing is watched');
      of.state = state;
      of.dispatchEvent(new Event(state === 'connected' ? 'connect' : 'disconnect'));
    };
  }
  const picture = () => {
    Object.defineProperty(player.video, 'videoWidth', { value: 640, configurable: true });
    player.video.dispatchEvent(new Event('loadeddata'));
  };
  const taken = () => calls.splice(0).filter((call) => !call.startsWith('here load'));
  const title = () => player.shadowRoot?.querySelector<HTMLElement>('.notice:not([hidden]) .title')?.textContent ?? null;

  /** Playing there. */
  async function away(duration = Number.POSITIVE_INFINITY): Promise<(state: 'connected' | 'disconnected') => void> {
    const become = castable();
    await watch({ autoplay: '' });
    Object.defineProperty(player.video, 'duration', { value: duration, configurable: true });
    picture();
    taken();
    become('connected');
    await vi.advanceTimersByTimeAsync(10);
    expect(taken()).toEqual(['here pause', 'there play']);
    return become;
  }

  it('the next broadcast plays there, and not here, whatever autoplay says', async () => {
    const become = await away();
    stood.lifecycle = live('second');
    await vi.advanceTimersByTimeAsync(11_000);
    expect([player.stats.videoUID, taken()]).toEqual(['second', []]);
    picture();
    expect(taken()).toEqual(['there load', 'there play']);
    // What plays already, another way, is no news there.
    player.setAttribute('captions', 'en');
    await vi.advanceTimersByTimeAsync(10);
    picture();
    expect(taken()).toEqual([]);
    become('disconnected');
    await vi.advanceTimersByTimeAsync(10);
    expect(taken()).toEqual(['there pause', 'there load', 'here play']);
  });

  it('is paused, played and sought from here', async () => {
    stood.lifecycle = { ...live('first'), isInput: false, live: false, moq: null };
    stood.start = () => Promise.resolve({ ...engine('HLS'), live: false });
    await away(30);
    Object.defineProperty(player.video, 'seekable', { value: { length: 1, start: () => 0, end: () => 30 } });
    player.screen.currentTime = 10;
    const label = () => player.shadowRoot?.querySelector('[data-part="play"]')?.getAttribute('aria-label');
    const told: string[] = [];
    player.addEventListener('airwave-remote', (event) => told.push((event as CustomEvent<string>).detail));
    player.screen.dispatchEvent(new Event('timeupdate'));
    expect([label(), player.screen.paused, player.video.paused, told]).toEqual(['Pause (space)', false, true, ['timeupdate']]);
    press('play');
    expect(taken()).toEqual(['there pause']);
    press('play');
    expect(taken()).toEqual(['there play']);
    player.handleKey(new KeyboardEvent('keydown', { key: 'ArrowRight' }));
    expect([player.currentTime, player.video.currentTime]).toEqual([15, 0]);
    player.currentTime = 3;
    expect([player.currentTime, player.video.currentTime]).toEqual([3, 0]);
    await player.play();
    player.pause();
    expect(taken()).toEqual(['there play', 'there pause']);
  });

  it('what is live is live there: it begins anew where it is', async () => {
    await away();
    press('live');
    expect(taken()).toEqual(['there load', 'there play']);
  });

  it('which does not play it: words, and the picture here goes on', async () => {
    const become = castable();
    await watch({ autoplay: '' });
    picture();
    taken();
    const play = vi.spyOn(HTMLMediaElement.prototype, 'play');
    const plays = play.getMockImplementation();
    play.mockImplementationOnce(() => Promise.reject(new DOMException('no', 'NotSupportedError')));
    become('connected');
    await vi.advanceTimersByTimeAsync(10);
    picture();
    if (plays !== undefined) play.mockImplementation(plays);
    await vi.advanceTimersByTimeAsync(300);
    expect([title(), taken()]).toEqual(["The other screen doesn't play this", ['here pause', 'there load', 'here play']]);
    become('disconnected');
    expect(title()).toBeNull();
  });

  it('has nothing more of a player that is off the page', async () => {
    await away();
    player.remove();
    expect(taken()).toEqual(['there pause', 'there load']);
  });
});
