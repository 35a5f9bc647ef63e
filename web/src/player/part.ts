/** What an object of a packaged track says of itself: `crates/package/src/properties.rs`. */
import { pairs, Reader } from '../moq/wire';

const PART = 0x3801;
const SEGMENT = 0x3803;

export interface PartInfo {
  /** In units of its segment's timescale. */
  duration: number;
  /** The longest that a part of this track lasts. */
  targetMs: number;
  /** Of the first part of a segment. */
  segment: { timescale: number; wallClockMs: number; startS: number; /** Of its initialisation segment, rounded. */ init: number } | null;
}

/** null: not one of our packager's. */
export function partInfo(properties: Uint8Array): PartInfo | null {
  const all = pairs(properties);
  const part = all.get(PART);
  const segment = all.get(SEGMENT);
  if (!(part instanceof Uint8Array)) return null;
  const fields = new Reader(part);
  fields.varint();
  const duration = fields.varint();
  const targetMs = fields.varint();
  if (!(segment instanceof Uint8Array)) return { duration, targetMs, segment: null };
  const more = new Reader(segment);
  more.varint();
  const timescale = more.varint();
  more.varint();
  const wallClockMs = more.varint();
  const startS = more.varint() / timescale;
  more.varint();
  return { duration, targetMs, segment: { timescale, wallClockMs, startS, init: more.varint() } };
}
