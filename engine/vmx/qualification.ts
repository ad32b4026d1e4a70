/** Exit qualifications as named parts (SDM volume 3, "Basic VM-Exit Information" and the tables of that section). */
import { hex } from '../cpu/hexadecimal.ts';
import { ExitReason } from './exit-reasons.ts';
import { registerName } from './instruction-information.ts';

export interface QualificationPart {
  readonly name: string;
  readonly value: string;
  readonly description: string;
}

const part = (name: string, value: string | number | boolean, description: string): QualificationPart => ({
  name,
  value: typeof value === 'boolean' ? (value ? '1' : '0') : String(value),
  description,
});

/** Access types of a control-register access. */
export const CrAccess = { movTo: 0, movFrom: 1, clts: 2, lmsw: 3 } as const;
const crAccessNames = ['MOV to CR', 'MOV from CR', 'CLTS', 'LMSW'] as const;

/** Encodes the qualification of a control-register access. */
export const crQualification = (register: number, type: number, gpr: number): bigint =>
  BigInt(register | (type << 4) | (gpr << 8));
/** Encodes the qualification of LMSW. */
export const lmswQualification = (source: number, isMemory: boolean): bigint =>
  BigInt(((source & 0xffff) << 16) | (CrAccess.lmsw << 4) | (isMemory ? 1 << 6 : 0)) & 0xffff_ffffn;

function crAccess(q: number): QualificationPart[] {
  const type = (q >> 4) & 3;
  const parts = [part('access type', crAccessNames[type] as string, 'The instruction that accessed the register.')];
  if (type <= CrAccess.movFrom) {
    parts.push(part('register', `CR${q & 15}`, 'The control register.'));
    parts.push(part('general-purpose register', registerName(q >> 8), 'The other operand of MOV.'));
  }
  if (type === CrAccess.clts) parts.push(part('register', 'CR0', 'CLTS clears CR0.TS.'));
  if (type === CrAccess.lmsw) {
    parts.push(part('register', 'CR0', 'LMSW loads bits 3:0 of CR0.'));
    parts.push(part('source data', hex((q >>> 16) & 0xffff), 'The machine status word that LMSW would load.'));
    parts.push(part('operand', (q >> 6) & 1 ? 'memory' : 'register', 'Where LMSW takes it from.'));
  }
  return parts;
}

function drAccess(q: number): QualificationPart[] {
  return [
    part('register', `DR${q & 7}`, 'The debug register.'),
    part('direction', q & 16 ? 'MOV from DR' : 'MOV to DR', 'Which way the value goes.'),
    part('general-purpose register', registerName(q >> 8), 'The other operand of MOV.'),
  ];
}

function ioInstruction(q: number): QualificationPart[] {
  return [
    part('port', hex(q >>> 16), 'The I/O port.'),
    part('size', (q & 7) + 1, 'Bytes of the access.'),
    part('direction', q & 8 ? 'in' : 'out', 'Which way the data goes.'),
    part('string', (q & 16) !== 0, 'INS or OUTS.'),
    part('rep', (q & 32) !== 0, 'With a REP prefix.'),
    part('operand encoding', q & 64 ? 'immediate' : 'DX', 'Where the port number comes from.'),
  ];
}

const taskSources = ['CALL', 'IRET', 'JMP', 'task gate in the IDT'] as const;
function taskSwitch(q: number): QualificationPart[] {
  return [
    part('TSS selector', hex(q & 0xffff), 'The task to switch to.'),
    part('source', taskSources[(q >>> 30) & 3] as string, 'What asked for the switch.'),
  ];
}

const rights = (bits: number): string => `${bits & 1 ? 'R' : '-'}${bits & 2 ? 'W' : '-'}${bits & 4 ? 'X' : '-'}`;

/** Bits 11:9, as the CPU has advanced exit information for EPT violations. */
const guestRights = (q: number): string =>
  `${q & 512 ? 'user' : 'supervisor'}, R${q & 1024 ? 'W' : '-'}${q & 2048 ? '-' : 'X'}`;

function eptViolation(q: number): QualificationPart[] {
  const linear = (q & 128) !== 0;
  const parts = [
    part('data read', (q & 1) !== 0, 'The access was a data read.'),
    part('data write', (q & 2) !== 0, 'The access was a data write.'),
    part('instruction fetch', (q & 4) !== 0, 'The access was an instruction fetch.'),
    part('EPT allows', rights((q >> 3) & 7), 'Rights that the EPT entries on the way have in common.'),
    ...(q & 64 ? [part('EPT allows user-mode fetches', true, 'By bit 10, with mode-based execute control.')] : []),
    part('guest-linear address valid', linear, 'The guest-linear address field says which address was accessed.'),
  ];
  if (linear) {
    const final = (q & 256) !== 0;
    parts.push(
      part(
        'access to',
        final ? 'the translation of the linear address' : 'a guest paging-structure entry',
        'Whether the guest’s page tables were being read or the page itself accessed.',
      ),
    );
    if (final)
      parts.push(part('guest paging allows', guestRights(q), 'What the guest’s own page tables say of the page.'));
  }
  parts.push(part('NMI unblocking due to IRET', (q & 0x1000) !== 0, 'An IRET had ended blocking by NMI.'));
  return parts;
}

