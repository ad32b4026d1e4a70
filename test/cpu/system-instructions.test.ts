import { describe, expect, test } from 'vitest';
import { VmExit } from '../../engine/cpu/events.ts';
import { readFlags } from '../../engine/cpu/flags.ts';
import { CpuMode } from '../../engine/cpu/modes.ts';
import { init, powerUp } from '../../engine/cpu/reset.ts';
import { CS, DS, FS, SS } from '../../engine/cpu/state.ts';
import { CODE, STACK, sel, TestMachine } from './machine.ts';

const IF = 0x200;

describe('HLT, CLI, STI', () => {
  test('HLT is privileged and halts after the instruction', () => {
    expect(new TestMachine().protected(3).faultOf('f4')).toBe('GP(0)');
    const m = new TestMachine().protected();
    m.run('f4');
    expect([m.state.activityState, m.state.rip]).toEqual([1, CODE + 1]);
  });

  test('CLI and STI need the CPL to be at most IOPL', () => {
    const m = new TestMachine().protected(3);
    expect(m.faultOf('fa')).toBe('GP(0)');
    m.cpu.writeFlags(0x3002);
    m.run('fb');
    expect(readFlags(m.state)).toBe(0x3202);
  });

  test('STI blocks interrupts for one instruction only if IF was 0', () => {
    const m = new TestMachine().protected();
    m.run('fb');
    expect(m.state.interruptibility).toBe(1);
    m.state.interruptibility = 0;
    m.run('fb');
    expect(m.state.interruptibility).toBe(0);
  });
});

describe('PUSHF and POPF', () => {
  test('PUSHF pushes RF and VM as 0', () => {
    const m = new TestMachine().protected();
    m.cpu.writeFlags(0x1_0000 | IF | 2);
    m.run('9c');
    expect(m.stack(1, 4)).toEqual([IF | 2]);
  });

  test.each([
    { cpl: 0, before: 0, popped: 0x3000 | IF | 1, after: 0x3000 | IF | 3, why: 'ring 0 changes everything' },
    { cpl: 3, before: 0, popped: 0x3000 | IF | 1, after: 3, why: 'ring 3 keeps IOPL and, above IOPL, IF' },
    { cpl: 3, before: 0x3000, popped: IF, after: 0x3000 | IF | 2, why: 'up to IOPL, IF changes' },
    { cpl: 0, before: 0, popped: 0x3_0000, after: 2, why: 'RF and VM are not loaded' },
  ])('$why', ({ cpl, before, popped, after }) => {
    const m = new TestMachine().protected(cpl);
    m.cpu.writeFlags(before | 2);
    m.u32(STACK - 4, popped);
    m.state.setGpr32(4, STACK - 4);
    m.run('9d');
    expect(readFlags(m.state)).toBe(after);
    expect(m.state.gpr32(4)).toBe(STACK);
  });

  test('16-bit POPF leaves the upper flags', () => {
    const m = new TestMachine().protected();
    m.cpu.writeFlags(0x4_0002);
    m.u16(STACK - 2, IF);
    m.state.setGpr32(4, STACK - 2);
    m.run('66 9d');
    expect(readFlags(m.state)).toBe(0x4_0000 | IF | 2);
  });

  test('64-bit PUSHFQ and POPFQ move 8 bytes', () => {
    const m = new TestMachine().long();
    m.run('9c');
    expect(m.state.gprLinear(4)).toBe(STACK - 8);
    m.run('9d');
    expect(m.state.gprLinear(4)).toBe(STACK);
  });
});

