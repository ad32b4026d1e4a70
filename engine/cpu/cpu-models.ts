/**
 * CPU models by name: what CPUID says of them and which features they have, of those that there are
 * (Intel SDM volume 1, "Processor Identification and Feature Determination"; volume 2, "CPUID"). A configuration adds
 * features to a model or takes them away.
 */

/** `cpu` of a machine's configuration. */
export interface CpuConfig {
  /** A name of `cpuModels`; `ringside` if absent. */
  readonly model?: string;
  /** By the names of `cpuidFeatures`: true adds a feature to the model, false takes it away. */
  readonly features?: Readonly<Record<string, boolean>>;
  /** Whether the processor has paging-structure caches, as the manual allows it; no if absent. */
  readonly pagingStructureCaches?: boolean;
  /** Where the numbers of RDRAND and RDSEED begin; a whole number from 0, 0 if absent. */
  readonly randomSeed?: number;
}

export type Vendor = 'GenuineIntel' | 'AuthenticAMD';

export interface CpuModelSpec {
  readonly name: string;
  /** What it is, for people. */
  readonly doc: string;
  /** Who made it, as CPUID leaf 0 says; `GenuineIntel` if absent. */
  readonly vendor?: Vendor;
  /** EAX of CPUID leaf 1: family, model, stepping. */
  readonly signature: number;
  readonly maxBasicLeaf: number;
  /** 0 where there are no extended leaves. */
  readonly maxExtendedLeaf: number;
  /** Undefined: all there are. */
  readonly features: readonly string[] | undefined;
}

const FEATURES_486 = ['FPU'];
const FEATURES_PENTIUM = [...FEATURES_486, 'VME', 'DE', 'PSE', 'TSC', 'MSR', 'MCE', 'CX8', 'APIC', 'HTT'];
const FEATURES_CORE2 = [
  ...FEATURES_PENTIUM,
  ...['PAE', 'SEP', 'MTRR', 'PGE', 'MCA', 'CMOV', 'PAT', 'PSE-36', 'CLFSH', 'MMX', 'FXSR', 'SSE', 'SSE2'],
  ...['SSE3', 'MONITOR', 'SSSE3', 'SSE4_1', 'CMPXCHG16B', 'VMX', 'LAHF-SAHF', 'SYSCALL', 'NX', 'LM'],
];
const FEATURES_NEHALEM = [...FEATURES_CORE2, 'SSE4_2', 'POPCNT', 'RDTSCP', 'x2APIC'];
const FEATURES_SKYLAKE = [
  ...FEATURES_NEHALEM,
  ...['PCLMULQDQ', 'FMA', 'PCID', 'MOVBE', 'AESNI', 'XSAVE', 'AVX', 'F16C', 'RDRAND', 'FSGSBASE', 'BMI1', 'AVX2'],
  ...['SMEP', 'BMI2', 'ERMS', 'INVPCID', 'RDSEED', 'ADX', 'SMAP', 'CLFLUSHOPT', 'LZCNT', 'Page1GB', 'PREFETCHW'],
  ...['XSAVEOPT', 'XSAVEC', 'XGETBV1', 'XSAVES'],
];

/** What is not there: AVX-512. */
const FEATURES_ICE_LAKE = [
  ...FEATURES_SKYLAKE,
  ...['UMIP', 'PKU', 'LA57', 'RDPID', 'SHA', 'CLWB', 'VAES', 'VPCLMULQDQ'],
];

/** AMD-V, and what builds on it. */
const FEATURES_SVM = [
  'SVM',
  ...['NPT', 'NRIPS', 'VmcbClean', 'FlushByAsid', 'DecodeAssists', 'PauseFilter', 'PauseFilterThreshold'],
];
/** What AMD's first Zen has of the above, and in place of it. */
const NOT_ZEN: readonly string[] = ['VMX', 'PCID', 'INVPCID'];
const FEATURES_ZEN = [...FEATURES_SKYLAKE.filter((feature) => !NOT_ZEN.includes(feature)), 'SHA', ...FEATURES_SVM];

/** Family 6, model 94, stepping 3: the first client generation with every VMX control that the engine has. */
const SKYLAKE = 0x0005_06e3;

