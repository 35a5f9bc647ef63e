/** How the picture is shown: full screen, picture in picture, captions. Refusals by the browser change nothing. */

export function captionTracks(video: HTMLVideoElement): TextTrack[] {
  return [...video.textTracks].filter(({ kind }) => kind === 'captions' || kind === 'subtitles');
}

/** Off, first, second, …, off. */
export function toggleCaptions(video: HTMLVideoElement): void {
  const tracks = captionTracks(video);
  const shown = tracks.findIndex((track) => track.mode === 'showing');
  for (const track of tracks) track.mode = 'disabled';
  const following = tracks[shown + 1];
  if (following !== undefined) following.mode = 'showing';
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
