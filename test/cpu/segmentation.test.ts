import { describe, expect, test } from 'vitest';
import { checkSegment } from '../../engine/cpu/access.ts';
import { GuestFault } from '../../engine/cpu/events.ts';
import { CS, DS, ES, FS, LDTR, SS, TR } from '../../engine/cpu/state.ts';
import { segmentAddress, segmentLayout } from '../../engine/cpu/state-layout.ts';
import { GDT, sel, TestMachine } from './machine.ts';

const MOV_DS_AX = '8e d8';
const MOV_SS_AX = '8e d0';

const fastLimits = (m: TestMachine, index: number): bigint[] => {
  const at = segmentAddress(index);
  const { view } = m.state;
  return [
    view.getBigInt64(at + segmentLayout.fastReadLimit, true),
    view.getBigInt64(at + segmentLayout.fastWriteLimit, true),
  ];
};

describe('loading data segment registers', () => {
  test.each([
    { selector: 0x100, code: MOV_DS_AX, fault: 'GP(100)', why: 'a selector beyond the GDT limit' },
    { selector: sel.executeOnly, code: MOV_DS_AX, fault: 'GP(60)', why: 'execute-only code is not readable' },
    { selector: sel.notPresent, code: MOV_DS_AX, fault: 'NP(68)', why: 'a data segment that is not present' },
    { selector: sel.tss, code: MOV_DS_AX, fault: 'GP(38)', why: 'a system segment' },
    { selector: 0x14, code: MOV_DS_AX, fault: 'GP(14)', why: 'a selector in an LDT that is not there' },
    { selector: 0, code: MOV_SS_AX, fault: 'GP(0)', why: 'null SS in protected mode' },
    { selector: sel.data | 1, code: MOV_SS_AX, fault: 'GP(10)', why: 'SS with an RPL other than the CPL' },
    { selector: sel.readOnly, code: MOV_SS_AX, fault: 'GP(70)', why: 'SS must be writable' },
    { selector: sel.userData & ~3, code: MOV_SS_AX, fault: 'GP(20)', why: 'SS with a DPL other than the CPL' },
    { selector: sel.notPresent, code: MOV_SS_AX, fault: 'SS(68)', why: 'a stack segment that is not present' },
  ])('$why faults with $fault', ({ selector, code, fault }) => {
    const m = new TestMachine().protected();
    m.state.setGpr(0, BigInt(selector));
    expect(m.faultOf(code)).toBe(fault);
  });

  test('ring 3 cannot load ring 0 data, nor can ring 0 with RPL 3', () => {
    const user = new TestMachine().protected(3);
    user.state.setGpr(0, BigInt(sel.data));
    expect(user.faultOf(MOV_DS_AX)).toBe('GP(10)');
    const kernel = new TestMachine().protected();
    kernel.state.setGpr(0, BigInt(sel.data | 3));
    expect(kernel.faultOf(MOV_DS_AX)).toBe('GP(10)');
  });

  test('conforming readable code can be loaded from ring 3', () => {
    const m = new TestMachine().protected(3);
    m.load(DS, sel.conforming | 3);
    expect(m.state.segment(DS).selector).toBe(sel.conforming | 3);
  });

  test('a null selector makes DS unusable, and its use faults with GP(0)', () => {
    const m = new TestMachine().protected();
    m.load(DS, 3);
    expect(m.state.segment(DS).attributes & 0x1_0000).toBe(0x1_0000);
    expect(fastLimits(m, DS)).toEqual([-1n, -1n]);
    expect(m.faultOf('0f 01 1d 00 40 00 00')).toBe('GP(0)');
  });

  test('loading sets the accessed bit in the descriptor and applies granularity', () => {
    const m = new TestMachine().protected();
    m.load(DS, sel.data);
    expect(m.physical.readU8(GDT + sel.data + 5)).toBe(0x93);
    expect(m.state.segment(DS)).toMatchObject({ base: 0, limit: 0xffff_ffff, attributes: 0xc093 });
  });

  test('MOV SS holds off interrupts for one instruction, MOV DS does not', () => {
    const m = new TestMachine().protected();
    m.load(DS, sel.data);
    expect(m.state.interruptibility).toBe(0);
    m.load(SS, sel.data);
    expect(m.state.interruptibility).toBe(2);
  });

  test('real-address mode takes 16 times the selector and keeps the limit', () => {
    const m = new TestMachine().real();
    m.state.segment(DS).limit = 0xffff_ffff;
    m.load(DS, 0x1234);
    expect(m.state.segment(DS)).toMatchObject({ selector: 0x1234, base: 0x12340, limit: 0xffff_ffff });
  });

  test('64-bit mode takes a null SS below ring 3, if its RPL is the CPL', () => {
    const m = new TestMachine().long();
    m.state.setGpr(0, 0n);
    m.run(MOV_SS_AX);
    expect(m.state.segment(SS).selector).toBe(0);
    m.state.setGpr(0, 1n);
    expect(m.faultOf(MOV_SS_AX)).toBe('GP(0)');
    const user = new TestMachine().long(3);
    user.state.setGpr(0, 3n);
    expect(user.faultOf(MOV_SS_AX)).toBe('GP(0)');
  });
});

