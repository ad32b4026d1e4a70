/**
 * A Bochs built for speed (current source, no debugger, VMX on) beside Debian's: millions of guest instructions a second of both,
 * the best of three on one machine. As such a build is seldom installed, its speed is told as Debian's by this ratio.
 */
const MEASURED: Readonly<Record<string, readonly [debian: number, fast: number]>> = {
  'alu64 · alu': [97, 327],
  'mem64 · memset': [47, 226],
  'mem64 · stream': [91, 316],
  'mem64 · memcpy': [4, 6],
  'mem64 · walk': [26, 37],
  'code64 · fib': [81, 261],
  'code64 · sieve': [92, 291],
  'code64 · qsort': [87, 262],
  'code64 · interp': [60, 265],
  'code64 · icall': [84, 244],
  'paging64 · cr3_touch16': [19, 24],
  'paging64 · invlpg_touch': [16, 18],
  'paging64 · remap_touch': [10, 9],
  'paging64 · tlbwalk1024': [107, 403],
  'ring64 · syscall_sysret': [33, 54],
  'ring64 · int80_iret_r3': [20, 31],
  'ring64 · int80_iret_r0': [21, 29],
  'ring64 · pagefault_r3': [15, 20],
  'vmx64 · vmx_cpuid_exit': [12, 14],
  'vmx64 · vmx_vmcall_exit_min': [10, 12],
  'vmx64 · vmx_guest_alu': [103, 328],
  'vmx64 · vmx_guest_walk': [12, 18],
  'vmx64 · host_walk': [26, 32],
  'vmx64 · vmx_ept_violation': [8, 9],
};

/** How many times as fast as Debian's Bochs the fast one is at a work (`guest · work`); undefined where it was not measured. */
export function fastBochsFactor(title: string): number | undefined {
  const speeds = MEASURED[title];
  return speeds && speeds[1] / speeds[0];
}
