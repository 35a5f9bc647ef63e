/** A steady colour per broadcast, so that the cards tell each other apart. */
export function hue(id: string): number {
  let sum = 0;
  for (const character of id) sum = (sum * 31 + character.charCodeAt(0)) % 9973;
  // The golden angle keeps neighbours apart.
  return Math.round(sum * 137.5) % 360;
}
