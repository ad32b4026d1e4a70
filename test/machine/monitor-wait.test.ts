import { describe, expect, test } from 'vitest';
import { startAll } from '../support/application-processors.ts';
import { startTimer, TIMER_INTERRUPTS } from '../support/interrupt-controller.ts';
import { interruptTable } from '../support/interrupt-table.ts';
import { bootSource, type SourceGuest } from '../support/source-guests.ts';

/** Waits for five ticks of the timer, 10 ms each, with `wait`; RBX counts how often it woke. */
const ticks = (wait: string, cpus = 1): SourceGuest =>
  bootSource(
    `bits 64
org 0x100000
start:
  lidt [idtr]
${TIMER_INTERRUPTS}
${startTimer('periodic', 11932)}
  xor ebx, ebx
.idle:
  ${wait}
  cli
  inc rbx
  cmp dword [counter], 5
  jb .idle
  mov al, 0
  out 0xf4, al
on_timer:
  push rax
  inc dword [counter]
  mov al, 0x20
  out 0x20, al
  pop rax
  iretq
${interruptTable({ 32: 'on_timer' })}
counter: dd 0`,
    { mode: 'long', cpus },
  );

const MONITOR = 'lea rax, [counter] \n xor ecx, ecx \n xor edx, edx \n monitor \n xor eax, eax';

function run({ machine }: SourceGuest, slice: number) {
  let stop = machine.run({ instructions: slice });
  while (stop.kind === 'limit') stop = machine.run({ instructions: slice });
  expect(stop).toEqual({ kind: 'exited', code: 0, how: 'debug exit' });
  const rbx = machine.vcpus[0]?.readRegister('rbx') ?? 0n;
  return { wakes: Number(rbx), instructions: machine.instructionCount, hash: machine.stateHash() };
}

describe('MWAIT', () => {
  test('passes the time until the timer, as HLT does', () => {
    const halted = run(ticks('sti \n hlt'), 1_000_000);
    const waited = run(ticks(`${MONITOR} \n sti \n mwait`), 1_000_000);
    expect(halted.wakes).toBe(5);
    expect(waited.wakes).toBeLessThan(20);
    expect(waited.instructions).toBeLessThan(1000);
  });
  test('with interrupts masked wakes by them all the same, if asked to', () => {
    const { wakes, instructions } = run(ticks(`${MONITOR} \n mov ecx, 1 \n mwait \n sti \n nop`), 1_000_000);
    expect(wakes).toBeLessThan(20);
    expect(instructions).toBeLessThan(1000);
  });
  test('without MONITOR before it does nothing', () => {
    const { machine, label } = ticks('xor ecx, ecx \n sti \n mwait');
    expect(machine.run({ instructions: 50_000 })).toEqual({ kind: 'limit' });
    expect(machine.vcpus[0]?.peek('linear', label('counter'), 1)[0]).toBe(0);
  });
  test('passes the time as well while the other processors wait to be started', () => {
    const { wakes, instructions } = run(ticks(`${MONITOR} \n sti \n mwait`, 3), 1_000_000);
    expect(wakes).toBeLessThan(20);
    expect(instructions).toBeLessThan(1000);
  });
  test('gives the same run however it is cut', () => {
    const wait = `${MONITOR} \n sti \n mwait`;
    expect(run(ticks(wait), 7)).toEqual(run(ticks(wait), 1_000_000));
  });
});

/** Application processors that wait for stores to `line`, in turns: each counts its wakes in `wakes`, 16 bits a processor. */
const WATCHER = `cli
        xor     ax, ax
        mov     ds, ax
        mov     bx, 1
        lock xadd [next], bx
        add     bx, bx
.again: mov     eax, line
        xor     ecx, ecx
        xor     edx, edx
        monitor
        mov     ax, [line]
        cmp     ax, [seen + bx]
        jne     .seen
        xor     eax, eax
        mwait
        inc     word [wakes + bx]
        jmp     .again
.seen:  mov     [seen + bx], ax
        jmp     .again
        align   64
line:   dq      0, 0, 0, 0, 0, 0, 0, 0
other:  dq      0, 0, 0, 0, 0, 0, 0, 0
next:   dw      0
seen:   dw      0, 0, 0
wakes:  dw      0, 0, 0`;
/** Lets the others run for some quanta. */
const delay = (name: string) => `mov ecx, 100000\n.${name}: dec ecx\njnz .${name}`;

