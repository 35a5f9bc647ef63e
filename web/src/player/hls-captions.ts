/**
 * Captions inside the picture at low latency, where hls.js 1.7 draws none. It takes each part that is not the first of its segment
 * for a jump and forgets what was said before, and makes a cue of a caption when that ends: by then the picture is past it, as
 * less media lies ahead than a caption is long. Its members are no public ones: the end-to-end test `captions_inside` looks.
 */
import Hls, { type Events, type FragLoadingData, type FragParsingUserdataData, type HlsConfig } from 'hls.js';

interface Parser {
  /** Ends the cue of what stands there, and begins another one of it. */
  cueSplitAtTime(timeS: number): void;
  /** What puts cues of the one or the other line into their track. */
  getHandler(line: number): { dispatchCue(): void };
}

interface Timeline {
  lastSn: number;
  lastPartIndex: number;
  cea608Parser1?: Parser;
  cea608Parser2?: Parser;
  onFragLoading(event: Events.FRAG_LOADING, data: FragLoadingData): void;
  onFragParsingUserdata(event: Events.FRAG_PARSING_USERDATA, data: FragParsingUserdataData): void;
}

type Controller = NonNullable<HlsConfig['timelineController']>;

/** What hls.js shall use in the place of its own. */
export function partByPart(own = Hls.DefaultConfig.timelineController): Controller | undefined {
  if (own === undefined) return undefined;
  class PartByPart extends (own as unknown as new (hls: Hls) => Timeline) {
    override onFragLoading(event: Events.FRAG_LOADING, data: FragLoadingData): void {
      const { frag, part } = data;
      const next = frag.sn === this.lastSn && part?.index === this.lastPartIndex + 1;
      // As if a segment had followed on the one before.
      if (next) this.lastSn -= 1;
      super.onFragLoading(event, data);
    }

    override onFragParsingUserdata(event: Events.FRAG_PARSING_USERDATA, data: FragParsingUserdataData): void {
      super.onFragParsingUserdata(event, data);
      const endS = Math.max(...data.samples.map(({ pts }: { pts: number }) => pts));
      if (!Number.isFinite(endS)) return;
      for (const parser of [this.cea608Parser1, this.cea608Parser2]) {
        parser?.cueSplitAtTime(endS);
        for (const line of [1, 2]) parser?.getHandler(line).dispatchCue();
      }
    }
  }
  return PartByPart as unknown as Controller;
}
