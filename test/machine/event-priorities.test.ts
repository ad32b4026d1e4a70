/**
 * Which of two events at the same instruction boundary, or of the same instruction, comes first (SDM volume 3, "Priority Among
 * Concurrent Events"; those of VMX are in test/vmx/priorities.test.ts). Handlers note the vector and the RIP that was saved;
 * if one event comes first and the next one at the first instruction of its handler, the latter notes itself first.
 */
import { describe, expect, test } from 'vitest';
import { allVectors, interruptTable } from '../support/interrupt-table.ts';
import { bootSource, type SourceGuest } from '../support/source-guests.ts';

/** Nothing is mapped from here on, for 2 MiB. */
const UNMAPPED = 0x80_0000;
const INTERRUPT = 0x40;
const names: Readonly<Record<number, string>> = {
  1: '#DB', 2: 'NMI', 3: '#BP', 6: '#UD', 7: '#NM', 13: '#GP', 14: '#PF', 16: '#MF', 17: '#AC', 19: '#XM', 64: 'INTR',
}; // biome-ignore format: one table

/** Writes this to the interrupt command register, RDI, to get an event with the next boundary. */
const GET_NMI = 'mov dword [rdi], 0x4400';
const GET_INTERRUPT = 'mov dword [rdi], 0x4040';
const SINGLE_STEP = 'pushfq\nor dword [rsp], 0x100\npopfq';
/** #GP, #PF and the like end the attempt; the others return, #DB with RF set and TF clear. */
const source = (code: string) => `bits 64
org 0x100000
start:
  mov esp, 0x90000
  lidt [idtr]
  mov rbx, cr3
  mov qword [rbx + 0x2000 + ${UNMAPPED >> 21} * 8], 0
  mov rax, cr3
  mov cr3, rax
  mov rax, cr4
  or eax, 0x600
  mov cr4, rax
  fninit
  mov edi, 0xfee00300
  mov dword [rdi - 0x210], 0x1ff
  mov esi, ${UNMAPPED}
  mov eax, ss
  ${code}
  nop
done:
  mov al, 0
  out 0xf4, al

common:
  push rax
  push rcx
  mov ecx, [cursor]
  mov eax, [rsp + 16]
  mov [rcx], eax
  ; An error code lies between the vector and RIP for some.
  lea rax, [rsp + 24]
  cmp dword [rsp + 16], 10
  jb .plain
  cmp dword [rsp + 16], 14
  jbe .error_code
  cmp dword [rsp + 16], 17
  jne .plain
.error_code:
  add rax, 8
.plain:
  push qword [rax]
  pop qword [rcx + 8]
  add ecx, 16
  mov [cursor], ecx
  cmp dword [rsp + 16], 1
  je .debug
  cmp dword [rsp + 16], 3
  jbe .back
  cmp dword [rsp + 16], ${INTERRUPT}
  jne done
  mov dword [rdi - 0x250], 0
  jmp .back
.debug:
  or dword [rax + 16], 0x10000
  and dword [rax + 16], ~0x100
.back:
  pop rcx
  pop rax
  add rsp, 8
  iretq

align 16
stubs:
${Array.from({ length: INTERRUPT + 1 }, (_, vector) => `align 16\npush ${vector}\njmp near common`).join('\n')}
align 8
cursor: dd log
align 16
selector: dw 0x10, 0, 0, 0, 0, 0, 0, 0
${interruptTable(allVectors(INTERRUPT, (vector) => `stubs + ${16 * vector}`))}
log: times 64 dq 0`;

/** What happened, as `#DB@next`: vector, and the label or handler that RIP was saved for. */
function events(code: string, slice = 10_000): string[] {
  const guest = bootSource(source(code), { mode: 'long' });
  const { machine } = guest;
  let stop = machine.run({ instructions: slice });
  while (stop.kind === 'limit' && machine.instructionCount < 10_000) stop = machine.run({ instructions: slice });
  expect(stop).toMatchObject({ kind: 'exited', code: 0 });
  return notedBy(guest, code);
}

function notedBy({ machine, label }: SourceGuest, code: string): string[] {
  const bytes = machine.vcpus[0]?.peek('linear', label('log'), 64 * 8) ?? new Uint8Array();
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const place = (rip: number): string => {
    const handler = (rip - Number(label('stubs'))) / 16;
    if (handler in names) return `handler of ${names[handler]}`;
    const found = ['first', 'next', 'after'].filter((name) => code.includes(`${name}:`) && label(name) === BigInt(rip));
    return found[0] ?? `${rip.toString(16)}h`;
  };
  const noted: string[] = [];
  for (let at = 0; view.getUint32(at + 8, true) !== 0; at += 16) {
    noted.push(`${names[view.getUint32(at, true)]}@${place(view.getUint32(at + 8, true))}`);
  }
  return noted;
}

const TASK_SWITCHED = 'mov rax, cr0\nor eax, 8\nmov cr0, rax';
/** Division by zero, whose exception waits for the next instruction of the x87. */
const WAITING = 'push 0x37b\nfldcw [rsp]\nfld1\nfldz\nfdivp';

