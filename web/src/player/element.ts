/**
 * `<airwave-player src="ID | manifest URL" [autoplay] [muted] [dvr] [server="https://host"] …>`; README.md has all attributes.
 *
 * Assembly: the session (session.ts) decides, an engine (engine.ts) plays, the controls show. Timers, requests and
 * the media element live here.
 */
import { remember, remembered } from '../shared/memory';
import { isBehind, playbackRate } from './catch-up';
import { AUTO, OFF, type Section, type SectionId, sections, SPEEDS } from './choices';
import { Captions } from './captions';
import { Cmcd } from './cmcd';
import { Controls, type Intents, type View } from './controls';
import { bestBps, type Engine, type From, isAudioOnly, isMoq, type MoqPlace, prepareMoq, startEngine } from './engine';
import { isForOthers, pressKey } from './keys';
import { Missing } from './missing';
import { Path, type PathLost } from './path';
import { Pictures } from './pictures';
import { nothingToPlay, Plays } from './plays';
import styles from './player.css?inline';
import { bufferedS, toggleFullscreen, togglePip } from './presentation';
import { Quality } from './quality';
import { Range } from './range';
import { Remote } from './remote';
import { fetchClockOffset, fetchLifecycle, Refused } from './server';
import { type Effect, type Failure, type Input, initial, type Lifecycle, next, type State } from './session';
import { cmcdUrl, DIRECT, manifestQuery, manifestUrl, moqPlace, type Source, sourceOf } from './source';
import { Stalls } from './stalls';
import { type PlayerStats, statsOf } from './stats';
import { type Action, describe, NOT_THERE } from './words';

const TICK_MS = 250;
const IDLE_AFTER_MS = 2_600;
/** A picture that stands still for this long gets words. */
const STALL_WORDS_AFTER_MS = 2_500;
/** How long after an interruption the way back to the live edge is looked for. */
const RETURN_WITHIN_MS = 3_000;
const STEADY_AFTER_MS = 10_000;
/** What stays buffered when the start is moved towards the edge; a shorter way is left to the catch-up. */
const SNAP_RESERVE_S = 0.2;
/** What browsers play with sound. */
const SPEED_MIN = 0.25;
const SPEED_MAX = 4;
const SOUND_KEY = 'airwave.sound';

export class AirwavePlayer extends HTMLElement {
  static readonly observedAttributes = ['src', 'bare', 'poster', 'captions'];

  private state: State = initial;
  private engine: Engine | null = null;
  /** Loads that were overtaken by a newer one must not attach. */
  private loads = 0;
  private begun = 0;
  private askTimer = 0;
  private askAtMs = 0;
  private loadTimer = 0;
  private tickTimer = 0;
  private clockOffsetMs = 0;
  private readonly controls: Controls;
  private wantsToPlay = true;
  private readonly plays = new Plays();
  private idleAtMs = 0;
  private readonly stalls = new Stalls();
  private readonly cmcd = new Cmcd();
  private readonly remote: Remote;
  private readonly captions: Captions;
  private readonly range: Range;
  /** A load that waits for somebody to press play (`preload="none"`). */
  private held: { id: string | null; from: From } | null = null;
  /** The first picture is there and nothing more is loaded before somebody presses play. */
  private suspended = false;
  /** Something of this source was played. */
  private begunToPlay = false;
  /** Of replays; a live picture keeps its own pace. */
  private speed = 1;
  private steadySinceMs = 0;
  private pictured = false;
  private readonly missing = new Missing();
  private startsLive = false;
  private startsAtEnd = false;
  private wasIdle = false;
  /** Was near the live edge when last looked at without trouble; pausing and seeking are the viewer's own wish. */
  private atEdge = false;
  /** Where the broadcast of the last answer is over MoQ. */
  private moq: Lifecycle['moq'] = null;
  private readonly pictures = new Pictures();
  private readonly quality = new Quality();
  private readonly path = new Path();
  private climbing = false;

