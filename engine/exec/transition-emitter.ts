/**
 * What the fast ring transitions are emitted from: reads of the CPU state, looks into tables and stacks through the fast
 * TLB, descriptors, flags, and the commits. All for 64-bit mode, which they neither enter nor leave.
 *
 * Until a transition is sure to complete it has changed nothing: `unless` and `when` leave its block for the slow way, the
 * TypeScript function, which decides about faults and everything that is rare.
 */
import {
  EMPTY_FAST_TLB_ADDRESS,
  FAST_TLB_ADDRESS,
  FAST_TLB_SET_BYTES,
  FAST_TLB_SETS_OF_WORLD,
  PAGE_BYTES,
  WATCHED,
} from '../cpu/memory-map.ts';
import { ACCESS, CR0, CR4, RFLAGS } from '../cpu/register-bits.ts';
import { type CS, DS, ES, FS, GS, SS } from '../cpu/state.ts';
import { type FieldName, fieldAddress, gprAddress, segmentAddress, segmentLayout } from '../cpu/state-layout.ts';
import { FastSet } from '../mmu/fast-tlb.ts';
import { FunctionBody, I32, I64, memoryOp, op } from '../wasm/encoder.ts';
import { SharedFunction } from './shared-functions.ts';
import { emitWatched } from './watched-emitter.ts';

/** Emits code that pushes a value. */
export type Push = () => void;

export const RSP = 4;
/** Offsets of the tags in an entry of the fast TLB. */
export const FOR_READING = 0;
export const FOR_WRITING = 8;

/** The halves of a descriptor: locals. */
export interface DescriptorLocals {
  readonly low: number;
  readonly high: number;
}

/** A frame on a stack: where it would begin if all of it were on its first or its last page, and its bytes on the first. */
export interface Frame {
  readonly first: number;
  readonly last: number;
  readonly left: number;
}
type Tag = typeof FOR_READING | typeof FOR_WRITING;

const DESCRIPTOR_BYTES = 8;
/** Access rights of a descriptor in its upper half. */
const inUpperHalf = (attributes: number): number => attributes << 8;
const LONG_CODE = ACCESS.P | ACCESS.S | ACCESS.CODE | ACCESS.ACCESSED | ACCESS.L;
const STACK_DATA = ACCESS.P | ACCESS.S | ACCESS.WRITABLE | ACCESS.ACCESSED;

export class TransitionEmitter {
  readonly f: FunctionBody;
  /** Local: the set of the fast TLB for supervisor accesses. */
  readonly supervisor: number;
  /** Depth of `either` inside the block that leads to the slow way. */
  #depth = 0;

  constructor(parameters: number) {
    this.f = new FunctionBody(parameters);
    this.supervisor = this.f.local(I32);
  }

  // ---- conditions --------------------------------------------------------------------------------------------------

