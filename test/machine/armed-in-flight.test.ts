/** Filters that are armed while the guest runs: what was carried out in WebAssembly until then stops the run from then on. */
import { expect, test } from 'vitest';
import type { StopFilter } from '../../engine/index.ts';
import { interruptTable } from '../support/interrupt-table.ts';
import { bootSource } from '../support/source-guests.ts';

/** Page faults without end; the handler skips the three bytes of the access. */
const GUEST = `
bits 64
org 0x100000
  lidt [idtr]
  mov rbx, 1 << 33
again:
  mov rax, [rbx]
  jmp again
handler:
  add rsp, 8
  add qword [rsp], 3
  iretq
${interruptTable({ 14: 'handler' })}
`;

test.each<StopFilter>(['page-fault', 'exception'])('%s', (filter) => {
  const { machine, label } = bootSource(GUEST, { mode: 'long' });
  for (let round = 0; round < 3; round++) {
    expect(machine.run({ instructions: 5000 })).toEqual({ kind: 'limit' });
    machine.setFilter(filter, true);
    for (let stop = 0; stop < 3; stop++) {
      expect(machine.run({ instructions: 100 })).toMatchObject({ kind: 'event', event: { filter } });
      expect(machine.vcpus[0]?.rip).toBe(label('again'));
    }
    machine.setFilter(filter, false);
  }
});
