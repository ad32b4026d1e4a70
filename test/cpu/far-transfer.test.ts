import { describe, expect, test } from 'vitest';
import { CpuMode } from '../../engine/cpu/modes.ts';
import { CS, SS } from '../../engine/cpu/state.ts';
import { CODE, GDT, STACK, STACK0, sel, TestMachine, TSS } from './machine.ts';

const hex = (...values: readonly (readonly [number, number])[]): string =>
  values
    .flatMap(([value, bytes]) => Array.from({ length: bytes }, (_, index) => (value >>> (8 * index)) & 0xff))
    .map((byte) => byte.toString(16).padStart(2, '0'))
    .join(' ');

/** JMP and CALL ptr16:32. */
const jmp = (selector: number, offset: number): string => `ea ${hex([offset, 4], [selector, 2])}`;
const call = (selector: number, offset: number): string => `9a ${hex([offset, 4], [selector, 2])}`;

function callGate(
  m: TestMachine,
  selector: number,
  offset: number,
  options: { dpl: number; parameters?: number },
): void {
  m.u32(GDT + sel.gate, (selector << 16) | (offset & 0xffff));
  const attributes = 0x8c | (options.dpl << 5);
  m.u32(GDT + sel.gate + 4, (offset & 0xffff_0000) | (attributes << 8) | (options.parameters ?? 0));
}

describe('far JMP', () => {
  test('in real-address mode sets CS base to 16 times the selector', () => {
    const m = new TestMachine().real();
    m.run(`ea ${hex([0x10, 2], [0xf00, 2])}`);
    expect(m.state.rip).toBe(0x10);
    expect(m.state.segment(CS)).toMatchObject({ selector: 0xf00, base: 0xf000 });
  });

  test('the way from real-address mode to 64-bit mode', () => {
    const m = new TestMachine().long();
    expect(m.state.mode).toBe(CpuMode.long64);
    m.u32(0x6000, CODE);
    m.u16(0x6004, sel.code32);
    m.run('ff 2c 25 00 60 00 00');
    expect(m.state.mode).toBe(CpuMode.compatibility32);
    m.run(jmp(sel.code64, CODE));
    expect(m.state.mode).toBe(CpuMode.long64);
  });

  test('to 16-bit code', () => {
    const m = new TestMachine().protected();
    m.run(jmp(sel.code16, 0x1234));
    expect(m.state.mode).toBe(CpuMode.protected16);
    expect(m.state.rip).toBe(0x1234);
  });

  test.each([
    { selector: 0, fault: 'GP(0)', why: 'a null selector' },
    { selector: 3, fault: 'GP(0)', why: 'a null selector with an RPL' },
    { selector: 0x200, fault: 'GP(200)', why: 'a selector beyond the GDT' },
    { selector: sel.data, fault: 'GP(10)', why: 'a data segment' },
    { selector: sel.userCode32, fault: 'GP(28)', why: 'nonconforming code of another ring' },
    { selector: sel.code32 | 1, fault: 'GP(8)', why: 'an RPL above the CPL' },
    { selector: sel.ldt, fault: 'GP(48)', why: 'an LDT descriptor' },
  ])('$why faults with $fault', ({ selector, fault }) => {
    expect(new TestMachine().protected().faultOf(jmp(selector, CODE))).toBe(fault);
  });

  test('code that is not present faults with NP, an offset beyond the limit with GP(0)', () => {
    const m = new TestMachine().protected();
    expect(m.faultOf(jmp(sel.code16, 0x1_0000))).toBe('GP(0)');
    m.physical.writeU8(GDT + sel.code16 + 5, 0x1a);
    expect(m.faultOf(jmp(sel.code16, 0))).toBe('NP(78)');
  });

  test('conforming code is entered at the CPL of the caller', () => {
    const m = new TestMachine().protected(3);
    m.run(jmp(sel.conforming, CODE));
    expect(m.state.cpl).toBe(3);
    expect(m.state.segment(CS).selector).toBe(sel.conforming | 3);
  });

  test('a descriptor that is both L and D faults in IA-32e mode', () => {
    const m = new TestMachine().long();
    m.u64(GDT + sel.code16, 0x00ef_9a00_0000_ffffn);
    m.u32(0x6000, CODE);
    m.u16(0x6004, sel.code16);
    expect(m.faultOf('ff 2c 25 00 60 00 00')).toBe('GP(78)');
  });
});