  unless(condition: Push): void {
    condition();
    this.f.emit(op.i32Eqz).branchIf(this.#depth);
  }
  when(condition: Push): void {
    condition();
    this.f.branchIf(this.#depth);
  }
  either(condition: Push, then: () => void, otherwise: () => void = () => {}): void {
    condition();
    this.f.if();
    this.#depth++;
    then();
    this.f.else();
    otherwise();
    this.#depth--;
    this.f.end();
  }

  /** Goes on only if nobody wants to know of ring changes, or `isChanged` pushes 0: the ring stays what it is. */
  unlessToldOfRing(isChanged: Push): void {
    this.when(() => {
      emitWatched(this.f, WATCHED.ringChanges).i32(0);
      isChanged();
      this.f.emit(op.select);
    });
  }

  /** Nobody watches, and the boundary after the transition is an ordinary one. Sets the supervisor's set. */
  begin(): void {
    const { f } = this;
    this.when(() => emitWatched(f, WATCHED.debugRegisters | WATCHED.instructions));
    this.when(() => {
      this.field('interruptibility');
      this.field('pendingDebug');
      this.flagsOther(RFLAGS.TF | RFLAGS.VM);
      f.emit(op.i32Or, op.i32Or);
      // A guest of AMD-V may have INT n, IRET and exceptions intercepted.
      this.field('svmGuest').emit(op.i32Or);
    });
    this.field('nonRoot')
      .i32(FAST_TLB_SETS_OF_WORLD * FAST_TLB_SET_BYTES)
      .emit(op.i32Mul);
    f.i32(FAST_TLB_ADDRESS).emit(op.i32Add).set(this.supervisor);
  }

  /** Goes on only with a canonical address. */
  canonical(address: number): void {
    const { f } = this;
    this.unless(() => f.get(address).i64(16n).emit(op.i64Shl).i64(16n).emit(op.i64ShrS).get(address).emit(op.i64Eq));
  }

  // ---- state -------------------------------------------------------------------------------------------------------

  field(name: FieldName): FunctionBody {
    return this.f.i32(fieldAddress[name]).memory(memoryOp.i32Load);
  }
  field64(name: FieldName): FunctionBody {
    return this.f.i32(fieldAddress[name]).memory(memoryOp.i64Load);
  }
  setField(name: FieldName, value: Push): void {
    this.f.i32(fieldAddress[name]);
    value();
    this.f.memory(memoryOp.i32Store);
  }
  setField64(name: FieldName, value: Push): void {
    this.f.i32(fieldAddress[name]);
    value();
    this.f.memory(memoryOp.i64Store);
  }
  flagsOther(mask: number): FunctionBody {
    return this.field('flagsOther').i32(mask).emit(op.i32And);
  }
  gpr(index: number): FunctionBody {
    return this.f.i32(gprAddress(index)).memory(memoryOp.i64Load);
  }
  setGpr(index: number, value: Push): void {
    this.f.i32(gprAddress(index));
    value();
    this.f.memory(memoryOp.i64Store);
  }
  segment(index: number, part: keyof typeof segmentLayout): FunctionBody {
    return this.f.i32(segmentAddress(index)).memory(memoryOp.i32Load, segmentLayout[part]);
  }
  setSegment(index: number, part: 'selector' | 'limit' | 'attributes', value: Push): void {
    this.f.i32(segmentAddress(index));
    value();
    this.f.memory(memoryOp.i32Store, segmentLayout[part]);
  }
  setSegmentBase(index: number, value: Push): void {
    this.f.i32(segmentAddress(index));
    value();
    this.f.memory(memoryOp.i64Store, segmentLayout.base);
  }

  // ---- memory ------------------------------------------------------------------------------------------------------

  /** Leaves in a local where the 8 or 16 bytes from a linear address lie; goes on only if the fast TLB has the page. */
  #host(linear: Push, bytes: number, set: Push, tag: Tag): number {
    const { f } = this;
    const host = f.local(I32);
    this.unless(() => {
      linear();
      set();
      f.i32(tag).i32(bytes).call(SharedFunction.hostAddress).tee(host);
    });
    return host;
  }

  /** The same for an entry of a table of the system. */
  tableEntry(linear: Push, bytes: number): number {
    return this.#host(linear, bytes, () => this.f.get(this.supervisor), FOR_READING);
  }

  /**
   * Where a frame of 8-byte slots lies on a stack, from its linear address and length (locals). It may begin on one page
   * and end on the next.
   */
  frame(start: number, length: number, set: Push, tag: Tag): Frame {
    const { f } = this;
    this.when(() => f.get(start).i64(7n).emit(op.i64And).i64(0n).emit(op.i64Ne));
    const first = this.#host(() => f.get(start), 8, set, tag);
    const end = () => f.get(start).get(length).i32(8).emit(op.i32Sub, op.i64ExtendI32U, op.i64Add);
    const last = this.#host(end, 8, set, tag);
    f.get(last).get(length).i32(8).emit(op.i32Sub, op.i32Sub).set(last);
    const left = f.local(I32);
    f.i32(PAGE_BYTES)
      .get(start)
      .emit(op.i32WrapI64)
      .i32(PAGE_BYTES - 1)
      .emit(op.i32And, op.i32Sub)
      .set(left);
    return { first, last, left };
  }

  /** Pushes the wasm address of the slot at an offset in a frame. */
  slot({ first, last, left }: Frame, offset: Push): void {
    const { f } = this;
    f.get(first).get(last).get(left);
    offset();
    f.emit(op.i32GtU, op.select);
    offset();
    f.emit(op.i32Add);
  }

  /** Reads the GDT's descriptor of a selector (local), which may be neither null nor one of the LDT's. */
  descriptor(selector: number): DescriptorLocals {
    const { f } = this;
    this.when(() => f.get(selector).i32(0xfffc).emit(op.i32And, op.i32Eqz));
    this.when(() => f.get(selector).i32(4).emit(op.i32And));
    const offset = () => f.get(selector).i32(0xfff8).emit(op.i32And);
    this.when(() => {
      offset();
      f.i32(DESCRIPTOR_BYTES - 1).emit(op.i32Add);
      this.field('gdtrLimit').emit(op.i32GtU);
    });
    const address = () => {
      this.field64('gdtrBase');
      offset();
      f.emit(op.i64ExtendI32U, op.i64Add);
    };
    const host = this.tableEntry(address, DESCRIPTOR_BYTES);
    const [low, high] = [f.local(I32), f.local(I32)];
    f.get(host).memory(memoryOp.i32Load).set(low);
    f.get(host).memory(memoryOp.i32Load, 4).set(high);
    return { low, high };
  }

  /** Goes on only with a present, accessed, nonconforming 64-bit code segment. */
  isLongCode(d: DescriptorLocals): void {
    this.#hasRights(d, LONG_CODE, LONG_CODE | ACCESS.CONFORMING | ACCESS.DB);
  }
  /** Goes on only with a present, accessed, writable data segment. */
  isStackData(d: DescriptorLocals): void {
    this.#hasRights(d, STACK_DATA, STACK_DATA | ACCESS.CODE);
  }
  #hasRights({ high }: DescriptorLocals, value: number, mask: number): void {
    const { f } = this;
    this.unless(() => f.get(high).i32(inUpperHalf(mask)).emit(op.i32And).i32(inUpperHalf(value)).emit(op.i32Eq));
  }
  dpl({ high }: DescriptorLocals): FunctionBody {
    return this.f.get(high).i32(13).emit(op.i32ShrU).i32(3).emit(op.i32And);
  }

