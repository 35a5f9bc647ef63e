/** MoQ into Media Source Extensions: the same parts that LL-HLS has, but sent as they are made. */
import { Broadcast, type Followed, type Lost } from '../moq/broadcast';
import type { Catalog, CatalogTrack } from '../moq/catalog';
import type { MoqObject } from '../moq/objects';
import { type Address, Session } from '../moq/session';
import { type Came, Change } from './change';
import { type AudioTrack, type Engine, type EngineEvents, type Level, levelOf, type Mode, type MoqPlace } from './engine';
import { Descent } from './descent';
import { Holes } from './holes';
import { Lacking } from './lacking';
import { placeOf } from './ladder';
import { type PartInfo, partInfo } from './part';
import { attach } from './remote';
import { type Begins, groupAt, Rewind, REWIND_S } from './rewind';
import { TrackBuffer } from './source-buffer';
import { Throughput } from './throughput';

/** From the click to the first catalog; after that the player goes the other way. */
const OPEN_MS = 2_000;
const MEDIA_MS = 2_000;
const CATALOG = 'catalog';
const VIDEO_PRIORITY = 64;
const AUDIO_PRIORITY = 32;
/** What is kept of media beyond the longest part: network and decoder take this long at worst. */
const RESERVE_S = 0.15;
const LOOK_EVERY_MS = 100;
/** Of so many groups it is known when they begin: more than can be gone back. */
const BEGINS_MAX = 100;
/** What is so near to the buffer is in it. */
const NEAR_S = 0.1;

type Kind = 'video' | 'audio';
const KINDS: readonly Kind[] = ['video', 'audio'];

interface Playing {
  track: CatalogTrack;
  buffer: TrackBuffer;
  followed: Followed;
  /** The initialisation segment that was appended last. */
  init: Uint8Array | null;
  /** The newest group of which something was appended. */
  group: number | null;
  /** Units a second of its parts. */
  timescale: number;
  /** What has come of it, and which initialisation segment it has. */
  current: MoqObject[];
  inited: number | null;
  /** It is on its way back; what comes live waits for it. */
  rewind: Rewind | null;
  /** What it is on its way to become. */
  next: { track: CatalogTrack; followed: Followed | null; change: Change } | null;
}

const NOTHING: Followed = { close: () => {}, isLagging: () => Promise.resolve(false) };

export function moqSupported(): boolean {
  return 'WebTransport' in window && 'MediaSource' in window && window.isSecureContext;
}

/** Whether a session comes about there, and this level is listed, if it has to be one: the way is open. */
export async function answers({ address, namespace }: MoqPlace, level: Level | null): Promise<boolean> {
  if (!moqSupported()) return false;
  try {
    if (level !== null) {
      const nothing = { onCatalog: () => {}, onEnd: () => {}, onLost: () => {} };
      const broadcast = await Broadcast.open(address, namespace, CATALOG, OPEN_MS, nothing);
      broadcast.close();
      return placeOf(level, playable(broadcast.catalog, 'video').map(levelOf)) !== null;
    }
    const session = await Session.open(address, OPEN_MS);
    const answered = await session.ping({ namespace, name: CATALOG }, OPEN_MS);
    session.close();
    return answered;
  } catch {
    return false;
  }
}

export class MoqEngine implements Engine {
  readonly mode: Mode = 'MoQ';
  live = true;
  private broadcast: Broadcast | null = null;
  private readonly media = new MediaSource();
  private readonly url: string;
  private detach = () => {};
  private readonly playing = new Map<Kind, Playing>();
  private wantedLevel: string | null = null;
  private wantedAudio: string | null = null;
  private readonly descent = new Descent();
  private readonly throughput = new Throughput(
    () => this.leading?.followed.isLagging() ?? Promise.resolve(false),
    (share) => this.onNarrow(share),
  );
  private readonly lacking = new Lacking(
    () => this.newestOriginal(),
    () => this.onLacking(),
  );
  private targetMs = 0;
  /** The newest media, and when it came: between parts the edge moves on by the clock. */
  private edge: { endS: number; atMs: number } | null = null;
  private clock: { wallClockMs: number; mediaS: number } | null = null;
  private started = false;
  private begun = false;
  private suspended = false;
  private address: Address | null = null;
  private readonly holes = new Holes();
  private begins: Begins[] = [];
  private readonly onSeeking = () => this.rewindTo(this.video.currentTime);
  private timer = 0;
  private destroyed = false;
  private onFirst: (() => void) | null = null;

  private constructor(
    private readonly video: HTMLVideoElement,
    private readonly events: EngineEvents,
  ) {
    this.url = URL.createObjectURL(this.media);
  }

