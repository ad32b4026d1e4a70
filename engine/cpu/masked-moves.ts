/**
 * Vector instructions whose mask decides which lanes they access memory for: MASKMOVQ, MASKMOVDQU, VMASKMOV, VPMASKMOV and the
 * gathers. Lanes that are not chosen cannot fault.
 */

import { Code } from 'iced-x86';
import { type LinearAddress, linearAddressOf, low32, plus } from '../isa/linear-address.ts';
import { checkSegment, readLinear, writeLinear } from './access.ts';
import { UD } from './events.ts';
import type { DecodedInstruction, MemoryOperand, SystemInstruction } from './instruction.ts';
import { Privilege, type Processor } from './processor.ts';
import type { CpuState } from './state.ts';
import { VECTOR_BYTES, vectorAddress, x87Address } from './state-layout.ts';
import { FSW } from './x87/register-stack.ts';
import { waitsForException } from './x87/x87-instruction.ts';

interface VectorOperand {
  readonly index: number;
  /** Wasm address, and bytes. */
  readonly at: number;
  readonly sizeBytes: number;
}

function vectorOperand(insn: DecodedInstruction, position: number): VectorOperand {
  const operand = insn.operand(position);
  if (operand.kind !== 'vector' && operand.kind !== 'mmx') throw new Error(`internal: ${insn.mnemonic}: no vector`);
  const { index, sizeBytes } = operand;
  return { index, at: operand.kind === 'mmx' ? x87Address(index) : vectorAddress(index), sizeBytes };
}

function memoryOf(insn: DecodedInstruction, position: number): MemoryOperand {
  const operand = insn.operand(position);
  if (operand.kind !== 'memory') throw new Error(`internal: ${insn.mnemonic}: no memory operand`);
  return operand;
}

/** Numbers of the lanes whose sign bit is set in the mask. */
function chosenLanes({ view }: CpuState, mask: VectorOperand, laneBytes: number): number[] {
  const lanes = Array.from({ length: mask.sizeBytes / laneBytes }, (_, lane) => lane);
  return lanes.filter((lane) => view.getUint8(mask.at + (lane + 1) * laneBytes - 1) & 0x80);
}

/** Offsets wrap at the address size. */
function wrapped(insn: DecodedInstruction, offset: LinearAddress): LinearAddress {
  if (insn.addressSize === 64) return offset;
  return insn.addressSize === 32 ? low32(offset) : low32(offset) & 0xffff;
}

/** Bytes at a wasm address as an unsigned number. */
function laneValue({ view }: CpuState, at: number, bytes: number): bigint {
  if (bytes === 8) return view.getBigUint64(at, true);
  return BigInt(bytes === 4 ? view.getUint32(at, true) : view.getUint8(at));
}
function setLane({ view }: CpuState, at: number, bytes: number, value: bigint): void {
  if (bytes === 8) view.setBigUint64(at, value, true);
  else view.setUint32(at, Number(value), true);
}

/** Stores the chosen lanes of a register, all of them or none. */
function storeLanes(
  cpu: Processor,
  insn: DecodedInstruction,
  source: VectorOperand,
  mask: VectorOperand,
  laneBytes: number,
  to: { readonly segment: number; readonly offset: LinearAddress },
): void {
  const places = chosenLanes(cpu.state, mask, laneBytes).map((lane) => {
    const offset = wrapped(insn, plus(to.offset, lane * laneBytes));
    const linear = checkSegment(cpu, to.segment, offset, laneBytes, 'write');
    cpu.memory.probeWrite(linear, laneBytes, Privilege.Current);
    return { lane, linear };
  });
  for (const { lane, linear } of places) {
    const value = laneValue(cpu.state, source.at + lane * laneBytes, laneBytes);
    writeLinear(cpu, linear, laneBytes, value, Privilege.Current);
  }
}

const RDI = 7;

/** MASKMOVDQU — Store Selected Bytes of Double Quadword, at DS:rDI. */
export const MASKMOVDQU: SystemInstruction = (cpu, insn) => {
  const { state } = cpu;
  const rdi = insn.addressSize === 64 ? state.gprLinear(RDI) : wrapped(insn, state.gpr32(RDI));
  const to = { segment: insn.segment, offset: rdi };
  storeLanes(cpu, insn, vectorOperand(insn, 1), vectorOperand(insn, 2), 1, to);
};
/** MASKMOVQ — Store Selected Bytes of Quadword. */
export const MASKMOVQ: SystemInstruction = (cpu, insn) => {
  if (waitsForException(cpu, insn)) return;
  MASKMOVDQU(cpu, insn);
  const { state } = cpu;
  state.fsw &= ~FSW.TOP;
  state.ftw = 0xff;
};

