// Back to the start of what is on the air and to live again, over HLS, by keyboard. Against a running Airwave.

const playing = () => document.querySelector('airwave-player').stats.framesShown > 20;
const shownMoreThan = (frames) => document.querySelector('airwave-player').stats.framesShown > frames;
const behindBy = (seconds) => document.querySelector('airwave-player').stats.latencySeconds > seconds;
const nearLive = (seconds) => document.querySelector('airwave-player').stats.latencySeconds < seconds;

export async function leafed({ check, page, until, stats, shadow, shot, settled }) {
  check('dvr: plays', await until(playing), await stats());
  const { mode } = await stats();
  check('dvr: over HLS', mode === 'Low latency', mode);
  await shadow('.frame').focus();
  await page.keyboard.press('Home');
  check('dvr: Home goes back', await until(behindBy, { arg: 15 }), await stats());
  check('dvr: and plays there', await until(shownMoreThan, { arg: (await stats()).framesShown + 60 }), await stats());
  const behind = await stats();
  check('dvr: at its own speed', behind.playbackRate === 1 && behind.latencySeconds > 15, behind);
  await settled();
  await shot('desktop-dvr-real');
  await page.keyboard.press('End');
  check('dvr: End goes to live', await until(nearLive, { arg: 8 }), await stats());
  check('dvr: and plays there', await until(shownMoreThan, { arg: (await stats()).framesShown + 60 }), await stats());
}
