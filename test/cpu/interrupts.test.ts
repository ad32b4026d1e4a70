import { describe, expect, test } from 'vitest';
import { GP, PF, UD, VmExit } from '../../engine/cpu/events.ts';
import { readFlags } from '../../engine/cpu/flags.ts';
import { deliverExternalInterrupt, deliverNmi, raiseFault } from '../../engine/cpu/interrupts.ts';
import { CpuMode } from '../../engine/cpu/modes.ts';
import { CS, SS } from '../../engine/cpu/state.ts';
import { plus } from '../../engine/isa/linear-address.ts';
import { CODE, GDT, IDT, STACK, STACK0, sel, TestMachine, TSS } from './machine.ts';

const IF = 0x200;
const TF = 0x100;
const NT = 0x4000;
const RF = 0x1_0000;
const HANDLER = 0xb000;

const setFlags = (m: TestMachine, flags: number): void => m.cpu.writeFlags(flags | 2);

/** 32-bit ring 3 with a ring 0 stack in the TSS. */
function userMachine(): TestMachine {
  const m = new TestMachine().protected(3);
  m.u32(TSS + 4, STACK0);
  m.u32(TSS + 8, sel.data);
  return m;
}

function longUserMachine(): TestMachine {
  const m = new TestMachine().long(3);
  m.u64(TSS + 4, BigInt(STACK0));
  return m;
}

describe('real-address mode', () => {
  test('INT pushes FLAGS, CS, IP and enters through the IVT with IF and TF clear', () => {
    const m = new TestMachine().real();
    m.u16(0x21 * 4, 0x5678);
    m.u16(0x21 * 4 + 2, 0x1234);
    setFlags(m, IF);
    m.run('cd 21');
    expect(m.state.rip).toBe(0x5678);
    expect(m.state.segment(CS)).toMatchObject({ selector: 0x1234, base: 0x12340 });
    expect(m.stack(3, 2)).toEqual([CODE + 2, 0, IF | 2]);
    expect(readFlags(m.state) & IF).toBe(0);
  });

  test('IRET restores IP, CS and FLAGS', () => {
    const m = new TestMachine().real();
    m.u16(0x21 * 4, 0x5678);
    setFlags(m, IF | 1);
    m.run('cd 21');
    m.run('cf');
    expect(m.state.rip).toBe(CODE + 2);
    expect(readFlags(m.state)).toBe(IF | 3);
    expect(m.state.gpr32(4)).toBe(STACK);
  });

  test('a fault pushes no error code and the address of the instruction', () => {
    const m = new TestMachine().real();
    m.u16(13 * 4, HANDLER);
    raiseFault(m.cpu, GP(0));
    expect(m.state.rip).toBe(HANDLER);
    expect(m.stack(3, 2)[0]).toBe(CODE);
    expect(m.state.gpr32(4)).toBe(STACK - 6);
  });
});