  constructor() {
    super();
    const root = this.attachShadow({ mode: 'open' });
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(styles);
    root.adoptedStyleSheets = [sheet];
    this.controls = new Controls(root, this.intents());
    this.remote = new Remote(this.video, {
      changed: () => this.render(),
      happened: (name) => {
        this.dispatchEvent(new CustomEvent('airwave-remote', { detail: name }));
        this.render();
      },
      playing: () => this.plays.begun(),
      left: () => this.pause(),
      back: (playing) => this.comeBack(playing),
    });
    this.captions = new Captions(this.video);
    this.range = new Range(this.video, () => Number(this.getAttribute('clip')) || null, () => this.engine);
    this.listen();
  }

  get video(): HTMLVideoElement {
    return this.controls.video;
  }

  /** What plays: `video`, or, never on the page, that whose picture another screen shows. */
  get screen(): HTMLVideoElement {
    return this.remote.screen;
  }

  get stats(): PlayerStats {
    const { state, engine, video, stalls, pictured } = this;
    return statsOf({ state, engine, video, stalls, pictured, latencyS: this.latencyS() });
  }

  get muted(): boolean {
    return this.video.muted;
  }

  set muted(muted: boolean) {
    this.video.muted = muted;
  }

  get volume(): number {
    return this.video.volume;
  }

  set volume(volume: number) {
    this.video.volume = Math.min(1, Math.max(0, volume));
  }

  /** Of a clip: since that began. */
  get currentTime(): number {
    return this.screen.currentTime - this.range.offsetS;
  }

  get duration(): number {
    return this.range.durationS;
  }

  /** Before anything is loaded: where a recording begins. */
  set currentTime(positionS: number) {
    if (this.video.seekable.length > 0) this.seekTo(positionS + this.range.offsetS);
    else this.setAttribute('start', String(Math.max(0, positionS)));
  }

  /** What recordings are played at; a live picture keeps its own pace, which is told as 1. */
  get playbackRate(): number {
    return this.engine?.live === true ? 1 : this.speed;
  }

  set playbackRate(rate: number) {
    this.speed = Math.min(SPEED_MAX, Math.max(SPEED_MIN, rate));
    this.keepPace();
    this.render();
  }

  /** The last frame of a recording was shown. */
  get ended(): boolean {
    return this.video.ended || (this.state.name === 'replay' && this.state.ended);
  }

  play(): Promise<void> {
    this.wantsToPlay = true;
    if (this.state.name === 'stopped') return Promise.reject(nothingToPlay());
    const begun = this.plays.add();
    if (this.engine === null) this.loadHeld();
    else if (this.remote.elsewhere) this.remote.play();
    else this.video.play().then(() => this.plays.begun(), (error: unknown) => this.notPlaying(error));
    return begun;
  }

  pause(): void {
    this.wantsToPlay = false;
    this.plays.refused(new DOMException('paused before it began to play', 'AbortError'));
    this.atEdge = false;
    this.remote.pause();
  }

  connectedCallback(): void {
    const label = this.getAttribute('label');
    if (label !== null) this.controls.frame.setAttribute('aria-label', label);
    const soundWanted = remembered(SOUND_KEY) === 'on';
    this.video.muted = this.hasAttribute('muted') || (this.hasAttribute('autoplay') && !soundWanted);
    this.wantsToPlay = this.hasAttribute('autoplay');
    this.captions.beginWith(this.getAttribute('captions'));
    this.remote.watch();
    this.tickTimer = window.setInterval(() => this.tick(), TICK_MS);
    this.begin();
  }

  disconnectedCallback(): void {
    window.clearInterval(this.tickTimer);
    this.remote.close();
    this.unload();
    this.begun++;
    window.clearTimeout(this.askTimer);
  }

  attributeChangedCallback(name: string, before: string | null, after: string | null): void {
    if (!this.isConnected || before === after) return;
    if (name === 'src') {
      if (before !== null) this.begin();
      return;
    }
    if (name === 'captions') this.captions.beginWith(after);
    this.onCaptions();
  }

