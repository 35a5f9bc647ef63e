/** The player's own controls: builds the shadow DOM once and renders a `View` into it. No decisions are made here. */
import { clock } from '../shared/clock';
import { setMarkup } from '../shared/trusted';
import type { Section, SectionId } from './choices';
import { type Icon, icon } from './icons';
import { Menu } from './menu';
import type { RemoteKind } from './remote';
import type { Tile } from './storyboard';
import type { Action, Notice } from './words';

export interface View {
  paused: boolean;
  muted: boolean;
  volume: number;
  /** null: not live, no badge. */
  live: { latencyS: number | null; behind: boolean } | null;
  mode: string;
  notice: Notice | null;
  askForSound: boolean;
  pictured: boolean;
  /** There is something that the buttons could act on. */
  playable: boolean;
  /** null: nothing worth a bar. Seconds on the media timeline. */
  seek: { startS: number; endS: number; positionS: number; live: boolean } | null;
  captions: 'none' | 'off' | 'on';
  fullscreen: boolean;
  pip: boolean;
  /** No controls at all: whoever put the player there has their own. */
  bare: boolean;
  /** The address of a picture to show before the first one of the broadcast. */
  poster: string | null;
  /** A large button in the middle: nothing was played yet and nothing plays by itself. */
  askToPlay: boolean;
  menu: Section[];
  /** null: there is no other screen to send the picture to. */
  remote: { kind: RemoteKind | null; connected: boolean } | null;
}

export interface Intents {
  togglePlay(): void;
  toggleMute(): void;
  setVolume(volume: number): void;
  seekTo(positionS: number): void;
  seekBy(distanceS: number): void;
  /** What is to be seen there; null: not known (yet). */
  pictureAt(positionS: number): Tile | null;
  seekToStart(): void;
  goLive(): void;
  choose(section: SectionId, value: string): void;
  toggleMenu(): void;
  /** By so many steps of those that the menu offers. */
  changeSpeed(steps: number): void;
  promptRemote(): void;
  toggleCaptions(): void;
  togglePip(): void;
  toggleFullscreen(): void;
  act(action: Action): void;
}

const button = (part: string, name: Icon, label: string, keys: string) =>
  `<button type="button" class="icon" data-part="${part}" aria-label="${label}" title="${label}" ${keys ? `aria-keyshortcuts="${keys}"` : ''}>${icon(name)}</button>`;

const TEMPLATE = `
<div class="frame" role="region" aria-label="Video player. Keys: space plays and pauses, arrows seek and change the volume, Home and End go to the start and to live, M mutes, F is fullscreen, L jumps to live, C captions, S settings, P picture in picture." tabindex="0">
  <video playsinline preload="auto"></video>
  <canvas class="still" aria-hidden="true" hidden></canvas>
  <img class="poster" alt="" hidden>
  <button type="button" class="big" data-part="big" aria-label="Play" hidden>${icon('play')}</button>
  <div class="notice" role="status" aria-live="polite" hidden>
    <div class="mark" aria-hidden="true"></div>
    <div class="words"><p class="title"></p><p class="detail"></p></div>
    <div class="actions"></div>
  </div>
  <button type="button" class="sound" data-part="sound" hidden>${icon('muted')}<span>Tap for sound</span></button>
  <div class="menu" data-part="menu" role="menu" id="menu" aria-label="Settings" hidden></div>
  <div class="bar" role="group" aria-label="Player controls">
    <div class="track" data-part="track" hidden>
      <input class="seek" data-part="seek" type="range" min="0" max="1000" step="any" value="0" aria-label="Position">
      <span class="scrub" data-part="scrub" aria-hidden="true" hidden><span class="tile" data-part="tile" hidden></span><span data-part="scrub-time"></span></span>
    </div>
    <div class="row">
      ${button('play', 'play', 'Play (space)', 'Space')}
      <button type="button" class="live" data-part="live" hidden><span class="dot" aria-hidden="true"></span><span>LIVE</span> <span class="latency"></span></button>
      <button type="button" class="jump" data-part="jump" title="Jump to live (L)" aria-keyshortcuts="L" hidden>${icon('forward')}<span>Jump to live</span></button>
      <span class="time" data-part="time"></span>
      <span class="space"></span>
      <span class="mode" data-part="mode"></span>
      ${button('captions', 'captions', 'Captions (C)', 'C')}
      <button type="button" class="icon" data-part="settings" aria-label="Settings (S)" title="Settings (S)" aria-keyshortcuts="S" aria-haspopup="menu" aria-expanded="false" aria-controls="menu" hidden>${icon('settings')}</button>
      ${button('remote', 'cast', 'Play on another screen', '')}
      <span class="loudness">
        ${button('mute', 'volume', 'Mute (M)', 'M')}
        <input class="volume" data-part="volume" type="range" min="0" max="1" step="0.05" value="1" aria-label="Volume" aria-keyshortcuts="ArrowUp ArrowDown">
      </span>
      ${button('pip', 'pip', 'Picture in picture (P)', 'P')}
      ${button('fullscreen', 'fullscreen', 'Full screen (F)', 'F')}
    </div>
  </div>
</div>`;

