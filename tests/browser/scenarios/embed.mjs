// The player in an iframe of another origin, steered by `window.Stream`. Against the make-believe server and, with
// check-embed.mjs, against a running Airwave.
import { startEmbedding, withPlayer } from '../lib/embedding.mjs';

/** `end`: ends the broadcast. `sizes`: of the picture, one of them. */
export async function steeredFromOutside({ check, page, until, shot }, { server, id, sizes, end }) {
  const query = 'autoplay=true&muted=true&primaryColor=%23f48120&letterboxColor=%23123456&dvrEnabled=true&ad-url=http%3A%2F%2Fads.invalid%2Fvast.xml';
  const advertised = [];
  page.on('request', (request) => {
    if (new URL(request.url()).hostname === 'ads.invalid') advertised.push(request.url());
  });
  const embedding = await startEmbedding(withPlayer(server, id, query));
  await page.goto(embedding.url);
  await page.evaluate(listen);
  check('embed: plays, and the page knows', await until(() => !window.player.paused && window.player.currentTime > 0 && window.heard.has('playing')), await told(page));
  check('embed: the size of the picture', await until((sizes) => sizes.some(([width, height]) => window.player.videoWidth === width && window.player.videoHeight === height), { arg: sizes }), await told(page));
  check('embed: time goes on', await until(() => window.heard.has('timeupdate')));
  const { muted, duration, primaryColor, letterboxColor, src } = await told(page);
  check('embed: what the query said', muted === true && primaryColor === '#f48120' && letterboxColor === '#123456', { muted, primaryColor, letterboxColor });
  const adUrl = () => page.evaluate(() => window.player.adUrl);
  check('embed: the address of an advertisement is told back', (await adUrl()) === 'http://ads.invalid/vast.xml', await adUrl());
  const gaveUp = () => until(() => window.heard.delete('stream-adtimeout') && !window.heard.has('stream-adstart'));
  check('embed: and that it does not come', await gaveUp(), await told(page));
  await page.evaluate(() => {
    window.player.adUrl = 'http://ads.invalid/other.xml';
    window.heard.delete('timeupdate');
  });
  // What the player says of itself replaces what was set here.
  check('embed: the player keeps another one', await until(() => window.heard.has('timeupdate') && window.player.adUrl === 'http://ads.invalid/other.xml'), await adUrl());
  check('embed: which does not come either', await gaveUp(), await told(page));
  check('embed: live has no end, and an id', duration === 'Infinity' && src === id, { duration, src });
  check('embed: what is loaded', await until(() => window.player.buffered.length > 0 && window.player.buffered.end(0) > 0), await told(page));
  const frame = page.frames().find((other) => other.url().includes('/iframe'));
  const inside = (body, arg) => frame.evaluate(body, arg);
  const colours = await inside(() => {
    const { frame } = window.airwave.player.controls;
    return [getComputedStyle(frame).getPropertyValue('--accent'), getComputedStyle(window.airwave.player).backgroundColor];
  });
  check('embed: colours are on the player', colours[0] === '#f48120' && colours[1] === 'rgb(18, 52, 86)', colours);
  await shot('desktop-embedded');

  await page.evaluate(() => window.player.pause());
  check('embed: pauses', await until(() => window.player.paused && window.heard.has('pause')));
  check('embed: play is a promise', (await page.evaluate(() => window.player.play().then(() => 'playing', ({ name }) => name))) === 'playing');
  await page.evaluate(() => {
    window.player.muted = false;
    window.player.volume = 0.5;
  });
  const sounds = () => frame.waitForFunction(() => !window.airwave.player.muted && window.airwave.player.volume === 0.5, null, { timeout: 60_000 }).then(() => true, () => false);
  check('embed: sound and volume reach the player', await sounds());
  await page.evaluate(() => {
    window.player.controls = false;
  });
  const bare = () => frame.waitForFunction(() => !window.airwave.player.shadowRoot.querySelector('.bar').checkVisibility(), null, { timeout: 60_000 }).then(() => true, () => false);
  check('embed: controls can be taken away', await bare());

  await inside(() => {
    window.volumes = [];
    window.airwave.player.video.addEventListener('volumechange', () => window.volumes.push(window.airwave.player.volume));
  });
  await page.evaluate(stranger);
  await until(() => window.strangerSpoke === true);
  await page.evaluate(() => {
    window.player.volume = 0.75;
  });
  const heard = await frame.waitForFunction(() => window.volumes.includes(0.75) && window.volumes, null, { timeout: 60_000 }).then((handle) => handle.jsonValue());
  check('embed: another frame of the page steers nothing', !heard.includes(0.1), heard);

  await end();
  check('embed: the end of the broadcast is told', await until(() => window.player.ended && Number.isFinite(window.player.duration), { timeout: 60_000 }), await told(page));
  await page.evaluate(() => {
    window.player.currentTime = 1;
    window.player.playbackRate = 2;
    return window.player.play();
  });
  const fast = () => frame.waitForFunction(() => window.airwave.player.video.playbackRate === 2 && !window.airwave.player.video.paused, null, { timeout: 60_000 }).then(() => true, () => false);
  check('embed: the replay plays from there, at twice the speed', await fast(), await told(page));
  check('embed: no advertisement is asked for', advertised.length === 0, advertised);
  embedding.close();
}

