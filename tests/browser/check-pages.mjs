// Walks through what a viewer can meet, against the make-believe server: not live, live, reconnect, end, replay,
// live again, lost connection, wrong codec, refusals, landing page; two scenarios at a time, each in a browser of its own.
// Prints one JSON object; exit code 1 if a check failed.
//   node check-pages.mjs [--screenshots DIR] [--only NAME,...]
import { parseArgs } from 'node:util';
import { DevServer, INPUT } from './dev-server.mjs';
import { TOKEN } from './lib/api.mjs';
import { launch } from './lib/chromium.mjs';
import { Scenarios } from './lib/scenario.mjs';
import { chat, chatInReplay, chatOfTheOwner, saySomething } from './scenarios/chat.mjs';
import { languages, lines, quality, speed } from './scenarios/choices.mjs';
import { othersAreNotFramed, steeredFromOutside } from './scenarios/embed.mjs';
import { cast } from './scenarios/screens.mjs';

const { values: options } = parseArgs({
  options: { screenshots: { type: 'string' }, only: { type: 'string' }, report: { type: 'string' } },
});
const DESKTOP = { width: 1280, height: 800 };
/** Small enough that a slow machine makes them in time. */
const SIZE = '640x360';
const PHONE = { width: 390, height: 844 };
/** A picture that is behind by so much more has been left behind. How near the edge a player can be is measured elsewhere. */
const BEHIND_S = 7;
/** What the seek bar is worth showing for, and a bit more. */
const DVR_S = 34;

const scenarios = await Scenarios.start({ ...options, skippedBy: 'browser', name: 'browser-pages' });
const { check } = scenarios;

const waiting = [];

function scenario(name, run, { server = null, expectErrors = false, ...context } = {}) {
  if (!scenarios.wanted(name)) return;
  waiting.push(async (browser) => {
    const host = server ?? (await new DevServer().listen());
    const body = (tools) => run({ ...tools, host, open: (route = `/${INPUT}/watch`) => tools.open(route) });
    await scenarios.run(name, host.url, body, { browser, expectErrors, ...context });
    await host.close();
  });
}

/** They wait for encoders and players more than they compute, so that two go beside each other. */
async function walkThrough() {
  const second = await launch();
  const lane = async (browser) => {
    for (let next = waiting.shift(); next; next = waiting.shift()) await next(browser);
  };
  await Promise.all([scenarios.browser, second].map(lane));
  await second.close();
}

const playing = () => {
  const { state, framesShown } = document.querySelector('airwave-player').stats;
  return state === 'live' && framesShown > 20;
};
const atTheEdge = () => {
  const { mode, state, framesShown } = document.querySelector('airwave-player').stats;
  return mode === 'Low latency' && state === 'live' && framesShown > 60;
};
/** Notes where the picture is and where it is sought to from now on. */
const noteJumps = () => {
  const { video } = document.querySelector('airwave-player');
  window.jumpsFrom = video.currentTime;
  window.jumpedTo = 0;
  video.addEventListener('seeking', () => (window.jumpedTo = Math.max(window.jumpedTo, video.currentTime)));
};
const jumpedBy = (seconds) => window.jumpedTo - window.jumpsFrom > seconds;
const shownMoreThan = (frames) => document.querySelector('airwave-player').stats.framesShown > frames;
const behindBy = (seconds) => document.querySelector('airwave-player').stats.latencySeconds > seconds;

