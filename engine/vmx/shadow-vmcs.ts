/** VMCS shadowing (SDM volume 3, "VMREAD-Bitmap and VMWRITE-Bitmap Addresses"): which accesses of the guest do not exit. */
import type { DecodedInstruction } from '../cpu/instruction.ts';
import { is64Bit } from '../cpu/modes.ts';
import { registerIndex } from '../cpu/operands.ts';
import { SECONDARY } from './controls.ts';
import { offsetOf } from './vmcs.ts';
import { hasSecondary, type VmxParts } from './vmx-parts.ts';

/** The bitmap, and which operand holds the encoding. */
const accesses: Readonly<Record<string, { readonly bitmap: number; readonly operand: number }>> = {
  Vmread: { bitmap: offsetOf('VMREAD-bitmap address'), operand: 1 },
  Vmwrite: { bitmap: offsetOf('VMWRITE-bitmap address'), operand: 0 },
};
/** Encodings beyond these 15 bits exit. */
const ENCODINGS = 0x8000;

/** Whether an instruction is a VMREAD or VMWRITE that accesses the shadow VMCS in place of a VM exit. */
export function isShadowed({ state, vmcs, physical }: VmxParts, insn: DecodedInstruction): boolean {
  const access = accesses[insn.mnemonic];
  if (access === undefined || !hasSecondary(vmcs, SECONDARY['VMCS shadowing'])) return false;
  const register = registerIndex(insn, access.operand);
  const encoding = state.gpr32(register);
  if (encoding >= ENCODINGS || (is64Bit(state) && state.gprHigh32(register) !== 0)) return false;
  return ((physical.readU8(vmcs.number(access.bitmap) + (encoding >>> 3)) >>> (encoding & 7)) & 1) === 0;
}
