/** What the dashboard shows, and what its buttons do. */
import { type Broadcast, parseBroadcasts } from '../landing/broadcasts';
import { type Api, Failed } from './api';
import { follow, type Input, merge, parseInput, together, uidsOf, whomToAsk } from './inputs';
import { Poll } from './poll';

const POLL_MS = 3_000;
/** Inputs that are shown at first, and that each wish for more adds. */
export const SHOWN_STEP = 50;

/** A question before something that cannot be taken back. */
export interface Question {
  title: string;
  text: string;
  yes: string;
  run: () => Promise<void>;
}

export class Model {
  inputs = $state<Input[]>([]);
  onAir = $state<Broadcast[]>([]);
  loaded = $state(false);
  /** What is wrong with the whole page. */
  problem = $state('');
  /** How many there are, shown or not; of those that are searched for. */
  total = $state(0);
  search = $state('');
  question = $state<Question | null>(null);
  /** The live input whose picture was asked for. */
  chosen = $state<string | null>(null);
  /** Just created: shown with its key open. */
  fresh = $state<string | null>(null);
  nowMs = $state(Date.now());

  private ownKeys = $state<Record<string, string>>({});
  private readonly ownKeysAsked = new Set<string>();
  private shown = SHOWN_STEP;
  private left = false;
  private readonly askedAtMs = new Map<string, number>();
  private readonly poll = new Poll(() => this.round(), POLL_MS);
  private readonly onVisible = () => this.poll.now();

  constructor(
    readonly api: Api,
    private readonly leave: (words: string) => void,
  ) {}

  start(): void {
    document.addEventListener('visibilitychange', this.onVisible);
    this.poll.now();
  }

  stop(): void {
    document.removeEventListener('visibilitychange', this.onVisible);
    this.poll.stop();
  }

  signOut(): void {
    this.out('');
  }

  /** Words for a failure; a token that is not valid any more leads out. */
  explain(error: unknown): string {
    if (!(error instanceof Failed)) throw error;
    if (error.fault === 'token') this.out(error.message);
    return error.message;
  }

  showMore(): void {
    this.shown += SHOWN_STEP;
    this.poll.now();
  }

  find(name: string): void {
    if (name.trim() === this.search) return;
    this.search = name.trim();
    this.shown = SHOWN_STEP;
    this.poll.now();
  }

  async create(name: string): Promise<void> {
    this.search = '';
    const input = this.take(await this.api.create(name));
    this.fresh = input?.uid ?? null;
  }

  async rename(input: Input, name: string): Promise<void> {
    // `meta` is replaced as a whole; what other programs keep in it stays.
    this.take(await this.api.update(input.uid, { meta: { ...input.meta, name } }));
  }

  async setEnabled(input: Input, enabled: boolean): Promise<void> {
    this.take(await this.api.update(input.uid, { enabled }));
  }

  async setLocked(input: Input, locked: boolean): Promise<void> {
    this.take(await this.api.update(input.uid, { recording: { requireSignedURLs: locked } }));
  }

  async setRecorded(input: Input, recorded: boolean): Promise<void> {
    this.take(await this.api.update(input.uid, { recording: { mode: recorded ? 'automatic' : 'off' } }));
  }

  /** null: its recordings are kept as the server is configured. */
  async setDays(input: Input, days: number | null): Promise<void> {
    this.take(await this.api.update(input.uid, { deleteRecordingAfterDays: days }));
  }

  /** The server's own, or the original only. A list that another program has made is not kept. */
  async setLevels(input: Input, levels: boolean): Promise<void> {
    this.take(await this.api.update(input.uid, { ladder: levels ? null : [] }));
  }

  async setChat(input: Input, allowed: boolean): Promise<void> {
    this.take(await this.api.update(input.uid, { recording: { allowChat: allowed } }));
  }

  /** By what this page opens a live input that is locked; null: not known yet. */
  ownKey(uid: string): string | null {
    const known = this.ownKeys[uid];
    if (known === undefined) void this.fetchOwnKey(uid);
    return known ?? null;
  }

  async rotateKeys(input: Input): Promise<void> {
    this.take(await this.api.rotateKeys(input.uid));
  }

  async remove(input: Input): Promise<void> {
    await this.api.remove(input.uid);
    this.inputs = this.inputs.filter(({ uid }) => uid !== input.uid);
    this.poll.now();
  }

  /** Once for each: it is good for a day, and a page that is open for longer is loaded again. */
  private async fetchOwnKey(uid: string): Promise<void> {
    if (this.ownKeysAsked.has(uid)) return;
    this.ownKeysAsked.add(uid);
    try {
      const key = await this.api.token(uid);
      if (key !== null) this.ownKeys = { ...this.ownKeys, [uid]: key };
    } catch (error) {
      this.problem = this.explain(error);
    }
  }

  /** Several requests may learn at the same time that the token is not valid any more. */
  private out(words: string): void {
    if (this.left) return;
    this.left = true;
    this.leave(words);
  }

  private async round(): Promise<void> {
    try {
      const search = this.search;
      const [{ rows, total }, onAir] = await Promise.all([this.api.inputs(this.shown, search), this.api.inputsOnAir(SHOWN_STEP), this.look()]);
      // Asked for something else meanwhile: the next round brings it.
      if (search !== this.search) return;
      // What is on the air comes first, however old its input is.
      this.inputs = merge(search === '' ? together(rows, onAir) : rows, this.inputs);
      this.total = total;
      const asked = whomToAsk(this.inputs, this.askedAtMs, uidsOf(onAir));
      const answers = await Promise.allSettled(asked.map((uid) => this.api.input(uid)));
      for (const answer of answers) if (answer.status === 'fulfilled') this.take(answer.value, false);
      for (const uid of asked) this.askedAtMs.set(uid, Date.now());
      this.problem = '';
      this.loaded = true;
    } catch (error) {
      this.problem = this.explain(error);
    }
    this.nowMs = Date.now();
  }

  /** The public list knows since when, and how many watch. It is an extra: without it the page still works. */
  private async look(): Promise<void> {
    try {
      const response = await fetch('/live.json', { cache: 'no-store', signal: AbortSignal.timeout(8_000) });
      this.onAir = parseBroadcasts(await response.json()).broadcasts;
    } catch {
      this.onAir = [];
    }
  }

  /** Puts a whole live input into its place. */
  private take(answer: unknown, changed = true): Input | null {
    const parsed = parseInput(answer);
    if (parsed === null) return null;
    const before = this.inputs.find(({ uid }) => uid === parsed.uid);
    const broadcast = this.onAir.find(({ id }) => id === parsed.uid);
    const input = follow(before, parsed, broadcast, Date.now());
    if (before === undefined) {
      // Deleted in the meantime, unless this page has just made it.
      if (!changed) return null;
      this.inputs = [input, ...this.inputs];
    } else {
      this.inputs = this.inputs.map((other) => (other.uid === input.uid ? input : other));
    }
    if (changed) this.poll.now();
    return input;
  }
}
