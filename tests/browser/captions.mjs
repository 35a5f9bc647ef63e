// Watches a broadcast or a recording with several players at once, turns their captions on, and prints the lines that each drew:
//   node captions.mjs --url http://HOST/ID/watch [--players airwave,hlsjs,shaka] [--lines 2] [--timeout 60] [--moq] [--screenshots DIR]
// Usage and the meaning of every field: README.md.
import path from 'node:path';
import { parseArgs } from 'node:util';
import { launch, Missing } from './lib/chromium.mjs';
import { manifestOf, servePages } from './lib/players.mjs';
import { print } from './lib/script.mjs';

const { values: options } = parseArgs({
  options: {
    url: { type: 'string' },
    players: { type: 'string', default: 'airwave,hlsjs,shaka' },
    lines: { type: 'string', default: '2' },
    timeout: { type: 'string', default: '60' },
    moq: { type: 'boolean', default: false },
    screenshots: { type: 'string' },
  },
});

await print(main);

async function main() {
  if (!options.url) throw new Missing('--url is missing');
  const browser = await launch();
  try {
    const watched = options.players.split(',').map(async (name) => [name, await watch(browser, name)]);
    return Object.fromEntries(await Promise.all(watched));
  } finally {
    await browser.close();
  }
}

async function watch(browser, name) {
  const pages = name === 'airwave' ? null : await servePages(name);
  const page = await (await browser.newContext()).newPage();
  const errors = [];
  page.on('pageerror', (error) => errors.push(`page: ${error.message}`));
  page.on('console', (message) => message.type() === 'error' && errors.push(`console: ${message.text()}`));
  const wait = { timeout: Number(options.timeout) * 1000, polling: 50 };
  await page.goto(pages === null ? options.url : `${pages.url}?src=${encodeURIComponent(manifestOf(options.url))}`);
  await page
    .waitForFunction(turnOn, options.moq, wait)
    .then(() => page.waitForFunction(enough, Number(options.lines), wait))
    .catch((error) => errors.push(error.message));
  const seen = await page.evaluate(() => ({
    tracks: window.captions?.tracks() ?? [],
    lines: [...(window.captions?.lines ?? [])],
    modes: window.captions?.modes ?? [],
    own: window.player?.errors ?? document.querySelector('airwave-player')?.stats.errors ?? [],
  }));
  if (options.screenshots) await page.screenshot({ path: path.join(options.screenshots, `captions-${name}.png`) });
  if (options.moq) await page.waitForFunction(turnOff, undefined, wait).then(async (modes) => Object.assign(seen, { modes: await modes.jsonValue() }), (error) => errors.push(error.message));
  pages?.server.close();
  const { own, ...said } = seen;
  return { ...said, errors: [...errors, ...own] };
}

/**
 * Runs in the page until there is something to turn on: our player has a button for it, which may be on already; the others are asked
 * as their pages would. `moq`: it comes over MoQ.
 */
function turnOn(moq) {
  const host = document.querySelector('airwave-player');
  const video = host ? host.video : document.querySelector('video');
  const button = host?.shadowRoot.querySelector('[data-part="captions"]');
  if (!video?.videoWidth || (host ? !button || button.hidden : !window.player.captions())) return false;
  if (moq && !['MoQ', 'Real time'].includes(host.stats.mode)) return false;
  const modes = moq ? [host.stats.mode] : [];
  if (button?.getAttribute('aria-pressed') !== 'true') button?.click();
  const tracks = () => [...video.textTracks].filter(({ kind }) => kind === 'captions' || kind === 'subtitles').map(({ kind, label, language }) => ({ kind, label, language }));
  window.captions = { video, tracks, lines: new Set(), modes };
  return true;
}

/** Runs in the page: without captions it comes over MoQ again. */
function turnOff() {
  const { stats, shadowRoot } = document.querySelector('airwave-player');
  const button = shadowRoot.querySelector('[data-part="captions"]');
  if (button.getAttribute('aria-pressed') === 'true') {
    window.captions.modes.push(stats.mode);
    button.click();
  }
  return ['MoQ', 'Real time'].includes(stats.mode) && !button.hidden && [...window.captions.modes, stats.mode];
}

/** Runs in the page: whether so many different lines stood on the picture. */
function enough(wanted) {
  const { video, lines } = window.captions;
  for (const { mode, activeCues } of video.textTracks) {
    if (mode === 'showing') for (const { text } of activeCues ?? []) lines.add(text.replace(/<[^>]*>/g, '').trim());
  }
  return lines.size >= wanted;
}
