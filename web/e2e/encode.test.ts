/** What the publisher page tells the browser's encoder: when key frames come, which camera, which codec. */
import { afterEach, expect, it, vi } from 'vitest';
import { SCREEN_MAX } from '../src/publish/devices';
import { type VideoFormat, VideoSource } from '../src/publish/encode';

const size = { width: 640, height: 360 };

class Frame {
  displayWidth = size.width;
  displayHeight = size.height;
  timestamp: number;
  camera: string;
  constructor(from: { timestamp: number; camera: string } | Frame, init?: { timestamp: number }) {
    this.camera = from.camera;
    this.timestamp = init?.timestamp ?? from.timestamp;
  }
  close(): void {}
}

/** What was encoded: of which camera, `!` a key frame. */
let encoded: string[] = [];
let encodedAtUs: number[] = [];
let codec = '';
/** What each camera gives next. */
const cameras = new Map<string, ReadableStreamDefaultController<Frame>>();

type Asked = { codec: string; width: number; height: number };

function browser(supports: (asked: Asked) => boolean, saysInMs = 0): void {
  encoded = [];
  encodedAtUs = [];
  cameras.clear();
  vi.stubGlobal('VideoFrame', Frame);
  vi.stubGlobal('MediaStreamTrackProcessor', class {
    readable: ReadableStream<Frame>;
    constructor({ track }: { track: { id: string } }) {
      this.readable = new ReadableStream({ start: (controller) => void cameras.set(track.id, controller) });
    }
  });
  vi.stubGlobal('VideoEncoder', class {
    static isConfigSupported = async (config: Asked) => {
      if (saysInMs > 0) await new Promise((resolve) => setTimeout(resolve, saysInMs));
      return { supported: supports(config) };
    };
    state = 'configured';
    encodeQueueSize = 0;
    configure(config: { codec: string }): void {
      codec = config.codec;
    }
    encode(frame: Frame, { keyFrame }: { keyFrame: boolean }): void {
      encoded.push(frame.camera + (keyFrame ? '!' : ''));
      encodedAtUs.push(frame.timestamp);
    }
    close(): void {
      this.state = 'closed';
    }
  });
}

const camera = (id: string) => ({ id }) as unknown as MediaStreamTrack;

async function shows(id: string, atS: number): Promise<void> {
  cameras.get(id)?.enqueue(new Frame({ timestamp: atS * 1_000_000, camera: id }));
  await new Promise((resolve) => setTimeout(resolve, 0));
}

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
  Object.assign(size, { width: 640, height: 360 });
});

it('makes a key frame each two seconds, and one a second where viewers ask for it', async () => {
  browser(() => true);
  const source = new VideoSource(camera('a'), () => {}, () => {}, () => {});
  for (const atS of [0, 1, 1.9, 2]) await shows('a', atS);
  expect(encoded.splice(0)).toEqual(['a!', 'a', 'a', 'a!']);
  // However often.
  for (const atS of [2.2, 2.4, 2.9, 3, 3.2]) {
    source.askForKey();
    await shows('a', atS);
  }
  expect(encoded.splice(0)).toEqual(['a', 'a', 'a', 'a!', 'a']);
  for (const atS of [4, 4.2, 5.9, 6]) await shows('a', atS);
  expect(encoded).toEqual(['a!', 'a', 'a', 'a!']);
});

it('goes on with another camera at a key frame, and with nothing more of the old one', async () => {
  browser(() => true);
  const source = new VideoSource(camera('a'), () => {}, () => {}, () => {});
  for (const atS of [0, 0.1]) await shows('a', atS);
  source.replace(camera('b'));
  expect(() => cameras.get('a')?.enqueue(new Frame({ timestamp: 200_000, camera: 'a' }))).toThrow();
  for (const atS of [0.2, 0.3]) await shows('b', atS);
  expect(encoded).toEqual(['a!', 'a', 'b!', 'b']);
});

it.each([
  ['H.264', 'avc1', 'avc1.42e01f'],
  ['VP9, where there is no H.264', 'vp09', 'vp09.00.31.08'],
  ['AV1, where there is neither', 'av01', 'av01.0.05M.08'],
])('encodes %s', async (_name, family, expected) => {
  const all = ['avc1', 'vp09', 'av01'];
  browser((asked) => all.indexOf(asked.codec.slice(0, 4)) >= all.indexOf(family));
  const formats: VideoFormat[] = [];
  const source = new VideoSource(camera('a'), (format) => formats.push(format), () => {}, () => {});
  await shows('a', 0);
  expect([codec, formats]).toEqual([expected, [{ codec: expected, width: 640, height: 360, bitrate: 691_200 }]]);
  source.stop();
});

it('says so where the browser can encode none of them', async () => {
  browser(() => false);
  const onError = vi.fn();
  new VideoSource(camera('a'), () => {}, () => {}, onError);
  await shows('a', 0);
  expect([onError.mock.calls.length, encoded]).toEqual([1, []]);
});

it('dates a picture by when it came, however long the browser takes to say what it can encode', async () => {
  vi.useFakeTimers();
  browser(() => true, 300);
  new VideoSource(camera('a'), () => {}, () => {}, () => {});
  const nowUs = () => (performance.timeOrigin + performance.now()) * 1000;
  const cameUs = Math.round(nowUs());
  cameras.get('a')?.enqueue(new Frame({ timestamp: 7_000_000, camera: 'a' }));
  await vi.advanceTimersByTimeAsync(400);
  cameras.get('a')?.enqueue(new Frame({ timestamp: 7_400_000, camera: 'a' }));
  await vi.advanceTimersByTimeAsync(0);
  expect(encodedAtUs.map((us) => us - cameUs)).toEqual([0, 400_000]);
});

/** Macroblocks of a picture by level (ITU-T H.264 table A-1), which is what Chromium holds a configuration to. */
const LEVELS: Record<string, number> = { '1f': 3_600, '28': 8_192 };

it('encodes the largest picture that a screen is taken in as H.264', async () => {
  const macroblocks = ({ width, height }: Asked) => Math.ceil(width / 16) * Math.ceil(height / 16);
  browser((asked) => !asked.codec.startsWith('avc1') || macroblocks(asked) <= (LEVELS[asked.codec.slice(-2)] ?? 0));
  Object.assign(size, SCREEN_MAX);
  new VideoSource(camera('a'), () => {}, () => {}, () => {});
  await shows('a', 0);
  expect(codec).toBe('avc1.42e028');
});
