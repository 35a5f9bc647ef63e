/**
 * MoQ frame by frame (LOC): WebCodecs decodes each frame when it comes, and it is shown as soon as the next ones will be in time.
 *
 * What comes too unevenly for that, or can't be decoded, is left to Media Source Extensions (`moq-engine`).
 */
import { Broadcast, type Followed, type Lost } from '../moq/broadcast';
import type { Catalog, CatalogTrack } from '../moq/catalog';
import { type FrameInfo, frameInfo } from '../moq/loc';
import type { MoqObject } from '../moq/objects';
import type { Address } from '../moq/session';
import { audioConfig, canDecode, videoConfig } from './decoding';
import { Delay } from './delay';
import { type AudioTrack, type Engine, type EngineEvents, type Level, levelOf, type Mode, type MoqPlace } from './engine';
import { Descent } from './descent';
import { Sound } from './sound';
import { Throughput } from './throughput';

/** In Chromium's windows; not in TypeScript's, as the standard has it in workers only. */
declare const MediaStreamTrackGenerator: new (init: { kind: 'video' }) => MediaStreamTrack & { writable: WritableStream<VideoFrame> };

type Kind = 'video' | 'audio';
const KINDS: readonly Kind[] = ['video', 'audio'];

const CATALOG = 'catalog.loc';
/** What the first tracks of a broadcast are called: asked for before its catalog is there. */
const FIRST: Record<Kind, string> = { video: 'video', audio: 'audio' };
const PRIORITY: Record<Kind, number> = { video: 64, audio: 32 };
const OPEN_MS = 2_000;
const MEDIA_MS = 2_000;
/** What comes before the catalog: a group that is long under way, at most. */
const HELD_MAX = 1_000;

/** A frame that is later than this is not shown any more: another one is. */
const LATE_MS = 80;
/** Shown at once rather than with a timer, which is no more exact. */
const NOW_MS = 2;
/** What sound needs from here to the ear longer than a picture to the eye, as measured, less what nobody notices. */
const SOUND_AHEAD_MS = 25;
const LOOK_EVERY_MS = 100;
/** Nothing new on the screen for so long, or for three frames: it stands still. */
const STANDS_STILL_MS = 400;
/** With a longer delay there is nothing to win against whole parts. */
const WORTH_MS = 400;
const WORTH_WITHIN_MS = 10_000;

/** Players that have tried in vain: they have another way. */
const tried = new WeakSet<HTMLVideoElement>();

export function realTimeSupported(video: HTMLVideoElement): boolean {
  const needed = ['WebTransport', 'VideoDecoder', 'AudioDecoder', 'MediaStreamTrackGenerator'];
  return window.isSecureContext && needed.every((name) => name in window) && !tried.has(video);
}

/** The session did not come about: no other engine will have one. */
export class NoWay extends Error {}

export class RealTimeEngine implements Engine {
  readonly mode: Mode = 'Real time';
  live = true;
  private broadcast: Broadcast | null = null;
  private address: Address | null = null;
  private delay = new Delay();
  private readonly generator = new MediaStreamTrackGenerator({ kind: 'video' });
  private readonly frames = this.generator.writable.getWriter();
  private readonly stream = new MediaStream([this.generator]);
  private sound: Sound | null = null;
  private videoDecoder: VideoDecoder | null = null;
  private audioDecoder: AudioDecoder | null = null;
  private readonly followed = new Map<Kind, { name: string; refused: boolean; followed: Followed }>();
  private readonly tracks = new Map<Kind, CatalogTrack>();
  private readonly configs = new Map<Kind, Uint8Array | null>();
  private wanted: Record<Kind, string | null> = { video: null, audio: null };
  private decodable: CatalogTrack[] = [];
  /** Catalogs that were looked at, and the one of them that `decodable` is of. */
  private looks = 0;
  private looked = 0;
  private readonly descent = new Descent();
  private readonly throughput = new Throughput(
    () => this.followed.get('video')?.followed.isLagging() ?? Promise.resolve(false),
    (share) => this.onNarrow(share),
  );
  /** Objects that came before the catalog said what they are. */
  private held: (() => void)[] | null = [];
  /** Kinds of which everything that was sent at once, as it was there already, is decoded. */
  private readonly caughtUp = new Set<Kind>();
  /** The first picture is there. */
  private begun = false;
  /** The decoder has had a key frame. */
  private begunDecoding = false;
  private clock: { wallClockMs: number; presentMs: number } | null = null;
  private shown: { presentMs: number; atMs: number; frameMs: number } | null = null;
  private standsStill = false;
  private unevenSinceMs: number | null = null;
  private onFirst: (() => void) | null = null;
  private readonly timers = new Map<number, VideoFrame>();
  private lookTimer = 0;
  private destroyed = false;

