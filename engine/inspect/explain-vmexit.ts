/** #VMEXITs in words: what the guest did, which intercept made it exit, what a handler must do before VMRUN. */

import { Vector } from '../cpu/events.ts';
import { hex } from '../cpu/hexadecimal.ts';
import type { CpuState } from '../cpu/state.ts';
import type { PhysicalMemory } from '../mmu/physical-memory.ts';
import { decodeEvent } from '../svm/event-information.ts';
import { ExitCode, exitCode, FirstCode, isExceptionExit } from '../svm/exit-codes.ts';
import { type SvmStanding, svmHandlerOf, svmStandingAfter } from '../svm/exit-handlers.ts';
import type { SvmExitInfo } from '../svm/exit-info.ts';
import { explainExitInformation } from '../svm/exit-information.ts';
import { msrMapBit } from '../svm/permission-maps.ts';
import { type VmcbFieldName, vmcbField } from '../svm/vmcb-fields.ts';
import { type Explanation, exceptionName } from './explain-exit.ts';
import { peekVmcbField } from './vmcb.ts';

const RCX = 1;
const RDX = 2;
const PORT_SHIFT = 16n;

/** The guest's general-purpose registers as they were at the exit, RAX (which the VMCB has) among them. */
type Registers = Pick<CpuState, 'gpr' | 'gpr32'>;
/** What tells what an exit is about. */
type ExitFacts = Pick<SvmExitInfo, 'code' | 'info1' | 'info2'>;
type Values = Record<string, bigint | string>;

/** The values that tell what was asked for: MSR, leaf, port, vector … */
function subjectValues({ code, info1, info2 }: ExitFacts, registers: Registers): Values {
  const low = (register: number): bigint => BigInt(registers.gpr32(register));
  if (isExceptionExit(code)) return { vector: BigInt(code - FirstCode.exception) };
  switch (code) {
    case ExitCode.CPUID:
      return { leaf: low(0), subleaf: low(RCX) };
    case ExitCode.MSR:
      return info1 === 0n ? { msr: low(RCX) } : { msr: low(RCX), msr_value: (low(RDX) << 32n) | low(0) };
    case ExitCode.VMMCALL:
      return { rax: registers.gpr(0) };
    case ExitCode.IOIO:
      return {
        port: (info1 >> PORT_SHIFT) & 0xffffn,
        size: (info1 >> 4n) & 7n,
        direction: info1 & 1n ? 'in' : 'out',
      };
    case ExitCode.NPF:
      return { guest_physical: info2 };
    case ExitCode.SWINT:
      return { vector: info1 & 0xffn };
    default:
      return {};
  }
}

/** What an exit is about: port, address, leaf …; empty where its name says it all. */
export function svmExitSubject(facts: ExitFacts, registers: Registers): string {
  const values = subjectValues(facts, registers);
  const shown = (name: string): string => hex(values[name] as bigint);
  if (isExceptionExit(facts.code)) return exceptionName(facts.code - FirstCode.exception);
  switch (facts.code) {
    case ExitCode.CPUID:
      return `leaf ${shown('leaf')}`;
    case ExitCode.MSR:
      return `${facts.info1 === 0n ? 'RDMSR' : 'WRMSR'}, MSR ${shown('msr')}`;
    case ExitCode.VMMCALL:
      return `RAX = ${shown('rax')}`;
    case ExitCode.IOIO:
      return `${values.direction === 'in' ? 'IN from' : 'OUT to'} port ${shown('port')}`;
    case ExitCode.NPF:
      return `guest-physical ${shown('guest_physical')}`;
    case ExitCode.SWINT:
      return `vector ${shown('vector')}`;
    default:
      return '';
  }
}

/** Explains the #VMEXIT that just happened; `nested` are the sentences about the entry that a nested page fault met. */
export function explainVmexit(
  info: SvmExitInfo,
  registers: Registers,
  physical: PhysicalMemory,
  nested: () => readonly string[],
): Explanation {
  const { code, name, rip } = info;
  const row = exitCode(code);
  const handler = svmHandlerOf(code);
  return {
    title: `VM exit: ${name} (${hex(code)})`,
    values: valuesOf(info, registers),
    explanation: [
      ...(row ? [`At RIP ${hex(rip)}: ${row.doc}`] : []),
      ...causeOf(info, registers, physical),
      ...details(info),
      ...(code === ExitCode.NPF ? nested() : []),
      ...(handler === undefined ? [] : [`The handler: ${handler}`]),
      ...positionSentences(info, svmStandingAfter(code)),
      ...reinjectionSentences(info),
      'The host goes on behind VMRUN with GIF = 0: interrupts and NMIs wait until STGI.',
    ],
  };
}

function valuesOf(info: SvmExitInfo, registers: Registers): Values {
  const { code, name, info1, info2, intInfo, rip, nextRip, vmcb } = info;
  return {
    reason: BigInt.asUintN(64, BigInt(code)),
    reason_name: name,
    exit_info_1: info1,
    exit_info_2: info2,
    exit_int_info: intInfo,
    guest_rip: rip,
    next_rip: nextRip,
    vmcb: BigInt(vmcb),
    ...subjectValues(info, registers),
  };
}

