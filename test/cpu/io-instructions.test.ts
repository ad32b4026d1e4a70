/** IN, OUT and their string forms, with the permissions that they need. */
import { describe, expect, test } from 'vitest';
import { TR } from '../../engine/cpu/state.ts';
import { CODE, TestMachine, TSS } from './machine.ts';

describe('I/O', () => {
  test('IN AL leaves the rest of RAX, IN EAX clears the upper half', () => {
    const m = new TestMachine().long();
    m.portValue = 0x8877_6655;
    m.state.setGpr(0, 0xffff_ffff_ffff_ffffn);
    m.run('e4 60');
    expect(m.state.gpr(0)).toBe(0xffff_ffff_ffff_ff55n);
    m.run('e5 60');
    expect(m.state.gpr(0)).toBe(0x8877_6655n);
  });

  test('OUT DX, AX writes 16 bits', () => {
    const m = new TestMachine().protected();
    m.state.setGpr32(0, 0x1234_5678);
    m.state.setGpr32(2, 0x3f8);
    m.run('66 ef');
    expect(m.portWrites).toEqual(['3f8/2=5678']);
  });

  test('ring 3 needs clear bits in the bitmap of the TSS', () => {
    const m = new TestMachine().protected(3);
    m.u16(TSS + 102, 0x68);
    expect(m.faultOf('e6 60')).toBe('GP(0)');
    m.state.segment(TR).limit = 0x80;
    m.u16(TSS + 102, 0x68);
    m.run('e6 60');
    m.physical.writeU8(TSS + 0x68 + 0xc, 0x04);
    m.run('e7 5e');
    expect(m.faultOf('e7 5f')).toBe('GP(0)');
    expect(m.faultOf('e6 62')).toBe('GP(0)');
  });

  test('the bitmap must hold both bytes that are read', () => {
    const m = new TestMachine().protected(3);
    m.u16(TSS + 102, 0x68);
    m.state.segment(TR).limit = 0x68 + 0xc;
    expect(m.faultOf('e6 60')).toBe('GP(0)');
    m.state.segment(TR).limit = 0x68 + 0xd;
    m.run('e6 60');
  });

  test('IOPL 3 allows every port', () => {
    const m = new TestMachine().protected(3);
    m.cpu.writeFlags(0x3002);
    m.run('e6 60');
    expect(m.portWrites).toEqual(['60/1=0']);
  });

  /** Runs a REP to its end: each execution is one iteration. */
  const repeat = (m: TestMachine, hex: string): void => {
    const { rip } = m.state;
    do m.run(hex);
    while (m.state.rip === rip);
  };

  test('an execution of REP OUTSB is one iteration, so that nothing has to wait for its end', () => {
    const m = new TestMachine().protected();
    m.state.setGpr32(1, 0xffff_ffff);
    m.state.setGpr32(2, 0xe9);
    m.run('f3 6e');
    expect([m.portWrites.length, m.state.gpr32(1), m.state.rip]).toEqual([1, 0xffff_fffe, CODE]);
  });

  test('REP OUTSB and REP INSW move CX elements in the direction of DF', () => {
    const m = new TestMachine().protected();
    for (const [index, byte] of [0x41, 0x42, 0x43].entries()) m.physical.writeU8(0x6000 + index, byte);
    m.state.setGpr32(6, 0x6000);
    m.state.setGpr32(1, 3);
    m.state.setGpr32(2, 0xe9);
    repeat(m, 'f3 6e');
    expect(m.portWrites).toEqual(['e9/1=41', 'e9/1=42', 'e9/1=43']);
    expect([m.state.gpr32(1), m.state.gpr32(6)]).toEqual([0, 0x6003]);
    m.cpu.writeFlags(0x402);
    m.portValue = 0xbeef;
    m.state.setGpr32(7, 0x6012);
    m.state.setGpr32(1, 2);
    repeat(m, 'f3 66 6d');
    expect(m.physical.readU32(0x6010)).toBe(0xbeef_beef);
    expect(m.state.gpr32(7)).toBe(0x600e);
  });

  test('a fault in the middle of REP INSB leaves the registers at that element', () => {
    const m = new TestMachine().protected();
    m.state.segment(0).limit = 0x6001;
    m.state.segment(0).setFastLimits(0x6001, 0x6001);
    m.state.setGpr32(7, 0x6000);
    m.state.setGpr32(1, 5);
    expect(() => repeat(m, 'f3 6c')).toThrow();
    expect([m.state.gpr32(7), m.state.gpr32(1), m.state.rip]).toEqual([0x6002, 3, CODE]);
  });

  test('VMX learns port, size, direction and form after the permission check', () => {
    const m = new TestMachine().protected();
    const seen: unknown[] = [];
    m.cpu.intercepts = { onIo: (access) => seen.push(access) === 0 };
    m.run('e4 21');
    expect(seen).toEqual([{ port: 0x21, sizeBytes: 1, direction: 'in', string: false, rep: false, immediate: true }]);
  });
});
