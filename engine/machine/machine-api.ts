/**
 * The public face of the engine: what a debugger, a command line or a test does with a machine. Addresses and register
 * values are bigints here (unsigned); inside the engine they are numbers where exact.
 */

import type { CpuConfig } from '../cpu/cpu-models.ts';
import type { VirtioDeviceView } from '../devices/index.ts';
import type { PagingNode, PagingRoots, PagingTable } from '../inspect/page-tables.ts';
import type { TlbEntryView } from '../inspect/tlb.ts';
import type { TranslationView } from '../inspect/translation.ts';
import type {
  CpuModeView,
  EntryCheckView,
  ExitLogView,
  ExitQuery,
  RegisterGroup,
  VmcsSummary,
  VmcsView,
} from '../inspect/views.ts';

export type {
  CpuModeView,
  EntryCheckView,
  ExitLogView,
  ExitQuery,
  ExitTotalsView,
  RegisterGroup,
  RegisterView,
  ViolatedRuleView,
  VmcsFieldView,
  VmcsSummary,
  VmcsView,
  VmExitView,
} from '../inspect/views.ts';

export type Virtualization = 'none' | 'hardware';

/** A guest program, already loaded from its file: bytes at guest-physical addresses and an entry state. */
export interface GuestProgram {
  readonly segments: readonly GuestSegment[];
  readonly entry: GuestEntry;
}
export interface GuestSegment {
  /** Guest-physical address. */
  readonly address: number;
  readonly bytes: Uint8Array;
  /** Zero bytes that follow (bss). */
  readonly zeroBytes?: number;
}
export interface GuestEntry {
  /** `real`: 16-bit, CS = 0; `protected`: flat 32-bit, paging off; `long`: 64-bit, 4 GiB identity-mapped, ring 0. */
  readonly mode: 'real' | 'protected' | 'long';
  /** RIP. */
  readonly address: number;
  /** Initial general-purpose registers by name (`rax`, `rbx` …). */
  readonly registers?: Readonly<Record<string, bigint>>;
}

export interface MachineConfig {
  readonly program: GuestProgram;
  /** Of the guest, a multiple of 4096; 1 MiB to 3 GiB less what the hypervisor needs. */
  readonly memoryBytes: number;
  readonly cpus: number;
  readonly virtualization: Virtualization;
  /** Model and features of the processors; by default they have all that there is. See `checkCpuConfig`. */
  readonly cpu?: CpuConfig;
  readonly devices?: {
    /** Contents of a virtio block device (copied); written sectors stay in the machine. */
    readonly disk?: Uint8Array;
    readonly diskReadOnly?: boolean;
    /** A virtio console beside the UART. */
    readonly console?: boolean;
  };
}

/** Where guest output comes from. */
export type OutputSource = 'serial' | 'debug-console' | 'virtio-console';

/** What happened that a filter can stop at. */
export const stopFilters = [
  'vm-exit',
  'vm-entry',
  'vm-entry-failure',
  'sensitive-instruction',
  'privileged-instruction',
  'page-fault',
  'ept-violation',
  'stale-translation',
  'exception',
  'ring-change',
  'triple-fault',
  'hypercall',
  'virtqueue-notification',
] as const;
export type StopFilter = (typeof stopFilters)[number];

/** An occurrence, as filters' conditions and explanations see it. */
export interface MachineEvent {
  readonly filter: StopFilter;
  readonly vcpu: number;
  /** One line, e.g. "VM exit: EPT violation (48)". */
  readonly title: string;
  /** Named values for conditions, by the specification's words in snake case: reason, qualification, vector, port … */
  readonly values: Readonly<Record<string, bigint | string>>;
  /** Paragraphs that tell what happened, why, and what comes next. */
  readonly explanation: readonly string[];
  /** It is told before it happens, where its filter does not say so: whoever goes on makes it again. */
  readonly comesAgain?: true;
}

export type Stop =
  /** The instruction limit of the call was reached. */
  | { readonly kind: 'limit' }
  /** `pause` was called. */
  | { readonly kind: 'paused' }
  | { readonly kind: 'breakpoint'; readonly vcpu: number; readonly address: bigint }
  /** Watches were hit by what happened last; it is complete. */
  | { readonly kind: 'watch'; readonly vcpu: number; readonly hits: readonly WatchHit[] }
  | { readonly kind: 'event'; readonly event: MachineEvent }
  /** The guest ended the run: debug exit, or power off. */
  | { readonly kind: 'exited'; readonly code: number; readonly how: string }
  /** Every vCPU waits for an interrupt that nothing will raise. */
  | { readonly kind: 'halted'; readonly vcpu: number; readonly explanation: string }
  /** Shutdown state after a triple fault. */
  | { readonly kind: 'shutdown'; readonly vcpu: number; readonly explanation: string }
  /** The guest asked for something the engine does not implement. */
  | { readonly kind: 'unimplemented'; readonly vcpu: number; readonly what: string };

