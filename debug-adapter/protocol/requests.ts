/**
 * The custom requests and events of Ringside's debug adapter, for the views of an editor. Types only.
 *
 * `vcpu` is the index of a vCPU, from 0; the DAP thread id is one more. Left out, it is the vCPU that stopped last.
 * While the machine runs, the requests answer with its state between two slices. Linear addresses that are numbers are
 * signed (the upper half is negative), as in the engine; bigints are hexadecimal strings.
 */
import type {
  CpuModeView,
  EntryCheckView,
  ExitLogView,
  ExitQuery,
  PagingNode,
  PagingTable,
  TlbEntryView,
  TranslationView,
  ViolatedRuleView,
  VirtioDeviceView,
  VmcsFieldView,
  VmcsSummary,
  VmcsView,
  VmExitView,
} from '../../engine/index.ts';
import type { Wire } from './wire.ts';

export type { Wire } from './wire.ts';

export interface VcpuArguments {
  readonly vcpu?: number;
}

// ---- ringside/cpuMode ------------------------------------------------------------------------------------------------

export interface CpuModeArguments extends VcpuArguments {}
export type WireCpuMode = Wire<CpuModeView>;
export interface CpuModeResponse {
  /** The vCPU asked for, or all. */
  readonly vcpus: readonly WireCpuMode[];
  /** The vCPU that stopped last. */
  readonly current: number;
}

// ---- ringside/vmcs ---------------------------------------------------------------------------------------------------

export interface VmcsArguments extends VcpuArguments {
  /** Host-physical, as `ringside/vmcsList` gives it; absent for the current VMCS. */
  readonly address?: string;
}
export type WireVmcsField = Wire<VmcsFieldView>;
export type WireVmcs = Wire<VmcsView>;
export interface VmcsResponse {
  /** The VMCS; absent if there is none. */
  readonly vmcs?: WireVmcs;
  /** Names of the fields whose value is another than when they were asked for at an earlier stop. */
  readonly changed: readonly string[];
}

// ---- ringside/vmcsList -----------------------------------------------------------------------------------------------

export type WireVmcsSummary = Wire<VmcsSummary>;
export interface VmcsListResponse {
  /** Those that VMCLEAR or VMPTRLD has named so far. */
  readonly vmcss: readonly WireVmcsSummary[];
}

// ---- ringside/checkVmEntry -------------------------------------------------------------------------------------------

export type WireEntryCheck = Wire<EntryCheckView>;
export type WireViolatedRule = Wire<ViolatedRuleView>;

// ---- ringside/compareVmcs --------------------------------------------------------------------------------------------

export interface CompareVmcsArguments extends VmcsArguments {
  /** Number of a VM exit of the log: the VMCS is compared with itself as it was just after that exit. */
  readonly exit: number;
}
export interface VmcsDifference {
  readonly field: string;
  readonly group: string;
  readonly widthBits: number;
  readonly before: string;
  readonly now: string;
}
export interface CompareVmcsResponse {
  /** The VMCS. */
  readonly address: string;
  readonly differences: readonly VmcsDifference[];
}

export interface SetVmcsFieldArguments extends VcpuArguments {
  /** The manual's name or the encoding. */
  readonly field: string;
  /** An expression. */
  readonly value: string;
}
export interface SetVmcsFieldResponse {
  readonly value: string;
}

// ---- ringside/pageTables ---------------------------------------------------------------------------------------------

export type WirePagingTable = Wire<PagingTable>;
export type WirePagingNode = Wire<PagingNode>;
export interface PageTablesArguments extends VcpuArguments {
  /** The guest's tables (of CR3), or EPT's (with AMD-V, those of nested paging). */
  readonly kind: 'guest' | 'ept';
  /** The table whose entries are wanted, as an earlier answer gave it; absent for the root. */
  readonly table?: WirePagingTable;
}
export interface PageTablesResponse {
  /** What the tables are of. */
  readonly tree: 'Guest paging' | 'EPT' | 'Nested paging';
  /** The table that was read; absent if there is none: no paging, no EPT. */
  readonly table?: WirePagingTable;
  readonly nodes: readonly WirePagingNode[];
  /** Why there is no table; of a table, whose it is if it is not in use now. */
  readonly reason?: string;
}

// ---- ringside/tlb ----------------------------------------------------------------------------------------------------