  /** For pages that want the keys to work without focus in the player. */
  handleKey(event: KeyboardEvent): void {
    if (this.hasAttribute('bare') || isForOthers(event)) return;
    if (!pressKey(event.key, this.intents(), this.video)) return;
    event.preventDefault();
    this.wake();
  }

  // --- the session -----------------------------------------------------------------------------------------------

  private begin(): void {
    const source = sourceOf(this);
    this.unload();
    this.path.movedTo = null;
    this.controls.dropStill();
    this.begun++;
    this.begunToPlay = false;
    this.quality.forget();
    this.captions.forget();
    if (source === null) return;
    this.state = initial;
    this.feed({ kind: 'start' });
    if (source.kind === 'id') {
      void fetchClockOffset(source.server).then((offsetMs) => {
        this.clockOffsetMs = offsetMs;
      });
    }
  }

  private feed(input: Input): void {
    const before = this.state;
    const [state, effects] = next(before, input);
    this.state = state;
    for (const effect of effects) this.perform(effect);
    if (before.name !== state.name) {
      if (state.name === 'stopped') this.plays.refused(nothingToPlay());
      this.dispatchEvent(new CustomEvent('airwave-state', { detail: { state: state.name } }));
    }
    this.render();
  }

  private perform(effect: Effect): void {
    switch (effect.do) {
      case 'ask':
        window.clearTimeout(this.askTimer);
        this.askAtMs = performance.now() + effect.afterMs;
        // A page in the background asks less often.
        this.askTimer = window.setTimeout(
          () => void this.ask(),
          document.hidden ? Math.max(effect.afterMs, 10_000) : effect.afterMs,
        );
        return;
      case 'load':
        window.clearTimeout(this.loadTimer);
        // The recording stands at its end, unless somebody presses play from here on.
        if (effect.from === 'end') this.wantsToPlay = false;
        this.loadTimer = window.setTimeout(() => this.loadOrHold(effect.id, effect.from), effect.afterMs);
        return;
      case 'retry':
        if (this.engine === null) void this.load(null, 'live');
        else this.engine.retry();
        return;
      case 'unload':
        this.unload();
        this.controls.dropStill();
        return;
    }
  }

  private async ask(): Promise<void> {
    const source = sourceOf(this);
    if (source === null) return;
    const begun = this.begun;
    const input = await this.lifecycle(source);
    // An answer about the `src` of before is no news.
    if (begun === this.begun) this.feed(input);
  }

  private async lifecycle(source: Source): Promise<Input> {
    if (source.kind === 'url') return { kind: 'lifecycle', lifecycle: DIRECT };
    try {
      const lifecycle = await fetchLifecycle(source.server, source.id);
      this.moq = lifecycle.moq;
      this.pictures.follow(lifecycle);
      if (lifecycle.moq !== null) prepareMoq();
      this.dispatchEvent(new CustomEvent('airwave-lifecycle', { detail: lifecycle }));
      return { kind: 'lifecycle', lifecycle };
    } catch (error) {
      return {
        kind: 'lifecycle-failed',
        failure: error instanceof Refused ? error.failure : { kind: 'network' },
      };
    }
  }

  private loadOrHold(id: string | null, where: 'live' | 'start' | 'end'): void {
    const fromStart = where === 'start' || (where === 'end' && this.wantsToPlay);
    if (where === 'end' && fromStart) this.feed({ kind: 'replaying' });
    const from = fromStart ? { s: Number(this.getAttribute('start')) || 0 } : where;
    if (this.getAttribute('preload') !== 'none' || this.wantsToPlay || this.begunToPlay) return void this.load(id, from);
    this.held = { id, from };
    this.render();
  }

  private loadHeld(): void {
    const { held } = this;
    this.held = null;
    if (held !== null) void this.load(held.id, held.from);
  }

