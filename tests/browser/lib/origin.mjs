// A small LL-HLS origin in memory, for developing the player without the server: parts, preload hints, blocking
// reload, delta updates, a demuxed audio group, discontinuities. Not a model of the server, only of its playlists.
import { randomBytes } from 'node:crypto';
import { readFragments } from './fmp4.mjs';
import { startSource } from './source.mjs';

const WINDOW = 6;
const PART_SEGMENTS = 3;

class Track {
  constructor(name, media) {
    this.name = name;
    this.media = media;
    this.inits = [];
    this.segments = [];
    this.current = null;
    this.ended = false;
    this.partTarget = 0.2;
    this.waiters = new Set();
    this.discontinuous = false;
  }

  setInit(bytes) {
    this.inits.push(bytes);
  }

  /** `last`: the cut list says that this part completes its segment, so the next hint names the next segment. */
  add(fragment, last, wallMs) {
    this.partTarget = Math.max(this.partTarget, fragment.duration);
    if (this.current === null) this.open(wallMs);
    this.current.parts.push(fragment);
    this.current.duration += fragment.duration;
    if (last) {
      this.current.complete = true;
      this.current = null;
    }
    this.wake();
  }

  open(wallMs) {
    if (this.current !== null) this.current.complete = true;
    this.current = {
      number: this.segments.length,
      parts: [],
      duration: 0,
      complete: false,
      wallMs,
      init: this.inits.length - 1,
      discontinuity: this.discontinuous,
    };
    this.discontinuous = false;
    this.segments.push(this.current);
  }

  cut() {
    if (this.current !== null) this.current.complete = true;
    this.current = null;
    this.discontinuous = true;
    this.wake();
  }

  end() {
    if (this.current !== null) this.current.complete = true;
    this.ended = true;
    this.wake();
  }

  wake() {
    for (const waiter of this.waiters) waiter();
  }

  has(msn, part) {
    const last = this.segments.at(-1);
    if (this.ended || last === undefined) return this.ended;
    if (last.number > msn) return true;
    if (last.number < msn) return false;
    return part === null ? last.complete : last.parts.length > part;
  }

  async until(ready) {
    while (!ready()) {
      await new Promise((resolve) => {
        const waiter = () => {
          this.waiters.delete(waiter);
          resolve();
        };
        this.waiters.add(waiter);
      });
    }
  }

  playlist({ prefix, dvr, skip, whole }) {
    const target = Math.max(1, Math.ceil(Math.max(...this.segments.map((segment) => segment.duration))));
    const complete = this.segments.filter((segment) => segment.complete);
    const first = whole || dvr ? 0 : Math.max(0, complete.length - WINDOW);
    const shown = this.segments.slice(first).filter((segment) => segment.parts.length > 0);
    const hold = this.partTarget * 3;
    const lines = ['#EXTM3U', '#EXT-X-VERSION:9', `#EXT-X-TARGETDURATION:${target}`];
    if (!this.ended) {
      lines.push(
        `#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=${hold.toFixed(3)},CAN-SKIP-UNTIL=${(target * 6).toFixed(1)}`,
        `#EXT-X-PART-INF:PART-TARGET=${this.partTarget.toFixed(5)}`,
      );
    }
    lines.push(`#EXT-X-MEDIA-SEQUENCE:${first}`);
    lines.push(`#EXT-X-DISCONTINUITY-SEQUENCE:${this.segments.slice(0, first).filter((segment) => segment.discontinuity).length}`);
    if (whole) lines.push('#EXT-X-PLAYLIST-TYPE:VOD');
    let skipped = 0;
    if (skip && !this.ended) {
      let kept = 0;
      skipped = shown.length;
      while (skipped > 0 && kept < target * 6) kept += shown[--skipped].duration;
      if (skipped > 0) lines.push(`#EXT-X-SKIP:SKIPPED-SEGMENTS=${skipped}`);
    }
    let init = skipped > 0 ? shown[skipped - 1].init : -1;
    for (const segment of shown.slice(skipped)) {
      const base = `${prefix}/media/${this.media}/${this.name}`;
      if (segment.discontinuity) lines.push('#EXT-X-DISCONTINUITY');
      if (segment.init !== init) lines.push(`#EXT-X-MAP:URI="${base}/init-${segment.init}.mp4"`);
      init = segment.init;
      lines.push(`#EXT-X-PROGRAM-DATE-TIME:${new Date(segment.wallMs).toISOString()}`);
      if (!this.ended && segment.number > this.segments.length - 1 - PART_SEGMENTS) {
        segment.parts.forEach((part, index) => {
          const independent = part.sync ? ',INDEPENDENT=YES' : '';
          lines.push(`#EXT-X-PART:DURATION=${part.duration.toFixed(5)},URI="${base}/${segment.number}.${index}.m4s"${independent}`);
        });
      }
      if (segment.complete) lines.push(`#EXTINF:${segment.duration.toFixed(5)},`, `${base}/${segment.number}.m4s`);
    }
    if (this.ended) lines.push('#EXT-X-ENDLIST');
    else {
      const hint = this.current === null ? `${this.segments.length}.0` : `${this.current.number}.${this.current.parts.length}`;
      lines.push(`#EXT-X-PRELOAD-HINT:TYPE=PART,URI="${prefix}/media/${this.media}/${this.name}/${hint}.m4s"`);
    }
    return `${lines.join('\n')}\n`;
  }