function debugException(q: number): QualificationPart[] {
  const breakpoints = [0, 1, 2, 3].filter((n) => q & (1 << n)).map((n) => `B${n}`);
  return [
    part('breakpoints', breakpoints.join(' ') || 'none', 'Breakpoint conditions met.'),
    part('BD', (q & 0x2000) !== 0, 'Debug-register access with DR7.GD.'),
    part('BS', (q & 0x4000) !== 0, 'Single step.'),
  ];
}

const linearAddress = (q: bigint): QualificationPart[] => [part('linear address', hex(q), 'The address concerned.')];

const apicAccessTypes: Readonly<Record<number, string>> = {
  0: 'data read',
  1: 'data write',
  2: 'instruction fetch',
  3: 'event delivery',
  4: 'monitoring',
  10: 'event delivery, by a guest-physical address',
  15: 'a page walk or the like, by a guest-physical address',
};
/** The offset is that of a linear access; for others it is undefined. */
function apicAccess(q: number): QualificationPart[] {
  const type = q >>> 12;
  const offset = part('offset', hex(q & 0xfff), 'Offset of the access within the APIC page.');
  return [
    ...(type < 10 ? [offset] : []),
    part('access type', apicAccessTypes[type] ?? 'reserved', 'What the access was made for.'),
  ];
}

const DB = 1;
const PF = 14;

/** The parts of an exit qualification; `vector` is that of the exception, for reason 0. Empty if it has none. */
export function decodeQualification(reason: number, qualification: bigint, vector?: number): QualificationPart[] {
  const q = Number(qualification & 0xffff_ffffn);
  switch (reason) {
    case ExitReason['Exception or non-maskable interrupt (NMI)']:
      if (vector === PF) return linearAddress(qualification);
      return vector === DB ? debugException(q) : [];
    case ExitReason['Control-register accesses']:
      return crAccess(q);
    case ExitReason['MOV DR']:
      return drAccess(q);
    case ExitReason['I/O instruction']:
      return ioInstruction(q);
    case ExitReason.MWAIT:
      return [part('monitor armed', (q & 1) !== 0, 'Whether MONITOR had armed the monitoring hardware.')];
    case ExitReason['Start-up IPI (SIPI)']:
      return [part('vector', hex(q & 0xff), 'Vector of the start-up IPI.')];
    case ExitReason['Task switch']:
      return taskSwitch(q);
    case ExitReason['EPT violation']:
      return eptViolation(q);
    case ExitReason['SPP-related event']:
      return [part('entry', q & 0x800 ? 'missing' : 'misconfigured', 'What is wrong with the sub-page permissions.')];
    case ExitReason['APIC access']:
      return apicAccess(q & 0xffff);
    case ExitReason['APIC write']:
      return [part('offset', hex(q & 0xfff), 'Offset of the register that was written.')];
    case ExitReason['Virtualized EOI']:
      return [part('vector', hex(q & 0xff), 'Vector of the virtual interrupt that has ended.')];
    case ExitReason.INVLPG:
      return linearAddress(qualification);
    case ExitReason['VM-entry failure due to MSR loading']:
      return [part('entry', q, 'Number of the MSR-load entry that failed, from 1.')];
    default:
      return [];
  }
}

const interruptionTypes = [
  'external interrupt',
  'reserved',
  'NMI',
  'hardware exception',
  'software interrupt',
  'privileged software exception',
  'software exception',
  'other event',
] as const;

/** The parts of an interruption-information field (VM entry, VM exit, IDT vectoring). Empty if bit 31 is 0. */
export function decodeInterruption(information: number): QualificationPart[] {
  if ((information & 0x8000_0000) === 0) return [part('valid', false, 'There is no event.')];
  return [
    part('valid', true, 'There is an event.'),
    part('vector', information & 0xff, 'Interrupt or exception vector.'),
    part('type', interruptionTypes[(information >>> 8) & 7] as string, 'Kind of event.'),
    part('error code valid', (information & 0x800) !== 0, 'The event has an error code.'),
    ...(information & 0x1000
      ? [part('NMI unblocking due to IRET', true, 'The IRET that faulted had ended blocking by NMI.')]
      : []),
  ];
}
