// Cuts a stream of fragmented MP4 into its header and its fragments, and reads the few fields that a playlist needs.

/** Calls `onInit(bytes, timescale)` once and `onFragment({bytes, duration, decodeTime, sync})` for each moof + mdat. */
export function readFragments(stream, { onInit, onFragment, onEnd }) {
  let pending = Buffer.alloc(0);
  let header = [];
  let fragment = [];
  let timescale = 0;
  stream.on('data', (chunk) => {
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
    for (;;) {
      if (pending.length < 8) return;
      const size = pending.readUInt32BE(0);
      if (size < 8 || pending.length < size) return;
      const type = pending.toString('latin1', 4, 8);
      const box = pending.subarray(0, size);
      pending = pending.subarray(size);
      if (type === 'ftyp') header = [box];
      else if (type === 'moov') {
        timescale = find(box, ['mdia', 'mdhd'], 8).readUInt32BE(20);
        onInit(Buffer.concat([...header, box]), timescale, box);
      } else if (type === 'moof') fragment = [box];
      else if (type === 'mdat') {
        const bytes = Buffer.concat([...fragment, box]);
        onFragment({ bytes, ...times(fragment[0], timescale) });
      }
    }
  });
  stream.on('end', () => onEnd?.());
}

function times(moof, timescale) {
  const traf = find(moof, ['traf'], 8);
  const tfhd = find(traf, ['tfhd'], 8);
  const tfdt = find(traf, ['tfdt'], 8);
  const trun = find(traf, ['trun'], 8);
  const decodeTime = tfdt[8] === 1 ? Number(tfdt.readBigUInt64BE(12)) : tfdt.readUInt32BE(12);
  const headFlags = tfhd.readUIntBE(9, 3);
  let at = 16 + (headFlags & 1 ? 8 : 0) + (headFlags & 2 ? 4 : 0);
  let sampleDuration = 0;
  if (headFlags & 8) {
    sampleDuration = tfhd.readUInt32BE(at);
    at += 4;
  }
  if (headFlags & 16) at += 4;
  let flags = headFlags & 32 ? tfhd.readUInt32BE(at) : 0;
  const runFlags = trun.readUIntBE(9, 3);
  const count = trun.readUInt32BE(12);
  let run = 16 + (runFlags & 1 ? 4 : 0);
  if (runFlags & 4) {
    flags = trun.readUInt32BE(run);
    run += 4;
  }
  const width = [0x100, 0x200, 0x400, 0x800].filter((flag) => runFlags & flag).length * 4;
  let duration = 0;
  for (let sample = 0; sample < count; sample++) {
    duration += runFlags & 0x100 ? trun.readUInt32BE(run + sample * width) : sampleDuration;
  }
  if (runFlags & 0x400) flags = trun.readUInt32BE(run + (runFlags & 0x100 ? 4 : 0) + (runFlags & 0x200 ? 4 : 0));
  return { decodeTime: decodeTime / timescale, duration: duration / timescale, sync: (flags & 0x10000) === 0, count };
}

/** The box at a path of types below `box`, searching containers; `skip` is the header of `box`. */
export function find(box, path, skip) {
  const [type, ...rest] = path;
  for (let at = skip; at + 8 <= box.length; ) {
    const size = box.readUInt32BE(at);
    const name = box.toString('latin1', at + 4, at + 8);
    const inner = box.subarray(at, at + size);
    if (name === type) return rest.length === 0 ? inner : find(inner, rest, 8);
    if (name === 'trak') {
      const found = find(inner, path, 8);
      if (found) return found;
    }
    at += size;
  }
  return null;
}
