// Goes from one level of quality to another and back while a player goes on, and prints which frames the screen missed and where the sound
// broke off:
//   node between.mjs --url http://HOST/ID/watch --levels 144p,96p --switches 20 [--player airwave|shaka|dashjs] [--ways MODE,...]
// Usage and the meaning of every field: README.md.
import { parseArgs } from 'node:util';
import { launch, Missing } from './lib/chromium.mjs';
import { watchMachine } from './lib/machine.mjs';
import { menuIsThere, pick } from './lib/menu.mjs';
import { manifestOf, PLAYERS, servePages } from './lib/players.mjs';
import { print } from './lib/script.mjs';
import { hearTone } from './lib/tone.mjs';

const { values: options } = parseArgs({
  options: {
    url: { type: 'string' },
    levels: { type: 'string', default: '144p,96p' },
    switches: { type: 'string', default: '20' },
    player: { type: 'string', default: 'airwave' },
    ways: { type: 'string' },
  },
});

const WAIT = { timeout: 60_000, polling: 50 };

await print(main);

async function main() {
  if (!options.url) throw new Missing('--url is missing');
  const own = options.player === 'airwave';
  if (!own && !(options.player in PLAYERS)) throw new Missing(`--player ${options.player}: airwave, shaka, dashjs`);
  const pages = own ? null : await servePages(options.player);
  const browser = await launch();
  try {
    // What listens to the sound is no script of the page.
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, bypassCSP: true });
    const page = await context.newPage();
    const errors = [];
    page.on('pageerror', (error) => errors.push(error.message));
    page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
    const requests = watchRequests(page);
    const address = own ? options.url : `${pages.url}?src=${encodeURIComponent(manifestOf(options.url))}`;
    await page.goto(address, { waitUntil: 'domcontentloaded' });
    await page.waitForFunction(() => (document.querySelector('airwave-player')?.video ?? document.querySelector('video'))?.videoHeight > 0, null, WAIT);
    const seen = await goBetween(page, requests);
    return { ...seen, errors: [...errors, ...(await page.evaluate(() => window.player?.errors ?? []))] };
  } finally {
    await browser.close();
    pages?.server.close();
  }
}

/** Chooses a level, and waits until its picture plays. */
async function choose(page, label) {
  if (options.player === 'airwave') await pick(page, label);
  else await page.evaluate((height) => window.player.choose(height), Number.parseInt(label, 10));
  await page.waitForFunction((height) => window.plays(height), Number.parseInt(label, 10), WAIT);
}

/** Our player comes this way, or another player just plays. */
async function onItsWay(page) {
  if (!options.ways) return;
  const comes = (ways) => ways.includes(document.querySelector('airwave-player').stats.mode);
  await page.waitForFunction(comes, options.ways.split(','), WAIT);
}

/** From one level to the other and back, so many times: which frames the screen missed around it, and where the tone broke off. */
async function goBetween(page, requests) {
  const [other, level] = options.levels.split(',').reverse();
  if (options.player === 'airwave') await menuIsThere(page);
  await page.evaluate(collect);
  await choose(page, other);
  await onItsWay(page);
  await page.evaluate(hearTone);
  // Players find their distance to the edge first, and some run dry meanwhile: over two segments without it, or so many frames.
  await page.waitForFunction(async () => (await window.heard()).steadyMs > 4000 || window.collected().frames.length > 600, null, WAIT);
  const machine = watchMachine();
  await page.evaluate(() => {
    window.collectAnew();
    window.hearAnew();
  });
  for (let round = 0; round < Number(options.switches); round++) await choose(page, round % 2 ? other : level);
  const { heardMs, brokenMs } = await page.evaluate(() => window.heard());
  const { frames, waiting, seeks, rates, dropped, holes, gapS, notes, modes } = await page.evaluate(() => window.collected());
  const leastIdle = machine();
  const steps = frames.slice(1).map((frame, at) => ({ s: frame.mediaTime - frames[at].mediaTime, shown: frame.presentedFrames - frames[at].presentedFrames, ms: frame.displayedMs - frames[at].displayedMs, at: frames[at].mediaTime, heights: [frames[at].height, frame.height], turned: frame.height !== frames[at].height }));
  const usual = steps.map(({ s, shown }) => s / shown).sort((a, b) => a - b)[Math.floor(steps.length / 2)];
  const missing = (step) => Math.round(step.s / usual) - step.shown;
  const turns = steps.filter(({ turned }) => turned);
  return {
    switches: turns.length,
    modes,
    frameS: usual,
    // Of each switch: frames of the source between the last one of the old level and the first one of the new one.
    missingAtSwitches: turns.map(missing),
    // Where more than one frame was missing: the time on the clock of the media, frames shown, seconds, ms on the screen, the heights.
    jumps: steps.filter((step) => missing(step) > 1).map(({ at, shown, s, ms, heights }) => [at, shown, s, ms, ...heights]),
    missing: steps.map(missing).reduce((sum, n) => sum + Math.max(0, n), 0),
    backwards: steps.filter(({ s }) => s <= 0).length,
    frames: frames.length,
    waiting,
    seeks,
    rates,
    dropped,
    holes,
    gapS,
    // For so long the tone was there, and where it was not: behind so much of it, for so long.
    heardMs,
    brokenMs,
    notes,
    requests: requests(Number(notes.find((note) => note.startsWith('waiting'))?.split(' ')[1])),
    leastIdle,
  };
}

