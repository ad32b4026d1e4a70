/**
 * `Semantics` is what an instruction's function is written against. It records an Operation and enforces the order
 * reads and checks → memory stores → register commits → flags, so that no fault can leave the state half-written.
 */
import { constant, Expr, ite, type Width } from '../expr/expr.ts';
import { halfAddress, halvesOf } from './halves.ts';
import { type Operand, type OperandWidth, withWidth } from './operand.ts';
import type {
  AddressRef,
  Alignment,
  ArithmeticFlags,
  Commit,
  FlagsCommit,
  FlagValues,
  Half,
  LoadStatement,
  Operation,
  ReadStatement,
  RegisterRef,
  SegmentRef,
  StateChange,
  StateField,
  StatusFlag,
  StoreStatement,
  Temp,
  TempSource,
  Transfer,
  UndefinedFlag,
} from './operation.ts';

/** Sizes that the code segment, prefixes and stack segment fix for one instruction. */
export interface InstructionSizes {
  readonly codeSize: 16 | 32 | 64;
  readonly operandSize: 16 | 32 | 64;
  readonly addressSize: 16 | 32 | 64;
  readonly stackSize: 16 | 32 | 64;
  /** Repeat prefix of a string instruction. */
  readonly repeat: 'none' | 'rep' | 'repe' | 'repne';
  /** Encoded with a VEX prefix: vector registers are zeroed beyond what is written. */
  readonly vex?: boolean;
}

/** Numbers of the general-purpose registers. */
export const RAX = 0;
export const RCX = 1;
export const RDX = 2;
export const RBX = 3;
export const RSP = 4;
export const RBP = 5;
export const RSI = 6;
export const RDI = 7;

export const segmentES: SegmentRef = { kind: 'fixed', index: 0 };
export const segmentSS: SegmentRef = { kind: 'fixed', index: 2 };
/** DS or its override. */
export const segmentOfOperand: SegmentRef = { kind: 'operand' };

export const DIVIDE_ERROR = 0;
export const BOUND_RANGE_EXCEEDED = 5;
export const GENERAL_PROTECTION = 13;

/** A flag the manual leaves undefined. Default value: cleared. */
export function undefined_(value: Expr<1> | 'unchanged' = constant(1, 0)): UndefinedFlag {
  return { undefined: true, value };
}

export class Semantics {
  readonly sizes: InstructionSizes;
  readonly #operands: readonly Operand[];
  readonly #reads: ReadStatement[] = [];
  readonly #stores: StoreStatement[] = [];
  readonly #commits: Commit[] = [];
  #earlyChanges: readonly StateChange[] = [];
  #guard: Expr<1> | undefined;
  #flags: FlagsCommit | undefined;
  #directionFlag: Expr<1> | undefined;
  #transfer: Transfer | undefined;
  readonly #leaves = new Map<string, Expr>();

  constructor(operands: readonly Operand[], sizes: InstructionSizes) {
    this.#operands = operands;
    this.sizes = sizes;
  }

  /** The instruction does nothing but go on to the next one unless this holds (REP with a count of zero). */
  guard(condition: Expr<1>): void {
    this.#guard = condition;
  }

  // ---- reads -------------------------------------------------------------------------------------------------------

