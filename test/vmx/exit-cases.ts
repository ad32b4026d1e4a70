/** VM exits with all that they tell, one for every value of every part in `exit-parts.ts`. */
import { DebugFault } from '../../engine/cpu/debug-exceptions.ts';
import { GuestFault, VmExit } from '../../engine/cpu/events.ts';
import { Access } from '../../engine/mmu/access.ts';
import type { ExitReasonName } from '../../engine/vmx/exit-reasons.ts';
import { GDT, IDT, PAGE_TABLES, sel, TSS } from '../cpu/machine.ts';
import { violations } from './entry-rule-violations.ts';
import { controls, EPT, GUEST_RIP, insn, MSR_AREA, STACK, type Values, VmxMachine } from './machine.ts';

export interface ExitCase {
  readonly reason: ExitReasonName;
  readonly name: string;
  readonly values?: Values;
  /** Whether VM entry itself ends in the exit. */
  readonly atEntry?: boolean;
  /** Before VM entry. */
  readonly prepare?: (m: VmxMachine) => void;
  /** In the guest, before what exits. */
  readonly inGuest?: (m: VmxMachine) => void;
  /** What exits: the bytes of an instruction, or an event. */
  readonly exits: string | ((m: VmxMachine) => void);
  readonly qualification?: bigint | number;
  readonly interruption?: number;
  readonly vectoring?: number;
  readonly errorCode?: number;
  readonly linear?: number;
  readonly physical?: number;
}

const [RAX, RCX, RDX, RSI, RDI] = [0, 1, 2, 6, 7] as const;
const PAGE = 0x6_0000;
/** Linear addresses whose page table is `TABLE`, which is empty. */
const ELSEWHERE = 0x20_0000;
const TABLE = 0x6_1000;
const [VAPIC, APIC] = [0x5_1000, 0x5_0000];
const ERROR_CODE = 0x800;
const NMI_UNBLOCKING = 0x1000;
const BLOCKED_BY_NMI = 8;

const INJECT = 'VM-entry interruption-information field';
const inject = (type: number, vector: number, more = 0): number => (0x8000_0000 | (type << 8) | vector | more) >>> 0;
const pin = (...names: string[]): Values => ({ 'Pin-based VM-execution controls': controls('pin', ...names) });
export const primary = (...names: string[]): Values => ({
  'Primary processor-based VM-execution controls': controls('primary', 'Activate secondary controls', ...names),
});
export const secondary = (...names: string[]): Values => ({
  'Secondary processor-based VM-execution controls': controls('secondary', 'Enable EPT', 'Enable VPID', ...names),
});
/** A guest in protected mode without paging, in 32-bit code. */
export const flat32 = (...names: string[]): Values => ({
  ...secondary('Unrestricted guest', ...names),
  'VM-entry controls': controls('entry'),
  'Guest CR0': 0x21,
  'Guest CR4': 0x2000,
  'Guest CS access rights': 0xc09b,
});

/** Runs what may end in a VM exit or a fault of the guest. */
function attempt(m: VmxMachine, action: () => unknown): void {
  try {
    action();
  } catch (event) {
    if (!(event instanceof GuestFault || event instanceof VmExit)) throw event;
    m.vmx.handleEvent(event, 2);
  }
}

const fault = (event: GuestFault) => (m: VmxMachine) => m.vmx.handleEvent(event, 2);
const translate = (linear: number, access: Access) => (m: VmxMachine) =>
  attempt(m, () => m.mmu.translate(linear, access));

/** The machine after the VM exit of a case. */
export function afterExit({ values = {}, atEntry, prepare, inGuest, exits }: ExitCase): VmxMachine {
  const m = new VmxMachine().ready(values);
  prepare?.(m);
  m.step(insn.vmlaunch);
  if (atEntry) return m;
  if (!m.state.nonRoot) throw new Error(`VM entry failed: ${m.status()}`);
  inGuest?.(m);
  if (typeof exits === 'string') m.step(exits);
  else exits(m);
  return m;
}

const always = (reason: ExitReasonName, hex: string, values?: Values): ExitCase =>
  values === undefined ? { reason, name: 'exits', exits: hex } : { reason, name: 'exits', exits: hex, values };
const atEntry = () => {};

