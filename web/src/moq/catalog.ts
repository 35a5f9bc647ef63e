/** The MSF-01 catalog of a broadcast, as far as a player needs it. What it does not know it passes over. */

export interface CatalogTrack {
  name: string;
  packaging: string;
  role: 'video' | 'audio' | 'other';
  codec: string;
  width: number;
  height: number;
  bitrate: number;
  samplerate: number;
  channels: number;
  label: string;
  language: string;
  timescale: number;
  /** Initialisation segment, or decoder configuration of a bare track. */
  init: Uint8Array<ArrayBuffer> | null;
}

export interface Catalog {
  complete: boolean;
  /** There are captions inside the picture: CEA-608 or -708, in the words of DASH (SCTE 214-1). */
  captions: boolean;
  tracks: CatalogTrack[];
}

/** null: not a catalog of a version that is known (MSF §5). */
export function parseCatalog(json: string): Catalog | null {
  const root = record(parse(json));
  if (root.version !== 'draft-01' && root.version !== '1') return null;
  const inits = new Map<string, string>();
  for (const entry of list(root.initDataList)) {
    const { id, type, data } = record(entry);
    if (typeof id === 'string' && type === 'inline' && typeof data === 'string') inits.set(id, data);
  }
  const tracks = list(root.tracks).map(record);
  return { complete: root.isComplete === true, captions: tracks.some(isCaptioned), tracks: tracks.map((fields) => track(fields, inits)) };
}

function isCaptioned({ accessibility }: Record<string, unknown>): boolean {
  return list(accessibility).some((entry) => string(record(entry).scheme).startsWith('urn:scte:dash:cc:'));
}

function track(fields: Record<string, unknown>, inits: Map<string, string>): CatalogTrack {
  const init = inits.get(string(fields.initRef));
  return {
    name: string(fields.name),
    packaging: string(fields.packaging),
    role: fields.role === 'video' || fields.role === 'audio' ? fields.role : 'other',
    codec: string(fields.codec),
    width: number(fields.width),
    height: number(fields.height),
    bitrate: number(fields.bitrate),
    samplerate: number(fields.samplerate),
    channels: Number(fields.channelConfig) || 0,
    label: string(fields.label),
    language: string(fields.lang),
    timescale: number(fields.timescale),
    init: init === undefined ? null : fromBase64(init),
  };
}

function parse(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return null;
  }
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> | null {
  try {
    return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  } catch {
    return null;
  }
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

function string(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function number(value: unknown): number {
  return typeof value === 'number' ? value : 0;
}
