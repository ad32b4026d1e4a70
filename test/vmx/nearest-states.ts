/**
 * For every violation of a check of VM entry, the nearest state that passes all of them: one field of the rule holds something
 * else, as close as possible to what is wrong. A limit that was off by one would show here.
 */
import type { EntryRule } from '../../engine/vmx/entry-checks/entry-rule.ts';
import { entryRules } from '../../engine/vmx/entry-checks/rules.ts';
import { type VmcsField, type VmcsFieldName, widthBitsOf } from '../../engine/vmx/fields.ts';
import { fieldByName, VMCS_REVISION } from '../../engine/vmx/vmcs.ts';
import { PDPTE3, type Violation, violations } from './entry-rule-violations.ts';
import { OTHER_VMCS, type Values, VmxMachine } from './machine.ts';

/** A change to a state that breaks a rule. */
export interface NearestState {
  readonly values?: Values;
  readonly prepare?: (machine: VmxMachine) => void;
}

const otherVmcs: NearestState = {
  values: { 'VMCS link pointer': OTHER_VMCS },
  prepare: (machine) => machine.u32(OTHER_VMCS, VMCS_REVISION),
};

/** Where more than one field has to change, or memory. */
const byHand: Readonly<Record<string, NearestState>> = {
  'injected-type': { values: { 'VM-entry interruption-information field': 0x8000_0020, 'Guest RFLAGS': 0x202 } },
  'guest-cs-dpl': { values: { 'Guest CS access rights': 0xa09b } },
  'guest-ss-dpl-rpl': { values: { 'Guest SS selector': 0x13, 'Guest CS selector': 0x1b } },
  'link-pointer-aligned': otherVmcs,
  'link-pointer-width': otherVmcs,
  'link-pointer-not-current': otherVmcs,
  'link-pointer-revision': { prepare: (machine) => machine.u32(OTHER_VMCS, VMCS_REVISION) },
  'link-pointer-shadow-indicator': { prepare: (machine) => machine.u32(OTHER_VMCS, VMCS_REVISION) },
  'memory-pdptes-reserved': { prepare: (machine) => machine.u64(PDPTE3, 0x7001n) },
};

export const violate = ({ values = {}, prepare }: Violation): VmxMachine => {
  const machine = new VmxMachine().ready(values);
  prepare?.(machine);
  return machine;
};

/** Fields whose bits are flags: their neighbours are those that differ in one bit. */
const FLAGS = /controls$|access rights|CR0|CR4|RFLAGS|EFER|PDPTE|pending|interruptibility/;
/** Numbers this close are all neighbours; further away, those that differ by a power of two. */
const CLOSE = 8n;

function* neighbours(name: VmcsFieldName, wrong: bigint): Generator<bigint> {
  const limit = 1n << BigInt(widthBitsOf((fieldByName(name) as VmcsField).encoding));
  const isFlags = FLAGS.test(name);
  for (let step = 1n; step < limit; step = isFlags || step >= CLOSE ? step << 1n : step + 1n) {
    const values = isFlags ? [wrong ^ step] : [wrong - step, wrong + step];
    for (const value of values) if (value >= 0n && value < limit) yield value;
  }
}

function nearestIn(machine: VmxMachine, rule: EntryRule, name: VmcsFieldName): Values | undefined {
  const wrong = machine.read(name);
  for (const value of neighbours(name, wrong)) {
    machine.write({ [name]: value });
    if (!rule.violated(machine.vmx.parts) && machine.vmx.violatedRules().length === 0) return { [name]: value };
  }
  machine.write({ [name]: wrong });
  return undefined;
}

function search(rule: EntryRule): NearestState {
  const machine = violate(violations[rule.id] as Violation);
  // What the violation changes is what to change back, if the rule has it.
  const changed = Object.keys(violations[rule.id]?.values ?? {});
  const names = [...rule.fields].sort((a, b) => Number(changed.includes(b)) - Number(changed.includes(a)));
  for (const name of names) {
    const values = nearestIn(machine, rule, name);
    if (values) return { values };
  }
  throw new Error(`no state near the violation of ${rule.id} passes`);
}

const found = new Map<string, NearestState>();

/** The nearest state to the violation of the rule with that name. */
export function nearestState(id: string): NearestState {
  const known = byHand[id] ?? found.get(id);
  if (known) return known;
  const nearest = search(entryRules.find((rule) => rule.id === id) as EntryRule);
  found.set(id, nearest);
  return nearest;
}
