/** Making a clip: of the last minutes of what is on the air, or of those around where a recording is watched, with two handles. */
import type { AirwavePlayer } from '../player/element';
import { fetchLifecycle, Refused } from '../player/server';
import type { Lifecycle } from '../player/session';
import { addressed } from '../player/source';
import { copyText } from '../shared/copy';
import { CLIP_S_MAX, around, clipQuery, clockText, linkWords, moved, newest, pinned, type Range } from './clip-range';
import { element } from './page';

/** How far back a clip of what is on the air can be chosen: the server's longest preview. */
const PREVIEW = 'duration=5m';
const NOT_ALLOWED = 'Clips of it can’t be made any more.';
const GONE = 'The broadcast is over, and there is no recording of it: no clip can be made of it any more.';

export class ClipPanel {
  private readonly panel = element('clip');
  private readonly button = element<HTMLButtonElement>('make-clip');
  private readonly from = element<HTMLInputElement>('clip-from');
  private readonly to = element<HTMLInputElement>('clip-to');
  private readonly file = element<HTMLAnchorElement>('clip-file');
  private readonly copyButton = element<HTMLButtonElement>('clip-copy');
  private player: AirwavePlayer | null = null;
  private range: Range = { fromS: 0, toS: 0 };
  private startS = 0;
  private lengthS = 0;
  /** What a clip is made of; empty: of nothing yet, or not any more. */
  private video = '';
  private maxS = CLIP_S_MAX;
  private lifecycle: Lifecycle | null = null;

  /** Of a recording, where it was watched when this was opened; null: it is what is on the air. */
  private watchedS: number | null = null;

  /** `id`: as it stands in the address. `main`: the picture of the page, which is quiet while a clip is chosen. */
  constructor(
    private readonly id: string,
    private readonly main: { pause(): void; readonly currentTime: number },
  ) {
    this.button.addEventListener('click', () => (this.panel.hidden ? void this.open() : this.close()));
    element('clip-close').addEventListener('click', () => this.close());
    this.from.addEventListener('input', () => this.move('from', this.from.valueAsNumber));
    this.to.addEventListener('input', () => this.move('to', this.to.valueAsNumber));
    this.copyButton.addEventListener('click', () => void this.copy());
    this.panel.addEventListener('keydown', (event) => {
      if (event.key === 'Escape') this.close();
    });
  }

  /** What is known of what is watched, each time anew. */
  follow(lifecycle: Lifecycle): void {
    this.lifecycle = lifecycle;
    this.maxS = lifecycle.clipSeconds ?? CLIP_S_MAX;
    this.button.hidden = lifecycle.clips !== true;
    if (!this.panel.hidden && this.video !== '') void this.check(lifecycle, this.video);
  }

  /** The broadcast may be over by now, or another one on the air: what was chosen is its video's then, if that is still there. */
  private async check(lifecycle: Lifecycle, video: string): Promise<void> {
    const words = lifecycle.isInput && !(lifecycle.live && lifecycle.videoUID === video) ? await this.wordsOf(video) : allowed(lifecycle);
    if (words !== null && video === this.video && !this.panel.hidden) this.stop(words);
  }

  /** Why no clips are made of a video; null: they are, or nobody can say. */
  private async wordsOf(video: string): Promise<string | null> {
    try {
      return allowed(await fetchLifecycle('', addressed(this.id, video)));
    } catch (error) {
      const failure = error instanceof Refused ? error.failure : null;
      if (failure?.kind !== 'http') return null;
      if (failure.status === 404) return GONE;
      return failure.status === 401 || failure.status === 403 ? failure.words || NOT_ALLOWED : null;
    }
  }

  private async open(): Promise<void> {
    this.panel.hidden = false;
    this.button.setAttribute('aria-expanded', 'true');
    this.lengthS = 0;
    this.stop('Loading…');
    try {
      await this.load();
    } catch {
      this.say('There is nothing to make a clip of yet.');
    }
  }

  private close(): void {
    this.panel.hidden = true;
    this.button.setAttribute('aria-expanded', 'false');
    // It stays for the next time: taken away in the middle of a seek, its engine would complain.
    this.player?.pause();
    this.button.focus();
  }

