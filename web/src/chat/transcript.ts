/** The messages on the screen: in their order, each once, the newest of them. */
import type { Message } from './message';

export const SHOWN_MAX = 200;

export class Transcript {
  private list: Message[] = [];

  get messages(): readonly Message[] {
    return this.list;
  }

  /** Exactly these: what is not among them was deleted, or is long ago. */
  replace(messages: Message[]): void {
    this.list = [];
    messages.forEach((message) => this.add(message));
  }

  add(message: Message): void {
    let at = this.list.length;
    while (at > 0 && (this.list[at - 1]?.id ?? 0) > message.id) at--;
    if (this.list[at - 1]?.id === message.id) return;
    this.list.splice(at, 0, message);
    if (this.list.length > SHOWN_MAX) this.list.shift();
  }
}