scenario('broadcast', async ({ host, page, open, stats, until, settled, shadow, shot }) => {
  await open();
  check('not live: words', await until(() => document.querySelector('airwave-player').stats.notice.includes('not live')));
  await shot('desktop-not-live');
  await page.evaluate(() => {
    window.sameDocument = true;
  });
  await host.goLive({ size: SIZE });
  check('goes live by itself', await until(playing), await stats());
  check('low latency', await until(atTheEdge), await stats());
  await page.mouse.move(640, 400);
  await settled();
  await shot('desktop-playing');
  check('sound is offered', await shadow('.sound').isVisible());
  await page.keyboard.press('m');
  check('key m gives sound', !(await page.evaluate(() => document.querySelector('airwave-player').muted)));
  const volume = () => page.evaluate(() => document.querySelector('airwave-player').video.volume.toFixed(2));
  for (let press = 0; press < 3; press++) await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowUp');
  check('arrows down and up change the volume', (await volume()) === '0.80', await volume());
  // It stands beside the button while that has the pointer.
  await shadow('[data-part="mute"]').hover();
  await shadow('.volume').fill('0.4');
  check('so does the slider', (await volume()) === '0.40', await volume());
  await shadow('.volume').evaluate((slider) => slider.blur());
  // A window of its own is the system's; what is asked for is ours.
  await page.evaluate(() => {
    window.asked = [];
    Object.defineProperty(document, 'pictureInPictureEnabled', { value: true });
    HTMLVideoElement.prototype.requestPictureInPicture = function () {
      window.asked.push(this === document.querySelector('airwave-player').video);
      return Promise.resolve();
    };
    Element.prototype.requestFullscreen = function () {
      window.filled = this.getRootNode().host === document.querySelector('airwave-player') || this === document.querySelector('airwave-player');
      return Promise.resolve();
    };
  });
  await page.keyboard.press('f');
  check('key f asks for the full screen', await page.evaluate(() => window.filled === true));
  await page.keyboard.press('p');
  check('key p asks for picture-in-picture', await page.evaluate(() => window.asked.join() === 'true'));
  await page.mouse.move(650, 410);
  await shadow('[data-part="pip"]').click();
  // The keys are the page's again, not the button's.
  await shadow('[data-part="pip"]').evaluate((button) => button.blur());
  check('its button asks for picture-in-picture', await page.evaluate(() => window.asked.join() === 'true,true'));
  // A button that has the focus takes the key for itself.
  await shadow('.frame').focus();
  await page.keyboard.press(' ');
  check('space pauses', await page.evaluate(() => document.querySelector('airwave-player').video.paused));
  check('a paused picture falls behind', await until(behindBy, { arg: (await stats()).latencySeconds + BEHIND_S }), await stats());
  check('jump to live is offered', await shadow('.jump').isVisible());
  await page.keyboard.press('Shift+D');
  await page.locator('#numbers dd').first().waitFor();
  await settled();
  await shot('desktop-behind-stats');
  await page.evaluate(noteJumps);
  await page.keyboard.press('l');
  check('key l jumps to live', await until(jumpedBy, { arg: 1 }), await stats());
  await page.keyboard.press('Shift+D');

  const before = (await stats()).framesShown;
  await host.current.reconnect({ size: '320x180', profile: 'baseline', tone: 500 });
  check('plays on after a reconnect with another codec and size', await until(() => {
    const player = document.querySelector('airwave-player');
    return player.video.videoWidth === 320 && player.stats.state === 'live';
  }), await stats());
  check('frames keep coming after the reconnect', await until(shownMoreThan, { arg: before + 60 }), await stats());

  host.current.disconnect();
  check('words while the encoder is gone', await until(() => document.querySelector('airwave-player').stats.notice.includes('Waiting for the broadcaster')), await stats());
  await shot('desktop-interrupted');

  const recorded = host.current.uid;
  await page.evaluate(() => {
    const player = document.querySelector('airwave-player');
    const still = player.shadowRoot.querySelector('.still');
    window.flashes = 0;
    const look = () => {
      const { state } = player.stats;
      if (state === 'replay' && still.hidden && player.video.currentTime < 1) window.flashes++;
      if (window.flashes >= 0) requestAnimationFrame(look);
    };
    look();
  });
  host.end();
  check('flows into the replay', await until(() => document.querySelector('airwave-player').stats.state === 'replay'), await stats());
  check('replay is loaded', await until(() => document.querySelector('airwave-player').video.duration > 10));
  check('says that the broadcast has ended', (await stats()).notice === 'The broadcast has ended' && (await stats()).videoUID === recorded, await stats());
  check('the replay stands at its end', await until(() => {
    const player = document.querySelector('airwave-player');
    const { video } = player;
    return player.shadowRoot.querySelector('.still').hidden && !video.seeking && video.currentTime > video.duration - 3;
  }), await page.evaluate(() => {
    const { video, shadowRoot } = document.querySelector('airwave-player');
    const { buffered, currentTime: at, duration: of, seeking } = video;
    const ranges = Array.from({ length: buffered.length }, (_, index) => [buffered.start(index), buffered.end(index)]);
    return { at, of, seeking, ranges, still: !shadowRoot.querySelector('.still').hidden };
  }));
  const flashes = await page.evaluate(() => {
    const seen = window.flashes;
    window.flashes = Number.NaN;
    return seen;
  });
  check('the last frame stays until the replay stands at its end', flashes === 0, { flashes });
  await shot('desktop-ended');
  await shadow('.actions button').click();
  check('replay plays from the start', await until(() => {
    const { video } = document.querySelector('airwave-player');
    return !video.paused && video.currentTime > 0.5 && video.currentTime < 6;
  }), await stats());
  const speed = () => page.evaluate(() => document.querySelector('airwave-player').video.playbackRate);
  await page.keyboard.press('>');
  const faster = await speed();
  await page.keyboard.press('<');
  check('keys > and < change the speed of a recording', faster > 1 && (await speed()) === 1, { faster });
  await page.keyboard.press('k');
  check('key k pauses', await page.evaluate(() => document.querySelector('airwave-player').video.paused));
  await page.keyboard.press('k');
  await page.mouse.move(600, 500);
  await settled();
  await shot('desktop-replay');
  await host.goLive({ size: SIZE });
  check('a viewer in the replay is asked first', await until(() => document.querySelector('airwave-player').stats.notice.includes('new broadcast')), await stats());
  await shot('desktop-new-broadcast');
  await shadow('.actions button').click();
  check('goes live again', await until(playing), await stats());
  host.end();
  await until(() => document.querySelector('airwave-player').stats.state === 'replay');
  await host.goLive({ size: SIZE, vcodec: 'libx264' });
  check('at the end of the replay it goes live by itself', await until(playing), await stats());
  check('never reloaded', await page.evaluate(() => window.sameDocument === true));
});

scenario('chat-desktop', (tools) => chat({ check, ...tools }, false), { mayFail: /\/chat$/ });
scenario('chat-phone', (tools) => chat({ check, ...tools }, true), { mayFail: /\/chat$/, viewport: PHONE, isMobile: true, deviceScaleFactor: 2 });
scenario('chat-replay', (tools) => chatInReplay({ check, ...tools }));

scenario('lost', async ({ host, open, stats, until, settled, shot }) => {
  await host.goLive({ size: SIZE });
  await open();
  check('lost: plays first', await until(playing), await stats());
  await host.vanish();
  check('lost: words with a countdown', await until(() => /Connection lost, trying again in \d+ s/.test(document.querySelector('airwave-player').stats.notice)), await stats());
  await settled();
  await shot('desktop-lost');
  await host.reappear();
  check('lost: plays on by itself, and live', await until(() => {
    const { state, notice } = document.querySelector('airwave-player').stats;
    return state === 'live' && notice === '';
  }), await stats());
  const before = (await stats()).framesShown;
  check('lost: the picture moves again', await until(shownMoreThan, { arg: before + 60 }), { before, after: await stats() });
}, { expectErrors: true });

