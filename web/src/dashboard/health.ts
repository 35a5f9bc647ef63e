/** What an encoder really sends, in words a broadcaster understands. Every number may be missing. */
import { type Fields, list, number, record, text } from '../shared/json';

export interface Fact {
  kind: 'number' | 'advice';
  name: string;
  value: string;
}

type Row = [name: string, value: number | null, words: (value: number) => string];

/** A count of nothing is no news. */
const some = (count: number | null) => (count === 0 ? null : count);
const upload = (ratio: number) => (ratio >= 0.98 ? 'keeps up' : `${Math.round(ratio * 100)} % of real time`);
const bits = (bps: number) => (bps < 1e6 ? `${Math.round(bps / 1e3)} kbit/s` : `${(bps / 1e6).toFixed(1)} Mbit/s`);

function rows(health: Fields): Row[] {
  const [video, audio, repairs] = [record(health.video), record(health.audio), record(health.repairs)];
  // What is left out before the first key frame is no repair of the encoder's doing.
  const repaired = ['clockJumps', 'timesNotRising', 'audioReanchored', 'audioGaps'];
  return [
    ['Video', some(number(video.bitsPerSecond)), bits],
    ['Sound', some(number(audio.bitsPerSecond)), bits],
    ['Frame rate', some(number(video.framesPerSecond)), (rate) => `${trim(rate, 2)} fps`],
    ['Key frames', number(health.keyFrameIntervalSeconds), (seconds) => `every ${trim(seconds, 1)} s`],
    ['Upload', number(health.uploadRatio), upload],
    ['Times repaired', some(repaired.reduce((sum, name) => sum + (number(repairs[name]) ?? 0), 0)), String],
    ['Frames dropped', some(number(health.framesDropped)), String],
  ];
}

/** null: the server tells nothing. Advice comes first. */
export function parseHealth(value: unknown): Fact[] | null {
  const fields = record(value);
  const advice = list(fields.advice)
    .map((entry) => text(entry) ?? text(record(entry).message))
    .filter((words) => words !== null)
    .map((words): Fact => ({ kind: 'advice', name: '', value: words }));
  const numbers = rows(fields).flatMap(([name, found, words]): Fact[] =>
    found === null ? [] : [{ kind: 'number', name, value: words(found) }],
  );
  const facts = [...advice, ...numbers];
  return facts.length === 0 ? null : facts;
}

function trim(value: number, digits: number): string {
  return String(Number(value.toFixed(digits)));
}
