/** A live input that is published over MoQ: its catalog and its bare frames (LOC-04), a group from key frame to key frame. */
import * as messages from '../moq/messages';
import { writeHeader, writeObjectHead } from '../moq/objects';
import { type Address, type Asked, Refused, Session } from '../moq/session';
import { streamError, writePairs } from '../moq/wire';
import { AUDIO, AudioSource, type Encoded, type VideoFormat, VideoSource } from './encode';

const OPEN_MS = 5_000;
/** The server is asked so often whether it still answers: a network that is gone says nothing. */
const LOOK_EVERY_MS = 2_000;
/** So long an answer may take behind what is sent, where that is about all that the network carries. */
const ANSWER_MS = 8_000;
/** The session is given up, which is no goodbye (draft-18 §3.5: INTERNAL_ERROR). */
const GIVEN_UP = 0x1;
/** Who is let in again and put out again within this time asks no more. */
const ASK_AGAIN_MS = 30_000;
/** draft-ietf-moq-loc-04. TIMESTAMP in microseconds since 1970, as no TIMESCALE says otherwise. */
const TIMESTAMP = 0x10;
const VIDEO_CONFIG = 0x0d;
/** Sound has no key frames: a group of it is this long. */
const AUDIO_GROUP_FRAMES = 50;
/** So many frames that are not written yet: the network carries less than the encoder makes. */
const BACKLOG_FRAMES = 60;
/** So many groups may still be on their way while another one is written; who watches live wants none that is older. */
const GROUPS_BEFORE = 2;

export interface Sent {
  bytes: number;
  frames: number;
  /** Frames that the network or the machine had no room for. */
  dropped: number;
}

/** The objects of one track, once somebody has subscribed to it. */
class Outgoing {
  private writer: WritableStreamDefaultWriter<Uint8Array> | null = null;
  /** Of groups before, old ones first: closed, but not all of it has arrived. */
  private ending: { writer: WritableStreamDefaultWriter<Uint8Array>; closed: Promise<void> }[] = [];
  private queue: Promise<void> = Promise.resolve();
  private waiting = 0;
  private skipping = true;
  streams = 0;

  constructor(
    private readonly session: Session,
    readonly alias: number,
    readonly asked: Asked,
    private group: number,
    private readonly sent: Sent,
  ) {}

  /** `first`: of a group. What has no room is left out to the next group. */
  push(properties: Uint8Array, payload: Uint8Array, first: boolean): void {
    if (first && this.waiting < BACKLOG_FRAMES) this.skipping = false;
    if (!first && this.waiting >= BACKLOG_FRAMES) this.skipping = true;
    if (this.skipping) {
      this.sent.dropped++;
      return;
    }
    this.waiting++;
    this.queue = this.queue.then(() => this.write(properties, payload, first)).catch(() => {}).finally(() => this.waiting--);
  }

  private async write(properties: Uint8Array, payload: Uint8Array, first: boolean): Promise<void> {
    if (first) {
      this.endGroup();
      this.writer = await this.session.openUni();
      this.streams++;
      await this.writer.write(writeHeader(this.alias, this.group++));
    }
    if (this.writer === null) return;
    // One write: a head alone would be a packet of its own.
    const head = writeObjectHead(properties, payload.length);
    const object = new Uint8Array(head.length + payload.length);
    object.set(head);
    object.set(payload, head.length);
    await this.writer.write(object);
    this.sent.bytes += object.length;
  }

  /** A stream is closed once the peer has acknowledged all of it: the next group does not wait for that. */
  private endGroup(): void {
    const { writer } = this;
    if (writer === null) return;
    this.writer = null;
    const closed = writer.close().catch(() => {});
    const group = { writer, closed };
    this.ending.push(group);
    void closed.then(() => (this.ending = this.ending.filter((other) => other !== group)));
    for (const { writer } of this.ending.splice(0, this.ending.length - GROUPS_BEFORE)) {
      writer.abort(streamError(messages.DELIVERY_TIMEOUT)).catch(() => {});
    }
  }

  async end(): Promise<void> {
    await this.queue;
    this.endGroup();
    await Promise.all(this.ending.map(({ closed }) => closed));
    await this.asked.end(messages.publishDone(messages.TRACK_ENDED, this.streams)).catch(() => {});
  }
}

