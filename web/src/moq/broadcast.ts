/** A broadcast that is followed over MoQ: its catalog, its tracks, and whether it is still there. */
import { type Catalog, parseCatalog } from './catalog';
import { INTERNAL_ERROR, isBarred, isTakenAway, TRACK_ENDED } from './messages';
import type { MoqObject } from './objects';
import { Ordered } from './ordered';
import { type Address, type Fetched, inTime, Refused, Session, type Subscription } from './session';
import { text } from './wire';

/** `moved`: the server asks to come again. */
export type Lost = 'path' | 'unauthorized' | 'moved';

export interface BroadcastEvents {
  onCatalog(catalog: Catalog): void;
  /** Nothing more will come: it has ended. */
  onEnd(): void;
  /** `to`: where it goes on, if the server says so. */
  onLost(why: Lost, to: Address | null): void;
}

export interface Followed {
  /** Whether what the server has now is not here a moment after it said so: the path carries less than comes. */
  isLagging(): Promise<boolean>;
  close(): void;
}

/** A group that stands still for so long while the next one has begun is given up. */
const GIVE_UP_GROUP_MS = 250;
/** Media comes every few hundredths of a second, whole parts three times a second. */
const SILENT_MS = 600;
const PING_MS = 800;
/** Who has answered, and still sends nothing, is asked again ever later; the last repeats. */
const PING_AGAIN_MS = [1_000, 2_000, 4_000];
/** What the server says that it has is under way then, unless it waits for more that is. */
const UNDER_WAY_MS = 500;
const ANSWER_MS = 2_000;
const LOOK_EVERY_MS = 100;
const CATALOG_PRIORITY = 0;

export class Broadcast {
  catalog: Catalog = { complete: false, captions: false, tracks: [] };
  private lastObjectMs = performance.now();
  private pinging = false;
  /** Answers in a row without an object between them, and when the next one is asked for. */
  private answers = 0;
  private nextPingMs = 0;
  private over = false;
  private readonly timer: number;
  private readonly orders = new Set<Ordered>();

  private constructor(
    private readonly session: Session,
    private readonly namespace: string[],
    private readonly catalogName: string,
    private readonly events: BroadcastEvents,
  ) {
    this.timer = window.setInterval(() => this.look(), LOOK_EVERY_MS);
    void session.closed.then(() => this.lose('path'));
    void session.goingAway.then((to) => this.lose('moved', to));
  }

  /**
   * Opens a session and waits for the first catalog. Throws if that does not come about in time.
   * `begun`: what can be asked for without the catalog is asked for beside it, which saves a round trip.
   */
  static async open(
    address: Address,
    namespace: string[],
    catalogName: string,
    timeoutMs: number,
    events: BroadcastEvents,
    begun: (broadcast: Broadcast) => void = () => {},
  ): Promise<Broadcast> {
    const until = performance.now() + timeoutMs;
    const session = await Session.open(address, timeoutMs);
    const broadcast = new Broadcast(session, namespace, catalogName, events);
    try {
      const catalog = broadcast.readCatalog();
      begun(broadcast);
      await inTime(catalog, until - performance.now());
      return broadcast;
    } catch (error) {
      broadcast.close();
      throw error;
    }
  }

  /** Resolves with the first one. */
  private readCatalog(): Promise<void> {
    return new Promise((resolve, reject) => {
      const object = ({ payload }: MoqObject) => {
        const catalog = parseCatalog(text(payload));
        if (catalog === null) return reject(new Error('a catalog of an unknown version'));
        this.catalog = catalog;
        resolve();
        if (catalog.complete) this.end();
        else this.events.onCatalog(catalog);
      };
      const sink = { object, streamEnded: () => {}, done: () => {} };
      const track = { namespace: this.namespace, name: this.catalogName };
      this.session.subscribe(track, { priority: CATALOG_PRIORITY, order: 'descending' }, sink).catch(reject);
    });
  }

  /** Objects of a track in their order; `first`: of their group. `lacks`: there is no such track, or none any more, which else is the end of it. */
  follow(name: string, priority: number, out: (object: MoqObject, first: boolean) => void, lacks?: () => void): Followed {
    const order = new Ordered(GIVE_UP_GROUP_MS, out);
    this.orders.add(order);
    let subscription: Subscription | null = null;
    let closed = false;
    const sink = {
      object: (object: MoqObject) => {
        this.lastObjectMs = performance.now();
        this.answers = 0;
        this.nextPingMs = 0;
        order.object(object, this.lastObjectMs);
      },
      streamEnded: (group: number) => order.streamEnded(group, performance.now()),
      done: ({ code }: { code: number }) => {
        if (closed) return;
        if (code === TRACK_ENDED) return this.end();
        if (code !== INTERNAL_ERROR || lacks === undefined) return this.lose(isTakenAway(code) ? 'unauthorized' : 'path');
        this.orders.delete(order);
        lacks();
      },
    };
    const track = { namespace: this.namespace, name };
    this.session.subscribe(track, { priority, order: 'ascending' }, sink).then(
      (made) => {
        subscription = made;
        if (closed) made.close();
      },
      (error: unknown) => {
        this.orders.delete(order);
        if (closed) return;
        if (error instanceof Refused && isBarred(error.refusal.code)) this.lose('unauthorized');
        else if (error instanceof Refused && lacks !== undefined) lacks();
        else this.lose('path');
      },
    );
    const isLagging = async () => {
      const newest = await this.session.newest(track, ANSWER_MS);
      if (newest === null) return false;
      await new Promise((resolve) => setTimeout(resolve, UNDER_WAY_MS));
      return !order.reaches(newest);
    };
    return {
      // An answer that takes so long waits for media.
      isLagging: () => isLagging().catch(() => true),
      close: () => {
        closed = true;
        this.orders.delete(order);
        subscription?.close();
      },
    };
  }

  /** The newest group that the server has of a track; null: it does not say. */
  newest(name: string): Promise<number | null> {
    const newest = this.session.newest({ namespace: this.namespace, name }, ANSWER_MS);
    return newest.then((location) => location?.group ?? null).catch(() => null);
  }

  /** Groups of the past, the first and the last one with it. */
  fetch(name: string, first: number, last: number, out: (object: MoqObject) => void): Fetched {
    return this.session.fetch({ namespace: this.namespace, name }, first, last, out);
  }

  close(): void {
    this.over = true;
    window.clearInterval(this.timer);
    this.session.close();
  }

  /** An encoder that pauses is silent too; only who does not answer is gone. */
  private look(): void {
    const now = performance.now();
    for (const order of this.orders) order.tick(now);
    if (this.pinging || this.orders.size === 0 || now - this.lastObjectMs < SILENT_MS || now < this.nextPingMs) return;
    this.pinging = true;
    const { lastObjectMs } = this;
    void this.session.ping({ namespace: this.namespace, name: this.catalogName }, PING_MS).then((answered) => {
      this.pinging = false;
      if (!answered) return this.lose('path');
      if (this.lastObjectMs !== lastObjectMs) return;
      this.nextPingMs = performance.now() + (PING_AGAIN_MS[Math.min(this.answers, PING_AGAIN_MS.length - 1)] ?? 0);
      this.answers++;
    });
  }

  private end(): void {
    if (this.over) return;
    this.over = true;
    window.clearInterval(this.timer);
    this.events.onEnd();
  }

  private lose(why: Lost, to: Address | null = null): void {
    if (this.over) return;
    this.over = true;
    window.clearInterval(this.timer);
    this.session.close();
    this.events.onLost(why, to);
  }
}
