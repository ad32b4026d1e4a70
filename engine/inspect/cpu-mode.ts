/** The CPU mode view: ring, operating mode, paging, VMX operation, what blocks interrupts. */
import { codeSize } from '../cpu/modes.ts';
import type { Processor } from '../cpu/processor.ts';
import { RFLAGS } from '../cpu/register-bits.ts';
import type { Mmu } from '../mmu/mmu.ts';
import { PagingMode } from '../mmu/paging-structures.ts';
import { modeName } from './registers.ts';
import type { CpuModeView } from './views.ts';

const pagingNames: Readonly<Record<number, string>> = {
  [PagingMode.None]: 'no paging',
  [PagingMode.Bits32]: '32-bit paging',
  [PagingMode.PAE]: 'PAE paging',
  [PagingMode.Level4]: '4-level paging',
};
const activityNames = ['active', 'HLT', 'shutdown', 'wait-for-SIPI'];
const blockingNames = ['blocking by STI', 'blocking by MOV SS', 'blocking by SMI', 'blocking by NMI'];

export function cpuMode(vcpu: number, { state }: Processor, mmu: Mmu): CpuModeView {
  const { vpid, ept } = mmu.context;
  return {
    vcpu,
    vmxOperation: !state.vmxOperation ? 'off' : state.nonRoot ? 'non-root' : 'root',
    ring: state.cpl,
    operatingMode: modeName(state.mode),
    codeSize: codeSize(state),
    pagingMode: pagingNames[mmu.pagingMode] ?? 'unknown',
    nestedPaging: ept && `EPT, EPTP 0x${ept.eptp.toString(16)}`,
    activityState: activityNames[state.activityState] ?? 'unknown',
    interruptibility: blockingNames.filter((_, bit) => state.interruptibility & (1 << bit)),
    interruptsEnabled: (state.flagsOther & RFLAGS.IF) !== 0,
    vpid,
    currentVmcs: state.currentVmcsValid ? BigInt(state.currentVmcs) : undefined,
  };
}