  /** `again`: what plays already, another way; whether it plays is not touched. */
  private async load(id: string | null, from: From, again = false): Promise<void> {
    const source = sourceOf(this);
    if (source === null) return;
    const held = this.pictured && this.video.videoWidth > 0;
    if (held) this.controls.holdStill();
    this.unload();
    // The still is dropped once there is a picture at the place where playback begins.
    this.pictured = held;
    this.startsAtEnd = from === 'end';
    const load = ++this.loads;
    const query = manifestQuery(this);
    const url = manifestUrl(source, id, query);
    this.cmcd.begin(cmcdUrl(source, id), performance.now());
    this.remote.offer(url, again);
    this.pictures.load(source, id, () => this.controls.refreshScrub());
    let whole = true;
    const events = {
      onLive: (live: boolean) => {
        whole &&= !live;
        if (load === this.loads && !live) this.feed({ kind: 'playlist-ended', whole });
      },
      onFailure: (failure: Failure) => {
        if (load === this.loads) this.feed({ kind: 'failure', failure });
      },
      onPathLost: (why: PathLost = 'gone', to: MoqPlace['address'] | null = null) => {
        if (load !== this.loads) return;
        this.path.lost(why, to, performance.now(), bestBps(this.engine));
        void this.load(id, from, true);
      },
    };
    const mayMoq = from === 'live' && query === '' && !this.captions.keepOffMoq && this.path.mayTryMoq(performance.now());
    const moq = mayMoq ? moqPlace(source, this.moq, location.href, this.path.movedTo) : null;
    try {
      const engine = await startEngine(this.video, { url, from, captions: this.captions.preferred, moq, level: this.quality.pinned }, events);
      if (moq !== null && !isMoq(engine?.mode)) this.path.failed(performance.now());
      if (load !== this.loads) return engine?.destroy();
      this.engine = engine;
      if (engine === null) return this.feed({ kind: 'failure', failure: { kind: 'browser' } });
    } catch {
      // The chunk with the engine did not arrive.
      if (load === this.loads) this.feed({ kind: 'failure', failure: { kind: 'network' } });
      return;
    }
    // Asked for while this one was on its way.
    if (this.captions.came(this.engine)) return void this.load(id, from, again);
    this.startsLive = from === 'live';
    if (again) this.begunToPlay = true;
    else if (from === 'live' && this.hasAttribute('autoplay') && !this.remote.elsewhere) this.wantsToPlay = true;
    if (this.wantsToPlay) this.tryToPlay();
  }

  private unload(): void {
    this.loads++;
    window.clearTimeout(this.loadTimer);
    this.engine?.destroy();
    this.engine = null;
    this.held = null;
    this.suspended = false;
    this.pictured = false;
    this.missing.forget();
    this.stalls.forget();
    this.video.playbackRate = 1;
  }

  private tryToPlay(): void {
    if (this.remote.elsewhere) return this.remote.play();
    this.video.play().then(() => this.plays.begun(), (error: unknown) => {
      if (!(error instanceof DOMException) || error.name !== 'NotAllowedError') return;
      if (this.video.muted) {
        this.wantsToPlay = false;
        this.plays.refused(error);
        return;
      }
      // Browsers allow a picture without sound; the button then offers the sound.
      this.video.muted = true;
      this.tryToPlay();
    });
  }

  /** A source that was exchanged meanwhile is played once it is there. */
  private notPlaying(error: unknown): void {
    const exchanged = error instanceof DOMException && error.name === 'AbortError' && this.wantsToPlay;
    if (!exchanged) this.plays.refused(error);
  }

  // --- the media element -----------------------------------------------------------------------------------------

