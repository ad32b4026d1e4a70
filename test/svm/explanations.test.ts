/** What is said of a #VMEXIT: which bits asked for it, what the handler has to do, and how the guest goes on. */
import { describe, expect, test } from 'vitest';
import { explainVmexit } from '../../engine/inspect/explain-vmexit.ts';
import { explainNestedFault } from '../../engine/inspect/nested-denial.ts';
import { ExitCode, exitCodeTable, FirstCode } from '../../engine/svm/exit-codes.ts';
import { svmHandlerOf, svmStandingAfter } from '../../engine/svm/exit-handlers.ts';
import { svmExitInfo } from '../../engine/svm/exit-info.ts';
import { MAX_REASONS } from '../../engine/vmx/exit-log-layout.ts';
import { EXIT_REASON_COUNT } from '../../engine/vmx/exit-reasons.ts';
import { GUEST_RIP, IOPM, MSRPM, SvmMachine } from './machine.ts';

/** The explanation of the exit that the machine has just taken. */
function words({ svm, state, physical, mmu }: SvmMachine): string {
  const gpr = (index: number) => (index === 0 ? svm.guestRax : state.gpr(index));
  const registers = { gpr, gpr32: (index: number) => Number(gpr(index) & 0xffff_ffffn) };
  const info = svmExitInfo(svm.parts);
  const nested = () => {
    const { nestedPaging } = svm;
    return nestedPaging ? explainNestedFault(mmu, nestedPaging, Number(info.info2), Number(info.info1 & 0xffn)) : [];
  };
  return explainVmexit(info, registers, physical, nested).explanation.join('\n');
}

test('every exit code says where the guest stands and what to do', () => {
  for (const { code, name } of exitCodeTable) {
    expect(svmStandingAfter(code), name).toBeDefined();
    expect(svmHandlerOf(code), name).toMatch(/\.$/);
  }
  expect([svmStandingAfter(0x300), svmHandlerOf(0x300)]).toEqual([undefined, undefined]);
});

describe('the cause', () => {
  test('of an instruction, and how to skip it', () => {
    const text = words(new SvmMachine().intercept(ExitCode.CPUID).enter().step('0f a2'));
    expect(text).toContain('It exits because bit 18 of “Intercept vector 3” of the VMCB is 1.');
    expect(text).toContain(`the next one is at 0x${(GUEST_RIP + 2).toString(16)} (nRIP)`);
    expect(text).toContain('GIF = 0');
  });

  test('of one whose length the processor does not tell', () => {
    const machine = new SvmMachine({ NRIPS: false }).intercept(ExitCode.CPUID).enter().step('0f a2');
    expect(words(machine)).toContain('decode it to find its length');
  });

  test('of a port, with its bit in the map', () => {
    const machine = new SvmMachine().intercept(ExitCode.IOIO).enter();
    machine.physical.writeU8(IOPM + 0x60 / 8, 1);
    expect(words(machine.step('e4 60'))).toContain(`port 0x60: byte 0x${(IOPM + 0x60 / 8).toString(16)}, bit 0`);
  });

  test('of an MSR, with its bit in the map, or because the map does not have it', () => {
    const rdmsr = (msr: bigint) => {
      const machine = new SvmMachine().intercept(ExitCode.MSR).enter();
      machine.physical.writeU8(MSRPM + 0x800 + 0x20, 1 << 4);
      machine.state.setGpr(1, msr);
      return words(machine.step('0f 32'));
    };
    // Two bits an MSR: EFER is number 80H of the second range.
    expect(rdmsr(0xc000_0082n)).toContain(`byte 0x${(MSRPM + 0x820).toString(16)}, bit 4`);
    expect(rdmsr(0x4000_0000n)).toContain('MSR 0x40000000 is outside of the MSR permissions map');
  });

  test('of an exception, and how the guest gets it after all', () => {
    const machine = new SvmMachine().intercept(FirstCode.exception + 14).enter();
    const text = words(machine.step('0f 01 1c 25 00 00 40 00'));
    expect(text).toContain('write 0x80000b0e to EVENTINJ and 0x400000 (EXITINFO2) to CR2');
  });

  test('an event whose delivery was interrupted is to be injected again', () => {
    const machine = new SvmMachine().intercept(FirstCode.exception + 13).enter();
    // There is no gate of vector 2AH.
    expect(words(machine.step('cd 2a'))).toContain('by writing EXITINTINFO (0x8000042a) to EVENTINJ');
  });
});

describe('nested paging: the entry that denies', () => {
  const TABLES = 0x4_0000;
  const LAZY = 0x6_0000;
  /** The explanation of an access to the page whose entry is changed. */
  function nested(change: (value: number) => number, hex: string): string {
    const machine = new SvmMachine().set({ NP_ENABLE: 1, N_CR3: TABLES });
    buildTables(machine, change);
    return words(machine.enter().step(hex));
  }

  /** The first 2 MiB, page by page, of which the one at LAZY is `change`d. */
  function buildTables({ physical }: SvmMachine, change: (value: number) => number): void {
    for (const level of [0, 1, 2]) physical.writeU32(TABLES + level * 0x1000, (TABLES + level * 0x1000 + 0x1000) | 7);
    for (let page = 0; page < 512; page++) {
      const value = (page * 0x1000) | 7;
      physical.writeU32(TABLES + 0x3000 + page * 8, page === LAZY / 0x1000 ? change(value) : value);
    }
  }

  /** SGDT to LAZY. */
  const store = '0f 01 04 25 00 00 06 00';
  test.each([
    ['not present', () => 0, 'Nested PTE 96 is not present.'],
    ['a supervisor’s page', (value: number) => value & ~4, 'Nested PTE 96 denies the guest all accesses (U/S = 0).'],
    ['a page that is read only', (value: number) => value & ~2, 'Nested PTE 96 denies writes (R/W = 0).'],
  ])('%s', (_name, change, sentence) => {
    const text = nested(change, store);
    expect(text).toContain(sentence);
    expect(text).toContain('Nested page-table entries for guest-physical 0x60000, from N_CR3 0x40000: nested PML4E 0');
  });

  test('a reserved bit', () => {
    const machine = new SvmMachine().set({ NP_ENABLE: 1, N_CR3: TABLES });
    buildTables(machine, (value) => value);
    // Bit 50, beyond the physical addresses.
    machine.physical.writeU32(TABLES + 0x3004 + (LAZY / 0x1000) * 8, 1 << 18);
    expect(words(machine.enter().step(store))).toContain('Nested PTE 96 has a reserved bit set.');
  });

  test('what the tables allow by now', () => {
    const machine = new SvmMachine().set({ NP_ENABLE: 1, N_CR3: TABLES });
    buildTables(machine, () => 0);
    machine.enter().step(store);
    buildTables(machine, (value) => value);
    expect(words(machine)).toContain('TLB_CONTROL');
  });
});

test('the log has room for all exit codes and all basic exit reasons', () => {
  expect(exitCodeTable.length).toBeLessThanOrEqual(MAX_REASONS);
  expect(EXIT_REASON_COUNT).toBeLessThanOrEqual(MAX_REASONS);
});
