/**
 * A hypervisor that runs on the bare machine: it sets up VMX with a guest in its own address space and enters it. Every exit
 * is logged; what the handler does about it is up to the test, and without anything it ends the run.
 */
import { EXIT } from '../../engine/vmx/controls.ts';
import { fieldByName } from '../../engine/vmx/vmcs.ts';
import { startTimer, TIMER_INTERRUPTS } from '../support/interrupt-controller.ts';
import { interruptTable } from '../support/interrupt-table.ts';
import { type GuestOptions, type GuestRun, guestFromSource } from '../vmm/run-guest.ts';

/** Where exits are logged; R15 is the next place. */
export const LOG = 0x20_0000;
const LOG_ENTRY_BYTES = 32;
/** Added to logged RIPs, so that none is 0. */
const RIP_BIAS = 0x1000_0000;
const [RSP0, TSS, VMXON_REGION, VMCS] = [0x9_0000, 0x21_0000, 0x22_0000, 0x23_0000];
/** Root of page tables for EPT that map the first GBytes one to one, if the guest uses them. */
export const EPT_ROOT = 0x24_0000;
/** Where the host's and the guest's handler of the timer's interrupt counts. */
const TICKS = 0x20_f000;

export interface BareHypervisor {
  /** Controls that are 1, besides those that have to be. */
  readonly pin?: number;
  readonly primary?: number;
  readonly secondary?: number;
  readonly exit?: number;
  readonly entry?: number;
  /** Fields with another value than usual; a value is a number or assembly. */
  readonly fields?: Readonly<Record<string, string | number>>;
  /** Code that runs before the first VM entry. */
  readonly setUp?: string;
  /** Vectors besides 20H whose gates lead to the label `handler`; the others have none. */
  readonly vectors?: readonly number[];
  /** By exit reason, code after which the guest is resumed. RBX holds the reason. */
  readonly handlers?: Readonly<Record<number, string>>;
  /** Guest code; what follows it is VMCALL. */
  readonly guest: string;
  readonly data?: string;
}

/** An exit as the hypervisor logged it. */
export interface LoggedExit {
  readonly reason: number;
  readonly interruption: number;
  readonly qualification: bigint;
  /** The guest's RIP, from the label `guest`. */
  readonly rip: number;
  readonly activity: number;
}

export const encoding = (name: string): number => {
  const field = fieldByName(name);
  if (!field) throw new Error(`no field ${name}`);
  return field.encoding;
};
/** Assembly that writes a field; clobbers RAX and RCX. */
export const write = (field: string, value: string | number): string =>
  `mov rcx, ${value}\n mov eax, ${encoding(field)}\n vmwrite rax, rcx\n`;
export const writeAll = (fields: Readonly<Record<string, string | number>>): string =>
  Object.entries(fields)
    .map(([name, value]) => write(name, value))
    .join('');

const segment = (name: string, selector: number, rights: number, base: number, limit: number): string =>
  writeAll({
    [`Guest ${name} selector`]: selector,
    [`Guest ${name} access rights`]: rights,
    [`Guest ${name} base`]: base,
    [`Guest ${name} limit`]: limit,
  });

/** Reserved bits that must be 1: the TRUE capability MSRs' low halves. */
const controls = (field: string, msr: number, wanted: number): string => `
  mov ecx, ${msr}
  rdmsr
  or eax, ${wanted >>> 0}
  mov ecx, eax
  mov eax, ${encoding(field)}
  vmwrite rax, rcx
`;

/** Assembly that adds a number to a field. */
export const addTo = (field: string, value: string | number): string =>
  `mov eax, ${encoding(field)}\n vmread rcx, rax\n add rcx, ${value}\n vmwrite rax, rcx\n`;
/** Assembly that skips the instruction that exited. */
export const SKIP = `mov eax, ${encoding('VM-exit instruction length')}\n vmread rdx, rax\n ${addTo('Guest RIP', 'rdx')}`;

const logged = ['VM-exit interruption information', 'Exit qualification', 'Guest RIP', 'Guest activity state'];
const log = logged
  .map((field, index) => {
    const relative = field === 'Guest RIP' ? `sub rcx, guest - ${RIP_BIAS}\n` : '';
    return `mov eax, ${encoding(field)}\n vmread rcx, rax\n ${relative} mov [r15 + ${4 + index * 4}], ecx\n`;
  })
  .join('');