  private constructor(
    private readonly video: HTMLVideoElement,
    private readonly events: EngineEvents,
  ) {}

  /** Resolves once there is something to show; null: not here. Throws `NoWay` where no session with media comes about in time. */
  static async open(video: HTMLVideoElement, place: MoqPlace, events: EngineEvents): Promise<RealTimeEngine | null> {
    const engine = new RealTimeEngine(video, events);
    try {
      if (await engine.begin(place)) return engine;
    } catch {
      engine.destroy();
      throw new NoWay();
    }
    engine.destroy();
    tried.add(video);
    return null;
  }

  private async begin({ address, namespace }: MoqPlace): Promise<boolean> {
    this.address = address;
    const events = {
      onCatalog: (catalog: Catalog) => void this.onCatalog(catalog),
      onEnd: () => this.onEnd(),
      onLost: (why: Lost, to: Address | null) => this.onLost(why, to),
    };
    this.broadcast = await Broadcast.open(address, namespace, CATALOG, OPEN_MS, events, (broadcast) => {
      this.broadcast = broadcast;
      for (const kind of KINDS) this.follow(kind, FIRST[kind]);
    });
    await this.look(this.broadcast.catalog);
    // Sound alone is Media Source's: there is nothing to gain.
    if (this.of('video').length === 0 || this.lacks('audio')) return false;
    this.video.srcObject = this.stream;
    const first = new Promise<void>((resolve, reject) => {
      this.onFirst = resolve;
      window.setTimeout(() => reject(new Error('no media in time')), MEDIA_MS);
    });
    for (const kind of KINDS) this.choose(kind);
    const held = this.held ?? [];
    this.held = null;
    for (const take of held) take();
    await first;
    // Behind the first picture: to make it ready takes a browser longer than a frame.
    this.begun = true;
    this.makeSound();
    this.lookTimer = window.setInterval(() => this.lookAfter(), LOOK_EVERY_MS);
    this.events.onLive(true);
    return true;
  }

  private async look({ tracks }: Catalog): Promise<void> {
    const look = ++this.looks;
    const can = await Promise.all(tracks.map(canDecode));
    if (look < this.looked) return;
    this.looked = look;
    this.decodable = tracks.filter((_, at) => can[at]);
  }

  /** It may come long after the first picture. */
  private makeSound(): void {
    const [sounding] = this.of('audio');
    if (!this.begun || this.sound !== null || sounding === undefined) return;
    this.sound = new Sound(this.video, sounding.samplerate);
    if (this.sound.track !== undefined) this.stream.addTrack(this.sound.track);
  }

  private lacks(kind: Kind): boolean {
    return this.of(kind).length === 0 && this.broadcast?.catalog.tracks.some(({ role }) => role === kind) === true;
  }

  private async onCatalog(catalog: Catalog): Promise<void> {
    await this.look(catalog);
    // Before that, `begin` does it.
    if (this.held !== null || this.destroyed) return;
    for (const kind of KINDS) this.choose(kind);
    this.makeSound();
    // As at the beginning.
    const soundAlone = this.of('video').length === 0 && this.of('audio').length > 0;
    if (this.begun && (soundAlone || this.lacks('audio'))) this.giveUp();
  }

  private of(kind: Kind): CatalogTrack[] {
    return this.decodable.filter(({ role }) => role === kind);
  }

  private choose(kind: Kind): void {
    const wanted = this.wanted[kind] ?? (kind === 'video' ? this.descent.name : null);
    const track = this.of(kind).find(({ name }) => name === wanted) ?? this.of(kind)[0];
    const before = this.followed.get(kind);
    if (track === undefined) {
      before?.followed.close();
      this.followed.delete(kind);
      return;
    }
    this.tracks.set(kind, track);
    if (before?.name === track.name && !before.refused) return;
    before?.followed.close();
    this.configs.delete(kind);
    this.follow(kind, track.name);
  }

