/** What would become of VMRUN now, by peeks only. */
import { linearOfRip, usesRealSelectors } from '../cpu/modes.ts';
import { EFER, hasBit } from '../cpu/register-bits.ts';
import { isReservedPdpte, PagingMode, pagingMode } from '../mmu/paging-structures.ts';
import { type ConsistencyRule, violations } from '../svm/consistency-checks.ts';
import type { Svm } from '../svm/svm.ts';
import { usesNestedPaging } from '../svm/svm-parts.ts';
import { Vmcb } from '../svm/vmcb.ts';
import { VMCB_BYTES, type VmcbFieldName, vmcbField } from '../svm/vmcb-fields.ts';
import type { EntryCheckView, ViolatedRuleView } from './views.ts';
import { peekVmcbField } from './vmcb.ts';

const RAX = 0;
const VMRUN = [0x0f, 0x01, 0xd8] as const;
const PASSES = 'No rule is broken: the guest would be entered.';
const REFUSED = '#VMEXIT(INVALID): the host goes on behind VMRUN.';
const PDPTES = 'A PDPTE at the guest’s CR3 has reserved bits set: #VMEXIT(INVALID).';
const NO_VMCB = 'VMRUN has named no VMCB yet, and the next instruction is not VMRUN.';
const IN_GUEST =
  'The guest runs. Its state is in the processor, and from the next #VMEXIT on in the VMCB: it can be checked then.';

/** The VMCB that the next instruction, if it is VMRUN, names in RAX; else that of the last VMRUN, 0 before the first. */
export function vmcbOfInterest({ state, mmu, vmcb }: Svm['parts']): number {
  if (state.svmGuest) return vmcb.address;
  const next = mmu.peek(linearOfRip(state), VMRUN.length);
  return VMRUN.every((byte, at) => next[at] === byte) ? Number(state.gpr(RAX)) : vmcb.address;
}

/** Checks the VMCB of interest as VMRUN would. */
export function vmrunCheckView({ parts }: Svm): EntryCheckView {
  const { state, physical } = parts;
  const address = vmcbOfInterest(parts);
  const named = isVmcb(parts, address) ? { vmcs: BigInt(address) } : {};
  const view = { instruction: 'VMRUN', ...named, isPossible: false, violated: [] } as const;
  if (address === 0) return { ...view, outcome: NO_VMCB };
  const refusal = state.svmGuest ? IN_GUEST : refusalOf(parts, address);
  if (refusal !== undefined) return { ...view, outcome: refusal };
  const checked = { ...parts, vmcb: new Vmcb(physical, () => address) };
  const broken = violations(checked);
  if (broken.length === 0 && hasWrongPdptes(checked)) return { ...view, outcome: PDPTES };
  return {
    instruction: 'VMRUN',
    vmcs: BigInt(address),
    isPossible: broken.length === 0,
    outcome: broken.length === 0 ? PASSES : REFUSED,
    violated: broken.map((rule) => ruleView(rule, parts, address)),
  };
}

/** Whether VMRUN takes an address for that of a VMCB. */
export const isVmcb = ({ physical }: Pick<Svm['parts'], 'physical'>, address: number): boolean =>
  address !== 0 && address % VMCB_BYTES === 0 && physical.isRam(address, VMCB_BYTES);

/** Why VMRUN does not come as far as the rules, in its order (AMD64 APM volume 3, "VMRUN"). */
function refusalOf(parts: Svm['parts'], address: number): string | undefined {
  const { state, physical } = parts;
  if (!hasBit(state.efer, EFER.SVME)) return 'EFER.SVME is 0: VMRUN raises #UD.';
  if (usesRealSelectors(state)) return 'VMRUN raises #UD outside of protected mode.';
  if (state.cpl > 0) return 'VMRUN raises #GP(0) outside of ring 0.';
  const shown = `0x${address.toString(16)}`;
  if (!isVmcb(parts, address)) return `VMRUN raises #GP(0): ${shown} is not the address of a page of RAM.`;
  if (physical.isRam(state.vmHsavePa, VMCB_BYTES)) return undefined;
  return 'VMRUN raises #GP(0): VM_HSAVE_PA does not name a page of RAM for the host’s state.';
}

/** Whether the guest uses PAE paging, not nested, and its PDPTEs cannot be loaded. */
function hasWrongPdptes({ mmu, physical, vmcb }: Svm['parts']): boolean {
  const value = (name: VmcbFieldName): number => Number(vmcb.field(vmcbField(name)) & 0xffff_ffffn);
  const mode = pagingMode(value('CR0'), value('CR4'), value('EFER'));
  if (mode !== PagingMode.PAE || usesNestedPaging(vmcb)) return false;
  const table = value('CR3') - (value('CR3') % 32);
  return [0, 1, 2, 3].some((index) => {
    const [low, high] = [physical.peekU32(table + index * 8), physical.peekU32(table + index * 8 + 4)];
    return isReservedPdpte(low, high, mmu.physicalAddressBits);
  });
}

function ruleView(
  { id, fields, text, section }: ConsistencyRule,
  { physical }: Svm['parts'],
  vmcb: number,
): ViolatedRuleView {
  const views = fields.map((name) => {
    const field = vmcbField(name);
    return { name, group: field.group, widthBits: field.bytes * 8, value: peekVmcbField(physical, vmcb, field) };
  });
  return { id, text, manual: 'AMD64 APM volume 2', section, fields: views };
}