  private listen(): void {
    const { video, frame } = this.controls;
    const render = () => this.render();
    for (const event of ['play', 'pause', 'volumechange', 'enterpictureinpicture', 'leavepictureinpicture']) {
      video.addEventListener(event, render);
    }
    video.addEventListener('waiting', () => this.stallBegins());
    video.addEventListener('playing', () => this.stallEnds());
    video.addEventListener('ended', () => this.onEnded());
    video.addEventListener('play', () => this.onPlay());
    video.addEventListener('loadeddata', () => {
      this.snapToLive();
      this.onPicture();
    });
    video.addEventListener('resize', () => this.onPicture());
    video.addEventListener('seeked', () => {
      if (this.startsAtEnd && video.currentTime < 1) return;
      this.startsAtEnd = false;
      this.controls.dropStill();
    });
    video.textTracks.addEventListener('addtrack', () => this.onCaptions());
    this.addEventListener('fullscreenchange', render);
    frame.addEventListener('keydown', (event) => this.handleKey(event));
    frame.addEventListener('pointermove', () => this.wake());
    frame.addEventListener('focusin', () => this.wake());
    frame.addEventListener('pointerleave', () => {
      this.idleAtMs = 0;
    });
    video.addEventListener('click', (event) => this.onPictureClick(event));
    video.addEventListener('dblclick', () => {
      if (!this.hasAttribute('bare')) this.intents().toggleFullscreen();
    });
  }

  private onPictureClick(event: PointerEvent): void {
    if (this.hasAttribute('bare')) return;
    // A finger first brings the controls; a mouse has them already.
    if (event.pointerType === 'touch') {
      if (this.isIdle()) this.wake();
      else this.idleAtMs = 0;
      this.render();
      return;
    }
    this.intents().togglePlay();
  }

  private onPlay(): void {
    this.startsAtEnd = false;
    if (!this.begunToPlay) this.beginsToPlay();
    if (this.state.name === 'replay' && this.state.ended) {
      this.video.currentTime = this.range.shown?.startS ?? 0;
      this.feed({ kind: 'replaying' });
    }
  }

  /** Time has passed since the picture was loaded: live is elsewhere by now. */
  private beginsToPlay(): void {
    this.begunToPlay = true;
    if (this.suspended) {
      this.engine?.resume();
      this.cmcd.wanted(performance.now());
    }
    this.suspended = false;
    if (this.engine?.live !== true) return;
    this.atEdge = true;
    this.stalls.endedAtMs = performance.now();
  }

  private onEnded(): void {
    const again = this.hasAttribute('loop') && this.state.name === 'replay' && this.state.next === null;
    if (!again) return this.feed({ kind: 'played-out' });
    this.video.currentTime = this.engine?.beginsAtS?.() ?? 0;
    this.tryToPlay();
  }

  private onCaptions(): void {
    if (this.captions.came(this.engine)) void this.load(null, 'live', this.begunToPlay);
    this.render();
  }

  private onPicture(): void {
    if (this.video.videoWidth === 0 && !isAudioOnly(this.engine?.level() ?? null)) return;
    this.pictured = true;
    this.remote.pictured();
    if (!this.startsAtEnd) this.controls.dropStill();
    if (!this.wantsToPlay && !this.begunToPlay && this.getAttribute('preload') !== 'auto') {
      this.suspended = true;
      this.engine?.suspend();
    }
    this.render();
  }

  /** While the first segment was on its way the edge moved on: nothing was shown yet, so skip there at once. */
  private snapToLive(): void {
    const positionS = this.engine?.livePositionS() ?? null;
    if (positionS === null || !this.startsLive) return;
    this.startsLive = false;
    const aheadS =
      Math.min(positionS, this.video.currentTime + bufferedS(this.video) - SNAP_RESERVE_S) - this.video.currentTime;
    if (aheadS > SNAP_RESERVE_S) this.video.currentTime += aheadS;
  }

  private stallBegins(): void {
    if (!this.video.paused && !this.video.seeking && this.pictured) this.stalls.begin(performance.now());
  }

  private stallEnds(): void {
    this.stalls.end(performance.now());
    this.steadySinceMs = performance.now();
    this.feed({ kind: 'stalled', stalled: false });
  }

