/** What is appended to a media element, also while the element goes to somebody else. */
import { describe, expect, it } from 'vitest';
import { TrackBuffer } from '../src/player/source-buffer';

/** A SourceBuffer as browsers have it: an append takes until `ends`, and once removed it throws at whatever is asked. */
class FakeBuffer extends EventTarget {
  readonly appended: number[] = [];
  removed = false;
  private busy = false;

  private own<T>(value: T): T {
    if (this.removed) throw new DOMException('This SourceBuffer has been removed from the parent media source.', 'InvalidStateError');
    return value;
  }

  get updating(): boolean {
    return this.busy;
  }

  get buffered(): TimeRanges {
    return this.own({ length: this.appended.length > 0 ? 1 : 0, start: () => 0, end: () => this.appended.length });
  }

  appendBuffer(bytes: Uint8Array): void {
    this.own(undefined);
    if (this.busy) throw new DOMException('busy', 'InvalidStateError');
    this.busy = true;
    this.appended.push(bytes[0] ?? -1);
  }

  /** The append under way is over; also of a buffer that was removed, where it was aborted. */
  ends(...events: string[]): void {
    this.busy = false;
    for (const event of events) this.dispatchEvent(new Event(event));
  }
}

function start() {
  const buffer = new FakeBuffer();
  const media = { sourceBuffers: [buffer] as FakeBuffer[] };
  const told: string[] = [];
  const track: TrackBuffer = new TrackBuffer(
    media as unknown as MediaSource,
    buffer as unknown as SourceBuffer,
    { currentTime: 0 } as HTMLVideoElement,
    () => told.push(`appended to ${track.endS}`),
    (detail) => told.push(detail),
  );
  const detach = () => {
    media.sourceBuffers = [];
    buffer.removed = true;
  };
  return { buffer, track, told, detach };
}

describe('a track of a media element', () => {
  it('is appended one by one, in order, and says when all is in', () => {
    const { buffer, track, told } = start();
    for (const piece of [1, 2, 3]) track.append(Uint8Array.of(piece));
    track.finish(() => told.push('all'));
    expect(buffer.appended).toEqual([1]);
    for (let piece = 0; piece < 3; piece++) buffer.ends('updateend');
    expect(buffer.appended).toEqual([1, 2, 3]);
    expect(told).toEqual(['appended to 1', 'appended to 2', 'appended to 3', 'all']);
  });

  it('says that an append failed', () => {
    const { buffer, track, told } = start();
    track.append(Uint8Array.of(1));
    buffer.ends('error', 'updateend');
    expect(told).toEqual(['append', 'appended to 1']);
  });

  it('is quiet once the element is taken away, whatever was under way', () => {
    const { buffer, track, told, detach } = start();
    for (const piece of [1, 2]) track.append(Uint8Array.of(piece));
    track.finish(() => told.push('all'));
    // An exception in a listener does not come back to who dispatches: it would end the process here, and be an error of the page there.
    const thrown: unknown[] = [];
    const caught = (error: unknown) => thrown.push(error);
    process.on('uncaughtException', caught);
    detach();
    buffer.ends('error', 'updateend');
    track.append(Uint8Array.of(3));
    expect(track.endS).toBe(0);
    return new Promise<void>((resolve) => setImmediate(resolve)).then(() => {
      process.off('uncaughtException', caught);
      expect({ told, thrown, appended: buffer.appended }).toEqual({ told: [], thrown: [], appended: [1] });
    });
  });
});
