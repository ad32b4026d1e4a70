/**
 * What VM exits tell, bit by bit: the exit qualification of each basic exit reason, and the formats of the
 * instruction-information, interruption-information and IDT-vectoring information fields (SDM volume 3, "Recording VM-Exit
 * Information and Updating VM-Entry Control Fields"). `exit-cases.ts` has to show every value of every part.
 */
import type { ExitReasonName } from '../../engine/vmx/exit-reasons.ts';

/** Bits of a field that mean one thing. */
export interface ExitPart {
  readonly name: string;
  readonly high: number;
  readonly low: number;
  /** The values it can have; by default 0 and anything else. */
  readonly values?: readonly number[];
  /** Why it is always 0 here. */
  readonly never?: string;
}

const bit = (position: number, name: string): ExitPart => ({ name, high: position, low: position, values: [0, 1] });
const never = (high: number, low: number, name: string, why: string): ExitPart => ({ name, high, low, never: why });
const field = (high: number, low: number, name: string, values?: readonly number[]): ExitPart =>
  values ? { name, high, low, values } : { name, high, low };

const displacement = [field(63, 0, 'displacement of the operand')];
const NO_RTM = 'there is no RTM';
const NO_BUS_LOCK = 'bus-lock detection is not offered';
const NO_CET = 'CET is not offered';
const NO_ASYNCHRONOUS = 'there are no asynchronous accesses';

/** Parts of the exit qualification. Exit reasons without any have a qualification of 0. */
export const qualificationParts: Partial<Record<ExitReasonName, readonly ExitPart[]>> = {
  'Exception or non-maskable interrupt (NMI)': [
    ...[0, 1, 2, 3].map((n) => bit(n, `#DB: B${n}`)),
    never(11, 11, '#DB: BLD', NO_BUS_LOCK),
    bit(13, '#DB: BD'),
    bit(14, '#DB: BS'),
    never(16, 16, '#DB: RTM', NO_RTM),
    field(63, 17, '#PF: the linear address'),
  ],
  'Start-up IPI (SIPI)': [field(7, 0, 'vector')],
  'Task switch': [
    field(15, 0, 'selector of the TSS'),
    field(31, 30, 'source: CALL, IRET, JMP, task gate in the IDT', [0, 1, 2, 3]),
  ],
  INVLPG: [field(63, 0, 'linear address')],
  'Control-register accesses': [
    field(3, 0, 'control register', [0, 3, 4, 8]),
    field(5, 4, 'access: MOV to CR, MOV from CR, CLTS, LMSW', [0, 1, 2, 3]),
    bit(6, 'LMSW: operand in memory'),
    field(
      11,
      8,
      'general-purpose register',
      Array.from({ length: 16 }, (_, index) => index),
    ),
    field(31, 16, 'LMSW: source data'),
  ],
  'MOV DR': [
    field(2, 0, 'debug register', [0, 1, 2, 3, 6, 7]),
    bit(4, 'direction: from DR'),
    field(
      11,
      8,
      'general-purpose register',
      Array.from({ length: 16 }, (_, index) => index),
    ),
  ],
  'I/O instruction': [
    field(2, 0, 'size: 1, 2 or 4 bytes', [0, 1, 3]),
    bit(3, 'direction: IN'),
    bit(4, 'string instruction'),
    bit(5, 'REP prefixed'),
    bit(6, 'operand encoding: immediate'),
    field(31, 16, 'port number'),
  ],
  'VM-entry failure due to invalid guest state': [
    field(31, 0, 'not specified, PDPTE loading, NMI injection, VMCS link pointer', [0, 2, 3, 4]),
  ],
  'VM-entry failure due to MSR loading': [field(31, 0, 'number of the entry, from 1', [1, 2])],
  MWAIT: [bit(0, 'the monitoring hardware is armed')],
  'APIC access': [
    field(11, 0, 'offset in the page, of linear accesses'),
    field(
      15,
      12,
      'type: read, write, fetch, event delivery, monitoring; guest-physical in event delivery, guest-physical',
      [0, 1, 2, 3, 4, 10, 15],
    ),
    never(16, 16, 'asynchronous', NO_ASYNCHRONOUS),
  ],
  'Virtualized EOI': [field(7, 0, 'vector')],
  'EPT violation': [
    bit(0, 'data read'),
    bit(1, 'data write'),
    bit(2, 'instruction fetch'),
    bit(3, 'EPT allows reads'),
    bit(4, 'EPT allows writes'),
    bit(5, 'EPT allows fetches (of supervisor-mode addresses, with mode-based execute control)'),
    bit(6, 'EPT allows fetches of user-mode addresses, with mode-based execute control'),
    bit(7, 'guest-linear address valid'),
    bit(8, 'access to the translation of the linear address, not of a page walk'),
    bit(9, 'user-mode linear address'),
    bit(10, 'writable linear address'),
    bit(11, 'execute-disable linear address'),
    bit(12, 'NMI unblocking due to IRET'),
    never(14, 13, 'shadow stack', NO_CET),
    never(15, 15, 'guest-paging verification', 'it is not offered'),
    never(16, 16, 'asynchronous', NO_ASYNCHRONOUS),
  ],
  'APIC write': [field(11, 0, 'offset of the register')],
  'Page-modification log full': [bit(12, 'NMI unblocking due to IRET')],
  'SPP-related event': [bit(11, 'a miss, not a misconfiguration'), bit(12, 'NMI unblocking due to IRET')],
  ...Object.fromEntries(
    [
      'VMCLEAR', 'VMPTRLD', 'VMPTRST', 'VMREAD', 'VMWRITE', 'VMXON', 'INVEPT', 'INVVPID', 'INVPCID',
      'Access to GDTR or IDTR', 'Access to LDTR or TR',
    ].map((name) => [name, displacement]),
  ), // biome-ignore format: a list of names
};

