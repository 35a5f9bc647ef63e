/** Bare frames (draft-ietf-moq-loc-04): what stands on their objects. */
import { pairs } from './wire';

/** draft-ietf-moq-loc-04 */
const TIMESCALE = 0x08;
const VIDEO_FRAME_MARKING = 0x09;
const VIDEO_CONFIG = 0x0d;
const AUDIO_CONFIG = 0x0f;
const TIMESTAMP = 0x10;
/** Airwave's: when the first frame of a group was taken, in ms since 1970. */
const WALL_CLOCK = 0x3806;
/** Airwave's: what comes does not follow from what was. */
const DISCONTINUITY = 0x3808;
/** RFC 9626 §3.1: I, the frame can be decoded without others. */
const INDEPENDENT = 0x20;
/** Of a frame whose track and object say none. */
const MICROSECONDS = 1_000_000;

export interface FrameInfo {
  /** When it is shown, on the clock of its broadcast. */
  presentMs: number;
  /** null: it does not say. */
  independent: boolean | null;
  /** Decoder configuration. */
  config: Uint8Array<ArrayBuffer> | null;
  wallClockMs: number | null;
  /** It does not follow from what was: its publisher has come back, or another one has come. */
  discontinuity: boolean;
}

/** null: not said when it is shown. `timescale`: of the track, 0 if it says none. */
export function frameInfo(properties: Uint8Array, timescale: number): FrameInfo | null {
  const said = pairs(properties);
  const number = (type: number) => {
    const value = said.get(type);
    return typeof value === 'number' ? value : null;
  };
  const bytes = (type: number) => {
    const value = said.get(type);
    return value instanceof Uint8Array ? value : null;
  };
  const time = number(TIMESTAMP);
  if (time === null) return null;
  const perSecond = number(TIMESCALE) || timescale || MICROSECONDS;
  const marking = bytes(VIDEO_FRAME_MARKING)?.[0];
  const config = bytes(VIDEO_CONFIG) ?? bytes(AUDIO_CONFIG);
  return {
    presentMs: (time / perSecond) * 1000,
    independent: marking === undefined ? null : (marking & INDEPENDENT) !== 0,
    config: config === null ? null : Uint8Array.from(config),
    wallClockMs: number(WALL_CLOCK),
    discontinuity: (number(DISCONTINUITY) ?? 0) !== 0,
  };
}
