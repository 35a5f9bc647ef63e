/** Pictures that the server makes of what it has: the poster, and those above the seek bar. */
import type { Engine } from './engine';
import type { Lifecycle } from './session';
import { picturesUrl, type Source } from './source';
import { Storyboard, type Tile } from './storyboard';

/** As large as there is one, within this. */
const POSTER = 'thumbnail.jpg?width=1280&height=1280&fit=clip';

export class Pictures {
  /** The server makes some, */
  private there = false;
  /** of what is at this address. Off the air a live input has none of its own, but its recording has. */
  private here = false;
  private storyboard: Storyboard | null = null;

  /** What the server says last. */
  follow({ thumbnails, live, isInput }: Lifecycle): void {
    this.there = thumbnails === true;
    this.here = this.there && (live || !isInput);
  }

  /** `id`: of the video that is loaded instead of the source's own. */
  load(source: Source, id: string | null, onNews: () => void): void {
    const url = this.there ? picturesUrl(source, id, 'storyboard.vtt') : null;
    this.storyboard = url === null ? null : new Storyboard(url, onNews);
  }

  at(positionS: number, engine: Engine | null): Tile | null {
    return engine === null || this.storyboard === null ? null : this.storyboard.at(positionS, engine.segmentAt(positionS), engine.live);
  }

  poster(source: Source | null): string | null {
    return this.here && source !== null ? picturesUrl(source, null, POSTER) : null;
  }
}
