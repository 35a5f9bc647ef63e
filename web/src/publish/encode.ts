/** Pictures and sound of a device, encoded by the browser. */

/** In Chromium's windows; not in TypeScript's, as other browsers have it in workers only. */
declare const MediaStreamTrackProcessor: new (init: { track: MediaStreamTrack }) => { readable: ReadableStream };

export interface Encoded {
  data: Uint8Array<ArrayBuffer>;
  sync: boolean;
  /** Microseconds since 1970. */
  timeUs: number;
  /** Decoder configuration, where the codec has one. */
  config: Uint8Array<ArrayBuffer> | null;
}

export interface VideoFormat {
  codec: string;
  width: number;
  height: number;
  bitrate: number;
}

export const AUDIO = { codec: 'opus', samplerate: 48_000, channels: 2, bitrate: 128_000 };

const KEY_FRAME_EVERY_US = 2_000_000;
/** Viewers who ask for a key frame get one at most so often: it costs several times what another picture does. */
const KEY_FRAME_ASKED_US = 1_000_000;
/** More than this many frames inside it: the machine is too slow, and what is new is left out. */
const QUEUE_MAX = 4;

/** The first that this browser can encode. H.264 is what every player plays. */
const CODECS = ['avc1.42e01f', 'avc1.42e028', 'avc1.64001f', 'avc1.640028', 'vp09.00.31.08', 'av01.0.05M.08'];

export function supported(): boolean {
  return ['VideoEncoder', 'AudioEncoder', 'MediaStreamTrackProcessor', 'WebTransport'].every((name) => name in window);
}

async function configOf(width: number, height: number): Promise<VideoEncoderConfig | null> {
  // About 0.1 bit a pixel at 30 frames a second.
  const bitrate = Math.round(Math.min(6_000_000, Math.max(600_000, width * height * 3)));
  for (const codec of CODECS) {
    const config: VideoEncoderConfig = {
      codec, width, height, bitrate, framerate: 30, latencyMode: 'realtime',
      ...(codec.startsWith('avc1') ? { avc: { format: 'avc' } } : {}),
    };
    const found = await VideoEncoder.isConfigSupported(config).catch(() => null);
    if (found?.supported) return config;
  }
  return null;
}

/** Turns times of devices into the wall clock's: what the first one had when it came. Chromium's cameras and screens share a clock, and so do sounds. */
class Clock {
  private offsetUs: number | null = null;

  at(timestampUs: number): number {
    this.offsetUs ??= (performance.timeOrigin + performance.now()) * 1000 - timestampUs;
    return Math.round(timestampUs + this.offsetUs);
  }
}

function bytesOf(source: AllowSharedBufferSource | undefined): Uint8Array<ArrayBuffer> | null {
  if (source === undefined) return null;
  const view = ArrayBuffer.isView(source) ? new Uint8Array(source.buffer, source.byteOffset, source.byteLength) : new Uint8Array(source);
  return Uint8Array.from(view);
}

function copy(chunk: EncodedVideoChunk | EncodedAudioChunk): Uint8Array<ArrayBuffer> {
  const data = new Uint8Array(chunk.byteLength);
  chunk.copyTo(data);
  return data;
}

/** One track's frames, until it is stopped; its own end is told. */
function read<T extends { close(): void }>(track: MediaStreamTrack, take: (frame: T) => void, onEnd = () => {}): () => void {
  const { readable } = new MediaStreamTrackProcessor({ track });
  const reader = (readable as ReadableStream<T>).getReader();
  let stopped = false;
  void (async () => {
    for (let next = await reader.read(); !next.done; next = await reader.read()) take(next.value);
    if (!stopped) onEnd();
  })().catch(() => {});
  return () => {
    stopped = true;
    void reader.cancel().catch(() => {});
  };
}

export class VideoSource {
  private readonly encoder: VideoEncoder;
  private readonly clock = new Clock();
  private config: Uint8Array<ArrayBuffer> | null = null;
  private format: VideoFormat | null = null;
  private configuring = false;
  private keyWanted = true;
  private keyAsked = false;
  private lastKeyUs = 0;
  private stopReading: () => void;
  /** Left out because the encoder was busy. */
  dropped = 0;
  encoded = 0;

  constructor(
    private track: MediaStreamTrack,
    private readonly onFormat: (format: VideoFormat) => void,
    onFrame: (frame: Encoded) => void,
    private readonly onError: (words: string) => void,
  ) {
    this.encoder = new VideoEncoder({
      output: (chunk, metadata) => {
        if (metadata?.decoderConfig) this.config = bytesOf(metadata.decoderConfig.description);
        this.encoded++;
        onFrame({ data: copy(chunk), sync: chunk.type === 'key', timeUs: chunk.timestamp, config: this.config });
      },
      error: (error) => onError(`The picture can't be encoded: ${error.message}`),
    });
    this.stopReading = read<VideoFrame>(track, (frame) => void this.take(frame));
  }

