/**
 * Which function is the semantics of which instruction. Keys are mnemonics as the decoder (iced-x86) spells them.
 * What is not here is either a system instruction (cpu/system-table.ts) or not implemented.
 */
import type { Operand } from './operand.ts';
import * as arithmetic from './semantics/binary-arithmetic.ts';
import * as bits from './semantics/bit-and-byte.ts';
import * as bmi from './semantics/bit-manipulation.ts';
import { type Condition, conditions } from './semantics/conditions.ts';
import * as control from './semantics/control-transfer.ts';
import * as data from './semantics/data-transfer.ts';
import * as decimal from './semantics/decimal-arithmetic.ts';
import * as flags from './semantics/flag-control.ts';
import * as logical from './semantics/logical.ts';
import { CLFLUSH, LEA, NOP } from './semantics/miscellaneous.ts';
import * as multiply from './semantics/multiply-divide.ts';
import * as shift from './semantics/shift-and-rotate.ts';
import * as stack from './semantics/stack.ts';
import * as string from './semantics/string.ts';
import type { Semantics } from './semantics-builder.ts';
import { vectorInstructions } from './vector-instructions.ts';

/** Runs once per instruction form, to record its Operation. */
export type InstructionSemantics = (m: Semantics, ...operands: Operand[]) => void;

const dataTransfer = {
  Mov: data.MOV,
  Movnti: data.MOV,
  Movzx: data.MOVZX,
  Movsx: data.MOVSX,
  Movsxd: data.MOVSX,
  Movbe: data.MOVBE,
  Xchg: data.XCHG,
  Xadd: data.XADD,
  Cmpxchg: data.CMPXCHG,
  Cmpxchg8b: data.CMPXCHG8B,
  Cmpxchg16b: data.CMPXCHG16B,
  Bswap: data.BSWAP,
  Cbw: data.CBW(8, 16),
  Cwde: data.CBW(16, 32),
  Cdqe: data.CBW(32, 64),
  Cwd: data.CWD(16),
  Cdq: data.CWD(32),
  Cqo: data.CWD(64),
  Xlatb: data.XLAT,
  Push: stack.PUSH,
  Pop: stack.POP,
  Pusha: stack.PUSHA,
  Pushad: stack.PUSHA,
  Popa: stack.POPA,
  Popad: stack.POPA,
  Enter: stack.ENTER,
  Leave: stack.LEAVE,
};

const arithmeticAndLogic = {
  Add: arithmetic.ADD,
  Adc: arithmetic.ADC,
  Sub: arithmetic.SUB,
  Sbb: arithmetic.SBB,
  Cmp: arithmetic.CMP,
  Neg: arithmetic.NEG,
  Inc: arithmetic.INC,
  Dec: arithmetic.DEC,
  Adcx: arithmetic.ADCX,
  Adox: arithmetic.ADOX,
  Mul: multiply.MUL,
  Imul: multiply.IMUL,
  Div: multiply.DIV,
  Idiv: multiply.IDIV,
  Daa: decimal.DAA,
  Das: decimal.DAS,
  Aaa: decimal.AAA,
  Aas: decimal.AAS,
  Aam: decimal.AAM,
  Aad: decimal.AAD,
  Salc: decimal.SALC,
  And: logical.AND,
  Or: logical.OR,
  Xor: logical.XOR,
  Not: logical.NOT,
  Test: logical.TEST,
};

const shiftsAndBits = {
  Shl: shift.SHL,
  Sal: shift.SHL,
  Shr: shift.SHR,
  Sar: shift.SAR,
  Rol: shift.ROL,
  Ror: shift.ROR,
  Rcl: shift.RCL,
  Rcr: shift.RCR,
  Shld: shift.SHLD,
  Shrd: shift.SHRD,
  Bt: bits.BT,
  Bts: bits.BTS,
  Btr: bits.BTR,
  Btc: bits.BTC,
  Bsf: bits.BSF,
  Bsr: bits.BSR,
  Tzcnt: bits.TZCNT,
  Lzcnt: bits.LZCNT,
  Popcnt: bits.POPCNT,
};

const bitManipulation = {
  Andn: bmi.ANDN,
  Bextr: bmi.BEXTR,
  Blsi: bmi.BLSI,
  Blsmsk: bmi.BLSMSK,
  Blsr: bmi.BLSR,
  Bzhi: bmi.BZHI,
  Mulx: bmi.MULX,
  Pdep: bmi.PDEP,
  Pext: bmi.PEXT,
  Rorx: bmi.RORX,
  Sarx: bmi.SARX,
  Shlx: bmi.SHLX,
  Shrx: bmi.SHRX,
};

const controlTransfer = {
  Jmp: control.JMP,
  Jcxz: control.JCXZ,
  Jecxz: control.JCXZ,
  Jrcxz: control.JCXZ,
  Loop: control.LOOP(),
  Loope: control.LOOP(conditions.e),
  Loopne: control.LOOP(conditions.ne),
  Call: control.CALL,
  Ret: control.RET,
  Bound: control.BOUND,
};

const flagControl = {
  Clc: flags.CLC,
  Stc: flags.STC,
  Cmc: flags.CMC,
  Cld: flags.CLD,
  Std: flags.STD,
  Lahf: flags.LAHF,
  Sahf: flags.SAHF,
};

const miscellaneous = {
  Lea: LEA,
  Clflush: CLFLUSH,
  Clflushopt: CLFLUSH,
  Clwb: CLFLUSH,
  Nop: NOP,
  Reservednop: NOP,
  Endbr32: NOP,
  Endbr64: NOP,
  Prefetch: NOP,
  Prefetchw: NOP,
  Cldemote: NOP,
  Prefetchwt1: NOP,
  Prefetchnta: NOP,
  Prefetcht0: NOP,
  Prefetcht1: NOP,
  Prefetcht2: NOP,
  Lfence: NOP,
  Mfence: NOP,
  Sfence: NOP,
};

/** The four widths of a string instruction: MOVSB, MOVSW, MOVSD, MOVSQ. */
function stringForms(name: string, semantics: (width: 8 | 16 | 32 | 64) => InstructionSemantics) {
  return {
    [`${name}b`]: semantics(8),
    [`${name}w`]: semantics(16),
    [`${name}d`]: semantics(32),
    [`${name}q`]: semantics(64),
  };
}

/** A family with a condition in its name: JE, SETE, CMOVE. */
function conditionForms(prefix: string, semantics: (condition: Condition) => unknown): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(conditions).map(([suffix, condition]) => [`${prefix}${suffix}`, semantics(condition)]),
  );
}

/** The table's functions are generic in a width that their operands share; the decoder guarantees that they do. */
const table = {
  ...dataTransfer,
  ...arithmeticAndLogic,
  ...shiftsAndBits,
  ...bitManipulation,
  ...controlTransfer,
  ...flagControl,
  ...miscellaneous,
  ...stringForms('Movs', string.MOVS),
  ...stringForms('Stos', string.STOS),
  ...stringForms('Lods', string.LODS),
  ...stringForms('Scas', string.SCAS),
  ...stringForms('Cmps', string.CMPS),
  ...conditionForms('J', control.Jcc),
  ...conditionForms('Set', bits.SETcc),
  ...conditionForms('Cmov', data.CMOVcc),
  ...vectorInstructions,
};

export const instructionSet: Readonly<Record<string, InstructionSemantics | undefined>> = table as unknown as Record<
  string,
  InstructionSemantics | undefined
>;
