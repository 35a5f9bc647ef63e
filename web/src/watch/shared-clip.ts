/** A clip that was shared: `/ID/watch?time=…&duration=…`. The file plays by itself, in any browser. */
import { element } from './page';

/** `fallBack`: the link is to watch and not to keep, or the browser plays no such file. */
export function playClip(id: string, query: string, fallBack: () => void): void {
  const video = document.createElement('video');
  video.controls = true;
  video.playsInline = true;
  video.autoplay = true;
  video.loop = true;
  video.className = 'clip-video';
  video.setAttribute('aria-label', 'Clip');
  video.addEventListener('error', fallBack, { once: true });
  video.src = `/${id}/clip.mp4?${query}`;
  element('stage').append(video);
  const whole = element<HTMLAnchorElement>('whole');
  whole.href = `/${id}/watch`;
  whole.hidden = false;
}
