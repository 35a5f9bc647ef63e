// From the encoder's picture to the screen, and from the click to the first frame, over MoQ in headless Chromium:
//   node glass.mjs --url http://HOST/ID/watch --rtmp rtmp://HOST/live/KEY [--seconds N] [--parts] [--starts N] [--round-trip MS]
//       [--size 640x360] [--screenshot FILE] [--trace]
// Usage and the meaning of every field: README.md.
import { parseArgs } from 'node:util';
import { launch, Missing } from './lib/chromium.mjs';
import { COUNTER, flashes, startGlass } from './lib/glass.mjs';
import { installMeasure } from './lib/measure.mjs';
import { print } from './lib/script.mjs';
import { tcpRelay } from './lib/tcp-relay.mjs';
import { udpRelay } from './lib/udp-relay.mjs';

const { values: options } = parseArgs({
  options: {
    url: { type: 'string' },
    rtmp: { type: 'string' },
    seconds: { type: 'string', default: '10' },
    parts: { type: 'boolean', default: false },
    starts: { type: 'string', default: '0' },
    'round-trip': { type: 'string', default: '50' },
    size: { type: 'string', default: '640x360' },
    screenshot: { type: 'string' },
    trace: { type: 'boolean', default: false },
  },
});
const SETTLE_MS = 2_000;

await print(main);

async function main() {
  for (const name of ['url', 'rtmp']) if (!options[name]) throw new Missing(`--${name} is missing`);
  const glass = startGlass(options.rtmp, options.size.split('x').map(Number));
  try {
    await live();
    const browser = await launch();
    try {
      const watched = Number(options.seconds) > 0 ? await watch(browser, glass) : null;
      const starts = Number(options.starts) > 0 ? await startOften(browser) : null;
      return { ...watched, starts };
    } finally {
      await browser.close();
    }
  } finally {
    await glass.stop();
  }
}

async function live() {
  const until = Date.now() + 60_000;
  while (Date.now() < until) {
    const { live } = await (await fetch(options.url.replace(/\/watch$/, '/lifecycle'))).json();
    if (live) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('the encoder did not get on the air');
}

async function newPage(browser) {
  // Sound is analysed by a worklet of ours, and relays have ports that the page's policy does not know.
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, bypassCSP: true });
  const page = await context.newPage();
  const errors = [];
  page.on('pageerror', (error) => errors.push(`page: ${error.message}`));
  page.on('console', (message) => {
    if (message.type() === 'error' || options.trace) errors.push(`console: ${message.text()} ${message.location()?.url ?? ''}`.trim());
  });
  // A browser without WebCodecs plays whole parts.
  if (options.parts) await page.addInitScript(() => delete window.VideoDecoder);
  return { context, page, errors };
}

async function watch(browser, glass) {
  const { context, page, errors } = await newPage(browser);
  await page.addInitScript(installMeasure);
  const openedAtMs = Date.now();
  await page.goto(options.url, { waitUntil: 'domcontentloaded' });
  const moving = () => {
    const video = document.querySelector('airwave-player')?.video;
    return video?.videoWidth > 0 && video.currentTime > 0 && !video.paused;
  };
  await page.waitForFunction(moving, undefined, { timeout: 60_000, polling: 20 });
  const over = () => ['MoQ', 'Real time'].includes(document.querySelector('airwave-player').stats.mode);
  await page.waitForFunction(over, undefined, { timeout: 60_000, polling: 20 });
  const startupMs = Date.now() - openedAtMs;
  await page.evaluate(listenForBeeps);
  await page.evaluate(([counter, settleMs]) => window.measure.start(document.querySelector('airwave-player').video, { counter, settleMs }), [COUNTER, SETTLE_MS]);
  const measuredMs = Number(options.seconds) * 1000 + SETTLE_MS;
  await page.waitForFunction((untilMs) => performance.now() > untilMs, measuredMs + (await page.evaluate(() => performance.now())), { timeout: measuredMs + 60_000, polling: 100 });
  const measured = await page.evaluate(() => window.measure.result());
  const sound = await page.evaluate(() => ({ beeps: window.beeps.heard, offsetMs: window.beeps.offsetMs() }));
  const stats = await page.evaluate(() => document.querySelector('airwave-player').stats);
  if (options.screenshot) await page.screenshot({ path: options.screenshot });
  await context.close();
  return { ...report(measured, sound, glass), startupMs, stats, errors };
}