const NMI_AND_EXCEPTION = 'Exception or non-maskable interrupt (NMI)';
const exceptions: ExitCase[] = [
  ...[1, 2, 4, 8, 0x2000, 0x4000].map(
    (dr6): ExitCase => ({
      reason: NMI_AND_EXCEPTION,
      name: `#DB with the cause ${dr6.toString(16)}H`,
      values: { 'Exception bitmap': 2 },
      exits: fault(new DebugFault(dr6, dr6 !== 0x2000)),
      qualification: dr6,
      interruption: inject(3, 1),
    }),
  ),
  {
    reason: NMI_AND_EXCEPTION,
    name: '#PF with its address',
    values: { 'Exception bitmap': 1 << 14 },
    exits: fault(new GuestFault(14, 6, -0x1000)),
    qualification: 0xffff_ffff_ffff_f000n,
    interruption: inject(3, 14, ERROR_CODE),
    errorCode: 6,
  },
  {
    reason: NMI_AND_EXCEPTION,
    name: '#GP of an IRET that ended blocking by NMI',
    values: {
      ...pin('NMI exiting', 'Virtual NMIs'),
      'Exception bitmap': 1 << 13,
      'Guest interruptibility state': BLOCKED_BY_NMI,
    },
    exits: '48 cf',
    interruption: inject(3, 13, ERROR_CODE | NMI_UNBLOCKING),
    errorCode: 0,
  },
  {
    reason: NMI_AND_EXCEPTION,
    name: '#GP of an IRET that does not, as NMIs exit and there are no virtual ones',
    values: { ...pin('NMI exiting'), 'Exception bitmap': 1 << 13, 'Guest interruptibility state': BLOCKED_BY_NMI },
    exits: '48 cf',
    interruption: inject(3, 13, ERROR_CODE),
    errorCode: 0,
  },
  {
    reason: NMI_AND_EXCEPTION,
    name: 'an NMI',
    values: pin('NMI exiting'),
    exits: (m) => m.vmx.onNmiPending(),
    interruption: inject(2, 2),
  },
  {
    reason: NMI_AND_EXCEPTION,
    name: 'INT3',
    values: { 'Exception bitmap': 8 },
    exits: 'cc',
    interruption: inject(6, 3),
  },
  {
    reason: NMI_AND_EXCEPTION,
    name: 'INT1',
    values: { 'Exception bitmap': 2 },
    exits: 'f1',
    interruption: inject(5, 1),
  },
  {
    reason: NMI_AND_EXCEPTION,
    name: '#UD',
    values: { 'Exception bitmap': 64 },
    exits: '0f 0b',
    interruption: inject(3, 6),
  },
];

/** Events whose delivery ends in an EPT violation, as the IDT is not mapped. */
const vectoring: ExitCase[] = (
  [
    ['an external interrupt', inject(0, 0x20), { 'Guest RFLAGS': 0x202 }],
    ['an NMI', inject(2, 2), {}],
    ['#UD', inject(3, 6), {}],
    ['#GP', inject(3, 13, ERROR_CODE), { 'VM-entry exception error code': 0x18 }],
    ['INT 80H', inject(4, 0x80), { 'VM-entry instruction length': 2 }],
    ['INT1', inject(5, 1), { 'VM-entry instruction length': 1 }],
    ['INT3', inject(6, 3), { 'VM-entry instruction length': 1 }],
  ] as const
).map(([name, vectoring, values]) => ({
  reason: 'EPT violation',
  name: `while ${name} is delivered`,
  values: { ...values, [INJECT]: vectoring },
  atEntry: true,
  prepare: (m) => m.u64(m.eptEntry(IDT), 0n),
  exits: atEntry,
  qualification: 0x781,
  vectoring,
}));

