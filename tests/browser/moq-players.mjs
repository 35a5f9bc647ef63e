// Watches a broadcast over MoQ with a stock player, in several windows of headless Chromium: a first viewer, a second one beside it,
// and a late one, and prints what each of them showed:
//   node moq-players.mjs --url http://HOST/ID/watch --player moq-watch|shaka [--seconds N] [--late-after N]
//       [--frames N] [--viewers first,second,late] [--start-timeout 60] [--page-host 127.0.0.1] [--screenshot FILE] [--trace]
//       [--instead TEXT]
// Usage and the meaning of every field: README.md.
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { launch, Missing, modulePath } from './lib/chromium.mjs';
import { COUNTER, RATE } from './lib/glass.mjs';
import { print } from './lib/script.mjs';

const { values: options } = parseArgs({
  options: {
    url: { type: 'string' },
    player: { type: 'string', default: 'moq-watch' },
    seconds: { type: 'string', default: '8' },
    'late-after': { type: 'string', default: '5' },
    viewers: { type: 'string', default: 'first,second,late' },
    frames: { type: 'string', default: '0' },
    instead: { type: 'string' },
    'start-timeout': { type: 'string', default: '60' },
    'page-host': { type: 'string', default: '127.0.0.1' },
    screenshot: { type: 'string' },
    trace: { type: 'boolean', default: false },
  },
});

const PLAYERS = {
  'moq-watch': { module: '@moq/watch', route: '/lib/moq-watch.js', code: () => bundle('@moq/watch/element') },
  shaka: { module: 'shaka-player', route: '/lib/shaka.js', code: () => readFile(modulePath('shaka-player/dist/shaka-player.experimental.js')) },
};

await print(main);

async function main() {
  if (!options.url) throw new Missing('--url is missing');
  const player = PLAYERS[options.player];
  if (!player) throw new Missing(`--player ${options.player}: ${Object.keys(PLAYERS).join(', ')}`);
  const { version } = JSON.parse(readFileSync(modulePath(`${player.module}/package.json`), 'utf8'));
  const { moq } = await (await fetch(options.url.replace(/\/watch$/, '/lifecycle'))).json();
  const pages = await serve(player, moq.certificate);
  const browser = await launch();
  try {
    const { hostname } = new URL(options.url);
    const query = new URLSearchParams({ url: `https://${hostname}:${moq.port}/`, account: moq.account, input: moq.input, certificate: moq.certificate });
    const open = (name) => view(browser, `${pages.url}?${query}`, name);
    const names = options.viewers.split(',');
    const early = await Promise.all(names.filter((name) => name !== 'late').map(open));
    const all = [...early];
    if (names.includes('late')) {
      const watched = (frames) => window.seen.counters.at(-1) - window.seen.counters[0] >= frames;
      await early[0].page.waitForFunction(watched, Number(options['late-after']) * RATE, { timeout: 60_000, polling: 50 });
      all.push(await open('late'));
    }
    // All at the same time: each for itself, but beside the others.
    const viewers = await Promise.all(all.map(async ({ name, page, errors, startMs }) => [name, { startMs, ...(await measured(page)), errors }]));
    if (options.screenshot) await all.at(-1).page.screenshot({ path: options.screenshot });
    return { player: player.module, version, ...Object.fromEntries(viewers) };
  } finally {
    await browser.close();
    pages.close();
  }
}

async function view(browser, url, name) {
  const page = await (await browser.newContext()).newPage();
  const errors = [];
  page.on('pageerror', (error) => errors.push(`page: ${error.message}`));
  page.on('console', (message) => {
    if (message.type() === 'error' || options.trace) errors.push(`${message.type()}: ${message.text()}`);
  });
  await page.addInitScript(observe, COUNTER);
  const timeout = Number(options['start-timeout']) * 1000;
  const told = options.instead && page.waitForEvent('console', { predicate: (message) => message.text().includes(options.instead), timeout });
  const openedMs = Date.now();
  await page.goto(url);
  if (told) {
    await told.catch(() => errors.push(`not a word of ${options.instead}`));
    return { name, page, errors, startMs: null };
  }
  const started = await page.waitForFunction(() => window.seen.counters.length > 5, undefined, { timeout, polling: 20 }).catch(() => null);
  if (started === null) errors.push(`no moving picture within ${options['start-timeout']} s`);
  return { name, page, errors, startMs: started === null ? null : Date.now() - openedMs };
}

