// Plays a broadcast in headless Chromium and prints one JSON object with what was really shown and heard.
// Usage and the meaning of every field: README.md.
import { writeFile } from 'node:fs/promises';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { launch, Missing } from './lib/chromium.mjs';
import { watchMachine } from './lib/machine.mjs';
import { installMeasure } from './lib/measure.mjs';
import { manifestOf, PLAYERS, servePages } from './lib/players.mjs';
import { print } from './lib/script.mjs';
import { overRelay } from './lib/udp-relay.mjs';

const { values: options } = parseArgs({
  options: {
    url: { type: 'string' },
    seconds: { type: 'string', default: '10' },
    player: { type: 'string', default: 'airwave' },
    screenshot: { type: 'string' },
    'sample-pixels': { type: 'string' },
    counter: { type: 'boolean', default: false },
    'counter-at': { type: 'string', default: '0,0,16,20' },
    'source-width': { type: 'string' },
    'end-by': { type: 'string' },
    replay: { type: 'boolean', default: false },
    settle: { type: 'string', default: '1' },
    'start-timeout': { type: 'string', default: '60' },
    frames: { type: 'string', default: '0' },
    mark: { type: 'string' },
    span: { type: 'string', default: '0' },
    sizes: { type: 'string', default: '1' },
    viewport: { type: 'string', default: '1280x800' },
    'no-tone': { type: 'boolean', default: false },
    cmcd: { type: 'string' },
    'no-frames': { type: 'boolean', default: false },
    'strict-tls': { type: 'boolean', default: false },
    map: { type: 'string' },
    parts: { type: 'boolean', default: false },
    moq: { type: 'boolean', default: false },
    home: { type: 'string' },
    'moq-port': { type: 'string' },
    from: { type: 'string' },
    'to-start': { type: 'boolean', default: false },
    infinite: { type: 'boolean', default: false },
  },
});

const SAMPLE_EVERY_MS = 250;
/** How long anything is waited for: what hangs, not what is slow. */
const PATIENCE_MS = 60_000;

await print(main);

async function main() {
  if (!options.url) throw new Missing('--url is missing');
  if (options.player !== 'airwave' && !(options.player in PLAYERS)) throw new Missing(`--player ${options.player}: airwave, ${Object.keys(PLAYERS).join(', ')}`);
  const pages = options.player === 'airwave' ? null : await servePages(options.player);
  const extraArgs = options.map ? [`--host-resolver-rules=MAP ${options.map.replace('=', ' ')}`] : [];
  const browser = await launch({ extraArgs, home: options.home });
  try {
    return await play(browser, pages);
  } finally {
    await browser.close();
    pages?.server.close();
  }
}

