import { describe, expect, it } from 'vitest';
import { bootSource, type SourceGuest } from '../support/source-guests.ts';

const LIMIT = 1_000_000;
const ENTRY = 'org 8000h \n';

/** Runs 64-bit code to its `hlt`; RBX is the base of the local APIC. */
function run64(code: string): SourceGuest {
  const guest = bootSource(`${ENTRY} bits 64 \n mov ebx, 0FEE00000h \n ${code} \n hlt`, { mode: 'long' });
  expect(guest.machine.run({ instructions: LIMIT })).toMatchObject({ kind: 'halted' });
  return guest;
}
const registers = ({ machine }: SourceGuest, ...names: string[]) =>
  names.map((name) => machine.vcpus[0]?.readRegister(name));

const SET_APIC_BASE = 'mov ecx, 1Bh \n xor edx, edx \n wrmsr \n';

describe('the local APIC at IA32_APIC_BASE', () => {
  it('is enabled, that of the bootstrap processor, in virtual wire mode', () => {
    const guest = run64(
      'mov ecx, 1Bh \n rdmsr \n mov esi, [rbx + 0F0h] \n mov edi, [rbx + 350h] \n mov ebp, [rbx + 360h]',
    );
    expect(registers(guest, 'eax', 'edx', 'esi', 'edi', 'ebp')).toEqual([0xfee0_0900n, 0n, 0x1ffn, 0x700n, 0x400n]);
  });

  it('moves with it', () => {
    const guest = run64(
      `mov eax, 0FD000900h \n ${SET_APIC_BASE} mov edi, 0FD000030h \n mov esi, [rdi] \n mov edi, [rbx + 30h]`,
    );
    expect(registers(guest, 'esi', 'edi')).toEqual([0x0005_0015n, 0xffff_ffffn]);
  });

  it('is gone, from CPUID too, while bit 11 is 0', () => {
    const cpuid = (into: string) => `mov eax, 1 \n cpuid \n mov ${into}, edx \n mov ebx, 0FEE00000h \n`;
    const base = (low: string) => `mov eax, ${low} \n ${SET_APIC_BASE}`;
    const guest = run64(
      `${cpuid('r8d')} ${base('0FEE00100h')} ${cpuid('r9d')} mov esi, [rbx + 30h] \n ${base('0FEE00900h')} ${cpuid('r10d')}`,
    );
    const announced = registers(guest, 'r8', 'r9', 'r10').map((edx = 0n) => (edx >> 9n) & 1n);
    expect([...announced, ...registers(guest, 'esi')]).toEqual([1n, 0n, 1n, 0xffff_ffffn]);
  });

  it('has no x2APIC mode: its bit is reserved', () => {
    const guest = bootSource(`${ENTRY} bits 64 \n mov eax, 0FEE00D00h \n ${SET_APIC_BASE}`, { mode: 'long' });
    guest.machine.setFilter('exception', true);
    const stop = guest.machine.run({ instructions: LIMIT });
    expect(stop).toMatchObject({ kind: 'event', event: { values: { vector: 13n } } });
  });

  it.each([
    ['over RAM', `mov eax, 00100900h \n ${SET_APIC_BASE}`, /over RAM/],
    ['SMI', 'mov ebx, 0FEE00300h \n mov dword [rbx], 4200h', /SMI/],
  ])('stops visibly at what is not implemented: %s', (_name, code, what) => {
    const guest = bootSource(`${ENTRY} bits 64 \n ${code} \n hlt`, { mode: 'long' });
    const stop = guest.machine.run({ instructions: LIMIT });
    expect(stop).toMatchObject({ kind: 'unimplemented', what: expect.stringMatching(what) });
  });

  it('shares its task priority with CR8', () => {
    const guest = run64(
      'mov dword [rbx + 80h], 57h \n mov rsi, cr8 \n mov eax, 9 \n mov cr8, rax \n mov edi, [rbx + 80h]',
    );
    expect(registers(guest, 'rsi', 'edi')).toEqual([5n, 0x90n]);
    expect(guest.machine.vcpus[0]?.writeRegister('cr8', 3n)).toBe(undefined);
    expect(guest.machine.platform.apics?.of(0).peek(0x80, 4)).toBe(0x30);
  });

  it('counts in virtual time: one at the 25 MHz crystal is 40 instructions', () => {
    const guest = run64(
      `mov dword [rbx + 3E0h], 0Bh \n mov dword [rbx + 380h], 1000 \n mov ecx, 2000
.wait:  dec ecx \n jnz .wait \n mov esi, [rbx + 390h]`,
    );
    // 1000 - floor((1 + 2 * 2000 + 1) / 40)
    expect(registers(guest, 'esi')).toEqual([900n]);
  });

  it('looks the same to a debugger, and a look changes nothing', () => {
    const { machine } = run64('mov dword [rbx + 0F0h], 1E0h');
    const before = machine.stateHash();
    machine.vcpus[0]?.peek('linear', 0xfee0_0000n, 4096);
    expect(machine.platform.apics?.of(0).describe().registers.length).toBeGreaterThan(15);
    expect(machine.stateHash()).toBe(before);
  });
});

