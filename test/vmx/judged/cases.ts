/**
 * The checks of VM entry as a bare guest asks them (`entry-rules.asm`): for each rule the state that breaks it and the
 * nearest one that does not, as changes to a valid VMCS that fit any processor.
 */

import { allowedSettings, type ControlGroupName, controlGroups } from '../../../engine/vmx/controls.ts';
import { entryRules } from '../../../engine/vmx/entry-checks/rules.ts';
import { type VmcsFieldName, vmcsFields, widthBitsOf } from '../../../engine/vmx/fields.ts';
import { VMCS_REVISION } from '../../../engine/vmx/vmcs.ts';
import { Random } from '../../machine/hostile/random.ts';
import { type Violation, violations } from '../entry-rule-violations.ts';
import { breakRules } from '../fuzz/random-vmcs.ts';
import { OTHER_VMCS, VMCS_REGION, VmxMachine, validVmcs } from '../machine.ts';
import { type NearestState, nearestState } from '../nearest-states.ts';

const hex = (value: bigint | number): string => `0x${BigInt.asUintN(64, BigInt(value)).toString(16)}`;
const encodingOf = new Map<string, number>(vmcsFields.map(({ name, encoding }) => [name, encoding]));

/** What the guest has under its own names and addresses. */
const ofGuest: Readonly<Partial<Record<VmcsFieldName, string>>> = {
  'Host RIP': 'exited',
  'Host CS selector': 'CODE',
  'Host SS selector': 'DATA',
  'Host DS selector': 'DATA',
  'Host ES selector': 'DATA',
  'Host TR selector': 'TSS',
  'Host TR base': 'tss',
  'Host GDTR base': 'gdt',
  'Host IDTR base': 'idt',
  'Guest RIP': 'guest_code',
  'Guest RSP': 'guest_stack',
  'Guest CS selector': 'CODE',
  'Guest SS selector': 'DATA',
  'Guest DS selector': 'DATA',
  'Guest ES selector': 'DATA',
  'Guest FS selector': 'DATA',
  'Guest GS selector': 'DATA',
  'Guest TR selector': 'TSS',
  'Guest TR base': 'tss',
  'Guest GDTR base': 'gdt',
  'Guest IDTR base': 'idt',
};
const controlRegisters = ['CR0', 'CR3', 'CR4'].flatMap((name) => [`Host ${name}`, `Guest ${name}`] as const);
/** Changes of these are told by bit: processors differ in those that are fixed. */
const byBits = new Set<string>([
  ...Object.values(controlGroups).map(({ field }) => field),
  ...controlRegisters.filter((name) => !name.endsWith('CR3')),
]);

// ---- the valid VMCS ------------------------------------------------------------------------------------------------

const capabilityMsr: Readonly<Partial<Record<ControlGroupName, string>>> = {
  pin: 'TRUE_CONTROLS',
  primary: 'TRUE_CONTROLS + 1',
  exit: 'TRUE_CONTROLS + 2',
  entry: 'TRUE_CONTROLS + 3',
  secondary: 'SECONDARY_CAPS',
};

function writeOf(name: VmcsFieldName, value: bigint): string {
  const encoding = hex(encodingOf.get(name) ?? 0);
  const group = (Object.keys(controlGroups) as ControlGroupName[]).find((one) => controlGroups[one].field === name);
  const msr = group && capabilityMsr[group];
  if (group && msr) {
    const wanted = value & ~BigInt(allowedSettings(group).trueAllowed0);
    return `write_controls ${encoding}, ${msr}, ${hex(wanted)}`;
  }
  const register = controlRegisters
    .find((one) => one === name)
    ?.slice(-3)
    .toLowerCase();
  if (register) return `mov rbx, ${register}\n        write_field ${encoding}, rbx`;
  return `write_field ${encoding}, ${ofGuest[name] ?? hex(value)}`;
}

function validVmcsLines(): string[] {
  const values = Object.entries(validVmcs(new VmxMachine())).filter(([name]) => name !== 'Host RSP');
  return values.map(([name, value]) => `        ${writeOf(name as VmcsFieldName, BigInt.asUintN(64, BigInt(value)))}`);
}

// ---- the cases -----------------------------------------------------------------------------------------------------

/** MAXPHYADDR differs: what is beyond ours has to be beyond everybody's. */
const BEYOND = 1n << 39n;
const END_OF_ADDRESSES = (1n << 45n) | BEYOND;
function farther(value: bigint): bigint {
  if (value >> 39n === 1n) return value | END_OF_ADDRESSES;
  return value < BEYOND && BEYOND - value < 0x1000n ? value + END_OF_ADDRESSES : value;
}

/** The last canonical address, of those processors too that have no linear addresses of 57 bits. */
const nearer = (value: bigint): bigint => (value === (1n << 56n) - 1n ? (1n << 47n) - 1n : value);

const lineOf = (kind: string, number: number | bigint, value: bigint): string =>
  `        dd ${kind}, ${hex(number)}\n        dq ${hex(value)}`;

interface Built {
  readonly lines: readonly string[];
  /** Why the guest cannot ask this. */
  readonly reason?: string;
}

/** Bytes of RAM that cases may change: below the image, and not the VMCS, but for its first dword. */
const END_OF_LOW_MEMORY = 0x6_0000;

