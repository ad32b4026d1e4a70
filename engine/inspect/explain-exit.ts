/** VM exits and failed VM entries in words: what the guest did, which control made it exit, what a handler must do. */
import { hex } from '../cpu/hexadecimal.ts';
import type { CpuState } from '../cpu/state.ts';
import type { PhysicalMemory } from '../mmu/physical-memory.ts';
import { controlGroups, SECONDARY } from '../vmx/controls.ts';
import type { EntryRule } from '../vmx/entry-checks/entry-rule.ts';
import type { VmExitInfo } from '../vmx/exit.ts';
import { ExitReason, exitReason } from '../vmx/exit-reasons.ts';
import type { VmcsFieldName } from '../vmx/fields.ts';
import { InstructionError, instructionErrorText } from '../vmx/instruction-errors.ts';
import { describeOperand } from '../vmx/instruction-information.ts';
import { decodeQualification } from '../vmx/qualification.ts';
import { fieldByName, offsetOf } from '../vmx/vmcs.ts';
import type { VmEntryFailure } from '../vmx/vmx.ts';
import { explainEptMisconfiguration, explainEptViolation } from './ept-denial.ts';
import { exitCause } from './exit-causes.ts';
import { explainResumption } from './exit-resumption.ts';
import { peekVmcsField } from './vmcs.ts';

/** An occurrence as filters' conditions and people see it. */
export interface Explanation {
  /** One line. */
  readonly title: string;
  /** Named values for conditions, by the specification's words in snake case. */
  readonly values: Readonly<Record<string, bigint | string>>;
  /** Paragraphs. */
  readonly explanation: readonly string[];
}

const RAX = 0;
const RCX = 1;
const RDX = 2;

const exceptionNames: Readonly<Record<number, string>> = {
  0: '#DE', 1: '#DB', 2: 'NMI', 3: '#BP', 4: '#OF', 5: '#BR', 6: '#UD', 7: '#NM', 8: '#DF', 10: '#TS', 11: '#NP',
  12: '#SS', 13: '#GP', 14: '#PF', 16: '#MF', 17: '#AC', 18: '#MC', 19: '#XM', 30: '#SX',
}; // biome-ignore format: one table

const isValid = (information: number): boolean => (information & 0x8000_0000) !== 0;
const linearReasons: readonly number[] = [
  ExitReason['EPT violation'],
  ExitReason['I/O instruction'],
  ExitReason['Control-register accesses'],
];
const physicalReasons: readonly number[] = [ExitReason['EPT violation'], ExitReason['EPT misconfiguration']];
const msrReasons: readonly number[] = [ExitReason.RDMSR, ExitReason.WRMSR];

/** The guest's general-purpose registers, as they were at the exit. */
type Registers = Pick<CpuState, 'gpr' | 'gpr32'>;
/** What tells what an exit is about. */
type ExitFacts = Pick<VmExitInfo, 'reason' | 'qualification' | 'guestPhysical' | 'interruptionInformation'>;
type Values = Record<string, bigint | string>;

/** Named values of an exit. General-purpose registers are still the guest's. */
function exitValues(info: VmExitInfo, state: CpuState): Values {
  const { reason } = info;
  const values: Values = {
    reason: BigInt(reason),
    reason_name: info.name,
    entry_failure: info.entryFailure ? 1n : 0n,
    qualification: info.qualification,
    rip: info.rip,
    instruction_length: BigInt(info.instructionLengthBytes),
  };
  if (linearReasons.includes(reason)) values.guest_linear = info.guestLinear;
  if (physicalReasons.includes(reason)) values.guest_physical = info.guestPhysical;
  if (isValid(info.interruptionInformation)) values.error_code = BigInt(info.interruptionErrorCode);
  return { ...values, ...subjectValues(info, state) };
}

