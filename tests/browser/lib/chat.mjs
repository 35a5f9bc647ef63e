// A make-believe chat: what the server answers at /ID/chat, and what its owner does.
import { randomUUID } from 'node:crypto';

const SHOWN = 100;

export class MakeBelieveChat {
  open = true;
  messages = [];
  #last = 0;
  #tag = randomUUID();

  add(name, text, at = Date.now()) {
    this.messages.push({ id: ++this.#last, at, name, text });
    this.#tag = randomUUID();
    return this.#last;
  }

  delete(id) {
    this.messages = this.messages.filter((message) => message.id !== id);
    this.#tag = randomUUID();
  }

  switch(open) {
    this.open = open;
    this.#tag = randomUUID();
  }

  /** Status, body and tag. */
  answer(method, [which, bound], body, known, live) {
    if (method === 'POST') {
      if (!live || !this.open) return [403, 'the chat is not open\n'];
      const { name, text } = JSON.parse(body);
      if (text === 'too much') return [429, 'that was a lot at once: wait 2 s\n'];
      return [200, { id: this.add(name, text) }];
    }
    const page = (messages) => [200, { open: false, messages }];
    if (which === 'after') return page(this.messages.filter(({ id }) => id > Number(bound)).slice(0, 200));
    if (which === 'until') return page(this.messages.filter(({ at }) => at <= Number(bound)).slice(-200));
    if (known === this.#tag) return [304, ''];
    return [200, { open: live && this.open, messages: this.open ? this.messages.slice(-SHOWN) : [] }, this.#tag];
  }
}