const events: ExitCase[] = [
  {
    reason: 'External interrupt',
    name: 'acknowledged, with its vector',
    values: {
      ...pin('External-interrupt exiting'),
      'Primary VM-exit controls': controls('exit', 'Host address-space size', 'Acknowledge interrupt on exit'),
    },
    exits: (m) => m.vmx.onExternalInterruptPending(() => 0x31),
    interruption: inject(0, 0x31),
  },
  {
    reason: 'External interrupt',
    name: 'not acknowledged',
    values: pin('External-interrupt exiting'),
    exits: (m) => m.vmx.onExternalInterruptPending(() => 0x31),
  },
  { reason: 'Triple fault', name: 'exits', values: { 'Guest IDTR limit': 0 }, exits: '0f 0b' },
  {
    reason: 'Interrupt window',
    name: 'exits',
    values: { ...primary('Interrupt-window exiting'), 'Guest RFLAGS': 0x202 },
    exits: (m) => m.vmx.interruptWindowExit(),
  },
  {
    reason: 'NMI window',
    name: 'exits',
    values: { ...pin('NMI exiting', 'Virtual NMIs'), ...primary('NMI-window exiting') },
    exits: (m) => m.vmx.exitBeforeNmis(),
  },
  {
    reason: 'Monitor trap flag',
    name: 'exits',
    values: { [INJECT]: inject(7, 0) },
    exits: (m) => m.vmx.monitorTrapExit(),
  },
  {
    reason: 'VMX-preemption timer expired',
    name: 'exits',
    values: pin('Activate VMX-preemption timer'),
    prepare: (m) => void (m.clock = 1000n),
    exits: (m) => m.vmx.exitByTimer(),
  },
];

const NT = 0x4002;
const TASK_GATE = 5;
const taskSwitches: ExitCase[] = (
  [
    ['CALL', '9a 00 00 00 00 38 00', 0],
    ['IRET', 'cf', 1],
    ['JMP', 'ea 00 00 00 00 38 00', 2],
    ['a task gate in the IDT', 'cd 30', 3],
  ] as const
).map(([name, exits, source]) => ({
  reason: 'Task switch',
  name,
  values: { ...flat32(), 'Guest RFLAGS': source === 1 ? NT : 2, 'Guest TR base': TSS + 0x200 },
  prepare: (m) => {
    m.u32(IDT + 0x30 * 8, sel.tss << 16);
    m.u32(IDT + 0x30 * 8 + 4, 0x8000 | (TASK_GATE << 8));
    m.u32(TSS + 0x200, sel.tss);
    // IRET returns to a busy task, the others go to an available one.
    m.u32(GDT + sel.tss + 4, source === 1 ? 0x8b00 : 0x8900);
  },
  exits,
  qualification: BigInt(sel.tss) | (BigInt(source) << 30n),
  // INT n is delivered through the gate.
  ...(source === 3 ? { vectoring: inject(4, 0x30) } : {}),
}));

const gprs = Array.from({ length: 16 }, (_, index) => index);
const hex = (...bytes: number[]): string => bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
/** MOV between a control or debug register and a general-purpose one. */
const movRegister = (opcode: number, register: number, gpr: number): string =>
  hex(0x40 | ((register >> 3) << 2) | (gpr >> 3), 0x0f, opcode, 0xc0 | ((register & 7) << 3) | (gpr & 7));

const CR = 'Control-register accesses';
const controlRegisters: ExitCase[] = [
  ...gprs.map(
    (gpr): ExitCase => ({
      reason: CR,
      name: `MOV to CR3 from register ${gpr}`,
      values: primary('CR3-load exiting'),
      exits: movRegister(0x22, 3, gpr),
      qualification: 3 | (gpr << 8),
    }),
  ),
  {
    reason: CR,
    name: 'MOV to CR0',
    values: { 'CR0 guest/host mask': 8, 'CR0 read shadow': 8 },
    inGuest: (m) => m.state.setGpr(RDX, 0x8000_0021n),
    exits: movRegister(0x22, 0, RDX),
    qualification: RDX << 8,
  },
  {
    reason: CR,
    name: 'MOV to CR4',
    values: { 'CR4 guest/host mask': 4, 'CR4 read shadow': 4 },
    inGuest: (m) => m.state.setGpr(RDX, 0x2020n),
    exits: movRegister(0x22, 4, RDX),
    qualification: 4 | (RDX << 8),
  },
  {
    reason: CR,
    name: 'MOV to CR8',
    values: primary('CR8-load exiting'),
    exits: movRegister(0x22, 8, 0),
    qualification: 8,
  },
  {
    reason: CR,
    name: 'MOV from CR3',
    values: primary('CR3-store exiting'),
    exits: movRegister(0x20, 3, RSI),
    qualification: 0x613,
  },
  {
    reason: CR,
    name: 'MOV from CR8',
    values: primary('CR8-store exiting'),
    exits: movRegister(0x20, 8, 0),
    qualification: 0x18,
  },
  {
    reason: CR,
    name: 'CLTS',
    values: { 'CR0 guest/host mask': 8, 'CR0 read shadow': 8 },
    exits: '0f 06',
    qualification: 0x20,
  },
  {
    reason: CR,
    name: 'LMSW of a register',
    values: { 'CR0 guest/host mask': 8 },
    inGuest: (m) => m.state.setGpr(RAX, 0xabc9n),
    exits: '0f 01 f0',
    qualification: 0xabc9_0030n,
  },
  {
    reason: CR,
    name: 'LMSW of memory',
    values: { 'CR0 guest/host mask': 8 },
    inGuest: (m) => {
      m.state.setGpr(RDI, BigInt(PAGE));
      m.u32(PAGE, 0x29);
    },
    exits: '0f 01 37',
    qualification: 0x29_0070,
    linear: PAGE,
  },
];

