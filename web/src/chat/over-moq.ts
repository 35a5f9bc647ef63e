/**
 * A chat over MoQ: everybody's messages are a track beside the media, and a viewer publishes his own in a namespace below.
 *
 * The first object of a group says everything anew; each further one is one more message. What was deleted is not in the next
 * group, and older groups do not matter any more.
 */
import { writeHeader, writeObjectHead, type MoqObject } from '../moq/objects';
import { type Address, Session } from '../moq/session';
import { type Everything, type Message, parseEverything, parseMessage } from './message';

const TRACK = 'chat';
const OPEN_MS = 4_000;
/** Behind the media. */
const PRIORITY = 200;

export interface ChatEvents {
  onEverything(everything: Everything): void;
  onMessage(message: Message): void;
  /** Nothing more comes from here. `to`: where it goes on, if the server says so. */
  onLost(to: Address | null): void;
}

export class MoqChat {
  private group = -1;
  private next = Date.now();
  /** The alias of the track of our own. */
  private publishing: Promise<number> | null = null;
  private aliases = 0;
  private lost = false;

  private constructor(
    private readonly session: Session,
    private readonly namespace: string[],
    private readonly events: ChatEvents,
  ) {
    void session.closed.then(() => this.lose());
    void session.goingAway.then((to) => this.lose(to));
  }

  static async open(address: Address, namespace: string[], events: ChatEvents): Promise<MoqChat> {
    const session = await Session.open(address, OPEN_MS);
    const chat = new MoqChat(session, namespace, events);
    const sink = { object: (object: MoqObject) => chat.take(object), streamEnded: () => {}, done: () => chat.lose() };
    try {
      await session.subscribe({ namespace, name: TRACK }, { priority: PRIORITY, order: 'ascending' }, sink);
      return chat;
    } catch (error) {
      chat.close();
      throw error;
    }
  }

  private take({ group, id, payload }: MoqObject): void {
    if (this.lost || group < this.group) return;
    const value = json(payload);
    if (id === 0) {
      this.group = group;
      this.events.onEverything(parseEverything(value));
    } else if (group === this.group) {
      const message = parseMessage(value);
      if (message !== null) this.events.onMessage(message);
    }
  }

  /** Sends a message. That it was taken shows when it comes back. */
  async say(name: string, text: string): Promise<void> {
    // A reader costs the server nothing that a writer does.
    this.publishing ??= this.publish();
    const alias = await this.publishing.catch((error: unknown) => {
      this.publishing = null;
      throw error;
    });
    const payload = new TextEncoder().encode(JSON.stringify({ name, text }));
    const stream = await this.session.openUni();
    const pieces = [writeHeader(alias, this.next++), writeObjectHead(new Uint8Array(), payload.length), payload];
    for (const piece of pieces) await stream.write(piece);
    await stream.close();
  }

  private async publish(): Promise<number> {
    const alias = ++this.aliases;
    const { ended } = await this.session.publish({ namespace: [...this.namespace, TRACK], name: 'messages' }, alias);
    // Who is silent for long loses his place: the next message asks for another one.
    void ended.then(() => (this.publishing = null));
    return alias;
  }

  close(): void {
    this.lost = true;
    this.session.close();
  }

  private lose(to: Address | null = null): void {
    if (this.lost) return;
    this.close();
    this.events.onLost(to);
  }
}

function json(payload: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(payload));
  } catch {
    return null;
  }
}
