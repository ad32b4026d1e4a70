/** What the bits of a VMCS field mean, by field. */
import { CR0, CR4, EFER, RFLAGS } from '../cpu/register-bits.ts';
import { type ControlGroup, controlGroups, exceptionControls } from '../vmx/controls.ts';
import { exitReason } from '../vmx/exit-reasons.ts';
import { type VmcsField, type VmcsFieldName, vmcsFields } from '../vmx/fields.ts';
import { instructionErrorText } from '../vmx/instruction-errors.ts';
import { decodeInterruption, decodeQualification } from '../vmx/qualification.ts';
import { accessRights, bitOf, type FieldPart, part, selector, setBits } from './field-parts.ts';

export type { FieldPart };

/** Value of another field of the same VMCS. */
type Lookup = (field: VmcsField) => bigint;
type Decoder = (value: bigint, lookup: (name: VmcsFieldName) => bigint) => readonly FieldPart[];

/** Single bits: number, name, description. */
const flags =
  (rows: readonly (readonly [number, string, string])[]): Decoder =>
  (value) =>
    rows.map(([bit, name, description]) => part(name, bitOf(value, bit), description));

const controls =
  (group: ControlGroup): Decoder =>
  (value) =>
    group.controls.map(({ name, bit, doc }) => part(name, bitOf(value, bit), `Bit ${bit}: ${doc}`));

const activityNames = ['active', 'HLT', 'shutdown', 'wait-for-SIPI'] as const;
const memoryTypes: Readonly<Record<number, string>> = { 0: 'uncacheable', 6: 'write-back' };

const eptp: Decoder = (value) => [
  part('memory type', value & 7n, memoryTypes[Number(value & 7n)] ?? 'reserved'),
  part('page-walk length', ((value >> 3n) & 7n) + 1n, 'Levels of EPT paging structures.'),
  part('accessed and dirty flags', bitOf(value, 6), 'Whether EPT entries have accessed and dirty flags.'),
  part('EPT PML4 or PML5 table', `0x${(value & ~0xfffn).toString(16)}`, 'Host-physical address of the root.'),
];

const reasonParts: Decoder = (value) => {
  const basic = Number(value & 0xffffn);
  const info = exitReason(basic);
  return [
    part('basic exit reason', basic, info?.name ?? 'reserved'),
    part('VM-entry failure', bitOf(value, 31), 'The VM entry failed; the guest did not run.'),
  ];
};

const qualificationParts: Decoder = (value, lookup) => {
  const reason = Number(lookup('Exit reason') & 0xffffn);
  return decodeQualification(reason, value, Number(lookup('VM-exit interruption information') & 0xffn));
};

const interruption: Decoder = (value) => decodeInterruption(Number(value));

const byName: Partial<Record<VmcsFieldName, Decoder>> = {
  'Exception bitmap': flags(exceptionControls.map(([bit, name, doc]) => [bit, name, doc] as const)),
  'Guest CR0': setBits(CR0),
  'Host CR0': setBits(CR0),
  'CR0 guest/host mask': setBits(CR0),
  'CR0 read shadow': setBits(CR0),
  'Guest CR4': setBits(CR4),
  'Host CR4': setBits(CR4),
  'CR4 guest/host mask': setBits(CR4),
  'CR4 read shadow': setBits(CR4),
  'Guest RFLAGS': setBits(RFLAGS),
  'Guest IA32_EFER': setBits(EFER),
  'Host IA32_EFER': setBits(EFER),
  'Guest interruptibility state': flags([
    [0, 'Blocking by STI', 'Interrupts wait for one more instruction after STI.'],
    [1, 'Blocking by MOV SS', 'Interrupts and debug exceptions wait for one more instruction.'],
    [2, 'Blocking by SMI', 'System-management interrupts are blocked.'],
    [3, 'Blocking by NMI', 'NMIs (virtual NMIs, if enabled) are blocked.'],
  ]),
  'Guest activity state': (value) => [
    part('activity', activityNames[Number(value)] ?? 'reserved', 'What the CPU does.'),
  ],
  'Guest pending debug exceptions': flags([
    [0, 'B0', 'Breakpoint condition 0.'],
    [1, 'B1', 'Breakpoint condition 1.'],
    [2, 'B2', 'Breakpoint condition 2.'],
    [3, 'B3', 'Breakpoint condition 3.'],
    [12, 'Enabled breakpoint', 'Some breakpoint met was enabled.'],
    [14, 'BS', 'Single step.'],
  ]),
  'EPT pointer': eptp,
  'Exit reason': reasonParts,
  'Exit qualification': qualificationParts,
  'VM-entry interruption-information field': interruption,
  'VM-exit interruption information': interruption,
  'IDT-vectoring information field': interruption,
  'VM-instruction error': (value) => {
    const text = instructionErrorText(Number(value));
    return text === undefined ? [] : [part('error', value, text)];
  },
};

const byField = new Map<string, Decoder>(Object.entries(byName) as [string, Decoder][]);
for (const group of Object.values(controlGroups)) byField.set(group.field, controls(group));
for (const { name } of vmcsFields) {
  if (name.endsWith(' access rights')) byField.set(name, accessRights);
  if (name.endsWith(' selector')) byField.set(name, selector);
}

const fieldsByName = new Map<string, VmcsField>(vmcsFields.map((field) => [field.name, field]));

/** The decoded parts of a field; empty for a plain value. */
export function partsOf(field: VmcsField, lookup: Lookup): readonly FieldPart[] {
  const decode = byField.get(field.name);
  if (!decode) return [];
  return decode(lookup(field), (name) => lookup(fieldsByName.get(name) as VmcsField));
}