describe('far CALL and RET', () => {
  test('CALL pushes CS and EIP, RETF n takes parameters off', () => {
    const m = new TestMachine().protected();
    m.run(call(sel.code32, 0xb000));
    expect(m.stack(2, 4)).toEqual([CODE + 7, sel.code32]);
    m.run('ca 08 00');
    expect(m.state.rip).toBe(CODE + 7);
    expect(m.state.gpr32(4)).toBe(STACK + 8);
  });

  test('RETF to ring 3 pops SS:ESP and takes parameters off both stacks', () => {
    const m = new TestMachine().protected();
    for (const [index, value] of [CODE, sel.userCode32, 0, 0, 0x7000, sel.userData].entries()) {
      m.u32(STACK - 24 + index * 4, value);
    }
    m.state.setGpr32(4, STACK - 24);
    m.run('ca 08 00');
    expect(m.state.cpl).toBe(3);
    expect(m.state.segment(SS).selector).toBe(sel.userData);
    expect(m.state.gpr32(4)).toBe(0x7008);
  });

  test('RETF to an inner ring faults', () => {
    const m = new TestMachine().protected(3);
    m.u32(STACK - 8, CODE);
    m.u32(STACK - 4, sel.code32);
    m.state.setGpr32(4, STACK - 8);
    expect(m.faultOf('cb')).toBe('GP(8)');
  });

  test('a CALL whose push faults changes nothing', () => {
    const m = new TestMachine().protected();
    m.state.segment(SS).limit = 0x10;
    expect(m.faultOf(call(sel.code32, 0xb000))).toBe('SS(0)');
  });
});

describe('call gates', () => {
  test('to an inner ring switches stacks and copies parameters', () => {
    const m = new TestMachine().protected(3);
    callGate(m, sel.code32, 0xb000, { dpl: 3, parameters: 2 });
    m.u32(TSS + 4, STACK0);
    m.u32(TSS + 8, sel.data);
    m.u32(STACK - 8, 0x1111);
    m.u32(STACK - 4, 0x2222);
    m.state.setGpr32(4, STACK - 8);
    m.run(call(sel.gate | 3, 0xdead));
    expect(m.state.cpl).toBe(0);
    expect(m.state.rip).toBe(0xb000);
    expect(m.stack(6, 4)).toEqual([CODE + 7, sel.userCode32, 0x1111, 0x2222, STACK - 8, sel.userData]);
    m.run('ca 08 00');
    expect(m.state.cpl).toBe(3);
    expect(m.state.gpr32(4)).toBe(STACK);
  });

  test('JMP through a gate cannot change the ring', () => {
    const m = new TestMachine().protected(3);
    callGate(m, sel.code32, 0xb000, { dpl: 3 });
    expect(m.faultOf(jmp(sel.gate, 0))).toBe('GP(8)');
  });

  test('a gate of an inner ring faults with its own selector', () => {
    const m = new TestMachine().protected(3);
    callGate(m, sel.code32, 0xb000, { dpl: 0 });
    expect(m.faultOf(call(sel.gate, 0))).toBe('GP(88)');
  });

  test('in IA-32e mode pushes SS:RSP and CS:RIP onto RSP0, and SS becomes null', () => {
    const m = new TestMachine().long(3);
    callGate(m, sel.code64, 0xb000, { dpl: 3 });
    m.u64(GDT + sel.gate + 8, 0n);
    m.u64(TSS + 4, BigInt(STACK0));
    m.u32(0x6000, 0);
    m.u16(0x6004, sel.gate);
    m.run('ff 1c 25 00 60 00 00');
    expect(m.state.cpl).toBe(0);
    expect(m.state.segment(SS).selector).toBe(0);
    expect(m.stack(4, 8)).toEqual([CODE + 7, sel.userCode64, STACK, sel.userData]);
    m.run('48 cb');
    expect([m.state.cpl, m.state.rip, m.state.gprLinear(4)]).toEqual([3, CODE + 7, STACK]);
  });
});

test('a jump to a busy TSS faults, as the own one is', () => {
  expect(new TestMachine().protected().faultOf(jmp(sel.tss, 0))).toBe('GP(38)');
});