const registers = Array.from({ length: 16 }, (_, index) => index);
const memory = [
  field(1, 0, 'scaling', [0, 1, 2, 3]),
  field(9, 7, 'address size: 16, 32, 64 bits', [0, 1, 2]),
  field(17, 15, 'segment register', [0, 1, 2, 3, 4, 5]),
  // RSP cannot be one.
  field(
    21,
    18,
    'index register',
    registers.filter((register) => register !== 4),
  ),
  bit(22, 'no index register'),
  field(26, 23, 'base register', registers),
  bit(27, 'no base register'),
];
const registerForm = [field(6, 3, 'register operand', registers), bit(10, 'register, not memory')];
const second = field(31, 28, 'the other register operand', registers);

/** The formats of the VM-exit instruction-information field. */
export const informationFormats = {
  'INS and OUTS': [memory[1], memory[2]],
  'INVEPT, INVPCID, INVVPID': [...memory, second],
  'LIDT, LGDT, SIDT, SGDT': [
    ...memory,
    bit(11, 'operand size: 32 bits'),
    field(29, 28, 'identity: SGDT, SIDT, LGDT, LIDT', [0, 1, 2, 3]),
  ],
  'LLDT, LTR, SLDT, STR': [...memory, ...registerForm, field(29, 28, 'identity: SLDT, STR, LLDT, LTR', [0, 1, 2, 3])],
  'RDRAND and RDSEED': [
    field(6, 3, 'destination register', registers),
    field(12, 11, 'operand size: 16, 32, 64 bits', [0, 1, 2]),
  ],
  'VMCLEAR, VMPTRLD, VMPTRST, VMXON': memory,
  'VMREAD and VMWRITE': [...memory, ...registerForm, second],
} as const satisfies Record<string, readonly (ExitPart | undefined)[]>;
export type InformationFormat = keyof typeof informationFormats;

/** The VM-exit interruption information. */
export const interruptionParts: readonly ExitPart[] = [
  field(7, 0, 'vector'),
  field(10, 8, 'type: external, NMI, hardware, privileged software, software exception', [0, 2, 3, 5, 6]),
  bit(11, 'error code valid'),
  bit(12, 'NMI unblocking due to IRET'),
  bit(31, 'valid'),
];

/** The IDT-vectoring information. */
export const vectoringParts: readonly ExitPart[] = [
  field(7, 0, 'vector'),
  field(
    10,
    8,
    'type: external, NMI, hardware, software interrupt, privileged software, software exception',
    [0, 2, 3, 4, 5, 6],
  ),
  bit(11, 'error code valid'),
  bit(31, 'valid'),
];

/** Exit reasons that nothing can cause here. */
export const impossibleReasons: Partial<Record<ExitReasonName, string>> = {
  GETSEC: 'CR4.SMXE cannot be set, so that GETSEC is undefined',
  RSM: 'there is no system-management mode',
  'I/O system-management interrupt (SMI)': 'there is no system-management mode',
  'Other SMI': 'there is no system-management mode',
  'VM-entry failure due to machine-check event': 'there are no machine checks',
  ENCLS: 'SGX is not offered',
  ENCLV: 'SGX is not offered',
  XSAVES: 'IA32_XSS has no bits that the XSS-exiting bitmap could ask for',
  XRSTORS: 'IA32_XSS has no bits that the XSS-exiting bitmap could ask for',
  PCONFIG: 'PCONFIG is not offered',
  UMWAIT: 'user wait instructions are not offered',
  TPAUSE: 'user wait instructions are not offered',
  LOADIWKEY: 'Key Locker is not offered',
  'ENQCMD PASID translation failure': 'ENQCMD is not offered',
  'ENQCMDS PASID translation failure': 'ENQCMDS is not offered',
  'Bus lock': NO_BUS_LOCK,
  'Instruction timeout': 'instruction timeout is not offered',
};
