/** Cameras, microphones and screens, and how loud it is. */

export type Picture = 'camera' | 'screen';

export interface Chosen {
  picture: Picture;
  camera: string;
  microphone: string;
}

const FRAME_RATE = { ideal: 30, max: 30 };
const CAMERA = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: FRAME_RATE };
/** A larger one is made smaller: browsers encode H.264, which every player plays, up to this size (level 4). */
export const SCREEN_MAX = { width: 1920, height: 1080 };
const SCREEN = { width: { max: SCREEN_MAX.width }, height: { max: SCREEN_MAX.height }, frameRate: FRAME_RATE };

/** Screens that are shown with a sound of their own. */
const sounding = new WeakSet<MediaStream>();

/** `exact`: this one; `ideal`: rather than others. */
type How = 'exact' | 'ideal';

function only(device: string, how: How): MediaTrackConstraints {
  return device === '' ? {} : { deviceId: { [how]: device } };
}

function soundOf(microphone: string, how: How = 'exact'): MediaTrackConstraints {
  return { ...only(microphone, how), channelCount: { ideal: 2 } };
}

/** Not every browser's OverconstrainedError is a DOMException. */
function nameOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'name' in error ? String(error.name) : '';
}

/** What was chosen; where one of it was unplugged, what there is instead of that one. */
async function orAnother<T>(ask: (how: How) => Promise<T>): Promise<T> {
  try {
    return await ask('exact');
  } catch (error) {
    if (nameOf(error) !== 'OverconstrainedError') throw error;
    return ask('ideal');
  }
}

/** Microphones stay on when a screen is shown: the screen's own sound goes first, where there is any. */
export async function open({ picture, camera, microphone }: Chosen): Promise<MediaStream> {
  const { mediaDevices } = navigator;
  if (picture === 'screen') {
    const screen = await mediaDevices.getDisplayMedia({ video: SCREEN, audio: true });
    if (screen.getAudioTracks().length > 0) {
      sounding.add(screen);
      return screen;
    }
    const sound = await orAnother((how) => mediaDevices.getUserMedia({ audio: soundOf(microphone, how) })).catch(() => null);
    for (const track of sound?.getAudioTracks() ?? []) screen.addTrack(track);
    return screen;
  }
  return orAnother(async (how) => {
    const video = { ...CAMERA, ...only(camera, how) };
    try {
      return await mediaDevices.getUserMedia({ video, audio: soundOf(microphone, how) });
    } catch (error) {
      // A machine without a microphone shows its picture all the same.
      if (nameOf(error) !== 'NotFoundError') throw error;
      return mediaDevices.getUserMedia({ video });
    }
  });
}

/** The screen that is shown, with another microphone; null: it has a sound of its own. */
export async function withMicrophone(screen: MediaStream, microphone: string): Promise<MediaStream | null> {
  if (sounding.has(screen)) return null;
  const sound = await navigator.mediaDevices.getUserMedia({ audio: soundOf(microphone) });
  return new MediaStream([...screen.getVideoTracks(), ...sound.getAudioTracks()]);
}

export function words(error: unknown): string {
  const name = nameOf(error);
  if (name === 'NotAllowedError') return 'The browser was not allowed to use it. Allow camera and microphone for this page, then try again.';
  if (name === 'NotFoundError' || name === 'OverconstrainedError') return 'There is no such camera or microphone.';
  if (name === 'NotReadableError') return 'Another program is using it.';
  return error instanceof Error ? error.message : 'It can’t be opened.';
}

/** Fills a list; before permission was given devices have no names. */
export async function list(kind: 'videoinput' | 'audioinput', target: HTMLSelectElement, none: string): Promise<void> {
  const devices = (await navigator.mediaDevices.enumerateDevices()).filter((device) => device.kind === kind);
  const before = target.value;
  target.replaceChildren(
    ...devices.map(({ deviceId, label }, at) => new Option(label || `${kind === 'videoinput' ? 'Camera' : 'Microphone'} ${at + 1}`, deviceId)),
  );
  if (devices.length === 0) target.append(new Option(none, ''));
  if (devices.some(({ deviceId }) => deviceId === before)) target.value = before;
}

/** Peak of the last moment, 0 to 1. */
export class Meter {
  private context: AudioContext | null = null;
  private analyser: AnalyserNode | null = null;
  private wave = new Float32Array();

  watch(stream: MediaStream): void {
    void this.context?.close();
    this.context = null;
    this.analyser = null;
    if (stream.getAudioTracks().length === 0) return;
    this.context = new AudioContext();
    this.analyser = this.context.createAnalyser();
    this.analyser.fftSize = 2_048;
    this.wave = new Float32Array(this.analyser.fftSize);
    this.context.createMediaStreamSource(stream).connect(this.analyser);
  }

  level(): number {
    // It waits for a click of the person at the page.
    if (this.context?.state === 'suspended') void this.context.resume();
    if (this.analyser === null) return 0;
    this.analyser.getFloatTimeDomainData(this.wave);
    const peak = this.wave.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    // -60 dB is silence, 0 dB the top.
    return peak === 0 ? 0 : Math.min(1, Math.max(0, 1 + (20 * Math.log10(peak)) / 60));
  }
}
