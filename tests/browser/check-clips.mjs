// A viewer makes a clip of a running broadcast and shares it; captions of a recording. Against a running Airwave.
//   node check-clips.mjs --server URL --id INPUT --recording VIDEO --end-by PID
import process from 'node:process';
import { parseArgs } from 'node:util';
import { Scenarios } from './lib/scenario.mjs';

const { values: options } = parseArgs({
  options: { server: { type: 'string' }, id: { type: 'string' }, recording: { type: 'string' }, 'end-by': { type: 'string' }, screenshots: { type: 'string' } },
});
const { server, id, recording, 'end-by': encoder } = options;
const scenarios = await Scenarios.start({ ...options });
const { check } = scenarios;

const text = (page, name) => page.locator(`#${name}`).textContent();
const ready = () => !document.querySelector('#clip-from').disabled;
const words = (wanted) => document.querySelector('#clip-words').textContent.includes(wanted);

/** Runs in the page: which places of the media were shown, and how often it went back. */
function installBounds() {
  window.bounds = { leastS: Infinity, mostS: 0, turns: 0 };
  let last = 0;
  const look = () => {
    const { video } = document.querySelector('airwave-player') ?? {};
    if (video?.videoWidth > 0 && !video.seeking && video.currentTime > 0) {
      window.bounds.leastS = Math.min(window.bounds.leastS, video.currentTime);
      window.bounds.mostS = Math.max(window.bounds.mostS, video.currentTime);
      if (video.currentTime < last - 1) window.bounds.turns++;
      last = video.currentTime;
    }
    requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}

const barLength = () => {
  const { min, max } = document.querySelector('airwave-player').shadowRoot.querySelector('[data-part="seek"]');
  return max - min;
};

let shared = null;
for (const [name, context] of [['desktop', {}], ['phone', { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true }]]) {
  await scenarios.run(`clip-${name}`, server, async ({ page, open, until, settled, shot, narrow }) => {
    await page.addInitScript(() => {
      // Headless pages may not touch the clipboard of the machine.
      Object.defineProperty(navigator, 'clipboard', { value: { writeText: async (copied) => { window.copied = copied; } } });
    });
    await open(`/${id}/watch`);
    await page.locator('#make-clip').click();
    check(`clip ${name}: there is something to choose from`, await until(ready), await text(page, 'clip-words'));
    check(`clip ${name}: the first handle has the focus`, await until(() => document.activeElement.id === 'clip-from'));
    await page.locator('#clip-from').fill('2');
    await page.locator('#clip-to').fill('5.5');
    check(`clip ${name}: its length in words`, await until(words, { arg: '3.5 s' }), await text(page, 'clip-words'));
    check(`clip ${name}: the picture is where the handle is`, await until(() => Math.abs(document.querySelector('#clip-stage airwave-player').video.currentTime - 5.5) < 0.3));
    await page.locator('#clip-from').focus();
    const said = () => page.locator('#clip-from').getAttribute('aria-valuetext');
    const before = await said();
    await page.keyboard.press('ArrowRight');
    check(`clip ${name}: an arrow makes it shorter`, (await until(words, { arg: '3.4 s' })) && (await said()) !== before, await text(page, 'clip-words'));
    await page.keyboard.press('ArrowLeft');
    check(`clip ${name}: and the other one longer`, (await until(words, { arg: '3.5 s' })) && (await said()) === before, await text(page, 'clip-words'));
    check(`clip ${name}: nothing is wider than the screen`, await narrow());
    await settled();
    await shot(`${name}-clip`);
    await page.locator('#clip-copy').click();
    await until(words, { arg: 'copied' });
    shared = await page.evaluate(() => window.copied ?? null);
    check(`clip ${name}: a link with its time`, /\/watch\?time=[\d.]+s&duration=3\.5s$/.test(shared ?? ''), shared);
    await page.keyboard.press('Escape');
    check(`clip ${name}: Escape closes it`, await until(() => document.querySelector('#clip').hidden));
  }, context);
}

await scenarios.run('shared', server, async ({ page, until, settled, shot }) => {
  await page.goto(shared);
  check('shared: the file plays', await until(() => document.querySelector('video.clip-video')?.currentTime > 0.5), shared);
  const { duration, width } = await page.evaluate(() => {
    const { duration, videoWidth } = document.querySelector('video.clip-video');
    return { duration, width: videoWidth };
  });
  check('shared: as long as it was chosen', Math.abs(duration - 3.5) < 0.05 && width > 0, { duration, width });
  const quality = () => page.evaluate(() => document.querySelector('video.clip-video').getVideoPlaybackQuality().totalVideoFrames);
  await page.evaluate(() => {
    const element = document.querySelector('video.clip-video');
    let last = 0;
    element.addEventListener('timeupdate', () => {
      window.again ||= last > 3 && element.currentTime < last;
      last = element.currentTime;
    });
  });
  check('shared: to its last frame, and again', await until(() => window.again === true), await quality());
  check('shared: what it is of', (await text(page, 'title')).startsWith('Clip of'), await text(page, 'title'));
  check('shared: the way to all of it', await page.locator('#whole').isVisible());
  await settled();
  await shot('desktop-shared-clip');
});

await scenarios.run('embedded', server, async ({ page, until, stats, settled, shot }) => {
  await page.addInitScript(installBounds);
  await page.goto(`${shared.replace('/watch?', '/iframe?')}&autoplay=true&muted=true&loop=true`);
  check('embedded: plays', await until(() => document.querySelector('airwave-player')?.video.currentTime > 0.5), await stats());
  // The playlist has whole segments, of two seconds here.
  const length = await page.evaluate(() => document.querySelector('airwave-player').duration);
  check('embedded: the clip and no more', Math.abs(length - 3.5) < 0.1, length);
  const bar = await page.evaluate(barLength);
  check('embedded: nor has the bar', Math.abs(bar - 3.5) < 0.1, bar);
  check('embedded: shown to its end', await until(() => window.bounds.turns > 0), await stats());
  const bounds = await page.evaluate(() => ({ ...window.bounds, fromS: document.querySelector('airwave-player').video.currentTime - document.querySelector('airwave-player').currentTime }));
  check('embedded: and no frame beyond', Math.abs(bounds.mostS - bounds.fromS - 3.5) < 0.1 && bounds.leastS - bounds.fromS > -0.1, bounds);
  await settled();
  await shot('desktop-embedded-clip');
  check('embedded: what it is of', await until(() => document.title.startsWith('Clip of')), await page.title());
  await page.evaluate(() => {
    const player = document.querySelector('airwave-player');
    player.playbackRate = 2;
    player.video.addEventListener('seeking', () => (window.againFrom ??= player.video.currentTime));
  });
  check('embedded: at twice the speed', await until(() => document.querySelector('airwave-player').video.playbackRate === 2), await stats());
  const again = await until(() => window.againFrom !== undefined && !document.querySelector('airwave-player').video.paused);
  const wanted = await page.evaluate(async () => {
    const list = await (await fetch(location.href.replace('/iframe?', '/manifest/clip.m3u8?'))).text();
    return Number(/start=([\d.]+)/.exec(list)?.[1] ?? 0);
  });
  const from = await page.evaluate(() => window.againFrom);
  check('embedded: loops, from where it begins', again && Math.abs(from - wanted) < 0.01, { from, wanted });
});

// What the watch page has where the file is not to be had: a link that is to watch and not to keep.
await scenarios.run('kept', server, async ({ page, until, stats, shadow, settled, shot }) => {
  await page.addInitScript(installBounds);
  await page.route('**/clip.mp4*', (route) => route.fulfill({ status: 403 }));
  await page.goto(shared);
  check('kept: plays, from where it begins', await until(() => document.querySelector('airwave-player')?.currentTime > 0.5), await stats());
  check('kept: stands at its end', await until(() => document.querySelector('airwave-player').ended && document.querySelector('airwave-player').video.paused), await stats());
  const { at, mostS, fromS } = await page.evaluate(() => {
    const { currentTime, video } = document.querySelector('airwave-player');
    return { at: currentTime, mostS: window.bounds.mostS, fromS: video.currentTime - currentTime };
  });
  check('kept: the clip and no more', Math.abs(at - 3.5) < 0.1 && Math.abs(mostS - fromS - 3.5) < 0.1, { at, mostS, fromS });
  const bar = await page.evaluate(barLength);
  check('kept: nor has the bar', Math.abs(bar - 3.5) < 0.1, bar);
  await settled();
  await shot('desktop-kept-clip');
  await page.evaluate(() => {
    document.querySelector('airwave-player').currentTime = 60;
  });
  check('kept: nobody gets beyond', await until(() => !document.querySelector('airwave-player').video.seeking && document.querySelector('airwave-player').currentTime < 3.6), await stats());
  await shadow('[data-part="play"]').click();
  check('kept: and once more, from where it begins', await until(() => document.querySelector('airwave-player').currentTime < 1 && !document.querySelector('airwave-player').video.paused), await stats());
}, { mayFail: /clip\.mp4/ });

await scenarios.run('captions', server, async ({ page, open, until, stats }) => {
  await open(`/${recording}/watch`);
  check('captions: the recording plays', await until(() => document.querySelector('airwave-player').video.currentTime > 0.2), await stats());
  await page.keyboard.press('c');
  const shown = (wanted) => [...document.querySelector('airwave-player').video.textTracks].some(({ mode, activeCues }) => mode === 'showing' && [...(activeCues ?? [])].some((cue) => cue.text === wanted));
  await page.evaluate(() => {
    document.querySelector('airwave-player').currentTime = 4.5;
  });
  check('captions: the line of that time', await until(shown, { arg: 'Four to six' }), await stats());
  const times = await page.evaluate(() => [...document.querySelector('airwave-player').video.textTracks].flatMap(({ mode, cues }) => (mode === 'showing' ? [...cues].map(({ startTime, endTime }) => [startTime, endTime]) : [])));
  check('captions: lines stand where they were written', times.length === 2 && Math.abs(times[0][0] - 1) < 0.1 && Math.abs(times[1][0] - 4) < 0.1, times);
});

await scenarios.run('captions of a clip', server, async ({ page, open, until, stats }) => {
  const query = 'time=3s&duration=4s';
  const list = await page.request.get(`${server}/${recording}/manifest/clip.m3u8?${query}`);
  const beginsS = Number(list.headers()['preview-start-seconds']);
  await open(`/${recording}/iframe?autoplay=true&muted=true&defaultTextTrack=en&${query}`);
  check('captions of a clip: it plays', await until(() => document.querySelector('airwave-player')?.video.currentTime > 0.2), await stats());
  const starts = (text) => [...document.querySelector('airwave-player').video.textTracks].flatMap(({ mode, cues }) => (mode === 'showing' ? [...cues].filter((cue) => cue.text === text).map(({ startTime }) => startTime) : []));
  const there = (text) => [...document.querySelector('airwave-player').video.textTracks].some(({ mode, cues }) => mode === 'showing' && [...(cues ?? [])].some((cue) => cue.text === text));
  check('captions of a clip: its lines are there', await until(there, { arg: 'Four to six' }), await stats());
  const at = await page.evaluate(starts, 'Four to six');
  check('captions of a clip: where they were written', at.length === 1 && Math.abs(at[0] + beginsS - 4) < 0.1, [at, beginsS]);
});

// Last: the broadcast is over then.
await scenarios.run('over', server, async ({ page, open, until, settled, shot }) => {
  await open(`/${id}/watch`);
  await page.locator('#make-clip').click();
  check('over: there is something to choose from', await until(ready), await text(page, 'clip-words'));
  await page.locator('#clip-from').fill('1');
  const { videoUID } = await (await page.request.get(`${server}/${id}/lifecycle`)).json();
  // The page asks what became of it.
  const asked = page.waitForResponse((response) => response.url() === `${server}/${videoUID}/lifecycle`);
  process.kill(Number(encoder), 'SIGINT');
  check('over: the page hears of it', (await (await asked).json()).live === false);
  await settled();
  check('over: nothing says that it is live', !/live now/i.test(await text(page, 'line')), await text(page, 'line'));
  check('over: the panel is there', await page.locator('#clip').isVisible(), await text(page, 'clip-words'));
  check('over: and the way to it', await page.locator('#make-clip').isVisible());
  await page.locator('#clip-from').fill('3');
  await page.locator('#clip-to').fill('6');
  check('over: the picture is where the handle is', await until(() => Math.abs(document.querySelector('#clip-stage airwave-player').video.currentTime - 6) < 0.3));
  check('over: its length in words', await until(words, { arg: '3.0 s' }), await text(page, 'clip-words'));
  const file = await page.locator('#clip-file').getAttribute('href');
  const answer = await page.request.get(server + file);
  check('over: the file is to be had', answer.status() === 200 && answer.headers()['content-type'] === 'video/mp4', [file, answer.status()]);
  await settled();
  await shot('desktop-clip-over');
  await page.keyboard.press('Escape');
  await page.locator('#make-clip').click();
  check('over: it opens again', await until(ready), await text(page, 'clip-words'));
});
process.exit(await scenarios.finish());
