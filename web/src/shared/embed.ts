/** The line of HTML that puts the player into another page; `clip`: with this clip, not with all of it. */
export function embedCode(origin: string, id: string, title: string, clip: string | null = null): string {
  const page = `${origin}/${encodeURIComponent(id)}/iframe`;
  const src = clip === null ? page : `${page}?${escaped(clip)}`;
  const name = title.trim() === '' ? 'Video player' : title.trim();
  return `<iframe src="${src}" title="${escaped(name)}" style="border: 0; width: 100%; aspect-ratio: 16 / 9" allow="autoplay; fullscreen; picture-in-picture" allowfullscreen></iframe>`;
}

/** For an attribute in double quotes. */
function escaped(text: string): string {
  const named: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
  return text.replace(/[&<>"']/g, (character) => named[character] ?? character);
}