/** Real-address mode: the timer of the PC interrupts through vector 8; DX counts. `setUp` runs before. */
const TICKING = (setUp: string) => `
        org     8000h
        bits    16
        xor     ax, ax
        mov     ds, ax
        mov     word [20h], on_tick
        mov     [22h], ax
        ${setUp}
        mov     al, 11h
        out     20h, al
        mov     al, 8
        out     21h, al
        mov     al, 4
        out     21h, al
        mov     al, 1
        out     21h, al
        mov     al, 0FEh                ; all but IRQ 0 masked
        out     21h, al
        mov     al, 34h                 ; counter 0, mode 2
        out     43h, al
        mov     al, 0E8h                ; 1000: every 838 microseconds
        out     40h, al
        mov     al, 3
        out     40h, al
        xor     dx, dx
        sti
.wait:  hlt
        cmp     dx, 3
        jb      .wait
        cli
        hlt
on_tick:
        inc     dx
        mov     al, 20h
        out     20h, al
        iret
`;
const WRITE_BASE = (low: string) => `mov ecx, 1Bh \n xor edx, edx \n mov eax, ${low} \n wrmsr \n`;

describe('the 8259 reaches the bootstrap processor', () => {
  it.each([
    ['as firmware leaves it: LINT0 is ExtINT', ''],
    ['with the local APIC disabled', WRITE_BASE('0FEE00100h')],
  ])('%s', (_name, setUp) => {
    const guest = bootSource(TICKING(setUp), { mode: 'real', cpus: 2 });
    expect(guest.machine.run({ instructions: LIMIT })).toMatchObject({ kind: 'halted', vcpu: 0 });
    expect(registers(guest, 'dx')).toEqual([3n]);
    expect(guest.machine.host.clock.nowNs).toBeGreaterThan(3 * 838_000);
  });

  it('not after INIT-like state: disabled and enabled again, LINT0 is masked; the run stays answerable', () => {
    const guest = bootSource(TICKING(WRITE_BASE('0FEE00100h') + WRITE_BASE('0FEE00900h')), { mode: 'real' });
    expect(guest.machine.run({ instructions: 100 })).toEqual({ kind: 'limit' });
    expect(registers(guest, 'dx')).toEqual([0n]);
  });
});

describe('a device that is programmed in the middle of a slice', () => {
  it('interrupts when it is due, not when the slice would have ended', () => {
    // Mode 0: the output rises 11 × 838 ns after the count was written; SI counts loops of two instructions until then.
    const oneShot = TICKING('')
      .replace('34h ', '30h ')
      .replace('0E8h', '10')
      .replace('mov     al, 3\n', 'mov     al, 0\n');
    const spinning = oneShot.replace('.wait:  hlt', '.wait:  inc     si').replace('cmp     dx, 3', 'cmp     dx, 1');
    const guest = bootSource(spinning, { mode: 'real' });
    expect(guest.machine.run({ instructions: 500_000 })).toMatchObject({ kind: 'halted' });
    expect(guest.machine.instructionCount).toBeLessThan(15_000);
  });
});