async function measured(page) {
  await page.evaluate(() => window.seen.begin());
  const lastsMs = Number(options.seconds) * 1000;
  const enough = ([lastsMs, frames]) => performance.now() - window.seen.begunMs >= lastsMs && new Set(window.seen.counters).size >= frames;
  await page.waitForFunction(enough, [lastsMs, Number(options.frames)], { timeout: lastsMs + 60_000, polling: 50 });
  const { counters, tones, size, frames, errors } = await page.evaluate(() => ({ ...window.seen.result(), errors: window.player?.errors ?? [] }));
  const distinct = new Set(counters);
  const source = counters.length === 0 ? 0 : Math.max(...counters) - Math.min(...counters) + 1;
  return {
    size,
    framesSeen: distinct.size,
    sourceFrames: source,
    backwards: counters.filter((value, at) => at > 0 && value < counters[at - 1]).length,
    around: counters.flatMap((value, at) => (at > 0 && value < counters[at - 1] ? [[at, ...counters.slice(at - 3, at + 4)]] : [])),
    ...(frames.came.length > 0 ? decoded(frames) : shown(frames.shown)),
    toneHz: tones.length === 0 ? null : Math.round(tones.sort((a, b) => a - b)[Math.floor(tones.length / 2)]),
    playerErrors: errors,
  };
}

/** What came from the first key frame to the last one. A player that asks anew gets some twice. */
function decoded({ came, keys, out }) {
  const times = new Set(came.filter((time) => time >= keys[0] && time < keys.at(-1)));
  const sent = Math.round(((keys.at(-1) - keys[0]) * RATE) / 1e6);
  return { accounted: sent, missing: sent - times.size, leftOut: [...times].filter((time) => !out.includes(time)).length };
}

/** What lies between the first frame that was shown and the last one, and was neither shown nor left out. */
function shown(frames) {
  const sent = frames ? Math.round((frames.to - frames.from) * RATE) : 0;
  const leftOut = frames ? frames.leftThen - frames.left : 0;
  return { accounted: sent, missing: sent - leftOut - (frames ? frames.last - frames.first : 0), leftOut };
}

