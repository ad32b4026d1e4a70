/** What a VM exit says about EPT's entries, and about what has to happen before VMRESUME. */
import { describe, expect, it } from 'vitest';
import { explainEptMisconfiguration, explainEptViolation } from '../../engine/inspect/ept-denial.ts';
import { explainResumption, standingAfter } from '../../engine/inspect/exit-resumption.ts';
import type { VmExitInfo } from '../../engine/vmx/exit.ts';
import { ExitReason, exitReasonTable } from '../../engine/vmx/exit-reasons.ts';
import { EPT, VmxMachine } from './machine.ts';

const EPTP = BigInt(EPT) | 0x1en;
const [READ, WRITE, FETCH] = [1n, 2n, 4n];

const exit = (values: Partial<VmExitInfo>): VmExitInfo => ({
  ...{ reason: 0, name: '', entryFailure: false, qualification: 0n, rip: 0n, guestLinear: 0n, guestPhysical: 0n },
  ...{ interruptionInformation: 0, interruptionErrorCode: 0, idtVectoringInformation: 0, vmcs: 0 },
  ...{ instructionLengthBytes: 0, instructionInformation: 0, ...values },
});
const resumption = (values: Partial<VmExitInfo>): string => explainResumption(exit(values)).join('\n');

describe('an EPT violation says which entry denied what', () => {
  const said = (entry: bigint, qualification: bigint, modeBased = false) => {
    const m = new VmxMachine().buildEpt();
    m.u64(m.eptEntry(0x5000), entry);
    return explainEptViolation(m.physical, EPTP, 0x5008n, qualification, modeBased);
  };
  const PTE = `PTE 5 at host-physical 0x${(EPT + 0x3000 + 40).toString(16)}`;

  it('with the entries on the way', () => {
    const [way] = said(0x5035n, WRITE);
    expect(way).toContain(
      `from EPTP 0x${EPTP.toString(16)}: PML4E 0 at host-physical 0x${EPT.toString(16)} is 0x15007 (RWX); PDPTE 0`,
    );
    expect(way).toContain(`${PTE} is 0x5035 (R-X).`);
  });
  it.each<[string, bigint, bigint, boolean, string]>([
    ['not present', 0x5000n, READ, false, 'PTE 5 is not present'],
    ['a write', 0x5035n, WRITE, false, 'PTE 5 denies writes: its bit 1 (W) is 0'],
    ['a read of an execute-only page', 0x5034n, READ, false, 'PTE 5 denies reads: its bit 0 (R) is 0'],
    ['a fetch', 0x5033n, FETCH, false, 'PTE 5 denies instruction fetches: its bit 2 (X) is 0'],
    [
      'a fetch by user mode',
      0x5037n,
      FETCH,
      true,
      'PML4E 0 denies user-mode instruction fetches: its bit 10 (XU) is 0',
    ],
    ['nothing, as the entry was changed since', 0x5037n, WRITE, false, 'INVEPT'],
  ])('%s', (_, entry, qualification, modeBased, verdict) => {
    expect(said(entry, qualification, modeBased)[1]).toContain(verdict);
  });
  it('an entry above the page', () => {
    const m = new VmxMachine().buildEpt();
    m.u64(EPT + 0x1000, BigInt(EPT + 0x2000) | 5n);
    expect(explainEptViolation(m.physical, EPTP, 0x5008n, WRITE, false)[1]).toContain('PDPTE 0 denies writes');
    m.u64(EPT, 0n);
    expect(explainEptViolation(m.physical, EPTP, 0x5008n, WRITE, false)[1]).toContain('PML4E 0 is not present');
  });
  it('tables outside of memory', () => {
    const { physical } = new VmxMachine();
    expect(explainEptViolation(physical, 0xf_ffff_ffff_f01en, 0n, READ, false)[0]).toContain('outside of memory');
  });
});

it.each<[bigint, string]>([
  [0x5032n, 'PTE 5 allows writes but not reads'],
  [0x5017n, 'PTE 5 has the reserved memory type 2'],
  [0x8_0000_0000_5037n, 'PTE 5 has a reserved bit set'],
])('an EPT misconfiguration says what is wrong with %s', (entry, verdict) => {
  const m = new VmxMachine().buildEpt();
  m.u64(m.eptEntry(0x5000), entry);
  expect(explainEptMisconfiguration(m.physical, EPTP, 0x5008n)[1]).toContain(verdict);
});

describe('what has to happen before VMRESUME', () => {
  it('every exit reason tells what was done, what a handler does, and where the guest stands', () => {
    for (const { number, doc, handler } of exitReasonTable) {
      expect([number, doc.endsWith('.'), handler.endsWith('.')]).toEqual([number, true, true]);
      expect([number, standingAfter(number)]).not.toContain(undefined);
      expect(explainResumption(exit({ reason: number })).length).toBeGreaterThan(0);
    }
  });
  it.each<[string, Partial<VmExitInfo>, string]>([
    ['an instruction is skipped', { reason: ExitReason.CPUID, instructionLengthBytes: 2 }, 'instruction length (2)'],
    ['an access starts over', { reason: ExitReason['EPT violation'] }, 'starts the instruction over'],
    ['a window is between instructions', { reason: ExitReason['Interrupt window'] }, 'where the guest goes on'],
    ['an APIC write is complete', { reason: ExitReason['APIC write'] }, 'that of the next one'],
    ['a triple fault is the end', { reason: ExitReason['Triple fault'] }, 'shutdown'],
    ['a failed entry is repeated', { reason: 33, entryFailure: true }, 'the same instruction enters the guest'],
  ])('%s', (_, values, sentence) => {
    expect(resumption(values)).toContain(sentence);
  });
  it('an exception is given to the guest by the VM-entry fields', () => {
    const fault = { interruptionInformation: 0x8000_0b0e, interruptionErrorCode: 6, qualification: 0x1234n };
    expect(resumption(fault)).toMatch(
      /write 0x80000b0e to .*the error code 0x6 .*the faulting address 0x1234 .*to CR2/,
    );
    expect(resumption({ interruptionInformation: 0x8000_0603, instructionLengthBytes: 1 })).toContain(
      '1 to the VM-entry instruction length',
    );
    expect(resumption({ interruptionInformation: 0x8000_0301, qualification: 0x4000n })).toContain('to DR6');
    expect(resumption({ interruptionInformation: 0x8000_0202 })).toContain('the host’s to handle');
  });
  it('an event under way is injected again', () => {
    const event = { reason: ExitReason['EPT violation'], idtVectoringInformation: 0x8000_0b0d };
    expect(resumption(event)).toMatch(/being delivered .*write 0x80000b0d to .*the IDT-vectoring error code/);
  });
  it('an IRET that starts over gets its blocking by NMI back, unless an event is injected', () => {
    const violation = { reason: ExitReason['EPT violation'], qualification: 0x1181n };
    expect(resumption(violation)).toContain('blocking by NMI');
    expect(resumption({ interruptionInformation: 0x8000_1b0e })).toContain('blocking by NMI');
    expect(resumption({ ...violation, idtVectoringInformation: 0x8000_0020 })).not.toContain('blocking by NMI');
    expect(resumption({ interruptionInformation: 0x8000_1b0e })).toContain('write 0x80000b0e');
  });
});
