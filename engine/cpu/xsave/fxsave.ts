/** FXSAVE and FXRSTOR. */

import { type LinearAddress, offsetInPage } from '../../isa/linear-address.ts';
import { checkSegment } from '../access.ts';
import { GP, NM } from '../events.ts';
import type { DecodedInstruction, SystemInstruction } from '../instruction.ts';
import { memoryOperand } from '../operands.ts';
import { Privilege, type Processor } from '../processor.ts';
import { CR0, CR4 } from '../register-bits.ts';
import { MXCSR_MASK } from './components.ts';
import {
  LEGACY_BYTES,
  loadX87,
  loadXmm,
  type Pointers,
  readMxcsr,
  saveMxcsr,
  saveX87,
  saveXmm,
} from './legacy-region.ts';

/** Linear address of the area, aligned as it has to be; nothing of it is accessed yet. */
export function areaAddress(
  cpu: Processor,
  insn: DecodedInstruction,
  { bytes, alignment, access }: { bytes: number; alignment: number; access: 'read' | 'write' },
): LinearAddress {
  const { segment, offset } = memoryOperand(insn, 0);
  const linear = checkSegment(cpu, segment, offset, bytes, access);
  if (offsetInPage(linear) % alignment !== 0) throw GP(0);
  return linear;
}

function fxsaveArea(cpu: Processor, insn: DecodedInstruction, access: 'read' | 'write'): LinearAddress {
  if (cpu.state.cr0 & (CR0.EM | CR0.TS)) throw NM();
  return areaAddress(cpu, insn, { bytes: LEGACY_BYTES, alignment: 16, access });
}

/** Without CR4.OSFXSR, MXCSR and the XMM registers are neither saved nor restored (which is for the model to say). */
const withSse = ({ state }: Processor): boolean => (state.cr4 & CR4.OSFXSR) !== 0;

const save =
  (pointers: Pointers): SystemInstruction =>
  (cpu, insn) => {
    const linear = fxsaveArea(cpu, insn, 'write');
    cpu.memory.probeWrite(linear, LEGACY_BYTES, Privilege.Current);
    saveX87(cpu, linear, pointers);
    if (!withSse(cpu)) return;
    saveMxcsr(cpu, linear);
    saveXmm(cpu, linear);
  };

const restore =
  (pointers: Pointers): SystemInstruction =>
  (cpu, insn) => {
    const { state } = cpu;
    const linear = fxsaveArea(cpu, insn, 'read');
    const commits = [loadX87(cpu, linear, pointers)];
    if (withSse(cpu)) {
      const mxcsr = readMxcsr(cpu, linear);
      commits.push(loadXmm(cpu, linear), () => {
        state.mxcsr = mxcsr;
      });
      if (mxcsr & ~MXCSR_MASK) throw GP(0);
    }
    for (const commit of commits) commit(state);
    cpu.fpuErrors?.changed();
  };

export const FXSAVE = save('32-bit');
export const FXSAVE64 = save('64-bit');
export const FXRSTOR = restore('32-bit');
export const FXRSTOR64 = restore('64-bit');
