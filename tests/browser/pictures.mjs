// Chooses a level of quality in the player's menu and goes back, and looks at the pictures above the seek bar; prints what it saw:
//   node pictures.mjs --url http://HOST/ID/watch (--level 144p [--own 360p] [--ways MODE,...] [--fails] | --seek | --back SECONDS) [--phone] [--screenshots DIR]
// Usage and the meaning of every field: README.md.
import { parseArgs } from 'node:util';
import path from 'node:path';
import { launch, Missing } from './lib/chromium.mjs';
import { menuIsThere, pick } from './lib/menu.mjs';
import { print } from './lib/script.mjs';

const { values: options } = parseArgs({
  options: {
    url: { type: 'string' },
    level: { type: 'string' },
    own: { type: 'string', default: '360p' },
    ways: { type: 'string', default: 'Low latency' },
    fails: { type: 'boolean', default: false },
    seek: { type: 'boolean', default: false },
    back: { type: 'string' },
    phone: { type: 'boolean', default: false },
    screenshots: { type: 'string' },
  },
});

const WAIT = { timeout: 60_000, polling: 50 };

await print(main);

async function main() {
  if (!options.url) throw new Missing('--url is missing');
  const browser = await launch();
  try {
    const size = options.phone ? { width: 390, height: 844 } : { width: 1280, height: 800 };
    const context = await browser.newContext({ viewport: size, hasTouch: options.phone, isMobile: options.phone });
    const page = await context.newPage();
    const errors = [];
    page.on('pageerror', (error) => errors.push(error.message));
    page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
    // A browser without WebCodecs plays whole parts over MoQ, which can be gone back in.
    if (options.back) await page.addInitScript(() => delete window.VideoDecoder);
    await page.goto(options.url, { waitUntil: 'domcontentloaded' });
    await page.waitForFunction(() => document.querySelector('airwave-player')?.video.videoHeight > 0, null, WAIT);
    const seen = options.back ? await goBack(page) : options.seek ? await seek(page) : options.fails ? await chooseWhatFails(page) : await choose(page);
    return { ...seen, errors };
  } finally {
    await browser.close();
  }
}

function shot(page, name) {
  return options.screenshots && page.screenshot({ path: path.join(options.screenshots, `${name}.png`) });
}

/** The picture of this height plays. */
async function heights(page, wanted, timeout = WAIT.timeout) {
  const reached = (wanted) => {
    const { video, stats } = document.querySelector('airwave-player');
    const since = (window.framesSince ??= { height: 0, shown: 0 });
    if (since.height !== video.videoHeight) window.framesSince = { height: video.videoHeight, shown: stats.framesShown };
    return video.videoHeight === wanted && stats.framesShown > window.framesSince.shown + 10;
  };
  await page.waitForFunction(reached, wanted, { ...WAIT, timeout });
}

/** The same once it was picked: a click that a menu meets while it is drawn anew is lost, and made again. */
async function pickAndSee(page, label) {
  for (let tries = 3; ; tries--) {
    const offered = await pick(page, label, () => shot(page, `menu-${label.replace(/\W/g, '')}`));
    const seen = await heights(page, Number.parseInt(label, 10), WAIT.timeout / 2).then(() => true, (error) => error);
    if (seen === true) return offered;
    if (tries === 0) throw seen;
  }
}

/** Over MoQ, so many seconds further back than this page was there; then on to live. */
async function goBack(page) {
  await page.waitForFunction(() => document.querySelector('airwave-player').stats.mode === 'MoQ', null, WAIT);
  const plays = (furtherS) => {
    const player = document.querySelector('airwave-player');
    const { video, stats } = player;
    // Where the machine stands still, it may come over LL-HLS for a while.
    if (stats.mode !== 'MoQ') return void (window.begunS = undefined);
    if (window.begunS === undefined) {
      if (video.buffered.length === 0) return null;
      window.begunS = video.buffered.start(0);
      window.backSince = stats.framesShown;
      player.currentTime = window.begunS - furtherS;
      return null;
    }
    const { begunS } = window;
    const at = Array.from({ length: video.buffered.length }, (_, range) => range).find((range) => video.buffered.start(range) <= video.currentTime && video.currentTime < video.buffered.end(range));
    if (video.seeking || at === undefined) return null;
    const [startS, endS] = [video.buffered.start(at), video.buffered.end(at)];
    // All between that and what has come live is there, and some of it was seen.
    const joined = startS <= begunS - furtherS && endS > begunS + 1 && stats.framesShown > window.backSince + 10;
    return joined && { begunS, atS: video.currentTime, startS, endS, mode: stats.mode, latencyS: stats.latencySeconds };
  };
  const past = await (await page.waitForFunction(plays, Number(options.back), WAIT)).jsonValue();
  await page.locator('airwave-player').press('l');
  const live = () => {
    const { video, stats } = document.querySelector('airwave-player');
    return video.buffered.end(video.buffered.length - 1) - video.currentTime < 2 && { mode: stats.mode };
  };
  const { mode } = await (await page.waitForFunction(live, null, WAIT)).jsonValue();
  return { past, mode };
}

