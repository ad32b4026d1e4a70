/** The CPU mode view: ring, operating mode, paging, VMX operation, what blocks interrupts. */
import { codeSize } from '../cpu/modes.ts';
import { waitsForStore } from '../cpu/monitoring.ts';
import type { Processor } from '../cpu/processor.ts';
import { EFER, RFLAGS } from '../cpu/register-bits.ts';
import type { CpuState } from '../cpu/state.ts';
import type { Mmu } from '../mmu/mmu.ts';
import { PagingMode } from '../mmu/paging-structures.ts';
import { modeName } from './registers.ts';
import type { CpuModeView } from './views.ts';

const pagingNames: Readonly<Record<number, string>> = {
  [PagingMode.None]: 'no paging',
  [PagingMode.Bits32]: '32-bit paging',
  [PagingMode.PAE]: 'PAE paging',
  [PagingMode.Level4]: '4-level paging',
  [PagingMode.Level5]: '5-level paging',
};
const activityNames = ['active', 'HLT', 'shutdown', 'wait-for-SIPI'];
const blockingNames = ['blocking by STI', 'blocking by MOV SS', 'blocking by SMI', 'blocking by NMI'];

const heldBack = ({ model, state }: Processor): string[] =>
  model.has('SVM') && !state.globalInterruptFlag ? ['held back (GIF = 0)'] : [];

type Virtualized = Pick<CpuModeView, 'virtualization' | 'vmxOperation' | 'currentVmcs'>;

function vmxMode({ vmxOperation, nonRoot, currentVmcs, currentVmcsValid }: CpuState): Virtualized {
  return {
    virtualization: 'VT-x',
    vmxOperation: !vmxOperation ? 'off' : nonRoot ? 'non-root' : 'root',
    currentVmcs: currentVmcsValid ? BigInt(currentVmcs) : undefined,
  };
}
function svmMode({ efer, svmGuest, vmcb }: CpuState): Virtualized {
  return {
    virtualization: 'AMD-V',
    vmxOperation: svmGuest ? 'non-root' : efer & EFER.SVME ? 'root' : 'off',
    currentVmcs: vmcb === 0 ? undefined : BigInt(vmcb),
  };
}

export function cpuMode(vcpu: number, processor: Processor, mmu: Mmu, levels: CpuModeView['levels']): CpuModeView {
  const { state, model } = processor;
  const { vpid, ept } = mmu.context;
  return {
    vcpu,
    ...(model.has('SVM') ? svmMode(state) : vmxMode(state)),
    ring: state.cpl,
    operatingMode: modeName(state.mode),
    codeSize: codeSize(state),
    pagingMode: pagingNames[mmu.pagingMode] ?? 'unknown',
    nestedPaging: ept && `${ept.nested ? 'nested page tables, N_CR3' : 'EPT, EPTP'} 0x${ept.eptp.toString(16)}`,
    activityState: waitsForStore(state) ? 'MWAIT' : (activityNames[state.activityState] ?? 'unknown'),
    interruptibility: [
      ...blockingNames.filter((_, bit) => state.interruptibility & (1 << bit)),
      ...heldBack(processor),
    ],
    interruptsEnabled: (state.flagsOther & RFLAGS.IF) !== 0,
    vpid,
    levels,
  };
}