/** How long a key that seeks shows where to. */
const KEY_SCRUB_MS = 1_500;

export class Controls {
  readonly frame: HTMLElement;
  readonly video: HTMLVideoElement;
  readonly menu: Menu;
  private readonly root: ShadowRoot;
  private shownNotice = '';
  private seeking = false;
  /** Where the pointer, or the key, is on the bar; null: nowhere. */
  private scrubShare: number | null = null;
  private scrubTimer = 0;
  private seekShown: View['seek'] = null;
  private pictureAt: Intents['pictureAt'] = () => null;
  private readonly shownIcons = new Map<string, Icon>();

  constructor(root: ShadowRoot, intents: Intents) {
    this.root = root;
    setMarkup(root, TEMPLATE);
    this.frame = this.find('.frame');
    this.video = this.find('video');
    this.menu = new Menu(this.part('settings'), this.part('menu'), this.frame, (section, value) => intents.choose(section, value));
    this.onClick('play', () => intents.togglePlay());
    this.onClick('big', () => intents.togglePlay());
    this.onClick('remote', () => intents.promptRemote());
    this.onClick('live', () => intents.goLive());
    this.onClick('jump', () => intents.goLive());
    this.onClick('mute', () => intents.toggleMute());
    this.onClick('sound', () => intents.toggleMute());
    this.onClick('captions', () => intents.toggleCaptions());
    this.onClick('pip', () => intents.togglePip());
    this.onClick('fullscreen', () => intents.toggleFullscreen());
    const volume = this.part<HTMLInputElement>('volume');
    volume.addEventListener('input', () => intents.setVolume(Number(volume.value)));
    this.listenToSeek(intents);
    this.find('.poster').addEventListener('error', (event) => {
      // A picture that is not there must not cover the one that comes.
      (event.target as HTMLElement).dataset.failed = '';
    });
    this.find('.actions').addEventListener('click', (event) => {
      const action = (event.target as HTMLElement).closest<HTMLElement>('[data-action]')?.dataset.action;
      if (action !== undefined) intents.act(action as Action);
    });
  }

  private listenToSeek(intents: Intents): void {
    const seek = this.part<HTMLInputElement>('seek');
    seek.addEventListener('pointerdown', () => {
      this.seeking = true;
    });
    seek.addEventListener('pointermove', (event) => this.showScrub(event.offsetX / Math.max(1, seek.clientWidth)));
    for (const gone of ['pointerleave', 'pointercancel', 'blur']) seek.addEventListener(gone, () => this.hideScrub());
    // A finger that is lifted leaves nothing behind; a mouse is still there.
    seek.addEventListener('pointerup', (event) => {
      if (event.pointerType !== 'mouse') this.hideScrub();
    });
    seek.addEventListener('input', () => {
      fill(seek);
      this.showScrub((Number(seek.value) - Number(seek.min)) / Math.max(1e-9, Number(seek.max) - Number(seek.min)));
      if (this.seeking) return;
      // A key: there is nothing that leaves the bar.
      window.clearTimeout(this.scrubTimer);
      this.scrubTimer = window.setTimeout(() => this.hideScrub(), KEY_SCRUB_MS);
      intents.seekTo(Number(seek.value));
    });
    seek.addEventListener('change', () => {
      this.seeking = false;
      intents.seekTo(Number(seek.value));
    });
    this.pictureAt = (positionS) => intents.pictureAt(positionS);
  }

