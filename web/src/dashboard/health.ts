/** What an encoder really sends, in words a broadcaster understands. Every number may be missing. */
import { list, number, record, text } from '../shared/json';

export interface Fact {
  kind: 'number' | 'advice';
  name: string;
  value: string;
}

type Row = [field: string, name: string, words: (value: number) => string];

const ROWS: Row[] = [
  ['bitrateBps', 'Bitrate', (bps) => (bps < 1e6 ? `${Math.round(bps / 1e3)} kbit/s` : `${(bps / 1e6).toFixed(1)} Mbit/s`)],
  ['frameRate', 'Frame rate', (rate) => `${trim(rate, 2)} fps`],
  ['keyFrameIntervalSeconds', 'Key frames', (seconds) => `every ${trim(seconds, 1)} s`],
  ['uploadRatio', 'Upload', (ratio) => (ratio >= 0.98 ? 'keeps up' : `${Math.round(ratio * 100)} % of real time`)],
  ['timestampRepairs', 'Times repaired', String],
  ['framesDropped', 'Frames dropped', String],
];

/** null: the server tells nothing. Advice comes first. */
export function parseHealth(value: unknown): Fact[] | null {
  const fields = record(value);
  const advice = list(fields.advice)
    .map((entry) => text(entry) ?? text(record(entry).message))
    .filter((words) => words !== null)
    .map((words): Fact => ({ kind: 'advice', name: '', value: words }));
  const numbers = ROWS.flatMap(([field, name, words]): Fact[] => {
    const found = number(fields[field]);
    return found === null ? [] : [{ kind: 'number', name, value: words(found) }];
  });
  const facts = [...advice, ...numbers];
  return facts.length === 0 ? null : facts;
}

function trim(value: number, digits: number): string {
  return String(Number(value.toFixed(digits)));
}