  private follow(kind: Kind, name: string): void {
    const take = (object: MoqObject, first: boolean) => {
      if (this.followed.get(kind)?.name !== name || this.destroyed) return;
      if (this.held === null) this.onObject(kind, object, first);
      else if (this.held.length < HELD_MAX) this.held.push(() => take(object, first));
    };
    const refused = () => {
      const entry = this.followed.get(kind);
      if (entry?.name === name) entry.refused = true;
    };
    this.caughtUp.delete(kind);
    if (kind === 'video') this.throughput.forget();
    const followed = this.broadcast?.follow(name, PRIORITY[kind], take, refused);
    if (followed !== undefined) this.followed.set(kind, { name, refused: false, followed });
  }

  private onObject(kind: Kind, { properties, payload }: MoqObject, first: boolean): void {
    const track = this.tracks.get(kind);
    const info = frameInfo(properties, track?.timescale ?? 0);
    if (track === undefined || info === null) return;
    const now = performance.now();
    if (info.discontinuity) this.delay.anew(now);
    this.delay.arrived(info.presentMs, now);
    if (kind === 'video') this.throughput.frame(info.presentMs, first, now);
    if (kind === 'video' && info.wallClockMs !== null) this.clock = { wallClockMs: info.wallClockMs, presentMs: info.presentMs };
    try {
      if (first || !this.configs.has(kind)) this.configure(kind, track, info.config ?? track.init);
      this.decode(kind, payload, info, first);
    } catch {
      this.giveUp();
    }
  }

  /** Only what has changed: a decoder that is configured anew forgets what it holds. */
  private configure(kind: Kind, track: CatalogTrack, config: Uint8Array<ArrayBuffer> | null): void {
    const before = this.configs.get(kind);
    if (before !== undefined && same(before, config)) return;
    this.configs.set(kind, config);
    const error = () => this.giveUp();
    if (kind === 'video') {
      this.videoDecoder ??= new VideoDecoder({ output: (frame) => this.onFrame(frame), error });
      this.videoDecoder.configure(videoConfig(track, config));
      this.begunDecoding = false;
    } else {
      this.audioDecoder ??= new AudioDecoder({ output: (data) => this.onSound(data), error });
      this.audioDecoder.configure(audioConfig(track, config));
    }
  }

  private decode(kind: Kind, data: Uint8Array<ArrayBuffer>, { presentMs, independent }: FrameInfo, first: boolean): void {
    const timestamp = Math.round(presentMs * 1000);
    if (kind === 'audio') {
      this.audioDecoder?.decode(new EncodedAudioChunk({ type: 'key', timestamp, data }));
      return;
    }
    // A group that was cut for its length begins without a key frame.
    const key = independent ?? first;
    if (!key && !this.begunDecoding) return;
    this.begunDecoding = true;
    this.videoDecoder?.decode(new EncodedVideoChunk({ type: key ? 'key' : 'delta', timestamp, data }));
  }

  /** Whether the time at which this was decoded says anything of the times to come. */
  private inStep(kind: Kind): boolean {
    const decoder = kind === 'video' ? this.videoDecoder : this.audioDecoder;
    if (!this.caughtUp.has(kind) && decoder?.decodeQueueSize === 0) this.caughtUp.add(kind);
    return this.caughtUp.has(kind);
  }

  private onFrame(frame: VideoFrame): void {
    const presentMs = frame.timestamp / 1000;
    const now = performance.now();
    if (this.inStep('video')) this.delay.decoded(presentMs, now);
    const inMs = this.delay.dueMs(presentMs) - now;
    if (this.destroyed || (inMs < -LATE_MS && this.shown !== null)) return frame.close();
    // A hidden page's timers are late; nobody sees the difference.
    if (inMs < NOW_MS || document.hidden) return this.show(frame);
    const timer = window.setTimeout(() => {
      this.timers.delete(timer);
      this.show(frame);
    }, inMs);
    this.timers.set(timer, frame);
  }

  private show(frame: VideoFrame): void {
    const presentMs = frame.timestamp / 1000;
    const frameMs = this.shown === null ? 0 : presentMs - this.shown.presentMs;
    if (frameMs < 0) return frame.close();
    const atMs = performance.now();
    this.shown = { presentMs, atMs, frameMs };
    this.frames.write(frame).catch(() => frame.close());
    this.onFirst?.();
    this.onFirst = null;
    if (!this.standsStill) return;
    this.standsStill = false;
    this.video.dispatchEvent(new Event('playing'));
  }

  private onSound(data: AudioData): void {
    const presentMs = data.timestamp / 1000 - SOUND_AHEAD_MS;
    const now = performance.now();
    if (this.inStep('audio')) this.delay.decoded(presentMs, now);
    this.sound?.play(data, this.delay.dueMs(presentMs) - now);
    data.close();
  }

