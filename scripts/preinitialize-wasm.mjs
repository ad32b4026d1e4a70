/**
 * A WebAssembly module that begins with the memory that it has after some first work: what that work unpacks need not be
 * unpacked, nor the code that does so compiled, each time a program starts.
 */

const MEMORY_SECTION = 5;
const DATA_COUNT_SECTION = 12;
const DATA_SECTION = 11;
const PAGE_BYTES = 65536;
/** Equal bytes between two changes that are cheaper to repeat than to leave out. */
const GAP = 16;

function readLeb(bytes, at) {
  let value = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = bytes[at++];
    value |= (byte & 0x7f) << shift;
    if ((byte & 0x80) === 0) return { value: value >>> 0, next: at };
  }
}

function leb(value) {
  const bytes = [];
  for (let rest = value >>> 0; ; ) {
    const low = rest & 0x7f;
    rest >>>= 7;
    bytes.push(rest ? low | 0x80 : low);
    if (rest === 0) return bytes;
  }
}

/** As an immediate of i32.const. */
function signedLeb(value) {
  const bytes = [];
  for (let rest = value | 0; ; ) {
    const low = rest & 0x7f;
    rest >>= 7;
    const isLast = (rest === 0 && (low & 0x40) === 0) || (rest === -1 && (low & 0x40) !== 0);
    bytes.push(isLast ? low : low | 0x80);
    if (isLast) return bytes;
  }
}

function* sections(module) {
  for (let at = 8; at < module.length; ) {
    const { value: length, next } = readLeb(module, at + 1);
    yield { id: module[at], body: module.subarray(next, next + length) };
    at = next + length;
  }
}

/** Ranges of `after` that differ from `before`, beyond which memory was 0. */
export function changes(before, after) {
  const ranges = [];
  for (let at = 0; at < after.length; at++) {
    if (after[at] === (before[at] ?? 0)) continue;
    const last = ranges.at(-1);
    if (last && at - last.end <= GAP) last.end = at + 1;
    else ranges.push({ start: at, end: at + 1 });
  }
  return ranges;
}

/** Count of a section's entries, changed by `add`, before the rest of it. */
function withCount(body, add, rest = []) {
  const { value, next } = readLeb(body, 0);
  return Buffer.concat([Buffer.from(leb(value + add)), body.subarray(next), ...rest]);
}

/** The memory's limits with another minimum, in pages; there is one memory, without a maximum. */
function withMinimum(body, pages) {
  if (body[0] !== 1 || body[1] !== 0) throw new Error('expected one memory without a maximum');
  return Buffer.from([1, 0, ...leb(pages)]);
}

/**
 * @param module the bytes of a module with one memory of its own
 * @param before its memory after instantiation, @param after the same after the work
 */
export function preinitialized(module, before, after) {
  const segments = changes(before, after).map(({ start, end }) =>
    Buffer.concat([Buffer.from([0, 0x41, ...signedLeb(start), 0x0b, ...leb(end - start)]), after.subarray(start, end)]),
  );
  const edited = { [MEMORY_SECTION]: (body) => withMinimum(body, after.length / PAGE_BYTES) };
  edited[DATA_COUNT_SECTION] = (body) => withCount(body, segments.length);
  edited[DATA_SECTION] = (body) => withCount(body, segments.length, segments);
  const parts = [Buffer.from(module.subarray(0, 8))];
  for (const { id, body } of sections(module)) {
    const bytes = edited[id]?.(body) ?? body;
    parts.push(Buffer.from([id, ...leb(bytes.length)]), bytes);
  }
  return new Uint8Array(Buffer.concat(parts));
}
