// @vitest-environment happy-dom
import { afterEach, expect, it, vi } from 'vitest';
import '../src/player';
import type { AirwavePlayer } from '../src/player';

afterEach(() => vi.unstubAllGlobals());

/** A player of what the server does not have, once it has said so. */
async function ofNothing(): Promise<AirwavePlayer> {
  vi.stubGlobal('fetch', () => Promise.resolve(new Response('no such video\n', { status: 404 })));
  const player = document.createElement('airwave-player');
  const stopped = new Promise<void>((done) => {
    player.addEventListener('airwave-state', () => {
      if (player.stats.state === 'stopped') done();
    });
  });
  player.setAttribute('src', 'nothing');
  document.body.append(player);
  await stopped;
  return player;
}

it('refuses to play what has failed, each time', async () => {
  const player = await ofNothing();
  for (let n = 0; n < 2; n++) await expect(player.play()).rejects.toMatchObject({ name: 'NotSupportedError' });
  player.remove();
});

it('tells the pace of a live picture, not the one that was wished for', () => {
  const player = document.createElement('airwave-player');
  player.playbackRate = 2;
  expect(player.playbackRate).toBe(2);
  Object.assign(player, { engine: { live: true } });
  expect(player.playbackRate).toBe(1);
});
