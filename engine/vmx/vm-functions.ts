/** VMFUNC and the one VM function that there is (SDM volume 3, "VM Functions", "EPTP Switching"). */
import { UD, VmExit } from '../cpu/events.ts';
import { SECONDARY } from './controls.ts';
import { isValidEptp } from './eptp.ts';
import { ExitReason } from './exit-reasons.ts';
import { offsetOf } from './vmcs.ts';
import { hasSecondary, type VmxParts } from './vmx-parts.ts';

const CONTROLS = offsetOf('VM-function controls');
const LIST = offsetOf('EPTP-list address');
const EPTP = offsetOf('EPT pointer');
const EPTP_INDEX = offsetOf('EPTP index');

/** IA32_VMX_VMFUNC and the VM-function controls, by leaf. */
const VM_FUNCTION = { EPTP_SWITCHING: 0 } as const;
export const VM_FUNCTIONS = 1 << VM_FUNCTION.EPTP_SWITCHING;
const LEAVES = 64;
const LIST_ENTRIES = 512;

const exit = (): never => {
  throw new VmExit(ExitReason.VMFUNC);
};

/** VMFUNC in non-root operation, with EAX and ECX. Throws #UD or the VM exit. */
export function invokeVmFunction(parts: VmxParts, leaf: number, ecx: number): void {
  const { vmcs } = parts;
  if (!hasSecondary(vmcs, SECONDARY['Enable VM functions']) || leaf >= LEAVES) throw UD();
  if (((vmcs.u64(CONTROLS) >> BigInt(leaf)) & 1n) === 0n) exit();
  switchEptp(parts, ecx);
}

/** EPTP switching is the only function that VM entry lets the controls enable. */
function switchEptp({ vmcs, physical, mmu }: VmxParts, index: number): void {
  if (index >= LIST_ENTRIES) exit();
  const eptp = physical.readU64(vmcs.number(LIST) + index * 8);
  if (!isValidEptp(Number(eptp & 0xffff_ffffn), Number(eptp >> 32n), mmu.physicalAddressBits)) exit();
  vmcs.touch();
  vmcs.setU64(EPTP, eptp);
  if (hasSecondary(vmcs, SECONDARY['EPT-violation #VE'])) vmcs.setU32(EPTP_INDEX, index);
  mmu.switchEptp(Number(eptp));
}
