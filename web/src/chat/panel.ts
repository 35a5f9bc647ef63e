/** The chat as it is seen: messages as text, never as markup; a name, a line, and a button. */
import { remember, remembered } from '../shared/memory';
import { type Message, NAME_CHARS_MAX, TEXT_CHARS_MAX, tidy } from './message';
import { NotSure } from './over-http';

const NAME_KEY = 'airwave-chat-name';
/** Nearer to the end than this is at the end. */
const AT_END_PX = 40;

export class Panel {
  readonly root = element('section', 'chat');
  private readonly log = element('div', 'messages');
  private readonly newer = element('button', 'newer');
  private readonly form = element('form', 'say');
  private readonly name = element('input', 'name');
  private readonly text = element('input', 'text');
  private readonly send = element('button', 'send');
  private readonly words = element('p', 'quiet');
  private readonly lines = new Map<number, HTMLElement>();
  private sending = false;
  /** Who reads the newest messages goes on to; who reads above stays there. */
  private follows = true;

  /** `say` resolves when everybody sees it. */
  constructor(private readonly say: (name: string, text: string) => Promise<void>) {
    const title = element('h2', '');
    title.id = 'chat-title';
    title.textContent = 'Chat';
    this.root.setAttribute('aria-labelledby', title.id);
    this.log.setAttribute('role', 'log');
    this.log.setAttribute('aria-label', 'Messages');
    // What scrolls can be reached by keyboard.
    this.log.tabIndex = 0;
    this.newer.type = 'button';
    this.newer.textContent = 'Newest messages';
    this.newer.hidden = true;
    this.newer.addEventListener('click', () => this.toEnd());
    this.log.addEventListener('scroll', () => {
      this.follows = this.atEnd();
      if (this.follows) this.newer.hidden = true;
    });
    // Words below it take some of its room.
    new ResizeObserver(() => {
      if (this.follows) this.toEnd();
    }).observe(this.log);
    this.words.setAttribute('role', 'status');
    this.field(this.name, 'Your name', NAME_CHARS_MAX);
    this.field(this.text, 'Say something', TEXT_CHARS_MAX);
    this.name.value = remembered(NAME_KEY) ?? '';
    this.name.setAttribute('autocomplete', 'nickname');
    this.text.autocomplete = 'off';
    this.send.type = 'submit';
    this.send.textContent = 'Send';
    this.form.append(this.name, this.text, this.send);
    this.form.addEventListener('submit', (event) => {
      event.preventDefault();
      void this.submit();
    });
    // Its keys are letters here, not the player's.
    this.root.addEventListener('keydown', (event) => event.stopPropagation());
    this.root.append(title, this.log, this.newer, this.form, this.words);
    this.root.hidden = true;
  }

  private field(input: HTMLInputElement, label: string, max: number): void {
    input.type = 'text';
    input.maxLength = max;
    input.placeholder = label;
    input.setAttribute('aria-label', label);
  }

  /** `open`: something can be said; `past`: something was. */
  show(messages: readonly Message[], how: 'open' | 'past' | 'closed'): void {
    this.root.hidden = how === 'closed';
    this.form.hidden = how !== 'open';
    const wanted = new Set(messages.map(({ id }) => id));
    for (const [id, line] of this.lines) {
      if (wanted.has(id)) continue;
      line.remove();
      this.lines.delete(id);
    }
    let added = false;
    let before: Element | null = null;
    for (const message of messages) {
      let line = this.lines.get(message.id);
      if (line === undefined) {
        line = lineOf(message);
        this.lines.set(message.id, line);
        if (before === null) this.log.prepend(line);
        else before.after(line);
        added = true;
      }
      before = line;
    }
    if (this.follows) this.toEnd();
    else if (added) this.newer.hidden = false;
  }

  private async submit(): Promise<void> {
    const [name, text] = [tidy(this.name.value), tidy(this.text.value)];
    if (this.sending || text === '') return;
    if (name === '') {
      this.words.textContent = 'A message needs a name.';
      this.name.focus();
      return;
    }
    this.sending = true;
    this.send.disabled = true;
    this.words.textContent = '';
    try {
      await this.say(name, text);
      remember(NAME_KEY, name);
      this.text.value = '';
      this.toEnd();
    } catch (error) {
      const words = error instanceof Error && error.message !== '' ? error.message : 'try again';
      this.words.textContent = error instanceof NotSure ? words : `Not sent: ${words}.`;
    } finally {
      this.sending = false;
      this.send.disabled = false;
      this.text.focus();
    }
  }

  private atEnd(): boolean {
    const { scrollTop, scrollHeight, clientHeight } = this.log;
    return scrollHeight - scrollTop - clientHeight < AT_END_PX;
  }

  private toEnd(): void {
    this.follows = true;
    this.log.scrollTop = this.log.scrollHeight;
    this.newer.hidden = true;
  }
}

function lineOf(message: Message): HTMLElement {
  const line = element('p', '');
  const name = element('b', '');
  const text = element('span', '');
  name.textContent = message.name;
  text.textContent = message.text;
  // What is written from right to left does not turn the rest round.
  name.dir = text.dir = 'auto';
  line.title = new Date(message.at).toLocaleTimeString();
  line.append(name, ' ', text);
  return line;
}

function element<K extends keyof HTMLElementTagNameMap>(tag: K, name: string): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  if (name !== '') made.className = name;
  return made;
}