describe('limits', () => {
  test('fast limits: writable data both, read-only data reads, expand-down neither, code by readability', () => {
    const m = new TestMachine().protected();
    const all = 0xffff_ffffn;
    const limitsOf = (selector: number) => {
      m.load(ES, selector);
      return fastLimits(m, ES);
    };
    expect(limitsOf(sel.data)).toEqual([all, all]);
    expect(limitsOf(sel.readOnly)).toEqual([all, -1n]);
    expect(limitsOf(sel.expandDown)).toEqual([-1n, -1n]);
    expect(limitsOf(sel.conforming)).toEqual([all, -1n]);
  });

  test('64-bit mode checks no limit', () => {
    expect(fastLimits(new TestMachine().long(), DS)).toEqual([1n << 62n, 1n << 62n]);
  });

  test.each([
    { offset: 0xfff, size: 1, ok: false },
    { offset: 0x1000, size: 1, ok: true },
    { offset: 0xffff_ffff, size: 1, ok: true },
    { offset: 0xffff_ffff, size: 2, ok: false },
  ])('an expand-down segment with limit FFFH and B = 1: offset $offset, $size bytes: $ok', ({ offset, size, ok }) => {
    const m = new TestMachine().protected();
    m.load(DS, sel.expandDown);
    const access = () => checkSegment(m.cpu, DS, offset, size, 'read');
    if (ok) expect(access()).toBe(offset);
    else expect(access).toThrow(GuestFault);
  });

  test('beyond the limit SS faults with SS(0), other segments with GP(0)', () => {
    const m = new TestMachine().real();
    const vectorOf = (index: number) => {
      try {
        checkSegment(m.cpu, index, 0xffff, 2, 'read');
      } catch (thrown) {
        return (thrown as GuestFault).vector;
      }
      return undefined;
    };
    expect(vectorOf(SS)).toBe(12);
    expect(vectorOf(DS)).toBe(13);
  });

  test('64-bit FS adds its base, and a sum that is not canonical faults', () => {
    const m = new TestMachine().long();
    m.state.segment(FS).base = 0x7fff_ffff_f000;
    expect(checkSegment(m.cpu, FS, 0xff8, 8, 'read')).toBe(0x7fff_ffff_fff8);
    expect(() => checkSegment(m.cpu, FS, 0xff9, 8, 'read')).toThrow(GuestFault);
    m.state.segment(FS).base = -0x8000_0000_0000;
    expect(checkSegment(m.cpu, FS, 0, 8, 'read')).toBe(-0x8000_0000_0000);
  });

  test('code cannot be written, and is read through CS only if readable', () => {
    const m = new TestMachine().protected();
    expect(() => checkSegment(m.cpu, CS, 0, 1, 'write')).toThrow(GuestFault);
    expect(checkSegment(m.cpu, CS, 0, 1, 'read')).toBe(0);
  });
});

describe('system segments', () => {
  test('LTR marks the TSS busy; loading it again faults', () => {
    const m = new TestMachine().protected();
    expect(m.state.segment(TR)).toMatchObject({ selector: sel.tss, base: 0x3000, limit: 0x67, attributes: 0x8b });
    expect(m.physical.readU8(GDT + sel.tss + 5)).toBe(0x8b);
    m.state.setGpr(0, BigInt(sel.tss));
    expect(m.faultOf('0f 00 d8')).toBe('GP(38)');
  });

  test('LTR takes 64 bits of base in IA-32e mode', () => {
    const m = new TestMachine().long();
    m.physical.writeU8(GDT + sel.tss + 5, 0x89);
    m.u32(GDT + sel.tss + 8, 0xffff_8000);
    m.state.setGpr(0, BigInt(sel.tss));
    m.run('0f 00 d8');
    expect(m.state.segment(TR).base).toBe(-0x8000_0000_0000 + 0x3000);
  });

  test('LLDT loads, null makes the LDT unusable, and other types fault', () => {
    const m = new TestMachine().protected();
    m.state.setGpr(0, BigInt(sel.ldt));
    m.run('0f 00 d0');
    expect(m.state.segment(LDTR)).toMatchObject({ selector: sel.ldt, base: 0x5000, limit: 0x27 });
    m.u64(0x5008, 0x00cf_9200_0000_ffffn);
    m.load(DS, 0x0c);
    expect(m.state.segment(DS).selector).toBe(0x0c);
    m.state.setGpr(0, BigInt(sel.data));
    expect(m.faultOf('0f 00 d0')).toBe('GP(10)');
    m.state.setGpr(0, 0n);
    m.run('0f 00 d0');
    expect(m.state.segment(LDTR).attributes).toBe(0x1_0000);
  });

  test('LLDT and LTR are privileged, and undefined in real-address mode', () => {
    expect(new TestMachine().protected(3).faultOf('0f 00 d0')).toBe('GP(0)');
    expect(new TestMachine().real().faultOf('0f 00 d8')).toBe('UD');
  });
});
