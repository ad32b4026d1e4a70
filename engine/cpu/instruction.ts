/** How the executions hand a heavy instruction to its function: the decoded form as the system side needs it. */
import type { LinearAddress } from '../isa/linear-address.ts';
import type { Processor } from './processor.ts';

/** A memory operand; `base`, `index`, `scale` and `displacement` are as encoded, for VM-exit information. */
export interface MemoryOperand {
  readonly kind: 'memory';
  /** Index of the segment register, overrides applied. */
  readonly segment: number;
  /** Effective address, address size applied: unsigned for 16- and 32-bit addresses, signed for 64-bit ones. */
  readonly offset: LinearAddress;
  /** Bytes of the access, 0 where the instruction does not say. */
  readonly sizeBytes: number;
  /** Register numbers, undefined where there is none; 16 is RIP. */
  readonly base: number | undefined;
  readonly index: number | undefined;
  /** 0 to 3, for a factor of 1, 2, 4, 8. */
  readonly scale: number;
  readonly displacement: bigint;
}

export type DecodedOperand =
  | { readonly kind: 'register'; readonly index: number; readonly sizeBytes: number }
  | { readonly kind: 'segment'; readonly index: number }
  | { readonly kind: 'control'; readonly index: number }
  | { readonly kind: 'debug'; readonly index: number }
  | { readonly kind: 'x87'; readonly index: number }
  /** XMM or YMM, and MM. */
  | { readonly kind: 'vector' | 'mmx'; readonly index: number; readonly sizeBytes: number }
  | { readonly kind: 'immediate'; readonly value: number }
  | { readonly kind: 'far-pointer'; readonly selector: number; readonly offset: number }
  | MemoryOperand;

export interface DecodedInstruction {
  /** The decoder's number of the encoding (iced-x86 `Code`). */
  readonly code: number;
  /** The decoder's name of the mnemonic (iced-x86 `Mnemonic`), e.g. `Lgdt`. */
  readonly mnemonic: string;
  /** JMP or CALL whose operand is a far pointer, in the instruction or in memory. */
  readonly far: boolean;
  readonly lengthBytes: number;
  /** The manual's OperandSize in bits; 64 where an instruction defaults to 64 bits in 64-bit mode. */
  readonly operandSize: 16 | 32 | 64;
  readonly addressSize: 16 | 32 | 64;
  /** RIP of this instruction and of the next. */
  readonly ip: LinearAddress;
  readonly nextIp: LinearAddress;
  readonly repPrefix: 'rep' | 'repne' | undefined;
  /** Segment of the memory source of OUTS: DS or its override. */
  readonly segment: number;
  /** Of an x87 instruction: the 11 bits that FOP keeps. */
  readonly x87Opcode: number;
  readonly operandCount: number;
  /** The operand as of now: memory offsets are computed from the registers at the time of the call. */
  operand(index: number): DecodedOperand;
}

/**
 * One heavy instruction. On entry `state.rip` is the address of the instruction; the dispatcher sets it to `nextIp`
 * afterwards unless `cpu.transferred` was set. Throws `GuestFault`, `VmExit` or `Unimplemented`, or leaves a VM exit in
 * `cpu.vmExit`, before changing anything.
 */
export type SystemInstruction = (cpu: Processor, insn: DecodedInstruction) => void;
