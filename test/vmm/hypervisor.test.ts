/** Guests of the built-in hypervisor: what each kind of VM exit does for them. */
import { describe, expect, test } from 'vitest';
import { END, exits, long, register } from './long-guest.ts';
import { guestFromSource, MIB, runToEnd } from './run-guest.ts';

describe('port I/O', () => {
  test('bytes to port E9h and to COM1 reach their consoles, each by an exit to the user half', async () => {
    const guest = await long(`
      mov al, 'E'
      out 0xe9, al
      mov dx, 0x3f8
      mov al, 'S'
      out dx, al
      mov al, 7 ${END}`);
    expect(runToEnd(guest)).toMatchObject({ kind: 'exited', code: 7 });
    expect(guest.output()).toBe('ES');
    expect(guest.serial()).toBe('S');
    expect(exits(guest)).toEqual({ 'I/O instruction': 3 });
  });

  test('IN replaces as much of RAX as it reads', async () => {
    const guest = await long(`
      mov rax, -1
      in al, 0xe9
      mov rbx, rax
      mov rax, -1
      mov dx, 0x510           ; nobody is there
      in eax, dx
      hlt`);
    runToEnd(guest);
    expect(register(guest, 'rbx')).toBe(0xffff_ffff_ffff_ffe9n);
    expect(register(guest, 'rax')).toBe(0xffff_ffffn);
  });

  test('REP OUTSB sends the string in one exit and leaves RSI and RCX behind it', async () => {
    const guest = await long(`
      mov rsi, text
      mov ecx, 5
      mov dx, 0xe9
      rep outsb
      mov rbx, rsi
      sub rbx, text
      hlt
      text: db 'Hello'`);
    runToEnd(guest);
    expect(guest.output()).toBe('Hello');
    expect([register(guest, 'rcx'), register(guest, 'rbx')]).toEqual([0n, 5n]);
    expect(exits(guest)['I/O instruction']).toBe(1);
  });

  test('INSB to a page that the guest does not map is a page fault of the guest', async () => {
    const guest = await long(`
      mov rdi, 0x100000000000
      mov dx, 0x60
      insb
      hlt`);
    const stop = runToEnd(guest);
    // Its IDT is empty, so the fault becomes a triple fault.
    expect(stop).toMatchObject({ kind: 'shutdown' });
    expect(register(guest, 'cr2')).toBe(0x1000_0000_0000n);
  });
});

describe('CPUID', () => {
  test('announces the hypervisor, and VMX', async () => {
    const guest = await long(`
      mov eax, 1
      cpuid
      mov r8d, ecx
      mov eax, 0x40000000
      cpuid
      hlt`);
    runToEnd(guest);
    const features = register(guest, 'r8');
    expect((features >> 31n) & 1n).toBe(1n);
    expect((features >> 5n) & 1n).toBe(1n);
    const text = ['rbx', 'rcx', 'rdx'].map((name) => {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32LE(Number(register(guest, name)));
      return bytes.toString('latin1');
    });
    expect(text.join('')).toBe('RingsideVMM\0');
  });
});

describe('memory', () => {
  test('EPT grows by a page of 2 MiB at the first touch, and by 4 KiB where memory ends before that', async () => {
    const guest = await long(
      `
      mov byte [0x600000], 1
      mov byte [0x600800], 1          ; the same page
      mov byte [0x800000], 1          ; memory ends at 8 MiB and 16 KiB
      mov byte [0x801000], 1
      hlt`,
      { memoryBytes: 8 * MIB + 16 * 1024 },
    );
    const violations: bigint[] = [];
    guest.machine.onEvent = ({ filter, values }) => {
      if (filter === 'ept-violation') violations.push(values.guest_physical as bigint);
    };
    runToEnd(guest);
    expect(violations).toEqual([0x60_0000n, 0x80_0000n, 0x80_1000n]);
    expect(guest.machine.vcpus[0]?.peek('guest-physical', 0x60_0800n, 1)).toEqual(Uint8Array.of(1));
  });

  test('memory that EPT does not map yet can be looked at', async () => {
    const guest = await long('hlt');
    const [vcpu] = guest.machine.vcpus;
    expect(vcpu?.peek('linear', 0x70_0000n, 4)).toEqual(new Uint8Array(4));
    expect(vcpu?.peek('linear', 0x0f_ffffn, 2)).toEqual(Uint8Array.of(0, 0xf4));
    expect(exits(guest)).toEqual({});
  });

  test.each([
    ['mov eax, [rbx]', 0x7472_6976n],
    ['mov rax, [rbx]', 0x0000_0002_7472_6976n],
    ['movzx eax, word [rbx + 0x100]', 0x80n],
    ['movsx rax, byte [rbx + 0x100]', 0xffff_ffff_ffff_ff80n],
    ['mov eax, 5\n add eax, [rbx]', 0x7472_697bn],
    ['mov eax, 0x74726976\n cmp [rbx], eax\n sete al\n movzx eax, al', 1n],
    ['push qword [rbx]\n pop rax', 0x0000_0002_7472_6976n],
    ['mov rsi, rbx\n lodsd\n', 0x7472_6976n],
  ])('%s reads the registers of a virtio device', async (code, expected) => {
    const body = `mov rsp, 0x90000\n mov ebx, 0xfeb00000\n ${code}\n hlt`;
    const guest = await long(body, { devices: { disk: new Uint8Array(64 * 1024) } });
    runToEnd(guest);
    expect(register(guest, 'rax')).toBe(expected);
  });

  test('MOVSD and STOSD write device registers; the flags of an emulated AND are the guest’s', async () => {
    const guest = await long(
      `
      mov ebx, 0xfeb00000
      mov edi, 0xfeb00070             ; Status
      mov eax, 3
      stosd
      mov ecx, [rbx + 0x70]
      mov edx, 1
      and edx, [rbx + 0x70]
      setz dl
      mov esi, value
      mov edi, 0xfeb00070
      movsd
      mov eax, [rbx + 0x70]
      hlt
      value: dd 0`,
      { devices: { console: true } },
    );
    runToEnd(guest);
    expect([register(guest, 'rcx'), register(guest, 'rdx'), register(guest, 'rax')]).toEqual([3n, 0n, 0n]);
    expect(register(guest, 'rdi')).toBe(0xfeb0_0074n);
  });

  test('where there is neither memory nor a device, reads give ones', async () => {
    const guest = await long('mov eax, [0x20000000]\n mov dword [0x20000000], 5\n hlt');
    runToEnd(guest);
    expect(register(guest, 'rax')).toBe(0xffff_ffffn);
  });

  test('a guest that jumps out of its memory ends in a stop that says so', async () => {
    const guest = await long('mov rax, 0x20000000\n jmp rax');
    const stop = runToEnd(guest);
    expect(stop.kind === 'shutdown' && stop.explanation).toContain('fetched an instruction from guest-physical');
  });
});

