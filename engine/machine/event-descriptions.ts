/** Events as filters and people see them: the named values of conditions, and the explanation in words. */

import { type GuestFault, Vector } from '../cpu/events.ts';
import { hex } from '../cpu/hexadecimal.ts';
import { modeNames } from '../cpu/modes.ts';
import { describeMsrIntercept } from '../inspect/msr-bitmap.ts';
import type { DecodedInstruction } from '../isa/decode.ts';
import { type Classification, classify } from '../isa/sensitivity.ts';
import { ExitCode, exitCode, interceptOf } from '../svm/exit-codes.ts';
import { isIntercepted } from '../svm/svm-parts.ts';
import type { Host } from './host.ts';
import type { MachineEvent, StopFilter } from './machine-api.ts';

/** What every event tells. */
export function common(host: Host): Record<string, bigint | string> {
  const { state } = host;
  return {
    rip: BigInt.asUintN(64, BigInt(state.rip)),
    ring: BigInt(state.cpl),
    non_root: BigInt(state.nonRoot),
    vcpu: BigInt(host.loaded),
    mode: modeNames[state.mode] ?? '',
  };
}

/** Names and titles of the exceptions (SDM volume 3, "Exception and Interrupt Reference"). */
const exceptionTitles: Readonly<Record<number, readonly [string, string]>> = {
  [Vector.DE]: ['#DE', 'Divide Error'],
  [Vector.DB]: ['#DB', 'Debug Exception'],
  [Vector.BP]: ['#BP', 'Breakpoint'],
  [Vector.OF]: ['#OF', 'Overflow'],
  [Vector.BR]: ['#BR', 'BOUND Range Exceeded'],
  [Vector.UD]: ['#UD', 'Invalid Opcode'],
  [Vector.NM]: ['#NM', 'Device Not Available'],
  [Vector.DF]: ['#DF', 'Double Fault'],
  [Vector.TS]: ['#TS', 'Invalid TSS'],
  [Vector.NP]: ['#NP', 'Segment Not Present'],
  [Vector.SS]: ['#SS', 'Stack-Segment Fault'],
  [Vector.GP]: ['#GP', 'General Protection'],
  [Vector.PF]: ['#PF', 'Page Fault'],
  [Vector.MF]: ['#MF', 'x87 Floating-Point Error'],
  [Vector.AC]: ['#AC', 'Alignment Check'],
  [Vector.MC]: ['#MC', 'Machine Check'],
  [Vector.XM]: ['#XM', 'SIMD Floating-Point'],
  [Vector.VE]: ['#VE', 'Virtualization Exception'],
  [Vector.CP]: ['#CP', 'Control Protection'],
  [Vector.SX]: ['#SX', 'Security Exception'],
};

/** `#PF`, or what else is known of a vector. */
export const exceptionName = (vector: number): string => exceptionTitles[vector]?.[0] ?? `vector ${vector}`;

export function exceptionEvent(filter: StopFilter, fault: GuestFault, host: Host): MachineEvent {
  const [name, title] = exceptionTitles[fault.vector] ?? [`vector ${fault.vector}`, 'Exception'];
  const code = fault.errorCode === undefined ? '' : `(${hex(fault.errorCode)})`;
  const values: Record<string, bigint | string> = { ...common(host), vector: BigInt(fault.vector), name };
  if (fault.errorCode !== undefined) values.error_code = BigInt(fault.errorCode);
  if (fault.linear !== undefined) values.address = BigInt.asUintN(64, BigInt(fault.linear));
  return {
    filter,
    vcpu: host.loaded,
    title: `${name}${code} — ${title} at ${hex(host.state.rip)}`,
    values,
    explanation: explainFault(fault, host),
  };
}

function explainFault(fault: GuestFault, host: Host): string[] {
  const where = `The instruction at ${hex(host.state.rip)} (ring ${host.state.cpl}, ${modeNames[host.state.mode]})`;
  const next =
    "The processor is about to deliver the exception through the guest's interrupt table; nothing has changed yet.";
  if (fault.vector === Vector.PF) return [explainPageFault(fault, where), next];
  return [`${where} raised the exception.`, ...explainErrorCode(fault), next];
}

function explainPageFault(fault: GuestFault, where: string): string {
  const code = fault.errorCode ?? 0;
  const access = code & 16 ? 'fetched an instruction from' : code & 2 ? 'wrote to' : 'read';
  const who = code & 4 ? 'in user mode' : 'in supervisor mode';
  const why =
    code & 8
      ? 'a paging-structure entry has a reserved bit set'
      : code & 1
        ? 'the page is present but its access rights forbid that'
        : 'no page is mapped there';
  return `${where} ${access} linear address ${hex(fault.linear ?? 0)} ${who}: ${why}. CR2 will hold the address.`;
}

