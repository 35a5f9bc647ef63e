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
    this.ladder = false;
  }

  /** Resolves when there is something to play. `ladder`: two pictures, two sounds and captions. */
  async connect(options = {}) {
    this.size = options.size ?? '1280x720';
    this.ladder = options.ladder ?? false;
    this.hostile = options.hostile ?? null;
    this.source = startSource(options);
    if (this.ladder) for (const name of ['video2', 'audio2']) this.tracks[name] ??= new Track(name, this.uid);
    const { video, audio, video2, audio2 } = this.tracks;
    const times = { partMs: options.partMs ?? 200, gopS: options.gopS ?? 2 };
    readVideo(this.source.stdout, video, times, (moov) => {
      this.codecs = videoCodec(moov);
    });
    readAudio(this.source.stdio[3], audio, times);
    if (this.ladder) {
      readVideo(this.source.stdio[4], video2, times);
      readAudio(this.source.stdio[5], audio2, times);
    }
    for (const track of Object.values(this.tracks)) await track.until(() => track.segments.length > 1);
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
    const list = (name) => `${name}.m3u8${name === 'video' && query === '' ? '?track' : query}${name === 'video' && query !== '' ? '&track' : ''}`;
    const sound = (name, label, language, first) =>
      `#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio",NAME="${label}"${language},DEFAULT=${first},AUTOSELECT=YES,CHANNELS="2",URI="${list(name)}"`;
    const picture = (name, bandwidth, size, more = '') => [
      `#EXT-X-STREAM-INF:BANDWIDTH=${bandwidth},CODECS="${this.codecs},mp4a.40.2",RESOLUTION=${size},FRAME-RATE=30.000,AUDIO="audio"${more}`,
      list(name),
    ];
    const lines = ['#EXTM3U', '#EXT-X-VERSION:9', '#EXT-X-INDEPENDENT-SEGMENTS'];
    if (!this.ladder) {
      lines.push(sound('audio', 'Audio', '', 'YES'), ...picture('video', 3200000, `${width}x${height}`));
    } else {
      const captions = (name, language) =>
        `#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="captions",NAME="${name}",LANGUAGE="${language}",DEFAULT=NO,AUTOSELECT=YES,URI="captions-${language}.m3u8"`;
      lines.push(sound('audio', 'Original', ',LANGUAGE="en"', 'YES'), sound('audio2', 'Dubbed', ',LANGUAGE="de"', 'NO'));
      lines.push(captions('English', 'en'), captions('Deutsch', 'de'));
      // Names as a stranger's encoder or an owner may write them. In quotes there is everything but quotes.
      if (this.hostile) lines.push(sound('audio2', this.hostile, `,LANGUAGE="${this.hostile}"`, 'NO'), captions(this.hostile, this.hostile));
      lines.push(...picture('video', 3200000, `${width}x${height}`, ',SUBTITLES="captions"'));
      lines.push(...picture('video2', 600000, '320x180', ',SUBTITLES="captions"'));
    }
    return [...lines, ''].join('\n');
  }

  /** One WebVTT file for each segment of the picture. */
  captions(language) {
    const { video } = this.tracks;
    const shown = video.segments.filter(({ complete }) => complete);
    const first = this.ended ? 0 : Math.max(0, shown.length - WINDOW);
    const target = Math.max(1, Math.ceil(Math.max(...shown.map(({ duration }) => duration))));
    const lines = ['#EXTM3U', '#EXT-X-VERSION:6', `#EXT-X-TARGETDURATION:${target}`, `#EXT-X-MEDIA-SEQUENCE:${first}`];
    for (const { number, duration, wallMs } of shown.slice(first)) {
      lines.push(`#EXT-X-PROGRAM-DATE-TIME:${new Date(wallMs).toISOString()}`);
      lines.push(`#EXTINF:${duration.toFixed(5)},`, `captions-${language}-${number}.vtt`);
    }
    if (this.ended) lines.push('#EXT-X-ENDLIST');
    return `${lines.join('\n')}\n`;
  }

  captionsFile(language, number) {
    const segment = this.tracks.video.segments[number];
    if (!segment?.complete) return null;
    const from = segment.parts[0].decodeTime;
    const time = (seconds) => `00:${new Date(seconds * 1000).toISOString().slice(14, 23)}`;
    const words = language === 'de' ? `Satz ${number}` : `Line ${number}`;
    // Not LOCAL:0 = MPEGTS:0. Where media times begin at 0 as well, hls.js finds no difference between the two clocks, and then
    // counts lines from the first file of captions that it loaded; at the live edge that is not the beginning.
    // Those at the edge get a line when its segment is complete, and time to read it.
    const until = from + 4 * segment.duration;
    return `WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:900000,LOCAL:00:00:10.000\n\n${time(from)} --> ${time(until)}\n${words}\n`;
  }
}

/** Paced by -re: the first fragment is complete one duration after its first frame. */
function wallClock() {
  let startsAt = null;
  return (fragment) => {
    startsAt ??= Date.now() - fragment.duration * 1000 - fragment.decodeTime * 1000;
    return startsAt + fragment.decodeTime * 1000;
  };
}

function readVideo(stream, track, { gopS }, onMoov = () => {}) {
  const wall = wallClock();
  readFragments(stream, {
    onInit: (bytes, _timescale, moov) => {
      track.setInit(bytes);
      onMoov(moov);
    },
    onFragment: (fragment) => {
      const endS = fragment.decodeTime + fragment.duration;
      track.add(fragment, Math.abs(endS / gopS - Math.round(endS / gopS)) < 0.005, wall(fragment));
    },
  });
}

function readAudio(stream, track, { gopS, partMs }) {
  const wall = wallClock();
  let segment = 1;
  readFragments(stream, {
    onInit: (bytes) => track.setInit(bytes),
    onFragment: (fragment) => {
      const last = fragment.decodeTime + fragment.duration + partMs / 2000 >= segment * gopS;
      if (last) segment++;
      track.add(fragment, last, wall(fragment));
    },
  });
}

function videoCodec(moov) {
  const avc = moov.indexOf('avcC');
  if (avc < 0) return 'hvc1.1.6.L93.B0';
  return `avc1.${moov.subarray(avc + 5, avc + 8).toString('hex')}`;
}