scenario('phone', async ({ host, page, open, until, settled, narrow, stats, shot }) => {
  await open();
  await until(() => document.querySelector('airwave-player').stats.state === 'waiting');
  await settled();
  await shot('phone-not-live');
  await host.goLive({ size: SIZE });
  check('phone: plays', await until(playing), await stats());
  await until(atTheEdge);
  await page.touchscreen.tap(200, 260);
  await settled();
  await shot('phone-playing');
  check('phone: nothing is wider than the screen', await narrow());
  const cut = await page.evaluate(() => {
    const root = document.querySelector('airwave-player').shadowRoot;
    return [...root.querySelectorAll('.row > *')].filter((child) => child.getBoundingClientRect().right > window.innerWidth + 1).map((child) => child.className);
  });
  check('phone: every control is on the screen', cut.length === 0, cut);
}, { viewport: PHONE, hasTouch: true, isMobile: true, deviceScaleFactor: 2 });

scenario('hevc', async ({ host, open, until, stats, shot }) => {
  await host.goLive({ vcodec: 'libx265', size: SIZE });
  await open();
  check("hevc: says that this browser can't", await until(() => document.querySelector('airwave-player').stats.notice.includes("can't play")), await stats());
  await shot('desktop-codec');
}, { expectErrors: true });

for (const status of [404, 403]) {
  scenario(`refused-${status}`, async ({ host, open, until, stats, shot }) => {
    host.lifecycleStatus = status;
    await open();
    check(`${status}: words`, await until(() => document.querySelector('airwave-player').stats.state === 'stopped'), await stats());
    await shot(`desktop-${status}`);
  }, { expectErrors: true });
}

/** Markup, as a name. */
const hostile = `"><img src=x onerror="document.title='hacked'"><script>document.title='hacked'</script>`;
const unharmed = () => document.title !== 'hacked' && document.querySelector('img[onerror], main script') === null;
const listed = [
  { id: INPUT, name: 'Harbour camera, north pier', live: true, startedAt: new Date(Date.now() - 4_000_000).toISOString(), viewers: 12 },
  { id: '00aa', name: 'Town council, open session', live: true, startedAt: new Date(Date.now() - 900_000).toISOString(), viewers: 348 },
  { id: '00bbcc', name: 'Chamber choir rehearsal', live: true, startedAt: new Date().toISOString(), viewers: 0 },
  { id: '00dd', name: hostile, live: true, startedAt: new Date().toISOString(), viewers: 1 },
];
for (const [name, viewport] of [['desktop', DESKTOP], ['phone', PHONE]]) {
  scenario(`landing-${name}`, async ({ host, page, open, narrow, shot }) => {
    await open('/');
    await page.locator('#how').waitFor();
    check(`landing ${name}: says how to go live`, (await page.locator('#ingest').textContent()).startsWith('rtmp://127.0.0.1'));
    await shot(`${name}-landing-empty`);
    host.listed = listed;
    await page.locator('.card').first().waitFor({ timeout: 60_000 });
    check(`landing ${name}: lists what is on the air`, (await page.locator('.card').count()) === 4);
    check(`landing ${name}: a name is text`, (await page.locator('.card h2').last().textContent()) === hostile && (await page.evaluate(unharmed)));
    check(`landing ${name}: nothing is wider than the screen`, await narrow());
    await shot(`${name}-landing`);
    await page.emulateMedia({ colorScheme: 'light' });
    await shot(`${name}-landing-light`);
  }, { viewport });
}

const HOUR_MS = 3_600_000;
const created = (hoursAgo) => new Date(Date.now() - hoursAgo * HOUR_MS).toISOString();
const video = (hoursAgo, duration, more = {}) => ({ uid: INPUT.replace(/^../, String(hoursAgo).padStart(2, '0')), meta: { name: 'Harbour camera' }, created: created(hoursAgo), duration, ...more });
function furnish(host) {
  host.api.inputs.set(INPUT, {
    uid: INPUT,
    key: 'the-key-of-the-harbour',
    meta: { name: host.name, note: 'kept' },
    recording: { requireSignedURLs: false },
    enabled: true,
    created: created(50),
    status: { current: { state: 'connected', statusEnteredAt: created(2.1), videoUID: 'x' } },
    health: { video: { bitsPerSecond: 6_100_000, framesPerSecond: 29.97 }, audio: { bitsPerSecond: 128_000 }, keyFrameIntervalSeconds: 8.3, uploadRatio: 1, advice: ['Key frames every 8.3 s: set the key-frame interval to 2 s.'] },
  });
  host.api.videos.set(INPUT, [video(2, -1, { status: { state: 'live-inprogress' } }), video(25, 3725), video(49, 190)]);
  host.api.add('Town council, open session', { created: created(70), status: { current: { state: 'reconnecting' } } });
  host.api.add('Chamber choir rehearsal, in the hall with the long name', { created: created(60), enabled: false });
  return host.goLive({ size: SIZE });
}
const change = (id, type, kind, resource, metadata) => ({
  id: `${id}`, when: created(id), action: { type, result: metadata.status < 400 }, actor: { id: 'a', name: 'Anna', ip: '192.0.2.7' },
  interface: 'page', resource: { id: resource, type: kind }, metadata,
});
const text = (page, selector) => page.locator(selector).first().textContent();

/** Whether the link is gone. A click that a list meets while it is drawn anew is lost, to people too. */
async function takeBack(place, link) {
  for (let tries = 0; tries < 6; tries++) {
    await place.getByRole('button', { name: /^Take it back/ }).click({ timeout: 10_000 }).catch(() => {});
    if (await link.waitFor({ state: 'detached', timeout: 10_000 }).then(() => true, () => false)) return true;
  }
  return false;
}

