import type { Level } from './engine';
import type { State } from './session';

/** What the player says of itself. */
export interface PlayerStats {
  state: State['name'];
  mode: string;
  live: boolean;
  videoUID: string | null;
  framesShown: number;
  framesDropped: number;
  /** Source to screen by PROGRAM-DATE-TIME; the distance to the edge where the playlist has none. */
  latencySeconds: number | null;
  targetLatencySeconds: number | null;
  bufferSeconds: number;
  /** When what the picture shows took place, in milliseconds since 1970. */
  playingAtMs: number | null;
  playbackRate: number;
  stalls: number;
  stalledSeconds: number;
  level: Level | null;
  levels: number;
  notice: string;
}
