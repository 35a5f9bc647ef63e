// Runs inside the page (sent there as source text): watches one <video> frame by frame. It closes over nothing.

/** Installs `window.measure` with start(video, options) and result(). */
export function installMeasure() {
  const state = { frames: [], stalls: [], waitingSince: null, pixels: [], ended: false, presented: [0, 0], latency: [] };
  let tone = null;

  function start(video, options) {
    const canvas = document.createElement('canvas');
    const context = canvas.getContext('2d', { willReadFrequently: true });
    state.settleUntil = performance.now() + options.settleMs;
    state.quality = null;
    video.addEventListener('waiting', () => {
      if (!video.seeking && !video.ended && !video.paused && performance.now() > state.settleUntil) state.waitingSince ??= performance.now();
    });
    video.addEventListener('playing', () => {
      if (state.waitingSince !== null) state.stalls.push({ atS: video.currentTime, durationMs: performance.now() - state.waitingSince });
      state.waitingSince = null;
    });
    video.addEventListener('ended', () => {
      state.ended = true;
    });
    const onFrame = (_now, frame) => {
      // What the same element plays after the end (the replay) is another measurement.
      if (state.ended) return;
      video.requestVideoFrameCallback(onFrame);
      if (performance.now() < state.settleUntil) return;
      if (state.quality === null) {
        state.quality = video.getVideoPlaybackQuality();
        state.presented[0] = frame.presentedFrames - 1;
      }
      state.presented[1] = frame.presentedFrames;
      state.lastQuality = video.getVideoPlaybackQuality();
      state.frames.push({
        mediaTime: frame.mediaTime,
        expectedDisplayTime: frame.expectedDisplayTime,
        presentedFrames: frame.presentedFrames,
        width: frame.width,
        height: frame.height,
        ...(options.counter ? { counter: readCounter(video, context, options.counter) } : {}),
      });
      if (options.pixels) samplePixels(video, context, frame.mediaTime, options.pixels);
    };
    video.requestVideoFrameCallback(onFrame);
    state.video = video;
  }

  /** 20 squares, most significant first; each is judged by the middle quarter of its area. */
  function readCounter(video, context, { x, y, cell, bits, sourceWidth }) {
    const scale = sourceWidth ? video.videoWidth / sourceWidth : 1;
    const [width, height] = [cell * bits, cell];
    if (context.canvas.width !== width || context.canvas.height !== height) Object.assign(context.canvas, { width, height });
    context.drawImage(video, x * scale, y * scale, width * scale, height * scale, 0, 0, width, height);
    const { data } = context.getImageData(0, 0, width, height);
    let value = 0;
    for (let bit = 0; bit < bits; bit++) {
      let sum = 0;
      let count = 0;
      for (let row = cell / 4; row < (cell * 3) / 4; row++) {
        for (let column = cell / 4; column < (cell * 3) / 4; column++) {
          sum += data[4 * (row * width + bit * cell + column) + 1];
          count++;
        }
      }
      value = value * 2 + (sum / count > 127 ? 1 : 0);
    }
    return value;
  }

  function samplePixels(video, context, mediaTime, [x, y, w, h]) {
    const last = state.pixels.at(-1);
    if (last !== undefined && Math.abs(mediaTime - last.mediaTime) < 0.25) return;
    Object.assign(context.canvas, { width: w, height: h });
    context.drawImage(video, x, y, w, h, 0, 0, w, h);
    const { data } = context.getImageData(0, 0, w, h);
    const sum = [0, 0, 0];
    for (let at = 0; at < data.length; at += 4) for (let colour = 0; colour < 3; colour++) sum[colour] += data[at + colour];
    const [r, g, b] = sum.map((value) => Math.round((value / (data.length / 4)) * 10) / 10);
    state.pixels.push({ mediaTime, r, g, b });
  }

  /** Sends the element's sound through an analyser. The element must not be muted. */
  async function listen(video) {
    const context = new AudioContext({ sampleRate: 48000 });
    const analyser = context.createAnalyser();
    analyser.fftSize = 32768;
    analyser.smoothingTimeConstant = 0;
    // Of a stream an element gives nothing to Web Audio.
    const source = video.srcObject === null ? context.createMediaElementSource(video) : context.createMediaStreamSource(video.srcObject);
    source.connect(analyser);
    analyser.connect(context.destination);
    await Promise.race([context.resume(), new Promise((resolve) => setTimeout(resolve, 2000))]);
    tone = { context, analyser };
    return context.state;
  }

  function readTone() {
    if (tone === null) return null;
    const { analyser, context } = tone;
    const wave = new Float32Array(analyser.fftSize);
    analyser.getFloatTimeDomainData(wave);
    const power = wave.reduce((sum, value) => sum + value * value, 0) / wave.length;
    const levelDb = power > 0 ? 10 * Math.log10(power) : null;
    const spectrum = new Float32Array(analyser.frequencyBinCount);
    analyser.getFloatFrequencyData(spectrum);
    let peak = 2;
    for (let bin = 3; bin < spectrum.length - 1; bin++) if (spectrum[bin] > spectrum[peak]) peak = bin;
    const [left, middle, right] = [spectrum[peak - 1], spectrum[peak], spectrum[peak + 1]];
    const bend = left - 2 * middle + right;
    const offset = Number.isFinite(bend) && bend !== 0 ? (0.5 * (left - right)) / bend : 0;
    const frequencyHz = levelDb === null ? null : ((peak + offset) * context.sampleRate) / analyser.fftSize;
    const round = (value, digits) => (value === null ? null : Math.round(value * 10 ** digits) / 10 ** digits);
    return { frequencyHz: round(frequencyHz, 1), levelDb: round(levelDb, 1), context: context.state };
  }

  function result() {
    const { frames, video } = state;
    let maxGapMs = 0;
    let maxDisplayGapMs = 0;
    let jumpsBack = 0;
    for (let at = 1; at < frames.length; at++) {
      const gap = frames[at].mediaTime - frames[at - 1].mediaTime;
      if (gap < -0.0005) jumpsBack++;
      maxGapMs = Math.max(maxGapMs, gap * 1000);
      maxDisplayGapMs = Math.max(maxDisplayGapMs, frames[at].expectedDisplayTime - frames[at - 1].expectedDisplayTime);
    }
    if (state.waitingSince !== null && !state.ended) {
      state.stalls.push({ atS: video.currentTime, durationMs: performance.now() - state.waitingSince, open: true });
    }
    return {
      timeOriginMs: performance.timeOrigin,
      frames,
      framesCalledBack: frames.length,
      framesPresented: state.presented[1] - state.presented[0],
      maxGapMs: Math.round(maxGapMs * 10) / 10,
      maxDisplayGapMs: Math.round(maxDisplayGapMs * 10) / 10,
      jumpsBack,
      videoWidth: video.videoWidth,
      videoHeight: video.videoHeight,
      currentTime: video.currentTime,
      dropped: state.quality === null ? null : state.lastQuality.droppedVideoFrames - state.quality.droppedVideoFrames,
      decoded: state.quality === null ? null : state.lastQuality.totalVideoFrames - state.quality.totalVideoFrames + 1,
      stalls: state.stalls,
      ended: state.ended,
      pixels: state.pixels,
    };
  }

  window.measure = { start, listen, readTone, result, state };
}