export const cpuModels: readonly CpuModelSpec[] = [
  {
    name: 'ringside',
    doc: 'all that Ringside implements',
    signature: SKYLAKE,
    maxBasicLeaf: 0x16,
    maxExtendedLeaf: 0x8000_0008,
    features: undefined,
  },
  {
    name: '486',
    doc: 'an Intel486 DX4: 32-bit code, paging with 4-KByte pages, CPUID',
    signature: 0x480,
    maxBasicLeaf: 1,
    maxExtendedLeaf: 0,
    features: FEATURES_486,
  },
  {
    name: 'pentium',
    doc: 'a Pentium: TSC, MSRs, 4-MByte pages, virtual-8086 extensions',
    signature: 0x52c,
    maxBasicLeaf: 1,
    maxExtendedLeaf: 0,
    features: FEATURES_PENTIUM,
  },
  {
    name: 'core2',
    doc: 'a Core 2 (Penryn): 64-bit mode, SSE4.1, VT-x',
    signature: 0x1_0676,
    maxBasicLeaf: 0xa,
    maxExtendedLeaf: 0x8000_0008,
    features: FEATURES_CORE2,
  },
  {
    name: 'nehalem',
    doc: 'a first Core i7 (Nehalem): SSE4.2, POPCNT, RDTSCP',
    signature: 0x1_06a5,
    maxBasicLeaf: 0xb,
    maxExtendedLeaf: 0x8000_0008,
    features: FEATURES_NEHALEM,
  },
  {
    name: 'skylake',
    doc: 'a sixth-generation Core (Skylake): AVX2, SMEP, SMAP, PCID',
    signature: SKYLAKE,
    maxBasicLeaf: 0x16,
    maxExtendedLeaf: 0x8000_0008,
    features: FEATURES_SKYLAKE,
  },
  {
    name: 'icelake',
    doc: 'a third-generation Xeon (Ice Lake) without AVX-512: 5-level paging, UMIP, protection keys, SHA, VAES',
    // Family 6, model 106, stepping 6.
    signature: 0x0006_06a6,
    maxBasicLeaf: 0x16,
    maxExtendedLeaf: 0x8000_0008,
    features: FEATURES_ICE_LAKE,
  },
  {
    name: 'epyc',
    doc: 'a first EPYC (Zen): AMD-V with nested paging in place of VT-x; what else AMD does differently is as Intel has it',
    vendor: 'AuthenticAMD',
    // Family 17h, model 1, stepping 2.
    signature: 0x0080_0f12,
    maxBasicLeaf: 0xd,
    maxExtendedLeaf: 0x8000_000a,
    features: FEATURES_ZEN,
  },
];

/** Each maker has its own way to virtualize. */
const makers: Readonly<Record<string, Vendor>> = {
  VMX: 'GenuineIntel',
  ...Object.fromEntries(FEATURES_SVM.map((feature) => [feature, 'AuthenticAMD'] as const)),
};

export const vendorOf = ({ vendor = 'GenuineIntel' }: CpuModelSpec): Vendor => vendor;

/** What a feature cannot be without. */
const prerequisites: Readonly<Record<string, readonly string[]>> = {
  SSE: ['FXSR'],
  SSE2: ['SSE'],
  SSE3: ['SSE2'],
  SSSE3: ['SSE3'],
  SSE4_1: ['SSSE3'],
  SSE4_2: ['SSE4_1'],
  MMX: ['FPU'],
  FXSR: ['FPU'],
  AESNI: ['SSE2'],
  PCLMULQDQ: ['SSE2'],
  SHA: ['SSE2'],
  AVX: ['XSAVE', 'SSE4_2'],
  AVX2: ['AVX'],
  FMA: ['AVX'],
  F16C: ['AVX'],
  VAES: ['AVX', 'AESNI'],
  VPCLMULQDQ: ['AVX', 'PCLMULQDQ'],
  XSAVE: ['FXSR'],
  XSAVEOPT: ['XSAVE'],
  XSAVEC: ['XSAVE'],
  XGETBV1: ['XSAVE'],
  XSAVES: ['XSAVEC', 'MSR'],
  VMX: ['MSR', 'PAE', 'PAT'],
  SVM: ['MSR', 'PAE', 'PAT', 'LM', 'NX'],
  NPT: ['SVM'],
  NRIPS: ['SVM'],
  VmcbClean: ['SVM'],
  FlushByAsid: ['SVM'],
  DecodeAssists: ['SVM'],
  PauseFilter: ['SVM'],
  PauseFilterThreshold: ['PauseFilter'],
  APIC: ['MSR'],
  x2APIC: ['APIC'],
  HTT: ['APIC'],
  MCA: ['MSR', 'MCE'],
  MTRR: ['MSR'],
  PAT: ['MSR'],
  SEP: ['MSR'],
  SYSCALL: ['MSR'],
  NX: ['PAE', 'MSR'],
  LM: ['PAE', 'MSR', 'SYSCALL', 'CMOV', 'CX8'],
  PCID: ['LM'],
  Page1GB: ['LM'],
  CMPXCHG16B: ['LM'],
  'LAHF-SAHF': ['LM'],
  FSGSBASE: ['LM'],
  LA57: ['LM'],
  PKU: ['LM'],
  PKS: ['LM'],
  RDTSCP: ['TSC', 'MSR'],
  RDPID: ['MSR'],
};