describe('segment registers on the stack and in far pointers', () => {
  test('PUSH and POP of a segment register; 32-bit PUSH writes 16 bits', () => {
    const m = new TestMachine().protected();
    m.u32(STACK - 4, 0xffff_ffff);
    m.run('1e');
    expect(m.stack(1, 4)).toEqual([(0xffff_0000 | sel.data) >>> 0]);
    m.u16(STACK - 4, sel.readOnly);
    m.run('1f');
    expect(m.state.segment(DS).selector).toBe(sel.readOnly);
    expect(m.state.gpr32(4)).toBe(STACK);
  });

  test('POP SS of a 16-bit stack moves SP by the old stack width', () => {
    const m = new TestMachine().real();
    m.u16(STACK - 2, 0x100);
    m.state.setGpr32(4, STACK - 2);
    m.run('17');
    expect(m.state.segment(SS).base).toBe(0x1000);
    expect(m.state.gpr32(4)).toBe(STACK);
    expect(m.state.interruptibility).toBe(2);
  });

  test('LSS and LFS load offset and selector together', () => {
    const m = new TestMachine().protected();
    m.u32(0x6000, 0x1234_5678);
    m.u16(0x6004, sel.data);
    m.run('0f b4 1d 00 60 00 00');
    expect([m.state.segment(FS).selector, m.state.gpr32(3)]).toEqual([sel.data, 0x1234_5678]);
    m.u16(0x6004, 0x100);
    expect(m.faultOf('0f b2 25 00 60 00 00')).toBe('GP(100)');
  });

  test('MOV CS is undefined', () => {
    expect(new TestMachine().protected().faultOf('8e c8')).toBe('UD');
  });
});

describe('time and MSRs', () => {
  test('RDTSC splits the counter; CR4.TSD makes it privileged', () => {
    const m = new TestMachine().protected(3);
    m.clock = 0x1_2345_6789n;
    m.run('0f 31');
    expect([m.state.gpr(0), m.state.gpr(2)]).toEqual([0x2345_6789n, 1n]);
    m.state.cr4 |= 4;
    expect(m.faultOf('0f 31')).toBe('GP(0)');
  });

  test('writing IA32_TIME_STAMP_COUNTER moves the counter', () => {
    const m = new TestMachine().protected();
    m.clock = 1000n;
    writeMsr(m, 0x10, 50n);
    m.clock = 1010n;
    m.run('0f 31');
    expect(m.state.gpr(0)).toBe(60n);
  });

  test('RDTSCP adds IA32_TSC_AUX, and the offset of VMX', () => {
    const m = new TestMachine().protected();
    writeMsr(m, 0xc000_0103, 7n);
    m.clock = 10n;
    m.cpu.intercepts = { guestTsc: (tsc) => tsc - 3n };
    m.run('0f 01 f9');
    expect([m.state.gpr(0), m.state.gpr(1)]).toEqual([7n, 7n]);
  });

  function writeMsr(m: TestMachine, index: number, value: bigint): void {
    setMsrRegisters(m, index, value);
    m.run('0f 30');
  }

  function setMsrRegisters(m: TestMachine, index: number, value: bigint): void {
    m.state.setGpr32(1, index);
    m.state.setGpr(0, value & 0xffff_ffffn);
    m.state.setGpr(2, value >> 32n);
  }

  test.each([
    { index: 0xc000_0082, value: 1n << 56n, why: 'IA32_LSTAR that is not canonical' },
    { index: 0xc000_0080, value: 2n, why: 'a reserved bit of IA32_EFER' },
    { index: 0x277, value: 0x0007_0406_0007_0402n, why: 'memory type 2 in IA32_PAT' },
    { index: 0x2ff, value: 0xc07n, why: 'memory type 7 in IA32_MTRR_DEF_TYPE' },
    { index: 0x201, value: 1n << 39n, why: 'an MTRR mask beyond MAXPHYADDR' },
    { index: 0xfe, value: 0n, why: 'the read-only IA32_MTRRCAP' },
    { index: 0x6e0, value: 0n, why: 'IA32_TSC_DEADLINE, which is absent' },
    { index: 0x1234_5678, value: 0n, why: 'an MSR that does not exist' },
    { index: 0x174, value: 1n << 32n, why: 'upper bits of IA32_SYSENTER_CS' },
  ])('WRMSR of $why faults with GP(0)', ({ index, value }) => {
    const m = new TestMachine().protected();
    setMsrRegisters(m, index, value);
    expect(m.faultOf('0f 30')).toBe('GP(0)');
  });

  test.each([
    { index: 0xc000_0081, value: 0x0023_0008_0000_0000n },
    { index: 0xc000_0100, value: 0xffff_8000_0000_0000n },
    { index: 0x2ff, value: 0xc06n },
    { index: 0x200, value: 0x8000_0006n },
    { index: 0x250, value: 0x0606_0606_0606_0606n },
    { index: 0x277, value: 0x0007_0406_0007_0406n },
  ])('MSR $index keeps what it is given', ({ index, value }) => {
    const m = new TestMachine().protected();
    writeMsr(m, index, value);
    m.run('0f 32');
    expect((m.state.gpr(2) << 32n) | m.state.gpr(0)).toBe(value);
  });

  test('IA32_EFER.LME cannot change while paging is on; LMA is read-only', () => {
    const m = new TestMachine().long();
    setMsrRegisters(m, 0xc000_0080, 0n);
    expect(m.faultOf('0f 30')).toBe('GP(0)');
    writeMsr(m, 0xc000_0080, 0x901n);
    expect(m.state.efer).toBe(0xd01);
  });

  test('IA32_FEATURE_CONTROL cannot be written once locked', () => {
    const m = new TestMachine().protected();
    writeMsr(m, 0x3a, 5n);
    setMsrRegisters(m, 0x3a, 5n);
    expect(m.faultOf('0f 30')).toBe('GP(0)');
  });

  test('RDMSR is privileged, then asks VMX, then faults for what does not exist', () => {
    expect(new TestMachine().protected(3).faultOf('0f 32')).toBe('GP(0)');
    const m = new TestMachine().protected();
    m.state.setGpr32(1, 0xdead);
    m.cpu.intercepts = {
      onRdmsr: (index) => {
        throw new VmExit(31, BigInt(index));
      },
    };
    expect(() => m.run('0f 32')).toThrow(VmExit);
  });
});

