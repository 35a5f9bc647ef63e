/**
 * The viewer's captions. Those inside the picture are drawn by hls.js and by browsers, and over MoQ by nobody: who wants them
 * has the picture over HLS for as long as he does.
 */
import { type Engine, isMoq } from './engine';

/** BCP 47, ISO 639-2: a language that nobody says. */
const UNKNOWN = 'und';

export class Captions {
  /** BCP 47 tag of those to begin with; null: there are none of it to wait for, or the viewer has chosen himself. */
  private wanted: string | null = null;
  /** The viewer wants captions: those that stand there, or those that will. */
  private on = false;

  constructor(private readonly video: HTMLVideoElement) {}

  /** `tag`: those to begin with. */
  beginWith(tag: string | null): void {
    this.wanted = tag;
  }

  /** Another source. */
  forget(): void {
    this.on = false;
  }

  get preferred(): string | null {
    return this.wanted;
  }

  /** What is over HLS only is wanted. */
  get keepOffMoq(): boolean {
    return this.on || this.wanted !== null;
  }

  /** What an engine has left there is not what another one has. */
  tracks(engine: Engine | null): TextTrack[] {
    return isMoq(engine?.mode) ? [] : captionTracks(this.video);
  }

  state(engine: Engine | null): 'none' | 'off' | 'on' {
    const tracks = this.tracks(engine);
    if (tracks.length > 0) return tracks.some(isShowing) ? 'on' : 'off';
    // hls.js makes a track of what is inside the picture once that has spoken.
    if (this.on) return 'on';
    return engine?.captionsElsewhere?.() === true ? 'off' : 'none';
  }

  /** Tracks have come, or an engine, or a wish. Answers whether the source has to be loaded anew, another way. */
  came(engine: Engine | null): boolean {
    if (isMoq(engine?.mode)) return this.keepOffMoq;
    const wanted = this.wanted === null ? undefined : captionsFor(this.video, this.wanted);
    if (wanted !== undefined) {
      this.show(wanted);
      // One of the very language may come yet.
      if (wanted.language === UNKNOWN) return false;
      // From here on it is the viewer's choice.
      this.wanted = null;
    } else if (this.on && !captionTracks(this.video).some(isShowing)) {
      showCaptions(this.video, captionTracks(this.video)[0]);
    }
    return false;
  }

  /** Answers whether the source has to be loaded anew, another way. */
  toggle(engine: Engine | null): boolean {
    this.wanted = null;
    if (isMoq(engine?.mode)) return (this.on = engine?.captionsElsewhere?.() === true);
    toggleCaptions(this.video);
    this.on = captionTracks(this.video).some(isShowing);
    return false;
  }

  /** An index of `tracks`; null: none. The viewer's own choice. */
  choose(index: number | null): void {
    this.wanted = null;
    this.show(index === null ? undefined : captionTracks(this.video)[index]);
  }

  private show(track: TextTrack | undefined): void {
    showCaptions(this.video, track);
    this.on = track !== undefined;
  }
}

function captionTracks(video: HTMLVideoElement): TextTrack[] {
  return [...video.textTracks].filter(({ kind }) => kind === 'captions' || kind === 'subtitles');
}

function isShowing({ mode }: TextTrack): boolean {
  return mode === 'showing';
}

/** Off, first, second, …, off. */
export function toggleCaptions(video: HTMLVideoElement): void {
  const tracks = captionTracks(video);
  showCaptions(video, tracks[tracks.findIndex(isShowing) + 1]);
}

/** undefined: none. */
function showCaptions(video: HTMLVideoElement, wanted: TextTrack | undefined): void {
  for (const track of captionTracks(video)) track.mode = track === wanted ? 'showing' : 'disabled';
}

/** By BCP 47 tag: the very one, one of the same language, or one of which nobody says the language. */
export function captionsFor(video: HTMLVideoElement, tag: string): TextTrack | undefined {
  const wanted = tag.toLowerCase();
  const primary = wanted.split('-')[0];
  const tracks = captionTracks(video);
  return (
    tracks.find(({ language }) => language.toLowerCase() === wanted) ??
    tracks.find(({ language }) => language.toLowerCase().split('-')[0] === primary) ??
    tracks.find(({ language }) => language === UNKNOWN)
  );
}
