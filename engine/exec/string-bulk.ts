/**
 * Many iterations of a repeated string instruction at once: those that the count and the slice's budget cover but for
 * the last, page by page, as far as segments and pages allow; the instruction's own handler goes on from there. As the
 * pages are in the fast TLB, none of these iterations can fault, be watched, or change code; and as the last is left,
 * what it alone determines (the end of REPE and REPNE) need not be known here. Where an iteration leaves more than moved
 * pointers (flags, RAX of LODS), the last of each page is left too, as the one behind it may fault.
 */
import { PAGE_BYTES } from '../cpu/memory-map.ts';
import { fieldAddress, gprAddress, segmentLayout } from '../cpu/state-layout.ts';
import type { InstructionForm } from '../isa/form.ts';
import type { OperandWidth } from '../isa/operand.ts';
import type { AddressRef, LoadStatement, StoreStatement } from '../isa/operation.ts';
import { RAX, RCX, RDI, RSI } from '../isa/semantics-builder.ts';
import { type FunctionBody, I32, I64, memoryOp, op } from '../wasm/encoder.ts';
import { emitFastTlbLookup, emitHostAddress } from './fast-tlb-emitter.ts';
import type { AddressingForm } from './operand-emitter.ts';
import { loadValue, storeValue, valueType } from './value-types.ts';

/** From this length on, a pattern is filled in by copying: its first bytes are stored. A multiple of 8. */
const SEED_BYTES = 64;

/** Where the segment of an access is; each pushes something. */
export interface SegmentOperands {
  /** The segment's base (i64). */
  emitBase(address: AddressRef): void;
  /** The wasm address of the segment register. */
  emitAddress(address: AddressRef): void;
}

/**
 * Emits the iterations before the last of those that are covered. Registers and budget are in the CPU state, and are
 * left there as after so many iterations.
 */
export function emitStringBulk(
  body: FunctionBody,
  instruction: InstructionForm,
  addressing: AddressingForm,
  segments: SegmentOperands,
): void {
  new StringBulkEmitter(body, instruction, addressing, segments).run();
}

/** A pointer register, and the memory it points to. */
interface Pointer {
  readonly statement: LoadStatement | StoreStatement;
  readonly register: number;
  /** Locals: the register's value (i64), the wasm address of the memory (i32). */
  readonly offset: number;
  readonly host: number;
}

/** Depths of branches out of the loop over the pages, and to its next turn. */
const LEAVE = 1;
const AGAIN = 0;

class StringBulkEmitter {
  readonly #body: FunctionBody;
  readonly #instruction: InstructionForm;
  readonly #addressing: AddressingForm;
  readonly #segments: SegmentOperands;
  readonly #width: OperandWidth;
  readonly #pointers: readonly Pointer[];
  /** Locals, i64: RCX, the budget that is left, the iterations to do here, those of them in the pages under the pointers. */
  readonly #count: number;
  readonly #budget: number;
  readonly #remaining: number;
  readonly #iterations: number;
  /** Local, i32: whether DF is set. */
  readonly #backward: number;
  /** Local, i32: what is added to a pointer with each iteration. */
  readonly #step: number;
  /** Local, i32: wasm address of a page that STOS has filled with its pattern, or 0. */
  readonly #filled: number;

