/** Which features of CPUID an instruction belongs to, by the decoder's tables. */
import { CpuidFeature, DecoderOptions, type Instruction } from 'iced-x86';

/** The decoder's names where they are not those of engine/cpu/cpuid.ts; none: every CPU there is has it. */
const featureNames: Readonly<Record<string, readonly string[]>> = {
  INTEL8086: [],
  INTEL8086_ONLY: [],
  INTEL186: [],
  INTEL286: [],
  INTEL286_ONLY: [],
  INTEL386: [],
  INTEL386_ONLY: [],
  INTEL486: [],
  CPUID: [],
  SMM: [],
  FPU287: ['FPU'],
  FPU387: ['FPU'],
  X64: ['LM'],
  AES: ['AESNI'],
  INVEPT: ['VMX'],
  INVVPID: ['VMX'],
  SKINIT_or_SVM: ['SVM'],
  // These came with processors that have the feature; CPUID has no bit of their own for them.
  RDPMC: ['CMOV'],
  MULTIBYTENOP: ['CMOV'],
  PAUSE: [],
  // Hints, which do nothing where they are unknown but are a NOP of several bytes.
  PREFETCHW: ['CMOV'],
  PREFETCHWT1: ['CMOV'],
  CLDEMOTE: ['CMOV'],
  CET_IBT: ['CMOV'],
};

const byCode = new Map<number, readonly string[]>();

/** What the decoder says that an instruction needs, by its own names. */
export const decoderFeatures = (instruction: Instruction): string[] =>
  Array.from(instruction.cpuidFeatures(), (feature) => CpuidFeature[feature] as string);

/** The features that an instruction needs, all of them. */
export function featuresOf(instruction: Instruction): readonly string[] {
  let features = byCode.get(instruction.code);
  if (!features) {
    features = decoderFeatures(instruction).flatMap((name) => featureNames[name] ?? [name]);
    byCode.set(instruction.code, features);
  }
  return features;
}

/** What a CPU makes of bytes: how they are decoded, and whether it has an instruction. */
export interface InstructionAvailability {
  readonly decoderOptions: number;
  /** PAUSE with REX.B is XCHG R8, RAX, as AMD's CPUs have it; on Intel's it is PAUSE. */
  readonly pauseMayExchange: boolean;
  has(feature: string): boolean;
}

/** LZCNT, TZCNT and WBNOINVD are other instructions with a prefix that CPUs without them ignore. */
export function availabilityOf(has: (feature: string) => boolean): InstructionAvailability {
  const decoderOptions =
    (has('LZCNT') ? 0 : DecoderOptions.NoMPFX_0FBD) |
    (has('BMI1') ? 0 : DecoderOptions.NoMPFX_0FBC) |
    (has('WBNOINVD') ? 0 : DecoderOptions.NoWbnoinvd) |
    (has('LAHF-SAHF') ? 0 : DecoderOptions.NoLahfSahf64);
  return { decoderOptions, pauseMayExchange: has('SVM'), has };
}
