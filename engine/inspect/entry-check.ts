/** What would become of a VM entry now, by peeks only. */
import type { Processor } from '../cpu/processor.ts';
import { BLOCKING } from '../cpu/register-bits.ts';
import type { PhysicalMemory } from '../mmu/physical-memory.ts';
import type { EntryRule } from '../vmx/entry-checks/entry-rule.ts';
import { controlRules, hostRules } from '../vmx/entry-checks/rules.ts';
import { widthBitsOf } from '../vmx/fields.ts';
import { isForbiddenInLoadArea, MAX_MSR_ENTRIES, MSR_ENTRY_BYTES } from '../vmx/msr-areas.ts';
import { fieldByName, offsetOf, SHADOW_VMCS } from '../vmx/vmcs.ts';
import type { Vmx } from '../vmx/vmx.ts';
import type { EntryCheckView, ViolatedRuleView } from './views.ts';
import { isLaunched, peekVmcsField } from './vmcs.ts';

const PASSES = 'No rule is broken: the guest would be entered.';
const PASSES_WITH_MSRS =
  'No rule is broken, and the VM-entry MSR-load area names MSRs that can be loaded: the guest would be entered, if their values are such as WRMSR takes.';
const LOAD_ADDRESS = offsetOf('VM-entry MSR-load address');
const LOAD_COUNT = offsetOf('VM-entry MSR-load count');
const NO_VMCS = 'No VMCS is current: VMLAUNCH and VMRESUME end in VMfailInvalid.';
const SHADOW = 'The current VMCS is a shadow VMCS: VMLAUNCH and VMRESUME end in VMfailInvalid.';
const MOV_SS =
  'The instruction before was MOV SS or POP SS: directly behind it, a VM entry ends in VM-instruction error 26.';
const IN_GUEST =
  'The guest runs. Its state is in the processor, and from the next VM exit on in the VMCS: it can be checked then.';

/** Checks the current VMCS of the loaded vCPU as VMLAUNCH or VMRESUME would, whichever its launch state calls for. */
export function entryCheckView(vmx: Vmx): EntryCheckView {
  const { state, physical } = vmx.parts;
  if (!state.currentVmcsValid) return { instruction: 'VMLAUNCH', isPossible: false, outcome: NO_VMCS, violated: [] };
  const address = state.currentVmcs;
  const instruction = isLaunched(physical, address) ? 'VMRESUME' : 'VMLAUNCH';
  const view = { instruction, vmcs: BigInt(address) } as const;
  if (state.nonRoot) return { ...view, isPossible: false, outcome: IN_GUEST, violated: [] };
  if (physical.peekU32(address) & SHADOW_VMCS) return { ...view, isPossible: false, outcome: SHADOW, violated: [] };
  const rules = vmx.violatedRules();
  const isBlocked = (state.interruptibility & BLOCKING.MOV_SS) !== 0;
  const [first] = rules;
  const msrs = first ? { isLoadable: true, outcome: '' } : checkMsrLoadArea(vmx);
  return {
    ...view,
    isPossible: first === undefined && msrs.isLoadable && !isBlocked,
    outcome: isBlocked ? MOV_SS : first ? outcomeOf(first) : msrs.outcome,
    violated: rules.map((rule) => ruleView(rule, vmx)),
  };
}

/** What the area names can be loaded, as far as that does not depend on the values. */
function checkMsrLoadArea({ parts }: Vmx): { readonly isLoadable: boolean; readonly outcome: string } {
  const { vmcs, physical, processor } = parts;
  const [address, count] = [vmcs.number(LOAD_ADDRESS), vmcs.u32(LOAD_COUNT)];
  if (count === 0) return { isLoadable: true, outcome: PASSES };
  for (let number = 1; number <= Math.min(count, MAX_MSR_ENTRIES + 1); number++) {
    const at = address + (number - 1) * MSR_ENTRY_BYTES;
    const why = number > MAX_MSR_ENTRIES ? 'it is one too many' : whyNotLoaded(physical, processor, at);
    if (why === undefined) continue;
    const entry = `Entry ${number} of the VM-entry MSR-load area, at host-physical 0x${at.toString(16)}, cannot be loaded: ${why}.`;
    const outcome = `${entry} A VM exit with reason 34, VM-entry failure due to MSR loading, qualification ${number}: the host goes on at Host RIP.`;
    return { isLoadable: false, outcome };
  }
  return { isLoadable: true, outcome: PASSES_WITH_MSRS };
}

function whyNotLoaded(physical: PhysicalMemory, { model }: Processor, at: number): string | undefined {
  const index = physical.peekU32(at);
  const name = `MSR 0x${index.toString(16)}`;
  if (physical.peekU32(at + 4) !== 0) return 'its bits 63:32 are reserved, and not 0';
  if (isForbiddenInLoadArea(index)) return `the area may not name ${name}`;
  const msr = model.msrs.get(index);
  if (!msr) return `there is no ${name}`;
  return msr.write ? undefined : `${name} cannot be written`;
}

/** What the first part with a violation leads to; the parts behind it are not looked at. */
function outcomeOf(first: EntryRule): string {
  if (controlRules.includes(first)) return 'VMfailValid with VM-instruction error 7: invalid control fields.';
  if (hostRules.includes(first)) return 'VMfailValid with VM-instruction error 8: invalid host-state fields.';
  return `A VM exit with reason 33, invalid guest state, qualification ${first.qualification ?? 0}: the host goes on at Host RIP.`;
}

function ruleView({ id, fields, text, section }: EntryRule, { parts }: Vmx): ViolatedRuleView {
  const { physical, state } = parts;
  const views = fields.flatMap((name) => {
    const field = fieldByName(name);
    if (!field) return [];
    const { group, encoding } = field;
    return [
      { name, group, widthBits: widthBitsOf(encoding), value: peekVmcsField(physical, state.currentVmcs, field) },
    ];
  });
  return { id, text, manual: 'SDM volume 3', section, fields: views };
}
