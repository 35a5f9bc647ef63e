/** The keyboard. What is listed here is what the player's label and the watch page tell. */
import type { Intents } from './controls';

const SEEK_STEP_S = 5;
const VOLUME_STEP = 0.1;

/** Somebody took it, it is the browser's, or what has the focus needs it itself. */
export function isForOthers(event: KeyboardEvent): boolean {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return true;
  const target = event.composedPath()[0];
  if (target instanceof HTMLInputElement) return target.type !== 'range' || /^(Arrow|Home|End|Page)/.test(event.key);
  const onButton = target instanceof HTMLButtonElement || (target instanceof HTMLElement && target.tagName === 'SUMMARY');
  return onButton && (event.key === ' ' || event.key === 'Enter');
}

/** Returns false for a key that the player leaves to the page. */
export function pressKey(key: string, intents: Intents, video: HTMLVideoElement): boolean {
  switch (key.length === 1 ? key.toLowerCase() : key) {
    case ' ':
    case 'k':
      intents.togglePlay();
      return true;
    case 'ArrowLeft':
      intents.seekBy(-SEEK_STEP_S);
      return true;
    case 'ArrowRight':
      intents.seekBy(SEEK_STEP_S);
      return true;
    case 'ArrowUp':
      intents.setVolume(video.volume + VOLUME_STEP);
      return true;
    case 'ArrowDown':
      intents.setVolume(video.volume - VOLUME_STEP);
      return true;
    case 'Home':
      intents.seekToStart();
      return true;
    case 'End':
      intents.goLive();
      return true;
    case '<':
      intents.changeSpeed(-1);
      return true;
    case '>':
      intents.changeSpeed(1);
      return true;
    case 's':
      intents.toggleMenu();
      return true;
    case 'm':
      intents.toggleMute();
      return true;
    case 'f':
      intents.toggleFullscreen();
      return true;
    case 'l':
      intents.goLive();
      return true;
    case 'c':
      intents.toggleCaptions();
      return true;
    case 'p':
      intents.togglePip();
      return true;
    default:
      return false;
  }
}
