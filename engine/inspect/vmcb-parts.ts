/** What the bits of a VMCB field mean, by field. */
import { CR0, CR4, EFER, RFLAGS } from '../cpu/register-bits.ts';
import { decodeEvent } from '../svm/event-information.ts';
import { exitCode, exitCodeName, exitCodeTable } from '../svm/exit-codes.ts';
import { explainExitInformation } from '../svm/exit-information.ts';
import { toRights } from '../svm/saved-state.ts';
import { type VmcbField, type VmcbFieldName, vmcbField, vmcbFields } from '../svm/vmcb-fields.ts';
import { accessRights, type FieldPart, part, selector, setBits } from './field-parts.ts';

type Decoder = (value: bigint, peek: (name: VmcbFieldName) => bigint) => readonly FieldPart[];

/** The intercepts of a word that are set. */
const intercepts =
  (name: VmcbFieldName): Decoder =>
  (value) =>
    exitCodeTable
      .filter(({ intercept }) => intercept?.field === name && ((value >> BigInt(intercept.bit)) & 1n) === 1n)
      .map((row) => part(row.name, 1, `Bit ${row.intercept?.bit}: ${row.doc}`));

const eventTypes: Readonly<Record<number, string>> = {
  0: 'external or virtual interrupt',
  2: 'NMI',
  3: 'exception',
  4: 'software interrupt',
};

const event: Decoder = (value) => {
  const { vector, type, hasErrorCode, isValid } = decodeEvent(Number(value & 0xffff_ffffn));
  return [
    part('VECTOR', vector, 'The vector.'),
    part('TYPE', type, eventTypes[type] ?? 'reserved'),
    part('EV', hasErrorCode ? 1 : 0, 'Whether there is an error code.'),
    part('V', isValid ? 1 : 0, 'Whether there is an event.'),
    part('ERRORCODE', `0x${(value >> 32n).toString(16)}`, 'The error code.'),
  ];
};

const bits = (value: bigint, last: number, first: number): bigint =>
  (value >> BigInt(first)) & ((1n << BigInt(last - first + 1)) - 1n);

const interruptControl: Decoder = (value) => [
  part('V_TPR', bits(value, 7, 0), 'Virtual task priority.'),
  part('V_IRQ', bits(value, 8, 8), 'A virtual interrupt is pending.'),
  part('V_INTR_PRIO', bits(value, 19, 16), 'Its priority.'),
  part('V_IGN_TPR', bits(value, 20, 20), 'The task priority does not keep it.'),
  part(
    'V_INTR_MASKING',
    bits(value, 24, 24),
    'RFLAGS.IF of the host masks physical interrupts, that of the guest virtual ones.',
  ),
  part('V_INTR_VECTOR', bits(value, 39, 32), 'Its vector.'),
];

const tlbControls: Readonly<Record<number, string>> = {
  0: 'does nothing',
  1: 'drops all translations',
  3: 'drops the translations of the guest',
  7: 'drops the translations of the guest that are not global',
};

const signed = (value: bigint): number => Number(BigInt.asIntN(64, value));

const code: Decoder = (value) => {
  const row = exitCode(signed(value));
  return [part('exit code', exitCodeName(signed(value)), row?.doc ?? 'reserved')];
};

const information =
  (which: 1 | 2): Decoder =>
  (value, peek) =>
    explainExitInformation(signed(peek('EXITCODE')), which, value).map(([name, shown, doc]) => part(name, shown, doc));

const flag =
  (...names: readonly string[]): Decoder =>
  (value) =>
    names.map((name, bit) => part(name, bits(value, bit, bit), `Bit ${bit}.`));

const byName: Partial<Record<VmcbFieldName, Decoder>> = {
  'Intercept CR reads and writes': intercepts('Intercept CR reads and writes'),
  'Intercept DR reads and writes': intercepts('Intercept DR reads and writes'),
  'Intercept exception vectors': intercepts('Intercept exception vectors'),
  'Intercept vector 3': intercepts('Intercept vector 3'),
  'Intercept vector 4': intercepts('Intercept vector 4'),
  'Intercept vector 5': intercepts('Intercept vector 5'),
  TLB_CONTROL: (value) => [part('TLB_CONTROL', value, `VMRUN ${tlbControls[Number(value)] ?? '(reserved)'}.`)],
  'Virtual interrupt control': interruptControl,
  INTERRUPT_SHADOW: flag('INTERRUPT_SHADOW'),
  NP_ENABLE: flag('NP_ENABLE'),
  EVENTINJ: event,
  EXITINTINFO: event,
  EXITCODE: code,
  EXITINFO1: information(1),
  EXITINFO2: information(2),
  EFER: setBits(EFER),
  CR0: setBits(CR0),
  CR4: setBits(CR4),
  RFLAGS: setBits(RFLAGS),
};
const byField = new Map<string, Decoder>(Object.entries(byName) as [string, Decoder][]);
for (const { name } of vmcbFields) {
  if (name.endsWith(' attributes')) byField.set(name, (value) => accessRights(BigInt(toRights(Number(value)))));
  if (name.endsWith(' selector')) byField.set(name, selector);
}

/** The decoded parts of a field; empty for a plain value. */
export function vmcbParts(field: VmcbField, value: bigint, peek: (field: VmcbField) => bigint): readonly FieldPart[] {
  return byField.get(field.name)?.(value, (name) => peek(vmcbField(name))) ?? [];
}
