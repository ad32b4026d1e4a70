/** The interpreter against vectors recorded from a real CPU. */
import { describe, expect, test } from 'vitest';
import { differences, VectorMachine } from '../support/vector-machine.ts';
import type { Mode } from '../vectors/layout.ts';
import { readVectors, vectorGroups } from '../vectors/read-vectors.ts';

const machines = new Map<Mode, VectorMachine>();
function machineOf(mode: Mode): VectorMachine {
  let machine = machines.get(mode);
  if (!machine) machines.set(mode, (machine = new VectorMachine(mode)));
  return machine;
}

describe('the interpreter computes what the CPU did', () => {
  for (const group of vectorGroups()) {
    test(group, () => {
      const wrong: string[] = [];
      let count = 0;
      for (const vector of readVectors(group)) {
        count++;
        const found = differences(vector, machineOf(vector.mode).run(vector));
        if (found.length > 0) wrong.push(`${vector.id} ${vector.name} ${vector.disassembly}: ${found.join('; ')}`);
      }
      expect(count).toBeGreaterThan(0);
      expect(wrong.slice(0, 20).join('\n'), `${wrong.length} of ${count} differ`).toEqual('');
    });
  }
});
