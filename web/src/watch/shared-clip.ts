/** A clip that was shared: `/ID/watch?time=…&duration=…`. The file plays by itself, in any browser. */
import { element } from './page';

/** `fallBack`: the link is to watch and not to keep, or the browser plays no such file; called once. */
export function playClip(id: string, query: string, fallBack: () => void): void {
  const video = document.createElement('video');
  video.controls = true;
  video.playsInline = true;
  video.autoplay = true;
  video.loop = true;
  video.className = 'clip-video';
  video.setAttribute('aria-label', 'Clip');
  const tried = new AbortController();
  const giveUp = () => {
    tried.abort();
    fallBack();
  };
  video.addEventListener('error', giveUp, { signal: tried.signal });
  // Of a picture that it has no decoder for, Chromium plays the sound and says nothing.
  video.addEventListener('loadedmetadata', () => void (video.videoWidth === 0 && giveUp()), { signal: tried.signal });
  video.src = `/${id}/clip.mp4?${query}`;
  element('stage').append(video);
  const whole = element<HTMLAnchorElement>('whole');
  whole.href = `/${id}/watch`;
  whole.hidden = false;
}