  private tick(): void {
    const now = performance.now();
    const stalledForMs = this.stalls.currentMs(now);
    if (this.state.name === 'live' && stalledForMs > STALL_WORDS_AFTER_MS)
      this.feed({ kind: 'stalled', stalled: true });
    // A playlist that vanished instead of ending: what was loaded has been shown.
    if (this.state.name === 'ending' && stalledForMs > 1_000) this.feed({ kind: 'played-out' });
    if (!this.stalls.stalling && now - this.steadySinceMs > STEADY_AFTER_MS) {
      this.steadySinceMs = now;
      this.feed({ kind: 'steady' });
    }
    this.reportPlaying(now);
    this.watchForMissingPicture();
    this.returnToLive(now);
    this.keepPace();
    void this.climb(now);
    if (this.pictured) void this.learnLevels(now);
    // Nobody sees a hidden bar: leave the main thread to the picture.
    if (!this.isIdle() || this.wasIdle !== this.isIdle() || this.notice() !== null) this.render();
    this.wasIdle = this.isIdle();
  }

  private reportPlaying(now: number): void {
    const { video, engine } = this;
    if (engine === null || !this.pictured || video.paused || video.currentTime === 0 || this.stalls.stalling) return;
    const bitrateBps = engine.level()?.bitrateBps ?? 0;
    this.cmcd.playing({ moq: isMoq(engine.mode), live: engine.live, stalls: this.stalls.count, bitrateBps }, now);
  }

  private watchForMissingPicture(): void {
    if (!this.missing.look(this.video, this.engine)) return;
    this.feed({ kind: 'failure', failure: { kind: 'codec', codec: this.engine?.level()?.codecs ?? '' } });
  }

  /** Whoever watched live before an interruption watches live after it. */
  private returnToLive(now: number): void {
    const positionS = this.engine?.livePositionS() ?? null;
    if (positionS === null || this.video.paused || this.stalls.stalling) return;
    const behind = isBehind(this.engine?.edgeLatencyS() ?? null, this.engine?.targetLatencyS() ?? 0);
    if (this.atEdge && behind && now - this.stalls.endedAtMs < RETURN_WITHIN_MS)
      this.video.currentTime = positionS;
    else this.atEdge = !behind;
  }

  /** Back to MoQ, once it answers again. */
  private async climb(now: number): Promise<void> {
    const source = sourceOf(this);
    if (isMoq(this.engine?.mode)) this.path.works(now);
    else if (this.engine !== null) this.path.carries(this.engine.carriesBps?.());
    const may = this.engine?.live === true && !isMoq(this.engine.mode) && this.state.name === 'live' && !this.video.paused;
    if (!may || this.climbing || source === null || manifestQuery(this) !== '' || this.captions.keepOffMoq || !this.path.mayTryMoq(now)) return;
    const place = moqPlace(source, this.moq, location.href, this.path.movedTo);
    if (place === null) return;
    this.climbing = true;
    const { loads } = this;
    // Code that does not come is no answer.
    const answered = await import('./moq-engine').then(({ answers }) => answers(place, this.quality.pinned)).catch(() => false);
    this.climbing = false;
    if (!answered) this.path.failed(performance.now());
    else if (loads === this.loads && !this.captions.keepOffMoq) void this.load(null, 'live', true);
  }

  private keepPace(): void {
    const latencyS = this.engine?.edgeLatencyS() ?? null;
    const targetS = this.engine?.targetLatencyS() ?? null;
    const paced = latencyS !== null && targetS !== null && !this.video.paused;
    const unpaced = this.mayChooseSpeed() ? this.speed : 1;
    const rate = paced
      ? playbackRate(this.video.playbackRate, { latencyS, targetS, bufferS: bufferedS(this.video) })
      : unpaced;
    if (this.video.playbackRate !== rate) this.video.playbackRate = rate;
  }

  private latencyS(): number | null {
    if (this.engine === null || !this.engine.live) return null;
    const playingAtMs = this.engine.playingAtMs();
    if (playingAtMs === null) return this.engine.edgeLatencyS();
    return Math.max(0, (Date.now() + this.clockOffsetMs - playingAtMs) / 1000);
  }

