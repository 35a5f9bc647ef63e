// An encoder whose every frame is known: its number stands in the picture, and when it was made is kept. Once a second the picture
// flashes and the sound beeps, at the same moment.
import { spawn } from 'node:child_process';

export const RATE = 30;
export const COUNTER = { x: 0, y: 0, cell: 16, bits: 20 };
const SAMPLE_RATE = 48_000;
const SAMPLES = SAMPLE_RATE / RATE;
const FLASH_FRAMES = 2;

/** Frame `n` flashes: the first of them tells when. */
export const flashes = (n) => n % RATE === 0;

/** Publishes to an RTMP URL until `stop`. `madeAtMs[n]`: wall clock of frame n. */
export function startGlass(rtmp, [width, height] = [640, 360]) {
  const ffmpeg = spawn('ffmpeg', arguments_(rtmp, width, height), { stdio: ['pipe', 'ignore', 'inherit', 'pipe'] });
  const [picture, sound] = [ffmpeg.stdin, ffmpeg.stdio[3]];
  for (const pipe of [picture, sound]) pipe.on('error', () => {});
  const base = background(width, height);
  const madeAtMs = [];
  const startedMs = performance.now();
  let timer = null;
  const next = () => {
    const n = madeAtMs.length;
    madeAtMs.push(Date.now());
    sound.write(beep(n));
    picture.write(draw(base, width, height, n));
    timer = setTimeout(next, startedMs + ((n + 1) * 1000) / RATE - performance.now());
  };
  next();
  const ended = new Promise((resolve) => ffmpeg.on('exit', resolve));
  return {
    madeAtMs,
    stop: () => {
      clearTimeout(timer);
      for (const pipe of [picture, sound]) pipe.end();
      return ended;
    },
  };
}

function arguments_(rtmp, width, height) {
  const raw = ['-f', 'rawvideo', '-pix_fmt', 'yuv420p', '-s', `${width}x${height}`, '-r', String(RATE), '-i', 'pipe:0'];
  return [
    '-hide_banner', '-loglevel', 'error', '-fflags', 'nobuffer', '-probesize', '32', '-analyzeduration', '0', ...raw,
    '-probesize', '32', '-analyzeduration', '0', '-f', 's16le', '-ar', String(SAMPLE_RATE), '-ac', '2', '-i', 'pipe:3',
    '-map', '0:v', '-map', '1:a',
    '-c:v', 'libx264', '-preset', 'ultrafast', '-tune', 'zerolatency', '-b:v', '2500k', '-g', String(2 * RATE), '-keyint_min', String(2 * RATE), '-sc_threshold', '0',
    '-c:a', 'aac', '-b:a', '128k', '-flush_packets', '1', '-f', 'flv', rtmp,
  ];
}

function background(width, height) {
  const frame = Buffer.alloc((width * height * 3) / 2, 128);
  for (let row = 0; row < height; row++) for (let column = 0; column < width; column++) frame[row * width + column] = 60 + ((row + column) % 97);
  return frame;
}

/** A bar moves, so that there is something to encode. */
function draw(base, width, height, n) {
  const frame = Buffer.from(base);
  const bar = (n * 8) % (width - 40);
  const lit = n % RATE < FLASH_FRAMES ? 235 : 30;
  for (let row = 40; row < height; row++) frame.fill(row > height - 80 ? lit : 200, row * width + bar, row * width + bar + 40);
  const { cell, bits } = COUNTER;
  for (let row = 0; row < cell; row++) {
    for (let bit = 0; bit < bits; bit++) {
      const white = (n >> (bits - 1 - bit)) & 1;
      frame.fill(white ? 235 : 16, row * width + bit * cell, row * width + (bit + 1) * cell);
    }
  }
  return frame;
}

function beep(n) {
  const samples = Buffer.alloc(SAMPLES * 4);
  if (n % RATE >= FLASH_FRAMES) return samples;
  for (let at = 0; at < SAMPLES; at++) {
    const value = Math.round(12_000 * Math.sin((2 * Math.PI * 1000 * at) / SAMPLE_RATE));
    samples.writeInt16LE(value, at * 4);
    samples.writeInt16LE(value, at * 4 + 2);
  }
  return samples;
}
