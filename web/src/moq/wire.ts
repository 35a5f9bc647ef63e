/** Bytes of MoQ Transport draft 18: integers, and what messages and streams are read from. */

/** The peer sent what no peer may send. */
export class Malformed extends Error {}

/** The longest message body (its length has 16 bits), and the largest object that is taken. */
const OBJECT_BYTES_MAX = 16 * 1024 * 1024;
export const PROPERTIES_BYTES_MAX = 65_535;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export class Writer {
  private readonly out: number[] = [];

  /** draft-18 §1.4.1: the leading ones of the first byte count the bytes that follow. */
  varint(value: number): this {
    let length = 1;
    while (length < 8 && value >= 2 ** (7 * length)) length++;
    const bytes: number[] = [];
    for (let rest = value, at = 0; at < length; at++, rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
    bytes[0] = (bytes[0] ?? 0) | (0xff & ~(0xff >> (length - 1)));
    this.out.push(...bytes);
    return this;
  }

  byte(value: number): this {
    this.out.push(value);
    return this;
  }

  raw(bytes: Uint8Array): this {
    for (const byte of bytes) this.out.push(byte);
    return this;
  }

  /** A length, then so many bytes. */
  prefixed(bytes: Uint8Array | string): this {
    const raw = typeof bytes === 'string' ? encoder.encode(bytes) : bytes;
    return this.varint(raw.length).raw(raw);
  }

  done(): Uint8Array<ArrayBuffer> {
    return Uint8Array.from(this.out);
  }
}

/** Reads what is there as a whole. */
export class Reader {
  private at = 0;

  constructor(private readonly bytes: Uint8Array) {}

  get empty(): boolean {
    return this.at >= this.bytes.length;
  }

  byte(): number {
    const byte = this.bytes[this.at++];
    if (byte === undefined) throw new Malformed('cut off');
    return byte;
  }

  /** Numbers above 2^53 come out rounded: none that we use is so large. */
  varint(): number {
    const first = this.byte();
    let value = highBits(first);
    for (let more = leadingOnes(first); more > 0; more--) value = value * 256 + this.byte();
    return value;
  }

  take(length: number): Uint8Array {
    if (length > this.bytes.length - this.at) throw new Malformed('cut off');
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  prefixed(): Uint8Array {
    return this.take(this.varint());
  }

  rest(): Uint8Array {
    return this.take(this.bytes.length - this.at);
  }
}

export function text(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}

function leadingOnes(byte: number): number {
  return Math.min(8, Math.clz32(~byte << 24));
}

function highBits(first: number): number {
  const more = leadingOnes(first);
  return more >= 7 ? 0 : first & (0x7f >> more);
}

/** Key-value pairs (draft-18 §1.4.3): odd types have bytes, even ones a number. */
export function pairs(bytes: Uint8Array): Map<number, number | Uint8Array> {
  const found = new Map<number, number | Uint8Array>();
  const reader = new Reader(bytes);
  for (let type = 0; !reader.empty; ) {
    type += reader.varint();
    found.set(type, type % 2 === 1 ? reader.prefixed() : reader.varint());
  }
  return found;
}

/** Writes key-value pairs; types in rising order. */
export function writePairs(entries: [number, number | Uint8Array][]): Uint8Array {
  const writer = new Writer();
  let previous = 0;
  for (const [type, value] of entries) {
    writer.varint(type - previous);
    previous = type;
    if (typeof value === 'number') writer.varint(value);
    else writer.prefixed(value);
  }
  return writer.done();
}

/** A stream of the peer, read piece by piece. */
export class Source {
  private chunk: Uint8Array = new Uint8Array();
  private at = 0;

  constructor(private readonly reader: ReadableStreamDefaultReader<Uint8Array>) {}

  /** Whether nothing more comes. */
  async ended(): Promise<boolean> {
    while (this.at >= this.chunk.length) {
      const { value, done } = await this.reader.read();
      if (done) return true;
      this.chunk = value;
      this.at = 0;
    }
    return false;
  }

  async byte(): Promise<number> {
    if (await this.ended()) throw new Malformed('cut off');
    return this.chunk[this.at++] ?? 0;
  }

  async varint(): Promise<number> {
    const first = await this.byte();
    let value = highBits(first);
    for (let more = leadingOnes(first); more > 0; more--) value = value * 256 + (await this.byte());
    return value;
  }

  /** So many bytes. Nothing is set aside before they come. */
  async bytes(length: number, max = OBJECT_BYTES_MAX): Promise<Uint8Array<ArrayBuffer>> {
    if (length > max) throw new Malformed('too long');
    const pieces: Uint8Array[] = [];
    for (let left = length; left > 0; ) {
      if (await this.ended()) throw new Malformed('cut off');
      const piece = this.chunk.subarray(this.at, this.at + left);
      pieces.push(piece);
      this.at += piece.length;
      left -= piece.length;
    }
    const whole = new Uint8Array(length);
    let at = 0;
    for (const piece of pieces) {
      whole.set(piece, at);
      at += piece.length;
    }
    return whole;
  }

  async cancel(code = 1): Promise<void> {
    await this.reader.cancel(streamError(code)).catch(() => {});
  }
}

/** What resets a stream with a code of ours. */
export function streamError(code: number): unknown {
  const Form = globalThis.WebTransportError as unknown as { new (...init: unknown[]): unknown } | undefined;
  if (Form === undefined) return code;
  try {
    return new Form('cancelled', { source: 'stream', streamErrorCode: code });
  } catch {
    // Chromium's own form, of an older draft.
    return new Form({ message: 'cancelled', streamErrorCode: code });
  }
}
