/**
 * Interrupts of a machine whose program is a hypervisor of its own: with EPT and VPIDs off, the guest in the hypervisor's
 * own address space. The handler logs exit reason and interruption information of every exit.
 */
import { expect, test } from 'vitest';
import { EXIT, PIN, PRIMARY } from '../../engine/vmx/controls.ts';
import { fieldByName } from '../../engine/vmx/vmcs.ts';
import { guestFromSource, runToEnd } from './run-guest.ts';

const LOG = 0x20_0000;
const [RSP0, TSS, VMXON_REGION, VMCS] = [0x9_0000, 0x21_0000, 0x22_0000, 0x23_0000];
/** Where the guest's own interrupt handler counts. */
const TICKS = 0x20_1000;

interface Controls {
  readonly pin?: number;
  readonly primary?: number;
  readonly exit?: number;
  /** Guest code; it ends with VMCALL. */
  readonly guest: string;
}

const encoding = (name: string): number => {
  const field = fieldByName(name);
  if (!field) throw new Error(`no field ${name}`);
  return field.encoding;
};
const write = (field: string, value: string | number): string =>
  `mov rcx, ${value}\n mov eax, ${encoding(field)}\n vmwrite rax, rcx\n`;
const writeAll = (fields: Readonly<Record<string, string | number>>): string =>
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

const source = ({ pin = 0, primary = 0, exit = 0, guest }: Controls): string => `
bits 64
org 0x100000
  mov al, 0x11                  ; 8259: vectors from 20h, IRQ 0 only
  out 0x20, al
  mov al, 0x20
  out 0x21, al
  mov al, 4
  out 0x21, al
  mov al, 1
  out 0x21, al
  mov al, 0xfe
  out 0x21, al
  mov rdi, idt + 0x20 * 16
  mov rax, handler
  mov [rdi], ax
  mov word [rdi + 2], 8
  mov word [rdi + 4], 0x8e00
  shr rax, 16
  mov [rdi + 6], ax
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
  ${controls('Primary processor-based VM-execution controls', 0x48e, primary)}
  ${controls('Primary VM-exit controls', 0x48f, EXIT['Host address-space size'] | exit)}
  ${controls('VM-entry controls', 0x490, 0x200)}
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
  mov r15, ${LOG}
  vmlaunch
  mov al, 99                    ; VMfail
  out 0xf4, al
vm_exit:
  mov eax, ${encoding('Exit reason')}
  vmread rbx, rax
  mov [r15], ebx
  mov eax, ${encoding('VM-exit interruption information')}
  vmread rcx, rax
  mov [r15 + 4], ecx
  add r15, 8
  cmp ebx, 1
  je .interrupt
  cmp ebx, 7
  je .window
  mov al, bl
  out 0xf4, al
.interrupt:
  mov al, 0x20
  out 0x20, al
  ${writeAll({ 'Guest RIP': 'guest_end', 'Guest activity state': 0 })}
  vmresume
.window:
  mov eax, ${encoding('Primary processor-based VM-execution controls')}
  vmread rcx, rax
  and ecx, ~4
  vmwrite rax, rcx
  vmresume
handler:
  inc byte [${TICKS}]
  iretq
start_timer:                    ; 8254 counter 0, mode 0: once, after some 40 microseconds
  mov al, 0x30
  out 0x43, al
  mov al, 50
  out 0x40, al
  mov al, 0
  out 0x40, al
  ret
guest:
  ${guest}
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
idtr: dw 0x21 * 16 - 1
  dq idt
align 16
idt: times 0x21 * 2 dq 0
`;

async function exitsOf(program: Controls): Promise<{ log: number[][]; ticks: number }> {
  const run = await guestFromSource(source(program), { virtualization: 'none' });
  const stop = runToEnd(run);
  expect(stop).toMatchObject({ kind: 'exited', code: 18 });
  const bytes = run.machine.host.physical.peek(LOG, 64) ?? new Uint8Array(64);
  const words = new Uint32Array(bytes.slice().buffer);
  const log: number[][] = [];
  for (let at = 0; (words[at] as number) !== 0; at += 2) log.push([words[at] as number, words[at + 1] as number]);
  return { log, ticks: run.machine.host.physical.readU8(TICKS) };
}

const VALID = 0x8000_0000;
const VMCALL = [18, 0];

test('an interrupt exits although RFLAGS.IF is 0, with its vector if the exit acknowledges it', async () => {
  const pin = PIN['External-interrupt exiting'];
  const guest = 'call start_timer\n jmp $';
  expect(await exitsOf({ pin, exit: EXIT['Acknowledge interrupt on exit'], guest })).toEqual({
    log: [[1, VALID + 0x20], VMCALL],
    ticks: 0,
  });
});

test('an interrupt wakes a guest that halts without an exit of its own', async () => {
  const pin = PIN['External-interrupt exiting'];
  const guest = 'call start_timer\n hlt\n jmp $';
  expect(await exitsOf({ pin, exit: EXIT['Acknowledge interrupt on exit'], guest })).toEqual({
    log: [[1, VALID + 0x20], VMCALL],
    ticks: 0,
  });
});

test('without the control the guest gets the interrupt through its IDT', async () => {
  expect(await exitsOf({ guest: 'call start_timer\n sti\n hlt\n cli' })).toEqual({ log: [VMCALL], ticks: 1 });
});

test('the interrupt window opens one instruction after STI', async () => {
  const primary = PRIMARY['Interrupt-window exiting'];
  expect(await exitsOf({ primary, guest: 'cli\n nop\n sti\n nop\n cli' })).toEqual({ log: [[7, 0], VMCALL], ticks: 0 });
});

test('the interrupt window opens at once after POPF', async () => {
  const primary = PRIMARY['Interrupt-window exiting'];
  expect(await exitsOf({ primary, guest: 'push 0x202\n popfq\n cli' })).toEqual({ log: [[7, 0], VMCALL], ticks: 0 });
});