describe('CPUID', () => {
  const cpuid = (leaf: number, subleaf = 0): number[] => {
    const m = new TestMachine().protected(3);
    m.state.setGpr32(0, leaf);
    m.state.setGpr32(1, subleaf);
    m.run('0f a2');
    return [0, 3, 1, 2].map((index) => m.state.gpr32(index));
  };
  const text = (...words: number[]): string =>
    words.map((word) => String.fromCharCode(word & 255, (word >> 8) & 255, (word >> 16) & 255, word >>> 24)).join('');

  test('the vendor is GenuineIntel in EBX, EDX, ECX', () => {
    const [, ebx = 0, ecx = 0, edx = 0] = cpuid(0);
    expect(text(ebx, edx, ecx)).toBe('GenuineIntel');
  });

  test('the brand string is Ringside', () => {
    const words = [0x8000_0002, 0x8000_0003, 0x8000_0004].flatMap((leaf) => cpuid(leaf));
    expect(text(...words).replaceAll('\0', '')).toBe('Ringside');
  });

  test('FPU, VMX, PAE and long mode are announced', () => {
    const [, , ecx = 0, edx = 0] = cpuid(1);
    expect((ecx >> 5) & 1).toBe(1);
    expect((edx >> 6) & 1).toBe(1);
    expect(edx & 1).toBe(1);
    expect(((cpuid(0x8000_0001)[3] ?? 0) >> 29) & 1).toBe(1);
  });

  test('addresses have 39 physical and 57 linear bits', () => {
    expect(cpuid(0x8000_0008)[0]).toBe(39 | (57 << 8));
  });

  test('a leaf out of range gives the highest basic leaf', () => {
    expect(cpuid(0x4000_0000)).toEqual(cpuid(0x16));
    expect(cpuid(0x8000_0009)).toEqual(cpuid(0x16));
  });
});