/** Every page but the player keeps out of frames; that of `named`, too, but for pages of `page.localhost`, whom its owner has named. */
export async function othersAreNotFramed({ check, page }, { server, id, named = null }) {
  const framing = (path) => startEmbedding({ body: `<iframe title="Somebody else's" src="${server}${path}"></iframe>` });
  for (const path of ['/', `/${id}/watch`, ...(named === null ? [] : [`/${named}/iframe`])]) {
    const embedding = await framing(path);
    const refused = page.waitForEvent('console', { predicate: (message) => /frame-ancestors/.test(message.text()), timeout: 60_000 });
    await page.goto(embedding.url);
    check(`framed: ${path} refuses`, await refused.then(() => true, () => false));
    embedding.close();
  }
  if (named === null) return;
  const embedding = await framing(`/${named}/iframe`);
  await page.goto(embedding.url.replace('127.0.0.1', 'page.localhost'));
  const player = page.frameLocator('iframe').locator('airwave-player');
  check('framed: the player, by a page that its owner has named', await player.waitFor().then(() => true, () => false));
  embedding.close();
}

/** Pictures and films in pages of others, for which no origin is sent: only `page.localhost` may show those of `named`. */
export async function othersShowNothing({ check, page, until }, { server, named }) {
  const body = `<img alt="" src="${server}/${named}/thumbnails/thumbnail.jpg"><video muted autoplay src="${server}/${named}/manifest/video.m3u8"></video>`;
  for (const [host, referrer, shown] of [
    ['127.0.0.1', 'strict-origin-when-cross-origin', false],
    ['127.0.0.1', 'no-referrer', false],
    ['page.localhost', 'strict-origin-when-cross-origin', true],
  ]) {
    const embedding = await startEmbedding({ head: `<meta name="referrer" content="${referrer}">`, body });
    await page.goto(embedding.url.replace('127.0.0.1', host));
    const whole = await until((wanted) => {
      const [image, video] = ['img', 'video'].map((name) => document.querySelector(name));
      return wanted ? image.naturalWidth > 0 && video.currentTime > 0 : image.complete && image.naturalWidth === 0 && video.error !== null;
    }, { arg: shown });
    const found = await page.evaluate(() => [document.querySelector('img').naturalWidth, document.querySelector('video').error?.message, document.querySelector('video').currentTime]);
    check(`shown: ${host}, ${referrer}: ${shown ? 'both' : 'neither'}`, whole, found);
    embedding.close();
  }
}

/** Runs in the page around the player. */
function listen() {
  window.player = window.Stream(document.getElementById('frame'));
  window.heard = new Set();
  for (const name of ['play', 'playing', 'pause', 'timeupdate', 'ended', 'volumechange', 'seeked', 'stream-adtimeout', 'stream-adstart']) {
    window.player.addEventListener(name, () => window.heard.add(name));
  }
}

/** Another frame of the same page, that knows the protocol. */
function stranger() {
  window.addEventListener('message', ({ data }) => {
    if (data === 'spoke') window.strangerSpoke = true;
  });
  const frame = document.createElement('iframe');
  frame.title = 'A stranger';
  frame.srcdoc = `<script>
    for (const message of [{ kind: 'hello' }, { kind: 'set', name: 'volume', value: 0.1 }]) parent.frames[0].postMessage({ airwave: 1, ...message }, '*');
    parent.postMessage('spoke', '*');
  </script>`;
  document.body.append(frame);
}

const told = (page) =>
  page.evaluate(() => {
    const { muted, duration, primaryColor, letterboxColor, src, paused, ended, currentTime, videoWidth, buffered } = window.player;
    return { muted, duration: String(duration), primaryColor, letterboxColor, src, paused, ended, currentTime, videoWidth, buffered: buffered.length, heard: [...window.heard] };
  });