describe('MWAIT of several processors', () => {
  const wakes = (guest: SourceGuest): number[] => {
    const bytes = guest.machine.vcpus[0]?.peek('linear', guest.label('wakes'), 6) ?? new Uint8Array();
    return [0, 2, 4].map((at) => (bytes[at] ?? 0) + 256 * (bytes[at + 1] ?? 0));
  };
  const ended = (bootstrap: string, application = WATCHER): SourceGuest => {
    const guest = startAll(application, `${delay('first')}\n${bootstrap}\n${delay('last')}\nhlt`);
    expect(guest.machine.run({ instructions: 50_000_000 }).kind).toBe('halted');
    return guest;
  };
  const activities = ({ machine }: SourceGuest) => machine.vcpus.slice(1).map((vcpu) => vcpu.mode().activityState);

  test('waits while others run, and says so', () => {
    const guest = ended('');
    expect(wakes(guest)).toEqual([0, 0, 0]);
    expect(activities(guest)).toEqual(['MWAIT', 'MWAIT', 'MWAIT']);
    // The delays of the bootstrap processor are nearly all that was executed.
    expect(guest.machine.instructionCount).toBeLessThan(300_000 * 2 + 5000);
  });
  test.each([
    ['a store to the line', 'mov byte [line], 1', [1, 1, 1]],
    ['a store of what is there already', 'mov byte [line], 0', [1, 1, 1]],
    ['a store to its last byte', 'mov byte [line + 63], 0', [1, 1, 1]],
    ['a store that ends in it', 'mov dword [line - 3], 0', [1, 1, 1]],
    ['a read-modify-write', 'lock inc dword [line + 8]', [1, 1, 1]],
    ['a string instruction', 'mov edi, line \n mov ecx, 16 \n xor eax, eax \n rep stosq', [1, 1, 1]],
    ['two stores, one soon after the other', 'inc byte [line] \n inc byte [line]', [1, 1, 1]],
    ['two stores, with time between', `inc byte [line] \n ${delay('between')} \n inc byte [line]`, [2, 2, 2]],
    ['a store before the line', 'mov byte [line - 1], 90h', [0, 0, 0]],
    ['a store behind the line', 'mov qword [other], 1', [0, 0, 0]],
    ['a load', 'mov al, [line]', [0, 0, 0]],
    [
      'INIT of one of them',
      `mov dword [rbx + 310h], 2 << 24 \n mov dword [rbx + 300h], 4500h \n ${delay('init')} \n inc byte [line]`,
      [1, 0, 1],
    ],
  ])('%s', (_name, code, expected) => {
    expect(wakes(ended(code))).toEqual(expected);
  });

  test('a store between MONITOR and MWAIT leaves nothing to wait for', () => {
    const guest = bootSource(
      'bits 64 \n org 0x8000 \n mov eax, line \n xor ecx, ecx \n xor edx, edx \n monitor \n mov byte [line], 1 \n mwait \n mov al, 7 \n out 0xf4, al \n align 64 \n line: dq 0',
      { mode: 'long' },
    );
    expect(guest.machine.run({ instructions: 1000 })).toMatchObject({ kind: 'exited', code: 7 });
  });

  /** One that waits with interrupts masked gets an NMI, or an interrupt with vector 40H. */
  const interrupted = (extension: number, icr: string): bigint[] => {
    const guest = startAll(
      `cli \n xor ax, ax \n mov ds, ax \n mov word [8], on_nmi \n mov word [10], 0
       o32 lgdt [gdtr] \n mov eax, cr0 \n inc ax \n mov cr0, eax \n mov bx, 8 \n mov es, bx \n dec ax \n mov cr0, eax
       mov eax, 0FEE000F0h \n mov dword [es:eax], 1FFh
       mov eax, line \n xor ecx, ecx \n xor edx, edx \n monitor
       mov cl, ${extension} \n xor eax, eax \n mwait \n mov bp, 1 \n cli \n hlt \n on_nmi: mov dx, 1 \n iret
       align 64 \n line: dq 0 \n gdt: dq 0, 008F93000000FFFFh \n gdtr: dw 15 \n dd gdt`,
      `${delay('first')} \n mov dword [rbx + 310h], 2 << 24 \n mov dword [rbx + 300h], ${icr} \n hlt`,
    );
    guest.machine.run({ instructions: 50_000_000 });
    return ['bp', 'dx'].map((name) => guest.machine.vcpus[2]?.readRegister(name) ?? -1n);
  };
  test('ends by an NMI, behind whose handler it goes on after MWAIT', () => {
    expect(interrupted(0, '4400h')).toEqual([1n, 1n]);
  });
  test('ends by a masked interrupt only if asked to', () => {
    expect(interrupted(1, '4040h')).toEqual([1n, 0n]);
    expect(interrupted(0, '4040h')).toEqual([0n, 0n]);
  });

  test('is the same again after going back', () => {
    const { machine } = startAll(
      WATCHER,
      `mov esi, 5 \n .turn: inc byte [line] \n ${delay('last')} \n dec esi \n jnz .turn \n hlt`,
    );
    machine.history.checkpoint();
    const places = [300_000, 150_000, 100_000, 50_000, 25_000].map((instructions) => {
      machine.run({ instructions });
      return { position: machine.history.position, hash: machine.stateHash() };
    });
    const end = machine.run({ instructions: 50_000_000 });
    const last = machine.stateHash();
    for (const { position, hash } of places.reverse()) {
      machine.history.goTo(position);
      expect(machine.stateHash()).toBe(hash);
    }
    expect([machine.run({ instructions: 50_000_000 }), machine.stateHash()]).toEqual([end, last]);
  });
  test('gives the same run however it is cut', () => {
    const cut = (instructions: number) => {
      const { machine } = startAll(
        WATCHER,
        `mov esi, 5 \n .turn: inc byte [line] \n ${delay('last')} \n dec esi \n jnz .turn \n hlt`,
      );
      let stop = machine.run({ instructions });
      while (stop.kind === 'limit') stop = machine.run({ instructions });
      return { kind: stop.kind, count: machine.instructionCount, hash: machine.stateHash() };
    };
    expect(cut(997)).toEqual(cut(10_000_000));
  });
});

