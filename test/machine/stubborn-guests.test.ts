/** Guests that do not want to be stopped, and guests at the edges of segments, pages and the stack. */
import { describe, expect, test } from 'vitest';
import type { MachineEvent, Stop, Virtualization } from '../../engine/index.ts';
import { allVectors, interruptTable } from '../support/interrupt-table.ts';
import { bootSource, type SourceGuest } from '../support/source-guests.ts';

const END = 'out 0xf4, al';
const virtualizations: readonly Virtualization[] = ['none', 'hardware'];

const long = (body: string, virtualization: Virtualization = 'none'): SourceGuest =>
  bootSource(`bits 64\norg 0x100000\n${body}`, { mode: 'long', virtualization });
const real = (body: string): SourceGuest => bootSource(`bits 16\norg 0x7c00\n${body}`, { mode: 'real' });

const toHandler = allVectors(31, () => 'handler');
/** Loads an IDT whose gates lead to the label `handler`. */
const IDT = `
  lidt [idtr]
  jmp main
${interruptTable(toHandler)}
`;
/** No page is mapped above 4 GiB. */
const UNMAPPED = 'mov rbx, 1 << 33';

/** Runs in slices, each of which must come back within seconds even on a busy machine. */
function runSlices({ machine }: SourceGuest, count: number, instructions: number): Stop[] {
  return Array.from({ length: count }, () => {
    const begun = performance.now();
    const stop = machine.run({ instructions });
    expect(performance.now() - begun, 'milliseconds of a slice').toBeLessThan(5000);
    return stop;
  });
}
const PAUSED: Stop = { kind: 'paused' };

describe.each(virtualizations)('guests that never end, virtualization %s', (virtualization) => {
  test.each([
    ['JMP $', 'jmp $'],
    ['a page-fault handler that page-faults at once', `${IDT}main: ${UNMAPPED}\nhandler: mov rax, [rbx]`],
    ['a handler that faults on a fresh stack', `${IDT}main: ${UNMAPPED}\nhandler: mov esp, 0x300000\nmov rax, [rbx]`],
    ['a handler that is itself an invalid opcode', `${IDT}main:\nhandler: ud2`],
    ['REP STOSB over all of memory', 'mov edi, 0x200000\nmov rcx, -1\nrep stosb\nhlt'],
    ['REP OUTSB without end', 'mov esi, 0x200000\nmov rcx, -1\nmov dx, 0x71\nrep outsb'],
    ['REP INSD from a device to a device', 'mov edi, 0xfeb00000\nmov rcx, -1\nmov dx, 0x3f8\nstd\nrep insd'],
    [
      'a timer interrupt storm',
      `${IDT}main: ${UNMAPPED}\nsti\nhlt\njmp $ - 2\nhandler: mov al, 0x20\nout 0x20, al\niretq`,
    ],
  ])('%s stays interruptible', (_name, source) => {
    const guest = long(source, virtualization);
    runSlices(guest, 4, 5000);
    guest.machine.requestStop(PAUSED);
    expect(guest.machine.run({ instructions: 100_000 })).toEqual(PAUSED);
    guest.machine.vcpus[0]?.registers();
  });

  test('a pause asked for while the guest runs takes effect at the next instruction', () => {
    const guest = long("spin: mov al, 'x'\nout 0xe9, al\njmp spin", virtualization);
    guest.machine.onOutput = () => guest.machine.requestStop(PAUSED);
    expect(guest.machine.run()).toEqual(PAUSED);
    expect(guest.machine.instructionCount).toBe(2);
  });

  test('a run stops exactly at its limit, whoever carries out the instructions', () => {
    const guest = long("main: cpuid\nmov al, 'x'\nout 0xe9, al\njmp main", virtualization);
    for (const instructions of [1, 2, 10, 1000]) {
      const before = guest.machine.instructionCount;
      expect(guest.machine.run({ instructions })).toEqual({ kind: 'limit' });
      expect(guest.machine.instructionCount - before).toBe(instructions);
    }
  });

  test('HLT with interrupts disabled is the end', () => {
    const guest = long('cli\nhlt', virtualization);
    const stop = guest.machine.run();
    expect(stop).toMatchObject({ kind: 'halted', vcpu: 0 });
    expect(guest.machine.run()).toEqual(stop);
  });

  test('a triple fault is the end, and is told at each attempt to go on', () => {
    const guest = long(`lidt [none]\nud2\nnone: dw 0\ndq 0`, virtualization);
    const stop = guest.machine.run();
    expect(stop).toMatchObject({ kind: 'shutdown', vcpu: 0 });
    expect(guest.machine.run()).toMatchObject({ kind: 'shutdown' });
    expect(guest.machine.step()).toMatchObject({ kind: 'shutdown' });
  });
});