/** DR7 for DR0: a breakpoint on an instruction, on writes of four bytes, on accesses to two. */
const DR7 = { instruction: 0x1, write: 0xd_0001, access: 0x7_0001 } as const;
const breakpoint = (address: string, kind: keyof typeof DR7) =>
  `mov eax, ${address}\nmov dr0, rax\nmov eax, ${DR7[kind]}\nmov dr7, rax\nmov eax, ss`;
const pending = (get: string) => `cli\n${get}\nsti\nnop`;

type Row = readonly [name: string, code: string, expected: readonly string[]];
const table: readonly (readonly [string, readonly Row[]])[] = [
  [
    'traps on the previous instruction come before',
    [
      ['an NMI: single step', `${SINGLE_STEP}\n${GET_NMI}\nnext: nop`, ['NMI@handler of #DB', '#DB@next']],
      [
        'an NMI: a data breakpoint',
        `${breakpoint('0xfee00300', 'write')}\n${GET_NMI}\nnext: nop`,
        ['NMI@handler of #DB', '#DB@next'],
      ],
      ['an interrupt: single step', `sti\n${SINGLE_STEP}\n${GET_INTERRUPT}\nnext: nop`, ['#DB@next', 'INTR@next']],
      [
        'an interrupt: a data breakpoint',
        `sti\n${breakpoint('0xfee00300', 'write')}\n${GET_INTERRUPT}\nnext: nop`,
        ['#DB@next', 'INTR@next'],
      ],
      [
        'a breakpoint on the next instruction, and go together',
        `${breakpoint('next', 'instruction')}\n${SINGLE_STEP}\nnop\nnext: nop`,
        ['#DB@next'],
      ],
      ['a fault of the next instruction', `${SINGLE_STEP}\nnop\nnext: ud2`, ['#DB@next', '#UD@next']],
    ],
  ],
  [
    'an NMI comes before',
    [
      ['an interrupt', `cli\n${GET_INTERRUPT}\nsti\n${GET_NMI}\nnext: nop`, ['NMI@next', 'INTR@next']],
      [
        'a breakpoint on the next instruction',
        `${breakpoint('next', 'instruction')}\n${GET_NMI}\nnext: nop`,
        ['NMI@next', '#DB@next'],
      ],
      ['a fault of the next instruction', `${GET_NMI}\nnext: ud2`, ['NMI@next', '#UD@next']],
    ],
  ],
  [
    'an interrupt comes before',
    [
      [
        'a breakpoint on the next instruction',
        `${breakpoint('next', 'instruction')}\n${pending(GET_INTERRUPT)}\nnext: nop`,
        ['INTR@next', '#DB@next'],
      ],
      ['the page fault of the fetch', `cli\n${GET_INTERRUPT}\nsti\njmp rsi`, ['INTR@800000h', '#PF@800000h']],
      ['a fault of the next instruction', `${pending(GET_INTERRUPT)}\nnext: ud2`, ['INTR@next', '#UD@next']],
    ],
  ],
  [
    'a breakpoint on an instruction comes before',
    [
      [
        'the page fault of its fetch',
        `${breakpoint(`${UNMAPPED}`, 'instruction')}\njmp rsi`,
        ['#DB@800000h', '#PF@800000h'],
      ],
      ['its being no instruction', `${breakpoint('next', 'instruction')}\nnext: ud2`, ['#DB@next', '#UD@next']],
      [
        'its being too long',
        `${breakpoint('next', 'instruction')}\nnext: times 15 db 0x66\nnop`,
        ['#DB@next', '#GP@next'],
      ],
      ['its page fault', `${breakpoint('next', 'instruction')}\nnext: mov al, [rsi]`, ['#DB@next', '#PF@next']],
    ],
  ],
  [
    'faults of fetching and decoding: first is',
    [
      [
        'the page fault of a byte that is missing, before what the bytes would be',
        'mov byte [rsi - 1], 0x0f\nlea rax, [rsi - 1]\njmp rax',
        ['#PF@7fffffh'],
      ],
      [
        'the length of an instruction, with no byte missing of the first fifteen',
        `mov rax, 0x6666666666666666\nmov [rsi - 15], rax\nmov [rsi - 8], rax\nlea rax, [rsi - 15]\njmp rax`,
        ['#GP@7ffff1h'],
      ],
      [
        'the page fault of the fifteenth byte',
        `mov rax, 0x6666666666666666\nmov [rsi - 14], rax\nmov [rsi - 8], rax\nlea rax, [rsi - 14]\njmp rax`,
        ['#PF@7ffff2h'],
      ],
      ['the length, before the opcode', 'next: times 14 db 0x66\nud2', ['#GP@next']],
      ['the opcode, before a missing coprocessor', `${TASK_SWITCHED}\nnext: db 0xf0\nfld st0`, ['#UD@next']],
      [
        'the opcode, of SSE with CR0.EM, before a missing coprocessor',
        'mov rax, cr0\nor eax, 12\nmov cr0, rax\nnext: addps xmm0, xmm1',
        ['#UD@next'],
      ],
    ],
  ],
  [
    'a missing coprocessor comes before',
    [
      ['a page fault of x87', `${TASK_SWITCHED}\nnext: fld dword [rsi]`, ['#NM@next']],
      ['a page fault of SSE', `${TASK_SWITCHED}\nnext: movaps xmm0, [rsi]`, ['#NM@next']],
      ['#GP of what is not aligned', `${TASK_SWITCHED}\nnext: movaps xmm0, [rsi + 4]`, ['#NM@next']],
      ['#GP of what is not canonical', `${TASK_SWITCHED}\nmov rax, 1 << 60\nnext: fld dword [rax]`, ['#NM@next']],
      ['an x87 exception that waits', `${WAITING}\n${TASK_SWITCHED}\nnext: fld1`, ['#NM@next']],
    ],
  ],
  [
    'of the faults of execution, first is',
    [
      ['an x87 exception that waits, before the page fault', `${WAITING}\nnext: fld dword [rsi]`, ['#MF@next']],
      ['#GP of what is not aligned, before the page fault', 'next: movaps xmm0, [rsi + 4]', ['#GP@next']],
      ['the page fault of the divisor, before division by 0', 'xor eax, eax\nnext: div dword [rsi]', ['#PF@next']],
      ['the page fault, before an SSE exception', 'push 0\nldmxcsr [rsp]\nnext: divps xmm0, [rsi]', ['#PF@next']],
    ],
  ],
  [
    'after MOV SS',
    [
      ['a trap of TF waits for the next instruction', `${SINGLE_STEP}\nmov ss, eax\nnop\nafter: nop`, ['#DB@after']],
      [
        'a data breakpoint that it met does, too',
        `${breakpoint('selector', 'access')}\nmov ss, [selector]\nnop\nafter: nop`,
        ['#DB@after'],
      ],
      [
        'a breakpoint on the next instruction is not met',
        `${breakpoint('next', 'instruction')}\nmov ss, eax\nnext: nop`,
        [],
      ],
      ['an interrupt waits', `cli\n${GET_INTERRUPT}\nsti\nmov ss, eax\nnop\nafter: nop`, ['INTR@after']],
      ['a fault of the next instruction does not', 'mov ss, eax\nnext: ud2', ['#UD@next']],
      [
        'a data breakpoint that it met is told in the handler of INT n',
        `${breakpoint('selector', 'access')}\nmov ss, [selector]\nint ${INTERRUPT}\nafter: nop`,
        ['#DB@handler of INTR', 'INTR@after'],
      ],
      ['INT3 is a trap as ever', 'mov ss, eax\nint3\nafter: nop', ['#BP@after']],
    ],
  ],
  [
    'after STI',
    [
      [
        'an interrupt waits, a trap of TF does not',
        `cli\n${GET_INTERRUPT}\n${SINGLE_STEP}\nsti\nnext: nop\nafter: nop`,
        ['#DB@next', 'INTR@next'],
      ],
      ['an NMI does not wait', `cli\nsti\n${GET_NMI}\nnext: nop`, ['NMI@next']],
    ],
  ],
];