describe('TLB, caches and the rest', () => {
  test('INVLPG is privileged and drops the stale translation', () => {
    expect(new TestMachine().long(3).faultOf('0f 01 38')).toBe('GP(0)');
    const m = new TestMachine().long();
    m.mmu.readU8(CODE);
    expect(m.mmu.peekTranslate(CODE, 0, 0).fromTlb).toBe(true);
    m.run('0f 01 3c 25 00 80 00 00');
    expect(m.mmu.peekTranslate(CODE, 0, 0).fromTlb).toBe(false);
  });

  test('INVPCID faults for a bad type or descriptor', () => {
    const m = new TestMachine().long();
    m.state.setGpr(0, 4n);
    expect(m.faultOf('66 0f 38 82 04 25 00 60 00 00')).toBe('GP(0)');
    m.state.setGpr(0, 1n);
    m.u64(0x6000, 0x1000n);
    expect(m.faultOf('66 0f 38 82 04 25 00 60 00 00')).toBe('GP(0)');
    m.u64(0x6000, 1n);
    expect(m.faultOf('66 0f 38 82 04 25 00 60 00 00')).toBe('GP(0)');
    m.u64(0x6000, 0n);
    m.run('66 0f 38 82 04 25 00 60 00 00');
  });

  test.each([
    { hex: '0f 08', fault: 'GP(0)', why: 'INVD outside ring 0' },
    { hex: '0f 09', fault: 'GP(0)', why: 'WBINVD outside ring 0' },
    { hex: '0f 33', fault: 'GP(0)', why: 'RDPMC without CR4.PCE' },
    { hex: '0f 01 c8', fault: 'UD', why: 'MONITOR' },
    { hex: '0f 01 c9', fault: 'UD', why: 'MWAIT' },
    { hex: '0f 01 d0', fault: 'UD', why: 'XGETBV without OSXSAVE' },
    { hex: '0f 01 cb', fault: 'UD', why: 'STAC outside ring 0' },
    { hex: '0f 0b', fault: 'UD', why: 'UD2' },
  ])('$why faults with $fault', ({ hex, fault }) => {
    expect(new TestMachine().long(3).faultOf(hex)).toBe(fault);
  });

  test('STAC and CLAC set and clear AC', () => {
    const m = new TestMachine().long();
    m.run('0f 01 cb');
    expect(readFlags(m.state) & 0x4_0000).toBe(0x4_0000);
    m.run('0f 01 ca');
    expect(readFlags(m.state) & 0x4_0000).toBe(0);
  });
});

describe('reset', () => {
  test('power-up starts at FFFFFFF0H in real-address mode', () => {
    const m = new TestMachine().long(3);
    powerUp(m.cpu);
    const { state } = m;
    expect([state.mode, state.cpl, state.rip]).toEqual([CpuMode.real16, 0, 0xfff0]);
    expect(state.segment(CS)).toMatchObject({ selector: 0xf000, base: 0xffff_0000, limit: 0xffff });
    expect([state.cr0, state.cr4, state.efer, readFlags(state)]).toEqual([0x6000_0010, 0, 0, 2]);
    expect([state.dr6, state.dr7, state.idtrLimit, state.gpr(4)]).toEqual([0xffff_0ff0, 0x400, 0xffff, 0n]);
    expect(state.pat).toBe(0x0007_0406_0007_0406n);
  });

  test('power-up clears registers and MSRs, and leaves the bookkeeping of the executions', () => {
    const m = new TestMachine().long();
    m.state.setGpr(15, 1n);
    m.state.lstar = 0x1234n;
    m.state.retired = 77n;
    m.state.budget = 5n;
    powerUp(m.cpu);
    expect([m.state.gpr(15), m.state.lstar, m.state.retired, m.state.budget]).toEqual([0n, 0n, 77n, 5n]);
  });

  test('INIT keeps MSRs and the cache bits of CR0', () => {
    const m = new TestMachine().long();
    m.state.lstar = 0x1234n;
    init(m.cpu);
    expect([m.state.lstar, m.state.cr0, m.state.rip, m.state.cr3]).toEqual([0x1234n, 0x10, 0xfff0, 0]);
  });
});