function zeroAbove({ view }: CpuState, { index }: VectorOperand, bytes: number): void {
  for (let at = bytes; at < VECTOR_BYTES; at += 4) view.setUint32(vectorAddress(index) + at, 0, true);
}

/** VMASKMOVPS, VMASKMOVPD, VPMASKMOVD, VPMASKMOVQ — Conditional Packed Loads and Stores. Lanes not loaded become 0. */
const maskedMove =
  (laneBytes: 4 | 8): SystemInstruction =>
  (cpu, insn) => {
    if (insn.operand(0).kind === 'memory') {
      const [mask, source] = [vectorOperand(insn, 1), vectorOperand(insn, 2)];
      return storeLanes(cpu, insn, source, mask, laneBytes, memoryOf(insn, 0));
    }
    const [dest, mask, memory] = [vectorOperand(insn, 0), vectorOperand(insn, 1), memoryOf(insn, 2)];
    const loaded = chosenLanes(cpu.state, mask, laneBytes).map((lane) => {
      const offset = wrapped(insn, plus(memory.offset, lane * laneBytes));
      const linear = checkSegment(cpu, memory.segment, offset, laneBytes, 'read');
      return { lane, value: readLinear(cpu, linear, laneBytes, Privilege.Current) };
    });
    zeroAbove(cpu.state, dest, 0);
    for (const { lane, value } of loaded) setLane(cpu.state, dest.at + lane * laneBytes, laneBytes, value);
  };
export const VMASKMOVPS = maskedMove(4);
export const VMASKMOVPD = maskedMove(8);

/** Quadword indices in a YMM register, doublewords from them in an XMM register. */
const fourIndices: ReadonlySet<number> = new Set([
  Code.VEX_Vgatherqps_xmm_vm64y_xmm,
  Code.VEX_Vpgatherqd_xmm_vm64y_xmm,
]);

/** Offset of a lane: the base, and its own index in place of the memory operand's. */
function gatherOffset(
  state: CpuState,
  insn: DecodedInstruction,
  memory: MemoryOperand,
  at: number,
  bytes: 4 | 8,
): LinearAddress {
  const { view } = state;
  const index = bytes === 4 ? BigInt(view.getInt32(at, true)) : view.getBigInt64(at, true);
  const base = memory.base === undefined ? 0n : state.gpr(memory.base);
  const sum = base + (index << BigInt(memory.scale)) + memory.displacement;
  return linearAddressOf(insn.addressSize === 64 ? sum : BigInt.asUintN(32, sum));
}

/**
 * VGATHERDPS, VPGATHERQD … — Gather Packed Values Using Signed Indices. What was loaded before a fault stays, with the mask
 * cleared as far as the lanes were passed, so that the instruction goes on where it was.
 */
const gather =
  (indexBytes: 4 | 8, laneBytes: 4 | 8): SystemInstruction =>
  (cpu, insn) => {
    const { state } = cpu;
    const [dest, memory, mask] = [vectorOperand(insn, 0), memoryOf(insn, 1), vectorOperand(insn, 2)];
    const index = memory.index as number;
    if (dest.index === index || dest.index === mask.index || index === mask.index) throw UD();
    const indices = indexBytes === 4 ? dest.sizeBytes / laneBytes : fourIndices.has(insn.code) ? 4 : dest.sizeBytes / 8;
    const chosen = chosenLanes(state, mask, laneBytes);
    for (let lane = 0; lane < indices; lane++) {
      if (chosen.includes(lane)) {
        const offset = gatherOffset(state, insn, memory, vectorAddress(index) + lane * indexBytes, indexBytes);
        const linear = checkSegment(cpu, memory.segment, offset, laneBytes, 'read');
        setLane(state, dest.at + lane * laneBytes, laneBytes, readLinear(cpu, linear, laneBytes, Privilege.Current));
      }
      setLane(state, mask.at + lane * laneBytes, laneBytes, 0n);
    }
    zeroAbove(state, mask, 0);
    zeroAbove(state, dest, indices * laneBytes);
  };
export const VGATHERDPS = gather(4, 4);
export const VGATHERDPD = gather(4, 8);
export const VGATHERQPS = gather(8, 4);
export const VGATHERQPD = gather(8, 8);
