import type { StreamProps } from './props';

/** The address of the player with its options. */
export function iframeSrc(props: StreamProps): string {
  const query = new URLSearchParams();
  // Without the prop there are no controls: a boolean attribute, as on `<video>`.
  query.set('controls', String(props.controls === true));
  for (const name of ['autoplay', 'loop', 'muted', 'dvrEnabled'] as const) if (props[name] === true) query.set(name, 'true');
  const { preload, adUrl } = props;
  if (preload !== undefined) query.set('preload', preload === true ? 'auto' : preload === false ? 'none' : preload);
  for (const name of ['defaultTextTrack', 'letterboxColor', 'poster', 'primaryColor', 'startTime', 'clientBandwidthHint'] as const) {
    const value = props[name];
    if (value !== undefined && value !== '') query.set(name, String(value));
  }
  if (adUrl !== undefined) query.set('ad-url', adUrl);
  return `${base(props.host)}/${encodeURIComponent(props.src)}/iframe?${query.toString()}`;
}

/** Without a slash at its end; a bare name is taken as HTTPS. */
export function base(host: string | undefined): string {
  const trimmed = (host ?? '').trim().replace(/\/+$/, '');
  return trimmed === '' || /^https?:\/\//i.test(trimmed) ? trimmed : `https://${trimmed}`;
}
