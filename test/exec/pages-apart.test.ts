/**
 * Compiled code keeps a page of the stack at hand. Here linear pages that follow one another lie apart
 * in memory, so that an access on two of them, or one to another page than before, must not be taken for one to what is kept.
 */
import { expect, test } from 'vitest';
import { bootSource } from '../support/source-guests.ts';

/** The bootloader's tables map 2 MiB pages: makes that at 6 MiB another name of the one at 0. */
const ALIAS = 'mov rbx, cr3\nmov qword [rbx + 0x2000 + 3 * 8], 0x83\nmov rbx, cr3\nmov cr3, rbx';
/** Below the boundary, and what is on both sides of it. */
const VALUES =
  'mov rsi, 0x5ffff8\nmov rax, 0x1122334499aabbcc\nmov [rsi], rax\nmov rax, 0xddeeff0055667788\nmov [rsi + 8], rax';
const ROUNDS = 100_000;

const programs = [
  [
    'an access on two pages of the stack, of which the second is kept',
    `mov rsp, 0x600100\nmov rdi, 0x5566778811223344\n.loop: push rcx\npop rdx\nmov rax, [rsp - 0x104]`,
  ],
  [
    'an access of a loop that is on two pages every other time',
    `mov rdi, 0x5566778811223344\nmov rsi, 0x600000\nmov r8, 0x600000 ^ 0x5ffffc\n.loop: xor rsi, r8\nmov rax, [rsi]\nxor rsi, r8\nmov rdx, [rsi]`,
  ],
  [
    'an access of a loop to one page and to another in turns',
    `mov rdi, 0x11223344\nmov rsi, 0x600000\nmov r8, 0x600000 ^ 0x5ffffc\n.loop: xor rsi, r8\nmov eax, [rsi]\ncmp eax, edi\njne .bad\nxor rsi, r8\nmov edx, [rsi]\ncmp edx, 0x55667788\njne .bad\nmov rax, rdi`,
  ],
  [
    'a store of a loop to one page and to another in turns',
    `mov rdi, 0x1234\nmov rsi, 0x600008\nmov r8, 0x600008 ^ 0x5fffe8\nmov r9, 0x5fffe8\n.loop: xor rsi, r8\nmov [rsi], rdi\nxor rsi, r8\nmov [rsi], rcx\nmov rax, [r9]`,
  ],
] as const;

test.each(programs)('%s', (_name, body) => {
  const end = `cmp rax, rdi\njne .bad\ndec rcx\njnz .loop\nmov al, 1\nout 0xf4, al\n.bad: mov al, 2\nout 0xf4, al`;
  const source = `bits 64\norg 0x8000\n${ALIAS}\n${VALUES}\nmov rcx, ${ROUNDS}\n${body}\n${end}`;
  const { machine } = bootSource(source, { mode: 'long' });
  expect(machine.run()).toMatchObject({ kind: 'exited', code: 1 });
  expect(machine.instructionCount).toBeGreaterThan(ROUNDS);
  expect(machine.host.executor.regions.compiledSoFar, 'the loop was compiled').toBeGreaterThan(0);
});
