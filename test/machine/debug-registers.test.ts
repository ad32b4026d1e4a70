/** The guest's own breakpoints in 64-bit mode, beside compiled code, slices and the debugger's breakpoints. */
import { describe, expect, test } from 'vitest';
import { allVectors, interruptTable } from '../support/interrupt-table.ts';
import { bootSource, type SourceGuest } from '../support/source-guests.ts';

/** #DB counts itself in `traps`, keeps DR6 and the last RIP, and sets RF; #PF counts itself and skips two bytes. */
const guest = (code: string): SourceGuest =>
  bootSource(
    `bits 64
org 0x100000
start:
  lidt [idtr]
  xor ecx, ecx
  ${code}
end:
  mov al, 0
  out 0xf4, al
on_debug:
  push rax
  inc dword [traps]
  mov rax, dr6
  or [seen], rax
  mov rax, [rsp + 8]
  mov [last], rax
  or dword [rsp + 24], 0x10000
  pop rax
  iretq
on_fault:
  add rsp, 8
  inc dword [faults]
  add qword [rsp], 2
  iretq
align 16
stubs:
%assign v 0
%rep 32
  align 16
%if v == 1
  jmp on_debug
%elif v == 14
  jmp on_fault
%else
  mov al, v
  out 0xf4, al
%endif
%assign v v + 1
%endrep
align 4096
${interruptTable(allVectors(31, (vector) => `stubs + ${16 * vector}`))}
traps: dq 0
faults: dq 0
seen: dq 0
last: dq 0
align 4096
datum: times 4096 db 0`,
    { mode: 'long' },
  );

const enable = (kind: 0 | 1 | 2 | 3, bytes: 1 | 2 | 4, index = 0): number =>
  (2 << (2 * index)) | (kind << (16 + 4 * index)) | ((bytes - 1) << (18 + 4 * index));
const arm = (address: string, dr7: number): string =>
  `mov rax, ${address}\nmov dr0, rax\nmov eax, ${dr7}\nmov dr7, rax`;

interface Ended {
  readonly traps: number;
  readonly faults: number;
  /** Offset of the last #DB from a label. */
  readonly last: bigint;
  readonly seen: number;
  readonly hash: string;
}

function run(source: SourceGuest, slice = 10_000_000): Ended {
  const { machine, label } = source;
  let stop = machine.run({ instructions: slice });
  while (stop.kind === 'limit') stop = machine.run({ instructions: slice });
  expect(stop).toMatchObject({ kind: 'exited', code: 0 });
  const read = (name: string) => {
    const bytes = machine.vcpus[0]?.peek('linear', label(name), 8) as Uint8Array;
    return new DataView(bytes.slice().buffer).getBigUint64(0, true);
  };
  return {
    traps: Number(read('traps')),
    faults: Number(read('faults')),
    last: read('last'),
    seen: Number(read('seen') & 0xf00fn),
    hash: machine.stateHash(),
  };
}

describe('data breakpoints', () => {
  const HOT = `${arm('datum + 8', enable(1, 4))}
    mov ecx, 20000
    .loop: inc dword [datum + 64]
    test cl, 63
    jnz .next
    mov [datum + 8], ecx
    .next: dec ecx
    jnz .loop`;

  test('are met each time in a loop that is compiled, however the run is cut', () => {
    const whole = run(guest(HOT));
    expect(whole).toMatchObject({ traps: 312, seen: 1 });
    expect(run(guest(HOT), 997)).toEqual(whole);
  });

  test('work from the instruction after MOV DR7, in code that was compiled without', () => {
    const code = `mov ebx, 2
      .twice: mov ecx, 10000
      .loop: inc dword [datum]
      dec ecx
      jnz .loop
      ${arm('datum', enable(1, 4))}
      dec ebx
      jnz .twice`;
    expect(run(guest(code)).traps).toBe(10_000);
  });

  test('of an instruction that faults are met when it is repeated', () => {
    // MOVSB reads what is watched, and faults for writing; the handler skips it as it skips two bytes.
    const code = `${arm('datum', enable(3, 1))}
      mov esi, datum
      mov rdi, 1 << 33
      db 0x48
      movsb
      mov al, [datum]
      nop`;
    expect(run(guest(code))).toMatchObject({ traps: 1, faults: 1 });
  });
});

describe('instruction breakpoints', () => {
  test('come before the page fault of the fetch', () => {
    const code = `${arm('1 << 33', enable(0, 1))}
      mov rbx, 1 << 33
      mov edi, end
      mov [idt + 14 * 16], di
      shr edi, 16
      mov [idt + 14 * 16 + 6], di
      jmp rbx`;
    expect(run(guest(code))).toMatchObject({ traps: 1, last: 1n << 33n });
  });

  test('stand beside one of the debugger', () => {
    const source = guest(`${arm('target', enable(0, 1))}\nmov ecx, 3\ntarget: loop target`);
    source.machine.setBreakpoints([source.label('target')]);
    const stops = [];
    for (let stop = source.machine.run(); stop.kind !== 'exited'; stop = source.machine.run()) stops.push(stop.kind);
    expect(stops).toEqual(['breakpoint', 'breakpoint', 'breakpoint']);
    expect(run(guest(`${arm('target', enable(0, 1))}\nmov ecx, 3\ntarget: loop target`)).traps).toBe(3);
  });

  test('on a repeated string are met once', () => {
    const code = `${arm('.string', enable(0, 1))}\nmov edi, datum\nmov ecx, 50\n.string: rep stosb`;
    expect(run(guest(code))).toMatchObject({ traps: 1, seen: 1 });
  });
});

test('with IA32_DEBUGCTL.BTF only branches that are taken are traps, until the first', () => {
  const code = `mov ecx, 0x1d9
    mov eax, 2
    xor edx, edx
    wrmsr
    mov ecx, 1
    pushfq
    or dword [rsp], 0x100
    popfq
    nop
    nop
    jrcxz .away
    jmp .taken
    .away: nop
    .taken: pushfq
    and dword [rsp], ~0x100
    popfq`;
  const { traps, seen } = run(guest(code));
  // After the first trap, which clears BTF, PUSHFQ, AND and POPFQ are stepped one by one.
  expect({ traps, seen }).toEqual({ traps: 4, seen: 0x4000 });
});
