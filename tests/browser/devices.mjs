// Broadcasts from the page /publish in headless Chromium and changes what is shown and heard while it is live; viewers of the same
// browser watch over MoQ, frame by frame and in whole parts. In the end it waits for another encoder to take its place:
//   node devices.mjs --server http://HOST --input UID --key KEY
// Usage and the meaning of every field: README.md.
import { parseArgs } from 'node:util';
import { launch, Missing } from './lib/chromium.mjs';
import { installMeasure } from './lib/measure.mjs';
import { print } from './lib/script.mjs';
import { udpRelay } from './lib/udp-relay.mjs';

const { values: options } = parseArgs({ options: { server: { type: 'string' }, input: { type: 'string' }, key: { type: 'string' } } });

/** How long anything is waited for: what hangs, not what is slow. */
const PATIENCE_MS = 60_000;
/** More than any buffer holds. */
const FRAMES = 60;
/** Of the microphone's tone. */
const TONE_HZ = 1_000;

await print(main);

async function main() {
  for (const name of ['server', 'input', 'key']) if (!options[name]) throw new Missing(`--${name} is missing`);
  const { port } = await (await fetch(`${options.server}/moq.json`)).json();
  const relay = await udpRelay(new URL(options.server).hostname, port);
  const browser = await launch({ extraArgs: ['--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream', '--auto-select-desktop-capture-source=Entire screen'] });
  try {
    return await broadcast(browser, relay);
  } finally {
    await browser.close();
    relay.close();
  }
}

async function broadcast(browser, relay) {
  // The page's policy names the server's own port, not the relay's.
  const context = await browser.newContext({ viewport: { width: 800, height: 600 }, ignoreHTTPSErrors: true, bypassCSP: true });
  const errors = [];
  const open = async (path, script, argument) => {
    const page = await context.newPage();
    await page.route('**/moq.json', async (route) => {
      const response = await route.fetch();
      await route.fulfill({ response, json: { ...(await response.json()), port: relay.port } });
    });
    page.on('pageerror', (error) => errors.push(error.message));
    page.on('console', (message) => message.type() === 'error' && errors.push(`${message.text()} ${message.location().url}`));
    await page.addInitScript(script, argument);
    await page.goto(options.server + path);
    return page;
  };
  const page = await open(`/publish#input=${options.input}&key=${options.key}`, installDevices, TONE_HZ);
  const until = (page, condition, argument) => page.waitForFunction(condition, argument, { timeout: PATIENCE_MS, polling: 50 });
  await until(page, () => document.getElementById('preview').videoWidth > 0);
  await page.getByRole('button', { name: 'Go live' }).click();
  await until(page, () => !document.getElementById('badge').hidden);

  const viewers = {};
  const watch = `/${options.input}/watch`;
  viewers['Real time'] = await open(watch, installMeasure);
  viewers.MoQ = await open(watch, `(${installMeasure})(); delete window.VideoDecoder;`);
  const steps = [];
  const step = async (name, change, seen) => {
    await change();
    const after = { step: name };
    for (const [mode, viewer] of Object.entries(viewers)) {
      after[mode] = await seen(viewer).then(
        () => viewer.evaluate(() => document.querySelector('airwave-player').stats.mode),
        (error) => `failed: ${error.message.split('\n')[0]}`,
      );
    }
    after.line = await page.locator('#line').textContent();
    after.error = await page.locator('#error').textContent();
    steps.push(after);
    process.stderr.write(`seen: ${JSON.stringify(after)}\n`);
  };
  // On a machine that stands still it takes another way for a while.
  const goesOn = async (viewer) => {
    await until(viewer, shows, 0);
    const shown = await viewer.evaluate(() => document.querySelector('airwave-player').stats.framesShown);
    await until(viewer, shows, shown + FRAMES);
  };
  const heard = async (viewer) => {
    await viewer.evaluate(() => (document.querySelector('airwave-player').muted = false));
    await until(viewer, hears, [TONE_HZ, true]);
    await goesOn(viewer);
  };
  const silent = async (viewer) => {
    await until(viewer, hears, [TONE_HZ, false]);
    await goesOn(viewer);
  };
  const microphone = (samplerate) => () =>
    page.evaluate((samplerate) => {
      window.microphone = samplerate;
      document.getElementById('microphones').dispatchEvent(new Event('change'));
    }, samplerate);

  await step('a picture', () => Promise.resolve(), goesOn);
  await step('sound comes, at 44.1 kHz', microphone(44_100), heard);
  await step('it goes', microphone(0), silent);
  await step('it comes again, at 48 kHz', microphone(48_000), heard);
  await step('a screen', () => page.getByRole('button', { name: 'Screen' }).click(), goesOn);
  const state = () =>
    page.evaluate(() => ({
      error: document.getElementById('error').textContent,
      live: !document.getElementById('badge').hidden,
      button: document.getElementById('go').textContent,
    }));
  // A page that stops a track by itself is not told that it has ended.
  const end = () =>
    page.evaluate(() => {
      const [track] = document.getElementById('preview').srcObject.getVideoTracks();
      track.stop();
      track.dispatchEvent(new Event('ended'));
    });
  await end();
  await until(page, () => document.getElementById('error').textContent !== '');
  const notShared = await state();
  await step('the camera again', () => page.getByRole('button', { name: 'Camera' }).click(), heard);
  await step('the camera is unplugged, and there is another one', end, goesOn);
  const unplug = () => page.evaluate(() => document.getElementById('preview').srcObject.getAudioTracks()[0].stop());
  await step('the microphone is unplugged', unplug, silent);
  const isLive = (live) => document.getElementById('badge').hidden !== live;
  const cutOff = async () => {
    relay.open = false;
    await until(page, isLive, false);
    relay.open = true;
    await until(page, isLive, true);
  };
  await step('its network is gone for a while', cutOff, silent);
  process.stderr.write('waits for another encoder\n');
  await until(page, isLive, false);
  return { steps, notShared, takenOver: await state(), errors };
}