  /** The viewer's own choice is not given up for another level. */
  private onNarrow(share: number): void {
    const track = this.tracks.get('video');
    if (this.destroyed || !this.live || track === undefined) return;
    const lower = this.wanted.video === null && this.descent.down(this.of('video'), track, share, performance.now());
    if (lower) this.choose('video');
    else this.events.onPathLost('narrow');
  }

  /** A media element does not say of a stream that it stands still. */
  private lookAfter(): void {
    const now = performance.now();
    if (this.live) this.throughput.look(now);
    if (this.descent.up(now)) this.choose('video');
    if (this.shown === null || this.video.paused || document.hidden || !this.live) return;
    const stillMs = now - this.shown.atMs;
    if (!this.standsStill && stillMs > Math.max(STANDS_STILL_MS, 3 * this.shown.frameMs)) {
      this.standsStill = true;
      this.video.dispatchEvent(new Event('waiting'));
    }
    if (this.delay.ms <= WORTH_MS) this.unevenSinceMs = null;
    else this.unevenSinceMs ??= now;
    if (this.unevenSinceMs !== null && now - this.unevenSinceMs > WORTH_WITHIN_MS) this.giveUp();
  }

  /** The way is open, but not for this engine. */
  private giveUp(): void {
    if (this.destroyed) return;
    tried.add(this.video);
    this.events.onPathLost('open', this.address);
  }

  private onEnd(): void {
    this.live = false;
    const finish = () => {
      if (this.destroyed) return;
      this.events.onLive(false);
      // A stream that stops is no end for every media element.
      this.video.dispatchEvent(new Event('ended'));
    };
    void Promise.resolve(this.videoDecoder?.flush()).catch(() => {});
    window.setTimeout(finish, this.delay.ms + LATE_MS);
  }

  private onLost(why: Lost, to: Address | null): void {
    if (this.destroyed) return;
    if (why === 'unauthorized') this.events.onFailure({ kind: 'http', status: 401 });
    else this.events.onPathLost(why === 'moved' ? 'open' : 'gone', to);
  }

  edgeLatencyS(): number | null {
    return this.live ? this.delay.ms / 1000 : null;
  }

  /** It keeps its own pace. */
  targetLatencyS(): number | null {
    return null;
  }

  playingAtMs(): number | null {
    if (this.clock === null || this.shown === null) return null;
    return this.clock.wallClockMs + this.shown.presentMs - this.clock.presentMs;
  }

  /** There is nowhere else. */
  livePositionS(): number | null {
    return null;
  }

  /** Frames know of no segments. */
  segmentAt(): number | null {
    return null;
  }

  level(): Level | null {
    const track = this.tracks.get('video');
    return track === undefined ? null : levelOf(track);
  }

  levels(): Level[] {
    return this.of('video').map(levelOf);
  }

  chosenLevel(): number | null {
    const at = this.of('video').findIndex(({ name }) => name === this.wanted.video);
    return at < 0 ? null : at;
  }

  chooseLevel(index: number | null): void {
    this.wanted.video = index === null ? null : (this.of('video')[index]?.name ?? null);
    this.choose('video');
  }

  audioTracks(): AudioTrack[] {
    const chosen = this.tracks.get('audio')?.name;
    return this.of('audio').map(({ name, label, language }) => ({ name: label || name, language, chosen: name === chosen }));
  }

  chooseAudio(index: number): void {
    this.wanted.audio = this.of('audio')[index]?.name ?? null;
    this.choose('audio');
  }

  captionsElsewhere(): boolean {
    return this.broadcast?.catalog.captions === true;
  }

  suspend(): void {
    this.throughput.forget();
    for (const { followed } of this.followed.values()) followed.close();
  }

  resume(): void {
    this.delay = new Delay();
    this.shown = null;
    for (const [kind, { name }] of [...this.followed]) this.follow(kind, name);
  }

  retry(): void {
    this.events.onPathLost();
  }

  destroy(): void {
    this.destroyed = true;
    window.clearInterval(this.lookTimer);
    for (const [timer, frame] of this.timers) {
      window.clearTimeout(timer);
      frame.close();
    }
    this.timers.clear();
    this.broadcast?.close();
    for (const decoder of [this.videoDecoder, this.audioDecoder]) if (decoder !== null && decoder.state !== 'closed') decoder.close();
    this.sound?.close();
    this.generator.stop();
    this.video.srcObject = null;
  }
}

function same(a: Uint8Array | null, b: Uint8Array | null): boolean {
  if (a === null || b === null) return a === b;
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}