/** The level, the original, then what the player chooses by itself: on a machine that is slow, it may choose either. */
async function choose(page) {
  const ways = options.ways.split(',');
  // A way that was lost for a while is taken again.
  const mode = async () => {
    const taken = (ways) => ways.includes(document.querySelector('airwave-player').stats.mode);
    await page.waitForFunction(taken, ways, WAIT);
    return page.evaluate(() => document.querySelector('airwave-player').stats.mode);
  };
  await menuIsThere(page);
  const began = await mode();
  const offered = await pickAndSee(page, options.level);
  await shot(page, 'level');
  const chosen = await mode();
  await pickAndSee(page, options.own);
  const again = await mode();
  await pick(page, 'Auto');
  const marked = () => [...document.querySelector('airwave-player').shadowRoot.querySelectorAll('[data-part="menu"] [data-value]')].some((item) => item.ariaChecked === 'true' && item.textContent.startsWith('Auto'));
  await page.locator('airwave-player [data-part="settings"]').click();
  await page.waitForFunction(marked, null, WAIT);
  await shot(page, 'auto');
  return { offered, modes: [began, chosen, again] };
}

/** A level that is not to be had: the player goes back to what plays by itself. */
async function chooseWhatFails(page) {
  const own = await page.evaluate(() => document.querySelector('airwave-player').video.videoHeight);
  await menuIsThere(page);
  const refused = page.waitForResponse((response) => response.status() === 503, { timeout: WAIT.timeout });
  await pick(page, options.level);
  const { pathname } = new URL((await refused).url());
  await page.evaluate(() => (window.framesSince = undefined));
  await heights(page, own);
  return { own, refused: pathname };
}

/** What stands above the bar at several places, by pointer or finger, and by key. */
async function seek(page) {
  const bar = page.locator('airwave-player [data-part="seek"]');
  // It is hidden while nobody moves.
  await page.locator('airwave-player .frame').dispatchEvent('pointermove');
  await bar.waitFor({ state: 'visible', timeout: WAIT.timeout });
  const box = await bar.boundingBox();
  const finger = await page.context().newCDPSession(page);
  const tiles = [];
  for (const share of [0.05, 0.5, 0.95]) {
    const [x, y] = [box.x + box.width * share, box.y + box.height / 2];
    if (options.phone) await touch(finger, { x, y });
    else await page.mouse.move(x, y);
    tiles.push(await tile(page));
    await shot(page, `seek-${options.phone ? 'phone' : 'desk'}-${share * 100}`);
    if (options.phone) await touch(finger);
  }
  const gone = () => page.evaluate(() => document.querySelector('airwave-player').shadowRoot.querySelector('.scrub').hidden);
  const hiddenAfterFinger = options.phone ? await gone() : null;
  await page.mouse.move(box.x, 1);
  await bar.focus();
  await page.keyboard.press('ArrowRight');
  const byKey = await tile(page);
  return { tiles, byKey, hiddenAfterFinger };
}

/** A finger comes down and moves a little; without a place it is lifted. */
async function touch(finger, place) {
  const send = (type, touchPoints) => finger.send('Input.dispatchTouchEvent', { type, touchPoints });
  if (place === undefined) return send('touchEnd', []);
  await send('touchStart', [place]);
  await send('touchMove', [{ x: place.x + 1, y: place.y }]);
}

/** The tile that is shown, once its sheet is loaded, and how light it is: a picture is not black. */
async function tile(page) {
  const shown = () => {
    const { shadowRoot } = document.querySelector('airwave-player');
    const place = shadowRoot.querySelector('.tile');
    return place.checkVisibility() && place.style.backgroundImage !== '';
  };
  await page.waitForFunction(shown, null, WAIT);
  return page.evaluate(async () => {
    const { shadowRoot } = document.querySelector('airwave-player');
    const place = shadowRoot.querySelector('.tile');
    const { backgroundImage, backgroundPosition, width, height } = place.style;
    const [x, y] = backgroundPosition.split(' ').map((side) => -Number.parseFloat(side));
    const image = new Image();
    image.src = backgroundImage.slice(5, -2);
    await image.decode();
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [Number.parseInt(width, 10), Number.parseInt(height, 10)];
    const context = canvas.getContext('2d');
    context.drawImage(image, -x, -y);
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    const bounds = place.getBoundingClientRect();
    return {
      time: shadowRoot.querySelector('[data-part="scrub-time"]').textContent,
      width: canvas.width,
      height: canvas.height,
      light: data.reduce((sum, byte) => sum + byte, 0) / data.length,
      within: bounds.left >= 0 && bounds.right <= innerWidth,
    };
  });
}