export interface PublisherEvents {
  /** It can't go on: nothing can be encoded, or the server wants no more of it. */
  onError: (words: string) => void;
  /** It goes on without sound. */
  onSilent: (words: string) => void;
  /** The connection has ended. */
  onLost: () => void;
  /** Before that: the server asks to go on elsewhere. */
  onMoved: (to: Address) => void;
}

export class Publisher {
  readonly sent: Sent = { bytes: 0, frames: 0, dropped: 0 };
  private readonly tracks = new Map<string, Outgoing>();
  private nextAlias = 1;
  private video: VideoSource | null = null;
  private audio: AudioSource | null = null;
  private format: VideoFormat | null = null;
  private audioFrames = 0;
  /** Whether the newest catalog has it. */
  private listsSound = false;
  /** Groups go on above those of an earlier connection. */
  private firstGroup = Date.now();
  private over = false;
  private timer: ReturnType<typeof setInterval> | undefined;
  private looking = false;
  private askedAgainAtMs = Number.NEGATIVE_INFINITY;

  private constructor(
    private readonly namespace: string[],
    private readonly events: PublisherEvents,
  ) {}

  private session: Session | null = null;

  /** Resolves once the server has taken it; `stream` is encoded from then on. */
  static async start(address: Address, namespace: string[], stream: MediaStream, events: PublisherEvents): Promise<Publisher> {
    const publisher = new Publisher(namespace, events);
    const session = await Session.open(address, OPEN_MS, (asked) => void publisher.onAsked(asked));
    publisher.session = session;
    void session.closed.then(() => events.onLost());
    void session.goingAway.then((to) => events.onMoved(to));
    try {
      publisher.replace(stream);
      await publisher.announce(session);
      publisher.timer = setInterval(() => void publisher.lookAgain(), LOOK_EVERY_MS);
      return publisher;
    } catch (error) {
      publisher.stopEncoding();
      session.close();
      throw error;
    }
  }

  private async announce(session: Session): Promise<void> {
    const { ended } = await session.publishNamespace(this.namespace);
    void ended.then(() => this.onEnded(session));
  }

  /** The server wants no more of it. Asked once more it says why, or takes it again. */
  private async onEnded(session: Session): Promise<void> {
    if (this.over) return;
    const now = performance.now();
    const putOut = now - this.askedAgainAtMs < ASK_AGAIN_MS;
    this.askedAgainAtMs = now;
    const words = await this.announce(session).then(() => (putOut ? '' : null), refusalOf);
    if (words !== null && !this.over) this.events.onError(words || 'The server has ended this broadcast.');
  }

  private async lookAgain(): Promise<void> {
    if (this.looking) return;
    this.looking = true;
    await this.look(ANSWER_MS).finally(() => (this.looking = false));
  }

  /** Whether the server still answers; if not, the connection is lost. */
  async look(patienceMs: number): Promise<void> {
    const { session } = this;
    if (this.over || session === null) return;
    // Of a namespace that nobody watches: any answer will do, and that one needs no look at who asks.
    const answers = await session.ping({ namespace: this.namespace.slice(0, 1), name: 'catalog' }, patienceMs);
    if (!answers && !this.over) this.events.onLost();
  }

  /** Another camera, screen or microphone. */
  replace(stream: MediaStream): void {
    const [video, audio] = [living(stream.getVideoTracks()), living(stream.getAudioTracks())];
    if (video !== undefined) {
      if (this.video !== null) this.video.replace(video);
      else this.video = new VideoSource(video, (format) => this.onFormat(format), (frame) => this.onVideo(frame), this.events.onError);
    }
    if (audio === undefined) return this.dropSound();
    if (this.audio !== null) return this.audio.replace(audio);
    this.audioFrames = 0;
    const failed = (words: string) => {
      if (this.audio !== sound) return;
      this.dropSound();
      this.events.onSilent(words);
    };
    const sound = new AudioSource(audio, (frame) => this.onAudio(frame), failed);
    this.audio = sound;
    this.sendCatalog();
  }

