/** x87 control: control and status word, the environment, the whole state, the stack's bookkeeping. */

import { extended80 } from '../../float/format.ts';
import { unpack } from '../../float/unpack.ts';
import { type LinearAddress, plus } from '../../isa/linear-address.ts';
import { checkSegment } from '../access.ts';
import { NM } from '../events.ts';
import type { DecodedInstruction, MemoryOperand, SystemInstruction } from '../instruction.ts';
import { usesRealSelectors } from '../modes.ts';
import { memoryOperand, probeOperand, readWord, writeRegister } from '../operands.ts';
import { Privilege, type Processor } from '../processor.ts';
import { CR0 } from '../register-bits.ts';
import type { CpuState } from '../state.ts';
import { fieldAddress, X87_REGISTERS } from '../state-layout.ts';
import { tenBytesAt, writeTenBytes } from './memory-operands.ts';
import {
  EXCEPTIONS,
  FSW,
  free,
  initialize,
  physical,
  pop,
  setControlWord,
  setStatusWord,
  setTop,
  topOfStack,
} from './register-stack.ts';
import { nonWaiting, setPointers, stackRegister, waiting, waitsForException } from './x87-instruction.ts';

/** WAIT, FWAIT. */
export const WAIT: SystemInstruction = (cpu, insn) => {
  const both = CR0.MP | CR0.TS;
  if ((cpu.state.cr0 & both) === both) throw NM();
  waitsForException(cpu, insn);
};

/** What may have changed whether an exception is pending tells those who watch FERR#. */
const telling =
  (operation: SystemInstruction): SystemInstruction =>
  (cpu, insn) => {
    operation(cpu, insn);
    cpu.fpuErrors?.changed();
  };

export const FNINIT = nonWaiting(telling(({ state }) => initialize(state)));

export const FNCLEX = nonWaiting(
  telling(({ state }) => {
    state.fsw &= ~(EXCEPTIONS | FSW.SF | FSW.ES | FSW.B);
  }),
);

/** FNENI, FNDISI and FNSETPM did something on the 8087 and 80287 only. */
export const FNENI = nonWaiting(() => {});
export const FNDISI = FNENI;
export const FNSETPM = FNENI;
export const FNOP = waiting((cpu, insn) => setPointers(cpu, insn));

export const FLDCW = waiting(telling((cpu, insn) => setControlWord(cpu.state, readWord(cpu, insn, 0))));

/** Stores a word in memory, or in AX. */
function storeWord(cpu: Processor, insn: DecodedInstruction, value: number): void {
  const operand = insn.operand(0);
  if (operand.kind === 'register') return writeRegister(cpu, operand.index, 16, BigInt(value));
  cpu.memory.writeU16(probeOperand(cpu, memoryOperand(insn, 0), 2), value, Privilege.Current);
}

export const FNSTCW = nonWaiting((cpu, insn) => storeWord(cpu, insn, cpu.state.fcw));
export const FNSTSW = nonWaiting((cpu, insn) => storeWord(cpu, insn, cpu.state.fsw));

const moveTop = (distance: number): SystemInstruction =>
  waiting((cpu, insn) => {
    const { state } = cpu;
    setPointers(cpu, insn);
    setTop(state, topOfStack(state) + distance);
    state.fsw &= ~FSW.C1;
  });
export const FINCSTP = moveTop(1);
export const FDECSTP = moveTop(-1);

function freeRegister(cpu: Processor, insn: DecodedInstruction): void {
  const { state } = cpu;
  setPointers(cpu, insn);
  free(state, stackRegister(insn, 0));
  state.fsw &= ~FSW.C1;
}

export const FFREE = waiting(freeRegister);

/** FFREEP (DF C0): FFREE, and a pop. */
export const FFREEP = waiting((cpu, insn) => {
  freeRegister(cpu, insn);
  pop(cpu.state);
});

/** The full tag word: 00 valid, 01 zero, 10 special, 11 empty. */
export function fullTagWord(state: CpuState): number {
  let tags = 0;
  for (let n = 0; n < X87_REGISTERS; n++) tags |= tagOf(state, n) << (2 * n);
  return tags;
}

function tagOf(state: CpuState, n: number): number {
  if ((state.ftw & (1 << n)) === 0) return 3;
  const found = unpack(extended80, state.x87Register(n)).class;
  return found === 'normal' ? 0 : found === 'zero' ? 1 : 2;
}

/** From a full tag word only whether a register is empty matters. */
function abridgedTagWord(tags: number): number {
  let abridged = 0;
  for (let n = 0; n < X87_REGISTERS; n++) if (((tags >> (2 * n)) & 3) !== 3) abridged |= 1 << n;
  return abridged;
}

/** Seven words, or seven doublewords; outside of protected mode with linear addresses in the place of selectors. */
interface EnvironmentFormat {
  readonly is32: boolean;
  readonly isReal: boolean;
}

const formatOf = ({ state }: Processor, { operandSize }: DecodedInstruction): EnvironmentFormat => ({
  is32: operandSize !== 16,
  isReal: usesRealSelectors(state),
});

