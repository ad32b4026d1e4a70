/** A jump to RIP 0 from a compiled region, when the jump cache has nothing there: its empty entries look like one for 0. */
import { expect, test } from 'vitest';
import { bootSource } from '../support/source-guests.ts';

const SLICES = 50;

test('a region that jumps to RIP 0 leaves', () => {
  // At 0 there is OUT, which ends the run; the jump goes there once, from compiled code that has been elsewhere so far.
  const source = `bits 64
org 0x8000
mov dword [0], 0xf4e6 | 1 << 16
lea rbx, [again]
xor edx, edx
mov ecx, 400
again: dec ecx
cmovz rbx, rdx
mov eax, 1
jmp rbx`;
  const { machine } = bootSource(source, { mode: 'long', internals: { hotSpots: { hotAfter: 1, watchedBlocks: 2 } } });
  let stop = machine.run({ instructions: 20 });
  for (let slice = 0; slice < SLICES && stop.kind === 'limit'; slice++) stop = machine.run({ instructions: 50 });
  expect(stop).toMatchObject({ kind: 'exited', code: 1 });
  expect(machine.host.executor.regions.compiledSoFar).toBeGreaterThan(0);
});
