/** CPUID: the features the engine has, as one table, and the leaves built from it (SDM volume 2, "CPUID"). */
import { type CpuModelSpec, cpuModels, vendorOf } from './cpu-models.ts';
import { APIC_BASE, CR4, MISC_ENABLE } from './register-bits.ts';
import type { CpuState } from './state.ts';
import {
  AVX_BYTES,
  AVX_OFFSET,
  areaBytes,
  COMPONENT,
  compactedBytes,
  PKRU_BYTES,
  PKRU_OFFSET,
  supportedComponents,
} from './xsave/components.ts';

export interface CpuidResult {
  readonly eax: number;
  readonly ebx: number;
  readonly ecx: number;
  readonly edx: number;
}
type RegisterName = keyof CpuidResult;

export interface CpuOptions {
  /** Whether the machine has a local APIC. */
  readonly localApic: boolean;
  /** Whether VMX is announced. */
  readonly vmx: boolean;
  /** Frequency of the TSC in hertz; a multiple of the 25 MHz crystal. */
  readonly tscFrequencyHz: number;
  /** Logical processors in the machine. */
  readonly processors: number;
  /** Where the numbers of RDRAND and RDSEED begin. */
  readonly randomSeed: number;
  /** What the CPU is said to be. */
  readonly model: CpuModelSpec;
  /** Whether the model has a feature, be it implemented or not. */
  readonly hasFeature: (name: string) => boolean;
}

/** MAXPHYADDR. */
export const PHYSICAL_ADDRESS_BITS = 39;

/** The linear-address width of a CPU that has 5-level paging, or has not. */
export const linearAddressBits = (features: { has(feature: string): boolean }): 48 | 57 =>
  features.has('LA57') ? 57 : 48;

export const CRYSTAL_HZ = 25_000_000;

export const defaultCpuOptions: CpuOptions = {
  localApic: false,
  vmx: true,
  tscFrequencyHz: 1_000_000_000,
  processors: 1,
  randomSeed: 0,
  model: cpuModels[0] as CpuModelSpec,
  hasFeature: () => true,
};

/** The leaf about AMD-V. */
const SVM_LEAF = 0x8000_000a;
const SVM_REVISION = 1;
/** Address-space identifiers of AMD-V: 0, the host's, and those of guests. */
export const ASIDS = 0x8000;

interface Feature {
  readonly leaf: number;
  readonly register: RegisterName;
  readonly bit: number;
  readonly name: string;
  /** What the manual calls the feature. */
  readonly doc: string;
  /** Whether the engine implements it, or the option that decides. */
  readonly supported: boolean | ((options: CpuOptions) => boolean);
}

const row = (
  leaf: number,
  register: RegisterName,
  bit: number,
  name: string,
  supported: Feature['supported'],
  doc: string,
): Feature => ({ leaf, register, bit, name, doc, supported });

/** A feature of AMD-V. */
const svmRow = (bit: number, name: string, doc: string): Feature =>
  row(SVM_LEAF, 'edx', bit, name, ({ hasFeature }) => hasFeature('SVM'), `${doc} (AMD-V)`);

/**
 * Features of the CPU. Only what is implemented is announced: software finds out here, and not at an instruction that stops the
 * run.
 */
