/** Colours that whoever embeds the player chose: any CSS colour, and ink that can be read on it. */
const DARK_INK = '#10151c';
const LIGHT_INK = '#ffffff';

export function isColour(value: string): boolean {
  return CSS.supports('color', value);
}

/** `computed`: what `getComputedStyle` says of the colour, `rgb(r, g, b)` or `rgba(r, g, b, a)`. */
export function inkOn(computed: string): string {
  const numbers = /^rgba?\(([^)]+)\)$/.exec(computed)?.[1]?.split(/[,\s/]+/).map(Number);
  const [red, green, blue] = numbers ?? [];
  if (red === undefined || green === undefined || blue === undefined) return DARK_INK;
  const luminance = 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
  // WCAG 2.2: the ratio to white against the ratio to (nearly) black.
  return 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.057 ? LIGHT_INK : DARK_INK;
}

/** WCAG 2.2, relative luminance. */
function linear(channel: number): number {
  const share = channel / 255;
  return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
}

/** What the browser makes of a colour. */
export function computedColour(value: string): string {
  const probe = document.createElement('i');
  probe.style.color = value;
  document.body.append(probe);
  const computed = getComputedStyle(probe).color;
  probe.remove();
  return computed;
}