/** Whether it is recorded, and for how long: by keyboard, as the server has it, and what it refuses in its words. `panel`: the recordings. */
async function whatIsKept({ check, host, page, until, settled, narrow, shot }, panel, name) {
  const input = host.api.inputs.get(INPUT);
  const record = panel.getByRole('switch', { name: 'Record broadcasts, from the next one on' });
  const days = panel.getByLabel('Days after which recordings are deleted');
  const words = panel.locator(':scope > .hint');
  const says = (part) => words.filter({ hasText: part }).waitFor().then(() => true, () => false);
  check(`dashboard ${name}: it is recorded, until the disk is full`, (await record.isChecked()) && (await says('1 GB of its disk')));
  check(`dashboard ${name}: and what is on the air stays as it began`, await says('goes on as it began'));
  const held = await record.elementHandle();
  await record.focus();
  await page.keyboard.press('Space');
  check(`dashboard ${name}: not any more`, (await says('gone when it is over')) && input.recording.mode === 'off', input);
  check(`dashboard ${name}: and the focus stays`, await held.evaluate((box) => document.activeElement === box && !box.checked));
  check(`dashboard ${name}: that is seen from outside`, await until(() => document.querySelector('article.live .recordings > summary').textContent === 'Recordings (3): off'));
  await page.keyboard.press('Space');
  await days.waitFor();
  await page.keyboard.press('Tab');
  await page.keyboard.type('45');
  await page.keyboard.press('Enter');
  check(`dashboard ${name}: days after which they are deleted`, (await says('45 days after their end')) && input.recording.mode === 'automatic' && input.deleteRecordingAfterDays === 45, input);
  check(`dashboard ${name}: with what is kept nothing is wider than the screen`, await narrow());
  await settled();
  await shot(`${name}-dashboard-kept`, { fullPage: true });
  await days.fill('99999999999');
  await page.keyboard.press('Enter');
  check(`dashboard ${name}: a refusal in the server's words`, await panel.locator(':scope > .problem', { hasText: 'whole number of days' }).waitFor().then(() => true, () => false));
  await days.fill('');
  await page.keyboard.press('Enter');
  check(`dashboard ${name}: and without a day of their own`, (await says('1 GB of its disk')) && input.deleteRecordingAfterDays === null, input);
  host.api.refusesModes = true;
  await record.press('Space');
  check(`dashboard ${name}: a switch that the server refuses stays as it was`, (await panel.locator(':scope > .problem', { hasText: 'recording.mode' }).waitFor().then(() => true, () => false)) && (await until((box) => box.checked, { arg: held })));
  host.api.refusesModes = false;
}

for (const [name, viewport] of [['desktop', DESKTOP], ['phone', PHONE]]) {
  scenario(`dashboard-${name}`, async ({ host, page, open, until, settled, narrow, shot }) => {
    await open(`/#token=${TOKEN}`);
    await page.locator('#new-name').waitFor();
    await settled();
    await shot(`${name}-dashboard-empty`);
    check(`dashboard ${name}: the token is nowhere in the address or the history`, await page.evaluate(() => location.hash === '' && history.length <= 2));
    await furnish(host);
    saySomething(host);
    await page.locator('article.live .recordings li').first().waitFor({ state: 'attached' });
    check(`dashboard ${name}: what is on the air stands first`, (await text(page, '.inputs h2')) === host.name);
    check(`dashboard ${name}: since when`, (await text(page, 'article.live .state')).includes('Live for 2 h 6 min'));
    check(`dashboard ${name}: advice in words`, (await text(page, '.advice')).includes('key-frame interval to 2 s'));
    check(`dashboard ${name}: one picture moves`, await until(() => {
      const players = [...document.querySelectorAll('airwave-player')];
      return players.length === 1 && players[0].stats.state === 'live' && players[0].stats.framesShown > 20;
    }));
    await page.locator('article.live .recordings > summary').click();
    check(`dashboard ${name}: recordings with date and length`, /1:02:05/.test(await text(page, '.recordings')));
    check(`dashboard ${name}: nothing is wider than the screen`, await narrow());
    await settled();
    await shot(`${name}-dashboard`, { fullPage: true });
    await page.emulateMedia({ colorScheme: 'light' });
    await settled();
    await shot(`${name}-dashboard-light`, { fullPage: true });
    await page.emulateMedia({ colorScheme: 'dark' });
    const sharing = page.locator('article.live .sharing');
    await sharing.locator('summary').click();
    check(`dashboard ${name}: who may watch`, (await sharing.locator('summary').textContent()).includes('everybody'));
    await sharing.getByRole('switch').click();
    await sharing.getByLabel('For whom').fill('Anna & <b>Otto</b>');
    await sharing.getByRole('button', { name: 'Make and copy a link' }).click();
    await sharing.locator('li').waitFor();
    check(`dashboard ${name}: a link for somebody`, (await sharing.locator('li').textContent()).includes('Anna & <b>Otto</b>'));
    check(`dashboard ${name}: only who has it`, (await sharing.locator('summary').textContent()).includes('only who has the link'));
    check(`dashboard ${name}: with the links nothing is wider than the screen`, await narrow());
    await settled();
    await shot(`${name}-dashboard-links`, { fullPage: true });
    check(`dashboard ${name}: and it is taken back`, await takeBack(sharing, sharing.locator('li')));
    check(`dashboard ${name}: the picture goes on for its owner`, await until(() => document.querySelector('airwave-player')?.stats.state === 'live'));
    await whatIsKept({ check, host, page, until, settled, narrow, shot }, page.locator('article.live .recordings'), name);
    await chatOfTheOwner({ check, host, page, until, settled, narrow, shot }, page.locator('article.live'), name);
    // On the air it is the live input that is locked.
    const recording = page.locator('.recordings li').nth(1);
    await recording.getByRole('button', { name: /^Share/ }).click();
    await recording.getByRole('switch').click();
    await recording.getByLabel('For whom').fill('Otto');
    await recording.getByRole('button', { name: 'Make and copy a link' }).click();
    await recording.locator('.sharing li').waitFor();
    check(`dashboard ${name}: a recording is locked, and somebody has a link`, (await recording.locator('.what').first().textContent()).includes('locked'));
    check(`dashboard ${name}: its owner plays it by a token`, await until(() => document.querySelectorAll('.recordings li a.button')[1].getAttribute('href').includes('.own.token/')));
    check(`dashboard ${name}: with a recording's links nothing is wider than the screen`, await narrow());
    await settled();
    await shot(`${name}-dashboard-recording-links`, { fullPage: true });
    await takeBack(recording, recording.locator('.sharing li'));
    await recording.getByRole('switch').click();
    check(`dashboard ${name}: and it is open again`, await until(() => ![...document.querySelectorAll('.recordings .what')].some((what) => what.textContent.includes('locked'))));
    await recording.getByRole('button', { name: /^Share/ }).click();
    host.api.changes = [
      change(3, 'update', 'live_inputs', INPUT, { fields: ['recording.requireSignedURLs'], status: 200 }),
      change(2, 'delete', 'videos', 'f'.repeat(32), { fields: [], status: 403 }),
    ];
    const changes = page.locator('details.changes');
    await changes.locator('summary').click();
    await changes.locator('li').first().waitFor();
    check(`dashboard ${name}: who changed what`, /Live input: changed \(\w{8}\).*Anna · 192\.0\.2\.7 · page · recording\.requireSignedURLs/s.test(await changes.locator('li').first().textContent()));
    check(`dashboard ${name}: and what was refused`, (await changes.locator('li').nth(1).textContent()).includes('refused'));
    check(`dashboard ${name}: with the changes nothing is wider than the screen`, await narrow());
    await settled();
    await shot(`${name}-dashboard-changes`, { fullPage: true });
    await changes.locator('summary').click();
    await page.locator('.recordings .danger').first().click();
    await shot(`${name}-dashboard-question`);
    check(`dashboard ${name}: asks before a recording is deleted`, (await text(page, 'dialog[open]')).includes('cannot be taken back'));
    check(`dashboard ${name}: return is no`, await page.evaluate(() => document.activeElement.textContent === 'Cancel'));
    await page.locator('dialog[open] .danger').click();
    check(`dashboard ${name}: the recording is gone`, await until(() => document.querySelectorAll('.recordings li').length === 2));
    // What it refuses is shown.
  }, { viewport, mayFail: /\/videos$|\/live_inputs\/\w+$/ });
}

