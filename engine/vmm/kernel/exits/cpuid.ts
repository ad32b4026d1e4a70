/** CPUID: the host's answers, less what the guest does not get, plus the leaves by which it finds the hypervisor. */
import type { CpuidResult } from '../../../cpu/cpuid.ts';
import { CR4, hasBit } from '../../../cpu/register-bits.ts';
import type { VirtualCpu } from '../virtual-cpu.ts';

const RAX = 0;
const RCX = 1;
const RDX = 2;
const RBX = 3;

const FEATURES = 1;
/** MONITOR and MWAIT exit, and do nothing. */
const MONITOR = 1 << 3;
const OSXSAVE = 1 << 27;
/** Bit that no CPU sets: software asks the hypervisor leaves only if it is 1. */
const HYPERVISOR = 1 << 31;
const HYPERVISOR_LEAF = 0x4000_0000;
const HYPERVISOR_LEAVES_END = 0x4000_0100;
/** "RingsideVMM" in EBX, ECX, EDX. */
const SIGNATURE = { ebx: 0x676e_6952, ecx: 0x6564_6973, edx: 0x004d_4d56 };

export function handleCpuid(vcpu: VirtualCpu): undefined {
  const { state } = vcpu.parts;
  const { eax, ebx, ecx, edx } = guestCpuid(vcpu, state.gpr32(RAX), state.gpr32(RCX));
  state.setGpr32(RAX, eax);
  state.setGpr32(RBX, ebx);
  state.setGpr32(RCX, ecx);
  state.setGpr32(RDX, edx);
  vcpu.skipInstruction();
}

function guestCpuid(vcpu: VirtualCpu, leaf: number, subleaf: number): CpuidResult {
  const { processor, state, guest } = vcpu.parts;
  if (leaf === HYPERVISOR_LEAF) return { eax: HYPERVISOR_LEAF, ...SIGNATURE };
  if (leaf > HYPERVISOR_LEAF && leaf < HYPERVISOR_LEAVES_END) return { eax: 0, ebx: 0, ecx: 0, edx: 0 };
  const result = processor.model.cpuid(state, leaf, subleaf);
  if (leaf !== FEATURES) return result;
  const osxsave = hasBit(guest.cr4, CR4.OSXSAVE) ? OSXSAVE : 0;
  return { ...result, ecx: ((result.ecx & ~(MONITOR | OSXSAVE)) | HYPERVISOR | osxsave) >>> 0 };
}