  /** Resolves once there is something to show; null where MoQ, or this level over it, does not come about in time. `list`: the same over HLS. */
  static async open(video: HTMLVideoElement, place: MoqPlace, events: EngineEvents, level: Level | null, list: string): Promise<MoqEngine | null> {
    if (!moqSupported()) return null;
    const engine = new MoqEngine(video, events);
    try {
      await engine.begin(place, level, list);
      return engine;
    } catch {
      engine.destroy();
      return null;
    }
  }

  private async begin({ address, namespace }: MoqPlace, level: Level | null, list: string): Promise<void> {
    this.address = address;
    const opened = new Promise<void>((resolve) => {
      this.media.addEventListener('sourceopen', () => resolve(), { once: true });
    });
    this.detach = attach(this.video, this.url, list);
    const broadcast = await Broadcast.open(address, namespace, CATALOG, OPEN_MS, {
      onCatalog: (catalog) => this.onCatalog(catalog),
      onEnd: () => this.onEnd(),
      onLost: (why, to) => this.onLost(why, to),
    });
    this.broadcast = broadcast;
    if (level !== null) {
      const at = placeOf(level, this.levels());
      if (at === null) throw new Error('no such level');
      this.wantedLevel = this.candidates('video')[at]?.name ?? null;
    }
    await opened;
    this.media.duration = Number.POSITIVE_INFINITY;
    const first = new Promise<void>((resolve, reject) => {
      this.onFirst = resolve;
      // A level that nobody watches has to be begun.
      window.setTimeout(() => reject(new Error('no media in time')), level === null ? MEDIA_MS : 2 * MEDIA_MS);
    });
    // Both buffers have to be there before the first one is filled.
    for (const kind of KINDS) this.choose(kind);
    if (this.playing.size === 0) throw new Error('nothing that can be played');
    this.timer = window.setInterval(() => this.look(), LOOK_EVERY_MS);
    this.video.addEventListener('seeking', this.onSeeking);
    await first;
    this.onFirst = null;
    this.begun = true;
    this.events.onLive(true);
  }

  private candidates(kind: Kind): CatalogTrack[] {
    return this.broadcast === null ? [] : playable(this.broadcast.catalog, kind);
  }

  private choose(kind: Kind): void {
    const tracks = this.candidates(kind);
    const name = kind === 'video' ? (this.wantedLevel ?? this.descent.name) : this.wantedAudio;
    const track = tracks.find((candidate) => candidate.name === name) ?? tracks[0];
    const before = this.playing.get(kind);
    if (track === undefined) return;
    if (before !== undefined) return this.changeTo(kind, before, track);
    const playing: Playing = { track, buffer: this.makeBuffer(track), followed: NOTHING, init: null, group: null, timescale: 0, current: [], inited: null, rewind: null, next: null };
    this.playing.set(kind, playing);
    playing.followed = this.follow(kind, track.name, (came) => this.onObject(kind, playing, came)) ?? NOTHING;
  }

  /** The old one is shown until a group of the new one begins. */
  private changeTo(kind: Kind, playing: Playing, track: CatalogTrack): void {
    playing.next?.followed?.close();
    playing.next = null;
    if (playing.track.name === track.name) return;
    const next = { track, followed: null as Followed | null, change: new Change(playing.group) };
    playing.next = next;
    const given = (came: Came) => {
      if (this.playing.get(kind) !== playing || playing.next !== next) return this.onObject(kind, this.playing.get(kind), came, next.followed);
      if (next.change.begins(came)) this.take(kind, playing, next.track, next.followed, came);
    };
    // The lower one of the two goes ahead: on a narrow path it does not wait behind the other.
    next.followed = this.follow(kind, track.name, given, Math.sign(playing.track.bitrate - track.bitrate));
  }

  /** It is not to be had, or no longer, though it is listed: what there is goes on, or the original if that was it. */
  private lacks(kind: Kind, name: string): void {
    const playing = this.playing.get(kind);
    if (playing === undefined || this.destroyed || this.suspended) return;
    if (playing.next?.track.name === name) {
      playing.next.followed?.close();
      playing.next = null;
    }
    if (kind === 'video' && this.wantedLevel === name) this.wantedLevel = null;
    if (kind === 'audio' && this.wantedAudio === name) this.wantedAudio = null;
    if (playing.track.name !== name) return;
    this.lacking.forget();
    this.choose(kind);
    // There is no other, or it is too much for the path.
    if (playing.next === null) this.events.onPathLost(kind === 'video' && this.descent.name === name ? 'narrow' : 'gone');
  }