  private hideScrub(): void {
    this.scrubShare = null;
    this.part('scrub').hidden = true;
  }

  /** There are pictures that were not there when the pointer came. */
  refreshScrub(): void {
    if (this.scrubShare !== null) this.showScrub(this.scrubShare);
  }

  /** The time under the pointer, and what is to be seen then. */
  private showScrub(share: number): void {
    if (this.seekShown === null) return;
    window.clearTimeout(this.scrubTimer);
    this.scrubShare = share;
    const { startS, endS, live } = this.seekShown;
    const within = Math.min(1, Math.max(0, share));
    const scrub = this.part('scrub');
    scrub.hidden = false;
    scrub.style.setProperty('--at', `${within * 100}%`);
    const beforeEndS = (1 - within) * (endS - startS);
    setText(this.part('scrub-time'), live ? `-${clock(beforeEndS)}` : clock(within * (endS - startS)));
    this.showTile(this.pictureAt(startS + within * (endS - startS)));
    // At the ends of the bar it stays within the player.
    scrub.style.setProperty('--half', `${scrub.offsetWidth / 2}px`);
  }

  private showTile(tile: Tile | null): void {
    const place = this.part('tile');
    place.hidden = tile === null;
    if (tile === null) return;
    place.style.width = `${tile.width}px`;
    place.style.height = `${tile.height}px`;
    place.style.backgroundImage = `url("${tile.url}")`;
    place.style.backgroundPosition = `-${tile.x}px -${tile.y}px`;
  }

  /** Keeps the last frame on the screen while another source is loaded behind it. */
  holdStill(): void {
    const still = this.find<HTMLCanvasElement>('.still');
    still.width = this.video.videoWidth;
    still.height = this.video.videoHeight;
    still.getContext('2d')?.drawImage(this.video, 0, 0);
    still.hidden = false;
  }

  dropStill(): void {
    this.find('.still').hidden = true;
  }

  render(view: View): void {
    this.frame.classList.toggle('paused', view.paused);
    this.frame.classList.toggle('pictured', view.pictured);
    this.frame.classList.toggle('off', !view.pictured);
    this.frame.classList.toggle('nothing', !view.playable);
    this.frame.classList.toggle('behind', view.live?.behind === true);
    this.frame.classList.toggle('bare', view.bare);
    this.setIcon('play', view.paused ? 'play' : 'pause', view.paused ? 'Play (space)' : 'Pause (space)');
    const silent = view.muted || view.volume === 0;
    this.setIcon('mute', silent ? 'muted' : 'volume', silent ? 'Unmute (M)' : 'Mute (M)');
    this.setIcon(
      'fullscreen',
      view.fullscreen ? 'shrink' : 'fullscreen',
      view.fullscreen ? 'Leave full screen (F)' : 'Full screen (F)',
    );
    this.part('sound').hidden = !view.askForSound;
    this.part('captions').hidden = view.captions === 'none';
    this.part('captions').setAttribute('aria-pressed', String(view.captions === 'on'));
    this.part('pip').hidden = !view.pip;
    this.part('big').hidden = !view.askToPlay || view.notice !== null;
    this.renderPoster(view.poster);
    this.renderRemote(view.remote);
    this.menu.render(view.menu);
    // Of these there may be none; each takes the place of something that narrow players can do without.
    const extra = ['captions', 'settings', 'remote'].filter((name) => !this.part(name).hidden).length;
    this.frame.dataset.extra = String(extra);
    setText(this.part('mode'), view.mode);
    this.renderLive(view);
    this.renderSeek(view);
    const volume = this.part<HTMLInputElement>('volume');
    volume.value = String(view.muted ? 0 : view.volume);
    fill(volume);
    this.renderNotice(view.notice);
  }

  private renderPoster(address: string | null): void {
    const poster = this.find<HTMLImageElement>('.poster');
    if (address !== null && poster.getAttribute('src') !== address) {
      delete poster.dataset.failed;
      poster.src = address;
    }
    poster.hidden = address === null || poster.dataset.failed !== undefined;
    this.frame.classList.toggle('postered', !poster.hidden);
  }

