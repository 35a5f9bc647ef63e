/** 24 px line icons, drawn for Airwave. Static markup only: nothing from outside ever gets in here. */
const paths = {
  play: '<path d="M8 5.5v13l10.5-6.5z" fill="currentColor" stroke="none"/>',
  pause: '<path d="M8 5.5v13M16 5.5v13" stroke-width="3.4"/>',
  replay: '<path d="M4.5 12a7.5 7.5 0 1 0 2.4-5.5"/><path d="M4.2 3.8v4h4"/>',
  volume:
    '<path d="M4 9.5v5h3.2l4.3 3.7V5.8L7.2 9.5z" fill="currentColor"/><path d="M15 9.2a4 4 0 0 1 0 5.6M17.6 6.6a7.6 7.6 0 0 1 0 10.8"/>',
  muted: '<path d="M4 9.5v5h3.2l4.3 3.7V5.8L7.2 9.5z" fill="currentColor"/><path d="m15.5 9.5 5 5m0-5-5 5"/>',
  captions:
    '<rect x="3" y="5.5" width="18" height="13" rx="2.5"/><path d="M10.5 10.6a2 2 0 1 0 0 2.8M17 10.6a2 2 0 1 0 0 2.8"/>',
  pip: '<rect x="3" y="5" width="18" height="14" rx="2.5"/><rect x="11.5" y="11.5" width="7" height="5" rx="1" fill="currentColor"/>',
  fullscreen:
    '<path d="M4 9V5.8A1.8 1.8 0 0 1 5.8 4H9M15 4h3.2A1.8 1.8 0 0 1 20 5.8V9M20 15v3.2A1.8 1.8 0 0 1 18.2 20H15M9 20H5.8A1.8 1.8 0 0 1 4 18.2V15"/>',
  shrink:
    '<path d="M9 4v3.2A1.8 1.8 0 0 1 7.2 9H4M20 9h-3.2A1.8 1.8 0 0 1 15 7.2V4M15 20v-3.2A1.8 1.8 0 0 1 16.8 15H20M4 15h3.2A1.8 1.8 0 0 1 9 16.8V20"/>',
  forward: '<path d="m6 6 7 6-7 6zM17.5 6v12" fill="currentColor"/>',
  settings:
    '<path d="M4 7h9M17.5 7H20M4 12h2.5M11 12h9M4 17h7M15.5 17H20"/><circle cx="15.2" cy="7" r="2.2"/><circle cx="8.8" cy="12" r="2.2"/><circle cx="13.2" cy="17" r="2.2"/>',
  cast: '<path d="M3 8V7a2 2 0 0 1 2-2h14a2 2 0 0 1 2 2v10a2 2 0 0 1-2 2h-5M3 12a7 7 0 0 1 7 7M3 15.6A3.4 3.4 0 0 1 6.4 19M3 19h.01"/>',
  airplay: '<path d="M6 17H5a2 2 0 0 1-2-2V7a2 2 0 0 1 2-2h14a2 2 0 0 1 2 2v8a2 2 0 0 1-2 2h-1"/><path d="m12 14.5 5 5.5H7z" fill="currentColor"/>',
  offair:
    '<path d="M8.2 15.8a5.4 5.4 0 0 1 0-7.6M15.8 8.2a5.4 5.4 0 0 1 0 7.6M5.4 18.6a9.4 9.4 0 0 1 0-13.2M18.6 5.4a9.4 9.4 0 0 1 0 13.2"/><circle cx="12" cy="12" r="1.6" fill="currentColor"/>',
  warning: '<path d="M12 4.5 21 19.5H3z"/><path d="M12 10v4.2M12 16.8v.2"/>',
} as const;

export type Icon = keyof typeof paths;

export function icon(name: Icon): string {
  return `<svg viewBox="0 0 24 24" width="24" height="24" fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false">${paths[name]}</svg>`;
}