  /** A new camera, while it goes on. */
  replace(track: MediaStreamTrack): void {
    if (track === this.track) return;
    this.track = track;
    this.stopReading();
    this.stopReading = read<VideoFrame>(track, (frame) => void this.take(frame));
    this.keyWanted = true;
  }

  wantKey(): void {
    this.keyWanted = true;
  }

  /** A viewer would like one. */
  askForKey(): void {
    this.keyAsked = true;
  }

  private async take(frame: VideoFrame): Promise<void> {
    try {
      // Of its arrival: a browser may take a while to say what it can encode.
      const timeUs = this.clock.at(frame.timestamp);
      if (!(await this.fits(frame))) return;
      if (this.encoder.encodeQueueSize > QUEUE_MAX) {
        this.dropped++;
        return;
      }
      const sinceKeyUs = timeUs - this.lastKeyUs;
      const keyFrame = this.keyWanted || sinceKeyUs >= (this.keyAsked ? KEY_FRAME_ASKED_US : KEY_FRAME_EVERY_US);
      if (keyFrame) [this.lastKeyUs, this.keyAsked] = [timeUs, false];
      this.keyWanted = false;
      const timed = new VideoFrame(frame, { timestamp: timeUs });
      this.encoder.encode(timed, { keyFrame });
      timed.close();
    } catch {
      // Closed meanwhile.
    } finally {
      frame.close();
    }
  }

  /** Whether the encoder is set for pictures of this size; a phone that is turned changes it. */
  private async fits({ displayWidth, displayHeight }: VideoFrame): Promise<boolean> {
    const [width, height] = [displayWidth & ~1, displayHeight & ~1];
    if (this.format?.width === width && this.format.height === height) return true;
    if (this.configuring) return false;
    this.configuring = true;
    const config = await configOf(width, height);
    this.configuring = false;
    if (config === null) {
      this.onError('This browser can encode neither H.264 nor VP9 nor AV1.');
      return false;
    }
    if (this.encoder.state === 'closed') return false;
    this.encoder.configure(config);
    this.format = { codec: config.codec, width, height, bitrate: config.bitrate ?? 0 };
    this.keyWanted = true;
    this.onFormat(this.format);
    return true;
  }

  stop(): void {
    this.stopReading();
    if (this.encoder.state !== 'closed') this.encoder.close();
  }
}

export class AudioSource {
  private readonly encoder: AudioEncoder;
  private readonly clock = new Clock();
  private samplerate = 0;
  private stopReading: () => void;

  constructor(
    private track: MediaStreamTrack,
    onFrame: (frame: Encoded) => void,
    private readonly onError: (words: string) => void,
  ) {
    this.encoder = new AudioEncoder({
      output: (chunk) => onFrame({ data: copy(chunk), sync: true, timeUs: chunk.timestamp, config: null }),
      error: (error) => this.fail(error),
    });
    this.stopReading = this.read(track);
  }

  replace(track: MediaStreamTrack): void {
    if (track === this.track) return;
    this.track = track;
    // Chromium's encoder counts samples from the first one on: what passed between the two would be missing from its times for good.
    this.samplerate = 0;
    this.stopReading();
    this.stopReading = this.read(track);
  }

  private read(track: MediaStreamTrack): () => void {
    const take = (data: AudioData) => {
      try {
        this.encode(data);
      } catch (error) {
        this.fail(error);
      } finally {
        data.close();
      }
    };
    return read<AudioData>(track, take, () => this.giveUp('The microphone is gone'));
  }

  private encode(data: AudioData): void {
    const { sampleRate } = data;
    const shaped = stereo(data, this.clock.at(data.timestamp));
    try {
      if (this.encoder.state === 'closed') return;
      // The encoder takes any rate, but only that which it was told: Opus is decoded at 48 kHz whatever went in.
      if (this.samplerate !== sampleRate) {
        this.encoder.configure({ codec: AUDIO.codec, sampleRate, numberOfChannels: AUDIO.channels, bitrate: AUDIO.bitrate });
        this.samplerate = sampleRate;
      }
      this.encoder.encode(shaped);
    } finally {
      shaped.close();
    }
  }

  private fail(error: unknown): void {
    this.giveUp(`The sound can't be encoded: ${error instanceof Error ? error.message : String(error)}`);
  }

  private giveUp(words: string): void {
    this.stop();
    this.onError(words);
  }

  stop(): void {
    this.stopReading();
    if (this.encoder.state !== 'closed') this.encoder.close();
  }
}

/** Microphones have one channel or two; two go out, always. */
function stereo(data: AudioData, timestamp: number): AudioData {
  const frames = data.numberOfFrames;
  const planes = new Float32Array(frames * AUDIO.channels);
  for (let channel = 0; channel < AUDIO.channels; channel++) {
    const planeIndex = Math.min(channel, data.numberOfChannels - 1);
    data.copyTo(planes.subarray(channel * frames, (channel + 1) * frames), { planeIndex, format: 'f32-planar' });
  }
  return new AudioData({
    format: 'f32-planar', sampleRate: data.sampleRate, numberOfFrames: frames, numberOfChannels: AUDIO.channels, timestamp, data: planes,
  });
}