export interface TlbArguments extends VcpuArguments {}
export type WireTlbEntry = Wire<TlbEntryView>;
export interface TlbResponse {
  readonly entries: readonly WireTlbEntry[];
}

// ---- ringside/exitLog ------------------------------------------------------------------------------------------------

export interface ExitLogArguments extends ExitQuery {}
export interface WireVmExit extends Wire<VmExitView> {
  /** `main+0x12`, if a symbol is near the instruction. */
  readonly symbol?: string;
  /** The line of the source that the instruction belongs to, from 1. */
  readonly source?: { readonly path: string; readonly line: number };
}
export interface ExitLogResponse extends Omit<Wire<ExitLogView>, 'exits'> {
  readonly exits: readonly WireVmExit[];
  /** Whether there is a history in which `ringside/goToExit` may find them. */
  readonly canGoBack: boolean;
}

// ---- ringside/goToExit -----------------------------------------------------------------------------------------------

/** Goes back in time to where an exit of the log has just taken place. A `stopped` event follows. */
export interface GoToExitArguments {
  readonly number: number;
}

// ---- ringside/virtqueues ---------------------------------------------------------------------------------------------

export type WireVirtioDevice = Wire<VirtioDeviceView>;
export interface VirtqueuesResponse {
  readonly devices: readonly WireVirtioDevice[];
}

// ---- ringside/translate ----------------------------------------------------------------------------------------------

export interface TranslateArguments extends VcpuArguments {
  /** The linear address, as an expression: `0x1000`, `rsp + 8`, `message`. */
  readonly expression: string;
  /** Default: read. */
  readonly access?: 'read' | 'write' | 'execute';
  /** The frame in which the expression is evaluated. */
  readonly frameId?: number;
}
export type WireTranslation = Wire<TranslationView>;
export interface TranslateResponse {
  /** The address that the expression gave. */
  readonly address: string;
  /** `main+0x12`, if a symbol is near. */
  readonly symbol?: string;
  readonly translation: WireTranslation;
  /** For readMemory and disassemble. */
  readonly memoryReferences: {
    readonly linear: string;
    readonly guestPhysical?: string;
    readonly hostPhysical?: string;
  };
}

// ---- ringside/input --------------------------------------------------------------------------------------------------

export interface InputArguments {
  /** Default: serial. */
  readonly source?: 'serial' | 'virtio-console';
  readonly text: string;
}

// ---- ringside/statistics ---------------------------------------------------------------------------------------------

export interface StatisticsResponse {
  readonly instructions: number;
  readonly exitsByReason: Readonly<Record<string, number>>;
  readonly tlbHits: number;
  readonly tlbMisses: number;
}

/** Arguments and answers of all custom requests by their command. */
export interface RingsideRequests {
  'ringside/cpuMode': { readonly arguments: CpuModeArguments; readonly response: CpuModeResponse };
  'ringside/vmcs': { readonly arguments: VmcsArguments; readonly response: VmcsResponse };
  'ringside/vmcsList': { readonly arguments: VcpuArguments; readonly response: VmcsListResponse };
  'ringside/checkVmEntry': { readonly arguments: VcpuArguments; readonly response: WireEntryCheck };
  'ringside/compareVmcs': { readonly arguments: CompareVmcsArguments; readonly response: CompareVmcsResponse };
  'ringside/setVmcsField': { readonly arguments: SetVmcsFieldArguments; readonly response: SetVmcsFieldResponse };
  'ringside/pageTables': { readonly arguments: PageTablesArguments; readonly response: PageTablesResponse };
  'ringside/tlb': { readonly arguments: TlbArguments; readonly response: TlbResponse };
  'ringside/exitLog': { readonly arguments: ExitLogArguments; readonly response: ExitLogResponse };
  'ringside/goToExit': { readonly arguments: GoToExitArguments; readonly response: Record<string, never> };
  'ringside/virtqueues': { readonly arguments: VcpuArguments; readonly response: VirtqueuesResponse };
  'ringside/translate': { readonly arguments: TranslateArguments; readonly response: TranslateResponse };
  'ringside/input': { readonly arguments: InputArguments; readonly response: Record<string, never> };
  'ringside/statistics': { readonly arguments: Record<string, never>; readonly response: StatisticsResponse };
}
export type RingsideCommand = keyof RingsideRequests;
