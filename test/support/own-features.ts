/** What the CPU that the tests run on does not have, so that it can tell nothing of it. */
import { existsSync, readFileSync } from 'node:fs';
import { CpuidFeature, type Instruction } from 'iced-x86';

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

let missing: ReadonlySet<string> | undefined;
let isIntel: boolean | undefined;

/** Whether this CPU is Intel's. */
export function isIntelHere(): boolean {
  isIntel ??= existsSync(CPUINFO) && readFileSync(CPUINFO, 'utf8').includes('GenuineIntel');
  return isIntel;
}

/** Whether this CPU lacks a feature that an instruction needs. What is not in the table is taken to be there. */
export function isLackedHere(instruction: Instruction): boolean {
  missing ??= readMissing();
  const lacked = missing;
  return Array.from(instruction.cpuidFeatures(), (feature) => CpuidFeature[feature] as string).some((name) =>
    lacked.has(name),
  );
}

function readMissing(): ReadonlySet<string> {
  if (!existsSync(CPUINFO)) return new Set();
  const [, text = ''] = /^flags\s*:(.*)$/m.exec(readFileSync(CPUINFO, 'utf8')) ?? [];
  const flags = new Set(text.trim().split(' '));
  return new Set(Object.keys(FLAGS).filter((name) => !flags.has(FLAGS[name] as string)));
}