/** The last four of the seven fields: instruction and data pointer with what stands beside them. */
function pointerFields(state: CpuState, { is32, isReal }: EnvironmentFormat): number[] {
  const [ip, dp] = [pointer(state, 'fip'), pointer(state, 'fdp')];
  if (!isReal) return [ip, is32 ? state.fcs | (state.fop << 16) : state.fcs, dp, state.fds];
  const [code, data] = [(ip + state.fcs * 16) >>> 0, (dp + state.fds * 16) >>> 0];
  if (is32) return [code & 0xffff, ((code >>> 16) << 12) | state.fop, data & 0xffff, (data >>> 16) << 12];
  return [code & 0xffff, (((code >>> 16) & 0xf) << 12) | state.fop, data & 0xffff, ((data >>> 16) & 0xf) << 12];
}

/** The lower 32 bits of a pointer. */
const pointer = ({ view }: CpuState, name: 'fip' | 'fdp'): number => view.getUint32(fieldAddress[name], true);

/** Writes the environment. In the 32-bit formats the unused halves are ones, except that of the opcode. */
function storeEnvironment(cpu: Processor, format: EnvironmentFormat, linear: LinearAddress): void {
  const { state, memory } = cpu;
  const [ip = 0, beside = 0, dp = 0, last = 0] = pointerFields(state, format);
  const words = [state.fcw, state.fsw, fullTagWord(state)];
  if (!format.is32) {
    [...words, ip, beside, dp, last].forEach((word, n) => {
      memory.writeU16(plus(linear, 2 * n), word & 0xffff, Privilege.Current);
    });
    return;
  }
  const ones = 0xffff_0000;
  const upper = format.isReal ? [ones, 0, ones, 0] : [0, 0, 0, ones];
  const doublewords = [
    ...words.map((word) => word | ones),
    ...[ip, beside, dp, last].map((d, n) => d | (upper[n] ?? 0)),
  ];
  doublewords.forEach((doubleword, n) => {
    memory.writeU32(plus(linear, 4 * n), doubleword >>> 0, Privilege.Current);
  });
}

function loadEnvironment(cpu: Processor, { is32, isReal }: EnvironmentFormat, linear: LinearAddress): void {
  const { state, memory } = cpu;
  const fields = Array.from({ length: 7 }, (_, n) =>
    is32
      ? memory.readU32(plus(linear, 4 * n), Privilege.Current)
      : memory.readU16(plus(linear, 2 * n), Privilege.Current),
  );
  const [control = 0, status = 0, tags = 0, ip = 0, beside = 0, dp = 0, last = 0] = fields;
  state.ftw = abridgedTagWord(tags);
  state.fcw = control;
  setStatusWord(state, status);
  setControlWord(state, control);
  const upper = (field: number) => (is32 ? (field >>> 12) & 0xffff : (field >>> 12) & 0xf) * 0x1_0000;
  state.fip = isReal ? upper(beside) + (ip & 0xffff) : ip;
  state.fdp = isReal ? upper(last) + (dp & 0xffff) : dp;
  state.fcs = isReal ? 0 : beside & 0xffff;
  state.fds = isReal ? 0 : last & 0xffff;
  state.fop = isReal ? beside & 0x7ff : is32 ? (beside >>> 16) & 0x7ff : 0;
}

const environmentBytes = ({ is32 }: EnvironmentFormat): number => (is32 ? 28 : 14);

/** Stores all that the format has, then masks all exceptions, which are pending no longer. */
export const FNSTENV = nonWaiting(
  telling((cpu, insn) => {
    const format = formatOf(cpu, insn);
    storeEnvironment(cpu, format, probeOperand(cpu, memoryOperand(insn, 0), environmentBytes(format)));
    setControlWord(cpu.state, cpu.state.fcw | EXCEPTIONS);
  }),
);

/** Linear address of a source operand of this many bytes, all of which can be read. */
function source(cpu: Processor, operand: MemoryOperand, bytes: number): LinearAddress {
  const linear = checkSegment(cpu, operand.segment, operand.offset, bytes, 'read');
  cpu.memory.readU8(plus(linear, bytes - 1), Privilege.Current);
  return linear;
}

export const FLDENV = waiting(
  telling((cpu, insn) => {
    const format = formatOf(cpu, insn);
    loadEnvironment(cpu, format, source(cpu, memoryOperand(insn, 0), environmentBytes(format)));
  }),
);

const REGISTER_BYTES = 10;

export const FNSAVE = nonWaiting(
  telling((cpu, insn) => {
    const { state } = cpu;
    const format = formatOf(cpu, insn);
    const head = environmentBytes(format);
    const linear = probeOperand(cpu, memoryOperand(insn, 0), head + X87_REGISTERS * REGISTER_BYTES);
    storeEnvironment(cpu, format, linear);
    for (let i = 0; i < X87_REGISTERS; i++) {
      writeTenBytes(cpu, plus(linear, head + i * REGISTER_BYTES), state.x87Register(physical(state, i)));
    }
    initialize(state);
  }),
);

export const FRSTOR = waiting(
  telling((cpu, insn) => {
    const { state } = cpu;
    const format = formatOf(cpu, insn);
    const head = environmentBytes(format);
    const linear = source(cpu, memoryOperand(insn, 0), head + X87_REGISTERS * REGISTER_BYTES);
    const registers = Array.from({ length: X87_REGISTERS }, (_, i) =>
      tenBytesAt(cpu, plus(linear, head + i * REGISTER_BYTES)),
    );
    loadEnvironment(cpu, format, linear);
    for (const [i, value] of registers.entries()) state.setX87Register(physical(state, i), value);
  }),
);