  /** Value of an operand. Memory that the instruction will also write is read with `readForWrite`. */
  read<W extends OperandWidth>(operand: Operand<W>): Expr<W> {
    return this.#readOperand(operand, false);
  }
  /** Value of an operand that the instruction goes on to write: faults as the write would. */
  readForWrite<W extends OperandWidth>(operand: Operand<W>): Expr<W> {
    return this.#readOperand(operand, true);
  }
  /** An implied register's low part, by the number of the register (0 = RAX). */
  gpr<W extends OperandWidth>(number: number, width: W): Expr<W> {
    return this.#leaf({ kind: 'register', register: { kind: 'gpr', number, high: false, width } }, width);
  }
  /** AH, CH, DH or BH, by 0 to 3. */
  highByte(number: number): Expr<8> {
    return this.#leaf({ kind: 'register', register: { kind: 'gpr', number, high: true, width: 8 } }, 8);
  }
  flag(flag: StatusFlag): Expr<1> {
    return this.#leaf({ kind: 'flag', flag }, 1);
  }
  /** The bits of RFLAGS other than the six status flags. */
  otherFlags(): Expr<32> {
    return this.#leaf({ kind: 'other-flags' }, 32);
  }
  /** EFLAGS.DF. */
  directionFlag(): Expr<1> {
    return this.otherFlags().bit(10);
  }
  /** RIP of the next instruction. */
  nextIp(): Expr<64> {
    return this.#leaf({ kind: 'next-ip' }, 64);
  }
  /** Effective address (offset in its segment) of a memory operand, zero-extended from the address size. */
  effectiveAddress(operand: Operand): Expr<64> {
    return this.#leaf({ kind: 'effective-address', position: operand.position }, 64);
  }
  /** Reads memory at `segment:offset`; the offset is cut to the address size by the caller. */
  load<W extends OperandWidth>(segment: SegmentRef, offset: Expr<64>, width: W, forWrite = false): Expr<W> {
    return this.loadAt({ kind: 'computed', segment, offset }, width, forWrite);
  }
  loadAt<W extends OperandWidth>(address: AddressRef, width: W, forWrite = false, alignment?: Alignment): Expr<W> {
    this.#mustComeBefore('a load', this.#stores.length + this.#commits.length);
    const statement: LoadStatement = { kind: 'load', address, width, forWrite, alignment };
    this.#reads.push(statement);
    return this.#temp({ kind: 'load', statement }, width);
  }
  raiseIf(condition: Expr<1>, vector: number, errorCode?: number): void {
    this.#mustComeBefore('a check', this.#stores.length + this.#commits.length);
    this.#reads.push({ kind: 'raise', condition, vector, errorCode });
  }
  /** #XM, with MXCSR set to `mxcsr`; #UD if the operating system does not handle it (CR4.OSXMMEXCPT = 0). */
  raiseSimdExceptionIf(condition: Expr<1>, mxcsr: Expr<32>): void {
    this.#mustComeBefore('a check', this.#stores.length + this.#commits.length);
    const instead = { condition: this.state('cr4').bit(OSXMMEXCPT_BIT).not(), vector: UNDEFINED_OPCODE };
    const leaves = [...this.#earlyChanges, { field: 'mxcsr', value: mxcsr } as const];
    this.#reads.push({ kind: 'raise', condition, vector: SIMD_EXCEPTION, errorCode: undefined, leaves, instead });
  }
  /** Changes that have come about when a SIMD floating-point exception is raised; the instruction makes them at its end. */
  changeEarly(changes: readonly StateChange[]): void {
    this.#earlyChanges = changes;
  }

  // ---- vectors -----------------------------------------------------------------------------------------------------

  /** The halves of a vector operand, one or two. Memory faults unless it is aligned as asked. */
  readHalves(operand: Operand, alignment?: Alignment): Expr<128>[] {
    return halvesOf(operand).map((half) => this.readHalf(operand, half, alignment));
  }
  readHalf(operand: Operand, half: Half, alignment?: Alignment): Expr<128> {
    const { position, file } = operand;
    if (operand.kind === 'memory')
      return this.loadAt(halfAddress(operand, half), 128, false, half ? undefined : alignment);
    return this.#leaf({ kind: 'register', register: { kind: 'operand', position, width: 128, file, half } }, 128);
  }
  /** Half of a vector register that the instruction implies. */
  vectorRegister(number: number, half: Half = 0): Expr<128> {
    return this.#leaf({ kind: 'register', register: { kind: 'vector', number, half, width: 128 } }, 128);
  }
  state(field: StateField): Expr<32> {
    return this.#leaf({ kind: 'register', register: { kind: 'state', field, width: 32 } }, 32);
  }

  /**
   * Sets a vector operand, in as many halves as it has. With VEX, the upper half of a register of which only the lower one
   * is given is zeroed. Memory is stored to as a whole or not at all.
   */
  writeHalves(operand: Operand, values: readonly Expr<128>[], alignment?: Alignment): void {
    if (operand.kind === 'memory') return this.#storeHalves(operand, values, alignment);
    const { position, file } = operand;
    const all = this.sizes.vex && file === 'vector' ? [...values, ...ZERO_HALVES].slice(0, 2) : values;
    for (const [half, value] of all.entries()) {
      this.#commit({ kind: 'operand', position, width: 128, file, half: half as Half }, value);
    }
  }
  #storeHalves(operand: Operand, values: readonly Expr<128>[], alignment: Alignment | undefined): void {
    if (values.length > 1) {
      for (const half of halvesOf(operand)) this.#probe(halfAddress(operand, half), half ? undefined : alignment);
    }
    for (const [half, value] of values.entries()) {
      const address = halfAddress(operand, half as Half);
      this.#stores.push({ kind: 'store', address, width: 128, value, alignment: half ? undefined : alignment });
    }
  }
  #probe(address: AddressRef, alignment: Alignment | undefined): void {
    this.#mustComeBefore('a check', this.#stores.length + this.#commits.length);
    this.#reads.push({ kind: 'probe', address, width: 128, alignment });
  }
  setVectorRegister(number: number, value: Expr<128>, half: Half = 0): void {
    this.#commit({ kind: 'vector', number, half, width: 128 }, value);
  }
  setState(field: StateChange['field'], value: Expr<32>): void {
    this.#commit({ kind: 'state', field, width: 32 }, value);
  }

  // ---- writes ------------------------------------------------------------------------------------------------------

  /** Sets an operand. A 32-bit register write zeroes the upper half; narrower ones leave the rest. */
  write<W extends OperandWidth>(operand: Operand<W>, value: Expr<W>): void {
    if (operand.kind === 'memory') this.storeAt({ kind: 'operand', position: operand.position }, value);
    else {
      const { position, width, file } = operand;
      this.#commit({ kind: 'operand', position, width, file }, value);
    }
  }
  /** Sets an operand whose value was `old` if the condition holds: else even the upper half of a 32-bit register stays. */
  writeIf<W extends OperandWidth>(condition: Expr<1>, operand: Operand<W>, value: Expr<W>, old: Expr<W>): void {
    if (operand.kind === 'memory' || operand.width !== 32) return this.write(operand, ite(condition, value, old));
    const whole = withWidth(operand, 64);
    this.write(whole, ite(condition, value.zeroExtend(64), this.read(whole)));
  }
  setGpr<W extends OperandWidth>(number: number, value: Expr<W>): void {
    this.#commit({ kind: 'gpr', number, high: false, width: value.width }, value);
  }
  /** Sets an implied register only if the condition holds: else even the upper half of a 32-bit one stays. */
  setGprIf<W extends OperandWidth>(condition: Expr<1>, number: number, value: Expr<W>): void {
    if (value.width === 32) this.setGpr(number, ite(condition, value.zeroExtend(64), this.gpr(number, 64)));
    else this.setGpr(number, ite(condition, value, this.gpr(number, value.width)));
  }
  setHighByte(number: number, value: Expr<8>): void {
    this.#commit({ kind: 'gpr', number, high: true, width: 8 }, value);
  }
  store<W extends OperandWidth>(segment: SegmentRef, offset: Expr<64>, value: Expr<W>): void {
    this.storeAt({ kind: 'computed', segment, offset }, value);
  }
  storeAt<W extends OperandWidth>(address: AddressRef, value: Expr<W>): void {
    this.#mustComeBefore('a store', this.#commits.length);
    this.#stores.push({ kind: 'store', address, width: value.width, value });
  }
  /** Sets the flags named; the others keep their values. `condition`: only if it holds. */
  setFlags(values: FlagValues, condition?: Expr<1>): void {
    if (this.#flags) throw new Error('flags are set twice');
    this.#flags = { condition, values, arithmetic: undefined };
  }
  /** SF, ZF and PF of the result; CF and OF cleared; AF undefined (cleared). */
  setLogicFlags(result: Expr): void {
    const clear = constant(1, 0);
    const values = { CF: clear, OF: clear, AF: undefined_(), ...resultFlags(result) };
    this.#flags = { condition: undefined, values, arithmetic: { result, carries: constant(result.width, 0) } };
  }
  /** Sets all six status flags as an addition or subtraction does; except those named in `except`. */
  setArithmeticFlags(arithmetic: ArithmeticFlags, except: readonly StatusFlag[] = []): void {
    const values = arithmeticFlagValues(arithmetic);
    if (except.length === 0) {
      this.#flags = { condition: undefined, values, arithmetic, partOf: arithmetic };
      return;
    }
    const kept = Object.entries(values).filter(([flag]) => !except.includes(flag as StatusFlag));
    const some = Object.fromEntries(kept) as FlagValues;
    this.#flags = { condition: undefined, values: some, arithmetic: undefined, partOf: arithmetic };
  }
  setDirectionFlag(value: Expr<1>): void {
    this.#directionFlag = value;
  }

  // ---- control transfer --------------------------------------------------------------------------------------------

  /** Near jump to the branch operand's target, if the condition (default: always) holds. */
  branch(condition?: Expr<1>): void {
    this.#transfer = { kind: 'direct', condition };
  }
  /** Near jump to an offset in the code segment. */
  jump(target: Expr<64>): void {
    this.#transfer = { kind: 'indirect', target };
  }
  /** Executes the same instruction again if the condition holds. */
  repeat(condition: Expr<1>): void {
    this.#transfer = { kind: 'repeat', condition };
  }

  // ---- the stack ---------------------------------------------------------------------------------------------------

  /** RSP, ESP or SP, by the stack-address size, zero-extended. */
  stackPointer(): Expr<64> {
    return this.gpr(RSP, this.sizes.stackSize).zeroExtend(64);
  }
  /** Offset cut to the stack-address size. */
  stackOffset(offset: Expr<64>): Expr<64> {
    return offset.truncate(this.sizes.stackSize).zeroExtend(64);
  }
  setStackPointer(value: Expr<64>): void {
    this.setGpr(RSP, value.truncate(this.sizes.stackSize));
  }
  /** Stores below the stack pointer, each value below the one before, and moves it down. */
  push<W extends OperandWidth>(...values: Expr<W>[]): void {
    let top = this.stackPointer();
    for (const value of values) {
      top = this.stackOffset(top.sub(constant(64, value.width / 8)));
      this.store(segmentSS, top, value);
    }
    this.setStackPointer(top);
  }
  /** The value `offsetBytes` above the stack pointer. */
  stackTop<W extends OperandWidth>(width: W, offsetBytes = 0): Expr<W> {
    return this.load(segmentSS, this.stackOffset(this.stackPointer().add(constant(64, offsetBytes))), width);
  }
  /** Moves the stack pointer up. */
  discard(bytes: Expr<64>): void {
    this.setStackPointer(this.stackOffset(this.stackPointer().add(bytes)));
  }

  /** The finished operation. */
  finish(name: string): Operation {
    return {
      name,
      operands: this.#operands,
      guard: this.#guard,
      reads: this.#reads,
      stores: this.#stores,
      commits: this.#commits,
      flags: this.#flags,
      directionFlag: this.#directionFlag,
      transfer: this.#transfer,
    };
  }

  #readOperand<W extends OperandWidth>(operand: Operand<W>, forWrite: boolean): Expr<W> {
    const { position, width, file } = operand;
    switch (operand.kind) {
      case 'memory':
        return this.loadAt({ kind: 'operand', position }, width, forWrite);
      case 'immediate':
        return this.#leaf({ kind: 'immediate', position }, width);
      case 'register':
        return this.#leaf({ kind: 'register', register: { kind: 'operand', position, width, file } }, width);
    }
  }

  #commit(register: RegisterRef, value: Expr): void {
    if (register.width !== value.width)
      throw new Error(`width ${value.width} written to a ${register.width}-bit place`);
    if (isPartOfVector(register)) throw new Error(`a vector register is written with ${value.width} bits`);
    this.#commits.push({ register, value });
  }

  /** The same leaf is the same node, so that readings of the graph evaluate it once. */
  #leaf<W extends Width>(source: TempSource, width: W): Expr<W> {
    const key = `${JSON.stringify(source)}:${width}`;
    let leaf = this.#leaves.get(key);
    if (!leaf) this.#leaves.set(key, (leaf = this.#temp(source, width)));
    return leaf as Expr<W>;
  }
  #temp<W extends Width>(source: TempSource, width: W): Expr<W> {
    const temp: Temp = { source, width };
    return new Expr(width, { kind: 'temp', temp });
  }
  #mustComeBefore(what: string, already: number): void {
    if (already > 0) throw new Error(`${what} comes after a write: a fault would leave the state half-written`);
  }
}

