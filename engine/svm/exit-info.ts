/** The details of the last #VMEXIT that a watcher is told, read from the VMCB. */
import { exitCodeName } from './exit-codes.ts';
import type { SvmParts } from './svm-parts.ts';
import { vmcbOffset } from './vmcb-fields.ts';

export interface SvmExitInfo {
  readonly code: number;
  readonly name: string;
  readonly info1: bigint;
  readonly info2: bigint;
  readonly intInfo: bigint;
  /** The guest's RIP, and that of its next instruction where it is known; unsigned. */
  readonly rip: bigint;
  readonly nextRip: bigint;
  /** Host-physical address of the VMCB. */
  readonly vmcb: number;
}

const CODE = vmcbOffset('EXITCODE');
const INFO_1 = vmcbOffset('EXITINFO1');
const INFO_2 = vmcbOffset('EXITINFO2');
const INT_INFO = vmcbOffset('EXITINTINFO');
const RIP = vmcbOffset('RIP');
const NEXT_RIP = vmcbOffset('nRIP');

export function svmExitInfo({ vmcb }: Pick<SvmParts, 'vmcb'>): SvmExitInfo {
  const code = vmcb.number(CODE);
  return {
    code,
    name: exitCodeName(code),
    info1: vmcb.u64(INFO_1),
    info2: vmcb.u64(INFO_2),
    intInfo: vmcb.u64(INT_INFO),
    rip: vmcb.u64(RIP),
    nextRip: vmcb.u64(NEXT_RIP),
    vmcb: vmcb.address,
  };
}