describe('the ends of segments and pages', () => {
  test('real mode: the same IP in another code segment is other code', () => {
    // Both segments hold "mov al, N; retf" at offset 0.
    const guest = real(`
      xor ax, ax
      mov ds, ax
      mov sp, 0x7000
      mov ax, 0x2000
      mov es, ax
      mov dword [es:0], 0xcb01b0
      mov ax, 0x3000
      mov es, ax
      mov dword [es:0], 0xcb02b0
      xor bx, bx
      mov cx, 3
      again: call 0x2000:0
      add bl, al
      call 0x3000:0
      add bl, al
      loop again
      mov al, bl
      ${END}`);
    expect(guest.machine.run({ instructions: 1000 })).toMatchObject({ kind: 'exited', code: 3 * (1 + 2) });
  });

  test('real mode: an instruction across the end of the segment faults', () => {
    // At FFFEh, three bytes of which the last would be at 10000h. INT 13, the handler, ends the run.
    const guest = real(`
      xor ax, ax
      mov ds, ax
      mov word [13 * 4], handler
      mov [13 * 4 + 2], ax
      mov ax, 0x2000
      mov es, ax
      mov word [es:0xfffe], 0xb890
      jmp 0x2000:0xfffe
      handler: pop ax
      ${END}`);
    expect(guest.machine.run({ instructions: 100 })).toMatchObject({ kind: 'exited', code: 0xff });
  });

  test('protected mode: straight-line code faults where its segment ends', () => {
    const guest = bootSource(
      `bits 32
      org 0x100000
      lgdt [gdtr]
      lidt [idtr]
      jmp 0x18:0
      align 16
      limited: times 0x40 inc eax
      handler: pop ecx
      pop ecx
      mov al, cl
      ${END}
      gdt: dq 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
      dw 0x001f, limited - $$, 0x9b10, 0x0040
      gdtr: dw 31
      dd gdt
      ${interruptTable(toHandler, { bits: 32 })}`,
      { mode: 'protected' },
    );
    expect(guest.machine.run({ instructions: 1000 })).toMatchObject({ kind: 'exited', code: 0x20 });
  });

  test('real mode: PUSH wraps around the stack segment', () => {
    const guest = real(
      `xor ax, ax\nmov ds, ax\nmov ss, ax\nxor sp, sp\nmov ax, 0x5a\npush ax\nmov al, [0xfffe]\n${END}`,
    );
    expect(guest.machine.run({ instructions: 100 })).toMatchObject({ kind: 'exited', code: 0x5a });
    expect(guest.machine.vcpus[0]?.readRegister('sp')).toBe(0xfffen);
  });

  describe('an instruction on two pages', () => {
    // The 2-MiB page at 4 MiB is replaced by 4-KiB pages; "mov al, 1; ret" lies on its first two.
    const MAP = `
      mov word [0x402000], 0xc302
      mov rbx, cr3
      mov qword [rbx + 0x2000 + 2 * 8], 0x300003
      mov qword [0x300000], 0x400003
      mov qword [0x300008], 0x401003
      mov cr3, rbx
      mov byte [0x400fff], 0xb0
      mov word [0x401000], 0xc301`;
    const CALL = 'mov ebp, 0x400fff\ncall rbp';
    const UNMAP = 'mov qword [0x300008], 0\ninvlpg [0x401000]';
    const HANDLER = 'handler: pop rcx\npop rcx\nmov rdx, cr2\nhlt';

    test.each([
      ['that has never run', UNMAP],
      ['that has run before', `${CALL}\n${UNMAP}`],
    ])('%s faults for its second page', (_name, before) => {
      const guest = long(`${IDT}main: ${MAP}\n${before}\n${CALL}\n${HANDLER}`);
      expect(guest.machine.run({ instructions: 10_000 })).toMatchObject({ kind: 'halted' });
      const [cpu] = guest.machine.vcpus;
      expect([cpu?.readRegister('rcx'), cpu?.readRegister('rdx')]).toEqual([0x400fffn, 0x40_1000n]);
    });

    test('is another one when its second page is', () => {
      const remap = 'mov qword [0x300008], 0x402003\ninvlpg [0x401000]';
      const guest = long(`${IDT}main: ${MAP}\n${CALL}\nmov dl, al\n${remap}\n${CALL}\nadd al, dl\n${END}\n${HANDLER}`);
      expect(guest.machine.run({ instructions: 10_000 })).toMatchObject({ kind: 'exited', code: 1 + 2 });
    });
  });
});

