/**
 * What the player tells the server of how it plays: Common Media Client Data (CTA-5004), as a message of its own. In the
 * query it would make an address of each viewer's own, and as header fields a preflight of each request; neither would
 * reach the server through a cache. The media start delay is a key of version 2.
 */
const REPORT_EVERY_MS = 30_000;

export interface Playing {
  /** Over MoQ, which has no streaming format that CTA-5004 names. */
  moq: boolean;
  live: boolean;
  stalls: number;
  /** Of the level that plays; 0: not known. */
  bitrateBps: number;
}

export class Cmcd {
  /** Random, and forgotten with the page: it tells reports of one playback from others', not viewers. */
  private readonly session = sessionId();
  private url: string | null = null;
  private askedAtMs = 0;
  private reportedAtMs = 0;
  private stalls = 0;

  constructor(private readonly send: (url: string, text: string) => void = beacon) {}

  /** Something is loaded. `url`: where reports go; null: nowhere, it is not ours. Loading the same again is no new start. */
  begin(url: string | null, nowMs: number): void {
    if (this.url === url) return;
    this.url = url;
    this.reportedAtMs = 0;
    this.wanted(nowMs);
  }

  /** A picture is wanted from now on; what was loaded ahead does not count. */
  wanted(nowMs: number): void {
    this.askedAtMs = nowMs;
  }

  /** Called several times a second while the picture moves; reports at the first picture, after a stall, and now and then. */
  playing({ moq, live, stalls, bitrateBps }: Playing, nowMs: number): void {
    if (this.url === null) return;
    const first = this.reportedAtMs === 0;
    const stalled = stalls > this.stalls;
    if (!first && !stalled && nowMs - this.reportedAtMs < REPORT_EVERY_MS) return;
    this.reportedAtMs = nowMs;
    this.stalls = stalls;
    // Sorted by key, as CTA-5004 asks for.
    const pairs = [
      bitrateBps > 0 ? `br=${Math.round(bitrateBps / 1000)}` : null,
      stalled && !first ? 'bs' : null,
      first ? `msd=${Math.max(0, Math.round(nowMs - this.askedAtMs))}` : null,
      'ot=v',
      moq ? 'sf=o' : 'sf=h',
      `sid="${this.session}"`,
      live ? 'st=l' : 'st=v',
    ];
    this.send(this.url, pairs.filter((pair) => pair !== null).join(','));
  }
}

/** `crypto.randomUUID` is for secure pages only. */
function sessionId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** As plain text it needs no preflight, and whether it arrives is nobody's trouble. */
function beacon(url: string, text: string): void {
  navigator.sendBeacon?.(url, text);
}
