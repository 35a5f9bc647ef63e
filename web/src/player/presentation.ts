/** The media element: what it has loaded, how it is shown. Refusals by the browser change nothing. */

export function togglePip(video: HTMLVideoElement): void {
  if (document.pictureInPictureElement !== null) document.exitPictureInPicture().catch(() => {});
  else if (document.pictureInPictureEnabled) video.requestPictureInPicture().catch(() => {});
}

export function toggleFullscreen(player: HTMLElement, video: HTMLVideoElement): void {
  if (document.fullscreenElement) document.exitFullscreen().catch(() => {});
  else if (document.fullscreenEnabled) player.requestFullscreen().catch(() => {});
  // iPhones show only the bare video in full screen.
  else (video as HTMLVideoElement & { webkitEnterFullscreen?(): void }).webkitEnterFullscreen?.();
}

/** How much is loaded ahead of what is shown. */
export function bufferedS({ buffered, currentTime }: HTMLVideoElement): number {
  for (let range = 0; range < buffered.length; range++) {
    if (currentTime >= buffered.start(range) - 0.1 && currentTime <= buffered.end(range))
      return buffered.end(range) - currentTime;
  }
  return 0;
}