describe('protected mode', () => {
  test('an interrupt gate of the same ring pushes EFLAGS, CS, EIP and clears IF, TF, NT', () => {
    const m = new TestMachine().protected();
    m.gate(0x40, sel.code32, HANDLER);
    setFlags(m, IF | TF | NT);
    deliverExternalInterrupt(m.cpu, 0x40);
    expect(m.state.rip).toBe(HANDLER);
    expect(m.stack(3, 4)).toEqual([CODE, sel.code32, IF | TF | NT | 2]);
    expect(readFlags(m.state)).toBe(2);
  });

  test('a trap gate leaves IF', () => {
    const m = new TestMachine().protected();
    m.gate(0x40, sel.code32, HANDLER, { type: 15 });
    setFlags(m, IF);
    deliverExternalInterrupt(m.cpu, 0x40);
    expect(readFlags(m.state)).toBe(IF | 2);
  });

  test('to an inner ring the stack comes from the TSS, and SS:ESP is pushed first', () => {
    const m = userMachine();
    m.gate(0x80, sel.code32, HANDLER, { dpl: 3 });
    m.run('cd 80');
    expect(m.state.cpl).toBe(0);
    expect(m.state.segment(SS).selector).toBe(sel.data);
    expect(m.state.segment(CS).selector).toBe(sel.code32);
    expect(m.state.gpr32(4)).toBe(STACK0 - 20);
    expect(m.stack(5, 4)).toEqual([CODE + 2, sel.userCode32, 2, STACK, sel.userData]);
  });

  test('INT n needs the CPL to be at most the DPL of the gate; faults and interrupts do not', () => {
    const m = userMachine();
    m.gate(0x80, sel.code32, HANDLER);
    m.gate(13, sel.code32, HANDLER + 0x100);
    m.step('cd 80');
    expect(m.state.rip).toBe(HANDLER + 0x100);
    expect(m.stack(2, 4)).toEqual([0x80 * 8 + 2, CODE]);
  });

  test('an exception pushes its error code, and RF in the image of EFLAGS', () => {
    const m = userMachine();
    m.gate(14, sel.code32, HANDLER);
    raiseFault(m.cpu, PF(6, 0x1234_5000));
    expect(m.stack(4, 4)).toEqual([6, CODE, sel.userCode32, RF | 2]);
    expect(m.state.cr2).toBe(0x1234_5000n);
  });

  test('an interrupt saves RF as it is', () => {
    const m = new TestMachine().protected();
    m.gate(0x40, sel.code32, HANDLER);
    deliverExternalInterrupt(m.cpu, 0x40);
    expect(m.stack(3, 4)[2]).toBe(2);
  });

  test.each([
    { why: 'a missing gate', code: 0x40 * 8 + 3, prepare: (m: TestMachine) => m.u64(IDT + 0x200, 0n), fault: 13 },
    {
      why: 'a gate that is not present',
      code: 0x40 * 8 + 3,
      prepare: (m: TestMachine) => m.physical.writeU8(IDT + 0x205, 0x0e),
      fault: 11,
    },
    {
      why: 'a vector beyond the IDT limit',
      code: 0x40 * 8 + 3,
      prepare: (m: TestMachine) => (m.state.idtrLimit = 0x1ff),
      fault: 13,
    },
    {
      why: 'a data segment in the gate',
      code: sel.data + 1,
      prepare: (m: TestMachine) => m.gate(0x40, sel.data, HANDLER),
      fault: 13,
    },
    { why: 'a null selector in the gate', code: 1, prepare: (m: TestMachine) => m.gate(0x40, 0, HANDLER), fault: 13 },
    { why: 'a null stack selector in the TSS', code: 1, prepare: (m: TestMachine) => m.u32(TSS + 8, 0), fault: 10 },
    {
      why: 'a stack segment of the wrong ring',
      code: (sel.userData & ~3) + 1,
      prepare: (m: TestMachine) => m.u32(TSS + 8, sel.userData),
      fault: 10,
    },
    {
      why: 'a TSS too short for the stack',
      code: sel.tss + 1,
      prepare: (m: TestMachine) => (m.state.segment(7).limit = 8),
      fault: 10,
    },
  ])('$why faults during delivery with EXT set', ({ prepare, fault, code }) => {
    const m = userMachine();
    m.gate(0x40, sel.code32, HANDLER);
    const exceptions: (number | undefined)[] = [];
    m.cpu.intercepts = {
      onException: (raised) => {
        exceptions.push(raised.vector, raised.errorCode);
        throw new VmExit(0);
      },
    };
    prepare(m);
    expect(() => deliverExternalInterrupt(m.cpu, 0x40)).toThrow();
    expect(exceptions).toEqual([fault, code]);
    expect(m.cpu.delivering).toMatchObject({ vector: 0x40, type: 0 });
  });
});

