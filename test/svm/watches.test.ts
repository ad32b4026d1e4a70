/** Data breakpoints with AMD-V: on fields of the VMCB, whoever writes or reads them. */
import { expect, test } from 'vitest';
import type { WatchTarget } from '../../engine/machine/machine-api.ts';
import { bootSourceFile } from '../support/source-guests.ts';
import { SAMPLE } from './sample-file.ts';

/** Who accessed the target, at the first stops. */
function accesses(target: WatchTarget, access: 'read' | 'write', stops: number): string[] {
  const { machine } = bootSourceFile(SAMPLE, { mode: 'protected', cpu: { model: 'epyc' } });
  machine.setWatches([{ target, read: access === 'read', write: access === 'write' }]);
  return Array.from({ length: stops }, () => {
    const stop = machine.run();
    return stop.kind === 'watch' ? stop.hits.map(({ by, after }) => `${by}: ${after?.toString(16)}`).join() : stop.kind;
  });
}

test('#VMEXIT writes EXITCODE', () => {
  const target: WatchTarget = { kind: 'vmcs-field', name: 'EXITCODE' };
  expect(accesses(target, 'write', 2)).toEqual(['#VMEXIT VMEXIT_CPUID: 72', '#VMEXIT VMEXIT_VMMCALL: 81']);
});

test('the handler reads it, as memory', () => {
  const target: WatchTarget = { kind: 'vmcs-field', name: 'EXITCODE' };
  expect(accesses(target, 'read', 1)).toEqual(['MOV: 72']);
});

test('an exit writes RIP, and the handler, to skip the instruction', () => {
  const [first = '', second = ''] = accesses({ kind: 'vmcs-field', name: 'RIP' }, 'write', 2);
  expect(first).toMatch(/^#VMEXIT VMEXIT_CPUID: /);
  expect(second).toMatch(/^ADD: /);
});

test('registers that VMRUN loads are told with it', () => {
  const [first] = accesses({ kind: 'control-register', name: 'cr2' }, 'write', 1);
  expect(first).toBe('exited');
  const hits = accesses({ kind: 'msr', index: 0xc000_0080 }, 'write', 3);
  expect(hits.at(-1)).toMatch(/^(WRMSR|VM entry \(VMRUN\)|#VMEXIT \w+): /);
});
