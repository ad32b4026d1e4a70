import { describe, expect, it } from 'vitest';
import { GuestFault } from '../../engine/cpu/events.ts';
import { controls, EPT, insn, MSR_AREA, type Values, VmxMachine } from './machine.ts';

const RAX = 0;
const RCX = 1;
const VMFUNC = 59;
const OTHER_EPT = 0x5_0000;
const PAGE = 0x6_0000;

const values: Values = {
  'Secondary processor-based VM-execution controls': controls(
    'secondary',
    'Enable EPT',
    'Enable VPID',
    'Enable VM functions',
  ),
  'VM-function controls': 1,
  'EPTP-list address': MSR_AREA,
};
/** A guest with a second EPT that maps 2 MBytes from PAGE's own onwards: everything lies 4 KBytes further. */
function guest(more: Values = {}): VmxMachine {
  const m = new VmxMachine().inGuest({ ...values, ...more });
  m.u64(OTHER_EPT, BigInt(OTHER_EPT + 0x1000) | 7n);
  m.u64(OTHER_EPT + 0x1000, BigInt(OTHER_EPT + 0x2000) | 7n);
  m.u64(OTHER_EPT + 0x2000, BigInt(OTHER_EPT + 0x3000) | 7n);
  for (let page = 0; page < 512; page++) m.u64(OTHER_EPT + 0x3000 + page * 8, BigInt(page * 4096) | 0x37n);
  m.u64(OTHER_EPT + 0x3000 + (PAGE / 4096) * 8, BigInt(PAGE + 0x1000) | 0x37n);
  m.u64(MSR_AREA, BigInt(EPT) | 0x1en);
  m.u64(MSR_AREA + 8, BigInt(OTHER_EPT) | 0x1en);
  m.u64(MSR_AREA + 16, BigInt(OTHER_EPT) | 0x16n);
  m.u32(PAGE, 1);
  m.u32(PAGE + 0x1000, 2);
  return m;
}
const vmfunc = (m: VmxMachine, leaf: number, ecx: number): VmxMachine => {
  m.state.setGpr(RAX, BigInt(leaf));
  m.state.setGpr(RCX, BigInt(ecx));
  m.step(insn.vmfunc);
  return m;
};

describe('VMFUNC', () => {
  it('leaf 0 switches to the EPTP of the list, which the VMCS holds from then on', () => {
    const m = guest();
    expect(m.mmu.readU32(PAGE)).toBe(1);
    vmfunc(m, 0, 1);
    expect(m.state.nonRoot).toBe(1);
    expect(m.mmu.readU32(PAGE)).toBe(2);
    expect(m.read('EPT pointer')).toBe(BigInt(OTHER_EPT) | 0x1en);
    vmfunc(m, 0, 0);
    expect(m.mmu.readU32(PAGE)).toBe(1);
  });
  it('drops no translation: a stale one is used again under its own EPTP', () => {
    const m = guest();
    m.mmu.readU32(PAGE);
    vmfunc(m, 0, 1);
    m.u64(m.eptEntry(PAGE), BigInt(PAGE + 0x1000) | 0x37n);
    vmfunc(m, 0, 0);
    expect(m.mmu.readU32(PAGE)).toBe(1);
  });
  it('works in ring 3', () => {
    const m = guest();
    m.state.cpl = 3;
    m.mmu.privilegeChanged();
    expect(vmfunc(m, 0, 1).mmu.readU32(PAGE)).toBe(2);
  });
  it.each([
    ['an EPTP that is not valid', 0, 2],
    ['an index beyond the list', 0, 512],
    ['a function that is not enabled', 1, 0],
    ['function 63', 63, 0],
  ])('%s exits', (_, leaf, ecx) => {
    const m = vmfunc(guest(), leaf, ecx);
    expect(m.exitReason).toBe(VMFUNC);
    expect(m.read('VM-exit instruction length')).toBe(3n);
  });
  it.each([
    ['a function from 64 on', {}, 64],
    [
      'the control being 0',
      { 'Secondary processor-based VM-execution controls': controls('secondary', 'Enable EPT') },
      0,
    ],
  ])('%s is undefined', (_, more: Values, leaf) => {
    const m = guest(more);
    m.state.setGpr(RAX, BigInt(leaf));
    expect(() => m.run(insn.vmfunc)).toThrow(GuestFault);
  });
  it('undefined in root operation', () => {
    expect(() => new VmxMachine().ready(values).run(insn.vmfunc)).toThrow(GuestFault);
  });
});
