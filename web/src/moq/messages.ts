/** Messages of MoQ Transport draft 18: those that a player and a publisher in a page need. */
import { Malformed, Reader, type Source, Writer, text, writePairs } from './wire';

export const VERSION = 'moqt-18';

/** draft-18 §10, §15.6 */
export const KIND = {
  REQUEST_UPDATE: 0x02,
  SUBSCRIBE: 0x03,
  SUBSCRIBE_OK: 0x04,
  REQUEST_ERROR: 0x05,
  PUBLISH_NAMESPACE: 0x06,
  REQUEST_OK: 0x07,
  PUBLISH_DONE: 0x0b,
  TRACK_STATUS: 0x0d,
  GOAWAY: 0x10,
  FETCH: 0x16,
  FETCH_OK: 0x18,
  PUBLISH: 0x1d,
  SETUP: 0x2f00,
} as const;

/** draft-18 §15.10.3 */
export const TRACK_ENDED = 0x2;
/** A fault of the server with this track alone: the session goes on. */
export const INTERNAL_ERROR = 0x0;
/** draft-18 §15.10.4 */
export const DELIVERY_TIMEOUT = 0x2;
const EXPIRED = 0x6;
/** REQUEST_ERROR and PUBLISH_DONE say it with this number. */
const UNAUTHORIZED = 0x1;
/** draft-18 §15.10.2 */
const MALFORMED_AUTH_TOKEN = 0x4;
const EXPIRED_AUTH_TOKEN = 0x5;
export const DOES_NOT_EXIST = 0x10;

/** Whether a request failed because who asks may not have it: without a token, or with one that is over. */
export function isBarred(requestCode: number): boolean {
  return [UNAUTHORIZED, MALFORMED_AUTH_TOKEN, EXPIRED_AUTH_TOKEN].includes(requestCode);
}

/** Whether a subscription ended because who has it may not have it any more. */
export function isTakenAway(doneCode: number): boolean {
  return [UNAUTHORIZED, EXPIRED].includes(doneCode);
}

const IMPLEMENTATION = 0x07;
const AUTHORIZATION_TOKEN = 0x03;
const LARGEST_OBJECT = 0x09;
const FORWARD = 0x10;
const SUBSCRIBER_PRIORITY = 0x20;
const SUBSCRIPTION_FILTER = 0x21;
const GROUP_ORDER = 0x22;
const NEW_GROUP_REQUEST = 0x32;
/** draft-18 §10.2: what follows a type that is not here is a number. */
const BYTES = [FORWARD, SUBSCRIBER_PRIORITY, GROUP_ORDER];
const PREFIXED = [AUTHORIZATION_TOKEN, SUBSCRIPTION_FILTER];
const PARAMETERS_MAX = 64;
/** draft-18 §12.6 */
export const DYNAMIC_GROUPS = 0x30;

export interface Track {
  namespace: string[];
  name: string;
}

export interface Message {
  kind: number;
  body: Reader;
}

/** A type, 16 bits of length, the body. */
function frame(kind: number, fill: (body: Writer) => void): Uint8Array<ArrayBuffer> {
  const body = new Writer();
  fill(body);
  const bytes = body.done();
  if (bytes.length > 0xffff) throw new Error('a message is too long');
  return new Writer()
    .varint(kind)
    .byte(bytes.length >> 8)
    .byte(bytes.length & 0xff)
    .raw(bytes)
    .done();
}

/** null: nothing more is said on this stream. */
export async function readMessage(source: Source): Promise<Message | null> {
  if (await source.ended()) return null;
  const kind = await source.varint();
  return { kind, body: new Reader(await readBody(source)) };
}

export async function readBody(source: Source): Promise<Uint8Array> {
  const length = (await source.byte()) * 256 + (await source.byte());
  return source.bytes(length);
}

export function setup(implementation: string): Uint8Array<ArrayBuffer> {
  const options = writePairs([[IMPLEMENTATION, new TextEncoder().encode(implementation)]]);
  return frame(KIND.SETUP, (body) => body.raw(options));
}

export interface Wishes {
  /** 0 is the most urgent. */
  priority: number;
  order: 'ascending' | 'descending';
}

/** Without a filter the server begins with the group that is under way. */
export function subscribe(id: number, track: Track, wishes: Wishes): Uint8Array<ArrayBuffer> {
  return frame(KIND.SUBSCRIBE, (body) => {
    writeTrack(body.varint(id), track);
    body.varint(3);
    body.varint(FORWARD).byte(1);
    body.varint(SUBSCRIBER_PRIORITY - FORWARD).byte(wishes.priority);
    body.varint(GROUP_ORDER - SUBSCRIBER_PRIORITY).byte(wishes.order === 'ascending' ? 1 : 2);
  });
}

const STANDALONE = 1;

