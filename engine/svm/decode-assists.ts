/** What #VMEXIT tells of the instruction that it interrupts (AMD64 APM volume 2, "Decode Assists"). */
import { Vector, type VmExit } from '../cpu/events.ts';
import { linearOfRip } from '../cpu/modes.ts';
import { ExitCode, FirstCode } from './exit-codes.ts';
import type { SvmParts } from './svm-parts.ts';

const MAX_BYTES = 15;
/** Bits of the page-fault error code. */
const FETCH = 16n;

/** EXITINFO1 of MOV to and from control registers: bit 63 tells them from CLTS, LMSW and SMSW. */
export const movCrInformation = (gpr: number): bigint => (1n << 63n) | BigInt(gpr);

/** Faults of data accesses come with the bytes of the instruction, as far as they can be read; all other exits without. */
export function fetchedBytes(parts: SvmParts, { reason, qualification }: VmExit, at: number): void {
  const { vmcb, state, mmu } = parts;
  const isFault = reason === ExitCode.NPF || reason === FirstCode.exception + Vector.PF;
  const bytes = isFault && !(qualification & FETCH) ? mmu.peek(linearOfRip(state), MAX_BYTES) : new Uint8Array();
  vmcb.setU8(at, bytes.length);
  for (let index = 0; index < MAX_BYTES; index++) vmcb.setU8(at + 1 + index, bytes[index] ?? 0);
}
