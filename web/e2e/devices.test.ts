/** What the publisher page opens: cameras, microphones, screens. */
import { afterEach, expect, it, vi } from 'vitest';
import { open, withMicrophone } from '../src/publish/devices';

class Stream {
  constructor(readonly tracks: string[]) {}
  getVideoTracks = () => this.tracks.filter((track) => !track.startsWith('sound'));
  getAudioTracks = () => this.tracks.filter((track) => track.startsWith('sound'));
  addTrack = (track: string) => void this.tracks.push(track);
}

/** Asked for, in turn. */
let asked: object[] = [];

/** `screen`: what the dialog gives; `microphone`: null, none is there. */
function devices(screen: string[], microphone: string | null): void {
  asked = [];
  vi.stubGlobal('MediaStream', Stream);
  vi.stubGlobal('navigator', {
    mediaDevices: {
      getDisplayMedia: (constraints: object) => {
        asked.push(constraints);
        return Promise.resolve(new Stream([...screen]));
      },
      getUserMedia: (constraints: { video?: object; audio?: object }) => {
        asked.push(constraints);
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