export const cpuidFeatures: readonly Feature[] = [
  row(1, 'ecx', 0, 'SSE3', true, 'Streaming SIMD Extensions 3'),
  row(1, 'ecx', 1, 'PCLMULQDQ', true, 'PCLMULQDQ'),
  row(1, 'ecx', 3, 'MONITOR', true, 'MONITOR/MWAIT'),
  row(1, 'ecx', 5, 'VMX', (o) => o.vmx, 'Virtual Machine Extensions'),
  row(1, 'ecx', 9, 'SSSE3', true, 'Supplemental Streaming SIMD Extensions 3'),
  row(1, 'ecx', 12, 'FMA', true, 'Fused multiply-add'),
  row(1, 'ecx', 13, 'CMPXCHG16B', true, 'CMPXCHG16B'),
  row(1, 'ecx', 15, 'PDCM', false, 'Perfmon and Debug Capability'),
  row(1, 'ecx', 17, 'PCID', true, 'Process-context identifiers'),
  row(1, 'ecx', 19, 'SSE4_1', true, 'SSE4.1'),
  row(1, 'ecx', 20, 'SSE4_2', true, 'SSE4.2'),
  row(1, 'ecx', 21, 'x2APIC', false, 'x2APIC'),
  row(1, 'ecx', 22, 'MOVBE', true, 'MOVBE'),
  row(1, 'ecx', 23, 'POPCNT', true, 'POPCNT'),
  row(1, 'ecx', 25, 'AESNI', true, 'AES instructions'),
  row(1, 'ecx', 26, 'XSAVE', true, 'XSAVE/XRSTOR, XSETBV/XGETBV, XCR0'),
  row(1, 'ecx', 28, 'AVX', true, 'Advanced Vector Extensions'),
  row(1, 'ecx', 29, 'F16C', true, '16-bit floating-point conversions'),
  row(1, 'ecx', 30, 'RDRAND', true, 'RDRAND'),
  row(1, 'edx', 0, 'FPU', true, 'Floating Point Unit On-Chip'),
  row(1, 'edx', 1, 'VME', true, 'Virtual 8086 Mode Enhancements'),
  row(1, 'edx', 2, 'DE', true, 'Debugging Extensions'),
  row(1, 'edx', 3, 'PSE', true, 'Page Size Extension'),
  row(1, 'edx', 4, 'TSC', true, 'Time Stamp Counter'),
  row(1, 'edx', 5, 'MSR', true, 'Model Specific Registers'),
  row(1, 'edx', 6, 'PAE', true, 'Physical Address Extension'),
  row(1, 'edx', 7, 'MCE', true, 'Machine Check Exception'),
  row(1, 'edx', 8, 'CX8', true, 'CMPXCHG8B'),
  row(1, 'edx', 9, 'APIC', (o) => o.localApic, 'APIC On-Chip'),
  row(1, 'edx', 11, 'SEP', true, 'SYSENTER and SYSEXIT'),
  row(1, 'edx', 12, 'MTRR', true, 'Memory Type Range Registers'),
  row(1, 'edx', 13, 'PGE', true, 'Page Global Bit'),
  row(1, 'edx', 14, 'MCA', true, 'Machine Check Architecture'),
  row(1, 'edx', 15, 'CMOV', true, 'Conditional Move'),
  row(1, 'edx', 16, 'PAT', true, 'Page Attribute Table'),
  row(1, 'edx', 17, 'PSE-36', false, '36-Bit Page Size Extension'),
  row(1, 'edx', 19, 'CLFSH', true, 'CLFLUSH'),
  row(1, 'edx', 23, 'MMX', true, 'Intel MMX Technology'),
  row(1, 'edx', 24, 'FXSR', true, 'FXSAVE and FXRSTOR'),
  row(1, 'edx', 25, 'SSE', true, 'SSE'),
  row(1, 'edx', 26, 'SSE2', true, 'SSE2'),
  row(1, 'edx', 28, 'HTT', (o) => o.processors > 1, 'Max APIC IDs reserved field is Valid'),
  row(7, 'ebx', 0, 'FSGSBASE', true, 'RDFSBASE/RDGSBASE/WRFSBASE/WRGSBASE'),
  row(7, 'ebx', 3, 'BMI1', true, 'BMI1'),
  row(7, 'ebx', 5, 'AVX2', true, 'AVX2'),
  row(7, 'ebx', 7, 'SMEP', true, 'Supervisor-Mode Execution Prevention'),
  row(7, 'ebx', 8, 'BMI2', true, 'BMI2'),
  row(7, 'ebx', 9, 'ERMS', true, 'Enhanced REP MOVSB/STOSB'),
  row(7, 'ebx', 10, 'INVPCID', true, 'INVPCID'),
  row(7, 'ebx', 18, 'RDSEED', true, 'RDSEED'),
  row(7, 'ebx', 19, 'ADX', true, 'ADCX and ADOX'),
  row(7, 'ebx', 20, 'SMAP', true, 'Supervisor-Mode Access Prevention'),
  row(7, 'ebx', 23, 'CLFLUSHOPT', true, 'CLFLUSHOPT'),
  row(7, 'ebx', 24, 'CLWB', true, 'CLWB'),
  row(7, 'ebx', 29, 'SHA', true, 'SHA extensions'),
  row(7, 'ecx', 2, 'UMIP', true, 'User-Mode Instruction Prevention'),
  row(7, 'ecx', 3, 'PKU', true, 'Protection keys for user-mode pages'),
  row(7, 'ecx', 9, 'VAES', true, 'AES instructions of 256 bits'),
  row(7, 'ecx', 10, 'VPCLMULQDQ', true, 'PCLMULQDQ of 256 bits'),
  row(7, 'ecx', 16, 'LA57', true, '57-bit linear addresses'),
  row(7, 'ecx', 22, 'RDPID', true, 'RDPID'),
  row(7, 'ecx', 31, 'PKS', true, 'Protection keys for supervisor-mode pages'),
  row(0xd, 'eax', 0, 'XSAVEOPT', true, 'XSAVEOPT'),
  row(0xd, 'eax', 1, 'XSAVEC', true, 'XSAVEC and the compacted form of XRSTOR'),
  row(0xd, 'eax', 2, 'XGETBV1', true, 'XGETBV with ECX = 1'),
  row(0xd, 'eax', 3, 'XSAVES', true, 'XSAVES/XRSTORS and IA32_XSS'),
  row(0x8000_0001, 'ecx', 0, 'LAHF-SAHF', true, 'LAHF/SAHF in 64-bit mode'),
  row(0x8000_0001, 'ecx', 2, 'SVM', true, 'Secure Virtual Machine: AMD-V'),
  row(0x8000_0001, 'ecx', 5, 'LZCNT', true, 'LZCNT'),
  row(0x8000_0001, 'ecx', 8, 'PREFETCHW', true, 'PREFETCHW'),
  row(0x8000_0001, 'edx', 11, 'SYSCALL', true, 'SYSCALL/SYSRET in 64-bit mode'),
  row(0x8000_0001, 'edx', 20, 'NX', true, 'Execute Disable Bit'),
  row(0x8000_0001, 'edx', 26, 'Page1GB', true, '1-GByte pages'),
  row(0x8000_0001, 'edx', 27, 'RDTSCP', true, 'RDTSCP and IA32_TSC_AUX'),
  row(0x8000_0001, 'edx', 29, 'LM', true, 'Intel 64 Architecture'),
  row(0x8000_0008, 'ebx', 9, 'WBNOINVD', true, 'WBNOINVD'),
  svmRow(0, 'NPT', 'Nested paging'),
  svmRow(3, 'NRIPS', 'nRIP of the VMCB'),
  svmRow(5, 'VmcbClean', 'VMCB clean bits'),
  svmRow(6, 'FlushByAsid', 'TLB flushes of one ASID'),
  svmRow(7, 'DecodeAssists', 'Decode assists'),
  svmRow(10, 'PauseFilter', 'PAUSE intercept filter'),
  svmRow(12, 'PauseFilterThreshold', 'PAUSE filter threshold'),
];

