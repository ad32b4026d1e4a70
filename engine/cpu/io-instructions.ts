/** IN, OUT, INS, OUTS and the I/O permission bitmap (SDM volume 1, "Input/Output"). */

import type { LinearAddress } from '../isa/linear-address.ts';
import { checkSegment, readLinear, writeLinear } from './access.ts';
import { meetPortBreakpoints } from './debug-registers.ts';
import { SystemType, tableAddress } from './descriptors.ts';
import { GP } from './events.ts';
import { iopl } from './flags.ts';
import type { DecodedInstruction, SystemInstruction } from './instruction.ts';
import { isRealMode, isVirtual8086 } from './modes.ts';
import { writeRegister } from './operands.ts';
import { type IoAccess, Privilege, type Processor } from './processor.ts';
import { ACCESS, RFLAGS } from './register-bits.ts';
import { ES, TR } from './state.ts';
import { IO_MAP_BASE } from './virtual-8086.ts';

const RAX = 0;
const RCX = 1;
const RDX = 2;
const RSI = 6;
const RDI = 7;

/** Throws GP(0) unless CPL and IOPL, or the bitmap in the TSS, allow the ports. */
function checkIoPermission(processor: Processor, port: number, sizeBytes: number): void {
  const { state, memory } = processor;
  if (isRealMode(state) || (state.cpl <= iopl(state) && !isVirtual8086(state))) return;
  const tr = state.segment(TR);
  const type = tr.attributes & ACCESS.TYPE;
  const usable =
    (tr.attributes & ACCESS.UNUSABLE) === 0 && (type === SystemType.tssBusy || type === SystemType.tssAvailable);
  if (!usable || tr.limit < IO_MAP_BASE + 1) throw GP(0);
  const map = memory.readU16(tableAddress(processor, tr.base, IO_MAP_BASE), Privilege.Supervisor);
  const byte = map + (port >>> 3);
  // The processor always reads two bytes, which is why the bitmap is followed by a byte of ones.
  if (byte + 1 > tr.limit) throw GP(0);
  const bits = memory.readU16(tableAddress(processor, tr.base, byte), Privilege.Supervisor) >>> (port & 7);
  if (bits & ((1 << sizeBytes) - 1)) throw GP(0);
}

interface PortOperand {
  readonly port: number;
  readonly immediate: boolean;
}

function portOperand(cpu: Processor, insn: DecodedInstruction, index: number): PortOperand {
  const operand = insn.operand(index);
  if (operand.kind === 'immediate') return { port: operand.value & 0xff, immediate: true };
  return { port: cpu.state.gpr32(RDX) & 0xffff, immediate: false };
}

/** Bytes that the accumulator operand moves. */
function accumulatorBytes(insn: DecodedInstruction, index: number): number {
  const operand = insn.operand(index);
  if (operand.kind === 'register') return operand.sizeBytes;
  throw new Error(`internal: ${insn.mnemonic}: accumulator expected, found ${operand.kind}`);
}

const ones = (sizeBytes: number): number => (sizeBytes === 4 ? 0xffff_ffff : (1 << (sizeBytes * 8)) - 1);

export const IN: SystemInstruction = (cpu, insn) => {
  const sizeBytes = accumulatorBytes(insn, 0);
  const { port, immediate } = portOperand(cpu, insn, 1);
  checkIoPermission(cpu, port, sizeBytes);
  const access: IoAccess = { port, sizeBytes, direction: 'in', string: false, rep: false, immediate };
  if (cpu.intercepts?.onIo?.(access, insn)) return;
  const value = BigInt((cpu.ports.read(port, sizeBytes) & ones(sizeBytes)) >>> 0);
  meetPortBreakpoints(cpu, port, sizeBytes);
  if (sizeBytes === 1) cpu.state.setGpr(RAX, (cpu.state.gpr(RAX) & ~0xffn) | value);
  else writeRegister(cpu, RAX, sizeBytes * 8, value);
};