scenario('dashboard-hostile', async ({ host, page, open }) => {
  host.name = hostile;
  await furnish(host);
  const input = host.api.inputs.get(INPUT);
  Object.assign(input, { health: { ...input.health, advice: [hostile] }, recording: { requireSignedURLs: true } });
  host.api.videos.set(INPUT, [video(2, 190, { meta: { name: hostile }, status: { state: 'error', errorReasonText: hostile } })]);
  host.api.linksOf('POST', INPUT, undefined, { name: hostile, exp: Date.now() / 1000 + 3600 });
  host.api.add(hostile);
  const by = change(1, 'update', hostile, hostile, { status: 200, fields: [hostile] });
  host.api.changes = [{ ...by, actor: { ...by.actor, name: hostile } }];
  await open(`/#token=${TOKEN}`);
  const card = page.locator('article.live');
  await card.locator('.recordings > summary').click();
  await card.locator('.sharing summary').click();
  await card.locator('.sharing li').waitFor();
  for (const place of ['h2', '.advice', '.sharing li', '.recordings li']) {
    check(`hostile: ${place} is text`, (await card.locator(place).first().textContent()).includes(hostile));
  }
  const changes = page.locator('.changes');
  await changes.locator('summary').click();
  await changes.locator('li').first().waitFor();
  const said = await changes.locator('li').first().textContent();
  check('hostile: who changed what is text', said.split(hostile).length >= 3, said);
  check('hostile: nothing of it became an element', await page.evaluate(unharmed));
}, { mayFail: /\/videos$/ });

scenario('dashboard-many', async ({ host, page, open, until, shot, narrow }) => {
  const at = (n) => ({ created: new Date(Date.now() - n * 60_000).toISOString() });
  for (let n = 1; n <= 130; n++) host.api.add(`Hall ${n}`, at(n));
  host.api.add('The old one that is live', { ...at(1_000), status: { current: { state: 'connected' } } });
  await open(`/#token=${TOKEN}`);
  const shown = (count) => until((n) => document.querySelectorAll('.inputs > li').length === n, { arg: count });
  const more = () => page.getByRole('button', { name: /^Show \d+ more$/ }).click();
  check('many inputs: the newest, and what is on the air', await shown(51), await text(page, '#dashboard-summary'));
  check('many inputs: what is on the air stands first', await until(() => document.querySelector('.inputs h2').textContent.includes('old one')));
  check('many inputs: how many there are', (await text(page, '#dashboard-summary')).startsWith('131 inputs'));
  await shot('desktop-dashboard-many');
  await more();
  check('many inputs: more when asked', await shown(101));
  await more();
  check('many inputs: all, and no button', await until(() => document.querySelectorAll('.inputs > li').length === 131 && document.querySelector('.more') === null));
  await page.getByRole('searchbox').fill('hall 12');
  check('many inputs: found by name', await shown(11), await text(page, '#dashboard-summary'));
  await page.getByRole('searchbox').fill('nothing of the kind');
  check('many inputs: nothing found, in words', await until(() => document.querySelector('#dashboard-summary').textContent.includes('No input is called')));
  await page.getByRole('searchbox').fill('');
  check('many inputs: and back', await shown(51));
  await page.setViewportSize(PHONE);
  check('many inputs: nothing is wider than a phone', await narrow());
  // The make-believe server has no broadcast to its input.
}, { mayFail: /\/(videos|lifecycle)$/ });

