import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { ENTRY_FAILURE, ExitReason } from '../../engine/vmx/exit-reasons.ts';
import { afterExit, casesElsewhere, exitCases } from './exit-cases.ts';
import { exitsPage, gaps } from './exits-page.ts';
import { informationCases, informationGuest } from './information-cases.ts';
import { insn } from './machine.ts';

describe('VM exits', () => {
  it.each(exitCases.map((exitCase) => [exitCase.reason, exitCase.name, exitCase] as const))(
    '%s: %s',
    (_, __, wanted) => {
      const m = afterExit(wanted);
      expect(m.exitReason & ~ENTRY_FAILURE).toBe(ExitReason[wanted.reason]);
      expect(m.read('Exit qualification')).toBe(BigInt(wanted.qualification ?? 0));
      if (wanted.linear !== undefined) expect(m.read('Guest-linear address')).toBe(BigInt(wanted.linear));
      if (wanted.physical !== undefined) expect(m.read('Guest-physical address')).toBe(BigInt(wanted.physical));
      // A failed VM entry leaves the fields below alone.
      if (m.exitReason >= ENTRY_FAILURE) return;
      expect(m.read('VM-exit interruption information')).toBe(BigInt(wanted.interruption ?? 0));
      expect(m.read('IDT-vectoring information field')).toBe(BigInt(wanted.vectoring ?? 0));
      if (wanted.errorCode !== undefined)
        expect(m.read('VM-exit interruption error code')).toBe(BigInt(wanted.errorCode));
    },
  );
});

describe('instruction information', () => {
  it.each(informationCases.map((information) => [information.name, information] as const))('%s', (_, wanted) => {
    const m = informationGuest(wanted.is32Bit);
    for (const { hex, information, qualification } of wanted.rows) {
      if (!m.state.nonRoot) m.step(insn.vmresume);
      m.step(hex);
      expect(m.exitReason, hex).toBe(ExitReason[wanted.reason]);
      expect(m.read('VM-exit instruction information').toString(16), hex).toBe(BigInt(information).toString(16));
      if (qualification !== undefined)
        expect(m.read('Exit qualification'), hex).toBe(BigInt.asUintN(64, qualification));
    }
  });
});

it('every value of every part is shown, and every exit reason has a test or cannot come', () => {
  expect(gaps()).toEqual([]);
});

it('the tests elsewhere are there', () => {
  for (const { file, title } of casesElsewhere) {
    expect(readFileSync(new URL(file, import.meta.url), 'utf8')).toContain(`it('${title}'`);
  }
});

it('the page of exits is that of the tables', async () => {
  await expect(exitsPage()).toMatchFileSnapshot(fileURLToPath(new URL('../../docs/vm-exits.md', import.meta.url)));
});
