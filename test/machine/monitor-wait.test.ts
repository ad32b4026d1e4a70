import { describe, expect, test } from 'vitest';
import { TIMER_INTERRUPTS } from '../support/interrupt-controller.ts';
import { bootSource, type SourceGuest } from '../support/source-guests.ts';

/** Waits for five ticks of the timer, 10 ms each, with `wait`; RBX counts how often it woke. */
const ticks = (wait: string, cpus = 1): SourceGuest =>
  bootSource(
    `bits 64
org 0x100000
start:
  mov eax, on_timer
  mov [idt + 0x20 * 16], ax
  mov word [idt + 0x20 * 16 + 2], 8
  mov word [idt + 0x20 * 16 + 4], 0x8e00
  shr eax, 16
  mov [idt + 0x20 * 16 + 6], ax
  lidt [idtr]
${TIMER_INTERRUPTS}
  mov al, 0x34
  out 0x43, al
  mov al, 11932 & 255
  out 0x40, al
  mov al, 11932 >> 8
  out 0x40, al
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
idtr: dw 0x21 * 16 - 1
  dq idt
align 16
idt: times 0x21 * 16 db 0
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