describe('conditions for generating a double fault', () => {
  /** Gates for everything but what the table leaves out. */
  function machine(missing: number[]): TestMachine {
    const m = new TestMachine().protected();
    for (const vector of [8, 10, 11, 13, 14])
      if (!missing.includes(vector)) m.gate(vector, sel.code32, HANDLER + vector);
    return m;
  }

  test('a contributory exception during a contributory exception', () => {
    const m = machine([10]);
    raiseFault(m.cpu, { vector: 10, errorCode: 0, linear: undefined });
    expect(m.state.rip).toBe(HANDLER + 8);
    expect(m.stack(2, 4)).toEqual([0, CODE]);
  });

  test('a contributory exception during a page fault', () => {
    const m = machine([14]);
    raiseFault(m.cpu, PF(0, 0x5000));
    expect(m.state.rip).toBe(HANDLER + 8);
  });

  test('an exception during a benign one is delivered in its place', () => {
    const m = machine([]);
    raiseFault(m.cpu, UD());
    expect(m.state.rip).toBe(HANDLER + 13);
    expect(m.stack(2, 4)).toEqual([6 * 8 + 3, CODE]);
  });

  test('a fault during the double fault shuts down', () => {
    let shutdowns = 0;
    const m = new TestMachine({ tripleFault: () => shutdowns++ }).protected();
    raiseFault(m.cpu, GP(0));
    expect(shutdowns).toBe(1);
    expect(m.state.activityState).toBe(2);
    expect(m.state.rip).toBe(CODE);
  });
});

describe('64-bit mode', () => {
  test('the stack is aligned to 16 bytes and SS:RSP is always pushed', () => {
    const m = new TestMachine().long();
    m.gate(0x40, sel.code64, HANDLER);
    m.state.setGprLinear(4, STACK - 4);
    deliverExternalInterrupt(m.cpu, 0x40);
    expect(m.state.gprLinear(4)).toBe(STACK - 16 - 40);
    expect(m.stack(5, 8)).toEqual([CODE, sel.code64, 2, STACK - 4, sel.data]);
    expect(m.state.segment(SS).selector).toBe(sel.data);
  });

  test('from ring 3 RSP comes from RSP0 and SS becomes null; IRETQ returns', () => {
    const m = longUserMachine();
    m.gate(14, sel.code64, HANDLER);
    raiseFault(m.cpu, PF(4, -0x1000));
    expect(m.state.cpl).toBe(0);
    expect(m.state.segment(SS)).toMatchObject({ selector: 0, attributes: 0x1_0000 });
    expect(m.stack(6, 8)).toEqual([4, CODE, sel.userCode64, RF | 2, STACK, sel.userData]);
    expect(m.state.cr2).toBe(0xffff_ffff_ffff_f000n);
    m.state.setGprLinear(4, plus(m.state.gprLinear(4), 8));
    m.run('48 cf');
    expect(m.state.cpl).toBe(3);
    expect(m.state.rip).toBe(CODE);
    expect(m.state.gprLinear(4)).toBe(STACK);
    expect(m.state.segment(SS).selector).toBe(sel.userData);
    expect(readFlags(m.state)).toBe(RF | 2);
  });

  test('an IST gate takes its stack whatever the CPL', () => {
    const m = new TestMachine().long();
    m.gate(2, sel.code64, HANDLER, { ist: 3 });
    m.u64(TSS + 36 + 16, BigInt(STACK0));
    deliverNmi(m.cpu);
    expect(m.state.gprLinear(4)).toBe(STACK0 - 40);
    expect(m.state.interruptibility & 8).toBe(8);
    m.run('48 cf');
    expect(m.state.interruptibility & 8).toBe(0);
    expect(m.state.gprLinear(4)).toBe(STACK);
  });

  test('a stack pointer in the TSS that is not canonical faults with SS, then #DF on the second fault', () => {
    const m = longUserMachine();
    m.u64(TSS + 4, 0x8000_0000_0000n);
    const seen: number[] = [];
    m.cpu.intercepts = { onException: (fault) => void seen.push(fault.vector) };
    m.gate(13, sel.code64, HANDLER);
    m.gate(12, sel.code64, HANDLER);
    m.gate(8, sel.code64, HANDLER, { ist: 1 });
    m.u64(TSS + 36, BigInt(STACK0));
    raiseFault(m.cpu, GP(0));
    expect(seen).toEqual([13, 12, 8]);
    expect(m.state.rip).toBe(HANDLER);
    expect(m.stack(2, 8)).toEqual([0, CODE]);
  });

  test('a handler that is not 64-bit code faults', () => {
    const m = new TestMachine().long();
    m.gate(0x40, sel.code32, HANDLER);
    m.gate(13, sel.code64, HANDLER);
    deliverExternalInterrupt(m.cpu, 0x40);
    expect(m.stack(1, 8)).toEqual([sel.code32 | 1]);
  });
});

