/**
 * Which flags the manual defines after an instruction ("Flags Affected" of SDM volume 2), and which results it
 * does not define at all.
 */
import { type Instruction, MemorySizeExt, Mnemonic, OpKind, Register, RegisterExt } from 'iced-x86';
import { type Mode, STATUS_FLAGS } from '../layout.ts';
import type { MachineState } from '../read-vectors.ts';

const [CF, PF, AF, ZF, SF, OF] = [0x001, 0x004, 0x010, 0x040, 0x080, 0x800];
const AC_ID = 0x24_0000;
const IOPL = 0x3000;
const NT = 0x4000;
const IF = 0x200;

/** Undefined whatever the operands. */
const UNDEFINED: Record<string, number> = {
  And: AF,
  Or: AF,
  Xor: AF,
  Test: AF,
  Mul: SF | ZF | AF | PF,
  Imul: SF | ZF | AF | PF,
  Div: CF | OF | SF | ZF | AF | PF,
  Idiv: CF | OF | SF | ZF | AF | PF,
  Bt: OF | SF | AF | PF,
  Bts: OF | SF | AF | PF,
  Btr: OF | SF | AF | PF,
  Btc: OF | SF | AF | PF,
  Bsf: CF | OF | SF | AF | PF,
  Bsr: CF | OF | SF | AF | PF,
  Aaa: OF | SF | ZF | PF,
  Aas: OF | SF | ZF | PF,
  Aam: OF | AF | CF,
  Aad: OF | AF | CF,
  Daa: OF,
  Das: OF,
  Lzcnt: OF | SF | PF | AF,
  Tzcnt: OF | SF | PF | AF,
  Andn: AF | PF,
  Bextr: AF | SF | PF,
  Blsi: AF | PF,
  Blsmsk: AF | PF,
  Blsr: AF | PF,
  Bzhi: AF | PF,
};
const SHIFTS = new Set(['Shl', 'Sal', 'Shr', 'Sar', 'Rol', 'Ror', 'Rcl', 'Rcr', 'Shld', 'Shrd']);

/** The bits of RFLAGS to compare after `instruction` on `input`. */
export function definedFlags(mode: Mode, instruction: Instruction, input: MachineState): number {
  const mnemonic = Mnemonic[instruction.mnemonic];
  if (/^(Popf|Iret)/.test(mnemonic)) return flagsLoaded(mode, mnemonic);
  if (!SHIFTS.has(mnemonic)) return STATUS_FLAGS & ~(UNDEFINED[mnemonic] ?? 0);
  return STATUS_FLAGS & ~undefinedAfterShift(mnemonic, operandWidth(instruction, 0), shiftCount(instruction, input));
}

/** POPF and IRET load more flags; 16-bit code was recorded where IF and IOPL are protected, unlike in real-address mode. */
function flagsLoaded(mode: Mode, mnemonic: string): number {
  const wide = /[dq]$/.test(mnemonic) ? AC_ID : 0;
  return STATUS_FLAGS | NT | wide | (mode === 16 ? 0 : IF | IOPL);
}

function undefinedAfterShift(mnemonic: string, width: number, count: number): number {
  if (count === 0) return 0;
  const overflow = count === 1 ? 0 : OF;
  if (/^R(ol|or|cl|cr)$/.test(mnemonic)) return overflow;
  const carry = /^(Shl|Sal|Shr)$/.test(mnemonic) && count >= width ? CF : 0;
  return overflow | carry | AF;
}

/** SHLD and SHRD of 16-bit operands by more than 16: "If COUNT is greater than the operand size, the result is undefined." */
export function isResultUndefined(instruction: Instruction, input: MachineState): boolean {
  const isDoubleShift = /^Sh[lr]d$/.test(Mnemonic[instruction.mnemonic]);
  return isDoubleShift && shiftCount(instruction, input) > operandWidth(instruction, 0);
}

/** The count after masking: 6 bits with 64-bit operands, otherwise 5. */
function shiftCount(instruction: Instruction, input: MachineState): number {
  const last = instruction.opCount - 1;
  const raw = instruction.opKind(last) === OpKind.Immediate8 ? instruction.immediate(last) : (input.gpr[1] ?? 0n);
  return Number(raw & (operandWidth(instruction, 0) === 64 ? 63n : 31n));
}

/** Width in bits of a register or memory operand. */
export function operandWidth(instruction: Instruction, n: number): number {
  const register = instruction.opKind(n) === OpKind.Register ? instruction.opRegister(n) : Register.None;
  return 8 * (register === Register.None ? MemorySizeExt.size(instruction.memorySize) : RegisterExt.size(register));
}