/** Error codes of #TS, #NP, #SS and #GP name a descriptor. */
function explainErrorCode({ vector, errorCode }: GuestFault): string[] {
  const selectorFaults: readonly number[] = [Vector.TS, Vector.NP, Vector.SS, Vector.GP];
  if (errorCode === undefined || errorCode === 0 || !selectorFaults.includes(vector)) return [];
  const table = errorCode & 2 ? 'the IDT' : errorCode & 4 ? 'the LDT' : 'the GDT';
  return [
    `The error code names entry ${errorCode >> 3} of ${table}${errorCode & 1 ? ', while an external event was delivered' : ''}.`,
  ];
}

/** The events of an instruction that is about to execute: it is privileged, or sensitive outside ring 0. */
export function instructionEvent(instruction: DecodedInstruction, host: Host): MachineEvent[] {
  const found = classify(instruction);
  if (!found) return [];
  const values = { ...common(host), instruction: instruction.mnemonic.toUpperCase() };
  const { cpl } = host.state;
  const events: MachineEvent[] = [];
  const event = (filter: StopFilter, title: string, explanation: readonly string[]): void => {
    events.push({ filter, vcpu: host.loaded, title, values, explanation });
  };
  const name = instruction.mnemonic.toUpperCase();
  if (found.privileged) {
    const outcome = cpl > 0 ? `In ring ${cpl}: ${found.ring3}` : `In ring 0: ${found.ring0}`;
    const asGuest = host.state.nonRoot ? nonRootSentences(name, found, host) : [];
    event('privileged-instruction', `${name} is privileged (ring ${cpl})`, [found.does, outcome, ...asGuest]);
  }
  if (found.sensitive && cpl > 0) {
    const outcome = found.privileged
      ? 'Where it traps, a monitor that runs the kernel deprivileged can emulate it.'
      : 'It does not trap for being outside of ring 0 (a critical instruction, for which x86 needs binary translation, paravirtualization or VT-x).';
    const here = `In ring ${cpl}: ${found.ring3}`;
    event('sensitive-instruction', `${name} is sensitive (ring ${cpl})`, [found.does, here, outcome]);
  }
  return events;
}

const RCX = 1;

/** What the instruction does in the guest of a hypervisor, and what the bitmap says where that depends on one. */
function nonRootSentences(name: string, { nonRoot }: Classification, host: Host): string[] {
  const { state, physical } = host;
  if (host.hasSvm) return [guestModeSentence(name, host)];
  const general = `In non-root operation: ${nonRoot}`;
  const isMsrAccess = name === 'RDMSR' || name === 'WRMSR';
  if (!isMsrAccess || !state.currentVmcsValid) return [general];
  const access = name === 'RDMSR' ? 'read' : 'write';
  return [general, describeMsrIntercept(physical, state.currentVmcs, state.gpr32(RCX), access)];
}

/** Whether the VMCB intercepts the instruction, and by which bit. */
function guestModeSentence(name: string, { svm }: Host): string {
  const code = interceptOf(name);
  const place = code === undefined ? undefined : exitCode(code)?.intercept;
  if (code === undefined || !place) return 'In guest mode: it exits if the VMCB intercepts what it does.';
  const isSet = isIntercepted(svm.parts.vmcb, code);
  const map =
    isSet && (code === ExitCode.IOIO || code === ExitCode.MSR) ? ' if its bit in the permissions map is 1' : '';
  return `In guest mode: it ${isSet ? 'exits' : 'does not exit'}${map}; bit ${place.bit} of “${place.field}” of the VMCB is ${isSet ? 1 : 0}.`;
}

export function ringEvent(from: number, to: number, host: Host): MachineEvent {
  const direction = to < from ? 'gains' : 'gives up';
  return {
    filter: 'ring-change',
    vcpu: host.loaded,
    title: `Ring ${from} → ring ${to}`,
    values: { ...common(host), from: BigInt(from), to: BigInt(to) },
    explanation: [`The current privilege level changed from ${from} to ${to}: the program ${direction} privileges.`],
  };
}

export function tripleFaultEvent(host: Host): MachineEvent {
  return {
    filter: 'triple-fault',
    vcpu: host.loaded,
    title: 'Triple fault',
    values: common(host),
    explanation: [
      `A fault occurred while the processor was delivering a double fault. ${host.processor.shutdownCause}`,
      'The processor enters the shutdown state; a PC would reset now. Memory and registers are as they were.',
    ],
  };
}