  /** Nothing can be chosen. */
  private stop(words: string): void {
    this.video = '';
    for (const control of [this.from, this.to, this.copyButton]) control.disabled = true;
    this.file.removeAttribute('href');
    this.player?.pause();
    this.say(words);
  }

  private async load(): Promise<void> {
    const whole = this.lifecycle?.live === false ? this.lifecycle.videoUID : null;
    const list = `/${addressed(this.id, whole)}/manifest/video.m3u8`;
    const response = await fetch(whole === null ? `${list}?${PREVIEW}` : list, { cache: 'no-store' });
    const video = whole ?? response.headers.get('stream-media-id') ?? '';
    if (response.status !== 200 || video === '') throw new Error(String(response.status));
    const startS = whole === null ? Number(response.headers.get('preview-start-seconds') ?? 0) : 0;
    const query = whole === null ? `?${pinned(await response.text()) ?? PREVIEW}` : '';
    if (this.panel.hidden) return;
    [this.startS, this.video] = [startS, video];
    this.watchedS = whole === null ? null : this.main.currentTime;
    this.main.pause();
    const player = document.createElement('airwave-player');
    player.setAttribute('bare', '');
    player.setAttribute('label', 'Picture of the clip');
    player.setAttribute('muted', '');
    player.setAttribute('src', `/${this.place()}/manifest/video.m3u8${query}`);
    player.video.addEventListener('durationchange', () => {
      if (this.player === player) this.onLength(player.video.duration);
    });
    element('clip-stage').replaceChildren(player);
    this.player = player;
  }

  private onLength(lengthS: number): void {
    if (!Number.isFinite(lengthS) || lengthS <= 0 || lengthS === this.lengthS || this.video === '') return;
    const first = this.lengthS === 0;
    this.lengthS = lengthS;
    const [leastS, mostS] = this.watchedS === null ? [0, lengthS] : around(this.watchedS, lengthS);
    for (const handle of [this.from, this.to]) {
      handle.min = String(leastS);
      handle.max = String(mostS);
      handle.disabled = false;
    }
    this.copyButton.disabled = false;
    // What was just seen; of what has not been watched yet, its beginning.
    const seenS = Math.min(lengthS, Math.max(this.watchedS ?? lengthS, this.maxS / 2));
    if (first) this.range = newest(seenS, this.maxS);
    this.show();
    this.look(this.range.fromS);
    if (first) this.from.focus();
  }

  private move(end: 'from' | 'to', positionS: number): void {
    this.range = moved(this.range, end, positionS, this.lengthS, this.maxS);
    this.show();
    this.look(end === 'from' ? this.range.fromS : this.range.toS);
  }

  private look(positionS: number): void {
    if (this.player === null) return;
    this.player.pause();
    this.player.currentTime = Math.min(positionS, this.lengthS - 0.2);
  }

  private show(): void {
    const { fromS, toS } = this.range;
    for (const [handle, positionS] of [[this.from, fromS], [this.to, toS]] as const) {
      handle.value = String(positionS);
      handle.setAttribute('aria-valuetext', clockText(this.startS + positionS));
    }
    element('clip-from-text').textContent = clockText(this.startS + fromS);
    element('clip-to-text').textContent = clockText(this.startS + toS);
    this.say(`${(toS - fromS).toFixed(1)} s`);
    this.file.href = `/${this.place()}/clip.mp4?${this.query()}&filename=clip`;
  }

  private query(): string {
    return clipQuery(this.range, this.startS);
  }

  /** The video's own id: the input's means what is on the air, and that changes. Behind a token, if there is one. */
  private place(): string {
    return addressed(this.id, this.video);
  }

  private link(): string {
    return `${location.origin}/${this.place()}/watch?${this.query()}`;
  }

  private async copy(): Promise<void> {
    const copied = await copyText(this.link());
    this.say(linkWords(this.link(), this.id.includes('.'), copied));
  }

  private say(words: string): void {
    element('clip-words').textContent = words;
  }
}

function allowed(lifecycle: Lifecycle): string | null {
  return lifecycle.clips === true ? null : NOT_ALLOWED;
}
