/**
 * Exit codes of #VMEXIT and the intercept bits that ask for them, as one table (AMD64 APM volume 2, "SVM Intercept Exit
 * Codes" and "Layout of VMCB").
 */
import { Vector } from '../cpu/events.ts';
import type { VmcbFieldName } from './vmcb-fields.ts';

export interface ExitCodeInfo {
  readonly code: number;
  /** The manual's name, without its prefix VMEXIT_. */
  readonly name: string;
  /** What happened in the guest. */
  readonly doc: string;
  /** The bit of the VMCB that asks for it; none for exits that cannot be helped. */
  readonly intercept?: { readonly field: VmcbFieldName; readonly bit: number };
  /** Whether the exit comes in place of an instruction, so that nRIP is saved. */
  readonly isInstruction: boolean;
  /** Whether the processor has what is intercepted; intercepts of anything else stop the run. */
  readonly exists: boolean;
}

type More = Partial<Pick<ExitCodeInfo, 'isInstruction' | 'exists'>>;

const row = <const Name extends string>(
  code: number,
  name: Name,
  doc: string,
  intercept?: ExitCodeInfo['intercept'],
  more: More = {},
) => ({ code, name, doc, ...(intercept ? { intercept } : {}), isInstruction: false, exists: true, ...more });

/** Rows of intercept vectors 3 to 5: codes and bits go together. */
const vector =
  (field: VmcbFieldName, firstCode: number) =>
  <const Name extends string>(code: number, name: Name, doc: string, more: More = {}) =>
    row(code, name, doc, { field, bit: code - firstCode }, more);
const INSTRUCTION: More = { isInstruction: true };
const MISSING: More = { isInstruction: true, exists: false };

const vector3 = vector('Intercept vector 3', 0x60);
const vector4 = vector('Intercept vector 4', 0x80);
const vector5 = vector('Intercept vector 5', 0xa0);

const VECTORS = Array.from({ length: 32 }, (_, index) => index);
const vectorName = (index: number): string =>
  Object.entries(Vector).find(([, value]) => value === index)?.[0] ?? `vector ${index}`;

/** 16 registers and 2 directions, of control or debug registers. */
function registerRows(prefix: 'CR' | 'DR', firstCode: number): ExitCodeInfo[] {
  const field = prefix === 'CR' ? 'Intercept CR reads and writes' : 'Intercept DR reads and writes';
  return ['READ', 'WRITE'].flatMap((direction, half) =>
    VECTORS.slice(0, 16).map((index) => {
      const doc = `${direction === 'READ' ? 'A read of' : 'A write to'} ${prefix}${index}.`;
      const bit = half * 16 + index;
      return row(firstCode + bit, `${prefix}${index}_${direction}`, doc, { field, bit }, INSTRUCTION);
    }),
  );
}

const named = [
  vector3(0x60, 'INTR', 'A physical interrupt; it stays pending.'),
  vector3(0x61, 'NMI', 'A physical NMI; it stays pending.'),
  vector3(0x62, 'SMI', 'A physical SMI.'),
  vector3(0x63, 'INIT', 'A physical INIT; it stays pending.'),
  vector3(0x64, 'VINTR', 'A virtual interrupt was about to be taken.'),
  vector3(0x65, 'CR0_SEL_WRITE', 'A write to CR0 that changes other bits than TS and MP.', INSTRUCTION),
  vector3(0x66, 'IDTR_READ', 'SIDT.', INSTRUCTION),
  vector3(0x67, 'GDTR_READ', 'SGDT.', INSTRUCTION),
  vector3(0x68, 'LDTR_READ', 'SLDT.', INSTRUCTION),
  vector3(0x69, 'TR_READ', 'STR.', INSTRUCTION),
  vector3(0x6a, 'IDTR_WRITE', 'LIDT.', INSTRUCTION),
  vector3(0x6b, 'GDTR_WRITE', 'LGDT.', INSTRUCTION),
  vector3(0x6c, 'LDTR_WRITE', 'LLDT.', INSTRUCTION),
  vector3(0x6d, 'TR_WRITE', 'LTR.', INSTRUCTION),
  vector3(0x6e, 'RDTSC', 'RDTSC.', INSTRUCTION),
  vector3(0x6f, 'RDPMC', 'RDPMC.', INSTRUCTION),
  vector3(0x70, 'PUSHF', 'PUSHF.', INSTRUCTION),
  vector3(0x71, 'POPF', 'POPF.', INSTRUCTION),
  vector3(0x72, 'CPUID', 'CPUID.', INSTRUCTION),
  vector3(0x73, 'RSM', 'RSM.', INSTRUCTION),
  vector3(0x74, 'IRET', 'IRET.', INSTRUCTION),
  vector3(0x75, 'SWINT', 'INT n.', INSTRUCTION),
  vector3(0x76, 'INVD', 'INVD.', INSTRUCTION),
  vector3(0x77, 'PAUSE', 'PAUSE, after as many as the filter lets pass.', INSTRUCTION),
  vector3(0x78, 'HLT', 'HLT.', INSTRUCTION),
  vector3(0x79, 'INVLPG', 'INVLPG.', INSTRUCTION),
  vector3(0x7a, 'INVLPGA', 'INVLPGA.', INSTRUCTION),
  vector3(0x7b, 'IOIO', 'An access to a port that the I/O permissions map intercepts.', INSTRUCTION),
  vector3(0x7c, 'MSR', 'RDMSR or WRMSR of a register that the MSR permissions map intercepts.', INSTRUCTION),
  vector3(0x7d, 'TASK_SWITCH', 'A task switch.'),
  vector3(0x7e, 'FERR_FREEZE', 'The FPU waits for an interrupt because of an error.'),
  vector3(0x7f, 'SHUTDOWN', 'A shutdown, as after a triple fault.'),
  vector4(0x80, 'VMRUN', 'VMRUN; VMRUN itself demands the intercept.', INSTRUCTION),
  vector4(0x81, 'VMMCALL', 'VMMCALL: a call of the hypervisor.', INSTRUCTION),
  vector4(0x82, 'VMLOAD', 'VMLOAD.', INSTRUCTION),
  vector4(0x83, 'VMSAVE', 'VMSAVE.', INSTRUCTION),
  vector4(0x84, 'STGI', 'STGI.', INSTRUCTION),
  vector4(0x85, 'CLGI', 'CLGI.', INSTRUCTION),
  vector4(0x86, 'SKINIT', 'SKINIT.', INSTRUCTION),
  vector4(0x87, 'RDTSCP', 'RDTSCP.', INSTRUCTION),
  vector4(0x88, 'ICEBP', 'INT1.', INSTRUCTION),
  vector4(0x89, 'WBINVD', 'WBINVD or WBNOINVD.', INSTRUCTION),
  vector4(0x8a, 'MONITOR', 'MONITOR.', INSTRUCTION),
  vector4(0x8b, 'MWAIT', 'MWAIT.', INSTRUCTION),
  vector4(0x8c, 'MWAIT_CONDITIONAL', 'MWAIT with the monitor armed.', INSTRUCTION),
  vector4(0x8d, 'XSETBV', 'XSETBV.', INSTRUCTION),
  vector4(0x8e, 'RDPRU', 'RDPRU.', MISSING),
  vector4(0x8f, 'EFER_WRITE_TRAP', 'EFER was written.', MISSING),
  vector5(0xa0, 'INVLPGB', 'INVLPGB.', MISSING),
  vector5(0xa1, 'INVLPGB_ILLEGAL', 'INVLPGB of more than the guest may.', MISSING),
  vector5(0xa2, 'INVPCID', 'INVPCID.', INSTRUCTION),
  vector5(0xa3, 'MCOMMIT', 'MCOMMIT.', MISSING),
  vector5(0xa4, 'TLBSYNC', 'TLBSYNC.', MISSING),
  row(0x400, 'NPF', 'A nested page fault: the host page tables forbid the access.'),
  row(-1, 'INVALID', 'VMRUN found the guest state, or what it was told to inject, invalid.'),
] as const;