  private onLacking(): void {
    for (const [kind, playing] of this.playing) if (playing === this.leading) this.lacks(kind, playing.track.name);
  }

  private newestOriginal(): Promise<number | null> {
    const name = this.leading?.track.name;
    const original = name === undefined ? name : originalOf(name);
    if (this.broadcast === null || original === undefined || original === name) return Promise.resolve(null);
    return this.broadcast.newest(original);
  }

  private take(kind: Kind, before: Playing, track: CatalogTrack, followed: Followed | null, came: Came): void {
    before.rewind?.end();
    before.followed.close();
    this.throughput.forget();
    if (family(before.track) !== family(track)) before.buffer.changeType(type(track));
    const playing: Playing = { ...before, track, followed: followed ?? NOTHING, init: null, current: [], rewind: null, next: null };
    this.playing.set(kind, playing);
    this.onObject(kind, playing, came, playing.followed);
  }

  private makeBuffer(track: CatalogTrack): TrackBuffer {
    const buffer = this.media.addSourceBuffer(type(track));
    const fail = (detail: string) => {
      if (!this.destroyed) this.events.onFailure({ kind: 'media', detail });
    };
    return new TrackBuffer(this.media, buffer, this.video, () => this.onAppended(), fail);
  }

  private follow(kind: Kind, name: string, out: (came: Came) => void, ahead = 0): Followed | null {
    const priority = (kind === 'video' ? VIDEO_PRIORITY : AUDIO_PRIORITY) - ahead;
    return this.broadcast?.follow(name, priority, (object, first) => out([object, first]), () => this.lacks(kind, name)) ?? null;
  }

  /** Of a track that is shown, or was a moment ago. */
  private onObject(kind: Kind, playing: Playing | undefined, came: Came, followed?: Followed | null): void {
    if (playing === undefined || this.destroyed || this.playing.get(kind) !== playing) return;
    if (followed !== undefined && playing.followed !== followed) return;
    const shown = playing.next?.change.old(came, performance.now()) ?? [came];
    for (const [object, first] of shown) this.show(kind, playing, object, first);
  }

  private show(kind: Kind, playing: Playing, object: MoqObject, first: boolean): void {
    const info = partInfo(object.properties);
    if (playing.group !== object.group) playing.current = [];
    playing.group = object.group;
    playing.current.push(object);
    const segment = info?.segment ?? null;
    if (segment !== null) {
      playing.inited = segment.init;
      playing.timescale = segment.timescale;
    }
    if (playing === this.leading) this.lacking.object(object.group, performance.now());
    if (info !== null && playing === this.leading && playing.timescale > 0) {
      this.throughput.media((info.duration / playing.timescale) * 1000, performance.now());
    }
    if (playing.rewind !== null) return playing.rewind.hold(object);
    if (info !== null) this.onPart(kind, info, object.group);
    this.append(playing, object, first);
  }

  private append(playing: Playing, { payload }: MoqObject, first: boolean): void {
    // A new configuration begins with a group.
    const { init } = playing.track;
    if (init !== null && (first || playing.init === null) && !same(init, playing.init)) {
      playing.init = init;
      playing.buffer.append(init);
    }
    playing.buffer.append(payload);
  }

  private onPart(kind: Kind, { targetMs, segment }: PartInfo, group: number): void {
    this.targetMs = Math.max(this.targetMs, targetMs);
    if (segment !== null && (kind === 'video' || !this.playing.has('video'))) {
      this.clock = { wallClockMs: segment.wallClockMs, mediaS: segment.startS };
      this.begins = [...this.begins.slice(1 - BEGINS_MAX), [group, segment.startS]];
    }
  }

  /** Somebody goes back to what is not in the buffer (any more): it is fetched. */
  private rewindTo(atS: number): void {
    const { buffered } = this.video;
    if (!this.live || !this.started || !this.holdsElement || buffered.length === 0) return;
    const liveS = buffered.start(buffered.length - 1);
    for (let range = 0; range < buffered.length; range++) {
      if (atS >= buffered.start(range) - NEAR_S && atS < buffered.end(range)) return;
    }
    const from = groupAt(this.begins, atS);
    if (atS >= liveS || from === null) return;
    for (const playing of this.playing.values()) {
      playing.rewind?.end();
      if (playing.group !== null && playing.group > from) this.rewind(playing, from, playing.group - 1);
    }
  }

