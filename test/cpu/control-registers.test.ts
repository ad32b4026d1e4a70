import { describe, expect, test } from 'vitest';
import { VmExit } from '../../engine/cpu/events.ts';
import { CpuMode } from '../../engine/cpu/modes.ts';
import { CS } from '../../engine/cpu/state.ts';
import { CODE, PAGE_TABLES, sel, TestMachine } from './machine.ts';

const PE = 1, TS = 8, ET = 0x10, NE = 0x20, NW = 0x2000_0000, CD = 0x4000_0000, PG = 0x8000_0000; // biome-ignore format: one row
const PAE = 0x20, PGE = 0x80, VMXE = 0x2000, PCIDE = 0x2_0000, SMEP = 0x10_0000; // biome-ignore format: one row
const LME = 0x100, LMA = 0x400; // biome-ignore format: one row

const MOV_CR0_EAX = '0f 22 c0';
const MOV_CR3_EAX = '0f 22 d8';
const MOV_CR4_EAX = '0f 22 e0';
const MOV_EAX_CR0 = '0f 20 c0';

const withEax = (m: TestMachine, value: number): TestMachine => {
  m.state.setGpr32(0, value);
  return m;
};

describe('MOV to CR0', () => {
  test.each([
    { value: PG, why: 'PG without PE' },
    { value: PE | NW, why: 'NW without CD' },
  ])('$why faults with GP(0)', ({ value }) => {
    expect(withEax(new TestMachine().real(), value).faultOf(MOV_CR0_EAX)).toBe('GP(0)');
  });

  test('is privileged', () => {
    expect(withEax(new TestMachine().protected(3), PE).faultOf(MOV_CR0_EAX)).toBe('GP(0)');
  });

  test('upper bits must be 0 in 64-bit mode', () => {
    const m = new TestMachine().long();
    m.state.setGpr(0, 0x1_8000_0031n);
    expect(m.faultOf(MOV_CR0_EAX)).toBe('GP(0)');
  });

  test('ET stays 1 and undefined bits stay 0', () => {
    const m = withEax(new TestMachine().real(), 0x1000);
    m.run(MOV_CR0_EAX);
    expect(m.state.cr0).toBe(ET);
  });

  test('setting PE enters protected mode with the old code segment', () => {
    const m = withEax(new TestMachine().real(), PE);
    m.run(MOV_CR0_EAX);
    expect(m.state.mode).toBe(CpuMode.protected16);
  });

  test('setting PG with LME needs PAE, and activates IA-32e mode', () => {
    const m = new TestMachine().protected();
    m.state.efer = LME;
    expect(withEax(m, PE | PG).faultOf(MOV_CR0_EAX)).toBe('GP(0)');
    m.state.cr4 = PAE;
    m.run(MOV_CR0_EAX);
    expect(m.state.efer).toBe(LME | LMA);
    expect(m.state.mode).toBe(CpuMode.compatibility32);
    withEax(m, PE).run(MOV_CR0_EAX);
    expect(m.state.efer).toBe(LME);
    expect(m.state.mode).toBe(CpuMode.protected32);
  });

  test('setting PG with LME faults while CS.L = 1', () => {
    const m = new TestMachine().protected();
    m.state.efer = LME;
    m.state.cr4 = PAE;
    m.state.segment(CS).attributes |= 0x2000;
    expect(withEax(m, PE | PG).faultOf(MOV_CR0_EAX)).toBe('GP(0)');
  });

  test('clearing PG in 64-bit mode faults', () => {
    expect(withEax(new TestMachine().long(), PE).faultOf(MOV_CR0_EAX)).toBe('GP(0)');
  });

  test('enabling PAE paging loads the PDPTEs; reserved bits in one fault with GP(0)', () => {
    const m = new TestMachine().protected();
    m.state.cr4 = PAE;
    m.state.cr3 = 0x6000;
    m.u64(0x6008, 0x1003n);
    expect(withEax(m, PE | PG).faultOf(MOV_CR0_EAX)).toBe('GP(0)');
    m.u64(0x6008, 0x1001n);
    m.u64(0x6000, 0x7001n);
    m.u64(0x7000, 0x87n);
    m.run(MOV_CR0_EAX);
    expect(m.state.cr0).toBe((PE | PG | ET) >>> 0);
    expect(m.mmu.readU32(CODE)).toBe(0);
  });

  test('in VMX operation PE, NE and PG are fixed to 1', () => {
    const m = new TestMachine().long();
    m.state.vmxOperation = 1;
    m.state.cr4 |= VMXE;
    expect(withEax(m, PE | PG).faultOf(MOV_CR0_EAX)).toBe('GP(0)');
    withEax(m, PE | PG | NE | CD).run(MOV_CR0_EAX);
    expect(m.state.cr0).toBe((PE | PG | NE | CD | ET) >>> 0);
  });
});

