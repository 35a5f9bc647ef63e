// The React wrapper on a page of another origin: the live picture, props that change, events that arrive.
import { startEmbedding } from '../lib/embedding.mjs';

/** `script`: the page's, built. `sizes`: of the picture, one of them. */
export async function playedInReact({ check, page, until }, { server, id, sizes, script }) {
  const embedding = await startEmbedding({
    head: '<script type="module" src="/page.js"></script>',
    body: '<div id="app" style="width: 640px"></div>',
    script,
  });
  await page.goto(embedding.url);
  await page.evaluate((props) => window.show(props), {
    host: server,
    src: id,
    autoplay: true,
    muted: true,
    controls: true,
    volume: 0.25,
    title: 'A live picture',
  });
  const player = () => page.frames().find((frame) => frame.url().startsWith(`${server}/${id}/iframe`));
  check('react: an iframe of the server', await until((title) => document.querySelector('iframe')?.title === title, { arg: 'A live picture' }));
  // The element is there before what it shows is on its way.
  if (!player()) await page.waitForEvent('framenavigated', { predicate: () => player() !== undefined, timeout: 60_000 });
  const inside = (state, arg) => player().waitForFunction(state, arg, { timeout: 60_000 }).then(() => true, () => false);
  check('react: frames are shown', await inside(() => window.airwave?.player.stats.framesShown > 30));
  const heard = (names) => until((names) => names.every((name) => window.heard.includes(name)), { arg: names });
  check('react: events arrive', await heard(['loadedmetadata', 'playing', 'timeupdate']), await page.evaluate(() => window.heard));
  check('react: the box has the shape of the picture', await until((sizes) => {
    const { aspectRatio } = document.querySelector('#app > div').style;
    return sizes.some(([width, height]) => aspectRatio === `${width} / ${height}`);
  }, { arg: sizes }));
  check('react: what is not in the address was told', await inside(() => window.airwave.player.volume === 0.25));

  const first = player();
  await page.evaluate(() => {
    window.heard.length = 0;
    window.change({ muted: false, volume: 0.5, controls: false, primaryColor: '#204080' });
  });
  check('react: changed props reach the player', await inside(() => {
    const { player } = window.airwave;
    const accent = getComputedStyle(player.controls.frame).getPropertyValue('--accent');
    return !player.muted && player.volume === 0.5 && !player.shadowRoot.querySelector('.bar').checkVisibility() && accent === '#204080';
  }));
  check('react: and its events the page', await heard(['volumechange']));
  await page.evaluate(() => window.streamRef.current.pause());
  check('react: streamRef pauses', (await heard(['pause'])) && (await page.evaluate(() => window.streamRef.current.paused)));
  check('react: and plays', (await page.evaluate(() => window.streamRef.current.play().then(() => 'playing', ({ name }) => name))) === 'playing');
  check('react: it is the same player', player() === first && page.frames().length === 2);
  await page.evaluate(() => window.change(null));
  check('react: is gone when it is taken away', await until(() => document.querySelector('iframe') === null));
  embedding.close();
}