/** Its source. */
export const source = (program: BareHypervisor): string => {
  const {
    pin = 0,
    primary = 0,
    secondary,
    exit = 0,
    entry = 0,
    fields = {},
    setUp = '',
    handlers = {},
    vectors = [],
  } = program;
  const reasons = Object.keys(handlers);
  return `
bits 64
org 0x100000
${TIMER_INTERRUPTS}
  lidt [idtr]
  lgdt [gdtr]
  mov ax, 0x18
  ltr ax
  mov ecx, 0x3a
  mov eax, 5
  xor edx, edx
  wrmsr
  mov rax, cr0
  or al, 0x20
  mov cr0, rax
  mov rax, cr4
  or rax, 0x2000
  mov cr4, rax
  mov ecx, 0x480
  rdmsr
  mov [${VMXON_REGION}], eax
  mov [${VMCS}], eax
  vmxon [pointers]
  vmclear [pointers + 8]
  vmptrld [pointers + 8]
  ${controls('Pin-based VM-execution controls', 0x48d, pin)}
  ${controls('Primary processor-based VM-execution controls', 0x48e, primary | (secondary === undefined ? 0 : 1 << 31))}
  ${secondary === undefined ? '' : write('Secondary processor-based VM-execution controls', secondary)}
  ${controls('Primary VM-exit controls', 0x48f, EXIT['Host address-space size'] | exit)}
  ${controls('VM-entry controls', 0x490, 0x200 | entry)}
  ${writeAll({ 'VMCS link pointer': '-1', 'Exception bitmap': 0, 'CR3-target count': 0 })}
  mov rbx, cr0
  mov rsi, cr3
  mov rdi, cr4
  ${writeAll({
    'Host CR0': 'rbx',
    'Host CR3': 'rsi',
    'Host CR4': 'rdi',
    'Guest CR0': 'rbx',
    'Guest CR3': 'rsi',
    'Guest CR4': 'rdi',
    'Host CS selector': 8,
    'Host SS selector': 16,
    'Host DS selector': 16,
    'Host ES selector': 16,
    'Host TR selector': 24,
    'Host TR base': TSS,
    'Host GDTR base': 'gdt',
    'Host IDTR base': 'idt',
    'Host RSP': RSP0,
    'Host RIP': 'vm_exit',
    'Guest RIP': 'guest',
    'Guest RSP': RSP0 - 0x1000,
    'Guest RFLAGS': 2,
    'Guest DR7': 0x400,
    'Guest GDTR base': 'gdt',
    'Guest GDTR limit': 39,
    'Guest IDTR base': 'idt',
    'Guest IDTR limit': 0x21 * 16 - 1,
  })}
  ${segment('CS', 8, 0xa09b, 0, 0xffff_ffff)}
  ${['SS', 'DS', 'ES'].map((name) => segment(name, 16, 0xc093, 0, 0xffff_ffff)).join('')}
  ${['FS', 'GS', 'LDTR'].map((name) => segment(name, 0, 0x1_0000, 0, 0)).join('')}
  ${segment('TR', 24, 0x8b, TSS, 0x67)}
  mov qword [${EPT_ROOT}], ${EPT_ROOT + 0x1007}
  mov qword [${EPT_ROOT + 0x1000}], 0xb7
  mov dword [${EPT_ROOT + 0x1008}], 0x400000b7
  mov r15, ${LOG}
  ${writeAll(fields)}
  ${setUp}
  vmlaunch
  mov al, 99                    ; VMfail
  out 0xf4, al
vm_exit:
  push rax
  push rcx
  push rdx
  push rbx
  mov eax, ${encoding('Exit reason')}
  vmread rbx, rax
  mov [r15], ebx
  ${log}
  add r15, ${LOG_ENTRY_BYTES}
  ${reasons.map((reason) => `cmp ebx, ${reason}\n je on_${reason}`).join('\n')}
  mov al, bl
  out 0xf4, al
  ${reasons.map((reason) => `on_${reason}:\n ${handlers[Number(reason)]}\n jmp resume`).join('\n')}
resume:
  pop rbx
  pop rdx
  pop rcx
  pop rax
  vmresume
  mov al, 99
  out 0xf4, al
handler:
  inc byte [${TICKS}]
  iretq
start_timer:                    ; 8254 counter 0, mode 0: once, after some 40 microseconds
${startTimer('once', 50)}
  ret
guest:
  ${program.guest}
guest_end:
  vmcall
align 8
pointers: dq ${VMXON_REGION}, ${VMCS}
gdt: dq 0, 0x00af9b000000ffff, 0x00cf93000000ffff
  dw 0x67, ${TSS & 0xffff}
  db ${TSS >> 16}, 0x89, 0, 0
  dq 0
gdtr: dw 39
  dq gdt
${interruptTable(Object.fromEntries([...vectors, 0x20].map((vector) => [vector, 'handler'])))}
${program.data ?? ''}
`;
};

export interface HypervisorRun extends GuestRun {
  /** The exits so far. */
  exits(): LoggedExit[];
  /** Interrupts of the timer that were taken through the IDT. */
  ticks(): number;
}

export async function bareHypervisor(program: BareHypervisor, options: GuestOptions = {}): Promise<HypervisorRun> {
  const run = await guestFromSource(source(program), { virtualization: 'none', ...options });
  const { physical } = run.machine.host;
  return { ...run, exits: () => loggedExits(physical.bytes), ticks: () => physical.readU8(TICKS) };
}

function loggedExits(ram: Uint8Array): LoggedExit[] {
  const view = new DataView(ram.buffer, ram.byteOffset + LOG);
  const exits: LoggedExit[] = [];
  for (let at = 0; view.getUint32(at + 12, true) !== 0; at += LOG_ENTRY_BYTES) {
    const [reason, interruption, qualification, rip, activity] = [0, 4, 8, 12, 16].map((field) =>
      view.getUint32(at + field, true),
    ) as [number, number, number, number, number];
    exits.push({ reason, interruption, qualification: BigInt(qualification), rip: rip - RIP_BIAS, activity });
  }
  return exits;
}

/** Runs the hypervisor to its end, an exit that nothing handles, in slices of so many instructions. */
export async function exitsOf(program: BareHypervisor, slice = 1_000_000): Promise<LoggedExit[]> {
  const run = await bareHypervisor(program);
  let stop = run.machine.run({ instructions: slice });
  for (let turn = 0; stop.kind === 'limit' && turn < 100_000; turn++) stop = run.machine.run({ instructions: slice });
  if (stop.kind !== 'exited' || stop.code === 99) throw new Error(`the hypervisor ended with ${JSON.stringify(stop)}`);
  return run.exits();
}
