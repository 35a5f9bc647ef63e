// Watches a broadcast over MoQ through a relay that is shut for a while, or too narrow, and prints how the player went over to LL-HLS and back:
//   node switch.mjs --url http://HOST/ID/watch [--shut-after S] [--narrow SHARE [--level HEIGHT]] [--shut-first [--plain]] [--parts] [--screenshots DIR]
// Usage and the meaning of every field: README.md.
import { parseArgs } from 'node:util';
import path from 'node:path';
import { launch, Missing } from './lib/chromium.mjs';
import { print } from './lib/script.mjs';
import { overRelay, udpRelay } from './lib/udp-relay.mjs';

const { values: options } = parseArgs({
  options: {
    url: { type: 'string' },
    'shut-after': { type: 'string', default: '10' },
    'shut-first': { type: 'boolean', default: false },
    narrow: { type: 'string' },
    level: { type: 'string' },
    plain: { type: 'boolean', default: false },
    parts: { type: 'boolean', default: false },
    screenshots: { type: 'string' },
  },
});

/** How long anything is waited for: what hangs, not what is slow. */
const PATIENCE_MS = 60_000;

await print(main);

async function main() {
  if (!options.url) throw new Missing('--url is missing');
  const url = new URL(options.url);
  const { moq } = await (await fetch(options.url.replace(/\/watch$/, '/lifecycle'))).json();
  const relay = await udpRelay(url.hostname, moq.port);
  const browser = await launch();
  try {
    return await watch(browser, relay);
  } finally {
    await browser.close();
    relay.close();
  }
}

async function watch(browser, relay) {
  // The page's policy names the server's own port.
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, bypassCSP: true });
  const page = await context.newPage();
  const errors = [];
  page.on('pageerror', (error) => errors.push(error.message));
  await overRelay(page, relay.port);
  relay.open = !options['shut-first'];
  // A browser without WebCodecs plays whole parts.
  if (options.parts) await page.addInitScript(() => delete window.VideoDecoder);
  await page.addInitScript(collect);
  const openedAtMs = Date.now();
  await page.goto(options.url, { waitUntil: 'domcontentloaded' });
  const mode = async (wanted, timeoutMs) => {
    const reached = (wanted) => {
      const { stats, video } = document.querySelector('airwave-player') ?? {};
      return wanted.includes(stats?.mode) && video.currentTime > 0 && video.readyState > 2;
    };
    await page.waitForFunction(reached, wanted === 'MoQ' ? ['MoQ', 'Real time'] : [wanted], { timeout: timeoutMs, polling: 20 });
  };
  const shot = (name) => options.screenshots && page.screenshot({ path: path.join(options.screenshots, `${name}.png`) });
  const result = { startMs: 0, down: null, up: null };
  if (options['shut-first']) {
    await mode(options.plain ? 'HLS' : 'Low latency', PATIENCE_MS);
    result.startMs = Date.now() - openedAtMs;
  } else {
    await mode('MoQ', PATIENCE_MS);
    result.startMs = Date.now() - openedAtMs;
    const [fromMs, from] = [Date.now(), relay.bytes.down];
    const played = (seconds) => document.querySelector('airwave-player').video.getVideoPlaybackQuality().totalVideoFrames >= 30 * seconds;
    await page.waitForFunction(played, Number(options['shut-after']), { timeout: 60_000, polling: 20 });
    await shot('moq');
    const shutAtMs = Date.now();
    if (options.narrow) relay.rates.down = (Number(options.narrow) * (relay.bytes.down - from) * 1000) / (shutAtMs - fromMs);
    else relay.open = false;
    if (options.level) {
      const shown = ([since, height]) => window.shown.filter((frame) => frame.atMs > since && frame.mode === 'MoQ' && frame.height === height).length > 30;
      await page.waitForFunction(shown, [shutAtMs, Number(options.level)], { timeout: PATIENCE_MS, polling: 20 }).catch(async (error) => {
        throw new Error(`${error.message} Since it was narrow: ${JSON.stringify(await page.evaluate(turns, shutAtMs))}`);
      });
      return { ...result, down: { ...(await page.evaluate(gap, shutAtMs)), afterMs: Date.now() - shutAtMs }, behindS: await page.evaluate(behind), errors };
    }
    await mode('Low latency', PATIENCE_MS);
    await page.waitForFunction((since) => window.shown.some(({ atMs, mode }) => atMs > since && mode === 'Low latency'), shutAtMs, { timeout: PATIENCE_MS, polling: 20 });
    result.down = { ...(await page.evaluate(gap, shutAtMs)), afterMs: Date.now() - shutAtMs };
    result.behindS = await page.evaluate(behind);
    await shot('low-latency');
  }
  const openAtMs = Date.now();
  relay.open = true;
  relay.rates.down = null;
  await mode('MoQ', PATIENCE_MS);
  await page.waitForFunction((since) => window.shown.filter(({ atMs, mode }) => atMs > since && ['MoQ', 'Real time'].includes(mode)).length > 60, openAtMs, { timeout: PATIENCE_MS, polling: 20 });
  result.up = { ...(await page.evaluate(gap, openAtMs)), afterMs: Date.now() - openAtMs };
  await shot('moq-again');
  return { ...result, errors };
}

/** Runs in the page: when each frame was shown, which way it came, and when it was taken. */
function collect() {
  window.shown = [];
  const begin = () => {
    const player = document.querySelector('airwave-player');
    if (!player?.video) return setTimeout(begin, 5);
    const onFrame = () => {
      const { mode, latencySeconds } = player.stats;
      window.shown.push({ atMs: Date.now(), mode, height: player.video.videoHeight, takenAtMs: latencySeconds === null ? null : Date.now() - latencySeconds * 1000 });
      player.video.requestVideoFrameCallback(onFrame);
    };
    player.video.requestVideoFrameCallback(onFrame);
  };
  begin();
}

/** Runs in the page: which way, and in which size, frames came since then, and for how long; and how the player stands. */
function turns(sinceMs) {
  const list = [];
  for (const { atMs, mode, height } of window.shown) {
    const last = list.at(-1);
    if (last?.mode === mode && last.height === height) Object.assign(last, { toS: (atMs - sinceMs) / 1000, frames: last.frames + 1 });
    else list.push({ mode, height, fromS: (atMs - sinceMs) / 1000, toS: (atMs - sinceMs) / 1000, frames: 1 });
  }
  const { stats, video } = document.querySelector('airwave-player');
  const { currentTime, readyState, seeking, paused, buffered } = video;
  const ranges = Array.from({ length: buffered.length }, (_, at) => [buffered.start(at), buffered.end(at)]);
  return { turns: list, now: stats, element: { currentTime, readyState, seeking, paused, ranges } };
}

/** Runs in the page: how far the newest picture lies behind its making. */
function behind() {
  const { atMs, takenAtMs } = window.shown.at(-1);
  return takenAtMs === null ? null : (atMs - takenAtMs) / 1000;
}

/** Runs in the page: the longest time without a new frame since then, and how far the picture moved over it. */
function gap(sinceMs) {
  const first = window.shown.findLastIndex(({ atMs }) => atMs < sinceMs);
  const frames = window.shown.slice(Math.max(0, first));
  let longest = { ms: 0, jumpS: 0 };
  for (let at = 1; at < frames.length; at++) {
    const ms = frames[at].atMs - frames[at - 1].atMs;
    if (ms > longest.ms) longest = { ms, jumpS: (frames[at].takenAtMs - frames[at - 1].takenAtMs) / 1000 };
  }
  return longest;
}
