/**
 * Guests that rewrite their own code. Each program ends with what it computed; it must be the same for a run at once, in
 * steps, and in slices short enough that its loops are compiled.
 */
import { describe, expect, test } from 'vitest';
import type { Stop } from '../../engine/index.ts';
import { bootSource, type SourceGuest } from '../support/source-guests.ts';

/** Ends the run with AL as exit code. */
const END = 'out 0xf4, al';
/** The bootloader's tables map 2 MiB pages: makes that at 6 MiB another name of the one at 0. */
const ALIAS = 'mov rbx, cr3\nmov qword [rbx + 0x2000 + 3 * 8], 0x83\nmov rbx, cr3\nmov cr3, rbx';
const ALIAS_OFFSET = 0x60_0000;

/** Short loops are hot, too. */
const internals = { hotSpots: { hotAfter: 3, watchedBlocks: 24 } };

const long = (body: string): SourceGuest => bootSource(`bits 64\norg 0x8000\n${body}`, { mode: 'long' });

/** Runs to the end in slices of so many instructions. */
function exitCode({ machine }: SourceGuest, slice: number): number {
  let stop: Stop;
  do stop = machine.run({ instructions: slice });
  while (stop.kind === 'limit' && machine.instructionCount < 100_000);
  if (stop.kind !== 'exited') throw new Error(`expected the guest to exit, found ${stop.kind}`);
  return stop.code;
}

describe('code that rewrites itself', () => {
  const programs: readonly (readonly [name: string, code: number, source: string])[] = [
    ['the next instruction', 7, `mov byte [.patch + 1], 7\n.patch: mov al, 1\n${END}`],
    ['an instruction further on in the same block', 7, `mov byte [.patch + 1], 7\nnop\nnop\n.patch: mov al, 1\n${END}`],
    [
      'an instruction of a block that has run before',
      1 + 9,
      `mov ecx, 2\n.again: call .patched\nadd bl, al\nmov byte [.patched + 1], 9\nloop .again\nmov al, bl\n${END}\n.patched: mov al, 1\nret`,
    ],
    [
      'an instruction into a shorter one, so that others follow',
      2,
      `mov ecx, 2\n.again: xor eax, eax\n.patch: add eax, 0x40404040\nmov dword [.patch], 0xc0ffc0ff\nmov byte [.patch + 4], 0x90\nloop .again\n${END}`,
    ],
    [
      'a whole page of code, by REP STOSB',
      3,
      `jmp near .start\nalign 4096\n.page: mov al, 1\nret\n.start: call .page\nmov edi, .page\nmov ecx, 3\nlea rsi, [.code]\nrep movsb\ncall .page\n${END}\n.code: mov al, 3\nret`,
    ],
    [
      'code on another page',
      1 + 5,
      `call .far\nmov bl, al\nmov byte [.far + 1], 5\ncall .far\nadd al, bl\n${END}\nalign 4096\n.far: mov al, 1\nret`,
    ],
    [
      'code through another linear address',
      1 + 4,
      `${ALIAS}\ncall .sub\nmov dl, al\nmov byte [.sub + 1 + ${ALIAS_OFFSET}], 4\ncall .sub\nadd al, dl\n${END}\n.sub: mov al, 1\nret`,
    ],
    [
      'the second page of an instruction on two pages',
      0x12 + 0x34,
      `call .sub\nmov bl, al\nmov byte [.sub + 1], 0x34\ncall .sub\nadd al, bl\n${END}\nalign 4096\ntimes 4095 nop\n.sub: mov al, 0x12\nret`,
    ],
    [
      'the loop that runs, from its own store',
      64 + 2 * 35,
      // The store reaches the immediate byte of ADD in the 64th round, when the ADD of that round is done.
      `xor eax, eax\nmov bl, 2\nmov ecx, 99\nlea rdi, [.add + 2 - 63 * 4096]\n.loop:\n.add: add eax, 1\nmov [rdi], bl\nadd rdi, 4096\ndec ecx\njnz .loop\n${END}`,
    ],
    [
      'a branch of a hot loop into one that leaves it',
      50,
      `xor eax, eax\nlea rdi, [.jump - 49 * 4096]\n.loop: inc eax\nmov word [rdi], 0x9090\nadd rdi, 4096\ncmp eax, 200\n.jump: jne .loop\n${END}`,
    ],
  ];

  for (const [name, code, source] of programs) {
    test.each([1, 2, 7, 100_000])(`${name}, in slices of %i`, (slice) => {
      // Far enough up for stores that come from below, a page apart.
      const guest = bootSource(`bits 64\norg 0x100000\n${source}`, { mode: 'long', internals });
      expect(exitCode(guest, slice)).toBe(code);
    });
  }

  test('the loop that rewrites itself was compiled', () => {
    const source = programs.find(([name]) => name.startsWith('the loop'))?.[2] ?? '';
    const guest = bootSource(`bits 64\norg 0x100000\n${source}`, { mode: 'long', internals });
    for (let call = 0; call < 10; call++) guest.machine.run({ instructions: 20 });
    expect(guest.machine.host.executor.regions.compiledSoFar).toBeGreaterThan(0);
  });
});

describe('breakpoints in code that is rewritten', () => {
  const SOURCE = `mov ecx, 3\nagain: mov byte [patch + 1], cl\npatch: mov al, 99\nadd bl, al\nloop again\nmov al, bl\n${END}`;

  test('stop before each execution, and let the new code run', () => {
    const guest = long(SOURCE);
    const address = guest.label('patch');
    guest.machine.setBreakpoints([address]);
    for (let round = 0; round < 3; round++) {
      expect(guest.machine.run()).toEqual({ kind: 'breakpoint', vcpu: 0, address });
    }
    expect(guest.machine.run()).toMatchObject({ kind: 'exited', code: 3 + 2 + 1 });
  });

  test('stop where an instruction begins that the guest has just made', () => {
    const guest = long(`mov word [patch], 0xb090\nmov byte [patch + 2], 5\npatch: mov al, 99\nnop\n${END}`);
    const inside = guest.label('patch') + 1n;
    guest.machine.setBreakpoints([inside]);
    expect(guest.machine.run()).toEqual({ kind: 'breakpoint', vcpu: 0, address: inside });
    expect(guest.machine.run()).toMatchObject({ kind: 'exited', code: 5 });
  });

  test('stop at one linear address, not at another of the same code', () => {
    const guest = long(`${ALIAS}\ncall sub\ncall sub + ${ALIAS_OFFSET}\n${END}\nsub: mov al, 1\nret`);
    const address = guest.label('sub') + BigInt(ALIAS_OFFSET);
    guest.machine.setBreakpoints([address]);
    expect(guest.machine.run()).toEqual({ kind: 'breakpoint', vcpu: 0, address });
    expect(guest.machine.run()).toMatchObject({ kind: 'exited' });
  });
});