  // --- what the viewer wants -------------------------------------------------------------------------------------

  private intents(): Intents {
    return {
      togglePlay: () => {
        if (this.held !== null) {
          this.wantsToPlay = true;
          this.loadHeld();
        } else if (this.screen.paused) {
          this.wantsToPlay = true;
          this.tryToPlay();
        } else {
          this.pause();
        }
      },
      toggleMute: () => {
        const silent = this.video.muted || this.video.volume === 0;
        this.video.muted = !silent;
        if (silent && this.video.volume === 0) this.video.volume = 0.5;
        remember(SOUND_KEY, silent ? 'on' : 'off');
        if (silent && this.video.paused && this.hasAttribute('autoplay') && this.engine?.live)
          this.tryToPlay();
      },
      setVolume: (volume) => {
        this.video.volume = Math.min(1, Math.max(0, volume));
        this.video.muted = this.video.volume === 0;
      },
      seekTo: (positionS) => this.seekTo(positionS),
      seekBy: (distanceS) => this.seekTo(this.screen.currentTime + distanceS),
      pictureAt: (positionS) => this.pictures.at(positionS, this.engine),
      seekToStart: () => this.seekTo(0),
      goLive: () => this.goLive(),
      choose: (section, value) => this.choose(section, value),
      toggleMenu: () => this.controls.menu.toggle(),
      changeSpeed: (steps) => this.changeSpeed(steps),
      promptRemote: () => this.remote.prompt(),
      toggleCaptions: () => {
        if (this.captions.toggle(this.engine)) void this.load(null, 'live', true);
        this.render();
      },
      togglePip: () => togglePip(this.video),
      toggleFullscreen: () => toggleFullscreen(this, this.video),
      act: (action) => this.act(action),
    };
  }

  private choose(section: SectionId, value: string): void {
    switch (section) {
      case 'quality':
        if (this.quality.choose(this.engine, value === AUTO ? null : Number(value))) void this.load(null, 'live', true);
        break;
      case 'audio':
        this.engine?.chooseAudio(Number(value));
        break;
      case 'captions':
        this.captions.choose(value === OFF ? null : Number(value));
        break;
      case 'speed':
        this.playbackRate = Number(value);
        break;
    }
    this.render();
  }

  private async learnLevels(now: number): Promise<void> {
    const source = sourceOf(this);
    if (source !== null && (await this.quality.learn(this.engine, manifestUrl(source, null), now))) this.render();
  }

  /** From another screen: what is live went on meanwhile. */
  private comeBack(playing: boolean): void {
    this.wantsToPlay = playing;
    if (this.engine?.live === true) void this.load(null, 'live', true);
    else if (playing) this.tryToPlay();
  }

  private changeSpeed(steps: number): void {
    if (!this.mayChooseSpeed()) return;
    const nearest = SPEEDS.reduce((best, rate) => (Math.abs(rate - this.speed) < Math.abs(best - this.speed) ? rate : best));
    this.playbackRate = SPEEDS[SPEEDS.indexOf(nearest) + steps] ?? this.speed;
  }

  private mayChooseSpeed(): boolean {
    return this.engine !== null && !this.engine.live && this.state.name === 'replay';
  }

  private act(action: Action): void {
    if (action === 'replay') {
      this.screen.currentTime = this.engine?.beginsAtS?.() ?? 0;
      this.feed({ kind: 'replaying' });
      this.wantsToPlay = true;
      this.tryToPlay();
      return;
    }
    if (action === 'watch-recording') this.wantsToPlay = true;
    this.feed({ kind: action });
  }

  private seekTo(positionS: number): void {
    const { shown } = this.range;
    if (shown === null || this.liveElsewhere) return;
    this.atEdge = false;
    this.screen.currentTime = this.range.within(positionS);
    if (this.state.name === 'replay' && this.state.ended && positionS < shown.endS - 0.5)
      this.feed({ kind: 'replaying' });
    this.render();
  }

