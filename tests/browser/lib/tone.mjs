// Runs inside the page (sent there as source text): hears a tone of 1 kHz in what an element plays, sample by sample. It closes
// over nothing.

/** Listens to the player, which must not be muted, and installs `window.heard()` and `window.hearAnew()`. */
export async function hearTone() {
  /** In the thread of the sound: what the page does meanwhile costs no samples. */
  function worklet() {
    /** A period of the tone, and a millisecond. */
    const BLOCK = 48;
    /** What is compared lies so many blocks apart: a frame of AAC that is missing turns the tone by a third, over 21 ms. */
    const APART = 8;
    const TURN = (2 * Math.PI) / BLOCK;
    class Tone extends AudioWorkletProcessor {
      constructor() {
        super();
        this.blocks = [];
        Object.assign(this, { sine: 0, cosine: 0, count: 0 });
        this.anew();
        this.port.onmessage = ({ data }) => {
          if (data === 'anew') this.anew();
          else this.port.postMessage({ heardMs: this.heardMs, steadyMs: this.steadyMs, brokenMs: this.broken });
        };
      }

      anew() {
        Object.assign(this, { heardMs: 0, steadyMs: 0, broken: [] });
      }

      process([[samples]]) {
        // Nothing comes of an element that has nothing.
        for (let n = 0; n < (samples?.length ?? 128); n++) this.sample(samples?.[n] ?? 0);
        return true;
      }

      sample(value) {
        this.sine += value * Math.sin(TURN * this.count);
        this.cosine += value * Math.cos(TURN * this.count);
        if (++this.count < BLOCK) return;
        this.block({ loud: (2 / BLOCK) * Math.hypot(this.sine, this.cosine), phase: Math.atan2(this.sine, this.cosine) });
        Object.assign(this, { sine: 0, cosine: 0, count: 0 });
      }

      block(now) {
        this.blocks.push(now);
        if (this.blocks.length <= APART) return;
        const before = this.blocks.shift();
        const turned = Math.abs(Math.atan2(Math.sin(now.phase - before.phase), Math.cos(now.phase - before.phase)));
        const isTone = now.loud > 0.02 && now.loud > 0.7 * before.loud && now.loud < 1.4 * before.loud && turned < 0.35;
        if (isTone) {
          this.heardMs++;
          this.steadyMs++;
          return;
        }
        // When, and for how long: with what it takes until it is believed again.
        if (this.steadyMs > 0 || this.broken.length === 0) this.broken.push([this.heardMs, 0]);
        this.broken.at(-1)[1]++;
        this.steadyMs = 0;
      }
    }
    registerProcessor('tone', Tone);
  }

  const player = document.querySelector('airwave-player') ?? document.querySelector('video');
  player.muted = false;
  const context = new AudioContext({ sampleRate: 48000 });
  await context.audioWorklet.addModule(URL.createObjectURL(new Blob([`(${worklet})()`], { type: 'text/javascript' })));
  const node = new AudioWorkletNode(context, 'tone', { channelCount: 1, channelCountMode: 'explicit' });
  context.createMediaElementSource(player.video ?? player).connect(node).connect(context.destination);
  await context.resume();
  window.hearAnew = () => node.port.postMessage('anew');
  window.heard = () =>
    new Promise((resolve) => {
      node.port.onmessage = ({ data }) => resolve(data);
      node.port.postMessage('heard');
    });
}
