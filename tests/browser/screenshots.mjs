// The pictures in the README, of a running server that has a demo broadcast: scripts/screenshots.sh starts one.
//   node screenshots.mjs --url URL --token TOKEN --out FOLDER
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { launch } from './lib/chromium.mjs';

const { values: options } = parseArgs({
  options: { url: { type: 'string' }, token: { type: 'string' }, out: { type: 'string' } },
});
const SIZE = { width: 1200, height: 750 };
/** How long a state may take to come. */
const PATIENCE_MS = 30_000;
const QUALITY = 82;
/** Beside the demo, so that the dashboard looks like somebody's. */
const OTHERS = ['Chamber choir, rehearsal', 'Town council, open session'];

const api = async (method, route, body) => {
  const response = await fetch(`${options.url}/client/v4/accounts/default/stream${route}`, {
    method,
    headers: { authorization: `Bearer ${options.token}`, 'content-type': 'application/json' },
    body: body && JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${method} ${route}: ${await response.text()}`);
  return (await response.json()).result;
};

const browser = await launch();
try {
  const { liveInputs } = await api('GET', '/live_inputs');
  const [{ uid }] = liveInputs;
  for (const name of OTHERS) await api('POST', '/live_inputs', { meta: { name } });
  await watchPage(uid);
  await levels(uid);
  await dashboard(uid);
  await scrubbing(uid);
} finally {
  await browser.close();
}

async function watchPage(uid) {
  const page = await open(`/${uid}/watch`);
  await until(page, playsAtTheEdge);
  // The controls stand over the picture while the pointer moves.
  await page.mouse.move(SIZE.width / 2, SIZE.height / 2);
  await until(page, () => document.querySelector('airwave-player').stats.framesShown > 120);
  await page.mouse.move(SIZE.width / 2 + 5, SIZE.height / 2);
  await shoot(page, 'watch');
}

/** The menu with the levels of quality, which are made once somebody chooses one. */
async function levels(uid) {
  const page = await open(`/${uid}/watch`);
  await until(page, playsAtTheEdge);
  await page.mouse.move(SIZE.width / 2, SIZE.height / 2);
  await page.locator('airwave-player [data-part="settings"]').click();
  const menu = page.locator('airwave-player [data-part="menu"]');
  // The node asks what levels begin with at the start of a broadcast.
  await menu.locator('button', { hasText: '360p' }).waitFor({ state: 'visible', timeout: PATIENCE_MS });
  await shoot(page, 'levels');
}

/** What was on the air some seconds ago, above the bar. */
async function scrubbing(uid) {
  const page = await open(`/${uid}/watch?dvrEnabled=true`);
  await until(page, playsAtTheEdge);
  const bar = page.locator('airwave-player [data-part="seek"]');
  // It is there from half a minute on.
  await page.waitForFunction(() => {
    const { video } = document.querySelector('airwave-player');
    return video.seekable.length > 0 && video.seekable.end(0) - video.seekable.start(0) > 40;
  }, null, { timeout: 90_000, polling: 200 });
  // It is hidden while nobody moves.
  await page.locator('airwave-player .frame').dispatchEvent('pointermove');
  await bar.waitFor({ state: 'visible', timeout: PATIENCE_MS });
  const { x, y, width, height } = await bar.boundingBox();
  await page.mouse.move(x + width * 0.6, y + height / 2);
  await until(page, () => {
    const tile = document.querySelector('airwave-player').shadowRoot.querySelector('.tile');
    return tile.checkVisibility() && tile.style.backgroundImage !== '';
  });
  // The sheet is fetched once more from the cache to know that it is drawn.
  await page.evaluate(async () => {
    const tile = document.querySelector('airwave-player').shadowRoot.querySelector('.tile');
    const image = new Image();
    image.src = tile.style.backgroundImage.slice(5, -2);
    await image.decode();
  });
  await shoot(page, 'scrubbing');
}

async function dashboard(uid) {
  const page = await open(`/#token=${encodeURIComponent(options.token)}`);
  await until(page, playsAtTheEdge);
  // Its encoder is measured for some seconds before the page says how it does.
  await until(page, (id) => document.querySelector(`article[data-uid="${id}"]`)?.textContent.includes(' fps'), uid);
  await shoot(page, 'dashboard');
}

async function open(route) {
  const page = await browser.newPage({ viewport: SIZE, colorScheme: 'dark', reducedMotion: 'reduce' });
  await page.goto(options.url + route, { waitUntil: 'domcontentloaded' });
  return page;
}

function until(page, state, arg) {
  return page.waitForFunction(state, arg, { timeout: PATIENCE_MS, polling: 50 });
}

function playsAtTheEdge() {
  const player = document.querySelector('airwave-player');
  return player?.stats.state === 'live' && player.stats.framesShown > 60 && player.video.videoWidth > 0;
}

/** Half the size of PNG at no loss that the eye sees: moving pictures are in it. */
async function shoot(page, name) {
  const session = await page.context().newCDPSession(page);
  const { data } = await session.send('Page.captureScreenshot', { format: 'webp', quality: QUALITY });
  writeFileSync(path.join(options.out, `${name}.webp`), Buffer.from(data, 'base64'));
  await page.close();
}
