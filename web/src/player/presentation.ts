/** The media element: what it has loaded, how it is shown. Refusals by the browser change nothing. */

export function captionTracks(video: HTMLVideoElement): TextTrack[] {
  return [...video.textTracks].filter(({ kind }) => kind === 'captions' || kind === 'subtitles');
}

/** Off, first, second, …, off. */
export function toggleCaptions(video: HTMLVideoElement): void {
  const tracks = captionTracks(video);
  showCaptions(video, tracks[tracks.findIndex(({ mode }) => mode === 'showing') + 1]);
}

/** undefined: none. */
export function showCaptions(video: HTMLVideoElement, wanted: TextTrack | undefined): void {
  for (const track of captionTracks(video)) track.mode = track === wanted ? 'showing' : 'disabled';
}

/** By BCP 47 tag: the very one, or one of the same language. */
export function captionsFor(video: HTMLVideoElement, tag: string): TextTrack | undefined {
  const wanted = tag.toLowerCase();
  const primary = wanted.split('-')[0];
  const tracks = captionTracks(video);
  return (
    tracks.find(({ language }) => language.toLowerCase() === wanted) ??
    tracks.find(({ language }) => language.toLowerCase().split('-')[0] === primary)
  );
}

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