describe('IRET', () => {
  function iretTo(m: TestMachine, frame: number[]): void {
    for (const [index, value] of frame.entries()) m.u32(STACK - frame.length * 4 + index * 4, value);
    m.state.setGpr32(4, STACK - frame.length * 4);
  }

  test('ring 3 changes neither IOPL nor, above IOPL, IF', () => {
    const m = new TestMachine().protected(3);
    iretTo(m, [CODE + 0x10, sel.userCode32, 0x3000 | IF | 1]);
    m.run('cf');
    expect(m.state.rip).toBe(CODE + 0x10);
    expect(readFlags(m.state)).toBe(3);
  });

  test('to an outer ring makes data segments null that it may not use', () => {
    const m = new TestMachine().protected();
    iretTo(m, [CODE, sel.userCode32, 2, STACK, sel.userData]);
    m.run('cf');
    expect(m.state.segment(3).attributes & 0x1_0000).toBe(0x1_0000);
    expect(m.state.segment(SS).selector).toBe(sel.userData);
    expect(m.state.mode).toBe(CpuMode.protected32);
  });

  test.each([
    { frame: [CODE, 0, 2], fault: 'GP(0)', why: 'a null CS' },
    { frame: [CODE, sel.data, 2], fault: 'GP(10)', why: 'a data segment as CS' },
    { frame: [CODE, sel.code32 | 3, 2], fault: 'GP(8)', why: 'a CS whose DPL is not its RPL' },
    { frame: [CODE, sel.userCode32, 2, STACK, sel.data], fault: 'GP(10)', why: 'an SS of the inner ring' },
    { frame: [CODE, sel.userCode32, 2, STACK, 0], fault: 'GP(0)', why: 'a null SS' },
    { frame: [0x1_0000, sel.code16, 2], fault: 'GP(0)', why: 'an EIP beyond the limit' },
  ])('$why faults with $fault', ({ frame, fault }) => {
    const m = new TestMachine().protected();
    m.physical.writeU8(GDT + sel.userData - 3 + 5, 0xf3);
    iretTo(m, frame);
    expect(m.faultOf('cf')).toBe(fault);
  });

  test('ring 3 cannot return to ring 0', () => {
    const m = new TestMachine().protected(3);
    iretTo(m, [CODE, sel.code32, 2]);
    expect(m.faultOf('cf')).toBe('GP(8)');
  });
});

describe('software exceptions', () => {
  test('INT3 returns to the next instruction; INTO only with OF set', () => {
    const m = new TestMachine().protected();
    m.gate(3, sel.code32, HANDLER);
    m.gate(4, sel.code32, HANDLER + 4);
    m.run('ce');
    expect(m.state.rip).toBe(CODE + 1);
    setFlags(m, 0x800);
    m.run('ce');
    expect(m.state.rip).toBe(HANDLER + 4);
    m.run('cc');
    expect(m.stack(1, 4)).toEqual([HANDLER + 5]);
  });

  test('the DPL check applies to INT3, not to INT1', () => {
    const m = userMachine();
    m.gate(1, sel.code32, HANDLER);
    m.gate(3, sel.code32, HANDLER);
    m.gate(13, sel.code32, HANDLER + 13);
    m.step('cc');
    expect(m.state.rip).toBe(HANDLER + 13);
    const again = userMachine();
    again.gate(1, sel.code32, HANDLER);
    again.step('f1');
    expect(again.state.rip).toBe(HANDLER);
  });
});