const UNDEFINED_OPCODE = 6;
const SIMD_EXCEPTION = 19;
const OSXMMEXCPT_BIT = 10;

const ZERO_HALVES: readonly Expr<128>[] = [constant(128, 0), constant(128, 0)];

const isPartOfVector = (register: RegisterRef): boolean =>
  register.width !== 128 &&
  (register.kind === 'vector' || (register.kind === 'operand' && register.file !== undefined));

/** The carry out of every bit position of `sum` = a + b (+ carry in). */
export function additionFlags<W extends OperandWidth>(a: Expr<W>, b: Expr<W>, sum: Expr<W>): ArithmeticFlags {
  return { result: sum, carries: a.and(b).or(a.or(b).and(sum.not())) };
}

/** The borrow out of every bit position of `difference` = a - b (- borrow in). */
export function subtractionFlags<W extends OperandWidth>(a: Expr<W>, b: Expr<W>, difference: Expr<W>): ArithmeticFlags {
  return { result: difference, carries: a.not().and(b).or(a.xor(b).not().and(difference)) };
}

/** SF, ZF and PF of a result. */
export function resultFlags(result: Expr): { SF: Expr<1>; ZF: Expr<1>; PF: Expr<1> } {
  return { SF: result.msb(), ZF: result.isZero(), PF: result.parityOfLowByte() };
}

function arithmeticFlagValues({ result, carries }: ArithmeticFlags): FlagValues {
  const carry = carries.msb();
  return {
    CF: carry,
    OF: carry.xor(carries.bit(carries.width - 2)),
    AF: carries.bit(3),
    ...resultFlags(result),
  };
}

export { ite };
