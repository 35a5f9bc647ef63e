/** Captions of a recording: WebVTT files that its owner adds, one for each language. */
import { record, text } from '../shared/json';

export interface Caption {
  /** BCP 47. */
  language: string;
  /** What players call it; the server knows the names of languages. */
  label: string;
}

/** What is offered where a language is asked for; any other tag can be typed. */
export const LANGUAGES: readonly (readonly [tag: string, name: string])[] = [
  ['ar', 'Arabic'],
  ['zh', 'Chinese'],
  ['nl', 'Dutch'],
  ['en', 'English'],
  ['fr', 'French'],
  ['de', 'German'],
  ['hi', 'Hindi'],
  ['it', 'Italian'],
  ['ja', 'Japanese'],
  ['pl', 'Polish'],
  ['pt', 'Portuguese'],
  ['ru', 'Russian'],
  ['es', 'Spanish'],
  ['tr', 'Turkish'],
  ['uk', 'Ukrainian'],
];

export function parseCaptions(rows: unknown[]): Caption[] {
  return rows.map(parseCaption).filter((caption) => caption !== null);
}

export function parseCaption(value: unknown): Caption | null {
  const fields = record(value);
  const language = text(fields.language);
  return language === null ? null : { language, label: text(fields.label) ?? language };
}

/** A language has one file: another one takes its place. */
export function withCaption(all: Caption[], added: Caption): Caption[] {
  const others = all.filter(({ language }) => language !== added.language);
  return [...others, added].sort((a, b) => (a.language < b.language ? -1 : 1));
}