export const OUT: SystemInstruction = (cpu, insn) => {
  const sizeBytes = accumulatorBytes(insn, 1);
  const { port, immediate } = portOperand(cpu, insn, 0);
  checkIoPermission(cpu, port, sizeBytes);
  const access: IoAccess = { port, sizeBytes, direction: 'out', string: false, rep: false, immediate };
  if (cpu.intercepts?.onIo?.(access, insn)) return;
  cpu.ports.write(port, sizeBytes, (cpu.state.gpr32(RAX) & ones(sizeBytes)) >>> 0);
  meetPortBreakpoints(cpu, port, sizeBytes);
};

/** A count or index register, as wide as the address size. */
function readIndex({ state }: Processor, index: number, bits: 16 | 32 | 64): LinearAddress {
  if (bits === 64) return state.gprLinear(index);
  return bits === 32 ? state.gpr32(index) : state.gpr32(index) & 0xffff;
}

function addToIndex(cpu: Processor, index: number, bits: 16 | 32 | 64, delta: number): void {
  const value = BigInt.asUintN(bits, cpu.state.gpr(index) + BigInt(delta));
  writeRegister(cpu, index, bits, value);
}

interface StringIo {
  readonly sizeBytes: number;
  readonly direction: 'in' | 'out';
}

/** One iteration, as of the other string instructions: a REP that goes on jumps to itself. */
function stringIo(cpu: Processor, insn: DecodedInstruction, { sizeBytes, direction }: StringIo): void {
  const bits = insn.addressSize;
  const rep = insn.repPrefix !== undefined;
  cpu.state.repeating = 0;
  if (rep && readIndex(cpu, RCX, bits) === 0) return;
  const port = cpu.state.gpr32(RDX) & 0xffff;
  checkIoPermission(cpu, port, sizeBytes);
  const access: IoAccess = { port, sizeBytes, direction, string: true, rep, immediate: false };
  if (cpu.intercepts?.onIo?.(access, insn)) return;
  const transfer = direction === 'in' ? inputOnce : outputOnce;
  transfer(cpu, insn, port, sizeBytes);
  meetPortBreakpoints(cpu, port, sizeBytes);
  if (!rep) return;
  addToIndex(cpu, RCX, bits, -1);
  if (readIndex(cpu, RCX, bits) === 0) return;
  cpu.state.repeating = 1;
  cpu.jump(insn.ip);
}

const step = (cpu: Processor, sizeBytes: number): number => (cpu.state.flagsOther & RFLAGS.DF ? -sizeBytes : sizeBytes);

/** The destination is checked before the port is read, so that a fault loses no data. */
function inputOnce(cpu: Processor, insn: DecodedInstruction, port: number, sizeBytes: number): void {
  const offset = readIndex(cpu, RDI, insn.addressSize);
  const linear = checkSegment(cpu, ES, offset, sizeBytes, 'write');
  cpu.memory.probeWrite(linear, sizeBytes, Privilege.Current);
  const value = (cpu.ports.read(port, sizeBytes) & ones(sizeBytes)) >>> 0;
  writeLinear(cpu, linear, sizeBytes, BigInt(value), Privilege.Current);
  addToIndex(cpu, RDI, insn.addressSize, step(cpu, sizeBytes));
}

function outputOnce(cpu: Processor, insn: DecodedInstruction, port: number, sizeBytes: number): void {
  const offset = readIndex(cpu, RSI, insn.addressSize);
  const linear = checkSegment(cpu, insn.segment, offset, sizeBytes, 'read');
  cpu.ports.write(port, sizeBytes, Number(readLinear(cpu, linear, sizeBytes, Privilege.Current)));
  addToIndex(cpu, RSI, insn.addressSize, step(cpu, sizeBytes));
}

const stringInstruction =
  (direction: 'in' | 'out', sizeBytes: number): SystemInstruction =>
  (cpu, insn) =>
    stringIo(cpu, insn, { sizeBytes, direction });

export const INSB = stringInstruction('in', 1);
export const INSW = stringInstruction('in', 2);
export const INSD = stringInstruction('in', 4);
export const OUTSB = stringInstruction('out', 1);
export const OUTSW = stringInstruction('out', 2);
export const OUTSD = stringInstruction('out', 4);