  /** Each device has a timeline of its own. */
  private get liveElsewhere(): boolean {
    return this.remote.elsewhere && this.engine?.live === true;
  }

  private goLive(): void {
    if (this.liveElsewhere) return this.remote.goLive();
    const positionS = this.engine?.livePositionS() ?? null;
    if (positionS === null) {
      this.feed({ kind: 'go-live' });
      return;
    }
    // While he seeks, hls.js tells the latency of before.
    const behind = isBehind(this.engine?.edgeLatencyS() ?? null, this.engine?.targetLatencyS() ?? 0);
    if (behind || isBehind(positionS - this.video.currentTime, 0)) this.video.currentTime = positionS;
    this.wantsToPlay = true;
    this.tryToPlay();
  }

  private wake(): void {
    this.idleAtMs = performance.now() + IDLE_AFTER_MS;
    this.controls.frame.classList.remove('idle');
  }

  private isIdle(): boolean {
    return performance.now() > this.idleAtMs && !this.video.paused && this.pictured && !this.controls.menu.open;
  }

  private render(): void {
    this.controls.frame.classList.toggle('idle', this.isIdle());
    this.controls.render(this.view());
  }

  private view(): View {
    const { video, screen, liveElsewhere } = this;
    const live = this.engine?.live === true && this.pictured;
    const behind = isBehind(this.engine?.edgeLatencyS() ?? null, this.engine?.targetLatencyS() ?? 0);
    // Who sees the picture in a moment needs no other one.
    const waits = !this.pictured && !this.begunToPlay && !this.wantsToPlay;
    return {
      paused: screen.paused,
      muted: video.muted,
      volume: video.volume,
      live: live ? { latencyS: liveElsewhere ? null : this.latencyS(), behind: (behind && !liveElsewhere) || screen.paused } : null,
      mode: this.pictured && this.engine?.live ? (this.engine.mode ?? '') : '',
      notice: this.notice(),
      // Who put the player there without sound did so on purpose; the button in the bar is enough.
      askForSound: this.pictured && video.muted && !video.paused && !this.hasAttribute('muted'),
      pictured: this.pictured,
      // iOS shows no first frame before somebody presses play.
      playable: this.pictured || ((this.engine !== null || this.held !== null) && !this.wantsToPlay),
      bare: this.hasAttribute('bare'),
      poster: this.begunToPlay && this.pictured ? null : (this.getAttribute('poster') ?? (waits ? this.pictures.poster(sourceOf(this)) : null)),
      askToPlay: !this.begunToPlay && !this.wantsToPlay && screen === video && (this.pictured || this.held !== null),
      menu: this.pictured ? this.menu() : [],
      remote: this.remote.available ? { kind: this.remote.kind, connected: this.remote.connected } : null,
      seek: this.pictured && !liveElsewhere ? this.range.bar(screen) : null,
      captions: this.captions.state(this.engine),
      fullscreen: document.fullscreenElement === this,
      pip: document.pictureInPictureEnabled === true,
    };
  }

  private menu(): Section[] {
    const { engine } = this;
    const captions = this.captions.tracks(engine).map(({ label, language, mode }) => ({ label, language, chosen: mode === 'showing' }));
    return sections({
      levels: this.quality.levels(engine),
      chosenLevel: this.quality.chosen(engine),
      shown: engine?.level() ?? null,
      audio: engine?.audioTracks() ?? [],
      captions,
      speed: this.mayChooseSpeed() ? this.speed : null,
    });
  }

  private notice(): View['notice'] {
    const notice = describe(this.state, (this.askAtMs - performance.now()) / 1000, this.pictured) ?? (this.remote.refused ? NOT_THERE : null);
    // A picture that only waits for a click on play needs no spinner.
    const waitsForPlay = !this.wantsToPlay && (this.engine !== null || this.held !== null);
    return notice?.tone === 'busy' && waitsForPlay && !notice.small ? null : notice;
  }
}
