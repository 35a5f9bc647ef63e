/** Reading what a server sent, without believing its shape. */

export type Fields = Record<string, unknown>;

export function record(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

export function text(value: unknown): string | null {
  return typeof value === 'string' && value.trim() !== '' ? value : null;
}

export function number(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}

/** ms since 1970, from a number of them or from RFC 3339 text. */
export function date(value: unknown): number | null {
  const ms = typeof value === 'string' ? Date.parse(value) : number(value);
  return ms === null || Number.isNaN(ms) ? null : ms;
}

export function list(value: unknown): unknown[] {
  return Array.isArray(value) ? (value as unknown[]) : [];
}