  private rewind(playing: Playing, from: number, to: number): void {
    const { broadcast } = this;
    if (broadcast === null) return;
    let usable = false;
    const past = (object: MoqObject) => {
      const segment = partInfo(object.properties)?.segment ?? null;
      // Of another configuration than the one that plays: it can't be shown beside it.
      if (segment !== null) usable = playing.inited === null || segment.init === playing.inited;
      if (usable) this.append(playing, object, false);
    };
    const done = (live: readonly MoqObject[]) => {
      playing.rewind = null;
      if (this.destroyed) return;
      for (const object of live) this.append(playing, object, object.id === 0);
    };
    const fetch = (object: (object: MoqObject) => void) => broadcast.fetch(playing.track.name, from, to, object);
    playing.rewind = new Rewind(playing.current, fetch, past, done);
  }

  private onCatalog(catalog: Catalog): void {
    for (const [kind, playing] of this.playing) {
      const track = catalog.tracks.find(({ name }) => name === playing.track.name);
      if (track !== undefined) playing.track = track;
      else this.choose(kind);
    }
  }

  /** Sound has come or gone, or the picture has. Media Source takes no other buffers once it has begun, and waits for those that it has. */
  private kindsChanged(): boolean {
    const there = KINDS.filter((kind) => this.candidates(kind).length > 0);
    return there.length > 0 && KINDS.some((kind) => there.includes(kind) !== this.playing.has(kind));
  }

  /** Whether the element is this engine's: `destroy` is one end of that, another engine that began meanwhile the other. */
  private get holdsElement(): boolean {
    return !this.destroyed && this.media.readyState !== 'closed';
  }

  private onAppended(): void {
    if (!this.holdsElement) return;
    const all = [...this.playing.values()];
    const endS = Math.min(...all.map(({ buffer }) => buffer.endS));
    if (endS <= 0 || all.some(({ rewind }) => rewind !== null)) return;
    const now = performance.now();
    if (this.edge === null || endS > this.edge.endS + (now - this.edge.atMs) / 1000 - 1) this.advance(endS, now);
    if (this.started) return;
    this.started = true;
    const { buffered } = this.video;
    const startS = buffered.length > 0 ? buffered.start(buffered.length - 1) : 0;
    this.video.currentTime = Math.max(startS, endS - RESERVE_S);
    this.onFirst?.();
  }

  /** The edge is where the newest media would be if it came without waiting. */
  private advance(endS: number, atMs: number): void {
    const expectedS = this.edge === null ? endS : this.edge.endS + (atMs - this.edge.atMs) / 1000;
    // Early parts move it at once, late ones slowly: they are late, not the broadcast.
    const aheadS = endS - expectedS;
    this.edge = { endS: expectedS + (aheadS > 0 ? aheadS : aheadS * 0.05), atMs };
  }

  private look(): void {
    const { video } = this;
    if (!this.holdsElement) return;
    if (this.live && this.begun && !this.suspended && this.kindsChanged()) return this.events.onPathLost('open', this.address);
    if (this.live) {
      this.throughput.look(performance.now());
      this.lacking.look(performance.now());
    }
    if (this.descent.up(performance.now())) this.choose('video');
    this.offerPast();
    const fetches = [...this.playing.values()].some(({ rewind }) => rewind !== null);
    if (fetches || (video.paused && !video.seeking)) return this.holes.rests();
    const { currentTime: atS, seeking, buffered } = video;
    const ranges = Array.from({ length: buffered.length }, (_, range) => [buffered.start(range), buffered.end(range)] as const);
    const toS = this.holes.look({ atS, ready: video.readyState > HTMLMediaElement.HAVE_CURRENT_DATA, seeking, ranges }, performance.now());
    if (toS !== null) video.currentTime = toS;
  }

  /** The bar reaches as far back as somebody can go. */
  private offerPast(): void {
    const endS = this.livePositionS();
    if (endS === null || this.media.readyState !== 'open') return;
    this.media.setLiveSeekableRange(Math.max(0, endS - REWIND_S), endS);
  }

  /** The track that sets the pace. */
  private get leading(): Playing | undefined {
    return this.playing.get('video') ?? this.playing.get('audio');
  }

  /** The viewer's own choice is not given up for another level. */
  private onNarrow(share: number): void {
    const playing = this.playing.get('video');
    if (!this.holdsElement || !this.live) return;
    const next = playing?.next?.track;
    // A lower level that is on its way already does not come.
    const tooLate = next !== undefined && playing !== undefined && next.bitrate < playing.track.bitrate;
    const current = next ?? playing?.track;
    const mayChoose = current !== undefined && !tooLate && this.wantedLevel === null;
    if (mayChoose && this.descent.down(this.candidates('video'), current, share, performance.now())) this.choose('video');
    else this.events.onPathLost('narrow');
  }

