/**
 * The oracle: carries out an Operation on a plain machine of bigints, by the definition of each part and nothing else.
 * It is the yardstick of the interpreter and the compiler in tests, and is itself held against vectors from a real CPU.
 */

import { evaluate } from '../expr/evaluate.ts';
import type { Expr } from '../expr/expr.ts';
import type { DecodedInstruction } from './decode.ts';
import { isSignExtended, linearAddressOf } from './linear-address.ts';
import type { VectorFile } from './operand.ts';
import type {
  AddressRef,
  Alignment,
  FlagsCommit,
  LoadStatement,
  Operation,
  ProbeStatement,
  RaiseStatement,
  ReadStatement,
  RegisterRef,
  StateField,
  StatusFlag,
  Temp,
} from './operation.ts';
import { statusFlags } from './operation.ts';

/** An access to `bytes` bytes at an offset in a segment (0 = ES). */
export interface OracleAccess {
  readonly segment: number;
  readonly offset: bigint;
  readonly bytes: number;
  /** Of the whole operand that begins here, if that is more. */
  readonly extentBytes?: number | undefined;
  /** A store, or the load of something that will be stored to. */
  readonly forWrite: boolean;
  /** #GP(0) unless the linear address is a multiple of so many bytes. */
  readonly alignment?: Alignment | undefined;
}

/** Registers and memory. `read` and `write` throw, usually an OracleException, if the access faults. */
export interface OracleMachine {
  /** RAX to R15, 64 bits each. */
  readonly gpr: bigint[];
  readonly extended: ExtendedState;
  rflags: number;
  rip: bigint;
  /** Limit of CS in bytes; 64-bit code has none. */
  readonly codeSegmentLimit: bigint;
  /** Whether CR4.LA57 = 1: linear addresses have 57 bits. */
  readonly fiveLevelPaging?: boolean;
  /** Value of the bytes, little-endian. */
  read(access: OracleAccess): bigint;
  write(access: OracleAccess, value: bigint): void;
  /** Throws what a write would throw. */
  probe(access: OracleAccess): void;
}

/** Vector registers and what goes with them. */
export interface ExtendedState {
  /** YMM0 to YMM15, 256 bits each. */
  readonly vectors: bigint[];
  /** R0 to R7 of the x87 FPU, 80 bits each; the MM registers are their significands. */
  readonly x87: bigint[];
  mxcsr: number;
  /** Only read: whether #XM can be raised. */
  readonly cr4: number;
  /** x87 FPU status word, and tag word as FXSAVE has it. */
  fsw: number;
  ftw: number;
}

/** An exception that the guest would get. */
export class OracleException extends Error {
  readonly vector: number;
  readonly errorCode: number | undefined;

  constructor(vector: number, errorCode?: number) {
    super(`exception ${vector}${errorCode === undefined ? '' : `, error code ${errorCode}`}`);
    this.vector = vector;
    this.errorCode = errorCode;
  }
}

const flagBits: Readonly<Record<StatusFlag, number>> = { CF: 0, PF: 2, AF: 4, ZF: 6, SF: 7, OF: 11 };
const STATUS_FLAGS = statusFlags.reduce((mask, flag) => mask | (1 << flagBits[flag]), 0);
const DIRECTION_FLAG = 0x400;
const GENERAL_PROTECTION = 13;

/**
 * One execution of the instruction (of a REP: one iteration). Afterwards `rip` is that of the next instruction to
 * execute. Throws OracleException, and what the machine's memory throws, with registers and flags as before.
 */
export function runOracle(operation: Operation, instruction: DecodedInstruction, machine: OracleMachine): void {
  new Execution(operation, instruction, machine).run();
}

class Execution {
  readonly #operation: Operation;
  readonly #instruction: DecodedInstruction;
  readonly #machine: OracleMachine;
  readonly #loads = new Map<LoadStatement, bigint>();
  readonly #memo = new Map<Expr, bigint>();

  constructor(operation: Operation, instruction: DecodedInstruction, machine: OracleMachine) {
    this.#operation = operation;
    this.#instruction = instruction;
    this.#machine = machine;
  }

