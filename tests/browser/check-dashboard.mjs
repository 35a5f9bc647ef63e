// The way of a broadcaster through the dashboard of a running Airwave: sign in by link, create an input, see its key,
// publish, see it live, watch, lose the encoder, come back, end, delete. Needs ffmpeg. Exit code 1 if a check failed.
//   node check-dashboard.mjs --url URL --token TOKEN [--dist] [--screenshots DIR] [--levels-problem WORDS]
// --dist: the pages of web/dist instead of those inside the server.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { parseArgs } from 'node:util';
import { startFront } from './front.mjs';
import { Scenarios } from './lib/scenario.mjs';
import { sourceArgs } from './lib/source.mjs';

const { values: options } = parseArgs({
  options: {
    url: { type: 'string' },
    token: { type: 'string' },
    dist: { type: 'boolean', default: false },
    screenshots: { type: 'string' },
    report: { type: 'string' },
    'levels-problem': { type: 'string' },
  },
});
if (!options.url || !options.token) {
  process.stderr.write('usage: check-dashboard.mjs --url URL --token TOKEN [--dist] [--screenshots DIR] [--levels-problem WORDS]\n');
  process.exit(2);
}

const PHONE = { width: 390, height: 844 };
/** An encoder that was lost is waited for this long by default, and then the recording is sealed. */
const END_TIMEOUT_MS = 90_000;
const ACCOUNT = '/client/v4/accounts/default/stream';
const DAY_MS = 86_400_000;
const NAME = `Check of the dashboard ${process.pid}`;

const front = options.dist ? await startFront(options.url) : null;
const url = (front?.url ?? options.url).replace(/\/$/, '');
const scenarios = await Scenarios.start(options);
const { check } = scenarios;
let encoder = null;

const playing = () => {
  const player = document.querySelector('airwave-player');
  return player?.stats.state === 'live' && player.stats.framesShown > 20 && player.video.videoWidth > 0;
};

await scenarios.run('sign in', url, async ({ page, open, until, shot }) => {
  await open('/');
  await page.locator('#sign-in').click();
  await page.locator('#token').fill('not-the-token');
  await page.keyboard.press('Enter');
  await page.locator('#sign-in-problem').waitFor();
  check('a wrong token: words', (await page.locator('#sign-in-problem').textContent()).includes('not valid'));
  await shot('desktop-sign-in-wrong');
  await page.locator('#token').fill(options.token);
  await page.keyboard.press('Enter');
  check('the right token signs in', await until(() => document.querySelector('#dashboard .new') !== null));
  await page.locator('#sign-out').click();
  check('signs out', await until(() => !document.querySelector('#public').hidden && sessionStorage.length === 0));
}, { expectErrors: true });

