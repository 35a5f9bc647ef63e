/** Making a clip: the last minutes of what is on the air, or a whole recording, with two handles. */
import type { AirwavePlayer } from '../player/element';
import { addressed } from '../player/source';
import { copyText } from '../shared/copy';
import { CLIP_S_MAX, clipQuery, clockText, linkWords, moved, newest, pinned, type Range } from './clip-range';
import { element } from './page';

/** How far back a clip of what is on the air can be chosen: the server's longest preview. */
const PREVIEW = 'duration=5m';

export class ClipPanel {
  private readonly panel = element('clip');
  private readonly button = element<HTMLButtonElement>('make-clip');
  private readonly from = element<HTMLInputElement>('clip-from');
  private readonly to = element<HTMLInputElement>('clip-to');
  private player: AirwavePlayer | null = null;
  private range: Range = { fromS: 0, toS: 0 };
  private startS = 0;
  private lengthS = 0;
  private video = '';
  private maxS = CLIP_S_MAX;

  /** `id`: as it stands in the address. `pause` keeps the main picture quiet while a clip is chosen. */
  constructor(
    private readonly id: string,
    private readonly pause: () => void,
  ) {
    this.button.addEventListener('click', () => (this.panel.hidden ? void this.open() : this.close()));
    element('clip-close').addEventListener('click', () => this.close());
    this.from.addEventListener('input', () => this.move('from', this.from.valueAsNumber));
    this.to.addEventListener('input', () => this.move('to', this.to.valueAsNumber));
    element('clip-copy').addEventListener('click', () => void this.copy());
    this.panel.addEventListener('keydown', (event) => {
      if (event.key === 'Escape') this.close();
    });
  }

  /** Whether viewers of this may make clips. */
  offer(allowed: boolean, maxS: number | null = null): void {
    this.maxS = maxS ?? CLIP_S_MAX;
    this.button.hidden = !allowed;
    if (!allowed && !this.panel.hidden) this.close();
  }

  private async open(): Promise<void> {
    this.panel.hidden = false;
    this.button.setAttribute('aria-expanded', 'true');
    this.say('Loading…');
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

  private async load(): Promise<void> {
    const list = `/${this.id}/manifest/video.m3u8`;
    const response = await fetch(`${list}?${PREVIEW}`, { cache: 'no-store' });
    if (response.status !== 200) throw new Error(String(response.status));
    this.startS = Number(response.headers.get('preview-start-seconds') ?? 0);
    this.video = response.headers.get('stream-media-id') ?? '';
    const segments = pinned(await response.text());
    this.pause();
    const player = document.createElement('airwave-player');
    player.setAttribute('bare', '');
    player.setAttribute('label', 'Picture of the clip');
    player.setAttribute('muted', '');
    player.setAttribute('src', `${list}?${segments ?? PREVIEW}`);
    player.video.addEventListener('durationchange', () => this.onLength(player.video.duration));
    element('clip-stage').replaceChildren(player);
    this.player = player;
  }

  private onLength(lengthS: number): void {
    if (!Number.isFinite(lengthS) || lengthS <= 0 || lengthS === this.lengthS) return;
    const first = this.lengthS === 0 || this.range.toS === 0 || this.from.disabled;
    this.lengthS = lengthS;
    for (const handle of [this.from, this.to]) {
      handle.max = String(lengthS);
      handle.disabled = false;
    }
    if (first) this.range = newest(lengthS, this.maxS);
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
    const file = element<HTMLAnchorElement>('clip-file');
    file.href = `/${this.id}/clip.mp4?${this.query()}&filename=clip`;
  }

  private query(): string {
    return clipQuery(this.range, this.startS);
  }

  /** By the video's own id: the input's means what is on the air, and that changes. Behind a token, if there is one. */
  private link(): string {
    const id = addressed(this.id, this.video === '' ? null : this.video);
    return `${location.origin}/${id}/watch?${this.query()}`;
  }

  private async copy(): Promise<void> {
    const copied = await copyText(this.link());
    this.say(linkWords(this.link(), this.id.includes('.'), copied));
  }

  private say(words: string): void {
    element('clip-words').textContent = words;
  }
}