  run(): void {
    const { guard, reads, stores, commits, flags, directionFlag } = this.#operation;
    const machine = this.#machine;
    if (guard && !this.#value(guard)) {
      machine.rip = this.#nextIp();
      return;
    }
    for (const statement of reads) this.#read(statement);
    const values = commits.map(({ register, value }) => ({ register, value: this.#value(value) }));
    const rflags = this.#newFlags(flags, directionFlag);
    const rip = this.#transfer();
    for (const store of stores) {
      machine.write(this.#access({ ...store, forWrite: true }), this.#value(store.value));
    }
    for (const { register, value } of values.reverse()) this.#setRegister(register, value);
    machine.rflags = rflags;
    machine.rip = rip;
  }

  #read(statement: ReadStatement): void {
    const machine = this.#machine;
    if (statement.kind === 'load') this.#loads.set(statement, machine.read(this.#access(statement)));
    else if (statement.kind === 'probe') this.#probe(statement);
    else if (this.#value(statement.condition)) this.#raise(statement);
  }

  #probe(place: Pick<ProbeStatement, 'address' | 'width' | 'alignment'>): void {
    this.#machine.probe(this.#access({ ...place, forWrite: true }));
  }

  #raise({ vector, errorCode, leaves = [], instead }: RaiseStatement): never {
    const changes = leaves.map(({ field, value }) => ({ field, value: this.#value(value) }));
    for (const { field, value } of changes) this.#setState(field, value);
    throw new OracleException(instead && this.#value(instead.condition) ? instead.vector : vector, errorCode);
  }

  #value(expr: Expr): bigint {
    return evaluate(expr, (temp) => this.#temp(temp as Temp), this.#memo);
  }

  #temp({ source, width }: Temp): bigint {
    switch (source.kind) {
      case 'register':
        return BigInt.asUintN(width, this.#register(source.register));
      case 'immediate':
        return this.#instruction.operands[source.position]?.value ?? 0n;
      case 'flag':
        return BigInt((this.#machine.rflags >> flagBits[source.flag]) & 1);
      case 'other-flags':
        return BigInt(this.#machine.rflags & ~STATUS_FLAGS);
      case 'effective-address':
        return this.#effectiveAddress(0n);
      case 'next-ip':
        return this.#nextIp();
      case 'load': {
        const value = this.#loads.get(source.statement);
        if (value === undefined) throw new Error(`${this.#operation.name}: a load is used before it is done`);
        return value;
      }
    }
  }

  // ---- registers ---------------------------------------------------------------------------------------------------

  #place(register: RegisterRef & { kind: 'gpr' | 'operand' | 'vector' }): { number: number; high: boolean } {
    if (register.kind === 'gpr') return register;
    if (register.kind === 'vector') return { number: register.number, high: false };
    const named = this.#instruction.operands[register.position]?.register;
    if (!named) throw new Error(`${this.#operation.name}: operand ${register.position} is not a register`);
    return named;
  }

  #gpr(number: number): bigint {
    return this.#machine.gpr[number] ?? 0n;
  }

  #register(register: RegisterRef): bigint {
    const { extended } = this.#machine;
    if (register.kind === 'state') return BigInt(extended[register.field]);
    const { number, high } = this.#place(register);
    const file = fileOf(register);
    if (file === 'mmx') return extended.x87[number] ?? 0n;
    if (file === 'vector') return (extended.vectors[number] ?? 0n) >> halfShift(register);
    return this.#gpr(number) >> (high ? 8n : 0n);
  }

  #setRegister(register: RegisterRef, value: bigint): void {
    const { extended } = this.#machine;
    if (register.kind === 'state') return this.#setState(register.field, value);
    const { number, high } = this.#place(register);
    const file = fileOf(register);
    if (file === 'mmx') {
      extended.x87[number] = BigInt.asUintN(80, value);
      return;
    }
    if (file === 'vector') {
      const at = halfShift(register);
      extended.vectors[number] = ((extended.vectors[number] ?? 0n) & ~(HALF_MASK << at)) | (value << at);
      return;
    }
    const shift = high ? 8n : 0n;
    // A 32-bit result replaces all 64 bits (SDM volume 1, "General-Purpose Registers in 64-Bit Mode").
    const replaced = register.width === 32 ? 64 : register.width;
    const mask = ((1n << BigInt(replaced)) - 1n) << shift;
    this.#machine.gpr[number] = (this.#gpr(number) & ~mask) | (value << shift);
  }

  #setState(field: StateField, value: bigint): void {
    if (field === 'cr4') throw new Error('CR4 is only read here');
    this.#machine.extended[field] = Number(value);
  }

  // ---- addresses ---------------------------------------------------------------------------------------------------

  #nextIp(): bigint {
    const { ip, lengthBytes, codeSize } = this.#instruction;
    return BigInt.asUintN(codeSize === 64 ? 64 : 32, BigInt(ip) + BigInt(lengthBytes));
  }

  #effectiveAddress(plus: bigint): bigint {
    const { memory, addressSize } = this.#instruction;
    if (!memory) throw new Error(`${this.#operation.name}: no memory operand`);
    const { base, index, shift, displacement } = memory;
    let sum = displacement + plus;
    if (base === 'ip') sum += this.#nextIp();
    else if (base !== undefined) sum += this.#gpr(base);
    if (index !== undefined) sum += this.#gpr(index) << BigInt(shift);
    return BigInt.asUintN(addressSize, sum);
  }

  #access(statement: {
    address: AddressRef;
    width: number;
    forWrite: boolean;
    alignment?: Alignment | undefined;
  }): OracleAccess {
    const { address, width, forWrite, alignment } = statement;
    const bytes = width / 8;
    const named = this.#instruction.memory?.segment ?? 0;
    if (address.kind === 'operand') {
      const offset = this.#effectiveAddress(address.plus ? this.#value(address.plus) : 0n);
      return { segment: named, offset, bytes, forWrite, alignment, extentBytes: address.extentBytes };
    }
    const segment = address.segment.kind === 'fixed' ? address.segment.index : named;
    return { segment, offset: this.#value(address.offset), bytes, forWrite, alignment };
  }

  // ---- flags and transfer ------------------------------------------------------------------------------------------

  #newFlags(flags: FlagsCommit | undefined, directionFlag: Expr<1> | undefined): number {
    let result = this.#machine.rflags;
    if (directionFlag) result = this.#value(directionFlag) ? result | DIRECTION_FLAG : result & ~DIRECTION_FLAG;
    if (!flags || (flags.condition && !this.#value(flags.condition))) return result;
    for (const flag of statusFlags) {
      const given = flags.values[flag];
      const value = given && 'undefined' in given ? given.value : given;
      if (value === undefined || value === 'unchanged') continue;
      const bit = 1 << flagBits[flag];
      result = this.#value(value) ? result | bit : result & ~bit;
    }
    return result;
  }

  #transfer(): bigint {
    const { transfer } = this.#operation;
    switch (transfer?.kind) {
      case undefined:
        return this.#nextIp();
      case 'indirect':
        return this.#checked(this.#value(transfer.target));
      case 'repeat':
        return this.#value(transfer.condition) ? BigInt(this.#instruction.ip) : this.#nextIp();
      case 'direct':
        if (transfer.condition && !this.#value(transfer.condition)) return this.#nextIp();
        return this.#checked(this.#instruction.operands.find((operand) => operand.kind === 'near-branch')?.value ?? 0n);
    }
  }

  #checked(target: bigint): bigint {
    const isLong = this.#instruction.codeSize === 64;
    const inside = isLong
      ? isSignExtended(linearAddressOf(target), this.#machine.fiveLevelPaging ?? false)
      : target <= this.#machine.codeSegmentLimit;
    if (inside) return target;
    // In 64-bit mode, CALL checks its stack before its target.
    if (isLong) for (const store of this.#operation.stores) this.#probe(store);
    throw new OracleException(GENERAL_PROTECTION, 0);
  }
}

const HALF_BITS = 128n;
const HALF_MASK = (1n << HALF_BITS) - 1n;

function fileOf(register: RegisterRef): VectorFile | undefined {
  if (register.kind === 'operand') return register.file;
  return register.kind === 'vector' ? 'vector' : undefined;
}
const halfShift = (register: RegisterRef): bigint => ('half' in register && register.half === 1 ? HALF_BITS : 0n);