  /** The picture goes on without it, and viewers are told: they would wait for it. */
  private dropSound(): void {
    if (this.audio === null) return;
    this.audio.stop();
    this.audio = null;
    if (!this.listsSound) return;
    this.listsSound = false;
    // MSF-01 §5.3: a whole catalog that lacks it would not take it out, as it may be of another writer.
    this.say({ generatedAt: Date.now(), deltaUpdate: [{ op: 'remove', tracks: [{ name: 'audio' }] }] }, false);
  }

  get description(): string {
    return this.format === null ? '' : `${this.format.width}×${this.format.height} ${this.format.codec}`;
  }

  private async onAsked(asked: Asked): Promise<void> {
    const { namespace, name } = asked.track;
    const known = ['catalog', ...(this.video ? ['video'] : []), ...(this.audio ? ['audio'] : [])].includes(name);
    if (this.session === null || !known || namespace.join('/') !== this.namespace.join('/')) {
      return asked.end(messages.requestError(messages.DOES_NOT_EXIST, 'no such track here'));
    }
    const outgoing = new Outgoing(this.session, this.nextAlias++, asked, this.firstGroup, this.sent);
    const video = name === 'video';
    if (video) asked.onGroupWanted = () => this.video?.askForKey();
    await asked.answer(messages.subscribeOk(outgoing.alias, writePairs(video ? [[messages.DYNAMIC_GROUPS, 1]] : [])));
    this.tracks.set(name, outgoing);
    void asked.closed.then(() => {
      if (this.tracks.get(name) === outgoing) this.tracks.delete(name);
    });
    if (video) this.video?.wantKey();
    if (name === 'audio') this.audioFrames = 0;
    if (name === 'catalog') this.sendCatalog();
  }

  /** Of a picture's size it is known only with the first frame. */
  private onFormat(format: VideoFormat): void {
    this.format = format;
    this.sendCatalog();
  }

  private sendCatalog(): void {
    if (!this.tracks.has('catalog') || (this.video !== null && this.format === null)) return;
    const common = { packaging: 'loc', isLive: true, renderGroup: 1 };
    const video = this.format === null ? [] : [{ name: 'video', role: 'video', ...common, ...this.format, framerate: 30 }];
    const audio = this.audio === null ? [] : [{ name: 'audio', role: 'audio', ...common, codec: AUDIO.codec, samplerate: AUDIO.samplerate, channelConfig: String(AUDIO.channels), bitrate: AUDIO.bitrate }];
    this.listsSound = audio.length > 0;
    this.say({ version: 'draft-01', generatedAt: Date.now(), tracks: [...video, ...audio] }, true);
  }

  /** A catalog; not `whole`: what changes in the one before. */
  private say(catalog: object, whole: boolean): void {
    this.tracks.get('catalog')?.push(new Uint8Array(), new TextEncoder().encode(JSON.stringify(catalog)), whole);
  }

  private onVideo({ data, sync, timeUs, config }: Encoded): void {
    this.sent.frames++;
    const properties: [number, number | Uint8Array][] = [[TIMESTAMP, timeUs]];
    if (sync && config !== null) properties.unshift([VIDEO_CONFIG, config]);
    this.tracks.get('video')?.push(writePairs(properties), data, sync);
  }

  private onAudio({ data, timeUs }: Encoded): void {
    const first = this.audioFrames++ % AUDIO_GROUP_FRAMES === 0;
    this.tracks.get('audio')?.push(writePairs([[TIMESTAMP, timeUs]]), data, first);
  }

  private stopEncoding(): void {
    this.over = true;
    clearInterval(this.timer);
    this.video?.stop();
    this.audio?.stop();
  }

  /** A goodbye: the broadcast ends now. */
  async stop(): Promise<void> {
    this.stopEncoding();
    await Promise.race([Promise.all([...this.tracks.values()].map((track) => track.end())), new Promise((resolve) => setTimeout(resolve, 1_000))]);
    this.session?.close(0);
  }

  /** The connection is gone; nothing is said any more. */
  abandon(): void {
    this.stopEncoding();
    this.session?.close(GIVEN_UP);
  }
}

/** Browsers read nothing of a track that has ended, and throw instead. */
function living(tracks: MediaStreamTrack[]): MediaStreamTrack | undefined {
  return tracks.find(({ readyState }) => readyState !== 'ended');
}

/** null: of a session that is over, which is told otherwise. */
function refusalOf(error: unknown): string | null {
  return error instanceof Refused ? error.refusal.reason : null;
}

