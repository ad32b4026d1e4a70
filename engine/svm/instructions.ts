/** The instructions of SVM (AMD64 APM volume 3), with their checks in the order given there. */

import { isCpuCanonical } from '../cpu/access.ts';
import { linearAddressBits } from '../cpu/cpuid.ts';
import { GP, UD } from '../cpu/events.ts';
import type { DecodedInstruction, SystemInstruction } from '../cpu/instruction.ts';
import { usesRealSelectors } from '../cpu/modes.ts';
import { type Processor, unimplemented } from '../cpu/processor.ts';
import { EFER, hasBit } from '../cpu/register-bits.ts';
import { linearAddressOf, pageOf } from '../isa/linear-address.ts';
import { loadMoved, saveMoved } from './saved-state.ts';
import type { SvmParts } from './svm-parts.ts';
import { Vmcb } from './vmcb.ts';
import { VMCB_BYTES } from './vmcb-fields.ts';

const RAX = 0;
const RCX = 1;

/** rAX, as wide as the address size, is unsigned. */
function accumulator({ state }: Processor, { addressSize }: DecodedInstruction): bigint {
  return BigInt.asUintN(addressSize, state.gpr(RAX));
}

function checkEnabled({ state }: Processor): void {
  if (!hasBit(state.efer, EFER.SVME)) throw UD();
}

/** #UD unless SVM is enabled in protected mode, #GP outside ring 0. */
function checkAllowed(cpu: Processor): void {
  checkEnabled(cpu);
  if (usesRealSelectors(cpu.state)) throw UD();
  if (cpu.state.cpl > 0) throw GP(0);
}

/** The address of a VMCB. There is none outside RAM, where the processor could not keep one. */
function vmcbAddress(cpu: Processor, insn: DecodedInstruction, { physical }: SvmParts): number {
  const address = accumulator(cpu, insn);
  if ((address & 0xfffn) !== 0n || !physical.isRam(Number(address), VMCB_BYTES)) throw GP(0);
  return Number(address);
}

/** By the decoder's mnemonics, to be merged with the other system instructions. `enter` is what VMRUN does. */
export function svmInstructions(parts: SvmParts, enter: () => void): Readonly<Record<string, SystemInstruction>> {
  const { state, mmu, physical } = parts;

  const VMRUN: SystemInstruction = (cpu, insn) => {
    checkAllowed(cpu);
    const address = vmcbAddress(cpu, insn, parts);
    if (cpu.intercepts?.onSvmInstruction?.(insn)) return;
    // Guest mode without the intercept cannot be: VMRUN demands it.
    state.vmcb = address;
    parts.known.named(address);
    state.rip = insn.nextIp;
    enter();
  };

  const VMMCALL: SystemInstruction = (cpu, insn) => {
    checkEnabled(cpu);
    if (cpu.intercepts?.onSvmInstruction?.(insn)) return;
    throw UD();
  };

  const move =
    (transfer: (area: Vmcb) => void): SystemInstruction =>
    (cpu, insn) => {
      checkAllowed(cpu);
      const address = vmcbAddress(cpu, insn, parts);
      if (cpu.intercepts?.onSvmInstruction?.(insn)) return;
      transfer(new Vmcb(physical, () => address));
    };
  const VMLOAD = move((area) => loadMoved(state, area, linearAddressBits(parts.processor.model)));
  const VMSAVE = move((area) => {
    area.touch();
    saveMoved(state, area);
  });

  const setGlobalInterruptFlag =
    (value: number): SystemInstruction =>
    (cpu, insn) => {
      checkAllowed(cpu);
      if (cpu.intercepts?.onSvmInstruction?.(insn)) return;
      state.globalInterruptFlag = value;
    };

  /** Drops the translation of a page for an ASID. */
  const INVLPGA: SystemInstruction = (cpu, insn) => {
    checkAllowed(cpu);
    if (cpu.intercepts?.onSvmInstruction?.(insn)) return;
    const linear = linearAddressOf(accumulator(cpu, insn));
    if (isCpuCanonical(cpu, linear)) mmu.tlb.dropPage(pageOf(linear), { vpid: state.gpr32(RCX) });
  };

  const SKINIT: SystemInstruction = (cpu, insn) => {
    checkAllowed(cpu);
    if (cpu.intercepts?.onSvmInstruction?.(insn)) return;
    unimplemented('instruction SKINIT');
  };

  return {
    Vmrun: VMRUN,
    Vmmcall: VMMCALL,
    Vmload: VMLOAD,
    Vmsave: VMSAVE,
    Stgi: setGlobalInterruptFlag(1),
    Clgi: setGlobalInterruptFlag(0),
    Invlpga: INVLPGA,
    Skinit: SKINIT,
  };
}
