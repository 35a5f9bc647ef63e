// Broadcasts from the page /publish in headless Chromium, whose camera and microphone are make-believe ones, and watches it in the
// same browser:
//   node publish.mjs --server http://HOST --input UID --key KEY [--seconds N] [--codec avc1|vp09|av01] [--screenshots DIR]
// Usage and the meaning of every field: README.md.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { launch, Missing, modulePath } from './lib/chromium.mjs';
import { print } from './lib/script.mjs';

const { values: options } = parseArgs({
  options: {
    server: { type: 'string' },
    input: { type: 'string' },
    key: { type: 'string' },
    seconds: { type: 'string', default: '8' },
    codec: { type: 'string' },
    screenshots: { type: 'string' },
  },
});

await print(main);

async function main() {
  for (const name of ['server', 'input', 'key']) if (!options[name]) throw new Missing(`--${name} is missing`);
  const browser = await launch({ extraArgs: ['--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream'] });
  try {
    return await publish(browser);
  } finally {
    await browser.close();
  }
}

async function publish(browser) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ignoreHTTPSErrors: true });
  const page = await context.newPage();
  const errors = [];
  const listen = (page) => {
    page.on('pageerror', (error) => errors.push(error.message));
    page.on('console', (message) => message.type() === 'error' && errors.push(`${message.text()} ${message.location().url}`));
  };
  listen(page);
  const violations = [];
  const look = async (page, name) => {
    if (options.screenshots) await page.screenshot({ path: path.join(options.screenshots, `${name}.png`), fullPage: true });
    const source = readFileSync(modulePath('axe-core/axe.min.js'), 'utf8');
    if (await page.evaluate(() => !('axe' in window))) await page.evaluate(source);
    const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
    violations.push(...found.violations.map(({ id, nodes }) => `${name}: ${id}: ${nodes.map(({ html }) => html.slice(0, 200)).join('; ')}`));
  };
  if (options.codec) await page.addInitScript(encodeOnly, options.codec);
  await page.goto(`${options.server}/publish#input=${options.input}&key=${options.key}`);
  await page.waitForFunction(() => document.getElementById('preview').videoWidth > 0, undefined, { timeout: 60_000, polling: 50 });
  // The fake microphone beeps once a second.
  await page.waitForFunction(() => document.getElementById('level').value > 0.2, undefined, { timeout: 60_000, polling: 20 });
  await look(page, 'publish-ready');
  const keyInAddress = page.url().includes(options.key);
  await page.getByRole('button', { name: 'Go live' }).click();
  await page.waitForFunction(() => /\d frames\/s/.test(document.getElementById('line').textContent) && !/ 0 frames\/s/.test(document.getElementById('line').textContent), undefined, { timeout: 60_000, polling: 50 });
  await page.getByText('Continue on a phone').click();
  await look(page, 'publish-live');
  await page.setViewportSize({ width: 390, height: 844 });
  const narrow = await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth);
  await look(page, 'publish-phone');
  const line = await page.locator('#line').textContent();

  const viewer = await context.newPage();
  listen(viewer);
  await viewer.goto(`${options.server}/${options.input}/watch`);
  // On two processors that are busy it encodes and decodes a few pictures a second.
  const wanted = Number(options.seconds) * 20;
  const enough = (wanted) => {
    const stats = document.querySelector('airwave-player')?.stats;
    return stats?.framesShown > wanted && ['MoQ', 'Real time'].includes(stats.mode);
  };
  await viewer.waitForFunction(enough, wanted, { timeout: 120_000, polling: 50 });
  // Who moves the mouse over it reads which way it comes, and how far behind it is.
  await viewer.locator('airwave-player').hover();
  const says = () => {
    const { shadowRoot, stats } = document.querySelector('airwave-player');
    const text = (part) => shadowRoot.querySelector(part).textContent;
    return text('.mode') === stats.mode && /^\d+(\.\d)? s$/.test(text('.latency'));
  };
  await viewer.waitForFunction(says, undefined, { timeout: 60_000, polling: 50 });
  const watched = await viewer.evaluate(() => {
    const { video, stats } = document.querySelector('airwave-player');
    return { ...stats, width: video.videoWidth, height: video.videoHeight };
  });
  await look(viewer, 'publish-watched');
  await viewer.close();

  await page.getByRole('button', { name: 'Stop' }).click();
  await page.waitForFunction(() => document.getElementById('badge').hidden, undefined, { timeout: 60_000, polling: 20 });
  const error = await page.locator('#error').textContent();
  return { line, error, narrow, keyInAddress, watched, violations, errors };
}

/** Runs in the page: its browser has no encoder for pictures but this one. */
function encodeOnly(codec) {
  const isConfigSupported = VideoEncoder.isConfigSupported.bind(VideoEncoder);
  VideoEncoder.isConfigSupported = async (config) => (config.codec.startsWith(codec) ? isConfigSupported(config) : { supported: false, config });
}
