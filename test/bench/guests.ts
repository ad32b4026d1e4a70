/** The guest programs of the benchmark (sources in guests/src), their sizes, and what they must compute. */

import type { StopFilter } from '../../engine/index.ts';

/**
 * A benchmark runs every guest at its full size; to see only that all is right, at a quick one; and to see what debugging
 * costs, at a long one, of which starting is a small part.
 */
export const SIZES = ['full', 'quick', 'long'] as const;
export type Size = (typeof SIZES)[number];

/** What not every machine has. */
export type Feature = '64-bit code' | 'VMX';

/** Kinds of work, whose ratios have a geometric mean each. */
export type Group = 'integer' | 'memory' | 'compiled code' | 'page tables' | 'rings' | 'VM exits';

export interface Guest {
  readonly name: string;
  readonly group: Group;
  readonly needs: readonly Feature[];
  /** Given for the guests that are measured armed: the events that their work consists of. */
  readonly events?: readonly StopFilter[];
  /** Long: of guests that are measured armed. */
  readonly commandLine: { readonly full: string; readonly quick: string; readonly long?: string };
  /**
   * The checksums of each work, in the order in which they are done, by size. Those of vmx64 are Debian's Bochs 2.7's, all
   * others QEMU 7.2's (TCG). `--peers all` compares the peers' with them again.
   */
  readonly works: Readonly<Record<string, Readonly<Partial<Record<Size, string>>>>>;
}

/** Checksums are printed with 16 digits. */
const sum = (...checksums: readonly string[]): Partial<Record<Size, string>> =>
  Object.fromEntries(checksums.map((checksum, n) => [SIZES[n], checksum.padStart(16, '0')]));

const RING_EVENTS = [
  'ring-change',
  'exception',
  'page-fault',
  'sensitive-instruction',
  'privileged-instruction',
] as const;
const VMX_EVENTS = [
  'vm-exit',
  'vm-entry',
  'ept-violation',
  'hypercall',
  'sensitive-instruction',
  'privileged-instruction',
] as const;

/** One memset takes a few milliseconds, in which most emulators are still warming up: four; the others as often as always. */
const MEMORY_FULL = 'x=4 passes=2 walks=5000000';
/** The same program in 64 and in 32 bits. */
const CODE_QUICK = 'fib=18 sieve=200000 qs=20000 interp=200000 icall=200000';
const CODE_WORKS = {
  fib: sum('213d05', 'a18', '84f414'),
  sieve: sum('297986', '5058', 'a5e618'),
  qsort: sum('804887e5', '7fcb0ede', '1221f94'),
  interp: sum('3fbadf47', '7475e3ac', 'feeb7d1c'),
  icall: sum('ea2980c', '7478f0ec', '3b0311c'),
};

export const guests: readonly Guest[] = [
  {
    name: 'alu64',
    group: 'integer',
    needs: ['64-bit code'],
    events: [],
    commandLine: { full: '', quick: 'n=500000', long: 'n=200000000' },
    works: { alu: sum('4cfb3991587af0ef', '9467bf10fb24dae7', 'd6ec227d4609d1a8') },
  },
  {
    name: 'mem64',
    group: 'memory',
    needs: ['64-bit code'],
    commandLine: { full: MEMORY_FULL, quick: 'passes=1 walks=200000' },
    works: {
      memset: sum('0', '0'),
      stream: sum('20000000', '800000'),
      memcpy: sum('20000000', '800000'),
      walk: sum('f531f891', '339325768'),
    },
  },
  {
    name: 'code64',
    group: 'compiled code',
    needs: ['64-bit code'],
    events: [],
    commandLine: { full: '', quick: CODE_QUICK, long: 'x=4' },
    works: CODE_WORKS,
  },
  {
    name: 'paging64',
    group: 'page tables',
    needs: ['64-bit code'],
    commandLine: { full: '', quick: 'cr3=5000 inv=50000 remap=50000' },
    works: {
      cr3_touch16: sum('16e3600', '927c0'),
      invlpg_touch: sum('3e6713c0', '18e4298'),
      remap_touch: sum('7b61b180', '3136070'),
      tlbwalk1024: sum('7b89ca02', '313d4d0'),
    },
  },
  {
    name: 'ring64',
    group: 'rings',
    needs: ['64-bit code'],
    events: RING_EVENTS,
    commandLine: { full: '', quick: 'sys=50000 int=50000 pf=25000', long: 'x=3' },
    works: {
      syscall_sysret: sum('2dc6c0', 'c350', '895440'),
      int80_iret_r3: sum('1e8480', 'c350', '5b8d80'),
      int80_iret_r0: sum('1e8480', 'c350', '5b8d80'),
      pagefault_r3: sum('f4240', '61a8', '2dc6c0'),
    },
  },
  {
    name: 'vmx64',
    group: 'VM exits',
    needs: ['64-bit code', 'VMX'],
    events: VMX_EVENTS,
    commandLine: { full: '', quick: 'cpuid=10000 alu=100000 walk=50000 ept=2000', long: 'alu=100000000' },
    works: {
      vmx_cpuid_exit: sum('746a4ae6e0', '2fadcf8', '746a4ae6e0'),
      vmx_vmcall_exit_min: sum('746a4ae6e0', '2fadcf8', '746a4ae6e0'),
      vmx_guest_alu: sum('3c1750feaf8013e5', 'db949fbaafea2364', '7cca6f7ffede245d'),
      vmx_guest_walk: sum('776857c82', '1ae114daf', '776857c82'),
      host_walk: sum('a507f854f', '11226c9cf', 'a507f854f'),
      vmx_ept_violation: sum('1874507f854f', '3f9226c9cf', '1874507f854f'),
    },
  },
  {
    name: 'alu32',
    group: 'integer',
    needs: [],
    commandLine: { full: '', quick: 'n=500000' },
    works: { alu: sum('f306f2f7', '73e11674') },
  },
  {
    name: 'mem32',
    group: 'memory',
    needs: [],
    commandLine: { full: MEMORY_FULL, quick: 'passes=1 walks=200000' },
    works: {
      memset: sum('0', '0'),
      stream: sum('40000000', '1000000'),
      memcpy: sum('40000000', '1000000'),
      walk: sum('2c7bfe69', '5e121616'),
    },
  },
  {
    name: 'code32',
    group: 'compiled code',
    needs: [],
    commandLine: { full: '', quick: CODE_QUICK },
    works: CODE_WORKS,
  },
  {
    // Checks itself: its checksum is the number of cases that went wrong. All cases would take minutes.
    name: 'repmov64',
    group: 'memory',
    needs: ['64-bit code'],
    commandLine: { full: 'd=7 len=3', quick: 'd=40 len=9' },
    works: { repmov: sum('0', '0') },
  },
];