await scenarios.run('dashboard', url, async (tools) => {
  const { page, open, until, settled, shot, narrow } = tools;
  await open(`/#token=${encodeURIComponent(options.token)}`);
  check('a link signs in', await until(() => document.querySelector('#dashboard .new') !== null));
  check('the token left the address', (await page.evaluate(() => location.href)) === `${url}/`);
  await page.reload();
  check('a reload stays signed in', await until(() => document.querySelector('#dashboard .new') !== null));
  await shot('desktop-before', { fullPage: true });

  await page.locator('#new-name').fill(NAME);
  await page.keyboard.press('Enter');
  const card = page.locator('article', { has: page.locator(`h2:text-is("${NAME}")`) });
  await card.locator('.ingest').waitFor();
  const uid = await card.getAttribute('data-uid');
  const [server] = await valuesOf(card, 'Server');
  const [key] = await valuesOf(card, 'Stream key');
  check('shows where to publish', /^rtmps?:\/\/.+\/live\/$/.test(server) && key.length >= 16, { server });
  const problem = options['levels-problem'];
  if (problem !== undefined) {
    const said = card.locator('.levels-problem', { hasText: problem });
    check('what levels lack is said', await said.waitFor({ timeout: 60_000 }).then(() => true, () => false));
  }
  await shot('desktop-created', { fullPage: true });
  await page.reload();
  await card.locator('.ingest').waitFor();
  check('the key is hidden', !(await card.locator('.ingest').textContent()).includes(key));
  await card.getByRole('button', { name: 'Show stream key' }).click();
  check('the key is shown when asked for', (await card.locator('.ingest').textContent()).includes(key));
  await card.getByRole('button', { name: 'Hide stream key' }).click();

  await keeping({ ...tools, card, uid });

  encoder = publish(server + key);
  const state = async (word, timeout = 60_000) =>
    card.locator('.pill', { hasText: new RegExp(`^${word}$`) }).waitFor({ timeout }).then(() => true, () => false);
  check('goes live', await state('Live'));
  check('the picture moves', await until(playing));
  await settled();
  await shot('desktop-live', { fullPage: true });
  await page.emulateMedia({ colorScheme: 'light' });
  await shot('desktop-live-light', { fullPage: true });
  await page.emulateMedia({ colorScheme: 'dark' });
  await page.setViewportSize(PHONE);
  check('phone: nothing is wider than the screen', await narrow());
  await shot('phone-live', { fullPage: true });
  await page.setViewportSize({ width: 1280, height: 800 });

  await scenarios.run('watch page', url, async (watch) => {
    await watch.open(`/${uid}/watch`);
    check('the watch page plays', await watch.until(playing), await watch.stats());
    check('the watch page names it', (await watch.page.locator('#title').textContent()) === NAME);
    await watch.shot('desktop-watch-live');

    await stop(encoder, 'SIGKILL');
    check('a lost encoder: words on the dashboard', await state('Reconnecting'));
    await shot('desktop-reconnecting', { fullPage: true });
    check('a lost encoder: words for viewers', await watch.until(() => document.querySelector('airwave-player').stats.notice.includes('Waiting')), await watch.stats());
    await watch.settled();
    await watch.shot('desktop-watch-reconnecting');
    const shown = (await watch.stats()).framesShown;
    encoder = publish(server + key);
    check('back on the air', await state('Live'));
    check('the watch page plays on', await watch.until((frames) => {
      const { state, notice, framesShown } = document.querySelector('airwave-player').stats;
      return state === 'live' && notice === '' && framesShown > frames + 60;
    }, { arg: shown }), await watch.stats());

    await stop(encoder, 'SIGINT');
    encoder = null;
    check('the watch page says that it has ended', await watch.until(() => {
      const { state, notice } = document.querySelector('airwave-player').stats;
      return state === 'replay' && notice === 'The broadcast has ended';
    }, { timeout: END_TIMEOUT_MS }), await watch.stats());
    check('the last picture stands', await watch.until(() => {
      const player = document.querySelector('airwave-player');
      return player.shadowRoot.querySelector('.still').hidden && !player.video.seeking && player.video.currentTime > 1;
    }), await watch.stats());
    await watch.settled();
    await watch.shot('desktop-watch-ended');
  }, { expectErrors: true });
  check('off the air', await state('Off the air', END_TIMEOUT_MS));
  await shot('desktop-ended', { fullPage: true });

  const { result: recorded } = await (await page.request.get(`${url}${ACCOUNT}/live_inputs/${uid}/videos`)).json();
  check('what was recorded has its day', recorded.length === 1 && Date.parse(recorded[0].scheduledDeletion) > Date.now() + 29 * DAY_MS, recorded);

  await captions({ ...tools, card });

  await card.getByRole('button', { name: 'Rename' }).click();
  await page.keyboard.type(`${NAME}, renamed`);
  await page.keyboard.press('Enter');
  const renamed = page.locator(`article[data-uid="${uid}"]`);
  check('renamed', await renamed.locator('h2', { hasText: 'renamed' }).waitFor().then(() => true, () => false));
  await renamed.getByRole('button', { name: 'Disable' }).click();
  check('disabled', await renamed.locator('.pill.disabled').waitFor().then(() => true, () => false));
  await renamed.getByRole('button', { name: 'Enable' }).click();
  await renamed.getByRole('button', { name: 'Disable' }).waitFor();
  await renamed.getByRole('button', { name: 'New key' }).click();
  await shot('desktop-new-key');
  await page.locator('dialog[open] .danger').click();
  await page.locator('dialog[open]').waitFor({ state: 'detached' });
  await renamed.getByRole('button', { name: 'Show stream key' }).click();
  const [newKey] = await valuesOf(renamed, 'Stream key');
  check('the key is another one', newKey.length >= 16 && newKey !== key);
  await renamed.getByRole('button', { name: 'Delete', exact: true }).first().click();
  check('deleting says what is kept', (await page.locator('dialog[open]').textContent()).includes('Recordings are kept'));
  await shot('desktop-delete');
  await page.keyboard.press('Escape');
  check('escape deletes nothing', await renamed.isVisible());
  await renamed.getByRole('button', { name: 'Delete', exact: true }).first().click();
  await page.locator('dialog[open] .danger').click();
  check('deleted', await renamed.waitFor({ state: 'detached' }).then(() => true, () => false));
  // A server without a list of recordings says so with a 404.
  // What is no WebVTT is refused, and so are days beyond counting.
}, { mayFail: /\/live_inputs\/\w+\/videos$|\/captions\/en$|\/live_inputs\/\w+$/ });

encoder?.kill('SIGKILL');
front?.close();
process.exit(await scenarios.finish());

