/** What the publisher page opens: cameras, microphones, screens. */
import { afterEach, expect, it, vi } from 'vitest';
import { open, withMicrophone, words } from '../src/publish/devices';

class Stream {
  constructor(readonly tracks: string[]) {}
  getVideoTracks = () => this.tracks.filter((track) => !track.startsWith('sound'));
  getAudioTracks = () => this.tracks.filter((track) => track.startsWith('sound'));
  addTrack = (track: string) => void this.tracks.push(track);
}

interface Wanted {
  deviceId?: { exact?: string };
}

/** Asked for, in turn. */
let asked: object[] = [];

/** `screen`: what the dialog gives; `microphone`: null, none is there; `gone`: what was unplugged since it was chosen. */
function devices(screen: string[], microphone: string | null, gone: string[] = []): void {
  asked = [];
  vi.stubGlobal('MediaStream', Stream);
  vi.stubGlobal('navigator', {
    mediaDevices: {
      getDisplayMedia: (constraints: object) => {
        asked.push(constraints);
        return Promise.resolve(new Stream([...screen]));
      },
      getUserMedia: (constraints: { video?: Wanted; audio?: Wanted }) => {
        asked.push(constraints);
        const wanted = [constraints.video, constraints.audio].map((of) => of?.deviceId?.exact ?? '');
        if (wanted.some((id) => gone.includes(id))) return Promise.reject(Object.assign(new Error(), { name: 'OverconstrainedError' }));
        if (constraints.audio !== undefined && microphone === null) return Promise.reject(new DOMException('', 'NotFoundError'));
        return Promise.resolve(new Stream([...(constraints.video ? ['camera'] : []), ...(constraints.audio ? [`sound of ${microphone}`] : [])]));
      },
    },
  });
}

const tracks = (stream: MediaStream | null) => (stream as unknown as Stream | null)?.tracks ?? null;

afterEach(() => vi.unstubAllGlobals());

it.each([
  ['a screen with a sound of its own', 'screen', ['screen', 'sound of it'], 'a', ['screen', 'sound of it'], 1],
  ['a screen beside a microphone', 'screen', ['screen'], 'a', ['screen', 'sound of a'], 2],
  ['a screen alone', 'screen', ['screen'], null, ['screen'], 2],
  ['a camera and a microphone', 'camera', [], 'a', ['camera', 'sound of a'], 1],
  ['a camera alone', 'camera', [], null, ['camera'], 2],
] as const)('opens %s', async (_name, picture, screen, microphone, expected, times) => {
  devices([...screen], microphone);
  expect(tracks(await open({ picture, camera: 'c', microphone: 'm' }))).toEqual(expected);
  expect(asked).toHaveLength(times);
  const exact = (deviceId: string) => expect.objectContaining({ deviceId: { exact: deviceId } }) as object;
  if (picture === 'camera') expect(asked[0]).toEqual({ video: exact('c'), audio: exact('m') });
  else expect(asked.slice(1)).toEqual(times === 1 ? [] : [{ audio: exact('m') }]);
});

it('puts another microphone beside a screen, unless that has a sound of its own', async () => {
  devices(['screen'], 'b');
  const screen = await open({ picture: 'screen', camera: '', microphone: '' });
  expect(tracks(await withMicrophone(screen, 'b'))).toEqual(['screen', 'sound of b']);
  devices(['screen', 'sound of it'], 'b');
  const sounding = await open({ picture: 'screen', camera: '', microphone: '' });
  expect(tracks(await withMicrophone(sounding, 'b'))).toBeNull();
});

it.each([
  ['camera', 'c', ['camera', 'sound of a']],
  ['microphone', 'm', ['camera', 'sound of a']],
  ['microphone beside a screen', 'm', ['screen', 'sound of a']],
] as const)('opens what there is instead of a %s that is gone', async (_name, gone, expected) => {
  devices(['screen'], 'a', [gone]);
  expect(tracks(await open({ picture: expected[0], camera: 'c', microphone: 'm' }))).toEqual(expected);
  // What is still there is wanted all the same.
  expect(asked.at(-1)).toEqual(expect.objectContaining({ audio: expect.objectContaining({ deviceId: { ideal: 'm' } }) as object }));
});

it('says that there is none, where there is none', async () => {
  devices([], null, ['c']);
  expect(tracks(await open({ picture: 'camera', camera: 'c', microphone: 'm' }))).toEqual(['camera']);
  devices([], 'a');
  vi.stubGlobal('navigator', { mediaDevices: { getUserMedia: () => Promise.reject(new DOMException('', 'NotFoundError')) } });
  const error = await open({ picture: 'camera', camera: 'c', microphone: 'm' }).catch((error: unknown) => error);
  expect(words(error)).toBe('There is no such camera or microphone.');
});

it('takes no screen in that is too large to be H.264', async () => {
  devices(['screen', 'sound of it'], 'a');
  await open({ picture: 'screen', camera: '', microphone: '' });
  const most = (max: number) => expect.objectContaining({ max }) as object;
  expect(asked[0]).toEqual(expect.objectContaining({ video: expect.objectContaining({ width: most(1920), height: most(1080) }) as object }));
});
