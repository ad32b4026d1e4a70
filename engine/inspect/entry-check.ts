/** What would become of a VM entry now, by peeks only. */
import { BLOCKING } from '../cpu/register-bits.ts';
import type { EntryRule } from '../vmx/entry-checks/entry-rule.ts';
import { controlRules, hostRules } from '../vmx/entry-checks/rules.ts';
import { widthBitsOf } from '../vmx/fields.ts';
import { fieldByName, SHADOW_VMCS } from '../vmx/vmcs.ts';
import type { Vmx } from '../vmx/vmx.ts';
import type { EntryCheckView, ViolatedRuleView } from './views.ts';
import { isLaunched, peekVmcsField } from './vmcs.ts';

const PASSES =
  'No rule is broken: the guest would be entered, if the MSRs of the VM-entry MSR-load area can be loaded.';
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
  return {
    ...view,
    isPossible: first === undefined && !isBlocked,
    outcome: isBlocked ? MOV_SS : first ? outcomeOf(first) : PASSES,
    violated: rules.map((rule) => ruleView(rule, vmx)),
  };
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