const debugRegisters: ExitCase[] = [
  ...[0, 1, 2, 3, 6, 7].map(
    (register): ExitCase => ({
      reason: 'MOV DR',
      name: `MOV to DR${register}`,
      values: primary('MOV-DR exiting'),
      exits: movRegister(0x23, register, RCX),
      qualification: register | (RCX << 8),
    }),
  ),
  ...gprs.map(
    (gpr): ExitCase => ({
      reason: 'MOV DR',
      name: `MOV from DR7 to register ${gpr}`,
      values: primary('MOV-DR exiting'),
      exits: movRegister(0x21, 7, gpr),
      qualification: 7 | 0x10 | (gpr << 8),
    }),
  ),
];

const io = (name: string, exits: string, qualification: number, more: Partial<ExitCase> = {}): ExitCase => ({
  reason: 'I/O instruction',
  name,
  values: primary('Unconditional I/O exiting'),
  inGuest: (m) => {
    m.state.setGpr(RDX, 0xf123n);
    m.state.setGpr(RDI, BigInt(PAGE));
    m.state.setGpr(RSI, BigInt(PAGE + 0x100));
    m.state.setGpr(RCX, 1n);
  },
  exits,
  qualification,
  ...more,
});
const ioInstructions: ExitCase[] = [
  io('IN AL, 60H', 'e4 60', 0x60_0048),
  io('IN AX, 60H', '66 e5 60', 0x60_0049),
  io('IN EAX, 60H', 'e5 60', 0x60_004b),
  io('OUT 60H, AL', 'e6 60', 0x60_0040),
  io('IN AL, DX', 'ec', 0xf123_0008),
  io('OUT DX, EAX', 'ef', 0xf123_0003),
  io('INSB', '6c', 0xf123_0018, { linear: PAGE }),
  io('REP INSD', 'f3 6d', 0xf123_003b, { linear: PAGE }),
  io('OUTSW', '66 6f', 0xf123_0011, { linear: PAGE + 0x100 }),
  io('REP OUTSB', 'f3 6e', 0xf123_0030, { linear: PAGE + 0x100 }),
];

const entryFailures: ExitCase[] = [
  ...(
    [
      ['guest-cr0-fixed', 0],
      ['guest-pdpte0-reserved', 2],
      ['guest-interruptibility-injected-nmi', 3],
      ['link-pointer-revision', 4],
    ] as const
  ).map(
    ([rule, qualification]): ExitCase => ({
      reason: 'VM-entry failure due to invalid guest state',
      name: rule,
      values: violations[rule]?.values ?? {},
      atEntry: true,
      exits: atEntry,
      qualification,
    }),
  ),
  ...[1, 2].map(
    (entry): ExitCase => ({
      reason: 'VM-entry failure due to MSR loading',
      name: `entry ${entry}`,
      values: { 'VM-entry MSR-load count': 2, 'VM-entry MSR-load address': MSR_AREA },
      prepare: (m) => {
        // IA32_SYSENTER_CS may be loaded, IA32_FS_BASE not.
        for (const index of [1, 2]) m.u32(MSR_AREA + (index - 1) * 16, index === entry ? 0xc000_0100 : 0x174);
      },
      atEntry: true,
      exits: atEntry,
      qualification: entry,
    }),
  ),
];

