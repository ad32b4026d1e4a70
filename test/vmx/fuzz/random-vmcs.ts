/** Random VMCSs: valid ones with random controls, and ones with some rules broken or bits flipped. */
import type { ControlGroup, ControlGroupName } from '../../../engine/vmx/controls.ts';
import { allowedSettings, controlGroups } from '../../../engine/vmx/controls.ts';
import { type VmcsFieldName, widthBitsOf } from '../../../engine/vmx/fields.ts';
import { supportedFields } from '../../../engine/vmx/vmcs.ts';
import type { Random } from '../../machine/hostile/random.ts';
import { validVariants, violations } from '../entry-rule-violations.ts';
import { type Values, VmxMachine, validVmcs } from '../machine.ts';

/** Pages that the structures of random controls are in: RAM that nothing else uses, with random bytes. */
const STRUCTURES = 0x5_0000;
const structures: Values = {
  'Address of I/O bitmap A': STRUCTURES,
  'Address of I/O bitmap B': STRUCTURES + 0x1000,
  'Address of MSR bitmaps': STRUCTURES + 0x2000,
  'VMREAD-bitmap address': STRUCTURES + 0x3000,
  'VMWRITE-bitmap address': STRUCTURES + 0x4000,
  'Virtual-APIC address': STRUCTURES + 0x5000,
  'APIC-access address': STRUCTURES + 0x6000,
  'PML address': STRUCTURES + 0x7000,
  'Virtualization-exception information address': STRUCTURES + 0x8000,
  'EPTP-list address': STRUCTURES + 0x9000,
  'Sub-page-permission-table pointer': STRUCTURES + 0xa000,
  'Posted-interrupt descriptor address': STRUCTURES + 0xb000,
  'TSC multiplier': 1n << 48n,
};
const RANDOM_BYTES = 0x5000;

/** Fields in which everything is valid. */
const freeFields = [
  'TSC offset', 'CR0 guest/host mask', 'CR0 read shadow', 'CR4 guest/host mask', 'CR4 read shadow', 'Exception bitmap',
  'Page-fault error-code mask', 'Page-fault error-code match', 'CR3-target value 0', 'CR3-target value 1', 'Guest RSP',
  'PLE_Gap', 'PLE_Window', 'EOI-exit bitmap 0', 'VMX-preemption timer value', 'PML index', 'Guest interrupt status',
  'Guest IA32_SYSENTER_CS', 'EPTP index',
] as const satisfies readonly VmcsFieldName[]; // biome-ignore format: a list of names

const groups = Object.entries(controlGroups) as [ControlGroupName, ControlGroup][];
/** Values beyond one limit or another. */
const edges = [0n, 1n, (1n << 64n) - 1n, 1n << 39n, 0x8000_0000_0000n, 0xffff_8000_0000_0000n, 1n << 32n];

const value64 = (random: Random): bigint => (BigInt(random.value()) << 32n) | BigInt(random.value());

/** Some controls more than the VMCS has. */
function addControls(random: Random, m: VmxMachine): void {
  for (const [group, { field, controls }] of groups) {
    let value = m.read(field);
    for (const { bit, supported } of controls) if (supported && random.once(7)) value |= 1n << BigInt(bit);
    m.write({ [field]: value & BigInt(allowedSettings(group).allowed1) });
  }
}

/** Puts back, one by one, what broken rules are about, until none is broken. */
function repair(m: VmxMachine, original: Values): void {
  for (let turn = 0; turn < 200; turn++) {
    const [broken] = m.vmx.violatedRules();
    if (!broken) return;
    const name = broken.fields.find((field) => m.read(field) !== BigInt.asUintN(64, BigInt(original[field] ?? 0)));
    if (!name) return void m.write(original);
    m.write({ [name]: original[name] ?? 0 });
  }
}

/** A machine with a VMCS that breaks no rule. */
export function validMachine(random: Random): VmxMachine {
  const variant = random.pick(Object.values(validVariants));
  const m = new VmxMachine();
  m.ready({ ...structures, ...variant });
  m.physical.bytes.set(random.bytes(RANDOM_BYTES), STRUCTURES);
  const original: Values = { ...validVmcs(m), ...structures, ...variant };
  for (const name of freeFields) if (random.once(3)) m.write({ [name]: value64(random) });
  addControls(random, m);
  repair(m, original);
  return m;
}

const plain = Object.values(violations).filter(({ prepare }) => !prepare);
const writable = supportedFields.filter(({ group }) => group !== 'VM-Exit Information');

function flipOne(random: Random, m: VmxMachine): void {
  const { name, encoding } = random.pick(writable);
  const field = name as VmcsFieldName;
  const value = random.once(3)
    ? random.pick(edges)
    : m.read(field) ^ (1n << BigInt(random.below(widthBitsOf(encoding))));
  m.write({ [field]: value });
}

/** Breaks some rules, or none; what it was made of, for who looks at a finding. */
export function breakRules(random: Random, m: VmxMachine): void {
  for (let rest = random.pick([0, 0, 1, 1, 2, 3]); rest > 0; rest--) {
    if (random.once(2)) m.write(random.pick(plain).values ?? {});
    else flipOne(random, m);
  }
}