const isImplemented = (feature: Feature, options: CpuOptions): boolean =>
  typeof feature.supported === 'boolean' ? feature.supported : feature.supported(options);

const isSupported = (feature: Feature, options: CpuOptions): boolean =>
  options.hasFeature(feature.name) && isImplemented(feature, options);

/** Every feature by name, with whether the engine has it where the machine allows it. */
export const implementedFeatures: ReadonlyMap<string, boolean> = new Map(
  cpuidFeatures.map(({ name, supported }) => [name, supported !== false]),
);

export function announcedFeatures(options: CpuOptions): ReadonlySet<string> {
  return new Set(cpuidFeatures.filter((feature) => isSupported(feature, options)).map(({ name }) => name));
}

/** One register of a feature leaf. */
function featureBits(options: CpuOptions, leaf: number, register: RegisterName): number {
  let bits = 0;
  for (const feature of cpuidFeatures) {
    const here = feature.leaf === leaf && feature.register === register;
    if (here && isSupported(feature, options)) bits |= 1 << feature.bit;
  }
  return bits >>> 0;
}

/** MONITOR in ECX of leaf 1. */
const MONITOR_BIT = 1 << 3;
const BRAND = 'Ringside';

const registers = (eax = 0, ebx = 0, ecx = 0, edx = 0): CpuidResult => ({
  eax: eax >>> 0,
  ebx: ebx >>> 0,
  ecx: ecx >>> 0,
  edx: edx >>> 0,
});