async function play(browser, pages) {
  const [width, height] = options.viewport.split('x').map(Number);
  // The page's policy names the server's own port.
  const bypassCSP = options['moq-port'] !== undefined;
  const context = await browser.newContext({ viewport: { width, height }, ignoreHTTPSErrors: !options['strict-tls'], bypassCSP });
  const page = await context.newPage();
  if (bypassCSP) await overRelay(page, Number(options['moq-port']));
  const errors = [];
  page.on('pageerror', (error) => errors.push(`page: ${error.message}`));
  page.on('console', (message) => {
    if (message.type() === 'error') errors.push(`console: ${message.text()} ${message.location()?.url ?? ''}`.trim());
  });
  await page.addInitScript(installMeasure);
  // A browser without WebCodecs plays whole parts over MoQ.
  if (options.parts) await page.addInitScript(() => delete window.VideoDecoder);
  const startedAt = Date.now();
  const more = ['cmcd', 'from', 'infinite'].filter((name) => options[name]).map((name) => `&${name}=${options[name]}`);
  const target = pages === null ? options.url : `${pages.url}?src=${encodeURIComponent(manifestOf(options.url))}${more.join('')}`;
  await page.goto(target, { waitUntil: 'domcontentloaded', timeout: Number(options['start-timeout']) * 1000 });

  const first = await page
    .waitForFunction(
      () => {
        const host = document.querySelector('airwave-player');
        const video = host ? host.shadowRoot?.querySelector('video') : document.querySelector('video');
        window.watched = video;
        return video !== null && video !== undefined && video.videoWidth > 0 && video.currentTime > 0 && !video.paused;
      },
      undefined,
      { timeout: Number(options['start-timeout']) * 1000, polling: 20 },
    )
    .catch(() => null);
  if (first === null) errors.push(`no moving picture within ${options['start-timeout']} s`);
  const startupMs = Date.now() - startedAt;
  if (options.moq) {
    const over = () => ['MoQ', 'Real time'].includes(document.querySelector('airwave-player').stats.mode);
    await page.waitForFunction(over, undefined, { timeout: PATIENCE_MS, polling: 20 }).catch(() => errors.push('not over MoQ'));
  }

  const [x, y, cell, bits] = options['counter-at'].split(',').map(Number);
  await page.evaluate(
    ([counter, pixels, settleMs]) => window.watched && window.measure.start(window.watched, { counter, pixels, settleMs }),
    [
      options.counter ? { x, y, cell, bits, sourceWidth: options['source-width'] ? Number(options['source-width']) : null } : null,
      options['sample-pixels'] ? options['sample-pixels'].split(',').map(Number) : null,
      Number(options.settle) * 1000,
    ],
  );
  if (first !== null && !options['no-tone']) {
    await page
      .evaluate(() => {
        const host = document.querySelector('airwave-player');
        (host ?? window.watched).muted = false;
        return window.measure.listen(window.watched);
      })
      .catch((error) => errors.push(`tone: ${error.message}`));
  }

  // Measured inside the page: what the wire between here and there costs must not thin out the samples.
  const machine = watchMachine();
  const measuredMs = (Number(options.seconds) + Number(options.settle)) * 1000;
  if (first !== null) {
    await page.evaluate(collectSamples, SAMPLE_EVERY_MS);
    if (options.mark) {
      await page.waitForFunction((frames) => window.measure.state.frames.length >= frames, Number(options.frames), { timeout: 2 * PATIENCE_MS, polling: 50 });
      await writeFile(options.mark, '');
    }
    await page.waitForFunction(
      ([lastsMs, frames, span, sizes]) => {
        const { frames: shown } = window.measure.state;
        if (new Set(shown.map(({ width }) => width)).size < sizes || (sizes > 1 && shown.at(-60)?.width !== shown.at(-1).width)) return false;
        const spans = () => shown.length > 60 && shown.at(-60).counter - shown[0].counter >= span;
        return performance.now() - window.samples.startedMs >= lastsMs && shown.length >= frames && (span === 0 || spans());
      },
      [measuredMs, Number(options.frames), Number(options.span), Number(options.sizes)],
      { timeout: measuredMs + 2 * PATIENCE_MS, polling: 50 },
    ).catch(async ({ message }) => {
      // What was said and shown where it stands.
      const stands = await page.evaluate(() => {
        const { frames } = window.measure.state;
        return { said: window.player?.errors, atS: window.watched.currentTime, frames: frames.length, widths: [...new Set(frames.map(({ width }) => width))] };
      });
      throw new Error(`${message}: ${JSON.stringify({ errors, ...stands })}`);
    });
    if (options['end-by']) {
      process.kill(Number(options['end-by']), 'SIGINT');
      await page.waitForFunction(() => window.measure.state.ended, undefined, { timeout: PATIENCE_MS, polling: 50 });
    }
  }
  const toStart = options['to-start'] && first !== null ? await seekToStart(page) : null;
  const leastIdle = machine();
  const all = first === null ? [] : await page.evaluate(() => window.samples.list);
  const samples = all.filter(({ latency }) => latency !== null);
  const modes = all.map(({ mode }) => mode);
  const tones = all.map(({ tone }) => tone).filter((tone) => tone?.levelDb != null);
  if (options.screenshot) await page.screenshot({ path: options.screenshot });
  // After the end our page has to say so.
  if (all.length > 0 && pages === null && (await page.evaluate(() => window.measure.state.ended))) {
    await page
      .waitForFunction(() => document.querySelector('airwave-player')?.stats.notice !== '', undefined, { timeout: PATIENCE_MS, polling: 50 })
      .catch(() => errors.push('the broadcast has ended and the page does not say so'));
  }
  const replay = options.replay && first !== null ? await watchReplay(page) : null;
  const measured = first === null ? null : await page.evaluate(() => window.measure.result());
  const player = await page.evaluate(() => {
    const host = document.querySelector('airwave-player');
    if (host) return host.stats;
    const { version, errors, log = [] } = window.player ?? {};
    return window.player && { version, errors, log: errors.length > 0 ? log : [] };
  });
  const protocols = await page.evaluate(protocolsOfMedia);
  const own = player?.errors ?? [];
  return { ...report({ measured, samples, tones, errors: [...errors, ...own], player, startupMs }), modes: [...new Set(modes)], turns: turns(modes), protocols, replay, toStart, leastIdle };
}