  private onEnd(): void {
    this.live = false;
    for (const { rewind } of this.playing.values()) rewind?.end();
    let left = this.playing.size;
    const finish = () => {
      left--;
      if (left > 0 || this.media.readyState !== 'open' || this.destroyed) return;
      this.media.endOfStream();
      this.events.onLive(false);
    };
    for (const { buffer } of this.playing.values()) buffer.finish(finish);
  }

  private onLost(why: Lost, to: Address | null): void {
    if (this.destroyed) return;
    if (why === 'unauthorized') this.events.onFailure({ kind: 'http', status: 401 });
    else this.events.onPathLost(why === 'moved' ? 'open' : 'gone', to);
  }

  edgeLatencyS(): number | null {
    if (this.edge === null || !this.live) return null;
    return this.edge.endS + (performance.now() - this.edge.atMs) / 1000 - this.video.currentTime;
  }

  targetLatencyS(): number | null {
    return this.targetMs / 1000 + RESERVE_S;
  }

  playingAtMs(): number | null {
    return this.clock === null ? null : this.clock.wallClockMs + (this.video.currentTime - this.clock.mediaS) * 1000;
  }

  livePositionS(): number | null {
    const { buffered } = this.video;
    if (!this.live || buffered.length === 0) return null;
    return Math.max(buffered.start(buffered.length - 1), buffered.end(buffered.length - 1) - RESERVE_S);
  }

  segmentAt(): null {
    return null;
  }

  level(): Level | null {
    return this.leading === undefined ? null : levelOf(this.leading.track);
  }

  levels(): Level[] {
    return this.candidates('video').map(levelOf);
  }

  chosenLevel(): number | null {
    const at = this.candidates('video').findIndex(({ name }) => name === this.wantedLevel);
    return at < 0 ? null : at;
  }

  chooseLevel(index: number | null): void {
    this.wantedLevel = index === null ? null : (this.candidates('video')[index]?.name ?? null);
    this.choose('video');
  }

  audioTracks(): AudioTrack[] {
    const chosen = this.playing.get('audio')?.track.name;
    return this.candidates('audio').map(({ name, label, language }) => ({ name: label || name, language, chosen: name === chosen }));
  }

  chooseAudio(index: number): void {
    this.wantedAudio = this.candidates('audio')[index]?.name ?? null;
    this.choose('audio');
  }

  captionsElsewhere(): boolean {
    return this.broadcast?.catalog.captions === true;
  }

  suspend(): void {
    this.suspended = true;
    this.throughput.forget();
    this.lacking.forget();
    for (const { followed, next, rewind } of this.playing.values()) {
      rewind?.end();
      followed.close();
      next?.followed?.close();
    }
  }

  resume(): void {
    this.suspended = false;
    for (const [kind, before] of [...this.playing]) {
      const playing: Playing = { ...before, next: null };
      this.playing.set(kind, playing);
      playing.followed = this.follow(kind, playing.track.name, (came) => this.onObject(kind, playing, came)) ?? NOTHING;
      this.choose(kind);
    }
  }

  retry(): void {
    this.events.onPathLost();
  }

  destroy(): void {
    this.destroyed = true;
    window.clearInterval(this.timer);
    this.video.removeEventListener('seeking', this.onSeeking);
    for (const { rewind } of this.playing.values()) rewind?.end();
    this.broadcast?.close();
    this.detach();
    URL.revokeObjectURL(this.url);
  }
}

function playable({ tracks }: Catalog, kind: Kind): CatalogTrack[] {
  const all = tracks.filter((track) => track.packaging === 'cmaf' && track.role === kind && track.init !== null && MediaSource.isTypeSupported(type(track)));
  if (kind === 'video') return all;
  // A level of sound is for those who can't play its original.
  return all.filter(({ name }) => !all.some((original) => original.name !== name && original.name === originalOf(name)));
}

/** Codecs of one family follow each other in one buffer. */
function family({ codec }: CatalogTrack): string {
  return codec.split('.')[0] ?? codec;
}

function type({ role, codec }: CatalogTrack): string {
  return `${role}/mp4; codecs="${codec}"`;
}

/** `audio.aac.cmaf` is made of `audio.cmaf`. */
function originalOf(name: string): string {
  return name.replace(/\..*(?=\.cmaf$)/, '');
}

function same(a: Uint8Array, b: Uint8Array | null): boolean {
  return a === b || (b !== null && a.length === b.length && a.every((byte, at) => byte === b[at]));
}
