/** What OBS takes to send a ladder of its own: the configuration of its multitrack video. */

/** The larger ones first: the first is the original, the others are its levels. */
const LADDER = [
  { width: 1920, height: 1080, bitrate: 6_000 },
  { width: 1280, height: 720, bitrate: 3_000 },
  { width: 854, height: 480, bitrate: 1_400 },
  { width: 640, height: 360, bitrate: 800 },
];

/**
 * For "Config Override (JSON)" of a custom service (OBS 32.0.1 and newer; 30.2 to 32.0.0 if started with
 * `--enable-multitrack-video-dev`). It has no stream key: that stays where OBS keeps it.
 */
export function multitrack(server: string) {
  const framerate = { numerator: 30, denominator: 1 };
  const video = ({ width, height, bitrate }: (typeof LADDER)[number]) => ({
    type: 'obs_x264',
    width,
    height,
    framerate,
    // Two seconds, as segments are, and the same in all of them: at scene cuts each would make key frames of its own.
    settings: { rate_control: 'CBR', bitrate, keyint_sec: 2, preset: 'veryfast', profile: 'high', x264opts: 'scenecut=0' },
  });
  const sound = { codec: 'aac', track_id: 1, channels: 2, settings: { bitrate: 160 } };
  return {
    meta: { service: 'Airwave', schema_version: '2024-06-04', config_id: '' },
    ingest_endpoints: [{ protocol: server.startsWith('rtmps:') ? 'RTMPS' : 'RTMP', url_template: `${server.replace(/\/$/, '')}/{stream_key}` }],
    encoder_configurations: LADDER.map(video),
    audio_configurations: { live: [sound] },
  };
}