/** All that is asked for; answers those around the first wait: when, how long it took and how it ended, and what for. */
function watchRequests(page) {
  const all = new Map();
  page.on('request', (request) => all.set(request, { began: Date.now(), ended: 'never' }));
  const ended = (how) => (request) => {
    const entry = all.get(request);
    if (entry !== undefined) entry.ended = `${Date.now() - entry.began} ${how} ${request.failure()?.errorText ?? ''}`;
  };
  page.on('requestfinished', ended('whole'));
  page.on('requestfailed', ended('failed'));
  return (waited) => [...all].filter(([, { began }]) => waited - 12_000 < began && began < waited + 7_000).map(([request, { began, ended }]) => `${began} ${ended} ${request.url().split('/').slice(4).join('/')}`);
}

/** Runs in the page: every frame that is shown from now on, and what should not happen meanwhile. */
function collect() {
  const player = document.querySelector('airwave-player');
  const video = player?.video ?? document.querySelector('video');
  let state = null;
  let before = 0;
  const dropped = () => video.getVideoPlaybackQuality().droppedVideoFrames;
  window.collectAnew = () => {
    state = { frames: [], waiting: 0, seeks: 0, rates: 0, holes: 0, gapS: 0, notes: [], modes: [] };
    before = dropped();
  };
  window.collectAnew();
  // What was going on when something happened that should not: the first few times.
  const note = (what) => {
    const { currentTime, buffered, readyState, videoHeight } = video;
    const ranges = Array.from({ length: buffered.length }, (_, at) => [buffered.start(at), buffered.end(at)].map((s) => s.toFixed(3)).join('-'));
    if (state.notes.length < 40) state.notes.push([what, (performance.timeOrigin + performance.now()).toFixed(0), currentTime.toFixed(3), readyState, videoHeight, ranges.join(' ')].join(' '));
  };
  video.addEventListener('waiting', () => (state.waiting++, note('waiting')));
  video.addEventListener('seeking', () => (state.seeks++, note('seeking')));
  video.addEventListener('ratechange', () => (state.rates++, note(`ratechange to ${video.playbackRate}`)));
  for (const what of ['playing', 'stalled', 'resize']) video.addEventListener(what, () => note(what));
  const onFrame = (_now, { mediaTime, presentedFrames, expectedDisplayTime: displayedMs, height }) => {
    state.frames.push({ mediaTime, presentedFrames, displayedMs, height });
    const mode = player?.stats.mode ?? null;
    if (state.modes.at(-1) !== mode) state.modes.push(mode);
    const { buffered, currentTime } = video;
    // The last picture stays a moment longer than its time when the next one is appended just then: that is no hole.
    const frameS = 1 / 30;
    const inside = Array.from({ length: buffered.length }, (_, at) => at).some((at) => buffered.start(at) <= currentTime && currentTime <= buffered.end(at) + frameS);
    if (!inside) (state.holes++, note('hole'));
    for (let at = 1; at < buffered.length; at++) state.gapS = Math.max(state.gapS, buffered.start(at) - buffered.end(at - 1));
    video.requestVideoFrameCallback(onFrame);
  };
  video.requestVideoFrameCallback(onFrame);
  window.collected = () => ({ ...state, dropped: dropped() - before });
  window.plays = (height) => state.frames.length > 10 && state.frames.slice(-10).every((frame) => frame.height === height);
}
