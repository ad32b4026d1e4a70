/** Which entry of the nested page tables made an access exit, in words. Peeks only. */
import { hex } from '../cpu/hexadecimal.ts';
import { EptRight, PageFaultCode } from '../mmu/access.ts';
import type { Mmu } from '../mmu/mmu.ts';
import { type EptContext, Walk } from '../mmu/walk.ts';
import { flagOf } from './paging-entry.ts';
import { type EptStep, WalkRecorder } from './walk-recorder.ts';

const nameOf = ({ level, index }: EptStep): string => `nested ${level} ${index}`;

const flags = ({ entry }: EptStep): string =>
  ['P', 'R/W', 'U/S', 'XD'].filter((name) => flagOf(entry, name) !== 0).join(' ') || 'P = 0';
const describe = (step: EptStep): string =>
  `${nameOf(step)} at host-physical ${hex(step.entryAddress.hostPhysical)} is ${hex(step.entryValue)} (${flags(step)})`;

/** The first entry that refuses one of the rights that an access of the guest needs, and by which bit. */
function nestedDenial(steps: readonly EptStep[], rights: number): string | undefined {
  const missing = steps.find(({ present }) => !present);
  if (missing) return `${nameOf(missing)} is not present`;
  // The PDPTEs of PAE paging, where walks begin with them, have no rights.
  const rated = steps[0]?.level === 'PDPTE' ? steps.slice(1) : steps;
  const first = (name: string, value: number) => rated.find(({ entry }) => flagOf(entry, name) === value);
  const supervisor = first('U/S', 0);
  if (supervisor) return `${nameOf(supervisor)} denies the guest all accesses (U/S = 0)`;
  const readOnly = rights & EptRight.Write ? first('R/W', 0) : undefined;
  if (readOnly) return `${nameOf(readOnly)} denies writes (R/W = 0)`;
  const noExecute = rights & EptRight.Execute ? first('XD', 1) : undefined;
  return noExecute && `${nameOf(noExecute)} denies instruction fetches (XD = 1)`;
}

/**
 * Why the host's page tables did not allow an access, as paragraphs: the entries on the way, and the one that denies.
 *
 * @param nested as the guest has it, by the host's registers
 * @param code the low half of EXITINFO1 of the nested page fault
 */
export function explainNestedFault(mmu: Mmu, nested: EptContext, guestPhysical: number, code: number): string[] {
  const recorder = new WalkRecorder(mmu, { ...mmu.currentSpace(), ept: nested });
  const rights =
    (code & PageFaultCode.W ? EptRight.Write : EptRight.Read) | (code & PageFaultCode.I ? EptRight.Execute : 0);
  mmu.walker.ept.walk(nested, guestPhysical, rights, new Walk(false, recorder));
  const steps = recorder.lastEptSteps;
  const way = steps.map(describe).join('; ') || 'there is none to read';
  const last = steps.at(-1);
  const reserved = code & PageFaultCode.RSVD && last ? `${nameOf(last)} has a reserved bit set` : undefined;
  const verdict =
    reserved ??
    nestedDenial(steps, rights) ??
    'these entries allow the access now: the processor used a translation that it had cached before they were changed. After such a change, VMRUN with TLB_CONTROL, or with another ASID, is missing';
  return [
    `Nested page-table entries for guest-physical ${hex(guestPhysical)}, from N_CR3 ${hex(nested.eptp)}: ${way}.`,
    `${verdict.charAt(0).toUpperCase()}${verdict.slice(1)}.`,
  ];
}