describe('what MONITOR and MWAIT refuse', () => {
  /** The vector of the exception that ends the code, of which the IDT shows no other; or 0. */
  const outcome = (code: string): string => {
    const { machine } = bootSource(`bits 64 \n org 0x8000 \n ${code} \n mov al, 0 \n out 0xf4, al`, { mode: 'long' });
    const stop = machine.run({ instructions: 1000 });
    if (stop.kind === 'exited') return 'nothing';
    if (stop.kind !== 'shutdown') throw new Error(`found ${stop.kind}`);
    return /It began with (#\w+)/.exec(stop.explanation)?.[1] ?? stop.explanation;
  };
  test.each([
    ['MONITOR', 'xor ecx, ecx \n monitor', 'nothing'],
    ['MONITOR with an extension', 'mov ecx, 1 \n monitor', '#GP'],
    ['MONITOR of a line that is not mapped', 'xor ecx, ecx \n mov rax, 1 << 40 \n monitor', '#PF'],
    ['MONITOR of what is not canonical', 'xor ecx, ecx \n mov rax, 1 << 50 \n monitor', '#GP'],
    [
      'MONITOR by the base of FS',
      'xor eax, eax \n mov ecx, 0xc0000100 \n mov edx, 0x100 \n wrmsr \n xor ecx, ecx \n fs monitor',
      '#PF',
    ],
    ['MWAIT with an extension', 'mov ecx, 2 \n mwait', '#GP'],
    [
      'MONITOR that IA32_MISC_ENABLE turns off',
      'mov ecx, 0x1a0 \n rdmsr \n btr eax, 18 \n wrmsr \n xor ecx, ecx \n monitor',
      '#UD',
    ],
  ])('%s', (_name, code, expected) => {
    expect(outcome(code)).toBe(expected);
  });
});