/** The values that tell what was asked for: MSR, leaf, port, vector … */
function subjectValues({ reason, qualification, interruptionInformation }: ExitFacts, registers: Registers): Values {
  const values: Values = {};
  const low = (register: number): bigint => BigInt(registers.gpr32(register));
  if (isValid(interruptionInformation)) values.vector = BigInt(interruptionInformation & 0xff);
  if (msrReasons.includes(reason)) values.msr = low(RCX);
  if (reason === ExitReason.WRMSR) values.msr_value = (low(RDX) << 32n) | low(RAX);
  if (reason === ExitReason.CPUID) Object.assign(values, { leaf: low(RAX), subleaf: low(RCX) });
  if (reason === ExitReason.VMCALL) values.rax = registers.gpr(RAX);
  if (reason === ExitReason['I/O instruction']) addIoValues(values, Number(qualification & 0xffff_ffffn));
  if (reason === ExitReason['Control-register accesses']) values.control_register = qualification & 15n;
  return values;
}

function addIoValues(values: Values, q: number): void {
  values.port = BigInt(q >>> 16);
  values.size = BigInt((q & 7) + 1);
  values.direction = q & 8 ? 'in' : 'out';
}

/** What an exit is about: port, address, leaf …; empty where its name says it all. */
export function exitSubject(facts: ExitFacts, registers: Registers): string {
  const values = subjectValues(facts, registers);
  switch (facts.reason) {
    case ExitReason.CPUID:
      return `leaf ${hex(values.leaf as bigint)}`;
    case ExitReason.RDMSR:
    case ExitReason.WRMSR:
      return `MSR ${hex(values.msr as bigint)}`;
    case ExitReason['I/O instruction']:
      return `${values.direction === 'in' ? 'IN from' : 'OUT to'} port ${hex(values.port as bigint)}`;
    case ExitReason['EPT violation']:
    case ExitReason['EPT misconfiguration']:
      return `guest-physical ${hex(facts.guestPhysical)}`;
    case ExitReason.VMCALL:
      return `RAX = ${hex(values.rax as bigint)}`;
    case ExitReason['Exception or non-maskable interrupt (NMI)']:
      return exceptionName(facts.interruptionInformation & 0xff);
    default:
      return '';
  }
}

export const exceptionName = (vector: number): string => exceptionNames[vector] ?? `vector ${vector}`;

/** Explains the VM exit that just happened. */
export function explainExit(info: VmExitInfo, state: CpuState, physical: PhysicalMemory): Explanation {
  const values = exitValues(info, state);
  const subject = exitSubject(info, state);
  const title = `VM exit: ${info.name} (${info.reason})${subject && `, ${subject}`}`;
  const row = exitReason(info.reason);
  const explanation: string[] = [];
  if (row) explanation.push(`At RIP ${hex(info.rip)}: ${row.doc}`);
  const cause = exitCause(info, (name) => peek(physical, info.vmcs, name));
  if (cause) explanation.push(cause);
  explanation.push(...details(info));
  explanation.push(...eptDetails(info, physical));
  if (row) explanation.push(`The handler: ${row.handler}`);
  explanation.push(...explainResumption(info));
  return { title, values, explanation };
}

/** Which EPT entry denied the access, or is wrong. */
function eptDetails({ reason, vmcs, guestPhysical, qualification }: VmExitInfo, physical: PhysicalMemory): string[] {
  if (!physicalReasons.includes(reason)) return [];
  const eptp = peek(physical, vmcs, 'EPT pointer');
  if (reason === ExitReason['EPT misconfiguration']) return explainEptMisconfiguration(physical, eptp, guestPhysical);
  const control = BigInt(SECONDARY['Mode-based execute control for EPT']);
  const isModeBased = (peek(physical, vmcs, controlGroups.secondary.field) & control) !== 0n;
  return explainEptViolation(physical, eptp, guestPhysical, qualification, isModeBased);
}

function peek(physical: PhysicalMemory, address: number, name: VmcsFieldName): bigint {
  const field = fieldByName(name);
  return field ? peekVmcsField(physical, address, field) : 0n;
}

