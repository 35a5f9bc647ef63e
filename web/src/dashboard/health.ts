/** What an encoder really sends, in words a broadcaster understands. Every number may be missing. */
import { date, type Fields, list, number, record, text } from '../shared/json';

export interface Fact {
  kind: 'number' | 'advice';
  name: string;
  value: string;
  /** Of advice: since when it is so, in milliseconds since 1970, where that is known. */
  sinceMs?: number | null;
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
  const since = list(fields.adviceSince);
  const advice = list(fields.advice).flatMap((entry, at): Fact[] => {
    const words = text(entry) ?? text(record(entry).message);
    return words === null ? [] : [{ kind: 'advice', name: '', value: words, sinceMs: date(since[at]) }];
  });
  const numbers = rows(fields).flatMap(([name, found, words]): Fact[] =>
    found === null ? [] : [{ kind: 'number', name, value: words(found) }],
  );
  const facts = [...advice, ...numbers];
  return facts.length === 0 ? null : facts;
}

function trim(value: number, digits: number): string {
  return String(Number(value.toFixed(digits)));
}

/** The time of day, with the day where it is another one than today. */
export function clock(ms: number, nowMs: number): string {
  const [then, now] = [new Date(ms), new Date(nowMs)];
  const time = then.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  return then.toDateString() === now.toDateString() ? time : `${then.toLocaleDateString()} ${time}`;
}