describe('stops do not disturb the guest', () => {
  /** Single-steps itself through six NOPs and counts the traps, of which one comes in the shadow of MOV SS. */
  const SINGLE_STEPPED = `${IDT}main: xor edx, edx
    pushfq
    or qword [rsp], 0x100
    popfq
    nop
    nop
    mov eax, ss
    mov ss, eax
    shadowed: nop
    nop
    pushfq
    and qword [rsp], ~0x100
    popfq
    mov al, dl
    ${END}
    handler: inc edx
    iretq`;
  const TRAPS = 8;

  test('a guest that single-steps itself', () => {
    expect(long(SINGLE_STEPPED).machine.run()).toMatchObject({ kind: 'exited', code: TRAPS });
  });

  test.each([
    ['whose code has run before', 'call steps\ncall middle', 'call steps', 5],
    ['in the middle of REP', 'mov edi, 0x300000\nmov ecx, 5', 'rep stosb', 5],
  ])('a guest that single-steps itself, %s', (_name, before, stepped, traps) => {
    const guest = long(`${IDT}main: xor edx, edx
      ${before}
      pushfq
      or qword [rsp], 0x100
      popfq
      ${stepped}
      pushfq
      and qword [rsp], ~0x100
      popfq
      mov al, dl
      ${END}
      steps: nop
      middle: nop
      nop
      ret
      handler: inc edx
      iretq`);
    expect(guest.machine.run()).toMatchObject({ kind: 'exited', code: traps + 3 });
  });

  test('loses no trap that a run stopped at', () => {
    const guest = long(SINGLE_STEPPED);
    guest.machine.setFilter('exception', true);
    const stops: Stop[] = [];
    for (let stop = guest.machine.run(); stop.kind === 'event'; stop = guest.machine.run()) stops.push(stop);
    expect(stops).toHaveLength(TRAPS);
    expect(guest.machine.run()).toMatchObject({ kind: 'exited', code: TRAPS });
  });

  test('stops at a breakpoint in the shadow of MOV SS, and while TF is set', () => {
    const guest = long(SINGLE_STEPPED);
    const addresses = [guest.label('shadowed'), guest.label('shadowed') + 1n];
    guest.machine.setBreakpoints(addresses);
    for (const address of addresses) expect(guest.machine.run()).toEqual({ kind: 'breakpoint', vcpu: 0, address });
    expect(guest.machine.run()).toMatchObject({ kind: 'exited', code: TRAPS });
  });

  test('goes on from a fault that two filters stop before', () => {
    const guest = long(`${IDT}main: ${UNMAPPED}\nmov rax, [rbx]\nhandler: mov al, 4\n${END}`);
    const filters: MachineEvent['filter'][] = [];
    for (const filter of ['page-fault', 'exception'] as const) guest.machine.setFilter(filter, true);
    for (let calls = 0; calls < 5; calls++) {
      const stop = guest.machine.run();
      if (stop.kind === 'event') filters.push(stop.event.filter);
      else expect(stop).toMatchObject({ kind: 'exited', code: 4 });
    }
    expect(filters).toEqual(['page-fault', 'exception']);
  });

  test('stops at each of several faults between which no instruction retires', () => {
    const guest = long(`${IDT}main: ${UNMAPPED}\nhandler: mov rax, [rbx]`);
    guest.machine.setFilter('page-fault', true);
    const stacks = Array.from({ length: 4 }, () => {
      expect(guest.machine.run()).toMatchObject({ kind: 'event', event: { filter: 'page-fault' } });
      return guest.machine.vcpus[0]?.readRegister('rsp') ?? 0n;
    });
    expect(stacks.slice(1).map((rsp, index) => (stacks[index] ?? 0n) - rsp)).toEqual([48n, 48n, 48n]);
  });
});