describe.each(table)('%s', (_class, rows) => {
  test.each(rows)('%s', (_name, code, expected) => {
    expect(events(code)).toEqual(expected);
    expect(events(code, 1)).toEqual(expected);
  });
});

test.each([
  ['MOV SS', 'mov ss, eax', ['NMI@after']],
  ['another instruction', 'mov ebx, eax', ['NMI@next']],
])('an NMI that comes with %s', (_name, instruction, expected) => {
  const code = `first: ${instruction}\nnext: nop\nafter: nop`;
  const guest = bootSource(source(code), { mode: 'long' });
  const { machine, label } = guest;
  machine.setBreakpoints([label('first')]);
  expect(machine.run({ instructions: 10_000 }).kind).toBe('breakpoint');
  machine.step();
  machine.signals.nmi(0);
  expect(machine.run({ instructions: 10_000 }).kind).toBe('exited');
  expect(notedBy(guest, code)).toEqual(expected);
});

test('INIT comes before the traps on the previous instruction', () => {
  const code = `${SINGLE_STEP}\nfirst: nop\nnext: nop`;
  const trapped = (init: boolean): readonly string[] => {
    const guest = bootSource(source(code), { mode: 'long' });
    const { machine, label } = guest;
    machine.setBreakpoints([label('first')]);
    expect(machine.run({ instructions: 10_000 }).kind).toBe('breakpoint');
    machine.step();
    if (init) machine.signals.init(0);
    const stop = machine.run({ instructions: 10_000 });
    expect(stop).toMatchObject(init ? { how: 'reset requested by INIT' } : { kind: 'exited', code: 0 });
    return notedBy(guest, code);
  };
  expect(trapped(true)).toEqual([]);
  expect(trapped(false)).toEqual(['#DB@next']);
});
