// Leafs through a recording with stock shaka-player: fast, by its list of key pictures, and back to every frame. Prints what was shown:
//   node trick-play.mjs --url http://HOST/ID/watch --step FRAMES [--rate 4] [--pictures 4]
// The meaning of every field: README.md.
import process from 'node:process';
import { parseArgs } from 'node:util';
import { launch, Missing } from './lib/chromium.mjs';
import { installMeasure } from './lib/measure.mjs';
import { manifestOf, servePages } from './lib/players.mjs';
import { print } from './lib/script.mjs';

const { values: options } = parseArgs({
  options: { url: { type: 'string' }, step: { type: 'string' }, rate: { type: 'string', default: '4' }, pictures: { type: 'string', default: '4' } },
});
/** How long anything is waited for: what hangs, not what is slow. */
const PATIENCE_MS = 60_000;

await print(main);

async function main() {
  if (!options.url || !options.step) throw new Missing('--url or --step is missing');
  const [rate, step, pictures] = [options.rate, options.step, options.pictures].map(Number);
  const browser = await launch();
  const pages = await servePages('shaka');
  try {
    const page = await (await browser.newContext()).newPage();
    const [errors, files] = [[], []];
    page.on('pageerror', (error) => errors.push(`page: ${error.message}`));
    page.on('console', (message) => message.type() === 'error' && errors.push(`console: ${message.text()}`));
    page.on('response', (response) => {
      if (response.url().endsWith('.key.m4s')) files.push(response.status());
    });
    const until = (state, arg) =>
      page.waitForFunction(state, arg, { timeout: PATIENCE_MS, polling: 20 }).then(
        () => true,
        () => errors.push(`never: ${state}`) && false,
      );
    await page.addInitScript(installMeasure);
    await page.goto(`${pages.url}?src=${encodeURIComponent(manifestOf(options.url))}`);
    await until(() => document.querySelector('video')?.currentTime > 0);
    await page.evaluate(() => {
      const counter = { x: 0, y: 0, cell: 16, bits: 20, sourceWidth: null };
      window.measure.start(document.querySelector('video'), { counter, pixels: null, settleMs: 0 });
    });
    await page.evaluate((rate) => window.player.trickPlay(rate), rate);
    // What was loaded before is shown first: every frame of it.
    const leafed = await until(leafs, [step, pictures]);
    const fast = await page.evaluate(() => ({ rate: window.player.rate(), frames: window.measure.state.frames.slice() }));
    await page.evaluate(() => window.player.trickPlay(1));
    await until(everyFrame, fast.frames.length);
    const whole = await page.evaluate((from) => ({ rate: window.player.rate(), frames: window.measure.state.frames.slice(from) }), fast.frames.length);
    const own = await page.evaluate(() => window.player.errors);
    return {
      rate: fast.rate,
      leafed: leafed ? newest(fast.frames, pictures) : [],
      files,
      back: { rate: whole.rate, counters: whole.frames.map(({ counter }) => counter) },
      errors: [...errors, ...own],
    };
  } finally {
    await browser.close();
    pages.server.close();
  }
}

/** The newest so many pictures that are different, each with its number, its time in the media, and when it was shown. */
function newest(frames, pictures) {
  const different = frames.filter(({ counter }, at) => at === 0 || counter !== frames[at - 1].counter);
  return different.slice(-pictures).map(({ counter, mediaTime, expectedDisplayTime }) => ({ counter, mediaTime, shownMs: expectedDisplayTime }));
}

/** Runs in the page: whether the newest so many pictures are key pictures only, one after the other. */
function leafs([step, pictures]) {
  const { frames } = window.measure.state;
  const counters = frames.map(({ counter }) => counter).filter((counter, at, all) => at === 0 || counter !== all[at - 1]);
  const newest = counters.slice(-pictures);
  return newest.length === pictures && newest.every((counter, at) => counter % step === 0 && (at === 0 || counter > newest[at - 1]));
}

/** Runs in the page: whether two pictures were neighbours since then. */
function everyFrame(from) {
  const counters = window.measure.state.frames.slice(from).map(({ counter }) => counter);
  return counters.some((counter, at) => at > 0 && counter === counters[at - 1] + 1);
}
