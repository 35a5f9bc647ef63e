/** The engine of bare frames, where what comes can't be decoded. */
import { expect, it, vi } from 'vitest';
import type { MoqObject } from '../src/moq/objects';
import { writePairs } from '../src/moq/wire';
import type { EngineEvents } from '../src/player/engine';

type Take = (object: MoqObject, first: boolean) => void;

const takes: Take[] = [];
const followed = { close: () => {}, isLagging: () => Promise.resolve(false) };

vi.mock('../src/moq/broadcast', () => ({
  Broadcast: {
    open: () =>
      Promise.resolve({
        catalog: { complete: false, tracks: [{ name: 'video', role: 'video', timescale: 1_000, init: null }] },
        follow: (_name: string, _priority: number, take: Take) => {
          takes.push(take);
          return followed;
        },
        close: () => {},
      }),
  },
}));
vi.mock('../src/player/decoding', () => ({ canDecode: () => Promise.resolve(true), videoConfig: () => ({}) }));

it('leaves the way where the server has sent us, which is open', async () => {
  vi.stubGlobal('window', globalThis);
  vi.stubGlobal('MediaStream', class {});
  vi.stubGlobal('MediaStreamTrackGenerator', class {
    writable = new WritableStream();
  });
  vi.stubGlobal('VideoDecoder', class {
    constructor() {
      throw new Error('it does not');
    }
  });
  const { RealTimeEngine } = await import('../src/player/real-time-engine');
  const address = { url: 'https://b.example:4443/in', certificate: null };
  const onPathLost = vi.fn();
  const events: EngineEvents = { onLive: () => {}, onFailure: () => {}, onPathLost };
  const video = new EventTarget() as unknown as HTMLVideoElement;
  void RealTimeEngine.open(video, { address, namespace: ['default', 'in'] }, events).catch(() => {});
  await vi.waitFor(() => expect(takes).toHaveLength(1));
  takes[0]?.({ group: 0, id: 0, properties: writePairs([[0x10, 0]]), payload: new Uint8Array() }, true);
  expect(onPathLost.mock.calls).toEqual([['open', address]]);
});