/** Qualification, instruction information and IDT-vectoring as sentences. */
function details(info: VmExitInfo): string[] {
  const vector = info.interruptionInformation & 0xff;
  const parts = decodeQualification(info.reason, info.qualification, vector);
  const lines: string[] = [];
  const set = parts.filter(({ value }) => value !== '0');
  if (set.length > 0) {
    const list = set.map(({ name, value }) => (value === '1' ? name : `${name} ${value}`)).join('; ');
    lines.push(`Exit qualification ${hex(info.qualification)}: ${list}.`);
  }
  if (info.instructionInformation !== 0 && info.reason !== ExitReason['I/O instruction']) {
    lines.push(`Operand of the instruction: ${describeOperand(info.instructionInformation)}.`);
  }
  return lines;
}

/** One broken rule: fields with their values, and what the manual demands. */
function explainRule(rule: EntryRule, physical: PhysicalMemory, vmcs: number): string {
  const fields = rule.fields.map((name) => `${name} = ${hex(peek(physical, vmcs, name))}`).join(', ');
  return `${fields}. ${rule.text} (SDM volume 3, "${rule.section}")`;
}

/** Explains why a VM entry failed: every broken rule, and what became of the host. */
export function explainEntryFailure(failure: VmEntryFailure, physical: PhysicalMemory): Explanation {
  const { error, reason, vmcs, launch, violated } = failure;
  const instruction = launch ? 'VMLAUNCH' : 'VMRESUME';
  const how =
    error === undefined
      ? (exitReason(reason ?? 0)?.name ?? `exit reason ${reason}`)
      : `VM-instruction error ${error}, ${instructionErrorText(error)}`;
  const outcome =
    error === undefined
      ? `${instruction} ends in a VM exit with reason ${reason} and bit 31 of the exit reason set: the host goes on at Host RIP.`
      : `${instruction} sets ZF and the VM-instruction error field to ${error}: the host goes on with the next instruction.`;
  const values: Record<string, bigint | string> = {
    instruction,
    qualification: failure.qualification,
    rules: violated.map(({ id }) => id).join(' '),
  };
  if (error !== undefined) values.error = BigInt(error);
  if (reason !== undefined) values.reason = BigInt(reason);
  const msr = violated.length === 0 && reason !== undefined ? [msrSentence(failure, physical)] : [];
  const rules = violated.map((rule) => explainRule(rule, physical, vmcs));
  const refusal = refusals[error ?? 0] ?? [];
  return { title: `VM-entry failure: ${how}`, values, explanation: [...rules, ...msr, ...refusal, outcome] };
}

/** What is wrong where no rule is broken, by VM-instruction error. */
const refusals: Readonly<Record<number, readonly string[]>> = {
  [InstructionError.vmlaunchNonClear]: [
    'The launch state of the current VMCS is launched: a guest that has been entered is entered again by VMRESUME, or by VMLAUNCH after VMCLEAR.',
  ],
  [InstructionError.vmresumeNonLaunched]: [
    'The launch state of the current VMCS is clear: the first entry, and the first after each VMCLEAR, takes VMLAUNCH.',
  ],
  [InstructionError.blockedByMovSs]: [
    'The instruction before was MOV SS or POP SS, whose shadow does not allow a VM entry.',
  ],
};

const LOAD_ADDRESS = offsetOf('VM-entry MSR-load address');

function msrSentence({ qualification, vmcs }: VmEntryFailure, physical: PhysicalMemory): string {
  const area = Number(physical.view.getBigUint64(vmcs + LOAD_ADDRESS, true));
  const entry = area + (Number(qualification) - 1) * 16;
  return `Entry ${qualification} of the VM-entry MSR-load area, MSR ${hex(physical.peekU32(entry))} at host-physical ${hex(entry)}, cannot be loaded: WRMSR would fault, a reserved bit is set, or the area may not name this MSR.`;
}
