// What a viewer can choose: quality, audio, captions, speed. Against the make-believe server, and its qualities also
// against a running Airwave.

const options = () => [...document.querySelector('airwave-player').shadowRoot.querySelectorAll('.menu [data-value]')].map((item) => (item.ariaChecked === 'true' ? '*' : '') + item.textContent);
const has = (wanted) => wanted.every((label) => [...document.querySelector('airwave-player').shadowRoot.querySelectorAll('.menu [data-value]')].some((item) => (item.ariaChecked === 'true' ? '*' : '') + item.textContent === label));
const playing = () => document.querySelector('airwave-player').stats.framesShown > 20;
const height = (wanted) => document.querySelector('airwave-player').video.videoHeight === wanted;
const captions = (wanted) => [...document.querySelector('airwave-player').video.textTracks].some(({ mode, language }) => mode === 'showing' && language === wanted);
const closed = () => document.querySelector('airwave-player').shadowRoot.querySelector('.menu').hidden;

/** Two qualities, by keyboard alone. `heights`: the best first. */
export async function quality({ check, page, until, stats, shot, settled }, heights) {
  const [best, least] = heights;
  check('quality: plays', await until(playing), await stats());
  await page.keyboard.press('s');
  check('quality: both, and which one Auto took', await until(has, { arg: [`${best}p`, `${least}p`] }), await page.evaluate(options));
  const focused = () => page.evaluate(() => document.querySelector('airwave-player').shadowRoot.activeElement?.textContent);
  check('quality: the menu has the focus', (await focused())?.startsWith('Auto'), await focused());
  await settled();
  await shot('desktop-menu');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowDown');
  check('quality: arrows go through it', (await focused()) === `${least}p`, await focused());
  await page.keyboard.press('Enter');
  check('quality: choosing closes the menu', await until(closed));
  check('quality: the picture is the smaller one', await until(height, { arg: least }), await stats());
  await page.keyboard.press('s');
  check('quality: the choice is marked', await until(has, { arg: ['Auto', `${best}p`, `*${least}p`] }), await page.evaluate(options));
  await page.keyboard.press('ArrowUp');
  await page.keyboard.press('Enter');
  check('quality: and the larger one again', await until(height, { arg: best }), await stats());
  await page.keyboard.press('s');
  await page.keyboard.press('Escape');
  check('quality: escape closes the menu', await until(closed));
  check('quality: the button has the focus again', (await page.evaluate(() => document.querySelector('airwave-player').shadowRoot.activeElement?.dataset.part)) === 'settings');
  const before = (await stats()).framesShown;
  check('quality: plays on', await until((frames) => document.querySelector('airwave-player').stats.framesShown > frames, { arg: before + 60 }), await stats());
}

/** The sounds by their names, of which the first one plays. */
export async function named({ check, page, until, stats }, [first, ...others]) {
  check('named: plays', await until(playing), await stats());
  await page.keyboard.press('s');
  check('named: the sounds have the names of their languages', await until(has, { arg: [`*${first}`, ...others] }), await page.evaluate(options));
  await page.keyboard.press('Escape');
}

/** Two sounds, which are a tone each: what is chosen is what is heard. The page has `lib/measure.mjs`. */
export async function sounds({ check, page, until, shadow }, tones) {
  await page.evaluate(() => {
    document.querySelector('airwave-player').muted = false;
  });
  for (const [at, hertz] of [tones[0], tones[1], tones[0]].entries()) {
    await page.keyboard.press('s');
    await shadow(`[data-value="audio/${at % 2}"]`).click();
    check(`sounds: ${hertz} Hz when it is chosen`, await until(heard, { arg: hertz }), await page.evaluate(() => window.measure.readTone()));
  }
}

/** Runs in the page. Another way to the server is another source of sound. */
function heard(hertz) {
  const { video } = document.querySelector('airwave-player');
  const source = video.srcObject ?? video;
  if (window.listenedTo !== source) {
    window.listenedTo = source;
    void window.measure.listen(video);
    return false;
  }
  const tone = window.measure.readTone();
  return tone?.levelDb > -50 && Math.abs(tone.frequencyHz - hertz) < 25;
}

export async function languages({ check, page, until, stats, shadow, shot, settled }) {
  await page.keyboard.press('s');
  await shadow('[data-value="audio/1"]').click();
  await page.keyboard.press('s');
  check('languages: the other sound', await until(has, { arg: ['English', '*German', '*Off'] }), await page.evaluate(options));
  const strange = await page.evaluate(() => {
    const { shadowRoot, video } = document.querySelector('airwave-player');
    const items = [...shadowRoot.querySelectorAll('.menu [data-value]')].filter(({ textContent }) => textContent.includes('<img'));
    return { items: items.length, elements: shadowRoot.querySelectorAll('[onerror], script').length, title: document.title, tracks: video.textTracks.length };
  });
  check('languages: hostile names of sound and captions are text', strange.items === 2 && strange.elements === 0 && strange.title !== 'hacked', strange);
  await page.keyboard.press('Escape');
  await page.keyboard.press('c');
  // Which captions are chosen, not their lines: whole files of WebVTT come too late for a picture at the live edge.
  check('languages: captions', await until(captions, { arg: 'en' }), await stats());
  check('languages: the button says so', (await shadow('[data-part="captions"]').getAttribute('aria-pressed')) === 'true');
  await settled();
  await shot('desktop-captions');
  await page.keyboard.press('s');
  await shadow('[data-value="captions/1"]').click();
  check('languages: captions in the other language', await until(captions, { arg: 'de' }));
}

/** The replay plays. */
export async function lines({ check, page, until, stats }) {
  await page.keyboard.press('c');
  const shown = () => [...document.querySelector('airwave-player').video.textTracks].some(({ mode, activeCues }) => mode === 'showing' && activeCues?.length > 0);
  check('captions: lines on the picture', await until(shown), await stats());
}

/** The broadcast has ended and its replay plays. */
export async function speed({ check, page, until, stats, shadow, shot, settled }) {
  await page.keyboard.press('s');
  await shadow('[data-value="speed/1.5"]').click();
  const rate = (wanted) => document.querySelector('airwave-player').video.playbackRate === wanted;
  check('speed: faster', await until(rate, { arg: 1.5 }), await stats());
  await page.keyboard.press('>');
  check('speed: by key', await until(rate, { arg: 2 }), await stats());
  await page.keyboard.press('s');
  check('speed: is marked', await until(has, { arg: ['Normal', '*2 ×'] }), await page.evaluate(options));
  await settled();
  await shot('desktop-replay-menu');
  await page.keyboard.press('Escape');
  // Where it went to, however far it is by now.
  await page.evaluate(() => {
    const { video } = document.querySelector('airwave-player');
    video.addEventListener('seeking', () => (window.soughtTo = video.currentTime));
  });
  await page.keyboard.press('Home');
  check('speed: Home goes to the start', await until(() => window.soughtTo < 3), await stats());
}
