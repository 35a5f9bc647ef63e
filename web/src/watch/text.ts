/** What the watch page says under the picture. */
import type { PlayerStats } from '../player/stats';
import type { Lifecycle } from '../player/session';

export function line(
  stats: Pick<PlayerStats, 'state'>,
  lifecycle: Lifecycle | null,
  viewers: number | null,
): string {
  switch (stats.state) {
    case 'live': {
      // A picture that was paused stands still when the broadcast ends.
      if (lifecycle?.live === false) return 'The broadcast has ended';
      const watching = viewers === null || viewers < 1 ? '' : ` · ${viewers} watching`;
      return `Live now${watching}`;
    }
    case 'ending':
    case 'replay':
      return lifecycle?.isInput === false ? 'Recording' : 'Recording of the last broadcast';
    case 'waiting':
      return 'Not live at the moment';
    case 'lost':
      return 'Connection lost';
    case 'asking':
    case 'stopped':
      return '';
  }
}

export function rows(stats: PlayerStats): [string, string][] {
  const { level } = stats;
  const seconds = (value: number | null) => (value === null ? '–' : `${value.toFixed(2)} s`);
  return [
    ['Mode', stats.mode || '–'],
    ['Latency', seconds(stats.latencySeconds)],
    ['Target from edge', seconds(stats.targetLatencySeconds)],
    ['Buffer', seconds(stats.bufferSeconds)],
    ['Speed', `${stats.playbackRate.toFixed(2)} ×`],
    ['Frames shown', String(stats.framesShown)],
    ['Frames dropped', String(stats.framesDropped)],
    ['Stalls', `${stats.stalls} (${stats.stalledSeconds.toFixed(1)} s)`],
    ['Picture', level === null ? '–' : `${level.width} × ${level.height}`],
    [
      'Bitrate',
      level === null || level.bitrateBps === 0 ? '–' : `${(level.bitrateBps / 1e6).toFixed(2)} Mbit/s`,
    ],
    ['Codecs', level?.codecs || '–'],
    ['State', stats.state],
  ];
}
