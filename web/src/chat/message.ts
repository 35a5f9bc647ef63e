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

/** What the server will make of a line: one line of what can be seen. */
export function tidy(text: string): string {
  return text
    .replace(/\s+/gu, ' ')
    .replace(/[\p{Cc}\p{Cf}]/gu, (c) => (c === '\u200c' || c === '\u200d' ? c : ''))
    .trim();
}