/** Runs in the page: its camera and its screen are Chromium's, and small; its microphone is off, or a tone at `window.microphone` samples a second. */
function installDevices(toneHz) {
  const { mediaDevices } = navigator;
  const getUserMedia = mediaDevices.getUserMedia.bind(mediaDevices);
  const getDisplayMedia = mediaDevices.getDisplayMedia.bind(mediaDevices);
  window.microphone = 0;
  window.contexts = [];
  const sound = () => {
    const context = new AudioContext({ sampleRate: window.microphone });
    window.contexts.push(context);
    const tone = new OscillatorNode(context, { frequency: toneHz });
    const out = context.createMediaStreamDestination();
    tone.connect(new GainNode(context, { gain: 0.25 })).connect(out);
    tone.start();
    void context.resume();
    return out.stream.getAudioTracks();
  };
  // A make-believe one is as large as it may be.
  mediaDevices.getDisplayMedia = ({ video, audio }) => getDisplayMedia({ video: { ...video, width: { max: 640 }, height: { max: 360 } }, audio });
  mediaDevices.getUserMedia = async ({ video, audio }) => {
    const wanted = { width: { ideal: 320 }, height: { ideal: 180 }, frameRate: { ideal: 30 } };
    const picture = video ? (await getUserMedia({ video: wanted })).getVideoTracks() : [];
    return new MediaStream([...picture, ...(audio && window.microphone > 0 ? sound() : [])]);
  };
}

/** Runs in the page: whether so many frames were shown, and more come over MoQ. */
function shows(frames) {
  const stats = document.querySelector('airwave-player')?.stats;
  return stats?.framesShown > frames && ['MoQ', 'Real time'].includes(stats.mode);
}

/** Runs in the page: whether the player sounds like the microphone, or does not. What it plays may have become another stream. */
function hears([toneHz, sounds]) {
  const { video } = document.querySelector('airwave-player');
  const source = video.srcObject === null ? 'element' : `${video.srcObject.id} ${video.srcObject.getAudioTracks().length}`;
  if (source.endsWith(' 0')) return !sounds;
  if (window.listensTo !== source) {
    window.listensTo = source;
    void window.measure.listen(video);
    return false;
  }
  const tone = window.measure.readTone();
  return sounds === (tone?.frequencyHz != null && Math.abs(tone.frequencyHz - toneHz) < 25 && tone.levelDb > -50);
}
