/** RFLAGS.RF as interrupts and traps save it in the middle of a repeated string instruction, and elsewhere. */
import { describe, expect, test } from 'vitest';
import { startTimer, TIMER_INTERRUPTS } from '../support/interrupt-controller.ts';
import { interruptTable } from '../support/interrupt-table.ts';
import { bootSource, type SourceGuest } from '../support/source-guests.ts';

/** A timer interrupt every 10 microseconds; the handlers gather the saved RFLAGS, until twenty interrupts have come. */
const guest = (work: string): SourceGuest =>
  bootSource(
    `bits 64
org 0x100000
start:
  lidt [idtr]
${TIMER_INTERRUPTS}
${startTimer('periodic', 12)}
.again:
  mov edi, buffer
  mov esi, buffer
  mov edx, 0xe9
  mov ecx, 100000
  ${work}
  jmp .again
on_timer:
  push rax
  mov rax, [rsp + 24]
  or [any], rax
  and [all], rax
  mov al, 0x20
  out 0x20, al
  inc dword [counter]
  cmp dword [counter], 20
  je end
  pop rax
  iretq
on_debug:
  push rax
  mov rax, [rsp + 24]
  or [any], rax
  and [all], rax
  pop rax
end:
  mov al, 0
  out 0xf4, al
${interruptTable({ 1: 'on_debug', 32: 'on_timer' })}
counter: dq 0
any: dq 0
all: dq -1
align 4096
buffer: times 100000 * 8 db 0`,
    { mode: 'long' },
  );

const RF = 1n << 16n;

function run({ machine, label }: SourceGuest, slice: number) {
  let stop = machine.run({ instructions: slice });
  while (stop.kind === 'limit') stop = machine.run({ instructions: slice });
  expect(stop).toEqual({ kind: 'exited', code: 0, how: 'debug exit' });
  const flag = (name: string) => {
    const bytes = machine.vcpus[0]?.peek('linear', label(name), 8) as Uint8Array;
    return (new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true) & RF) !== 0n;
  };
  return { sometimes: flag('any'), always: flag('all'), hash: machine.stateHash() };
}

describe('RF as it is saved', () => {
  test.each([
    ['between two iterations of REP STOSQ', 'sti \n rep stosq', true],
    ['between two iterations of REPE SCASB', 'sti \n mov al, 0 \n repe scasb', true],
    ['between two iterations of REP OUTSB', 'sti \n rep outsb', true],
    ['in a loop', 'sti \n jmp $', false],
    [
      'at a string instruction that has not begun',
      'sti \n mov ecx, 1 \n.next: jmp .first \n.first: rep lodsb \n mov ecx, 1 \n jmp .next',
      false,
    ],
  ])('by an interrupt %s', (_name, work, expected) => {
    const whole = run(guest(work), 10_000_000);
    expect(whole.sometimes).toBe(expected);
    expect(run(guest(work), 7)).toEqual(whole);
  });
  test.each([
    ['of an iteration that is not the last', 'rep stosb', true],
    ['of the last iteration', 'mov ecx, 4 \n rep stosb', false],
    ['of a store', 'mov [buffer + 3], al', false],
  ])('by a data breakpoint %s', (_name, work, expected) => {
    const arm = 'mov rax, buffer + 3 \n mov dr0, rax \n mov eax, 0x10001 \n mov dr7, rax';
    const { always, sometimes } = run(guest(`${arm} \n ${work}`), 10_000_000);
    expect([always, sometimes]).toEqual([expected, expected]);
  });
});

test('RF stays clear where a slice ends at a string instruction that the run has come back to', () => {
  const { machine, label } = bootSource(
    `bits 64
org 0x100000
start:
  mov rax, 0x200000
  mov dr0, rax
  mov eax, 0x401
  mov dr7, rax
again:
  mov ecx, 3
  mov edi, buffer
here:
  rep stosb
  inc edx
  jmp again
buffer: times 8 db 0`,
    { mode: 'long', internals: { hotSpots: { hotAfter: 1, watchedBlocks: 2 } } },
  );
  const { state } = machine.host;
  while (BigInt(state.rip) !== label('here')) machine.run({ instructions: 1 });
  // A round is three iterations and the four instructions around them.
  for (let rounds = 1; rounds < 1000; rounds *= 3) machine.run({ instructions: rounds * 7 });
  expect([BigInt(state.rip), state.gpr(1), state.flagsOther & Number(RF)]).toEqual([label('here'), 3n, 0]);
  machine.run({ instructions: 1 });
  expect([BigInt(state.rip), state.gpr(1), state.flagsOther & Number(RF)]).toEqual([label('here'), 2n, Number(RF)]);
});
