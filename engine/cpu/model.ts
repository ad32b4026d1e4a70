/** The model of the CPU: what CPUID announces, which MSRs exist, how wide addresses are. */
import { announcedFeatures, type CpuidResult, type CpuOptions, cpuidLeaf, defaultCpuOptions } from './cpuid.ts';
import { type Msr, standardMsrs } from './msrs.ts';
import type { CpuState } from './state.ts';

export interface CpuModel {
  readonly options: CpuOptions;
  /** Whether CPUID announces the feature of that name, e.g. `SMEP`. */
  has(feature: string): boolean;
  cpuid(state: CpuState, leaf: number, subleaf: number): CpuidResult;
  /** Every MSR by its index; the VMX capability MSRs are added by vmx/. */
  readonly msrs: Map<number, Msr>;
}

/** Makes a model; `moreMsrs` are added to the standard ones and replace those of the same index. */
export function createCpuModel(options: Partial<CpuOptions> = {}, moreMsrs: readonly Msr[] = []): CpuModel {
  const complete: CpuOptions = { ...defaultCpuOptions, ...options };
  const features = announcedFeatures(complete);
  const msrs = [...standardMsrs, ...moreMsrs].filter((msr) => msr.features?.some((name) => features.has(name)) ?? true);
  return {
    options: complete,
    has: (feature) => features.has(feature),
    cpuid: (state, leaf, subleaf) => cpuidLeaf(complete, state, leaf, subleaf),
    msrs: new Map(msrs.map((msr) => [msr.index, msr])),
  };
}
