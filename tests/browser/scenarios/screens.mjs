// Another screen. No browser here finds a device: `remote` of media elements and AirPlay's part of Safari are stood in for, as the
// standard and WebKit describe them. What a device does with the playlist is not seen here.
const shown = (part) => document.querySelector('airwave-player').shadowRoot.querySelector(`[data-part="${part}"]`).checkVisibility();
const playing = () => document.querySelector('airwave-player').stats.framesShown > 20 && !document.querySelector('airwave-player').video.paused;
const pressed = (wanted) => document.querySelector('airwave-player').shadowRoot.querySelector('[data-part="remote"]').getAttribute('aria-pressed') === wanted;

/** `next`: what is looked at while it plays there. */
export async function cast({ check, page, open, until, stats, shadow, settled, shot }, { id, next = null }) {
  await page.addInitScript(chromecast);
  await open(`/${id}/iframe?autoplay=true&muted=true`);
  check('cast: plays', await until(playing), await stats());
  check('cast: the button is there', await until(shown, { arg: 'remote' }), await page.evaluate(() => window.screens.map(({ element }) => element.src)));
  await settled();
  await shot('desktop-cast');
  await shadow('[data-part="remote"]').click();
  check('cast: the device is asked for the playlist', await until((list) => window.screens.some(({ element, state, plays }) => state === 'connected' && plays === 1 && element.src === list), { arg: new URL(`/${id}/manifest/video.m3u8`, page.url()).href }));
  check('cast: the picture here pauses', await until(() => document.querySelector('airwave-player').video.paused), await stats());
  check('cast: the button says so', await until(pressed, { arg: 'true' }));
  await settled();
  await shot('desktop-cast-connected');
  const here = () => page.evaluate(() => !document.querySelector('airwave-player').video.paused);
  const label = () => shadow('[data-part="play"]').getAttribute('aria-label');
  for (const [does, wanted, says] of [['pauses', 0, 'Play (space)'], ['plays', 1, 'Pause (space)']]) {
    await shadow('[data-part="play"]').click();
    const there = await page.evaluate(() => window.screens.find(({ state }) => state === 'connected').plays);
    check(`cast: the button here ${does} it there, and not here`, there === wanted && !(await here()) && (await label()) === says, { there, here: await here(), label: await label() });
  }
  await next?.();
  const before = (await stats()).framesShown;
  await page.evaluate(() => window.screens.find(({ state }) => state === 'connected').become('disconnected'));
  check('cast: and goes on here', await until((frames) => document.querySelector('airwave-player').stats.framesShown !== frames && !document.querySelector('airwave-player').video.paused, { arg: before }), await stats());
  check('cast: the device has nothing more', await page.evaluate(() => window.screens.every(({ plays }) => plays === 0)));
  await page.evaluate(() => {
    window.screens.find(({ element }) => element.src !== '' && !element.src.startsWith('blob:')).become('connected');
    document.querySelector('airwave-player').remove();
  });
  check('cast: nor of a player that is off the page', await page.evaluate(() => window.screens.every(({ plays, element }) => plays === 0 && !/^http/.test(element.src))));
}

export async function airPlay({ check, page, open, until, stats, shadow, settled, shot }, { id }) {
  await page.addInitScript(safari);
  await open(`/${id}/iframe?autoplay=true&muted=true`);
  check('airplay: plays over MoQ, beside a playlist', await until(playing), await stats());
  const { mode } = await stats();
  const sources = await page.evaluate(() => [...document.querySelector('airwave-player').video.querySelectorAll('source')].map(({ type, src }) => `${type} ${src.split(':')[0]} ${new URL(src).pathname}`));
  const list = `application/vnd.apple.mpegurl http /${id}/manifest/video.m3u8`;
  check('airplay: which is the second source', mode === 'MoQ' && sources.length === 2 && sources[0].startsWith('video/mp4 blob') && sources[1] === list, { mode, sources });
  await page.evaluate(() => {
    const { video } = document.querySelector('airwave-player');
    video.dispatchEvent(Object.assign(new Event('webkitplaybacktargetavailabilitychanged'), { availability: 'available' }));
  });
  check('airplay: the button is there', await until(shown, { arg: 'remote' }));
  await settled();
  await shot('desktop-airplay');
  await shadow('[data-part="remote"]').click();
  check('airplay: it opens the list of devices', await until(() => window.picked === 1));
}

/** Runs in the page. A device is there for what has an address, as in Chromium. */
function chromecast() {
  window.screens = [];
  Object.defineProperty(HTMLMediaElement.prototype, 'remote', {
    configurable: true,
    get() {
      const known = window.screens.find(({ element }) => element === this);
      if (known !== undefined) return known;
      const screen = Object.assign(new EventTarget(), {
        element: this,
        state: 'disconnected',
        plays: 0,
        loads: 0,
        become(state) {
          screen.state = state;
          const event = { connecting: 'connecting', connected: 'connect', disconnected: 'disconnect' }[state];
          screen.dispatchEvent(new Event(event));
        },
        async prompt() {
          screen.become('connecting');
          screen.become('connected');
        },
        async watchAvailability(tell) {
          const look = () => tell(/^https?:/.test(screen.element.src));
          new MutationObserver(look).observe(screen.element, { attributeFilter: ['src'] });
          look();
          return 1;
        },
        async cancelWatchAvailability() {},
      });
      window.screens.push(screen);
      return screen;
    },
  });
  // The device plays it, and not this browser.
  const { play, pause, load } = HTMLMediaElement.prototype;
  const { get: paused } = Object.getOwnPropertyDescriptor(HTMLMediaElement.prototype, 'paused');
  const there = (element) => window.screens.find((screen) => screen.element === element && !/^(blob:|$)/.test(element.src));
  HTMLMediaElement.prototype.play = function () {
    if (there(this) === undefined) return play.call(this);
    there(this).plays++;
    this.dispatchEvent(new Event('play'));
    return Promise.resolve();
  };
  HTMLMediaElement.prototype.pause = function () {
    if (there(this) === undefined) return pause.call(this);
    there(this).plays--;
    this.dispatchEvent(new Event('pause'));
  };
  HTMLMediaElement.prototype.load = function () {
    if (there(this) === undefined) return load.call(this);
    there(this).plays = 0;
    there(this).loads++;
  };
  Object.defineProperty(HTMLMediaElement.prototype, 'paused', {
    configurable: true,
    get() {
      return there(this) === undefined ? paused.call(this) : there(this).plays === 0;
    },
  });
}

/** Runs in the page. Whole parts: Safari's pages have no frame by frame. */
function safari() {
  delete window.VideoDecoder;
  delete HTMLMediaElement.prototype.remote;
  window.WebKitPlaybackTargetAvailabilityEvent = class extends Event {};
  window.ManagedMediaSource = class {};
  window.picked = 0;
  HTMLVideoElement.prototype.webkitShowPlaybackTargetPicker = () => window.picked++;
}
