/** `123`, `12.5`, `1h12m27s`, `90s`; 0 for anything else. */
export function parseSeconds(value: string | null): number {
  if (value === null) return 0;
  if (/^\d+(\.\d+)?$/.test(value)) return Number(value);
  const parts = /^(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?$/i.exec(value);
  if (parts === null) return 0;
  const [hours, minutes, seconds] = parts.slice(1).map((part) => Number(part ?? 0));
  return (hours ?? 0) * 3600 + (minutes ?? 0) * 60 + (seconds ?? 0);
}
