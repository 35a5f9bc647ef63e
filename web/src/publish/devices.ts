/** Cameras, microphones and screens, and how loud it is. */

export type Picture = 'camera' | 'screen';

export interface Chosen {
  picture: Picture;
  camera: string;
  microphone: string;
}

/** Screens that are shown with a sound of their own. */
const sounding = new WeakSet<MediaStream>();

function soundOf(microphone: string): MediaTrackConstraints {
  return { ...(microphone === '' ? {} : { deviceId: { exact: microphone } }), channelCount: { ideal: 2 } };
}

/** Microphones stay on when a screen is shown: the screen's own sound goes first, where there is any. */
export async function open({ picture, camera, microphone }: Chosen): Promise<MediaStream> {
  const audio = soundOf(microphone);
  const size = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30, max: 30 } };
  if (picture === 'screen') {
    const screen = await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { ideal: 30, max: 30 } }, audio: true });
    if (screen.getAudioTracks().length > 0) {
      sounding.add(screen);
      return screen;
    }
    const sound = await navigator.mediaDevices.getUserMedia({ audio }).catch(() => null);
    for (const track of sound?.getAudioTracks() ?? []) screen.addTrack(track);
    return screen;
  }
  const video = { ...size, ...(camera === '' ? {} : { deviceId: { exact: camera } }) };
  try {
    return await navigator.mediaDevices.getUserMedia({ video, audio });
  } catch (error) {
    // A machine without a microphone shows its picture all the same.
    if (!(error instanceof DOMException) || error.name !== 'NotFoundError') throw error;
    return navigator.mediaDevices.getUserMedia({ video });
  }
}

/** The screen that is shown, with another microphone; null: it has a sound of its own. */
export async function withMicrophone(screen: MediaStream, microphone: string): Promise<MediaStream | null> {
  if (sounding.has(screen)) return null;
  const sound = await navigator.mediaDevices.getUserMedia({ audio: soundOf(microphone) });
  return new MediaStream([...screen.getVideoTracks(), ...sound.getAudioTracks()]);
}

export function words(error: unknown): string {
  const name = error instanceof DOMException ? error.name : '';
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