const VIRTUAL_APIC: Values = { ...primary('Use TPR shadow'), 'Virtual-APIC address': VAPIC };
const apicAccesses: Values = { ...secondary('Virtualize APIC accesses'), 'APIC-access address': APIC };
const wrmsr = (msr: number, value: number) => (m: VmxMachine) => {
  m.state.setGpr(RCX, BigInt(msr));
  m.state.setGpr(RAX, BigInt(value));
  m.state.setGpr(RDX, 0n);
  m.step('0f 30');
  m.vmx.apicExit();
};
const MSR_BITMAPS: Values = { 'Address of MSR bitmaps': MSR_AREA };
const x2apic: Values = {
  ...MSR_BITMAPS,
  ...primary('Use TPR shadow', 'Use MSR bitmaps'),
  ...pin('External-interrupt exiting'),
  ...secondary('Virtualize x2APIC mode', 'Virtual-interrupt delivery'),
  'Virtual-APIC address': VAPIC,
};
const behindApic = (m: VmxMachine): void => m.u64(PAGE_TABLES + 0x2000 + 8, BigInt(APIC) | 7n);
const apic: ExitCase[] = [
  {
    reason: 'TPR below threshold',
    name: 'exits',
    values: { ...VIRTUAL_APIC, ...apicAccesses, 'TPR threshold': 4 },
    exits: (m) => m.vmx.apicExit(),
  },
  ...(
    [
      ['read', (m) => m.mmu.readU32(APIC + 0x30), 0x30],
      ['write', (m) => m.mmu.writeU32(APIC + 0xb0, 0), 0x10b0],
      ['fetch', (m) => m.mmu.translateFetch(APIC + 0x10), 0x2010],
    ] as const satisfies readonly (readonly [string, (m: VmxMachine) => unknown, number])[]
  ).map(
    ([name, access, qualification]): ExitCase => ({
      reason: 'APIC access',
      name,
      values: apicAccesses,
      exits: (m) => attempt(m, () => access(m)),
      qualification,
    }),
  ),
  {
    reason: 'APIC access',
    name: 'while an event is delivered',
    values: { ...apicAccesses, 'Guest RSP': APIC + 0x800 },
    prepare: (m) => m.gate(6, sel.code64, 0x6800),
    exits: '0f 0b',
    qualification: 0x37f8,
    vectoring: inject(3, 6),
  },
  {
    reason: 'APIC access',
    name: 'MONITOR',
    values: apicAccesses,
    inGuest: (m) => {
      m.state.setGpr(RAX, BigInt(APIC + 0x40));
      m.state.setGpr(RCX, 0n);
    },
    exits: '0f 01 c8',
    qualification: 0x4040,
  },
  {
    reason: 'APIC access',
    name: 'a page walk while an event is delivered',
    values: { ...apicAccesses, 'Guest RSP': ELSEWHERE + 0x800 },
    prepare: (m) => m.gate(6, sel.code64, 0x6800),
    inGuest: behindApic,
    exits: '0f 0b',
    qualification: 0xa000,
    vectoring: inject(3, 6),
  },
  {
    reason: 'APIC access',
    name: 'a page walk',
    values: apicAccesses,
    inGuest: behindApic,
    exits: translate(ELSEWHERE, Access.Read),
    qualification: 0xf000,
  },
  {
    reason: 'Virtualized EOI',
    name: 'of the vector in service',
    values: { ...x2apic, 'Guest interrupt status': 0x6100, 'EOI-exit bitmap 1': 1n << 33n },
    exits: wrmsr(0x80b, 0),
    qualification: 0x61,
  },
  {
    reason: 'APIC write',
    name: 'a self-IPI with a vector below 16',
    values: x2apic,
    exits: wrmsr(0x83f, 5),
    qualification: 0x3f0,
  },
];

