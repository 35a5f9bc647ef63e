/** Decoded sound at its time, as a track that a media element plays: volume and muting stay the element's. */

/** So far from its place a block may begin without being moved there: a seam is heard, this is not. */
const TOLERANCE_S = 0.03;
/** Over so many samples a block that follows from nothing comes up. */
const FADE_SAMPLES = 96;

export class Sound {
  private readonly context: AudioContext;
  private readonly out: MediaStreamAudioDestinationNode;
  private nextS = 0;

  constructor(
    private readonly video: HTMLVideoElement,
    sampleRate: number,
  ) {
    // At the source's own rate blocks meet at samples, and nothing is resampled piece by piece.
    this.context = new AudioContext({ latencyHint: 'interactive', sampleRate });
    this.out = this.context.createMediaStreamDestination();
    video.addEventListener('volumechange', this.wake);
    video.addEventListener('play', this.wake);
    this.wake();
  }

  get track(): MediaStreamTrack | undefined {
    return this.out.stream.getAudioTracks()[0];
  }

  /** Browsers let a page sound after its viewer has touched it. */
  private readonly wake = (): void => {
    if (this.context.state === 'suspended' && !this.video.muted) void this.context.resume();
  };

  /** What is too late is left out. */
  play(data: AudioData, inMs: number): void {
    if (this.context.state !== 'running') return;
    const { numberOfFrames, numberOfChannels, sampleRate } = data;
    const nowS = this.context.currentTime;
    const wantedS = Math.round((nowS + inMs / 1000) * sampleRate) / sampleRate;
    const follows = Math.abs(wantedS - this.nextS) < TOLERANCE_S;
    const startS = follows ? this.nextS : wantedS;
    if (startS < nowS) return;
    const buffer = this.context.createBuffer(numberOfChannels, numberOfFrames, sampleRate);
    for (let channel = 0; channel < numberOfChannels; channel++) {
      const samples = buffer.getChannelData(channel);
      data.copyTo(samples, { planeIndex: channel, format: 'f32-planar' });
      if (!follows) fadeIn(samples);
    }
    const source = this.context.createBufferSource();
    source.buffer = buffer;
    source.connect(this.out);
    source.start(startS);
    this.nextS = startS + numberOfFrames / sampleRate;
  }

  close(): void {
    this.video.removeEventListener('volumechange', this.wake);
    this.video.removeEventListener('play', this.wake);
    this.track?.stop();
    void this.context.close();
  }
}

function fadeIn(samples: Float32Array): void {
  for (let at = 0; at < Math.min(FADE_SAMPLES, samples.length); at++) samples[at] = (samples[at] ?? 0) * (at / FADE_SAMPLES);
}