  // ---- flags -------------------------------------------------------------------------------------------------------

  /** RFLAGS, from its lazy form (cpu/flags.ts). */
  flags(): FunctionBody {
    const { f } = this;
    const auxiliary = f.local(I64);
    const low = f.local(I32);
    this.field64('flagsAux').tee(auxiliary).emit(op.i32WrapI64).set(low);
    const bit = (place: number, from: bigint) =>
      f.get(auxiliary).i64(from).emit(op.i64ShrU, op.i32WrapI64).i32(1).emit(op.i32And).i32(place).emit(op.i32Shl);
    this.field('flagsOther');
    bit(0, 63n).emit(op.i32Or);
    // OF is CF XOR bit 62.
    bit(11, 63n);
    bit(11, 62n).emit(op.i32Xor, op.i32Or);
    bit(4, 3n).emit(op.i32Or);
    this.field('flagsResult').get(low).i32(8).emit(op.i32ShrU, op.i32Xor).i32(0xff).emit(op.i32And, op.i32Popcnt);
    f.i32(1).emit(op.i32And).i32(1).emit(op.i32Xor).i32(2).emit(op.i32Shl, op.i32Or);
    this.field64('flagsResult').emit(op.i64Eqz).i32(6).emit(op.i32Shl, op.i32Or);
    this.field64('flagsResult').i64(63n).emit(op.i64ShrU, op.i32WrapI64).get(low).i32(1).emit(op.i32And, op.i32Xor);
    f.i32(7).emit(op.i32Shl, op.i32Or);
    f.release(I64, auxiliary);
    f.release(I32, low);
    return f;
  }

  /** Stores CF, PF, AF, ZF, SF and OF of a local in their lazy form. */
  setStatusFlags(flags: number): void {
    const { f } = this;
    const bit = (from: number) => f.get(flags).i32(from).emit(op.i32ShrU).i32(1).emit(op.i32And);
    const result = () => bit(6).i32(1).emit(op.i32Xor);
    this.setField64('flagsResult', () => result().emit(op.i64ExtendI32U));
    this.setField64('flagsAux', () => {
      bit(7);
      bit(4).i32(3).emit(op.i32Shl, op.i32Or);
      // The low byte of the result has one bit or none; this one makes its parity PF.
      result();
      bit(2).i32(1).emit(op.i32Xor, op.i32Xor).i32(8).emit(op.i32Shl, op.i32Or, op.i64ExtendI32U);
      bit(0).i32(31).emit(op.i32Shl);
      bit(0);
      bit(11).emit(op.i32Xor).i32(30).emit(op.i32Shl, op.i32Or, op.i64ExtendI32U).i64(32n).emit(op.i64Shl, op.i64Or);
    });
  }

  // ---- commits -----------------------------------------------------------------------------------------------------

