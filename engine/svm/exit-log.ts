/** The exit log of AMD-V: what it keeps of a #VMEXIT, in the columns of that of VT-x. */
import { EFER } from '../cpu/register-bits.ts';
import { ExitLog } from '../vmx/exit-log.ts';
import { exitCodeTable } from './exit-codes.ts';
import type { SvmParts } from './svm-parts.ts';
import { vmcbOffset } from './vmcb-fields.ts';

const at = {
  code: vmcbOffset('EXITCODE'),
  info1: vmcbOffset('EXITINFO1'),
  info2: vmcbOffset('EXITINFO2'),
  intInfo: vmcbOffset('EXITINTINFO'),
  rip: vmcbOffset('RIP'),
  rax: vmcbOffset('RAX'),
  efer: vmcbOffset('EFER'),
  codeAttributes: vmcbOffset('CS attributes'),
  codeBase: vmcbOffset('CS base'),
} as const;
const CS_L = 1 << 9;
const [RCX, RDX] = [1, 2];

const rowOf = new Map(exitCodeTable.map(({ code }, index): [number, number] => [code, index]));
/** The reason by which exits with a code are counted: the index of its row in the table. */
export const svmExitReason = (code: number): number => rowOf.get(code) ?? 0;

/**
 * Reasons are rows of the table of exit codes; EXITINFO1 is in the column of the qualification, EXITINFO2 in that of the
 * guest-physical address, the lower half of EXITINTINFO in that of the interruption information.
 */
export function svmExitLog({ vmcb, state }: SvmParts): ExitLog {
  return new ExitLog(state, (words, to, vcpu) => {
    const isLong = (vmcb.u32(at.efer) & EFER.LMA) !== 0 && (vmcb.u16(at.codeAttributes) & CS_L) !== 0;
    words[to] = svmExitReason(vmcb.number(at.code));
    words[to + 1] = vmcb.u32(at.rip);
    words[to + 2] = vmcb.u32(at.rip + 4);
    words[to + 3] = isLong ? 0 : vmcb.u32(at.codeBase);
    words[to + 4] = vmcb.u32(at.info1);
    words[to + 5] = vmcb.u32(at.info1 + 4);
    words[to + 6] = vmcb.u32(at.info2);
    words[to + 7] = vmcb.u32(at.info2 + 4);
    words[to + 8] = vmcb.u32(at.intInfo);
    words[to + 9] = vmcb.address;
    words[to + 10] = vcpu;
    words[to + 11] = vmcb.u32(at.rax);
    words[to + 12] = vmcb.u32(at.rax + 4);
    words[to + 13] = state.gpr32(RCX);
    words[to + 14] = state.gpr32(RDX);
  });
}
