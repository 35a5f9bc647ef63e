/** What viewers say to each other, as the server sends it. Nothing in it is markup: it is only ever shown as text. */

export interface Message {
  /** Rises with time. */
  id: number;
  /** Milliseconds since 1970. */
  at: number;
  name: string;
  text: string;
}

/** What a newcomer is told. */
export interface Everything {
  /** Whether something can be said. */
  open: boolean;
  messages: Message[];
}

export const NAME_CHARS_MAX = 40;
export const TEXT_CHARS_MAX = 500;

export function parseMessage(value: unknown): Message | null {
  const { id, at, name, text } = fieldsOf(value);
  if (typeof id !== 'number' || typeof at !== 'number' || typeof name !== 'string' || typeof text !== 'string') return null;
  return { id, at, name, text };
}

export function parseEverything(value: unknown): Everything {
  const { open, messages } = fieldsOf(value);
  const all = Array.isArray(messages) ? messages.map(parseMessage) : [];
  return { open: open === true, messages: all.filter((message) => message !== null) };
}

function fieldsOf(value: unknown): Record<string, unknown> {
  return (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>;
}

/** Marks on one letter. */
const MARKS_MAX = 3;

type Ranges = readonly (readonly [first: number, last: number])[];

/** What has no width, or turns what follows round, but for joiners. */
const UNSEEN: Ranges = [
  [0xad, 0xad], [0x61c, 0x61c], [0x115f, 0x1160], [0x180e, 0x180e], [0x200b, 0x200b], [0x200e, 0x200f], [0x2028, 0x202e], [0x2060, 0x206f],
  [0x2800, 0x2800], [0x3164, 0x3164], [0xfeff, 0xfeff], [0xffa0, 0xffa0], [0xfff9, 0xfffb], [0xe0000, 0xe0fff],
];
const JOINERS: Ranges = [[0x200c, 0x200d], [0xfe00, 0xfe0f]];
const MARKS: Ranges = [[0x300, 0x36f], [0x483, 0x489], [0x1ab0, 0x1aff], [0x1dc0, 0x1dff], [0x20d0, 0x20ff], [0xfe20, 0xfe2f]];

function isIn(ranges: Ranges, character: string): boolean {
  const code = character.codePointAt(0) ?? 0;
  return ranges.some(([first, last]) => code >= first && code <= last);
}

/** What the server makes of a line (`clean` in crates/chat/src/message.rs): one line of what can be seen. What comes back is known by it. */
export function tidy(text: string): string {
  let out = '';
  let marks = 0;
  for (const c of text) {
    if (/\p{White_Space}/u.test(c)) {
      if (out !== '' && !out.endsWith(' ')) out += ' ';
      marks = 0;
      continue;
    }
    // Halves of characters are no text that can be sent.
    if (/[\p{Cc}\p{Cs}]/u.test(c) || isIn(UNSEEN, c)) continue;
    marks = isIn(MARKS, c) ? marks + 1 : 0;
    if (marks <= MARKS_MAX) out += c;
  }
  const isSeen = [...out].some((c) => c !== ' ' && !isIn(JOINERS, c) && !isIn(MARKS, c));
  return isSeen ? out.trimEnd() : '';
}
