/** What the bits of a VMCS field mean, by field. */
import { CR0, CR4, EFER, RFLAGS } from '../cpu/register-bits.ts';
import { type ControlGroup, controlGroups, exceptionControls } from '../vmx/controls.ts';
import { exitReason } from '../vmx/exit-reasons.ts';
import { type VmcsField, type VmcsFieldName, vmcsFields } from '../vmx/fields.ts';
import { instructionErrorText } from '../vmx/instruction-errors.ts';
import { decodeInterruption, decodeQualification } from '../vmx/qualification.ts';

export interface FieldPart {
  readonly name: string;
  readonly value: string;
  readonly description: string;
}

/** Value of another field of the same VMCS. */
type Lookup = (field: VmcsField) => bigint;
type Decoder = (value: bigint, lookup: (name: VmcsFieldName) => bigint) => readonly FieldPart[];

const part = (name: string, value: string | number | bigint, description: string): FieldPart => ({
  name,
  value: String(value),
  description,
});
const bitOf = (value: bigint, bit: number): string => String((value >> BigInt(bit)) & 1n);

/** Single bits: number, name, description. */
const flags =
  (rows: readonly (readonly [number, string, string])[]): Decoder =>
  (value) =>
    rows.map(([bit, name, description]) => part(name, bitOf(value, bit), description));

/** The named bits of a register that are 1. */
const setBits =
  (names: Readonly<Record<string, number>>): Decoder =>
  (value) =>
    Object.entries(names)
      .filter(([, mask]) => (mask & (mask - 1)) === 0)
      .map(([name, mask]) => [name, Math.log2(mask)] as const)
      .filter(([, bit]) => bitOf(value, bit) === '1')
      .map(([name, bit]) => part(name, 1, `Bit ${bit}.`));

const controls =
  (group: ControlGroup): Decoder =>
  (value) =>
    group.controls.map(({ name, bit, doc }) => part(name, bitOf(value, bit), `Bit ${bit}: ${doc}`));

const accessRights: Decoder = (value) => {
  const rights = Number(value);
  return [
    part('unusable', (rights >>> 16) & 1, 'There is no segment.'),
    part('type', rights & 15, typeName(rights)),
    part('S', (rights >>> 4) & 1, '1: code or data; 0: system segment.'),
    part('DPL', (rights >>> 5) & 3, 'Descriptor privilege level; that of SS is the CPL.'),
    part('P', (rights >>> 7) & 1, 'Present.'),
    part('AVL', (rights >>> 12) & 1, 'For software.'),
    part('L', (rights >>> 13) & 1, '64-bit code.'),
    part('D/B', (rights >>> 14) & 1, '32-bit default size.'),
    part('G', (rights >>> 15) & 1, 'Limit in units of 4 KBytes.'),
  ];
};

const systemTypes: Readonly<Record<number, string>> = {
  1: 'available 16-bit TSS',
  2: 'LDT',
  3: 'busy 16-bit TSS',
  9: 'available 32- or 64-bit TSS',
  11: 'busy 32- or 64-bit TSS',
};
function typeName(rights: number): string {
  const type = rights & 15;
  if ((rights & 16) === 0) return systemTypes[type] ?? 'reserved';
  const accessed = type & 1 ? ', accessed' : '';
  if (type & 8) return `${type & 4 ? 'conforming ' : ''}code, ${type & 2 ? 'readable' : 'execute-only'}${accessed}`;
  return `data, ${type & 2 ? 'writable' : 'read-only'}${type & 4 ? ', expand-down' : ''}${accessed}`;
}

const selector: Decoder = (value) => [
  part('index', value >> 3n, 'Index of the descriptor.'),
  part('TI', bitOf(value, 2), '0: GDT; 1: LDT.'),
  part('RPL', value & 3n, 'Requested privilege level.'),
];

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