const MODE_BASED = 'Mode-based execute control for EPT';
/** An access to a page with rights in its EPT entry, and flags in its guest page-table entry. */
const violation = (
  name: string,
  access: Access,
  rights: number,
  flags: bigint,
  qualification: number,
  values: Values = {},
): ExitCase => ({
  reason: 'EPT violation',
  name,
  values,
  prepare: (m) => {
    for (const at of [EPT, EPT + 0x1000, EPT + 0x2000]) m.u64(at, m.physical.readU64(at) | 0x400n);
    m.u64(m.eptEntry(PAGE), rights === 0 ? 0n : BigInt(PAGE | 0x30 | rights));
    m.u64(PAGE_TABLES + 0x2000 + 8, BigInt(TABLE) | 7n);
    m.u64(TABLE, BigInt(PAGE) | flags);
  },
  exits: translate(ELSEWHERE + 0x10, access),
  qualification,
  linear: ELSEWHERE + 0x10,
  physical: PAGE + 0x10,
});
const USER_PAGE = 7n;
const NX = 1n << 63n;
const NXE: Values = {
  'VM-entry controls': controls('entry', 'IA-32e mode guest', 'Load IA32_EFER'),
  'Guest IA32_EFER': 0xd00,
};
const violations48: ExitCase[] = [
  violation('a read of nothing', Access.Read, 0, USER_PAGE, 0x781),
  violation('a write of what can be read', Access.Write, 1, USER_PAGE, 0x78a),
  violation('a write of what can be read and executed', Access.Write, 5, USER_PAGE, 0x7aa),
  violation('a fetch of what can be read and written', Access.Execute, 3, USER_PAGE, 0x79c),
  violation('a read of what can be executed', Access.Read, 4, USER_PAGE, 0x7a1),
  violation('a supervisor page', Access.Read, 0, 3n, 0x581),
  violation('a read-only page', Access.Read, 0, 5n, 0x381),
  violation('a page without execution', Access.Read, 0, USER_PAGE | NX, 0xf81, NXE),
  violation('a write of what user mode can execute', Access.Write, 0x401, USER_PAGE, 0x7ca, secondary(MODE_BASED)),
  {
    reason: 'EPT violation',
    name: 'in a page walk',
    prepare: (m) => {
      m.u64(PAGE_TABLES + 0x2000 + 8, BigInt(TABLE) | 7n);
      m.u64(m.eptEntry(TABLE), 0n);
    },
    exits: translate(ELSEWHERE, Access.Write),
    qualification: 0x81,
    linear: ELSEWHERE,
    physical: TABLE,
  },
  {
    reason: 'EPT violation',
    name: 'of an entry that MOV to CR3 loads, for no linear address',
    values: { ...flat32(), 'Guest CR0': 0x8000_0021, 'Guest CR4': 0x2020, 'Guest CR3': PAGE_TABLES },
    prepare: (m) => m.u64(m.eptEntry(PAGE), 0n),
    inGuest: (m) => m.state.setGpr(RAX, BigInt(PAGE)),
    exits: '0f 22 d8',
    qualification: 1,
    physical: PAGE,
  },
  {
    reason: 'EPT violation',
    name: 'by an IRET that ended blocking by NMI',
    values: { 'Guest interruptibility state': BLOCKED_BY_NMI },
    prepare: (m) => m.u64(m.eptEntry(STACK), 0n),
    exits: '48 cf',
    qualification: 0x1781,
    linear: STACK,
    physical: STACK,
  },
];

