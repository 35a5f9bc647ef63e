/** The pictures above the seek bar: WebVTT whose cues are tiles of sheets (`sheet.jpg#xywh=x,y,width,height`). */

export interface Tile {
  /** The number of the segment that it is of; null: another server's storyboard, which has only times. */
  segment: number | null;
  fromS: number;
  url: string;
  x: number;
  y: number;
  width: number;
  height: number;
}

/** One that grows, or was refused, is asked for again after this, and so is a sheet. */
const FRESH_MS = 8_000;
const TIMEOUT_MS = 8_000;
const CUE = /^(?:(\d+)\n)?(?:(\d+):)?(\d+):(\d+(?:\.\d+)?) --> .*\n(\S+)#xywh=(\d+),(\d+),(\d+),(\d+)/;

/** `base`: the address of the storyboard. */
export function parseStoryboard(text: string, base: string): Tile[] {
  const tiles: Tile[] = [];
  for (const block of text.replaceAll('\r\n', '\n').split('\n\n')) {
    const cue = block.trimStart().match(CUE);
    if (cue === null) continue;
    const [segment, hours, minutes, seconds, file, ...place] = cue.slice(1);
    const [x = 0, y = 0, width = 0, height = 0] = place.map(Number);
    const fromS = (Number(hours ?? 0) * 60 + Number(minutes)) * 60 + Number(seconds);
    if (file === undefined || width === 0 || height === 0) continue;
    tiles.push({ segment: segment === undefined ? null : Number(segment), fromS, url: new URL(file, base).href, x, y, width, height });
  }
  return tiles;
}

/** The newest one that has begun, by the segment where it is known: the time of a live player may begin anywhere. */
export function tileAt(tiles: Tile[], positionS: number, segment: number | null): Tile | null {
  const begun = (tile: Tile) => (segment !== null && tile.segment !== null ? tile.segment <= segment : tile.fromS <= positionS);
  return tiles.filter(begun).at(-1) ?? tiles[0] ?? null;
}

/** The sheets that tiles are on. One is shown when it is there: a background that was refused once is never asked for again. */
class Sheets {
  /** Which are there, and when the others were asked for. */
  private readonly known = new Map<string, number | 'there'>();

  constructor(
    private readonly load: LoadPicture,
    private readonly onNews: () => void,
  ) {}

  has(url: string): boolean {
    const known = this.known.get(url);
    if (known === 'there') return true;
    if (known === undefined || performance.now() - known > FRESH_MS) void this.ask(url);
    return false;
  }

  /** No others are asked for any more. */
  keep(tiles: Tile[]): void {
    const urls = new Set(tiles.map((tile) => tile.url));
    for (const url of this.known.keys()) if (!urls.has(url)) this.known.delete(url);
  }

  private async ask(url: string): Promise<void> {
    this.known.set(url, performance.now());
    try {
      await this.load(url);
      this.known.set(url, 'there');
      this.onNews();
    } catch {
      // The time alone is shown, and after a while somebody asks again.
    }
  }
}

/** Fails if there is no picture. */
export type LoadPicture = (url: string) => Promise<void>;

const loadPicture: LoadPicture = (url) => {
  const image = new Image();
  image.src = url;
  return image.decode();
};

/** The storyboard of one source, loaded when somebody looks for a place in it. */
export class Storyboard {
  private tiles: Tile[] = [];
  private askedAtMs = Number.NEGATIVE_INFINITY;
  private loaded = false;
  private readonly sheets: Sheets;

  constructor(
    private readonly url: string,
    private readonly onNews: () => void,
    load: LoadPicture = loadPicture,
  ) {
    this.sheets = new Sheets(load, onNews);
  }

  at(positionS: number, segment: number | null, grows: boolean): Tile | null {
    // Of what does not grow it is asked for again, too, where it was not answered.
    const isOld = grows || !this.loaded;
    if (isOld && performance.now() - this.askedAtMs > FRESH_MS) void this.load();
    const tile = tileAt(this.tiles, positionS, segment);
    return tile !== null && this.sheets.has(tile.url) ? tile : null;
  }

  private async load(): Promise<void> {
    this.askedAtMs = performance.now();
    try {
      const response = await fetch(this.url, { signal: AbortSignal.timeout(TIMEOUT_MS) });
      if (!response.ok) return;
      this.tiles = parseStoryboard(await response.text(), response.url || this.url);
      this.sheets.keep(this.tiles);
      this.loaded = true;
      this.onNews();
    } catch {
      // The time alone is shown.
    }
  }
}