/** Whole groups of the past, the first and the last one with it, old ones first (draft-18 §10.12). */
export function fetchGroups(id: number, track: Track, first: number, last: number): Uint8Array<ArrayBuffer> {
  return frame(KIND.FETCH, (body) => {
    writeTrack(body.varint(id).varint(STANDALONE), track);
    // Behind the last object: 0 is the end of its group.
    body.varint(first).varint(0).varint(last).varint(0);
    body.varint(0);
  });
}

export function trackStatus(id: number, track: Track): Uint8Array<ArrayBuffer> {
  return frame(KIND.TRACK_STATUS, (body) => writeTrack(body.varint(id), track).varint(0));
}

export function publishNamespace(id: number, namespace: string[]): Uint8Array<ArrayBuffer> {
  return frame(KIND.PUBLISH_NAMESPACE, (body) => writeNamespace(body.varint(id), namespace).varint(0));
}

/** A track that is offered: its objects come under this alias. */
export function publish(id: number, track: Track, alias: number): Uint8Array<ArrayBuffer> {
  return frame(KIND.PUBLISH, (body) => writeTrack(body.varint(id), track).varint(alias).varint(0));
}

/** `properties`: of the track, as key-value pairs. */
export function subscribeOk(alias: number, properties: Uint8Array): Uint8Array<ArrayBuffer> {
  return frame(KIND.SUBSCRIBE_OK, (body) => body.varint(alias).varint(0).raw(properties));
}

export function requestOk(): Uint8Array<ArrayBuffer> {
  return frame(KIND.REQUEST_OK, (body) => body.varint(0));
}

export function requestError(code: number, reason: string): Uint8Array<ArrayBuffer> {
  return frame(KIND.REQUEST_ERROR, (body) => body.varint(code).varint(0).prefixed(reason));
}

export function publishDone(code: number, streams: number): Uint8Array<ArrayBuffer> {
  return frame(KIND.PUBLISH_DONE, (body) => body.varint(code).varint(streams).prefixed(''));
}

function writeTrack(body: Writer, track: Track): Writer {
  return writeNamespace(body, track.namespace).prefixed(track.name);
}

function writeNamespace(body: Writer, namespace: string[]): Writer {
  body.varint(namespace.length);
  for (const field of namespace) body.prefixed(field);
  return body;
}

/** The track of a SUBSCRIBE, behind its id. What else it wishes is the server's to look after. */
export function readSubscribe(body: Reader): { id: number; track: Track } {
  const id = body.varint();
  const count = body.varint();
  if (count > 32) throw new Malformed('a namespace has more than 32 fields');
  const namespace = Array.from({ length: count }, () => text(body.prefixed()));
  return { id, track: { namespace, name: text(body.prefixed()) } };
}

/** What a subscriber changes of its subscription (draft-18 §10.9): of interest is whether it wants a new group. */
export function readUpdate(body: Reader): { wantsGroup: boolean } {
  body.varint();
  const count = body.varint();
  if (count > PARAMETERS_MAX) throw new Malformed('too many parameters');
  let wantsGroup = false;
  for (let type = 0, left = count; left > 0; left--) {
    type += body.varint();
    if (PREFIXED.includes(type)) body.prefixed();
    else if (BYTES.includes(type)) body.byte();
    else body.varint();
    wantsGroup ||= type === NEW_GROUP_REQUEST;
  }
  return { wantsGroup };
}

/** A place in a track. */
export interface Location {
  group: number;
  id: number;
}

/** The newest object that who answers REQUEST_OK knows (draft-18 §10.2.11); null: none, or it does not say. */
export function readLargest(body: Reader): Location | null {
  const count = body.varint();
  if (count > PARAMETERS_MAX) throw new Malformed('too many parameters');
  for (let type = 0, left = count; left > 0; left--) {
    type += body.varint();
    if (type === LARGEST_OBJECT) return { group: body.varint(), id: body.varint() };
    // What may stand before it (EXPIRES) is a number.
    if (type > LARGEST_OBJECT) return null;
    if (PREFIXED.includes(type)) body.prefixed();
    else body.varint();
  }
  return null;
}

/** Where a server that goes away sends us (draft-18 §10.4); empty: to where we are. */
export function readGoAway(body: Reader): string {
  return text(body.prefixed());
}

/** The alias in SUBSCRIBE_OK. */
export function readSubscribeOk(body: Reader): number {
  return body.varint();
}

export interface Refusal {
  code: number;
  reason: string;
}

export function readRequestError(body: Reader): Refusal {
  const code = body.varint();
  body.varint();
  return { code, reason: text(body.prefixed()) };
}

export function readPublishDone(body: Reader): Refusal {
  const code = body.varint();
  body.varint();
  return { code, reason: text(body.prefixed()) };
}