/** What is wrong with a configuration: the parts of an error that tells the user. */
export interface CpuComplaint {
  readonly expected: string;
  readonly found: string;
  readonly whatToDo: string;
}

const quote = (text: string): string => `"${text}"`;

export const findCpuModel = (name = 'ringside'): CpuModelSpec | undefined =>
  cpuModels.find((model) => model.name === name);

/**
 * What is amiss with the names in a configuration, or among the features it leads to; undefined if nothing is.
 *
 * @param known the features that there are, with whether the engine implements each
 */
export function checkCpu(config: CpuConfig, known: ReadonlyMap<string, boolean>): CpuComplaint | undefined {
  const model = findCpuModel(config.model);
  if (!model) {
    const expected = cpuModels.map(({ name }) => quote(name)).join(', ');
    return { expected, found: quote(config.model ?? ''), whatToDo: 'choose one of these as "cpu.model"' };
  }
  return checkNames(config, known) ?? checkMakers(model, config) ?? checkPrerequisites(model, config, known);
}

function checkMakers(model: CpuModelSpec, { features = {} }: CpuConfig): CpuComplaint | undefined {
  const foreign = Object.keys(makers).find((name) => features[name] && makers[name] !== vendorOf(model));
  if (foreign === undefined) return undefined;
  return {
    expected: `a model of ${makers[foreign]}, which ${foreign} is a feature of`,
    found: `${foreign} beside the model ${quote(model.name)}`,
    whatToDo: `choose another "cpu.model", or take ${quote(foreign)} out of "cpu.features"`,
  };
}

function checkNames({ features = {} }: CpuConfig, known: ReadonlyMap<string, boolean>): CpuComplaint | undefined {
  for (const [name, wanted] of Object.entries(features)) {
    const implemented = known.get(name);
    if (implemented === undefined) {
      const expected = `a feature of CPUID: ${[...known.keys()].join(', ')}`;
      return { expected, found: quote(name), whatToDo: 'take it out of "cpu.features"' };
    }
    if (wanted && !implemented) {
      return {
        expected: 'a feature that Ringside implements',
        found: quote(name),
        whatToDo: 'take it out of "cpu.features"',
      };
    }
  }
  return undefined;
}

function checkPrerequisites(
  model: CpuModelSpec,
  config: CpuConfig,
  known: ReadonlyMap<string, boolean>,
): CpuComplaint | undefined {
  const has = nominalFeatures(model, config);
  for (const [name, needed] of Object.entries(prerequisites)) {
    if (!known.get(name) || !has(name)) continue;
    const missing = needed.find((other) => !has(other));
    if (missing === undefined) continue;
    return {
      expected: `${missing} beside ${name}, which builds on it`,
      found: `${name} without ${missing}`,
      whatToDo: `set "cpu.features" to have ${quote(missing)}: true, or ${quote(name)}: false`,
    };
  }
  return undefined;
}

/** Whether the model has a feature by its name, whether or not the engine implements it. */
export function nominalFeatures(model: CpuModelSpec, { features = {} }: CpuConfig): (feature: string) => boolean {
  const own = model.features && new Set(model.features);
  const isForeign = (feature: string) => (makers[feature] ?? vendorOf(model)) !== vendorOf(model);
  return (feature) => features[feature] ?? own?.has(feature) ?? !isForeign(feature);
}
