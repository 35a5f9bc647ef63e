// Test pictures with a frame counter that survives encoding, and a tone. See README.md for the filter in words.
import { spawn } from 'node:child_process';

export const COUNTER_BITS = 20;
export const COUNTER_CELL = 16;

/** Draws frame number N as 20 squares of 16x16 px at the top left, most significant first: white 1, black 0. */
export function counterFilter(rate) {
  const bit = "bitand(floor(N/pow(2,19-floor(X/16))),1)";
  return (
    `color=c=black:s=320x16:r=${rate},format=yuv420p,` +
    `geq=lum='if(${bit},235,16)':cb=128:cr=128[counter];[picture][counter]overlay=0:0:format=yuv420,format=yuv420p[v]`
  );
}

export function sourceArgs({ size = '1280x720', rate = 30, tone = 1000, seconds = null } = {}) {
  const limit = seconds === null ? [] : ['-t', String(seconds)];
  return [
    '-hide_banner', '-loglevel', 'error', '-nostdin',
    '-re', '-f', 'lavfi', '-i', `sine=frequency=${tone}:sample_rate=48000`,
    '-filter_complex', `testsrc2=s=${size}:r=${rate}[picture];${counterFilter(rate)};[v]realtime[vr]`,
    '-map', '[vr]', '-map', '0:a', ...limit,
  ];
}

/**
 * A live source: H.264 and AAC as two streams of fragmented MP4, one fragment per part.
 * Returns the ffmpeg process; video comes on stdio 1, audio on stdio 3. `ladder`: a smaller picture on stdio 4 and
 * another tone on stdio 5.
 */
export function startSource(options = {}) {
  const { rate = 30, gopS = 2, partMs = 200, vcodec = 'libx264', profile = 'main', ac = 2, ladder = false } = options;
  const fragment = ['-f', 'mp4', '-frag_duration', String(partMs * 1000), '-flush_packets', '1'];
  const args = sourceArgs(options)
    .filter((arg) => arg !== '0:a' && arg !== '-map' && arg !== '[vr]')
    .map((arg) => (ladder && arg.endsWith('[vr]') ? `${arg.slice(0, -4)},split[vr][all];[all]scale=320:180[low];sine=frequency=500:sample_rate=48000[tone]` : arg));
  const encoder =
    vcodec === 'libx264'
      ? ['-c:v', 'libx264', '-preset', 'ultrafast', '-tune', 'zerolatency', '-profile:v', profile === 'baseline' ? 'baseline' : profile]
      : ['-c:v', vcodec, '-preset', 'ultrafast', '-tag:v', 'hvc1', '-x265-params', 'log-level=none'];
  const video = (from, bitrate, pipe) => [
    '-map', from, ...encoder, '-b:v', bitrate, '-g', String(rate * gopS), '-keyint_min', String(rate * gopS), '-sc_threshold', '0', '-bf', '0',
    '-movflags', 'frag_keyframe+empty_moov+default_base_moof', ...fragment, `pipe:${pipe}`,
  ];
  const audio = (from, pipe) => [
    '-map', from, '-c:a', 'aac', '-b:a', '128k', '-ac', String(ac),
    '-movflags', 'empty_moov+default_base_moof', ...fragment, `pipe:${pipe}`,
  ];
  const more = ladder ? [...video('[low]', '300k', 4), ...audio('[tone]', 5)] : [];
  return spawn('ffmpeg', [...args, ...video('[vr]', '2500k', 1), ...audio('0:a', 3), ...more], {
    stdio: ['ignore', 'pipe', 'inherit', 'pipe', 'pipe', 'pipe'],
  });
}