/** What a watch is about. */
export type WatchTarget =
  /** RAM at a host-physical address, whoever accesses it. */
  | { readonly kind: 'memory'; readonly address: bigint; readonly lengthBytes: number }
  /** CR0, CR2, CR3, CR4, CR8, XCR0 or a debug register of any vCPU, in lower case. */
  | { readonly kind: 'control-register'; readonly name: string }
  /** An MSR of any vCPU, by its number. */
  | { readonly kind: 'msr'; readonly index: number }
  /** A field, by the manual's name, of whatever VMCS is current, and of the shadow VMCS that it links to. */
  /** Of the current VMCS; with AMD-V, of the VMCB of the last VMRUN. */
  | { readonly kind: 'vmcs-field'; readonly name: string }
  /** I/O ports from one on. */
  | { readonly kind: 'port'; readonly port: number; readonly lengthBytes: number };

export interface Watch {
  readonly target: WatchTarget;
  readonly read: boolean;
  readonly write: boolean;
}

/**
 * An access that a watch was set for. Instructions that write count even if they leave the value as it is; whatever the
 * processor or a device does by itself counts if the value has changed.
 */
export interface WatchHit {
  /** As it was set. */
  readonly watch: Watch;
  readonly access: 'read' | 'write';
  /** First byte accessed, of memory and ports. */
  readonly address?: bigint;
  /** The watched value before and after; of memory, 8 bytes of it at most. */
  readonly before: bigint | undefined;
  readonly after: bigint | undefined;
  /** Who did it, as "MOV", "VM exit 12 (HLT)". */
  readonly by: string;
  /** Linear address of the instruction, if one did it or was under way. */
  readonly instruction: bigint | undefined;
}

export type AddressSpaceName = 'linear' | 'guest-physical' | 'host-physical';

/** A frame of the built-in hypervisor's handler, above the guest's frames while an exit is handled. */
export interface HandlerFrame {
  readonly name: string;
  /** Kernel half or user half. */
  readonly half: 'kernel' | 'user';
  readonly explanation: string;
}

/** One vCPU, as seen from outside. Reads never disturb the guest. */
export interface Vcpu {
  readonly index: number;
  readonly rip: bigint;
  /** Linear address of the next instruction (CS base added). */
  readonly instructionAddress: bigint;
  /** Value of a register by any of its names (`rax`, `al`, `cs.base`, `cr3`, `IA32_LSTAR` …), or undefined. */
  readRegister(name: string): bigint | undefined;
  /** Returns why not, or undefined when written. */
  writeRegister(name: string, value: bigint): string | undefined;
  registers(): readonly RegisterGroup[];
  /** An MSR that the vCPU has, by name in any case or by number. */
  findMsr(nameOrIndex: string | number): { readonly index: number; readonly name: string } | undefined;
  /** Bytes from the address on, fewer where memory ends or is not mapped. */
  peek(space: AddressSpaceName, address: bigint, lengthBytes: number): Uint8Array;
  /** Number of bytes written. */
  poke(space: AddressSpaceName, address: bigint, bytes: Uint8Array): number;
  mode(): CpuModeView;
  /** The current VMCS, or the one at a host-physical address; undefined if there is none. */
  vmcs(address?: bigint): VmcsView | undefined;
  /** What would become of VMLAUNCH or VMRESUME now: every rule of VM entry that the current VMCS breaks. */
  checkVmEntry(): EntryCheckView;
  /** VMCS field by the manual's name or encoding. */
  readVmcs(field: string): bigint | undefined;
  writeVmcs(field: string, value: bigint): string | undefined;
  /** How a linear address translates now; `access` defaults to read. */
  translate(linear: bigint, access?: 'read' | 'write' | 'execute'): TranslationView;
  tlb(): readonly TlbEntryView[];
  /** Roots of the guest's paging structures and of EPT. */
  pagingRoots(): PagingRoots;
  pagingChildren(table: PagingTable): readonly PagingNode[];
  /** Names that readRegister knows. */
  registerNames(): readonly string[];
  /** Stages of the hypervisor's handler, innermost first; empty while the guest runs. */
  handlerFrames(): readonly HandlerFrame[];
  /**
   * While the hypervisor's handler is on the stack: bytes of the guest that has left, from a linear address of its own
   * on, fewer where its tables or its memory end.
   */
  peekExitedGuest(address: bigint, lengthBytes: number): Uint8Array;
}

