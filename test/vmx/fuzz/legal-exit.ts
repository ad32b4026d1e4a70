/** What holds for every VM exit, whatever brought it about. */
import { ENTRY_FAILURE, type ExitReasonName, exitReason } from '../../../engine/vmx/exit-reasons.ts';
import type { VmcsFieldName } from '../../../engine/vmx/fields.ts';
import { LAUNCH_STATE_OFFSET, LaunchState } from '../../../engine/vmx/vmcs.ts';
import {
  type ExitPart,
  impossibleReasons,
  interruptionParts,
  qualificationParts,
  vectoringParts,
} from '../exit-parts.ts';
import type { VmxMachine } from '../machine.ts';

const maskOf = (parts: readonly ExitPart[]): bigint =>
  parts
    .filter(({ never }) => never === undefined)
    .reduce((mask, { high, low }) => mask | (((1n << BigInt(high - low + 1)) - 1n) << BigInt(low)), 0n);
const INTERRUPTION = maskOf(interruptionParts);
const VECTORING = maskOf(vectoringParts);
const VALID = 1n << 31n;
const [DB, PF] = [1n, 14n];

/** Exits that can come while an event is delivered. */
const inDelivery: readonly ExitReasonName[] = [
  'Exception or non-maskable interrupt (NMI)', 'Task switch', 'APIC access', 'EPT violation', 'EPT misconfiguration',
  'Page-modification log full', 'SPP-related event',
]; // biome-ignore format: a list of names
const withInterruption: readonly ExitReasonName[] = ['Exception or non-maskable interrupt (NMI)', 'External interrupt'];

const hosts: readonly (readonly [VmcsFieldName, (m: VmxMachine) => bigint])[] = [
  ['Host RIP', (m) => BigInt.asUintN(64, BigInt(m.state.rip))],
  ['Host RSP', (m) => m.state.gpr(4)],
  ['Host CR3', (m) => BigInt(m.state.cr3)],
  ['Host CS selector', (m) => BigInt(m.state.segment(1).selector)],
  ['Host GDTR base', (m) => BigInt.asUintN(64, BigInt(m.state.gdtrBase))],
];

/** The bits that an exit qualification may have. */
function qualificationMask(m: VmxMachine, name: ExitReasonName): bigint {
  const parts = maskOf(qualificationParts[name] ?? []);
  if (name !== 'Exception or non-maskable interrupt (NMI)') return parts;
  const vector = m.read('VM-exit interruption information') & 0xffn;
  if (vector === PF) return (1n << 64n) - 1n;
  return vector === DB ? parts & 0x1_ffffn : 0n;
}

/** What is wrong with the VM exit that the machine has just made; empty if nothing is. */
export function wrongWithExit(m: VmxMachine): string[] {
  const full = Number(m.read('Exit reason'));
  const info = exitReason(full & 0xffff);
  if (!info) return [`exit reason ${full}`];
  const name = info.name as ExitReasonName;
  const wrong: string[] = [];
  const expect = (holds: boolean, what: string): void => void (holds || wrong.push(`${name}: ${what}`));
  expect(impossibleReasons[name] === undefined, 'cannot come');
  for (const [field, now] of hosts) expect(now(m) === m.read(field), `${field} is not loaded`);
  const qualification = m.read('Exit qualification');
  expect((qualification & ~qualificationMask(m, name)) === 0n, `qualification ${qualification.toString(16)}`);
  if (full >= ENTRY_FAILURE) return wrong;
  const interruption = m.read('VM-exit interruption information');
  const vectoring = m.read('IDT-vectoring information field');
  expect((interruption & ~INTERRUPTION) === 0n, `interruption information ${interruption.toString(16)}`);
  expect(interruption === 0n || withInterruption.includes(name), 'interruption information is valid');
  expect((vectoring & ~VECTORING) === 0n, `IDT-vectoring information ${vectoring.toString(16)}`);
  expect(
    vectoring === 0n || ((vectoring & VALID) !== 0n && inDelivery.includes(name)),
    'IDT-vectoring information is valid',
  );
  expect((m.read('VM-entry interruption-information field') & VALID) === 0n, 'the event would be injected again');
  const length = Number(m.read('VM-exit instruction length'));
  expect(length <= 15 && (!info.skips || length > 0), `instruction length ${length}`);
  const launchState = m.physical.readU32(m.state.currentVmcs + LAUNCH_STATE_OFFSET);
  expect(launchState === LaunchState.launched, 'the VMCS is not launched');
  return wrong;
}
