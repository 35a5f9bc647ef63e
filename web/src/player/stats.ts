import type { Engine, Level } from './engine';
import { bufferedS } from './presentation';
import type { State } from './session';
import type { Stalls } from './stalls';
import { describe } from './words';

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

/** `latencyS`: source to screen. `pictured`: there is a picture. */
export interface Playing {
  state: State;
  engine: Engine | null;
  video: HTMLVideoElement;
  stalls: Stalls;
  latencyS: number | null;
  pictured: boolean;
}

export function statsOf({ state, engine, video, stalls, latencyS, pictured }: Playing): PlayerStats {
  const quality = video.getVideoPlaybackQuality?.();
  const dropped = quality?.droppedVideoFrames ?? 0;
  return {
    state: state.name,
    mode: engine?.mode ?? '',
    live: engine?.live ?? false,
    videoUID: 'videoUID' in state ? state.videoUID : null,
    framesShown: (quality?.totalVideoFrames ?? 0) - dropped,
    framesDropped: dropped,
    latencySeconds: latencyS,
    targetLatencySeconds: engine?.targetLatencyS() ?? null,
    bufferSeconds: bufferedS(video),
    playingAtMs: engine?.playingAtMs() ?? null,
    playbackRate: video.playbackRate,
    stalls: stalls.count,
    stalledSeconds: stalls.totalS(performance.now()),
    level: engine?.level() ?? null,
    levels: engine?.levels().length ?? 0,
    notice: describe(state, 0, pictured)?.title ?? '',
  };
}
