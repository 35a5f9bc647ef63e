/**
 * QR codes (ISO/IEC 18004) of bytes, with error correction level M: as much as a link needs, and no more.
 */

/** By version: code words of error correction in a block, blocks, and data code words of all of them, at level M. */
const LEVEL_M: [correction: number, blocks: number, data: number][] = [
  [10, 1, 16], [16, 1, 28], [26, 1, 44], [18, 2, 64], [24, 2, 86], [16, 4, 108], [18, 4, 124], [22, 4, 154], [22, 5, 182], [26, 5, 216],
  [30, 5, 254], [22, 8, 290], [22, 9, 334], [24, 9, 365], [24, 10, 415],
];
/** Centres of the alignment patterns. */
const ALIGNMENT = [
  [], [6, 18], [6, 22], [6, 26], [6, 30], [6, 34], [6, 22, 38], [6, 24, 42], [6, 26, 46], [6, 28, 50], [6, 30, 54], [6, 32, 58], [6, 34, 62],
  [6, 26, 46, 66], [6, 26, 48, 70],
];
const LEVEL_M_BITS = 0b00;
const FORMAT_MASK = 0b101_0100_0001_0010;

/** Rows of modules, true is dark; null if the text is too long. */
export function qrCode(text: string): boolean[][] | null {
  const bytes = new TextEncoder().encode(text);
  const version = LEVEL_M.findIndex(([, , data], at) => bytes.length + (at + 1 < 10 ? 2 : 3) <= data) + 1;
  if (version === 0) return null;
  const words = interleaved(dataWords(bytes, version), version);
  let best: { grid: boolean[][]; cost: number } | null = null;
  for (let mask = 0; mask < 8; mask++) {
    const grid = drawn(words, version, mask);
    const cost = penalty(grid);
    if (best === null || cost < best.cost) best = { grid, cost };
  }
  return best?.grid ?? null;
}

/** §7.4: mode, length, bytes, end, padding. */
function dataWords(bytes: Uint8Array, version: number): number[] {
  const capacity = LEVEL_M[version - 1]?.[2] ?? 0;
  const bits: number[] = [];
  const put = (value: number, length: number) => {
    for (let bit = length - 1; bit >= 0; bit--) bits.push((value >> bit) & 1);
  };
  put(0b0100, 4);
  put(bytes.length, version < 10 ? 8 : 16);
  for (const byte of bytes) put(byte, 8);
  put(0, Math.min(4, capacity * 8 - bits.length));
  while (bits.length % 8 !== 0) bits.push(0);
  const words: number[] = [];
  for (let at = 0; at < bits.length; at += 8) words.push(bits.slice(at, at + 8).reduce((word, bit) => word * 2 + bit, 0));
  for (let pad = 0; words.length < capacity; pad++) words.push(pad % 2 === 0 ? 0xec : 0x11);
  return words;
}

/** §7.5, §7.6: blocks, each with its correction, word by word from all. The later blocks are the longer ones. */
function interleaved(data: number[], version: number): number[] {
  const [correction, count] = LEVEL_M[version - 1] ?? [0, 1];
  const short = Math.floor(data.length / count);
  const longer = data.length % count;
  const blocks: number[][] = [];
  for (let block = 0, at = 0; block < count; block++) {
    const length = short + (block >= count - longer ? 1 : 0);
    blocks.push(data.slice(at, at + length));
    at += length;
  }
  const checks = blocks.map((block) => remainder(block, correction));
  const columns = (rows: number[][], length: number) =>
    Array.from({ length }, (_, at) => rows.flatMap((row) => (row[at] === undefined ? [] : [row[at]]))).flat();
  return [...columns(blocks, short + 1), ...columns(checks, correction)];
}

/** Multiplication in GF(2^8) modulo x^8 + x^4 + x^3 + x^2 + 1. */
function times(a: number, b: number): number {
  let product = 0;
  for (let bit = 7; bit >= 0; bit--) product = (product << 1) ^ ((product >> 7) * 0x11d) ^ (((b >> bit) & 1) * a);
  return product;
}

/** Reed-Solomon: what is left when the message is divided by (x - 1)(x - 2)(x - 4)… */
function remainder(message: number[], degree: number): number[] {
  const divisor: number[] = Array.from({ length: degree }, (_, at) => (at === degree - 1 ? 1 : 0));
  for (let step = 0, root = 1; step < degree; step++, root = times(root, 2)) {
    for (let at = 0; at < degree; at++) divisor[at] = times(divisor[at] ?? 0, root) ^ (divisor[at + 1] ?? 0);
  }
  const rest: number[] = Array.from({ length: degree }, () => 0);
  for (const word of message) {
    const factor = word ^ (rest.shift() ?? 0);
    rest.push(0);
    for (let at = 0; at < degree; at++) rest[at] = (rest[at] ?? 0) ^ times(divisor[at] ?? 0, factor);
  }
  return rest;
}

type Grid = (boolean | null)[][];

function set(grid: Grid, x: number, y: number, dark: boolean): void {
  const row = grid[y];
  if (row !== undefined && x >= 0 && x < row.length) row[x] = dark;
}