/** Runs in the page from its start: reads the counter off every picture, and listens to whatever sounds. */
function observe({ x, y, cell, bits }) {
  const state = { counters: [], tones: [], begunMs: 0, came: [], keys: [], out: [], shown: null };
  // A player that decodes frame by frame: each that it was given, and each that came out.
  const Decoder = window.VideoDecoder;
  window.VideoDecoder = class extends Decoder {
    constructor({ output, ...more }) {
      super({ ...more, output: (frame) => (state.out.push(frame.timestamp), output(frame)) });
    }
    decode(chunk) {
      if (chunk.type === 'key') state.keys.push(chunk.timestamp);
      state.came.push(chunk.timestamp);
      return super.decode(chunk);
    }
  };
  // One that leaves it to the element: each that was shown, by its time, and how many were left out.
  const follow = (video) => {
    const left = () => video.getVideoPlaybackQuality().droppedVideoFrames;
    const next = (_, { mediaTime, presentedFrames }) => {
      state.shown ??= { first: presentedFrames, from: mediaTime, left: left() };
      Object.assign(state.shown, { last: presentedFrames, to: mediaTime, leftThen: left() });
      video.requestVideoFrameCallback(next);
    };
    video.requestVideoFrameCallback(next);
  };
  const canvas = document.createElement('canvas');
  Object.assign(canvas, { width: cell * bits, height: cell });
  const context = canvas.getContext('2d', { willReadFrequently: true });
  const read = (picture) => {
    context.drawImage(picture, x, y, cell * bits, cell, 0, 0, cell * bits, cell);
    const { data } = context.getImageData(0, cell / 2, cell * bits, 1);
    let value = 0;
    for (let bit = 0; bit < bits; bit++) value = value * 2 + (data[4 * (bit * cell + cell / 2) + 1] > 127 ? 1 : 0);
    return value;
  };
  const size = () => {
    const picture = window.player?.picture();
    return picture ? [picture.videoWidth ?? picture.width, picture.videoHeight ?? picture.height] : [0, 0];
  };
  const onFrame = () => {
    requestAnimationFrame(onFrame);
    const picture = window.player?.picture();
    if (!picture || size()[0] === 0) return;
    const value = read(picture);
    // An empty canvas reads as nought.
    if (value > 0 && value !== state.counters.at(-1)) state.counters.push(value);
  };
  requestAnimationFrame(onFrame);
  const analysers = [];
  const { connect } = AudioNode.prototype;
  AudioNode.prototype.connect = function (to, ...more) {
    if (to instanceof AudioDestinationNode) {
      const analyser = this.context.createAnalyser();
      analyser.fftSize = 8192;
      analysers.push(analyser);
      connect.call(this, analyser);
    }
    return connect.call(this, to, ...more);
  };
  const listenTo = (video) => {
    const context = new AudioContext();
    context.createMediaElementSource(video).connect(context.destination);
  };
  const frequency = (analyser) => {
    const spectrum = new Float32Array(analyser.frequencyBinCount);
    analyser.getFloatFrequencyData(spectrum);
    const peak = spectrum.reduce((best, level, bin) => (bin > 2 && level > spectrum[best] ? bin : best), 3);
    return spectrum[peak] > -70 ? (peak * analyser.context.sampleRate) / analyser.fftSize : null;
  };
  window.seen = {
    counters: state.counters,
    begunMs: 0,
    begin: () => {
      state.counters.splice(0);
      Object.assign(state, { came: [], keys: [], out: [] });
      window.seen.begunMs = performance.now();
      const video = document.querySelector('video');
      if (video && analysers.length === 0) listenTo(video);
      if (video) follow(video);
      setInterval(() => state.tones.push(...analysers.map(frequency).filter((hz) => hz !== null)), 250);
    },
    result: () => ({ counters: [...state.counters], tones: state.tones, size: size(), frames: { came: state.came, keys: state.keys, out: state.out, shown: state.shown } }),
  };
}

async function serve({ route, code }, certificate) {
  const page = fileURLToPath(new URL(`pages/moq-${options.player.replace('moq-', '')}.html`, import.meta.url));
  const script = await code();
  const server = http.createServer(async (request, response) => {
    const { pathname } = new URL(request.url, 'http://localhost');
    if (pathname === route) return response.writeHead(200, { 'content-type': 'text/javascript' }).end(script);
    if (pathname === '/certificate.sha256') return response.writeHead(200, { 'content-type': 'text/plain' }).end(certificate);
    if (pathname !== '/') return response.writeHead(204).end();
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(await readFile(page));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { url: `http://${options['page-host']}:${server.address().port}/`, close: () => server.close() };
}

/** What a bundler makes of a package: one script. */
async function bundle(name) {
  const { build } = await import(pathToFileURL(modulePath('vite/dist/node/index.js')));
  const entry = '\0entry';
  const result = await build({
    root: fileURLToPath(new URL('../../web/', import.meta.url)),
    configFile: false,
    logLevel: 'error',
    plugins: [{ name: 'entry', resolveId: (id) => (id === entry ? id : null), load: (id) => (id === entry ? `import ${JSON.stringify(name)};` : null) }],
    build: { write: false, minify: false, target: 'es2022', modulePreload: false, rolldownOptions: { input: entry, output: { codeSplitting: false } } },
  });
  return [result].flat()[0].output.find(({ type }) => type === 'chunk').code;
}
