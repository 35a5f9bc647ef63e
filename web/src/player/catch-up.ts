/**
 * How fast to play so that a viewer stays near the server's hold-back, and no nearer.
 *
 * hls.js has a controller of its own, but it waits for more than one second of buffer, which a hold-back of
 * three short parts never leaves. This one needs only a little more than a part.
 */
export interface Pace {
  latencyS: number;
  targetS: number;
  bufferS: number;
}

/** Nobody hears 8 % with pitch correction; more is a chipmunk. */
const RATE_MAX = 1.08;
/** Start above, stop below: no flutter around the target. */
const START_ABOVE_S = 0.3;
const STOP_BELOW_S = 0.08;
/**
 * Nearer than the server's hold-back, with next to nothing in the buffer: where playback happened to begin. Each part that is a little
 * late would be seen, until there is as much in hand as the server asks for.
 */
const TOO_NEAR_S = 0.15;
const THIN_S = 0.15;
const RATE_MIN = 0.92;
/** Further behind than this the viewer chose to be: "jump to live" is theirs to press. */
const GIVE_UP_S = 5;
/** Never play the buffer down to where the next part has to be on time. */
const BUFFER_MIN_S = 0.35;

export function playbackRate(current: number, pace: Pace): number {
  const behindS = pace.latencyS - pace.targetS;
  const fallsBack = current < 1 ? behindS < -STOP_BELOW_S : behindS < -TOO_NEAR_S && pace.bufferS < THIN_S;
  if (fallsBack) return RATE_MIN;
  if (behindS > GIVE_UP_S || pace.bufferS < BUFFER_MIN_S) return 1;
  const threshold = current > 1 ? STOP_BELOW_S : START_ABOVE_S;
  if (behindS < threshold) return 1;
  const rate = 1 + Math.min(RATE_MAX - 1, Math.max(0.02, behindS * 0.06));
  return Math.round(rate * 100) / 100;
}

export function isBehind(latencyS: number | null, targetS: number | null): boolean {
  return latencyS !== null && targetS !== null && latencyS - targetS > GIVE_UP_S - 1.5;
}