scenario('dashboard-keyboard', async ({ host, page, open, until }) => {
  host.api.add('Only one');
  await open('/');
  await page.locator('#how').waitFor();
  await page.keyboard.press('Tab');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await page.keyboard.type(TOKEN);
  await page.keyboard.press('Enter');
  const card = page.locator('article');
  await card.locator('.ingest').waitFor();
  check('keyboard: signed in', true);
  await card.getByRole('button', { name: 'Rename' }).press('Enter');
  await page.keyboard.type('Another name');
  await page.keyboard.press('Enter');
  check('keyboard: renamed', await until(() => document.querySelector('article h2')?.textContent === 'Another name'));
}, { mayFail: /\/videos$/ });

scenario('dashboard-trouble', async ({ host, page, open, until, shot }) => {
  host.api.refusal = [403, 'the API is served over HTTPS only'];
  await open(`/#token=${TOKEN}`);
  check("trouble: a refusal in the server's words", await until(() => document.querySelector('#dashboard .problem')?.textContent.includes('over HTTPS only')));
  await shot('desktop-dashboard-refused');
  host.api.refusal = null;
  await page.locator('#new-name').waitFor();
  check('trouble: goes on by itself', (await page.locator('#dashboard .problem').count()) === 0);
  await host.vanish();
  check('trouble: a lost server in words', await until(() => document.querySelector('#dashboard .problem')?.textContent.includes('does not answer')));
  await shot('desktop-dashboard-lost');
  await host.reappear();
  check('trouble: finds it again', await until(() => document.querySelector('#dashboard .problem') === null));
  host.api.refusal = [401, 'the bearer token is not valid'];
  check('trouble: a token that is not valid any more signs out', await until(() => document.querySelector('#sign-in-dialog').open && sessionStorage.length === 0));
  check('trouble: and says so', (await text(page, '#sign-in-problem')).includes('airwave token'));
  await shot('desktop-dashboard-401');
}, { expectErrors: true });

// A broadcast with a past takes its time: it grows while the scenarios from here on run.
const past = scenarios.wanted('dvr') ? await new DevServer().listen() : null;
let pastBegins = null;
if (past !== null) waiting.push(() => (pastBegins = past.goLive({ size: SIZE })));

scenario('choices', async ({ host, open, until, stats, shadow, ...tools }) => {
  const all = { check, open, until, stats, shadow, ...tools };
  await host.goLive({ size: SIZE, ladder: true, hostile: "<img src=x onerror=document.title='hacked'>" });
  await open(`/${INPUT}/watch`);
  await quality(all, [360, 180]);
  await languages(all);
  host.end();
  await until(() => document.querySelector('airwave-player').stats.state === 'replay');
  await shadow('.actions button').click();
  check('choices: the replay plays', await until(() => !document.querySelector('airwave-player').video.paused), await stats());
  await lines(all);
  await speed(all);
});

