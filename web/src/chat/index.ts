/** The chat beside a picture: of what is on the air, or of a recording at its time. Loaded when there is one. */
import './chat.css';
import { LiveChat, type Place } from './live';
import { HttpChat } from './over-http';
import { Panel } from './panel';
import { ReplayChat } from './replay';

const LOOK_EVERY_MS = 250;

/** What is watched. */
export type Watched =
  | { kind: 'live'; place: Place }
  /** `http`: the path of the recording. */
  | { kind: 'replay'; http: string }
  | { kind: 'nothing' };

export class Chat {
  private readonly panel = new Panel((name, text) => this.say(name, text));
  private key = '';
  private live: LiveChat | null = null;
  private replay: ReplayChat | null = null;

  /** `playingAtMs`: when what the picture shows took place. */
  constructor(parent: HTMLElement, playingAtMs: () => number | null) {
    parent.append(this.panel.root);
    window.setInterval(() => void this.replay?.at(playingAtMs(), performance.now()), LOOK_EVERY_MS);
    const seen = new MutationObserver(() => parent.classList.toggle('chatting', !this.panel.root.hidden));
    seen.observe(this.panel.root, { attributeFilter: ['hidden'] });
  }

  /** How messages come at the moment. */
  get via(): string {
    return this.live?.via ?? '';
  }

  follow(watched: Watched): void {
    const key = watched.kind === 'live' ? `live ${watched.place.http}` : watched.kind === 'replay' ? `replay ${watched.http}` : '';
    if (key === this.key) return;
    this.key = key;
    this.live?.stop();
    this.live = this.replay = null;
    if (watched.kind === 'live') this.live = new LiveChat(watched.place, () => this.show());
    if (watched.kind === 'replay') this.replay = new ReplayChat(new HttpChat(watched.http), () => this.show());
    // What was said last stays until the recording says what was said when.
    if (watched.kind === 'nothing') this.panel.show([], 'closed');
  }

  private show(): void {
    const { live, replay } = this;
    this.panel.root.dataset['via'] = this.via;
    if (live !== null) this.panel.show(live.transcript.messages, live.open ? 'open' : 'closed');
    else if (replay !== null) this.panel.show(replay.transcript.messages, replay.empty ? 'closed' : 'past');
  }

  private async say(name: string, text: string): Promise<void> {
    if (this.live === null) throw new Error('the chat is not open');
    await this.live.say(name, text);
  }
}
