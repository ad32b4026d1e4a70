/**
 * An Operation is what one instruction form does: the result of running its semantics once over symbolic operands.
 * Its parts are carried out in the order of the fields below, which is what keeps a fault from leaving the state
 * half-written: all reads and checks, then memory stores, then register commits and flags, then the transfer.
 */
import type { Expr } from '../expr/expr.ts';
import type { Operand, OperandWidth, VectorFile } from './operand.ts';

export type StatusFlag = 'CF' | 'PF' | 'AF' | 'ZF' | 'SF' | 'OF';
export const statusFlags: readonly StatusFlag[] = ['CF', 'PF', 'AF', 'ZF', 'SF', 'OF'];

/** Half of a vector register: 0 is the XMM register, 1 what the YMM register has above it. */
export type Half = 0 | 1;

/** Fields of the CPU state that instructions read and write, all of 32 bits. */
export type StateField = 'mxcsr' | 'cr4' | 'fsw' | 'ftw';

/**
 * A register named by an operand (a half of it if it is a vector), one that the instruction implies (by its number,
 * 0 = RAX, XMM0), or a control register of vector instructions. Of vectors any low part is read, the whole half is written.
 */
export type RegisterRef =
  | {
      readonly kind: 'operand';
      readonly position: number;
      readonly width: OperandWidth;
      readonly file?: VectorFile | undefined;
      readonly half?: Half;
    }
  | { readonly kind: 'gpr'; readonly number: number; readonly high: boolean; readonly width: OperandWidth }
  | { readonly kind: 'vector'; readonly number: number; readonly half: Half; readonly width: OperandWidth }
  | { readonly kind: 'state'; readonly field: StateField; readonly width: 32 };

/** Segment of an access: that of the instruction's memory operand (override applied), or a fixed one (0 = ES …). */
export type SegmentRef = { readonly kind: 'operand' } | { readonly kind: 'fixed'; readonly index: number };

/**
 * An address: a memory operand, moved by `plus` if given; or a segment and an offset already cut to address size. Where an
 * operand is accessed in parts, its first one faults for all `extentBytes` if these are not all in the segment, or canonical.
 */
export type AddressRef =
  | { readonly kind: 'operand'; readonly position: number; readonly plus?: Expr<64>; readonly extentBytes?: number }
  | { readonly kind: 'computed'; readonly segment: SegmentRef; readonly offset: Expr<64> };

/** Where a temp's value comes from. */
export type TempSource =
  | { readonly kind: 'register'; readonly register: RegisterRef }
  | { readonly kind: 'immediate'; readonly position: number }
  | { readonly kind: 'flag'; readonly flag: StatusFlag }
  /** The bits of RFLAGS other than the status flags, 32 bits. */
  | { readonly kind: 'other-flags' }
  | { readonly kind: 'load'; readonly statement: LoadStatement }
  /** Effective address of a memory operand, before its segment base, cut to the address size. */
  | { readonly kind: 'effective-address'; readonly position: number }
  /** RIP of the following instruction. */
  | { readonly kind: 'next-ip' };

export interface Temp {
  readonly source: TempSource;
  readonly width: Expr['width'];
}

export interface LoadStatement {
  readonly kind: 'load';
  readonly address: AddressRef;
  readonly width: OperandWidth;
  /** The instruction also writes here: the read must already fault as the write would. */
  readonly forWrite: boolean;
  /** #GP(0) unless the linear address is a multiple of so many bytes. */
  readonly alignment?: Alignment | undefined;
}
export type Alignment = 16 | 32;

/** Faults as a write there would: where of several stores none may be made unless all can be. */
export interface ProbeStatement {
  readonly kind: 'probe';
  readonly address: AddressRef;
  readonly width: OperandWidth;
  readonly alignment?: Alignment | undefined;
}

/** A field that is set. */
export interface StateChange {
  readonly field: Exclude<StateField, 'cr4'>;
  readonly value: Expr<32>;
}

/** Raises the exception if the condition holds. */
export interface RaiseStatement {
  readonly kind: 'raise';
  readonly condition: Expr<1>;
  readonly vector: number;
  readonly errorCode: number | undefined;
  /** What the exception leaves changed all the same: a SIMD floating-point exception has set flags in MXCSR. */
  readonly leaves?: readonly StateChange[] | undefined;
  /** If this holds, another exception is raised instead. */
  readonly instead?: { readonly condition: Expr<1>; readonly vector: number } | undefined;
}

export interface StoreStatement {
  readonly kind: 'store';
  readonly address: AddressRef;
  readonly width: OperandWidth;
  readonly value: Expr;
  readonly alignment?: Alignment | undefined;
}

export type ReadStatement = LoadStatement | RaiseStatement | ProbeStatement;

export interface Commit {
  readonly register: RegisterRef;
  readonly value: Expr;
}

/** A flag the manual leaves undefined; `value` is what Ringside gives it (what silicon is seen to give, where known). */
export interface UndefinedFlag {
  readonly undefined: true;
  readonly value: Expr<1> | 'unchanged';
}
export type FlagValue = Expr<1> | UndefinedFlag;
export type FlagValues = { readonly [F in StatusFlag]?: FlagValue };

/** Flags of an addition or subtraction: all six follow from the result and the vector of carries (or borrows). */
export interface ArithmeticFlags {
  readonly result: Expr;
  readonly carries: Expr;
}

export interface FlagsCommit {
  /** Flags change only if this holds (shifts by zero). */
  readonly condition: Expr<1> | undefined;
  readonly values: FlagValues;
  /** Present if the values are exactly those of an addition or subtraction: the lazy form. */
  readonly arithmetic: ArithmeticFlags | undefined;
  /** Present if the values are some or all of those of an addition or subtraction: for the printer. */
  readonly partOf?: ArithmeticFlags;
}

export type Transfer =
  /**
   * To the branch operand's target, if the condition (default: always) holds. As for an indirect one: #GP(0), after the
   * reads, if the target is not canonical (64-bit code) or beyond the limit of CS.
   */
  | { readonly kind: 'direct'; readonly condition: Expr<1> | undefined }
  | { readonly kind: 'indirect'; readonly target: Expr<64> }
  /** The instruction is executed again if the condition holds (one iteration of a REP). */
  | { readonly kind: 'repeat'; readonly condition: Expr<1> };

export interface Operation {
  readonly name: string;
  readonly operands: readonly Operand[];
  /** If given and false, the instruction does nothing but go on to the next one (REP with a count of zero). */
  readonly guard: Expr<1> | undefined;
  readonly reads: readonly ReadStatement[];
  readonly stores: readonly StoreStatement[];
  /** All at once. Where two name the same register, the first one's value stays (POP RSP, XCHG EAX, EAX). */
  readonly commits: readonly Commit[];
  readonly flags: FlagsCommit | undefined;
  /** New value of DF, by CLD and STD. */
  readonly directionFlag: Expr<1> | undefined;
  readonly transfer: Transfer | undefined;
}