/** Four characters of a string as a little-endian dword, NUL beyond its end. */
function dword(text: string, at: number): number {
  let value = 0;
  for (let index = 3; index >= 0; index--) value = (value << 8) | (text.charCodeAt(at + index) || 0);
  return value;
}

/** The result of CPUID for EAX = `leaf`, ECX = `subleaf`. Leaves out of range give the highest basic leaf. */
export function cpuidLeaf(options: CpuOptions, state: CpuState, leaf: number, subleaf: number): CpuidResult {
  const { maxBasicLeaf, maxExtendedLeaf } = options.model;
  const extended = leaf >= 0x8000_0000;
  if (leaf > (extended ? maxExtendedLeaf : maxBasicLeaf)) return cpuidLeaf(options, state, maxBasicLeaf, subleaf);
  return extended ? extendedLeaf(options, leaf) : basicLeaf(options, state, leaf, subleaf);
}

function basicLeaf(options: CpuOptions, state: CpuState, leaf: number, subleaf: number): CpuidResult {
  switch (leaf) {
    case 0:
      return vendorLeaf(options, options.model.maxBasicLeaf);
    case 1:
      return featureLeaf(options, state);
    case 2:
      // FFH: see leaf 4 for caches; FEH: see leaf 18H for TLBs, of which nothing is said.
      return registers(0x00fe_ff01);
    case 4:
      return cacheLeaf(subleaf);
    case 5:
      return monitorLeaf(options);
    case 7: {
      if (subleaf > 0) return registers();
      const ospke = state.cr4 & CR4.PKE ? 1 << 4 : 0;
      return registers(0, featureBits(options, 7, 'ebx'), featureBits(options, 7, 'ecx') | ospke);
    }
    case 0xd:
      return extendedStateLeaf(options, state, subleaf);
    case 0xb:
      return topologyLeaf(options, state, subleaf);
    case 0x15:
      return registers(1, Math.round(options.tscFrequencyHz / CRYSTAL_HZ), CRYSTAL_HZ);
    case 0x16: {
      const megahertz = Math.round(options.tscFrequencyHz / 1_000_000);
      return registers(megahertz, megahertz, 100);
    }
    default:
      return registers();
  }
}

function vendorLeaf({ model }: CpuOptions, maximum: number): CpuidResult {
  const vendor = vendorOf(model);
  return registers(maximum, dword(vendor, 0), dword(vendor, 8), dword(vendor, 4));
}

function featureLeaf(options: CpuOptions, state: CpuState): CpuidResult {
  const clflushLine = 64 / 8;
  const ebx = (state.initialApicId << 24) | ((options.processors & 0xff) << 16) | (clflushLine << 8);
  const osxsave = state.cr4 & CR4.OSXSAVE ? 1 << 27 : 0;
  const monitor = state.miscEnable & MISC_ENABLE.MONITOR ? 0 : MONITOR_BIT;
  // A local APIC that IA32_APIC_BASE disables is not announced.
  const apic = state.apicBase & APIC_BASE.ENABLE ? 0 : 1 << 9;
  return registers(
    options.model.signature,
    ebx,
    (featureBits(options, 1, 'ecx') & ~monitor) | osxsave,
    featureBits(options, 1, 'edx') & ~apic,
  );
}

