/** Streams of objects (draft-18 §11.4.2, §11.4.4): read by the player, written by the publisher. */
import { Malformed, PROPERTIES_BYTES_MAX, type Source, Writer } from './wire';

export interface MoqObject {
  group: number;
  id: number;
  /** Key-value pairs, as they came. */
  properties: Uint8Array;
  payload: Uint8Array<ArrayBuffer>;
}

export interface SubgroupHeader {
  alias: number;
  group: number;
  /** Objects on this stream can have properties. */
  properties: boolean;
}

const PROPERTIES = 0x01;
const ID_MODE = 0x06;
const ID_PRESENT = 0x04;
const ALWAYS = 0x10;
const DEFAULT_PRIORITY = 0x20;
const FIRST_OBJECT = 0x40;

export function isSubgroup(kind: number): boolean {
  return kind < 0x80 && (kind & ALWAYS) !== 0;
}

export async function readHeader(kind: number, source: Source): Promise<SubgroupHeader> {
  if ((kind & ID_MODE) === ID_MODE) throw new Malformed('a reserved kind of subgroup');
  const alias = await source.varint();
  const group = await source.varint();
  if ((kind & ID_MODE) === ID_PRESENT) await source.varint();
  if ((kind & DEFAULT_PRIORITY) === 0) await source.byte();
  return { alias, group, properties: (kind & PROPERTIES) !== 0 };
}

/** The objects of one stream, to its end; those that only say a status are passed over. */
export async function* readObjects(source: Source, header: SubgroupHeader): AsyncGenerator<MoqObject> {
  let id = -1;
  while (!(await source.ended())) {
    id += 1 + (await source.varint());
    const properties = header.properties ? await source.bytes(await source.varint(), PROPERTIES_BYTES_MAX) : new Uint8Array();
    const length = await source.varint();
    if (length === 0) {
      await source.varint();
      continue;
    }
    yield { group: header.group, id, properties, payload: await source.bytes(length) };
  }
}

export const FETCH_HEADER = 0x05;
/** draft-18 §11.4.4.1 */
const SUBGROUP_BITS = 0x03;
const OBJECT_FIELD = 0x04;
const GROUP_FIELD = 0x08;
const PRIORITY_FIELD = 0x10;
const PROPERTIES_FIELD = 0x20;
const DATAGRAM = 0x40;
/** A range that does not exist, or of which nobody knows. */
const MARKERS = [0x8c, 0x10c];

/** The objects of an answer to FETCH, behind its header, old groups first. What is missing is passed over. */
export async function* readFetched(source: Source): AsyncGenerator<MoqObject> {
  let prior: { group: number; id: number } | null = null;
  while (!(await source.ended())) {
    const flags = await source.varint();
    if (MARKERS.includes(flags)) {
      // Where it ends, and nothing else (decision 184).
      prior = { group: await source.varint(), id: await source.varint() };
      continue;
    }
    if (flags >= 0x80) throw new Malformed('a reserved kind of object');
    const group = (flags & GROUP_FIELD) === 0 ? null : await source.varint();
    if ((flags & DATAGRAM) === 0 && (flags & SUBGROUP_BITS) === SUBGROUP_BITS) await source.varint();
    const id = (flags & OBJECT_FIELD) === 0 ? null : await source.varint();
    const at = locate(prior, group, id);
    prior = at;
    if ((flags & PRIORITY_FIELD) !== 0) await source.byte();
    const properties = (flags & PROPERTIES_FIELD) === 0 ? new Uint8Array() : await source.bytes(await source.varint(), PROPERTIES_BYTES_MAX);
    yield { ...at, properties, payload: await source.bytes(await source.varint()) };
  }
}

/** The first object says where it is, each further one by its difference to what came before. */
function locate(prior: { group: number; id: number } | null, group: number | null, id: number | null): { group: number; id: number } {
  if (prior === null) {
    if (group === null || id === null) throw new Malformed('an object refers to the one before it, but there is none');
    return { group, id };
  }
  if (group === null) return { group: prior.group, id: prior.id + (id ?? 1) };
  return { group: prior.group + group + 1, id: id ?? prior.id + 1 };
}

/** The beginning of a stream for a whole group, in subgroup 0. */
export function writeHeader(alias: number, group: number): Uint8Array<ArrayBuffer> {
  return new Writer()
    .varint(ALWAYS | PROPERTIES | DEFAULT_PRIORITY | FIRST_OBJECT)
    .varint(alias)
    .varint(group)
    .done();
}

/** The head of the next object, whose payload follows. Ids rise by one. */
export function writeObjectHead(properties: Uint8Array, payloadBytes: number): Uint8Array<ArrayBuffer> {
  const head = new Writer().varint(0).prefixed(properties).varint(payloadBytes);
  return (payloadBytes === 0 ? head.varint(0) : head).done();
}
