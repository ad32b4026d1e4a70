import { describe, expect, test } from 'vitest';
import { readFlags } from '../../engine/cpu/flags.ts';
import { sel, TestMachine } from './machine.ts';

const ZF = 0x40;
const zf = (m: TestMachine, hex: string, selector: number): boolean => {
  m.state.setGpr(3, BigInt(selector));
  m.run(hex);
  return (readFlags(m.state) & ZF) !== 0;
};

describe('LAR, LSL, VERR, VERW', () => {
  const LAR_EAX_EBX = '0f 02 c3';
  const LSL_EAX_EBX = '0f 03 c3';
  const VERR_BX = '0f 00 e3';
  const VERW_BX = '0f 00 eb';

  test('LAR gives the second dword masked by 00FFFF00H', () => {
    const m = new TestMachine().protected();
    expect(zf(m, LAR_EAX_EBX, sel.code32)).toBe(true);
    expect(m.state.gpr(0)).toBe(0x00cf_9a00n);
  });

  test('LAR clears ZF and leaves the destination for null, out of limit, and invisible descriptors', () => {
    const m = new TestMachine().protected(3);
    m.state.setGpr(0, 0x55n);
    expect(zf(m, LAR_EAX_EBX, 0)).toBe(false);
    expect(zf(m, LAR_EAX_EBX, 0xff8)).toBe(false);
    expect(zf(m, LAR_EAX_EBX, sel.data)).toBe(false);
    expect(m.state.gpr(0)).toBe(0x55n);
  });

  test('LSL applies granularity', () => {
    const m = new TestMachine().protected();
    expect(zf(m, LSL_EAX_EBX, sel.data)).toBe(true);
    expect(m.state.gpr(0)).toBe(0xffff_ffffn);
    expect(zf(m, LSL_EAX_EBX, sel.tss)).toBe(true);
    expect(m.state.gpr(0)).toBe(0x67n);
  });

  test.each([
    { selector: sel.data, r: true, w: true },
    { selector: sel.readOnly, r: true, w: false },
    { selector: sel.code32, r: true, w: false },
    { selector: sel.executeOnly, r: false, w: false },
    { selector: sel.tss, r: false, w: false },
    { selector: sel.data | 3, r: false, w: false },
  ])('selector $selector is readable $r, writable $w', ({ selector, r, w }) => {
    const m = new TestMachine().protected();
    expect(zf(m, VERR_BX, selector)).toBe(r);
    expect(zf(m, VERW_BX, selector)).toBe(w);
  });

  test('do not exist in real-address mode', () => {
    for (const hex of [LAR_EAX_EBX, LSL_EAX_EBX, VERR_BX, VERW_BX, '0f 00 c0', '0f 00 c8']) {
      expect(new TestMachine().real().faultOf(hex)).toBe('UD');
    }
  });
});

describe('LGDT, LIDT, SGDT, SIDT', () => {
  test('LGDT m16&32 takes 32 bits of base, 24 with a 16-bit operand', () => {
    const m = new TestMachine().protected();
    m.u16(0x6000, 0x1234);
    m.u32(0x6002, 0x8765_4321);
    m.run('0f 01 15 00 60 00 00');
    expect([m.state.gdtrLimit, m.state.gdtrBase]).toEqual([0x1234, 0x8765_4321]);
    m.run('66 0f 01 15 00 60 00 00');
    expect(m.state.gdtrBase).toBe(0x65_4321);
  });

  test('64-bit LIDT takes 64 bits of base, which must be canonical', () => {
    const m = new TestMachine().long();
    m.u16(0x6000, 0xfff);
    m.u64(0x6002, 0xffff_8000_0000_0000n);
    m.run('0f 01 1c 25 00 60 00 00');
    expect(m.state.idtrBase).toBe(-0x8000_0000_0000);
    m.u64(0x6002, 1n << 56n);
    expect(m.faultOf('0f 01 1c 25 00 60 00 00')).toBe('GP(0)');
  });

  test('SGDT stores what LGDT loaded, 10 bytes in 64-bit mode', () => {
    const m = new TestMachine().long();
    m.state.gdtrBase = -0x1000;
    m.state.gdtrLimit = 0x7f;
    m.run('0f 01 04 25 00 60 00 00');
    expect(m.physical.readU16(0x6000)).toBe(0x7f);
    expect(m.physical.readU64(0x6002)).toBe(0xffff_ffff_ffff_f000n);
  });

  test('LGDT is privileged; SGDT, SIDT, SLDT, STR and SMSW only under UMIP', () => {
    const m = new TestMachine().protected(3);
    expect(m.faultOf('0f 01 15 00 60 00 00')).toBe('GP(0)');
    const stores = ['0f 01 05 00 60 00 00', '0f 01 0d 00 60 00 00', '0f 00 c0', '0f 00 c8', '0f 01 e0'];
    for (const hex of stores) m.run(hex);
    m.state.cr4 |= 1 << 11;
    for (const hex of stores) expect(m.faultOf(hex)).toBe('GP(0)');
  });

  test('STR zero-extends to the operand size in a register', () => {
    const m = new TestMachine().protected();
    m.state.setGpr(0, 0xffff_ffff_ffff_ffffn);
    m.run('0f 00 c8');
    expect(m.state.gpr(0)).toBe(BigInt(sel.tss));
    m.state.setGpr(0, 0xffff_ffff_ffff_ffffn);
    m.run('66 0f 00 c8');
    expect(m.state.gpr(0)).toBe(0xffff_ffff_ffff_0038n);
  });
});

test('ARPL raises the RPL of the destination to that of the source', () => {
  const m = new TestMachine().protected();
  m.state.setGpr(0, 0x0010n);
  expect(zf(m, '63 d8', 3)).toBe(true);
  expect(m.state.gpr(0)).toBe(0x0013n);
  expect(zf(m, '63 d8', 1)).toBe(false);
  expect(m.state.gpr(0)).toBe(0x0013n);
});