describe('MOV to CR3', () => {
  test('bits from MAXPHYADDR up are reserved', () => {
    const m = new TestMachine().long();
    m.state.setGpr(0, 1n << 39n);
    expect(m.faultOf(MOV_CR3_EAX)).toBe('GP(0)');
    m.state.setGpr(0, (1n << 63n) | BigInt(PAGE_TABLES));
    expect(m.faultOf(MOV_CR3_EAX)).toBe('GP(0)');
  });

  test('bit 63 is allowed with PCIDE and not stored', () => {
    const m = new TestMachine().long();
    m.state.cr4 |= PCIDE;
    m.state.setGpr(0, (1n << 63n) | BigInt(PAGE_TABLES + 5));
    m.run(MOV_CR3_EAX);
    expect(m.state.cr3).toBe(PAGE_TABLES + 5);
  });
});

describe('MOV to CR4', () => {
  test.each([
    { value: 0x8000_0000, why: 'a reserved bit' },
    { value: PCIDE, why: 'PCIDE outside IA-32e mode' },
  ])('$why faults with GP(0)', ({ value }) => {
    expect(withEax(new TestMachine().protected(), value).faultOf(MOV_CR4_EAX)).toBe('GP(0)');
  });

  test('PAE cannot be cleared in IA-32e mode', () => {
    expect(withEax(new TestMachine().long(), PGE).faultOf(MOV_CR4_EAX)).toBe('GP(0)');
  });

  test('PCIDE needs CR3 bits 11:0 to be 0, and holds off clearing PG', () => {
    const m = new TestMachine().long();
    m.state.cr3 = PAGE_TABLES + 8;
    expect(withEax(m, PAE | PCIDE).faultOf(MOV_CR4_EAX)).toBe('GP(0)');
    m.state.cr3 = PAGE_TABLES;
    m.run(MOV_CR4_EAX);
    expect(m.state.cr4).toBe(PAE | PCIDE);
  });

  test('VMXE cannot be cleared in VMX operation', () => {
    const m = new TestMachine().long();
    m.state.vmxOperation = 1;
    expect(withEax(m, PAE | SMEP).faultOf(MOV_CR4_EAX)).toBe('GP(0)');
  });
});

describe('other forms', () => {
  test('CR1, CR5 and, outside 64-bit mode, CR8 do not exist', () => {
    for (const hex of ['0f 20 c8', '0f 20 e8']) expect(new TestMachine().protected().faultOf(hex)).toBe('UD');
  });

  test('CR8 holds 4 bits', () => {
    const m = withEax(new TestMachine().long(), 0xf);
    m.run('44 0f 22 c0');
    expect(m.state.cr8).toBe(0xf);
    expect(withEax(m, 0x10).faultOf('44 0f 22 c0')).toBe('GP(0)');
  });

  test('LMSW sets PE but does not clear it', () => {
    const m = withEax(new TestMachine().protected(), TS);
    m.run('0f 01 f0');
    expect(m.state.cr0).toBe(PE | TS | ET);
  });

  test('SMSW stores CR0, 16 bits of it in memory', () => {
    const m = new TestMachine().protected();
    m.u32(0x6000, 0xffff_ffff);
    m.run('0f 01 25 00 60 00 00');
    expect(m.physical.readU32(0x6000)).toBe(0xffff_0011);
  });

  test('CLTS is privileged and clears TS', () => {
    const m = new TestMachine().protected();
    m.state.cr0 |= TS;
    m.run('0f 06');
    expect(m.state.cr0 & TS).toBe(0);
    expect(new TestMachine().protected(3).faultOf('0f 06')).toBe('GP(0)');
  });

  test('VMX is asked after the privilege check and before reserved bits', () => {
    const m = withEax(new TestMachine().protected(), 0x8000_0000);
    m.cpu.intercepts = {
      onWriteCr: () => {
        throw new VmExit(28);
      },
      onReadCr: () => 0x77n,
    };
    expect(() => m.run(MOV_CR4_EAX)).toThrow(VmExit);
    m.run(MOV_EAX_CR0);
    expect(m.state.gpr(0)).toBe(0x77n);
  });
});

describe('debug registers', () => {
  test('DR4 and DR5 are DR6 and DR7, unless CR4.DE = 1', () => {
    const m = new TestMachine().protected();
    m.run('0f 21 e0');
    expect(m.state.gpr(0)).toBe(0xffff_0ff0n);
    m.state.cr4 = 8;
    expect(m.faultOf('0f 21 e0')).toBe('UD');
  });

  test('fixed bits of DR6 and DR7 cannot be changed', () => {
    const m = withEax(new TestMachine().protected(), 0);
    m.run('0f 23 f0');
    m.run('0f 23 f8');
    expect([m.state.dr6, m.state.dr7]).toEqual([0xffff_0ff0, 0x400]);
  });

  test('GD makes any access a #DB, whose delivery sets BD and clears GD', () => {
    const m = new TestMachine().protected();
    m.gate(1, sel.code32, 0xb000);
    m.state.dr7 |= 0x2000;
    m.step('0f 21 c0');
    expect(m.state.rip).toBe(0xb000);
    expect(m.state.dr6).toBe(0xffff_2ff0);
    expect(m.state.dr7).toBe(0x400);
    expect(m.stack(3, 4)[2]).toBe(0x1_0002);
  });
});