/** Traps after writes to CR0 to CR15. */
const writeTraps = VECTORS.slice(0, 16).map((index) =>
  row(
    0x90 + index,
    `CR${index}_WRITE_TRAP`,
    `CR${index} was written.`,
    { field: 'Intercept vector 4', bit: 16 + index },
    MISSING,
  ),
);

const exceptions = VECTORS.map((index) =>
  row(0x40 + index, `EXCP${index}`, `Exception ${vectorName(index)} is about to be delivered.`, {
    field: 'Intercept exception vectors',
    bit: index,
  }),
);

export const exitCodeTable: readonly ExitCodeInfo[] = [
  ...registerRows('CR', 0),
  ...registerRows('DR', 0x20),
  ...exceptions,
  ...named,
  ...writeTraps,
];

export type ExitCodeName = (typeof named)[number]['name'];

/** The codes that have names of their own. */
export const ExitCode = Object.fromEntries(named.map(({ name, code }) => [name, code])) as Readonly<
  Record<ExitCodeName, number>
>;
/** The first code of each row of codes that go by number. */
export const FirstCode = { crRead: 0, crWrite: 0x10, drRead: 0x20, drWrite: 0x30, exception: 0x40 } as const;

const byCode = new Map(exitCodeTable.map((info): [number, ExitCodeInfo] => [info.code, info]));

/** The row of an exit code, a signed number. */
export const exitCode = (code: number): ExitCodeInfo | undefined => byCode.get(code);
export const exitCodeName = (code: number): string => `VMEXIT_${byCode.get(code)?.name ?? `0x${code.toString(16)}`}`;

/** Whether an exit is that of an exception; its vector is what the code is above `FirstCode.exception`. */
export const isExceptionExit = (code: number): boolean =>
  code >= FirstCode.exception && code < FirstCode.exception + 32;

/** Instructions whose intercepts have other names, in capitals. */
const instructionsOf: Readonly<Partial<Record<ExitCodeName, readonly string[]>>> = {
  IDTR_READ: ['SIDT'],
  GDTR_READ: ['SGDT'],
  LDTR_READ: ['SLDT'],
  TR_READ: ['STR'],
  IDTR_WRITE: ['LIDT'],
  GDTR_WRITE: ['LGDT'],
  LDTR_WRITE: ['LLDT'],
  TR_WRITE: ['LTR'],
  PUSHF: ['PUSHFD', 'PUSHFQ'],
  POPF: ['POPFD', 'POPFQ'],
  IRET: ['IRETD', 'IRETQ'],
  SWINT: ['INT'],
  ICEBP: ['INT1'],
  IOIO: ['IN', 'OUT', 'INSB', 'INSW', 'INSD', 'OUTSB', 'OUTSW', 'OUTSD'],
  MSR: ['RDMSR', 'WRMSR'],
  WBINVD: ['WBNOINVD'],
};
const byInstruction = new Map<string, number>([
  ...named.filter(({ isInstruction }) => isInstruction).map(({ name, code }): [string, number] => [name, code]),
  ...Object.entries(instructionsOf).flatMap(([name, instructions]) =>
    instructions.map((instruction): [string, number] => [instruction, ExitCode[name as ExitCodeName]]),
  ),
]);

/** The exit code whose intercept decides whether an instruction exits, by its mnemonic in capitals; not all have one. */
export const interceptOf = (mnemonic: string): number | undefined => byInstruction.get(mnemonic);