describe('registers', () => {
  test('MSRs: EFER is the guest’s own, those of VT-x that are not passed on are refused', async () => {
    const guest = await long(`
      mov ecx, 0xc0000080
      rdmsr
      or eax, 0x801                   ; SCE, NXE
      wrmsr
      rdmsr
      mov r8d, eax
      mov ecx, 0x480
      rdmsr
      mov r9d, edx
      mov ecx, 0x491
      rdmsr
      hlt`);
    guest.machine.setFilter('triple-fault', true);
    const stop = runToEnd(guest);
    expect(register(guest, 'r8')).toBe(0xd01n);
    // IA32_VMX_BASIC: regions of 4 KBytes in write-back memory, INS and OUTS are told of, TRUE registers.
    expect(register(guest, 'r9')).toBe(0xd8_1000n);
    expect(stop).toMatchObject({ kind: 'event', event: { filter: 'triple-fault' } });
  });

  test('CR4.VMXE reads as 0 until the guest sets it', async () => {
    const guest = await long(`
      mov rax, cr4
      mov rbx, rax
      or rax, 0x2000
      mov cr4, rax
      mov rdx, cr4
      mov cr4, rbx
      mov rbx, cr4
      hlt`);
    runToEnd(guest);
    expect(register(guest, 'rdx')).toBe(0x2020n);
    expect(register(guest, 'rbx')).toBe(0x20n);
  });

  test('real mode to protected mode and back under "unrestricted guest"', async () => {
    const guest = await guestFromSource(
      `
      bits 16
      org 0x7c00
      lgdt [gdtr]
      mov eax, cr0
      or al, 1
      mov cr0, eax
      jmp 8:protected
      bits 32
      protected:
      mov ax, 16
      mov ds, ax
      mov dword [0x300000], 0x1234
      mov ebx, [0x300000]
      jmp 24:leave
      bits 16
      leave:
      mov eax, cr0
      and al, 0xfe
      mov cr0, eax
      jmp 0:real
      real:
      xor ax, ax
      mov ds, ax
      mov ecx, cr0
      hlt
      align 8
      gdt: dq 0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00009b000000ffff
      gdtr: dw 31
      dd gdt`,
      { entryMode: 'real' },
    );
    expect(runToEnd(guest)).toMatchObject({ kind: 'halted' });
    expect(register(guest, 'rbx')).toBe(0x1234n);
    expect(register(guest, 'rcx') & 0x21n).toBe(0n);
    expect(exits(guest)['Control-register accesses']).toBe(2);
  });
});

describe('other exits', () => {
  test('an unknown hypercall gives -1000 in RAX', async () => {
    const guest = await long('mov eax, 77\n vmcall\n hlt');
    guest.machine.setFilter('hypercall', true);
    expect(runToEnd(guest)).toMatchObject({ kind: 'event', event: { filter: 'hypercall', values: { rax: 77n } } });
    runToEnd(guest);
    expect(BigInt.asIntN(64, register(guest, 'rax'))).toBe(-1000n);
  });

  test('VMX instructions are undefined for the guest', async () => {
    const guest = await long('vmxoff\n hlt');
    const vectors: bigint[] = [];
    guest.machine.onEvent = ({ filter, values }) => {
      if (filter === 'vm-exit') vectors.push(values.reason as bigint);
    };
    expect(runToEnd(guest)).toMatchObject({ kind: 'shutdown' });
    // VMXOFF outside VMX operation is #UD before any exit; in this guest it exits, as the processor is in VMX operation.
    expect(vectors).toEqual([26n, 2n]);
  });

  test('a triple fault is a VM exit and ends the guest, with a stop before it if wanted', async () => {
    const guest = await long('lidt [none]\n ud2\n none: dw 0\n dq 0');
    guest.machine.setFilter('triple-fault', true);
    expect(runToEnd(guest)).toMatchObject({ kind: 'event', event: { filter: 'triple-fault' } });
    expect(runToEnd(guest)).toMatchObject({ kind: 'shutdown' });
    expect(runToEnd(guest)).toMatchObject({ kind: 'shutdown' });
  });

  test('of two vCPUs the second waits to be started', async () => {
    const guest = await long(`mov al, 1 ${END}`, { cpus: 2 });
    expect(runToEnd(guest)).toMatchObject({ kind: 'exited', code: 1 });
    expect(guest.machine.vcpus[1]?.handlerFrames().map(({ name }) => name)).toEqual(['wait for SIPI']);
    expect(guest.machine.vcpus[1]?.readVmcs('Virtual-processor identifier')).toBe(2n);
  });
});
