/**
 * The decoded-instruction record: what a handler of the interpreter reads its operands from. Records of a block lie
 * one after another; fields are offsets in bytes.
 */
export const RECORD_BYTES = 96;

export const record = {
  /** u32: table index of the handler. */
  handler: 0,
  /** u32 each: wasm address of the register of explicit operand 0, 1, 2, 3. */
  register: 4,
  /** u32: wasm address of the segment register of the memory operand, or of the zero field. */
  segment: 20,
  /** u32: wasm address of the base register, of `zero` or of `pageBase`. */
  base: 24,
  /** u32: wasm address of the index register or of `zero`. */
  index: 28,
  /** i64: displacement. */
  displacement: 32,
  /** i64: immediate, or the branch target relative to `pageBase`. */
  immediate: 40,
  /** i64: second immediate. */
  immediate2: 48,
  /** u32: offset of the next instruction from `pageBase` (may exceed the page). */
  nextOffset: 56,
  /** u16: instructions of the block before this one. */
  ordinal: 60,
  /** u16: instructions of the block from this record on, the budget that entering here takes. */
  blockCount: 62,
  /** u32: record of the branch target: LINK_UNRESOLVED, LINK_DISPATCH or an address. */
  taken: 64,
  /** u32: record that follows when a branch is not taken, coded likewise. */
  fallThrough: 68,
  /** u16: offset in its page of the linear address of this instruction. */
  pageOffset: 72,
  /** u16: length in bytes. */
  length: 74,
  /** u32: index of the block in the code cache's list. */
  block: 76,
  /** u32: which entry of a compiled region this is, if `handler` is one. */
  entry: 80,
  /** u32: table index of the interpreter's handler, whatever `handler` is. */
  interpreter: 84,
  /**
   * u32: of the first record of a valid block on one page, 1 more than the host-physical address of the page; else 0.
   */
  physicalPage: 88,
  /** u32: shift of the index. */
  shift: 92,
} as const;

/** The run loop must find the target and patch the link. */
export const LINK_UNRESOLVED = 0;
/** The target lies in another page: found through the jump cache each time, for its translation may change. */
export const LINK_DISPATCH = 1;