function memoryLines(before: Uint8Array, after: Uint8Array): string[] {
  const lines: string[] = [];
  const [old, now] = [new DataView(before.buffer), new DataView(after.buffer)];
  for (let at = 0; at < END_OF_LOW_MEMORY; at += 4) {
    const [was, is] = [old.getUint32(at, true), now.getUint32(at, true)];
    if (was === is || (at > VMCS_REGION && at < VMCS_REGION + 0x1000)) continue;
    if (at === OTHER_VMCS || at === VMCS_REGION) {
      lines.push(lineOf('CHANGE_REVISION', at, BigInt((is ^ VMCS_REVISION) >>> 0) | (BigInt(was) << 32n)));
    } else lines.push(lineOf('CHANGE_MEMORY', at, BigInt(is) | (BigInt(was) << 32n)));
  }
  return lines;
}

type Fields = ReadonlyMap<string, bigint>;
const fieldsOf = (machine: VmxMachine): Fields =>
  new Map(vmcsFields.map(({ name }) => [name, machine.read(name as VmcsFieldName)]));

function fieldLines(before: Fields, after: Fields, isBroken: boolean): string[] {
  return vmcsFields.flatMap(({ name, encoding }) => {
    const [was = 0n, is = 0n] = [before.get(name), after.get(name)];
    if (was === is || name === 'Host RSP') return [];
    const wide = widthBitsOf(encoding) < 64 ? is : isBroken ? farther(is) : nearer(is);
    return [byBits.has(name) ? lineOf('CHANGE_BITS', encoding, was ^ wide) : lineOf('CHANGE_FIELD', encoding, wide)];
  });
}

const stateOf = ({ state }: VmxMachine): Buffer => Buffer.from(state.bytes.slice());
const lowMemory = ({ physical }: VmxMachine): Uint8Array => physical.peek(0, END_OF_LOW_MEMORY) ?? new Uint8Array();

/** The lines that make of a valid VMCS what `change` makes of it. */
function build(change: (machine: VmxMachine) => void, isBroken: boolean): Built {
  const machine = new VmxMachine().ready();
  const [fields, memory, state] = [fieldsOf(machine), lowMemory(machine), stateOf(machine)];
  change(machine);
  const injected = machine.read('VM-entry interruption-information field');
  if (injected >> 31n === 1n && ((injected >> 8n) & 7n) === 7n)
    return { lines: [], reason: 'Bochs injects no MTF exits' };
  if (!stateOf(machine).equals(state)) return { lines: [], reason: 'the host would have to be in another mode' };
  return { lines: [...fieldLines(fields, fieldsOf(machine), isBroken), ...memoryLines(memory, lowMemory(machine))] };
}

const apply = (machine: VmxMachine, ...changes: readonly (Violation | NearestState)[]): void => {
  for (const { values = {} } of changes) machine.write(values);
  for (const { prepare } of changes) prepare?.(machine);
};

/** Changed fields of the host that it could not come back with. */
const VITAL = /^Host (CR0|CR3|CR4|RIP|IA32_EFER|CS selector|SS selector|TR selector|FS base|GS base)/;
const waits = 'the guest would wait for good';

/** Whose nearest states are not asked, by name of the rule. */
const notNearest: readonly (readonly [RegExp, string])[] = [
  [/^exit-msr-/, 'the VM exit would end in a VMX abort'],
  [/^entry-msr-load-/, 'the area would name MSR 0'],
];

function nearest(id: string): Built {
  const known = notNearest.find(([pattern]) => pattern.test(id));
  if (known) return { lines: [], reason: known[1] };
  const state = nearestState(id);
  const machine = new VmxMachine().ready(violations[id]?.values ?? {}).write(state.values ?? {});
  if (machine.read('Guest activity state') !== 0n) return { lines: [], reason: waits };
  const isVital = Object.keys(state.values ?? {}).some((name) => VITAL.test(name));
  if (isVital) return { lines: [], reason: 'the host could not come back' };
  return build((m) => apply(m, violations[id] as Violation, state), false);
}

export interface Case {
  /** Of the rule, with what is asked. */
  readonly name: string;
  readonly built: Built;
}

export const cases: readonly Case[] = entryRules.flatMap(({ id }) => [
  { name: `${id}, broken`, built: build((m) => apply(m, violations[id] as Violation), true) },
  { name: `${id}, nearest`, built: nearest(id) },
]);

const RANDOM_STATES = 600;

/** Random states that break some rules, and which. */
export const randomCases: readonly (Case & { readonly violated: readonly string[] })[] = Array.from(
  { length: RANDOM_STATES },
  (_, seed) => {
    let violated: readonly string[] = [];
    const built = build((machine) => {
      breakRules(new Random(seed + 1), machine);
      violated = machine.vmx.violatedRules().map(({ id }) => id);
    }, true);
    return { name: `seed ${seed + 1}`, violated, built };
  },
).filter(({ violated }) => violated.length > 0);

/** The file that the guest includes. */
export function casesInclude(cases: readonly Case[]): string {
  const asked = cases.filter(({ built }) => built.reason === undefined && built.lines.length > 0);
  return [
    '; Made by cases.ts: the valid VMCS, and the changes of each case.',
    ...validVmcsLines(),
    '        ret',
    '',
    '        section .data',
    'cases:',
    "        db 'valid', 0",
    lineOf('CHANGE_END', 0, 0n),
    ...asked.flatMap(({ name, built }) => [`        db '${name}', 0`, ...built.lines, lineOf('CHANGE_END', 0, 0n)]),
    '        db 0',
    '        section .text',
    '',
  ].join('\n');
}