/** Lines of 64 bytes; ECX of MWAIT as in cpu/monitor-wait.ts; one kind of C1. */
function monitorLeaf(options: CpuOptions): CpuidResult {
  return (featureBits(options, 1, 'ecx') & MONITOR_BIT) === 0 ? registers() : registers(64, 64, 3, 0x10);
}

/** Deterministic cache parameters: L1 data and instruction 32 KiB, L2 256 KiB; lines of 64 bytes. */
function cacheLeaf(subleaf: number): CpuidResult {
  const caches = [
    { type: 1, level: 1, ways: 8, sets: 64 },
    { type: 2, level: 1, ways: 8, sets: 64 },
    { type: 3, level: 2, ways: 4, sets: 1024 },
  ];
  const cache = caches[subleaf];
  if (cache === undefined) return registers();
  const selfInitializing = 1 << 8;
  return registers(cache.type | (cache.level << 5) | selfInitializing, 63 | ((cache.ways - 1) << 22), cache.sets - 1);
}

/** Extended topology: one thread a core, every core in one package. */
function topologyLeaf(options: CpuOptions, state: CpuState, subleaf: number): CpuidResult {
  const { initialApicId } = state;
  const coreShift = Math.ceil(Math.log2(Math.max(1, options.processors)));
  if (subleaf === 0) return registers(0, 1, 0x100, initialApicId);
  if (subleaf === 1) return registers(coreShift, options.processors, 0x201, initialApicId);
  return registers(0, 0, subleaf & 0xff, initialApicId);
}

/** The components of XCR0, the sizes of XSAVE areas, and where the one component outside of the legacy region lies. */
function extendedStateLeaf(options: CpuOptions, state: CpuState, subleaf: number): CpuidResult {
  const features = announcedFeatures(options);
  if (!features.has('XSAVE')) return registers();
  const supported = supportedComponents({ model: features });
  if (subleaf === 0) return registers(supported, areaBytes(state.xcr0), areaBytes(supported));
  // Bits of subleaf 1.
  if (subleaf === 1) return registers(featureBits(options, 0xd, 'eax'), compactedBytes(state.xcr0));
  // A component of user state (ECX = 0), which the compacted format does not align.
  if (subleaf === 2 && supported & COMPONENT.AVX) return registers(AVX_BYTES, AVX_OFFSET);
  return subleaf === 9 && supported & COMPONENT.PKRU ? registers(PKRU_BYTES, PKRU_OFFSET) : registers();
}

function extendedLeaf(options: CpuOptions, leaf: number): CpuidResult {
  switch (leaf) {
    case 0x8000_0000:
      // AMD's processors say their maker here too.
      if (vendorOf(options.model) === 'AuthenticAMD') return vendorLeaf(options, options.model.maxExtendedLeaf);
      return registers(options.model.maxExtendedLeaf);
    case 0x8000_0001:
      return registers(0, 0, featureBits(options, leaf, 'ecx'), featureBits(options, leaf, 'edx'));
    case 0x8000_0002:
    case 0x8000_0003:
    case 0x8000_0004: {
      const at = (leaf - 0x8000_0002) * 16;
      return registers(dword(BRAND, at), dword(BRAND, at + 4), dword(BRAND, at + 8), dword(BRAND, at + 12));
    }
    case 0x8000_0006:
      // L2: 256 KiB, 4-way (encoding 4), lines of 64 bytes.
      return registers(0, 0, (256 << 16) | (4 << 12) | 64);
    case 0x8000_0007:
      // Invariant TSC.
      return registers(0, 0, 0, 1 << 8);
    case 0x8000_0008: {
      const linearBits = linearAddressBits(announcedFeatures(options));
      return registers(PHYSICAL_ADDRESS_BITS | (linearBits << 8), featureBits(options, leaf, 'ebx'));
    }
    case SVM_LEAF:
      if (!options.hasFeature('SVM')) return registers();
      return registers(SVM_REVISION, ASIDS, 0, featureBits(options, leaf, 'edx'));
    default:
      return registers();
  }
}
