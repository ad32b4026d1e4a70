/** EXITINFO1 and EXITINFO2 in words, by exit code (AMD64 APM volume 2, sections of the intercepts). */

import { Vector } from '../cpu/events.ts';
import { hex } from '../cpu/hexadecimal.ts';
import { gprNames, segmentNames } from '../cpu/state-layout.ts';
import { ExitCode, FirstCode } from './exit-codes.ts';

/** Name, value, what it means. */
export type InformationPart = readonly [name: string, value: string | number, doc: string];

const bit = (value: bigint, at: number): number => Number((value >> BigInt(at)) & 1n);
const gpr = (value: bigint): InformationPart => ['GPR', gprNames[Number(value & 15n)] ?? '', 'The register of MOV.'];

/** Bits of the error code of page faults and nested page faults. */
const faultParts = (value: bigint): InformationPart[] => [
  ['P', bit(value, 0), '1: the rights forbade it; 0: not present.'],
  ['RW', bit(value, 1), '1: a write.'],
  ['US', bit(value, 2), '1: a user access; nested walks always are.'],
  ['RSV', bit(value, 3), '1: a reserved bit was set.'],
  ['ID', bit(value, 4), '1: an instruction fetch.'],
];

function ioParts(value: bigint): InformationPart[] {
  const size = bit(value, 4) ? 8 : bit(value, 5) ? 16 : 32;
  const isString = bit(value, 2) === 1;
  return [
    ['PORT', hex((value >> 16n) & 0xffffn), 'The port.'],
    ['TYPE', bit(value, 0), '1: IN; 0: OUT.'],
    ['SIZE', size, 'Bits of the access.'],
    ['STR', bit(value, 2), '1: INS or OUTS.'],
    ['REP', bit(value, 3), '1: repeated.'],
    ...(isString ? [['SEG', segmentNames[Number((value >> 10n) & 7n)] ?? '', 'Segment.'] as const] : []),
  ];
}

const isRange = (code: number, first: number, count: number): boolean => code >= first && code < first + count;
const hasErrorCode: readonly number[] = [Vector.DF, Vector.TS, Vector.NP, Vector.SS, Vector.GP, Vector.AC, Vector.SX];

function first(code: number, value: bigint): InformationPart[] {
  switch (code) {
    case ExitCode.NPF:
      return [
        ...faultParts(value),
        ['final', bit(value, 32), '1: in the translation of the guest’s final address.'],
        ['page table', bit(value, 33), '1: in the translation of a guest page table’s address.'],
      ];
    case ExitCode.IOIO:
      return ioParts(value);
    case ExitCode.MSR:
      return [['access', value === 0n ? 'RDMSR' : 'WRMSR', 'What the guest did.']];
    case ExitCode.SWINT:
      return [['vector', Number(value & 0xffn), 'Of INT n.']];
    case ExitCode.INVLPG:
      return [['address', hex(value), 'The linear address.']];
    case ExitCode.TASK_SWITCH:
      return [['selector', hex(value & 0xffffn), 'Of the task that is switched to.']];
    case FirstCode.exception + Vector.PF:
      return faultParts(value);
    default:
      return byRegister(code, value);
  }
}

function byRegister(code: number, value: bigint): InformationPart[] {
  if (isRange(code, FirstCode.crRead, 32)) return bit(value, 63) ? [gpr(value)] : [];
  if (isRange(code, FirstCode.drRead, 32)) return [gpr(value)];
  if (hasErrorCode.includes(code - FirstCode.exception)) return [['error code', hex(value), 'Of the exception.']];
  return [];
}

function second(code: number, value: bigint): InformationPart[] {
  switch (code) {
    case ExitCode.NPF:
      return [['guest-physical', hex(value), 'The address that the host page tables do not allow.']];
    case ExitCode.IOIO:
      return [['next RIP', hex(value), 'The address of the instruction after the access.']];
    case FirstCode.exception + Vector.PF:
      return [['address', hex(value), 'The linear address that faulted.']];
    case ExitCode.TASK_SWITCH:
      return [
        ['error code', hex(value & 0xffff_ffffn), 'To be pushed in the new task.'],
        ['by IRET', bit(value, 36), '1: by IRET.'],
        ['by JMP', bit(value, 38), '1: by a far JMP.'],
        ['has error code', bit(value, 44), '1: there is an error code.'],
        ['RF', bit(value, 48), 'RFLAGS.RF to be saved in the old task.'],
      ];
    default:
      return [];
  }
}

/** Parts of EXITINFO1 or EXITINFO2 after an exit with a code; empty where it tells nothing. */
export const explainExitInformation = (code: number, which: 1 | 2, value: bigint): InformationPart[] =>
  which === 1 ? first(code, value) : second(code, value);