export interface RunOptions {
  /** Stop after this many instructions (all vCPUs together). */
  readonly instructions?: number;
  /** Breakpoints do not stop at the instruction the run starts from. Default true. */
  readonly skipFirstBreakpoint?: boolean;
  /** Run only this vCPU. */
  readonly vcpu?: number;
}

export interface RunStatistics {
  readonly instructions: number;
  readonly exitsByReason: Readonly<Record<string, number>>;
  readonly tlbHits: number;
  readonly tlbMisses: number;
}

/** A place in a run. */
export interface Position {
  /** Instructions retired and events dealt with: exceptions, interrupts, VM exits. */
  readonly units: number;
  /** Nanoseconds that passed so far while nothing ran. */
  readonly idleNs: number;
  /** Stages of the VM exit under way that were done, -1 while the guest runs. */
  readonly stage: number;
}

/** Going back in time. What is seen there is seen again: output that came out before does not come out anew. */
export interface MachineHistory {
  /** Whether there is a checkpoint to go back to. */
  readonly isKept: boolean;
  /** Whether the machine has been further than it is now. */
  readonly isInPast: boolean;
  readonly position: Position;
  /** Goes to a place where the machine has been, back or forth; false if it has not been there. */
  goTo(position: Position): boolean;
  /** Keeps the present state to go back to, unless an exit is being handled. The first one is the beginning. */
  checkpoint(): void;
  /**
   * Goes to where a VM exit of the log has just taken place, by its number: as a stop at it would be. False, and back at
   * the present, if history does not reach there.
   */
  goToExit(number: number): boolean;
  /**
   * What there was to see where a VM exit of the log had just taken place. The machine stands afterwards as it stood;
   * `look` must not change it. Undefined if history does not reach there.
   */
  lookAtExit<T>(number: number, look: () => T): T | undefined;
  /** One instruction, exception, VM exit or stage of its handling back; false at the beginning. */
  stepBack(): boolean;
  /**
   * Back to the last stop before the present that is accepted, or to the beginning; yields now and then. Breakpoints,
   * watches and filters are those in force; `accepts` sees the machine as it is at the stop.
   */
  reverse(accepts: (stop: Stop) => boolean): Generator<void, Stop | undefined, void>;
  /**
   * Back to the last instruction boundary that is accepted, at most so many units before the present; false, and back at
   * the present, if there is none.
   */
  lastInstruction(units: number, accepts: () => boolean): boolean;
}

export interface MachineControl {
  readonly history: MachineHistory;
  readonly config: MachineConfig;
  readonly vcpus: readonly Vcpu[];
  /** The vCPU that ran last. */
  readonly currentVcpu: number;
  /** Instructions retired since power-on: the machine's time. */
  readonly instructionCount: number;
  onOutput: (source: OutputSource, bytes: Uint8Array) => void;
  /** Called for each occurrence while the filter is observed (the exit log); independent of stopping. */
  onEvent: ((event: MachineEvent) => void) | undefined;
  /** Runs until something stops it. Call in slices to stay responsive. */
  run(options?: RunOptions): Stop;
  /** One instruction, or one stage of the hypervisor's handler. */
  step(vcpu?: number): Stop;
  /** Input to the guest, entering now. */
  input(source: OutputSource, bytes: Uint8Array): void;
  /** Linear addresses (in any address space of the loaded vCPU) to stop before. */
  setBreakpoints(addresses: readonly bigint[]): void;
  /** Data whose access stops, in place of those set before. */
  setWatches(watches: readonly Watch[]): void;
  /** Arms a filter; the condition, if given, decides. */
  setFilter(filter: StopFilter, armed: boolean, condition?: (event: MachineEvent) => boolean): void;
  /** Virtio devices with their queues, read by peeks. */
  virtqueues(): readonly (VirtioDeviceView & { readonly base: number; readonly irq: number })[];
  statistics(): RunStatistics;
  /** The last VM exits of the run, and sums over all of them. */
  exitLog(query?: ExitQuery): ExitLogView;
  /** The VMCSs that VMCLEAR or VMPTRLD has named so far, by address. */
  vmcss(): readonly VmcsSummary[];
  /** The VM exit that the current VMCS of the vCPU that ran last tells of, explained; undefined if there was none. */
  lastExit(): MachineEvent | undefined;
  /** Digest of the whole state: same inputs, same hash. */
  stateHash(): string;
}