function report({ frames, timeOriginMs, framesPresented, stalls, maxDisplayGapMs }, { beeps, offsetMs }, { madeAtMs }) {
  const shown = frames.map(({ counter, expectedDisplayTime }) => ({ counter, atMs: timeOriginMs + expectedDisplayTime }));
  const latencies = shown.filter(({ counter }) => counter < madeAtMs.length).map(({ counter, atMs }) => atMs - madeAtMs[counter]);
  const counters = shown.map(({ counter }) => counter);
  const source = counters.length === 0 ? 0 : Math.max(...counters) - Math.min(...counters) + 1;
  const seen = shown.filter(({ counter }) => flashes(counter));
  const heard = beeps.map((atS) => timeOriginMs + offsetMs + atS * 1000);
  const steps = seen.map(({ atMs }) => nearest(heard, atMs)).filter((step) => step !== null);
  return {
    framesShown: framesPresented,
    sourceFrames: source,
    backwards: counters.filter((value, at) => at > 0 && value < counters[at - 1]).length,
    latencyMs: spread(latencies),
    soundAfterPictureMs: spread(steps),
    longestStillMs: maxDisplayGapMs,
    stalls: stalls.length,
  };
}

function nearest(list, atMs) {
  const steps = list.map((other) => other - atMs).sort((a, b) => Math.abs(a) - Math.abs(b));
  return steps.length > 0 && Math.abs(steps[0]) < 450 ? steps[0] : null;
}

function spread(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share) => (sorted.length === 0 ? null : Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]));
  return { count: sorted.length, min: at(0), p50: at(0.5), p95: at(0.95), max: at(1) };
}

/** Runs in the page: when the sound of the player begins to beep, in seconds of its clock, and how that clock stands to the page's. */
async function listenForBeeps() {
  const code = `registerProcessor('beeps', class extends AudioWorkletProcessor {
    quietSince = 0;
    process([[samples]]) {
      const at = samples?.findIndex((value) => Math.abs(value) > 0.05) ?? -1;
      if (at < 0) return true;
      const time = currentTime + at / sampleRate;
      if (time - this.quietSince > 0.3) this.port.postMessage(time);
      this.quietSince = time;
      return true;
    }
  })`;
  const player = document.querySelector('airwave-player');
  player.muted = false;
  const context = new AudioContext({ sampleRate: 48000 });
  await context.audioWorklet.addModule(URL.createObjectURL(new Blob([code], { type: 'text/javascript' })));
  const beeps = new AudioWorkletNode(context, 'beeps');
  const offsets = [];
  window.beeps = { heard: [], offsetMs: () => offsets.sort((a, b) => a - b)[Math.floor(offsets.length / 2)] ?? 0 };
  beeps.port.onmessage = ({ data }) => window.beeps.heard.push(data);
  // Of a stream an element gives nothing to Web Audio.
  const { srcObject } = player.video;
  const source = srcObject === null ? context.createMediaElementSource(player.video) : context.createMediaStreamSource(srcObject);
  source.connect(beeps).connect(context.destination);
  await context.resume();
  setInterval(() => {
    const { contextTime, performanceTime } = context.getOutputTimestamp();
    if (performanceTime > 0) offsets.push(performanceTime - contextTime * 1000);
  }, 200);
}

/** New visitors, far away, who press play: milliseconds to the first frame on their screens. */
async function startOften(browser) {
  const url = new URL(options.url);
  const delayMs = Number(options['round-trip']) / 2;
  const { moq } = await (await fetch(options.url.replace(/\/watch$/, '/lifecycle'))).json();
  const [udp, tcp] = [await udpRelay(url.hostname, moq.port, delayMs), await tcpRelay(url.hostname, Number(url.port), delayMs)];
  const times = [];
  const modes = new Set();
  try {
    for (let start = 0; start < Number(options.starts); start++) {
      const { ms, mode } = await clickAndWait(browser, `http://127.0.0.1:${tcp.port}${url.pathname.replace(/watch$/, 'iframe')}?preload=none&muted=true`, udp.port);
      times.push(ms);
      modes.add(mode);
    }
  } finally {
    udp.close();
    tcp.close();
  }
  return { roundTripMs: 2 * delayMs, ...spread(times), modes: [...modes] };
}

async function clickAndWait(browser, url, port) {
  const { context, page, errors } = await newPage(browser);
  await page.addInitScript((port) => {
    // The answer says the server's own port.
    const { json } = Response.prototype;
    Response.prototype.json = async function () {
      const body = await json.call(this);
      if (body?.moq) body.moq.port = port;
      return body;
    };
  }, port);
  await page.goto(url);
  const button = page.locator('airwave-player').locator('button:visible').first();
  await page.waitForFunction(() => document.querySelector('airwave-player')?.stats.state === 'live', undefined, { timeout: 60_000, polling: 20 });
  await page.evaluate(() => {
    const { video } = document.querySelector('airwave-player');
    window.first = new Promise((resolve) => {
      addEventListener('click', () => {
        const clickedMs = performance.now();
        video.requestVideoFrameCallback((_, { expectedDisplayTime }) => resolve(expectedDisplayTime - clickedMs));
      }, { capture: true, once: true });
    });
  });
  await page.waitForLoadState('networkidle');
  await button.click();
  const ms = await page.evaluate(() => window.first);
  const mode = await page.evaluate(() => document.querySelector('airwave-player').stats.mode);
  await context.close();
  if (options.trace) for (const error of errors) process.stderr.write(`${error}\n`);
  return { ms, mode };
}