/** What a page with stock hls.js comes to that seeks to where `seekable` says that the list begins; `playsOn` within half a minute. */
async function seekToStart(page) {
  const sought = await page.evaluate(() => {
    const [seekableS, listS] = [window.watched.seekable.start(0), window.player.oldest()];
    window.watched.currentTime = seekableS;
    return { seekableS, listS };
  });
  const soughtAt = Date.now();
  const moves = ({ seekableS }) => window.watched.currentTime > seekableS + 1 && !window.watched.seeking;
  const playsOn = await page.waitForFunction(moves, sought, { timeout: PATIENCE_MS / 2, polling: 50 }).then(
    () => true,
    () => false,
  );
  const tookMs = Date.now() - soughtAt;
  return page.evaluate((before) => ({ ...before, atS: window.watched.currentTime, listThenS: window.player.oldest() }), { ...sought, playsOn, tookMs });
}

/** Runs in the page: over which protocols lists and media came (`h2`, `http/1.1`), as far as the server lets a page know. */
function protocolsOfMedia() {
  const media = performance.getEntriesByType('resource').filter(({ name }) => /\/(manifest|media)\//.test(name));
  return [...new Set(media.map(({ nextHopProtocol }) => nextHopProtocol))].filter((protocol) => protocol !== '');
}

/** The page that was watching live becomes the replay: its states, whether it was loaded again, and what plays from the start. */
async function watchReplay(page) {
  const state = (wanted) =>
    page.waitForFunction((wanted) => document.querySelector('airwave-player').stats.state === wanted, wanted, { timeout: PATIENCE_MS, polling: 20 });
  await state('replay');
  await page.waitForFunction(() => document.querySelector('airwave-player').video.duration > 1, undefined, { timeout: PATIENCE_MS, polling: 20 });
  // In the document that was watching live: it remembers what was put there.
  const sameDocument = await page.evaluate(() => window.watched !== undefined && performance.getEntriesByType('navigation').length === 1);
  // Where the replay was not there yet when somebody clicked, it begins at its start without a seek.
  await page.evaluate(() => {
    const { video } = document.querySelector('airwave-player');
    for (const event of ['seeking', 'playing']) video.addEventListener(event, () => (window.playsFrom = video.currentTime));
  });
  await page.locator('airwave-player').locator('.actions button').click();
  await page.waitForFunction(
    () => {
      const { video } = document.querySelector('airwave-player');
      return window.playsFrom < 1 && !video.paused && !video.seeking && video.currentTime > 0.5;
    },
    undefined,
    { timeout: PATIENCE_MS, polling: 20 },
  );
  return page.evaluate((sameDocument) => {
    const { video, stats } = document.querySelector('airwave-player');
    return { sameDocument, duration: video.duration, at: video.currentTime, width: video.videoWidth, videoUID: stats.videoUID, sameElement: video === window.watched };
  }, sameDocument);
}

/** Runs in the page: latency, pace and tone at every tick, until the broadcast ends. */
function collectSamples(everyMs) {
  const host = document.querySelector('airwave-player');
  const read = () =>
    host
      ? { mode: host.stats.mode, latency: host.stats.latencySeconds, edge: null, target: host.stats.targetLatencySeconds, rate: host.stats.playbackRate, buffer: host.stats.bufferSeconds }
      : { latency: window.player?.latency() ?? null, edge: window.player?.edgeLatency() ?? null, target: window.player?.target() ?? null, rate: window.watched.playbackRate, buffer: null };
  window.samples = { startedMs: performance.now(), list: [] };
  const timer = setInterval(() => {
    if (window.measure.state.ended) return clearInterval(timer);
    window.samples.list.push({ atMs: performance.now(), ...read(), tone: window.measure.readTone() });
  }, everyMs);
}

function report({ measured, samples, tones, errors, player, startupMs }) {
  const frames = measured?.frames ?? [];
  const tone = median(tones, ({ frequencyHz }) => frequencyHz);
  return {
    player: options.player,
    framesShown: { count: measured?.framesPresented ?? 0, calledBack: frames.length, list: options['no-frames'] ? [] : frames },
    timeOriginMs: measured?.timeOriginMs ?? null,
    maxGapMs: measured?.maxGapMs ?? null,
    maxDisplayGapMs: measured?.maxDisplayGapMs ?? null,
    jumpsBack: measured?.jumpsBack ?? 0,
    videoWidth: measured?.videoWidth ?? 0,
    videoHeight: measured?.videoHeight ?? 0,
    decoded: measured?.decoded ?? 0,
    dropped: measured?.dropped ?? 0,
    stalls: measured?.stalls ?? [],
    startupMs,
    latencySeconds: samples.map(({ latency }) => Math.round(latency * 1000) / 1000),
    edgeLatencySeconds: samples.map(({ edge }) => edge).filter((edge) => edge !== null),
    targetLatencySeconds: samples.at(-1)?.target ?? null,
    counter: options.counter ? counterReport(frames, measured?.framesPresented ?? 0) : null,
    pixels: measured?.pixels ?? [],
    tone: tone === null ? null : { frequencyHz: tone.frequencyHz, levelDb: tone.levelDb },
    lastToneHz: tones.at(-1)?.frequencyHz ?? null,
    ended: measured?.ended ?? false,
    stats: options.player === 'airwave' ? player : player && { version: player.version, log: player.log },
    errors,
  };
}

/** Which source frames were on the screen, by the number drawn into them. */
function counterReport(frames, presented) {
  const values = frames.map(({ counter }) => counter);
  const seen = new Set(values);
  const first = Math.min(...seen);
  const last = Math.max(...seen);
  const missing = [];
  for (let value = first; value <= last && missing.length < 1000; value++) if (!seen.has(value)) missing.push(value);
  const backwards = values.filter((value, at) => at > 0 && value < values[at - 1]).length;
  const source = seen.size === 0 ? 0 : last - first + 1;
  return {
    values,
    first: seen.size ? first : null,
    last: seen.size ? last : null,
    distinct: seen.size,
    missing,
    backwards,
    // Of the source's frames between the first and the last: presented by the compositor, and read by a callback.
    presentedShare: source === 0 ? 0 : Math.min(1, presented / source),
    readShare: source === 0 ? 0 : seen.size / source,
  };
}

/** How often a value is another one than the one before it. */
function turns(values) {
  return values.filter((value, at) => at > 0 && value !== values[at - 1]).length;
}

function median(list, key) {
  const sorted = list.filter((entry) => key(entry) !== null).sort((a, b) => key(a) - key(b));
  return sorted[Math.floor(sorted.length / 2)] ?? null;
}
