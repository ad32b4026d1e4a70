/** "Check VM entry now": what VMLAUNCH or VMRESUME would find, without carrying it out. */
import { describe, expect, it } from 'vitest';
import { BLOCKING } from '../../engine/cpu/register-bits.ts';
import { entryCheckView } from '../../engine/inspect/entry-check.ts';
import { SHADOW_VMCS, VMCS_REVISION } from '../../engine/vmx/vmcs.ts';
import { random } from '../support/random.ts';
import { insn, type Values, VMCS_REGION, VmxMachine } from './machine.ts';

const check = (values: Values, prepare?: (m: VmxMachine) => void) => {
  const m = new VmxMachine().ready(values);
  prepare?.(m);
  return entryCheckView(m.vmx);
};

describe('checking VM entry now', () => {
  it('finds nothing where the entry would succeed, and names the instruction by the launch state', () => {
    expect(check({})).toMatchObject({
      instruction: 'VMLAUNCH',
      isPossible: true,
      violated: [],
      vmcs: BigInt(VMCS_REGION),
    });
    const exited = new VmxMachine().inGuest();
    exited.step(insn.cpuid);
    expect(entryCheckView(exited.vmx)).toMatchObject({ instruction: 'VMRESUME', isPossible: true });
  });

  it.each<[string, Values, string, string[]]>([
    ['controls', { 'CR3-target count': 5, 'Host RIP': 1n << 60n }, 'VM-instruction error 7', ['CR3-target count']],
    [
      'host state',
      { 'Host TR selector': 0, 'Host CS selector': 0 },
      'VM-instruction error 8',
      ['Host CS selector', 'Host TR selector'],
    ],
    [
      'guest state',
      { 'Guest RFLAGS': 0, 'Guest RIP': 1n << 60n },
      'exit with reason 33',
      ['Guest RIP', 'Guest RFLAGS'],
    ],
  ])('tells every rule that the %s break, and what comes of it', (_, values, outcome, fields) => {
    const view = check(values);
    expect(view.isPossible).toBe(false);
    expect(view.outcome).toContain(outcome);
    expect(view.violated.map((rule) => rule.fields[0]?.name).sort()).toEqual([...fields].sort());
    for (const { text, section, fields: own } of view.violated) {
      expect([text, section, own[0]?.group]).not.toContain('');
    }
  });

  it('tells what else stands in the way', () => {
    const shadow = check({}, (m) => m.u32(VMCS_REGION, (VMCS_REVISION | SHADOW_VMCS) >>> 0));
    expect(shadow).toMatchObject({ isPossible: false, outcome: expect.stringContaining('shadow VMCS') });
    const behindMovSs = check({}, (m) => {
      m.state.interruptibility |= BLOCKING.MOV_SS;
    });
    expect(behindMovSs).toMatchObject({ isPossible: false, outcome: expect.stringContaining('MOV SS') });
    expect(entryCheckView(new VmxMachine().vmxon().vmx)).toMatchObject({
      isPossible: false,
      outcome: expect.stringContaining('No VMCS'),
    });
    expect(entryCheckView(new VmxMachine().inGuest().vmx)).toMatchObject({
      isPossible: false,
      outcome: expect.stringContaining('The guest runs'),
    });
  });

  it('changes nothing and copes with anything, and the entry fails where it says so', () => {
    const next = random(7);
    const imageOf = (m: VmxMachine) => Buffer.concat([m.state.bytes, m.physical.bytes.subarray(0, 0x2_0000)]);
    for (let round = 0; round < 30; round++) {
      const m = new VmxMachine().ready();
      for (let count = 0; count < 3; count++) {
        m.physical.view.setUint32(VMCS_REGION + 64 + next(150) * 8, next(2 ** 32), true);
      }
      const before = imageOf(m);
      const { violated } = entryCheckView(m.vmx);
      expect(imageOf(m).equals(before)).toBe(true);
      if (violated.length === 0) continue;
      m.step(insn.vmlaunch);
      expect(m.state.nonRoot).toBe(0);
    }
  });

  const AREA = 0x1_8000;
  it.each<[string, number, number, string]>([
    ['FS base', 0xc000_0100, 0, 'the area may not name MSR 0xc0000100'],
    ['none that there is', 0x1234, 0, 'there is no MSR 0x1234'],
    ['one that is read only', 0x480, 0, 'MSR 0x480 cannot be written'],
    ['reserved bits', 0xc000_0082, 1, 'its bits 63:32 are reserved'],
  ])('tells which entry of the MSR-load area cannot be loaded, as VM entry then finds: %s', (_, index, high, words) => {
    const m = new VmxMachine().ready({ 'VM-entry MSR-load count': 2, 'VM-entry MSR-load address': AREA });
    for (const [at, value] of [0xc000_0082, 0, 0, 0, index, high].entries()) m.u32(AREA + at * 4, value);
    const { isPossible, outcome } = entryCheckView(m.vmx);
    expect([isPossible, outcome]).toEqual([false, expect.stringContaining(`cannot be loaded: ${words}`)]);
    expect(outcome).toContain('Entry 2 of the VM-entry MSR-load area');
    m.step(insn.vmlaunch);
    expect(m.exitReason & 0xffff).toBe(34);
  });
  it('passes an area whose MSRs there are', () => {
    const m = new VmxMachine().ready({ 'VM-entry MSR-load count': 1, 'VM-entry MSR-load address': AREA });
    m.u32(AREA, 0xc000_0082);
    m.u32(AREA + 4, 0);
    expect(entryCheckView(m.vmx)).toMatchObject({ isPossible: true, outcome: expect.stringContaining('names MSRs') });
  });
});