  constructor(body: FunctionBody, instruction: InstructionForm, addressing: AddressingForm, segments: SegmentOperands) {
    this.#body = body;
    this.#instruction = instruction;
    this.#addressing = addressing;
    this.#segments = segments;
    const accesses = [...this.#loads, ...this.#stores];
    this.#width = accesses[0]?.width ?? 8;
    this.#pointers = accesses.map((statement) => ({
      statement,
      register: isDestination(statement.address) ? RDI : RSI,
      offset: body.local(I64),
      host: body.local(I32),
    }));
    this.#count = body.local(I64);
    this.#budget = body.local(I64);
    this.#remaining = body.local(I64);
    this.#iterations = body.local(I64);
    this.#backward = body.local(I32);
    this.#step = body.local(I32);
    this.#filled = body.local(I32);
  }

  get #loads(): LoadStatement[] {
    return this.#instruction.operation.reads.filter((read) => read.kind === 'load');
  }
  get #stores(): readonly StoreStatement[] {
    return this.#instruction.operation.stores;
  }
  get #bytes(): number {
    return this.#width / 8;
  }

  run(): void {
    const body = this.#body.block();
    this.#countAndBudget();
    this.#direction();
    body.i32(0).set(this.#filled);
    const left = this.#stores.length > 0 ? 0n : 1n;
    body.loop().get(this.#remaining).i64(left).emit(op.i64Add).set(this.#iterations);
    for (const pointer of this.#pointers) this.#cover(pointer);
    body.get(this.#iterations).i64(left).emit(op.i64Sub).tee(this.#iterations);
    body.i64(1n).emit(op.i64LtS).branchIf(LEAVE);
    this.#emitWork();
    this.#advance();
    body.get(this.#remaining).i64(0n).emit(op.i64GtS).branchIf(AGAIN).end();
    body.end();
  }

  /** LODS only moves on: RAX is the last iteration's. */
  #emitWork(): void {
    const [first, second] = this.#pointers as [Pointer, Pointer?];
    if (this.#instruction.operation.flags) this.#compare(this.#pointers);
    else if (second) this.#copy(first, second);
    else if (this.#stores.length > 0) this.#fill(first);
  }

  // ---- how many iterations -----------------------------------------------------------------------------------------

  /** The block's budget has been taken already, so one more iteration than the rest allows is covered: the last. */
  #countAndBudget(): void {
    const body = this.#body;
    this.#emitRegister(RCX).set(this.#count);
    body.i32(fieldAddress.budget).memory(memoryOp.i64Load).tee(this.#budget);
    body.get(this.#count).i64(1n).emit(op.i64Sub);
    body.get(this.#budget).get(this.#count).emit(op.i64LtU, op.select).tee(this.#remaining);
    body.i64(1n).emit(op.i64LtS).branchIf(0);
  }

  #direction(): void {
    const body = this.#body;
    body.i32(fieldAddress.flagsOther).memory(memoryOp.i32Load).i32(10).emit(op.i32ShrU).i32(1).emit(op.i32And);
    body.set(this.#backward);
    body.i32(-this.#bytes).i32(this.#bytes).get(this.#backward).emit(op.select).set(this.#step);
  }

  /** Finds the pointer's memory, and cuts the iterations to what can be accessed there without further checks. */
  #cover({ statement, register, offset, host }: Pointer): void {
    const body = this.#body;
    const linear = body.local(I64);
    this.#emitRegister(register);
    body.tee(offset);
    this.#segments.emitBase(statement.address);
    body.emit(op.i64Add);
    if (this.#isLegacy) body.i64(0xffff_ffffn).emit(op.i64And);
    body.set(linear);
    emitFastTlbLookup(body, linear, host, { bytes: this.#bytes, write: statement.kind === 'store' });
    body.emit(op.i32Eqz).branchIf(LEAVE);
    emitHostAddress(body, linear, host);
    body.set(host);
    this.#cutToRoom(statement, offset, linear);
    body.release(I64, linear);
  }

  /** Where the first element fits, so do those up to the end, or down to the start, of page and offset. */
  #cutToRoom(statement: LoadStatement | StoreStatement, offset: number, linear: number): void {
    const body = this.#body;
    const [room, other] = [body.local(I64), body.local(I64)];
    const least = () => body.set(other).get(room).get(other).get(room).get(other).emit(op.i64LtS, op.select).set(room);
    const inPage = () =>
      body
        .get(linear)
        .i64(BigInt(PAGE_BYTES - 1))
        .emit(op.i64And);
    const inElements = () => body.i64(BigInt(Math.log2(this.#bytes))).emit(op.i64ShrS);
    body.i64(BigInt(PAGE_BYTES));
    inPage().emit(op.i64Sub).set(room);
    if (this.#wraps) {
      body
        .i64(2n ** BigInt(this.#addressing.addressSize))
        .get(offset)
        .emit(op.i64Sub);
      least();
    }
    if (this.#isLegacy) {
      this.#emitFastLimit(statement);
      body.i64(1n).emit(op.i64Add).get(offset).emit(op.i64Sub);
      least();
    }
    body.get(room);
    inElements().tee(room).i64(0n).emit(op.i64GtS).get(this.#backward).emit(op.i32And).if();
    inPage().set(room);
    if (this.#wraps) {
      body.get(offset);
      least();
    }
    body.get(room);
    inElements().i64(1n).emit(op.i64Add).set(room).end();
    body.get(this.#iterations);
    least();
    body.get(room).set(this.#iterations);
    body.release(I64, room);
    body.release(I64, other);
  }

  get #isLegacy(): boolean {
    return this.#addressing.segmentation === 'legacy';
  }
  /** Whether offsets wrap where linear addresses go on. */
  get #wraps(): boolean {
    return this.#addressing.addressSize < 64;
  }

  #emitFastLimit({ kind, address }: LoadStatement | StoreStatement): void {
    this.#segments.emitAddress(address);
    this.#body.memory(memoryOp.i64Load, kind === 'store' ? segmentLayout.fastWriteLimit : segmentLayout.fastReadLimit);
  }

  // ---- what they do ------------------------------------------------------------------------------------------------

  /** MOVS. Element by element where a later source may be an earlier destination. */
  #copy(source: Pointer, destination: Pointer): void {
    const body = this.#body;
    const length = this.#lengthLocal();
    body.get(destination.host).get(source.host).emit(op.i32Sub).get(length).emit(op.i32GeU);
    this.#butBackward().if();
    body.get(destination.host).get(source.host).get(length).memoryCopy();
    body.else();
    this.#eachElement(() => {
      body.get(destination.host).get(source.host);
      loadValue(body, this.#width);
      storeValue(body, this.#width);
    });
    body.end().release(I32, length);
  }

  /** STOS: equal bytes by `memory.fill`, other patterns by copying what is filled already. */
  #fill({ host }: Pointer): void {
    const body = this.#body;
    const length = this.#lengthLocal();
    const pattern = body.local(I64);
    this.#emitPattern();
    body.set(pattern);
    body.get(length).i32(SEED_BYTES).emit(op.i32GeU);
    this.#butBackward().if();
    body.get(pattern).get(pattern).i64(8n).emit(op.i64Rotl, op.i64Eq).if();
    body.get(host).get(pattern).emit(op.i32WrapI64).get(length).memoryFill();
    if (this.#width > 8) {
      body.else();
      this.#fillPattern(host, length, pattern);
    }
    body.end().else();
    const value = this.#accumulator();
    this.#eachElement(() => storeValue(body.get(host).get(value), this.#width));
    body.end().release(I32, length);
    body.release(I64, pattern);
  }

  /** A whole page is a copy of the one that was filled before. */
  #fillPattern(host: number, length: number, pattern: number): void {
    const body = this.#body;
    const isPage = () => body.get(length).i32(PAGE_BYTES).emit(op.i32Eq);
    isPage().get(this.#filled).i32(0).emit(op.i32Ne, op.i32And).if();
    body.get(host).get(this.#filled).get(length).memoryCopy().else();
    this.#fillByDoubling(host, length, pattern);
    isPage().if().get(host).set(this.#filled).end().end();
  }

  /** Calls of `memory.copy` are few and fast, also in code that the host has not optimized yet. */
  #fillByDoubling(host: number, length: number, pattern: number): void {
    const body = this.#body;
    const [done, more] = [body.local(I32), body.local(I32)];
    for (let at = 0; at < SEED_BYTES; at += 8) body.get(host).get(pattern).memory(memoryOp.i64Store, at);
    body.i32(SEED_BYTES).set(done).block().loop();
    body.get(length).get(done).emit(op.i32Sub).tee(more).emit(op.i32Eqz).branchIf(1);
    body.get(more).get(done).get(more).get(done).emit(op.i32LtU, op.select).set(more);
    body.get(host).get(done).emit(op.i32Add).get(host).get(more).memoryCopy();
    body.get(done).get(more).emit(op.i32Add).set(done).branch(0).end().end();
    body.release(I32, done);
    body.release(I32, more);
  }

  /** Pushes the low part of RAX, as often as it fits into 64 bits. */
  #emitPattern(): void {
    const body = this.#body.i32(gprAddress(RAX));
    if (this.#width === 64) body.memory(memoryOp.i64Load);
    else if (this.#width === 8) body.memory(memoryOp.i64Load8U).i64(0x101_0101_0101_0101n).emit(op.i64Mul);
    else if (this.#width === 32) body.memory(memoryOp.i64Load32U).i64(0x1_0000_0001n).emit(op.i64Mul);
    else body.memory(memoryOp.i64Load16U).i64(0x1_0001_0001_0001n).emit(op.i64Mul);
  }

  /** A local with the low part of RAX. */
  #accumulator(): number {
    const value = this.#body.local(valueType(this.#width));
    loadValue(this.#body.i32(gprAddress(RAX)), this.#width).set(value);
    return value;
  }

  /** CMPS and SCAS: only iterations after which the instruction goes on. */
  #compare([first, second]: readonly Pointer[]): void {
    const body = this.#body;
    const wide = this.#width === 64;
    const equalityEnds = this.#instruction.sizes.repeat === 'repne';
    const accumulator = second ? undefined : this.#accumulator();
    body.block();
    const left = this.#eachElement(() => {
      loadValue(body.get((first as Pointer).host), this.#width);
      if (second) loadValue(body.get(second.host), this.#width);
      else body.get(accumulator as number);
      if (equalityEnds) body.emit(wide ? op.i64Eq : op.i32Eq);
      else body.emit(wide ? op.i64Ne : op.i32Ne);
      body.branchIf(1);
    });
    body.end();
    body.get(this.#iterations).get(left).emit(op.i64ExtendI32U, op.i64Sub).set(this.#iterations);
    // Where the rest of the page was not needed, no page after it is.
    body.get(this.#iterations).get(this.#remaining).get(left).emit(op.select).set(this.#remaining);
  }

  /** A loop over the elements, moving the hosts on. Returns the local that tells how many elements are left. */
  #eachElement(emitElement: () => void): number {
    const body = this.#body;
    const left = body.local(I32);
    body.get(this.#iterations).emit(op.i32WrapI64).set(left).loop();
    emitElement();
    for (const { host } of this.#pointers) body.get(host).get(this.#step).emit(op.i32Add).set(host);
    body.get(left).i32(1).emit(op.i32Sub).tee(left).branchIf(0).end();
    return left;
  }

  /** A local with the bytes that the iterations access (i32). */
  #lengthLocal(): number {
    const length = this.#body.local(I32);
    this.#body.get(this.#iterations).emit(op.i32WrapI64).i32(this.#bytes).emit(op.i32Mul).set(length);
    return length;
  }
  /** Lets the condition on the stack hold only if DF is clear. */
  #butBackward(): FunctionBody {
    return this.#body.get(this.#backward).emit(op.i32Eqz, op.i32And);
  }

  // ---- what they leave ---------------------------------------------------------------------------------------------

  #advance(): void {
    const body = this.#body;
    for (const { register, offset } of this.#pointers) {
      this.#setRegister(register, () => {
        body.get(this.#step).emit(op.i64ExtendI32S).get(this.#iterations).emit(op.i64Mul).get(offset).emit(op.i64Add);
      });
    }
    const lessIterations = (value: number) => body.get(value).get(this.#iterations).emit(op.i64Sub).tee(value);
    this.#setRegister(RCX, () => lessIterations(this.#count));
    body.i32(fieldAddress.budget);
    lessIterations(this.#budget).memory(memoryOp.i64Store);
    lessIterations(this.#remaining).emit(op.drop);
  }

  /** Pushes a register, cut to the address size (i64). */
  #emitRegister(register: number): FunctionBody {
    const { addressSize } = this.#addressing;
    const opcode = { 16: memoryOp.i64Load16U, 32: memoryOp.i64Load32U, 64: memoryOp.i64Load }[addressSize];
    return this.#body.i32(gprAddress(register)).memory(opcode);
  }
  #setRegister(register: number, emitValue: () => void): void {
    const { addressSize } = this.#addressing;
    const body = this.#body.i32(gprAddress(register));
    emitValue();
    if (addressSize === 16) body.emit(op.i32WrapI64).memory(memoryOp.i32Store16);
    else if (addressSize === 32) body.i64(0xffff_ffffn).emit(op.i64And).memory(memoryOp.i64Store);
    else body.memory(memoryOp.i64Store);
  }
}

/** The destination string is always at ES:[RDI]; the source, at RSI, may have another segment. */
const isDestination = (address: AddressRef): boolean => address.kind === 'computed' && address.segment.kind === 'fixed';