  /** Loads a segment register. In 64-bit mode its fast limits do not change. */
  commitSegment(index: number, selector: Push, { low, high }: DescriptorLocals): void {
    const { f } = this;
    this.setSegment(index, 'selector', selector);
    this.setSegmentBase(index, () => {
      f.get(low).i32(16).emit(op.i32ShrU).get(high).i32(0xff).emit(op.i32And).i32(16).emit(op.i32Shl, op.i32Or);
      f.get(high).i32(0xff00_0000).emit(op.i32And, op.i32Or, op.i64ExtendI32U);
    });
    this.setSegment(index, 'limit', () => {
      const raw = f.local(I32);
      f.get(low).i32(0xffff).emit(op.i32And).get(high).i32(0xf_0000).emit(op.i32And, op.i32Or).tee(raw);
      f.i32(12).emit(op.i32Shl).i32(0xfff).emit(op.i32Or).get(raw);
      f.get(high).i32(inUpperHalf(ACCESS.G)).emit(op.i32And, op.select);
      f.release(I32, raw);
    });
    this.setSegment(index, 'attributes', () => f.get(high).i32(8).emit(op.i32ShrU).i32(0xf0ff).emit(op.i32And));
  }

  /** Loads a null selector. */
  commitNull(index: number, selector: Push, attributes: Push): void {
    this.setSegment(index, 'selector', selector);
    this.setSegmentBase(index, () => this.f.i64(0n));
    this.setSegment(index, 'limit', () => this.f.i32(0));
    this.setSegment(index, 'attributes', attributes);
  }
  /** SS with a null selector keeps the CPL (local) in its DPL. */
  commitNullStack(selector: Push, cpl: number): void {
    const attributes = () => this.f.get(cpl).i32(5).emit(op.i32Shl).i32(ACCESS.UNUSABLE).emit(op.i32Or);
    this.commitNull(SS, selector, attributes);
  }

  /** Loads CS or SS as SYSCALL and SYSRET do, without reading a descriptor. */
  commitFlat(index: typeof CS | typeof SS, selector: Push, attributes: number): void {
    this.setSegment(index, 'selector', selector);
    this.setSegmentBase(index, () => this.f.i64(0n));
    this.setSegment(index, 'limit', () => this.f.i32(0xffff_ffff));
    this.setSegment(index, 'attributes', () => this.f.i32(attributes));
  }

  /** Data segments that the CPL (local) returned to may not use become null. */
  dropInnerSegments(cpl: number): void {
    const { f } = this;
    const conforming = ACCESS.CODE | ACCESS.CONFORMING;
    for (const index of [ES, DS, FS, GS]) {
      this.segment(index, 'attributes').i32(ACCESS.UNUSABLE).emit(op.i32And, op.i32Eqz);
      this.segment(index, 'attributes').i32(conforming).emit(op.i32And).i32(conforming).emit(op.i32Ne, op.i32And);
      this.segment(index, 'attributes').i32(5).emit(op.i32ShrU).i32(3).emit(op.i32And).get(cpl);
      f.emit(op.i32LtU, op.i32And).if();
      this.commitNull(
        index,
        () => f.i32(0),
        () => f.i32(ACCESS.UNUSABLE),
      );
      f.end();
    }
  }

  /** The CPL, and what depends on it and on the flags (locals): the set of the fast TLB, the key of the jump cache. */
  commitPrivilege(cpl: number, flags: number): void {
    const { f } = this;
    this.setField('flagsOther', () => f.get(flags));
    this.setField('cpl', () => f.get(cpl));
    this.setField('jumpKey', () => this.field('jumpKey').i32(~3).emit(op.i32And).get(cpl).emit(op.i32Or));
    this.setField('tlbBase', () => {
      f.get(this.supervisor).i32(FAST_TLB_SET_BYTES * FastSet.User);
      f.i32(FAST_TLB_SET_BYTES * FastSet.SupervisorAc).i32(FAST_TLB_SET_BYTES * FastSet.Supervisor);
      this.field('cr4').i32(CR4.SMAP).emit(op.i32And, op.i32Eqz, op.i32Eqz);
      f.get(flags).i32(RFLAGS.AC).emit(op.i32And, op.i32Eqz, op.i32Eqz, op.i32And, op.select);
      f.get(cpl).i32(3).emit(op.i32Eq, op.select, op.i32Add);
      // Unless accesses are checked for alignment.
      f.i32(EMPTY_FAST_TLB_ADDRESS).get(flags).i32(RFLAGS.AC).emit(op.i32And, op.i32Eqz);
      f.get(cpl).i32(3).emit(op.i32Ne, op.i32Or);
      this.field('cr0').i32(CR0.AM).emit(op.i32And, op.i32Eqz, op.i32Or, op.select);
    });
  }
}
