/**
 * Groups come on streams side by side; decoders want one after the other.
 *
 * Pure. A group is handed out as it comes, the next one when it has ended. One that stands still while a newer one has begun is
 * given up after a while: what is lost of it was not sent, or is too late.
 */
import type { Location } from './messages';
import type { MoqObject } from './objects';

interface Group {
  objects: MoqObject[];
  ended: boolean;
  beganAtMs: number;
}

export class Ordered {
  private readonly groups = new Map<number, Group>();
  private current: number | null = null;
  /** Groups that were given up before their end. */
  skipped = 0;
  private newest: Location | null = null;

  constructor(
    private readonly giveUpAfterMs: number,
    private readonly out: (object: MoqObject, first: boolean) => void,
  ) {}

  object(object: MoqObject, nowMs: number): void {
    if (this.current !== null && object.group < this.current) return;
    this.group(object.group, nowMs).objects.push(object);
    this.drain(nowMs);
  }

  streamEnded(id: number, nowMs: number): void {
    if (this.current !== null && id < this.current) return;
    this.group(id, nowMs).ended = true;
    this.drain(nowMs);
  }

  /** Looks whether the current group has kept a newer one waiting for too long. */
  tick(nowMs: number): void {
    this.drain(nowMs);
  }

  /** Whether this object, or a newer one, was handed out. */
  reaches({ group, id }: Location): boolean {
    return this.newest !== null && (this.newest.group > group || (this.newest.group === group && this.newest.id >= id));
  }

  private group(id: number, nowMs: number): Group {
    let group = this.groups.get(id);
    if (group === undefined) {
      group = { objects: [], ended: false, beganAtMs: nowMs };
      this.groups.set(id, group);
    }
    return group;
  }

  private drain(nowMs: number): void {
    // Before the first one has come there is none to begin with.
    if (this.groups.size === 0) return;
    for (;;) {
      this.current ??= Math.min(...this.groups.keys());
      const group = this.groups.get(this.current);
      if (group !== undefined) {
        for (const object of group.objects.splice(0)) {
          if (!this.reaches(object)) this.newest = { group: object.group, id: object.id };
          this.out(object, object.id === 0);
        }
      }
      const newer = [...this.groups.keys()].filter((id) => id > (this.current ?? 0)).sort((a, b) => a - b)[0];
      if (newer === undefined) return;
      const ended = group?.ended === true;
      if (!ended) {
        const waitedMs = nowMs - (this.groups.get(newer)?.beganAtMs ?? nowMs);
        if (waitedMs < this.giveUpAfterMs) return;
        this.skipped++;
      }
      this.groups.delete(this.current);
      this.current = newer;
    }
  }
}
