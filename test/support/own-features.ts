/** What the CPU that the tests run on is, and does not have, so that it can tell nothing of it. */
import { existsSync, readFileSync } from 'node:fs';
import type { Instruction } from 'iced-x86';
import { decoderFeatures } from '../../engine/isa/availability.ts';

/** Features that a CPU of ours may have and this one not: the decoder's names, and those of /proc/cpuinfo. */
const FLAGS: Readonly<Record<string, string>> = {
  ADX: 'adx',
  AES: 'aes',
  AVX: 'avx',
  AVX2: 'avx2',
  BMI1: 'bmi1',
  BMI2: 'bmi2',
  CLFLUSHOPT: 'clflushopt',
  CLWB: 'clwb',
  CMPXCHG16B: 'cx16',
  F16C: 'f16c',
  FMA: 'fma',
  FSGSBASE: 'fsgsbase',
  LZCNT: 'abm',
  MOVBE: 'movbe',
  PCLMULQDQ: 'pclmulqdq',
  POPCNT: 'popcnt',
  PREFETCHW: '3dnowprefetch',
  RDRAND: 'rdrand',
  RDSEED: 'rdseed',
  SHA: 'sha_ni',
  SMAP: 'smap',
  SSE4_1: 'sse4_1',
  SSE4_2: 'sse4_2',
  SSSE3: 'ssse3',
  VAES: 'vaes',
  VPCLMULQDQ: 'vpclmulqdq',
  XSAVE: 'xsave',
  XSAVEC: 'xsavec',
  XSAVEOPT: 'xsaveopt',
  XSAVES: 'xsaves',
};

/** Where there is none, nothing is held against the CPU. */
const CPUINFO = '/proc/cpuinfo';

interface OwnCpu {
  readonly isIntel: boolean;
  /** By the decoder's names. */
  readonly lacks: ReadonlySet<string>;
}

let known: OwnCpu | undefined;

function ownCpu(): OwnCpu {
  known ??= existsSync(CPUINFO) ? readCpu(readFileSync(CPUINFO, 'utf8')) : { isIntel: false, lacks: new Set() };
  return known;
}

function readCpu(text: string): OwnCpu {
  const [, flagsText = ''] = /^flags\s*:(.*)$/m.exec(text) ?? [];
  const flags = new Set(flagsText.trim().split(' '));
  const lacks = new Set(Object.keys(FLAGS).filter((name) => !flags.has(FLAGS[name] as string)));
  return { isIntel: text.includes('GenuineIntel'), lacks };
}

/** Whether this CPU is Intel's. */
export const isIntelHere = (): boolean => ownCpu().isIntel;

/** Whether this CPU lacks a feature that an instruction needs. What is not in the table is taken to be there. */
export function isLackedHere(instruction: Instruction): boolean {
  const { lacks } = ownCpu();
  return decoderFeatures(instruction).some((name) => lacks.has(name));
}