scenario('phone-choices', async ({ host, page, open, until, narrow, settled, shot, shadow }) => {
  await host.goLive({ size: SIZE, ladder: true });
  await open(`/${INPUT}/iframe?autoplay=true`);
  await until(playing);
  await page.touchscreen.tap(195, 100);
  await shadow('[data-part="settings"]').tap();
  await settled();
  await shot('phone-menu');
  const within = await page.evaluate(() => {
    const { top, left, right, bottom } = document.querySelector('airwave-player').shadowRoot.querySelector('.menu').getBoundingClientRect();
    return top >= 0 && left >= 0 && right <= innerWidth && bottom <= innerHeight;
  });
  check('phone menu: is on the screen', within && (await narrow()));
  const cut = await page.evaluate(() => {
    const root = document.querySelector('airwave-player').shadowRoot;
    return [...root.querySelectorAll('.row > *')].filter((child) => child.getBoundingClientRect().right > window.innerWidth + 1).map((child) => child.className);
  });
  check('phone menu: every control is on the screen', cut.length === 0, cut);
}, { viewport: { width: 390, height: 220 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 });

/** As somebody's page has it beside its text, and as the narrowest phones have it. */
scenario('small-frame', async ({ host, page, open, until, settled, shot, shadow }) => {
  const outside = () => page.evaluate(() => {
    const all = [...document.querySelector('airwave-player').shadowRoot.querySelectorAll('.row > *, .loudness > *, .notice .title, .notice button')];
    const isOut = ({ top, left, right, bottom }) => top < 0 || left < 0 || right > innerWidth || bottom > innerHeight;
    return all.filter((one) => one.checkVisibility() && isOut(one.getBoundingClientRect())).map((one) => one.dataset.part ?? one.className);
  });
  const sizes = [[320, 180], [240, 135]];
  for (const [width, height] of sizes) {
    await page.setViewportSize({ width, height });
    await open(`/${'0'.repeat(32)}/iframe`);
    await until(() => document.querySelector('airwave-player').shadowRoot.querySelector('.notice.error button')?.checkVisibility());
    await settled();
    await shot(`small-${width}-refused`);
    check(`small frame, ${width} x ${height}: what is wrong, and what to do, is on it`, (await outside()).length === 0, await outside());
  }
  await host.goLive({ size: SIZE, ladder: true });
  for (const [width, height] of sizes) {
    await page.setViewportSize({ width, height });
    await open(`/${INPUT}/iframe?autoplay=true&muted=true`);
    await until(playing);
    // "Jump to live" stands beside the others then.
    await page.evaluate(() => document.querySelector('airwave-player').pause());
    await until(() => !document.querySelector('airwave-player').shadowRoot.querySelector('[data-part="jump"]').hidden);
    await settled();
    await shot(`small-${width}-live`);
    const shown = await Promise.all(['play', 'settings', 'fullscreen'].map((part) => shadow(`[data-part="${part}"]`).isVisible()));
    check(`small frame, ${width} x ${height}: the controls are on it`, (await outside()).length === 0 && shown.every(Boolean), { outside: await outside(), shown });
  }
}, { expectErrors: true, viewport: { width: 320, height: 180 }, hasTouch: true, isMobile: true });

scenario('embed', async ({ host, ...tools }) => {
  await host.goLive({ size: SIZE });
  await steeredFromOutside({ check, ...tools }, { server: host.url, id: INPUT, sizes: [[640, 360]], end: () => host.end() });
});

scenario('cast', async ({ host, ...tools }) => {
  await host.goLive({ size: SIZE });
  const { page, until, stats } = tools;
  const next = async () => {
    const loads = () => page.evaluate(() => window.screens.find(({ state }) => state === 'connected').loads);
    const before = await loads();
    await host.goLive({ size: SIZE });
    check('cast: the next broadcast plays there', await until((before) => window.screens.some(({ state, loads, plays }) => state === 'connected' && loads > before && plays > 0), { arg: before }), await stats());
    check('cast: and not here', await page.evaluate(() => document.querySelector('airwave-player').video.paused));
  };
  await cast({ check, ...tools }, { id: INPUT, next });
});

scenario('played-early', async ({ host, page, open, until, stats }) => {
  await host.goLive({ size: SIZE });
  await open(`/${INPUT}/iframe?autoplay=true&muted=true`);
  await until(playing);
  await page.evaluate(() => {
    const player = document.querySelector('airwave-player');
    player.addEventListener('airwave-state', ({ detail }) => {
      if (detail.state !== 'replay') return;
      player.currentTime = 1;
      player.play().then(() => { window.begun = 'playing'; }, ({ name }) => { window.begun = name; });
    });
  });
  host.end();
  check('played early: the promise outlives the live picture', await until(() => window.begun === 'playing'), await stats());
  check('played early: the replay plays', await until(() => {
    const { paused, currentTime } = document.querySelector('airwave-player').video;
    return !paused && currentTime > 1;
  }), await stats());
});

scenario('replayed-early', async ({ host, page, open, until, shadow, stats }) => {
  await host.goLive({ size: SIZE });
  await open(`/${INPUT}/iframe?autoplay=true&muted=true`);
  await until(playing);
  let release;
  const clicked = new Promise((resolve) => (release = resolve));
  await page.route('**/manifest/video.m3u8*', async (route) => {
    await clicked;
    await route.continue();
  });
  host.end();
  await until(() => document.querySelector('airwave-player').stats.state === 'replay');
  await page.evaluate(() => {
    const { video } = document.querySelector('airwave-player');
    for (const event of ['seeking', 'playing']) video.addEventListener(event, () => (window.furthestS = Math.max(window.furthestS ?? 0, video.currentTime)));
  });
  await shadow('.actions button').click();
  release();
  check('replayed early: the replay plays', await until(() => {
    const { paused, currentTime } = document.querySelector('airwave-player').video;
    return !paused && currentTime > 0.5;
  }), await stats());
  const furthestS = await page.evaluate(() => window.furthestS);
  check('replayed early: from the start, also if its list came after the click', furthestS < 1, furthestS);
});

scenario('framed', ({ host, ...tools }) => othersAreNotFramed({ check, ...tools }, { server: host.url, id: INPUT }), { expectErrors: true });

// That the pages' own code goes by the policies is what every other scenario shows: none of them has an error.
scenario('trusted-types', async ({ page, open }) => {
  for (const route of ['/', `/${INPUT}/watch`, `/${INPUT}/iframe`]) {
    await open(route);
    const refused = await page.evaluate(() => {
      const ways = {
        html: () => (document.createElement('div').innerHTML = '<img src=x>'),
        script: () => (document.createElement('script').textContent = 'document.title = 1'),
        address: () => (document.createElement('script').src = '/x.js'),
        policy: () => window.trustedTypes.createPolicy('another', { createHTML: (html) => html }),
      };
      const throws = (way) => {
        try {
          way();
          return false;
        } catch (error) {
          return error instanceof TypeError;
        }
      };
      return Object.keys(ways).filter((name) => throws(ways[name]));
    });
    check(`trusted types: text becomes nothing at ${route}`, refused.length === 4, refused);
  }
}, { expectErrors: true });

scenario('embed-options', async ({ host, page, open, until, settled, stats, shadow, shot }) => {
  const asked = [];
  page.on('request', (request) => asked.push(new URL(request.url()).pathname));
  const manifests = () => asked.filter((path) => path.includes('/manifest/')).length;
  await host.goLive({ size: SIZE, ladder: true });
  const beganMs = Date.now();
  await open(`/${INPUT}/iframe?preload=none&poster=%2Fposter.svg&primaryColor=%23204080`);
  check('preload=none: a poster and a button', await until(() => {
    const root = document.querySelector('airwave-player').shadowRoot;
    return root.querySelector('.big').checkVisibility() && root.querySelector('.poster').naturalWidth > 0;
  }), await stats());
  check('preload=none: nothing is loaded', manifests() === 0, asked);
  check('primaryColor: readable ink', (await page.evaluate(() => getComputedStyle(document.querySelector('airwave-player').shadowRoot.querySelector('.big')).color)) === 'rgb(255, 255, 255)');
  await settled();
  await shot('desktop-embed-poster');
  await page.setViewportSize(PHONE);
  await shot('phone-embed-poster');
  await shadow('.big').click();
  check('preload=none: plays when asked to', await until(playing), await stats());
  check('poster: makes room for the picture', await shadow('.poster').isHidden());
  await open(`/${INPUT}/iframe?defaultTextTrack=de`);
  const { recording } = await until(() => document.querySelector('airwave-player').pictured).then(() => ({ recording: host.current.uid }));
  check('preload=metadata: a first picture that stands', await page.evaluate(() => document.querySelector('airwave-player').video.paused && document.querySelector('airwave-player').suspended));
  await page.keyboard.press(' ');
  check('preload=metadata: begins where live is now, and not where it began', await until((beganMs) => {
    const { latencySeconds, framesShown } = document.querySelector('airwave-player').stats;
    // Who begins where it began stays behind by all of its age.
    return framesShown > 20 && latencySeconds < (Date.now() - beganMs) / 1_000 - 2;
  }, { arg: beganMs }), await stats());
  check('defaultTextTrack: shown from the start', await until(() => [...document.querySelector('airwave-player').video.textTracks].some(({ language, mode }) => language === 'de' && mode === 'showing')));
  await host.current.lasts(10);
  host.end();
  await open(`/${recording}/iframe?startTime=0m4s&loop=true&controls=false&autoplay=true&muted=true`);
  check('startTime: begins there', await until(() => {
    const { currentTime, paused } = document.querySelector('airwave-player').video;
    return !paused && currentTime >= 4 && currentTime < 8;
  }), await stats());
  check('controls=false: none', await page.evaluate(() => !document.querySelector('airwave-player').shadowRoot.querySelector('.bar').checkVisibility()));
  await shot('phone-embed-bare');
  await page.evaluate(() => {
    const { video } = document.querySelector('airwave-player');
    video.currentTime = video.duration - 0.5;
  });
  check('loop: begins again', await until(() => {
    const { currentTime, paused, seeking } = document.querySelector('airwave-player').video;
    return !paused && !seeking && currentTime > 0.1 && currentTime < 3;
  }), await stats());
});

scenario('share', async ({ host, page, open, until, shot }) => {
  host.name = `"><img src=x onerror="document.title='hacked'">`;
  await open();
  check('share: the name is text', await until((name) => document.getElementById('title').textContent === name, { arg: host.name }));
  await page.setViewportSize(PHONE);
  await shot('phone-share');
  await page.getByRole('button', { name: 'Copy link' }).click();
  check('share: the link', await until(async (url) => (await navigator.clipboard.readText()) === url, { arg: `${host.url}/${INPUT}/watch` }));
  await page.getByRole('button', { name: 'Copy embed code' }).click();
  check('share: says that it is copied', await until(() => document.getElementById('copied').textContent === 'Copied'));
  const code = await page.evaluate(() => navigator.clipboard.readText());
  // On a page without a policy, as most are.
  await page.goto('about:blank');
  const embedded = await page.evaluate((html) => {
    const { body } = new DOMParser().parseFromString(html, 'text/html');
    return { elements: body.querySelectorAll('*').length, src: body.querySelector('iframe')?.src, title: body.querySelector('iframe')?.title };
  }, code);
  check('share: one iframe with the name as its title', embedded.elements === 1 && embedded.src === `${host.url}/${INPUT}/iframe` && embedded.title === host.name, embedded);
}, { permissions: ['clipboard-read', 'clipboard-write'] });

scenario('dvr', async ({ host, page, open, until, settled, stats, shadow, shot }) => {
  await pastBegins;
  await host.current.lasts(DVR_S);
  await open(`/${INPUT}/watch?dvrEnabled=true`);
  check('dvr: plays at the edge', await until(playing), await stats());
  check('dvr: the bar reaches back to the start', await until(() => {
    const seek = document.querySelector('airwave-player').shadowRoot.querySelector('.seek');
    return seek.checkVisibility() && Number(seek.max) - Number(seek.min) > 30;
  }));
  for (let press = 0; press < 4; press++) await page.keyboard.press('ArrowLeft');
  check('dvr: arrows go back', await until(behindBy, { arg: 15 }), await stats());
  check('dvr: plays on there', await until(shownMoreThan, { arg: (await stats()).framesShown + 60 }), await stats());
  await page.mouse.move(500, 300);
  await settled();
  const behind = await stats();
  await shadow('.seek').hover({ position: { x: 300, y: 12 } });
  check('dvr: the time under the pointer', /^-\d+:\d\d$/.test(await shadow('.scrub').textContent()), await shadow('.scrub').textContent());
  check('dvr: stays where the viewer went', behind.latencySeconds > 15 && behind.playbackRate === 1, behind);
  await shot('desktop-dvr');
  await page.evaluate(noteJumps);
  await shadow('.jump').click();
  check('dvr: back to live', await until(jumpedBy, { arg: 8 }), await stats());
  await shadow('.frame').focus();
  await page.keyboard.press('Home');
  check('dvr: Home goes to the start', await until(behindBy, { arg: 25 }), await stats());
  await page.evaluate(noteJumps);
  await page.keyboard.press('End');
  check('dvr: End goes to live', await until(jumpedBy, { arg: 15 }), await stats());
}, { server: past });

await walkThrough();
process.exit(await scenarios.finish());