/** Whether it is recorded, and for how long, as the server has it then. */
async function keeping({ page, card, uid, settled, shot, narrow }) {
  const panel = card.locator('.recordings');
  const record = panel.getByRole('switch');
  const days = panel.getByLabel('Days after which recordings are deleted');
  const says = (part) => panel.locator('.hint', { hasText: part }).waitFor().then(() => true, () => false);
  const kept = async () => (await (await page.request.get(`${url}${ACCOUNT}/live_inputs/${uid}`)).json()).result;
  await panel.locator('summary').click();
  check('recordings: on, where nothing else is said', (await record.isChecked()) && (await says('1 GB of its disk')));
  await record.press('Space');
  check('recordings: off', (await says('gone when it is over')) && (await kept()).recording.mode === 'off');
  await record.press('Space');
  check('recordings: on again', (await says('1 GB of its disk')) && (await kept()).recording.mode === 'automatic');
  await days.fill('99999999999');
  await page.keyboard.press('Enter');
  check('recordings: a number that is refused, in words', await panel.locator('.problem', { hasText: 'whole number of days' }).waitFor().then(() => true, () => false));
  await days.fill('30');
  await page.keyboard.press('Enter');
  check('recordings: for thirty days', (await says('30 days after')) && (await kept()).deleteRecordingAfterDays === 30);
  await page.setViewportSize(PHONE);
  check('recordings: nothing is wider than a phone', await narrow());
  await settled();
  await shot('phone-recordings', { fullPage: true });
  await page.setViewportSize({ width: 1280, height: 800 });
  await panel.locator('summary').click();
}

/** A file of captions for what was recorded: by keyboard, refused, added, taken back. */
async function captions({ page, card, settled, shot, narrow }) {
  await card.locator('.recordings summary').first().click();
  const recording = card.locator('.recordings > ul > li').first();
  const button = recording.getByRole('button', { name: /^Captions of/ });
  await button.focus();
  await page.keyboard.press('Enter');
  const shown = (locator) => locator.waitFor().then(() => true, () => false);
  check('captions: none yet', await shown(recording.getByText('There are no captions yet.')));
  const file = (text) => ({ name: 'words.vtt', mimeType: 'text/vtt', buffer: Buffer.from(text) });
  const choose = async (language, text) => {
    await recording.getByLabel('Language').fill(language);
    await recording.getByLabel('WebVTT file').setInputFiles(file(text));
    await recording.getByRole('button', { name: 'Add captions' }).focus();
    await page.keyboard.press('Enter');
  };
  await choose('en', '1\n00:00:01,000 --> 00:00:02,000\nSRT\n');
  check('captions: what is no WebVTT is refused in words', await shown(recording.locator('.problem', { hasText: 'WebVTT' })));
  await choose('en', 'WEBVTT\n\n00:00.000 --> 00:01.000\nSaid\n');
  check('captions: added, by the name of the language', await shown(recording.locator('.captions li', { hasText: 'English' })));
  await choose('pt-BR', 'WEBVTT\n\n00:00.000 --> 00:01.000\nDito\n');
  check('captions: another language beside it', (await shown(recording.locator('.captions li', { hasText: 'pt-BR' }))) && (await recording.locator('.captions li').count()) === 2);
  await settled();
  await shot('desktop-captions', { fullPage: true });
  await page.setViewportSize(PHONE);
  check('captions: nothing is wider than a phone', await narrow());
  const { width } = await recording.locator('.what').first().boundingBox();
  check('captions: a name keeps its room beside four buttons', width > 140, width);
  await settled();
  await shot('phone-captions', { fullPage: true });
  await page.setViewportSize({ width: 1280, height: 800 });
  const address = await recording.locator('.what a').first().getAttribute('href');
  const list = await page.request.get(new URL(address.replace(/watch$/, 'manifest/video.m3u8'), url).href);
  check('captions: players have both', ((await list.text()).match(/TYPE=SUBTITLES/g) ?? []).length === 2, address);
  await recording.getByRole('button', { name: /^Delete the captions in English/ }).click();
  await page.locator('dialog[open] .danger').click();
  check('captions: and one of them no more', await recording.locator('.captions li', { hasText: 'English' }).waitFor({ state: 'detached' }).then(() => true, () => false));
  check('captions: the other one stays', (await recording.locator('.captions li').count()) === 1);
  await button.click();
}

/** What stands beside a label of an input's addresses. */
function valuesOf(card, label) {
  return card.locator(`.ingest dt:text-is("${label}") + dd code`).allTextContents();
}

function publish(to) {
  const encode = ['-c:v', 'libx264', '-preset', 'ultrafast', '-tune', 'zerolatency', '-g', '30', '-b:v', '1500k', '-c:a', 'aac'];
  return spawn('ffmpeg', [...sourceArgs({ size: '640x360' }), ...encode, '-f', 'flv', to], { stdio: 'ignore' });
}

async function stop(process, signal) {
  const gone = once(process, 'exit');
  process.kill(signal);
  await gone;
}