  async mediaFile(file) {
    const init = file.match(/^init-(\d+)\.mp4$/);
    if (init) return this.inits[Number(init[1])] ?? null;
    const part = file.match(/^(\d+)\.(\d+)\.m4s$/);
    if (part) {
      const [number, index] = [Number(part[1]), Number(part[2])];
      await this.until(() => this.segments[number]?.parts[index] || this.segments[number]?.complete || this.ended);
      return this.segments[number]?.parts[index]?.bytes ?? null;
    }
    const segment = file.match(/^(\d+)\.m4s$/);
    const found = segment ? this.segments[Number(segment[1])] : undefined;
    return found?.complete ? Buffer.concat(found.parts.map(({ bytes }) => bytes)) : null;
  }
}

export class Broadcast {
  constructor() {
    this.uid = randomBytes(16).toString('hex');
    this.tracks = { video: new Track('video', this.uid), audio: new Track('audio', this.uid) };
    this.ended = false;
    this.startedAt = Date.now();
    this.size = '1280x720';
    this.codecs = 'avc1.4d401f';
  }

  /** Resolves when there is something to play. */
  async connect(options = {}) {
    this.size = options.size ?? '1280x720';
    this.source = startSource(options);
    const { video, audio } = this.tracks;
    const startsAt = { video: null, audio: null };
    const partMs = options.partMs ?? 200;
    const gopS = options.gopS ?? 2;
    const wall = (name, fragment) => {
      // Paced by -re: the first fragment is complete one duration after its first frame.
      startsAt[name] ??= Date.now() - fragment.duration * 1000 - fragment.decodeTime * 1000;
      return startsAt[name] + fragment.decodeTime * 1000;
    };
    readFragments(this.source.stdout, {
      onInit: (bytes, _timescale, moov) => {
        video.setInit(bytes);
        this.codecs = videoCodec(moov);
      },
      onFragment: (fragment) => {
        const endS = fragment.decodeTime + fragment.duration;
        video.add(fragment, Math.abs(endS / gopS - Math.round(endS / gopS)) < 0.005, wall('video', fragment));
      },
    });
    let audioSegment = 1;
    readFragments(this.source.stdio[3], {
      onInit: (bytes) => audio.setInit(bytes),
      onFragment: (fragment) => {
        const last = fragment.decodeTime + fragment.duration + partMs / 2000 >= audioSegment * gopS;
        if (last) audioSegment++;
        audio.add(fragment, last, wall('audio', fragment));
      },
    });
    await video.until(() => video.segments.length > 1);
    await audio.until(() => audio.segments.length > 1);
  }

  /** Resolves when the broadcast is this long. */
  async lasts(seconds) {
    const { video } = this.tracks;
    const lengthS = () => video.segments.reduce((sum, { duration }) => sum + duration, 0);
    await video.until(() => video.ended || lengthS() >= seconds);
  }

  disconnect() {
    this.source?.kill('SIGKILL');
    this.source = null;
  }

  async reconnect(options = {}) {
    this.disconnect();
    for (const track of Object.values(this.tracks)) track.cut();
    await this.connect(options);
  }

  end() {
    this.disconnect();
    for (const track of Object.values(this.tracks)) track.end();
    this.ended = true;
  }

  multivariant(query) {
    const [width, height] = this.size.split('x');
    return [
      '#EXTM3U',
      '#EXT-X-VERSION:9',
      '#EXT-X-INDEPENDENT-SEGMENTS',
      `#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio",NAME="Audio",DEFAULT=YES,AUTOSELECT=YES,CHANNELS="2",URI="audio.m3u8${query}"`,
      `#EXT-X-STREAM-INF:BANDWIDTH=3200000,AVERAGE-BANDWIDTH=2700000,CODECS="${this.codecs},mp4a.40.2",RESOLUTION=${width}x${height},FRAME-RATE=30.000,AUDIO="audio"`,
      `video.m3u8${query === '' ? '?track' : `${query}&track`}`,
      '',
    ].join('\n');
  }
}

function videoCodec(moov) {
  const avc = moov.indexOf('avcC');
  if (avc < 0) return 'hvc1.1.6.L93.B0';
  return `avc1.${moov.subarray(avc + 5, avc + 8).toString('hex')}`;
}