const SUB_PAGE_TABLE = 0x5_3000;
const subPages: Values = {
  ...secondary('Sub-page write permissions for EPT'),
  'Sub-page-permission-table pointer': SUB_PAGE_TABLE,
};
const SUB_PAGES = 1n << 61n;
/** IRETQ to segments whose descriptors are not accessed yet, so that they are written. */
const iretWrites = (m: VmxMachine): void => {
  const frame = [GUEST_RIP, sel.code64, 2, STACK, sel.data];
  frame.forEach((value, index) => {
    m.u64(STACK + index * 8, BigInt(value));
  });
};
const ept: ExitCase[] = [
  {
    reason: 'EPT misconfiguration',
    name: 'a page that can be written, but not read',
    prepare: (m) => m.u64(m.eptEntry(PAGE), BigInt(PAGE) | 0x32n),
    exits: translate(PAGE, Access.Write),
    physical: PAGE,
  },
  ...[0, BLOCKED_BY_NMI].map(
    (blocking): ExitCase => ({
      reason: 'Page-modification log full',
      name: blocking ? 'by an IRET that ended blocking by NMI' : 'by a page walk',
      values: {
        ...secondary('Enable PML'),
        'EPT pointer': EPT | 0x5e,
        'PML address': 0x5_2000,
        'PML index': 0xffff,
        'Guest interruptibility state': blocking,
      },
      exits: '48 cf',
      qualification: blocking ? NMI_UNBLOCKING : 0,
    }),
  ),
  ...(
    [
      ['a miss', 0n, 0x800],
      ['a misconfiguration', 3n, 0],
    ] as const
  ).map(
    ([name, entry, qualification]): ExitCase => ({
      reason: 'SPP-related event',
      name,
      values: subPages,
      prepare: (m) => {
        m.u64(SUB_PAGE_TABLE, entry);
        m.u64(m.eptEntry(PAGE), BigInt(PAGE) | 0x31n | SUB_PAGES);
      },
      exits: translate(PAGE, Access.Write),
      qualification,
      linear: PAGE,
      physical: PAGE,
    }),
  ),
  {
    reason: 'SPP-related event',
    name: 'by an IRET that ended blocking by NMI',
    values: { ...subPages, 'Guest interruptibility state': BLOCKED_BY_NMI },
    prepare: (m) => m.u64(m.eptEntry(GDT), BigInt(GDT) | 0x35n | SUB_PAGES),
    inGuest: iretWrites,
    exits: '48 cf',
    qualification: 0x1800,
    linear: GDT + sel.data + 5,
    physical: GDT + sel.data + 5,
  },
];

const instructions: ExitCase[] = [
  always('CPUID', insn.cpuid),
  always('HLT', insn.hlt),
  always('INVD', '0f 08'),
  {
    reason: 'INVLPG',
    name: 'its address',
    values: primary('INVLPG exiting'),
    inGuest: (m) => m.state.setGpr(RDI, -0x8000n),
    exits: '0f 01 3f',
    qualification: 0xffff_ffff_ffff_8000n,
  },
  always('RDPMC', '0f 33', primary('RDPMC exiting')),
  always('RDTSC', '0f 31', primary('RDTSC exiting')),
  always('RDTSCP', '0f 01 f9', { ...primary('RDTSC exiting'), ...secondary('Enable RDTSCP') }),
  always('VMCALL', insn.vmcall),
  always('VMLAUNCH', insn.vmlaunch),
  always('VMRESUME', insn.vmresume),
  always('VMXOFF', insn.vmxoff),
  always('RDMSR', '0f 32'),
  always('WRMSR', '0f 30'),
  ...[0, 1].map(
    (armed): ExitCase => ({
      reason: 'MWAIT',
      name: armed ? 'after MONITOR' : 'without MONITOR',
      values: primary('MWAIT exiting'),
      inGuest: (m) => {
        m.state.setGpr(RAX, BigInt(PAGE));
        m.state.setGpr(RCX, 0n);
        if (armed) m.step('0f 01 c8');
      },
      exits: '0f 01 c9',
      qualification: armed,
    }),
  ),
  always('MONITOR', '0f 01 c8', primary('MONITOR exiting')),
  always('PAUSE', 'f3 90', primary('PAUSE exiting')),
  always('WBINVD or WBNOINVD', '0f 09', secondary('WBINVD exiting')),
  { reason: 'XSETBV', name: 'exits', inGuest: (m) => void (m.state.cr4 |= 1 << 18), exits: '0f 01 d1' },
  {
    reason: 'VMFUNC',
    name: 'of a function that is not enabled',
    values: secondary('Enable VM functions'),
    exits: insn.vmfunc,
  },
];

export const exitCases: readonly ExitCase[] = [
  ...exceptions,
  ...vectoring,
  ...events,
  ...taskSwitches,
  ...controlRegisters,
  ...debugRegisters,
  ...ioInstructions,
  ...entryFailures,
  ...apic,
  ...violations48,
  ...ept,
  ...instructions,
];

/** Exits that take a whole machine to bring about: tests of other files. */
export const casesElsewhere = [
  { reason: 'INIT signal', file: 'priorities.test.ts', title: 'before the trap of TF' },
  {
    reason: 'Start-up IPI (SIPI)',
    file: 'priorities.test.ts',
    title: 'a start-up IPI exits with its vector, and the state saved',
  },
] as const satisfies readonly { reason: ExitReasonName; file: string; title: string }[];