/** The whole symbol under one mask. */
function drawn(words: number[], version: number, mask: number): boolean[][] {
  const size = 17 + 4 * version;
  const grid: Grid = Array.from({ length: size }, () => Array.from({ length: size }, () => null));
  patterns(grid, version);
  format(grid, mask);
  if (version >= 7) versionBits(grid, version);
  // §7.7.3: two columns at a time, up and down, from the right; the column of the timing pattern is left out.
  let at = 0;
  for (let right = size - 1, up = true; right > 0; right -= right === 8 ? 3 : 2, up = !up) {
    for (let step = 0; step < size; step++) {
      const y = up ? size - 1 - step : step;
      for (const x of [right, right - 1]) {
        if (grid[y]?.[x] !== null) continue;
        const bit = ((words[at >> 3] ?? 0) >> (7 - (at & 7))) & 1;
        at++;
        set(grid, x, y, (bit === 1) !== masked(mask, x, y));
      }
    }
  }
  return grid.map((row) => row.map((dark) => dark === true));
}

/** §6.3: finders with their separators, timing, alignment. */
function patterns(grid: Grid, version: number): void {
  const size = grid.length;
  for (let at = 8; at < size - 8; at++) {
    set(grid, at, 6, at % 2 === 0);
    set(grid, 6, at, at % 2 === 0);
  }
  for (const [x, y] of [[3, 3], [size - 4, 3], [3, size - 4]] as const) {
    for (let dy = -4; dy <= 4; dy++) {
      for (let dx = -4; dx <= 4; dx++) {
        const ring = Math.max(Math.abs(dx), Math.abs(dy));
        set(grid, x + dx, y + dy, ring !== 2 && ring !== 4);
      }
    }
  }
  const centres = ALIGNMENT[version - 1] ?? [];
  const last = centres.length - 1;
  centres.forEach((y, row) => {
    centres.forEach((x, column) => {
      // Where the finders are.
      if ((row === 0 && column === 0) || (row === 0 && column === last) || (row === last && column === 0)) return;
      for (let dy = -2; dy <= 2; dy++) {
        for (let dx = -2; dx <= 2; dx++) set(grid, x + dx, y + dy, Math.max(Math.abs(dx), Math.abs(dy)) !== 1);
      }
    });
  });
}

/** §7.9: level and mask, twice, and the module that is always dark. */
function format(grid: Grid, mask: number): void {
  const size = grid.length;
  const data = (LEVEL_M_BITS << 3) | mask;
  const bits = ((data << 10) | coded(data, 10, 0b101_0011_0111)) ^ FORMAT_MASK;
  for (let at = 0; at < 15; at++) {
    const dark = ((bits >> at) & 1) === 1;
    if (at < 6) set(grid, 8, at, dark);
    else if (at < 8) set(grid, 8, at + 1, dark);
    else if (at === 8) set(grid, 7, 8, dark);
    else set(grid, 14 - at, 8, dark);
    if (at < 8) set(grid, size - 1 - at, 8, dark);
    else set(grid, 8, size - 15 + at, dark);
  }
  set(grid, 8, size - 8, true);
}

/** §7.10 */
function versionBits(grid: Grid, version: number): void {
  const bits = (version << 12) | coded(version, 12, 0b1_1111_0010_0101);
  for (let at = 0; at < 18; at++) {
    const dark = ((bits >> at) & 1) === 1;
    const [near, far] = [Math.floor(at / 3), grid.length - 11 + (at % 3)];
    set(grid, near, far, dark);
    set(grid, far, near, dark);
  }
}

/** The remainder of a BCH code. */
function coded(data: number, degree: number, generator: number): number {
  let rest = data;
  for (let step = 0; step < degree; step++) rest = (rest << 1) ^ ((rest >> (degree - 1)) * generator);
  return rest;
}

/** §7.8.2 */
function masked(mask: number, x: number, y: number): boolean {
  switch (mask) {
    case 0: return (x + y) % 2 === 0;
    case 1: return y % 2 === 0;
    case 2: return x % 3 === 0;
    case 3: return (x + y) % 3 === 0;
    case 4: return (Math.floor(x / 3) + Math.floor(y / 2)) % 2 === 0;
    case 5: return ((x * y) % 2) + ((x * y) % 3) === 0;
    case 6: return (((x * y) % 2) + ((x * y) % 3)) % 2 === 0;
    default: return (((x + y) % 2) + ((x * y) % 3)) % 2 === 0;
  }
}

/** §7.8.3: what makes a symbol hard to read. */
function penalty(grid: boolean[][]): number {
  const size = grid.length;
  const turned = grid.map((_, x) => grid.map((row) => row[x] === true));
  let cost = 0;
  for (const line of [...grid, ...turned]) {
    const text = line.map((dark) => (dark ? '1' : '0')).join('');
    for (const run of text.match(/0{5,}|1{5,}/g) ?? []) cost += run.length - 2;
    for (let at = 0; at + 11 <= size; at++) {
      const piece = text.slice(at, at + 11);
      if (piece === '10111010000' || piece === '00001011101') cost += 40;
    }
  }
  let dark = 0;
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const here = grid[y]?.[x];
      if (here) dark++;
      if (here === grid[y]?.[x + 1] && here === grid[y + 1]?.[x] && here === grid[y + 1]?.[x + 1]) cost += 3;
    }
  }
  return cost + 10 * Math.floor(Math.abs(dark * 20 - size * size * 10) / (size * size));
}