/** Which bits made it exit. */
function causeOf(info: SvmExitInfo, registers: Registers, physical: PhysicalMemory): string[] {
  const { code, info1, vmcb } = info;
  const place = exitCode(code)?.intercept;
  const peek = (name: VmcbFieldName): bigint => peekVmcbField(physical, vmcb, vmcbField(name));
  if (code === ExitCode.NPF) {
    return [`It exits because NP_ENABLE is 1 and the tables at N_CR3 ${hex(peek('N_CR3'))} do not allow the access.`];
  }
  if (!place) return [];
  const bit = `bit ${place.bit} of “${place.field}” of the VMCB is 1`;
  if (code === ExitCode.IOIO) return [`It exits because ${bit}, and ${portBit(info1, peek('IOPM_BASE_PA'))}.`];
  if (code === ExitCode.MSR) {
    const map = peek('MSRPM_BASE_PA');
    return [`It exits because ${bit}, and ${msrBit(registers.gpr32(RCX), info1 !== 0n, map)}.`];
  }
  if (code === ExitCode.VMRUN) return [`It exits because ${bit}, without which VMRUN does not run a guest.`];
  return [`It exits because ${bit}.`];
}

function portBit(info1: bigint, map: bigint): string {
  const port = (info1 >> PORT_SHIFT) & 0xffffn;
  const byte = (map & ~0xfffn) + (port >> 3n);
  return `a bit of the port in the I/O permissions map is (port ${hex(port)}: byte ${hex(byte)}, bit ${port & 7n})`;
}

function msrBit(msr: number, isWrite: boolean, map: bigint): string {
  const bit = msrMapBit(msr, isWrite ? 1 : 0);
  if (bit === undefined) return `MSR ${hex(msr)} is outside of the MSR permissions map`;
  const byte = (map & ~0xfffn) + BigInt(bit >>> 3);
  return `so is the bit for ${isWrite ? 'writes' : 'reads'} of MSR ${hex(msr)} in the MSR permissions map (byte ${hex(byte)}, bit ${bit & 7})`;
}

function details({ code, info1, info2 }: SvmExitInfo): string[] {
  const parts = (which: 1 | 2, value: bigint) =>
    explainExitInformation(code, which, value).map(
      ([name, shown, doc]) => `EXITINFO${which}: ${name} = ${shown}. ${doc}`,
    );
  return [...parts(1, info1), ...parts(2, info2)];
}

function positionSentences(info: SvmExitInfo, standing: SvmStanding | undefined): string[] {
  switch (standing) {
    case 'instruction':
      return [instructionSentence(info)];
    case 'again':
      return [
        'RIP of the VMCB is that of the instruction: leave it, and VMRUN starts the instruction over. Whoever completes the access instead has to decode the instruction and skip it; its bytes are in the VMCB where the processor has decode assists.',
      ];
    case 'between':
      return ['RIP of the VMCB is where the guest goes on: leave it.'];
    case 'event':
      return [eventSentence(info)];
    case 'never':
      return ['The guest is in shutdown: VMRUN without a new guest state leads nowhere.'];
    case 'failure':
      return ['The guest has not run: its state in the VMCB is as it was.'];
    default:
      return [];
  }
}

function instructionSentence({ code, nextRip }: SvmExitInfo): string {
  const still = 'RIP of the VMCB is still that of the instruction';
  if (nextRip !== 0n) return `${still}; the next one is at ${hex(nextRip)} (nRIP): write that to RIP to skip it.`;
  return code === ExitCode.TASK_SWITCH
    ? `${still} that switches tasks, or where an event was delivered through a task gate.`
    : `${still}: decode it to find its length, and add that to RIP to skip it.`;
}

/** The guest has not seen the exception: it may be its own. */
function eventSentence({ code, info1, info2 }: SvmExitInfo): string {
  const vector = code - FirstCode.exception;
  const event = 0x8000_0300 | vector;
  const hasCode = (errorCodeVectors as readonly number[]).includes(vector);
  const injected = hasCode ? ((info1 & 0xffff_ffffn) << 32n) | BigInt((event | 0x800) >>> 0) : BigInt(event >>> 0);
  const cr2 = vector === Vector.PF ? ` and ${hex(info2)} (EXITINFO2) to CR2` : '';
  return `The guest has not seen the exception, and RIP is as it found it. To let the guest handle it: write ${hex(injected)} to EVENTINJ${cr2}. If the cause is removed instead, VMRUN goes on at RIP: a fault’s instruction starts over.`;
}
const errorCodeVectors = [
  Vector.DF,
  Vector.TS,
  Vector.NP,
  Vector.SS,
  Vector.GP,
  Vector.PF,
  Vector.AC,
  Vector.SX,
] as const;

/** An event was being delivered when the exit came: it is lost unless it is injected again. */
function reinjectionSentences({ intInfo }: SvmExitInfo): string[] {
  const { isValid, vector } = decodeEvent(Number(intInfo & 0xffff_ffffn));
  if (!isValid) return [];
  return [
    `It interrupted the delivery of the event in EXITINTINFO, vector ${vector}: the handler must inject that again, by writing EXITINTINFO (${hex(intInfo)}) to EVENTINJ.`,
  ];
}
