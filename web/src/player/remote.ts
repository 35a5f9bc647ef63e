/** Sending the picture to another screen: AirPlay in Safari, Remote Playback (Cast) where a browser has it. */

interface AirPlayVideo extends HTMLVideoElement {
  webkitShowPlaybackTargetPicker?(): void;
  webkitCurrentPlaybackTargetIsWireless?: boolean;
}

export type RemoteKind = 'airplay' | 'cast';

export class Remote {
  available = false;
  readonly kind: RemoteKind | null;

  /** `changed`: a device appeared or vanished, or playback moved. */
  constructor(
    private readonly video: HTMLVideoElement,
    private readonly changed: () => void,
  ) {
    this.kind = kindOf(video);
    if (this.kind === 'airplay') this.watchAirPlay();
    if (this.kind === 'cast') this.watchRemote();
  }

  get connected(): boolean {
    if (this.kind === 'airplay') return (this.video as AirPlayVideo).webkitCurrentPlaybackTargetIsWireless === true;
    return this.kind === 'cast' && this.video.remote.state !== 'disconnected';
  }

  /** Opens the browser's own list of devices. */
  prompt(): void {
    if (this.kind === 'airplay') (this.video as AirPlayVideo).webkitShowPlaybackTargetPicker?.();
    // Closing the list without a choice is a refusal, too.
    else if (this.kind === 'cast') this.video.remote.prompt().catch(() => {});
  }

  private watchAirPlay(): void {
    this.video.addEventListener('webkitplaybacktargetavailabilitychanged', (event) => {
      this.tell((event as Event & { availability?: string }).availability === 'available');
    });
    this.video.addEventListener('webkitcurrentplaybacktargetiswirelesschanged', () => this.changed());
  }

  private watchRemote(): void {
    const { remote } = this.video;
    for (const event of ['connecting', 'connect', 'disconnect']) remote.addEventListener(event, () => this.changed());
    // Refused where the browser cannot look for devices: then it has none to offer.
    remote.watchAvailability((available) => this.tell(available)).catch(() => {});
  }

  private tell(available: boolean): void {
    if (this.available === available) return;
    this.available = available;
    this.changed();
  }
}

function kindOf(video: HTMLVideoElement): RemoteKind | null {
  if (typeof (video as AirPlayVideo).webkitShowPlaybackTargetPicker === 'function') return 'airplay';
  return 'remote' in video ? 'cast' : null;
}