  private renderRemote(remote: View['remote']): void {
    const target = this.part('remote');
    target.hidden = remote === null;
    if (remote === null) return;
    const airplay = remote.kind === 'airplay';
    this.setIcon('remote', airplay ? 'airplay' : 'cast', airplay ? 'AirPlay' : 'Cast');
    target.setAttribute('aria-pressed', String(remote.connected));
  }

  private renderLive({ live }: View): void {
    const badge = this.part('live');
    badge.hidden = live === null;
    this.part('jump').hidden = live === null || !live.behind;
    if (live === null) return;
    badge.classList.toggle('behind', live.behind);
    const latency = live.latencyS === null ? '' : `${live.latencyS.toFixed(live.latencyS < 10 ? 1 : 0)} s`;
    setText(badge.querySelector('.latency'), latency);
    // What is read stands in it as what is seen: voice control calls buttons by their words.
    const seen = latency === '' ? 'Live' : `Live ${latency} behind the source`;
    const whole = live.behind ? `${seen}. Jump to live (L)` : seen;
    if (badge.title !== whole) {
      badge.title = whole;
      badge.setAttribute('aria-label', whole);
    }
  }

  private renderSeek({ seek }: View): void {
    const input = this.part<HTMLInputElement>('seek');
    this.seekShown = seek;
    this.part('track').hidden = seek === null;
    if (seek === null) {
      setText(this.part('time'), '');
      return;
    }
    input.min = String(seek.startS);
    input.max = String(seek.endS);
    if (!this.seeking) input.value = String(seek.positionS);
    fill(input);
    const behindS = seek.endS - seek.positionS;
    const position = seek.live ? `-${clock(behindS)}` : clock(seek.positionS - seek.startS);
    const time = seek.live
      ? behindS > 5
        ? position
        : ''
      : `${position} / ${clock(seek.endS - seek.startS)}`;
    setText(this.part('time'), time);
    input.setAttribute('aria-valuetext', seek.live ? `${clock(behindS)} behind live` : time);
  }

  private renderNotice(notice: Notice | null): void {
    const box = this.find('.notice');
    const key = JSON.stringify(notice);
    if (key === this.shownNotice) return;
    const before = this.shownNotice === '' ? null : (JSON.parse(this.shownNotice) as Notice | null);
    this.shownNotice = key;
    box.hidden = notice === null;
    if (notice === null) return;
    box.className = `notice ${notice.tone}${notice.small ? ' small' : ''}`;
    setText(box.querySelector('.title'), notice.title);
    setText(box.querySelector('.detail'), notice.detail);
    if (before?.tone !== notice.tone) {
      setMarkup(this.find('.mark'), notice.tone === 'busy' ? '' : icon(notice.tone === 'error' ? 'warning' : 'offair'));
    }
    if (JSON.stringify(before?.actions) !== JSON.stringify(notice.actions)) {
      this.find('.actions').replaceChildren(
        ...notice.actions.map(({ id, label }) => {
          const action = document.createElement('button');
          action.type = 'button';
          action.dataset.action = id;
          action.textContent = label;
          return action;
        }),
      );
    }
  }

  private setIcon(part: string, name: Icon, label: string): void {
    if (this.shownIcons.get(part) === name) return;
    this.shownIcons.set(part, name);
    const target = this.part(part);
    setMarkup(target, icon(name));
    target.title = label;
    target.setAttribute('aria-label', label);
  }

  private onClick(part: string, handler: () => void): void {
    this.part(part).addEventListener('click', handler);
  }

  private part<T extends HTMLElement = HTMLElement>(name: string): T {
    return this.find<T>(`[data-part="${name}"]`);
  }

  private find<T extends HTMLElement = HTMLElement>(selector: string): T {
    const found = this.root.querySelector<T>(selector);
    if (found === null) throw new Error(`the template has no ${selector}`);
    return found;
  }
}

function setText(target: Element | null, text: string): void {
  if (target !== null && target.textContent !== text) target.textContent = text;
}

/** The coloured part of a range input; CSS can't know the value by itself. */
function fill(input: HTMLInputElement): void {
  const min = Number(input.min);
  const share = (Number(input.value) - min) / Math.max(1e-9, Number(input.max) - min);
  input.style.setProperty('--fill', `${Math.round(share * 1000) / 10}%`);
}
