import { describe, expect, test } from 'vitest';
import { readFlags } from '../../engine/cpu/flags.ts';
import { CpuMode } from '../../engine/cpu/modes.ts';
import { CS, FS, GS, SS } from '../../engine/cpu/state.ts';
import { CODE, STACK, STACK0, sel, TestMachine } from './machine.ts';

const SYSCALL = '0f 05';
const SYSRETQ = '48 0f 07';
const SYSRETD = '0f 07';
const SYSEXITQ = '48 0f 35';

/** SYSCALL to 18H/20H, SYSRET to 28H-based selectors. */
function withSyscall(cpl: number): TestMachine {
  const m = new TestMachine().long(cpl);
  m.state.efer |= 1;
  m.state.star = (0x0020n << 48n) | (0x0018n << 32n);
  m.state.lstar = 0xffff_8000_0000_1000n;
  m.state.fmask = 0x200;
  return m;
}

describe('SYSCALL and SYSRET', () => {
  test('SYSCALL saves RIP and RFLAGS, masks RFLAGS, and loads flat CS and SS', () => {
    const m = withSyscall(3);
    m.cpu.writeFlags(0x201 | 2);
    m.run(SYSCALL);
    expect(m.state.rip).toBe(-0x8000_0000_0000 + 0x1000);
    expect(m.state.gpr(1)).toBe(BigInt(CODE + 2));
    expect(m.state.gpr(11)).toBe(0x203n);
    expect(readFlags(m.state)).toBe(3);
    expect(m.state.cpl).toBe(0);
    expect(m.state.segment(CS)).toMatchObject({ selector: 0x18, base: 0, limit: 0xffff_ffff, attributes: 0xa09b });
    expect(m.state.segment(SS)).toMatchObject({ selector: 0x20, base: 0, limit: 0xffff_ffff, attributes: 0xc093 });
    expect(m.state.gprLinear(4)).toBe(STACK);
  });

  test('SYSRETQ returns to ring 3 with STAR selectors + 16 and + 8', () => {
    const m = withSyscall(0);
    m.state.setGpr(1, 0x1234n);
    m.state.setGpr(11, 0x3_0203n);
    m.run(SYSRETQ);
    expect([m.state.cpl, m.state.rip, m.state.mode]).toEqual([3, 0x1234, CpuMode.long64]);
    expect(m.state.segment(CS)).toMatchObject({ selector: 0x33, attributes: 0xa0fb });
    expect(m.state.segment(SS)).toMatchObject({ selector: 0x2b, attributes: 0xc0f3 });
    expect(readFlags(m.state)).toBe(0x203);
  });

  test('SYSRET with a 32-bit operand returns to compatibility mode with the STAR selector', () => {
    const m = withSyscall(0);
    m.state.setGpr(1, 0xffff_ffff_0000_1234n);
    m.run(SYSRETD);
    expect([m.state.cpl, m.state.rip, m.state.mode]).toEqual([3, 0x1234, CpuMode.compatibility32]);
    expect(m.state.segment(CS).selector).toBe(0x23);
  });

  test('SYSRETQ to an address that is not canonical faults in ring 0', () => {
    const m = withSyscall(0);
    m.state.setGpr(1, 0x8000_0000_0000n);
    expect(m.faultOf(SYSRETQ)).toBe('GP(0)');
  });

  test('SYSRET is privileged; both need EFER.SCE and 64-bit mode', () => {
    expect(withSyscall(3).faultOf(SYSRETQ)).toBe('GP(0)');
    expect(new TestMachine().long(3).faultOf(SYSCALL)).toBe('UD');
    const compatibility = withSyscall(0);
    compatibility.u32(0x6000, CODE);
    compatibility.u16(0x6004, sel.code32);
    compatibility.run('ff 2c 25 00 60 00 00');
    expect(compatibility.faultOf(SYSCALL)).toBe('UD');
  });
});

describe('SYSENTER and SYSEXIT', () => {
  test('SYSENTER loads CS, SS, ESP, EIP from the MSRs and clears IF', () => {
    const m = new TestMachine().protected(3);
    m.state.sysenterCs = 0x08;
    m.state.sysenterEsp = STACK0;
    m.state.sysenterEip = 0xb000;
    m.run('0f 34');
    expect([m.state.cpl, m.state.rip, m.state.gpr32(4)]).toEqual([0, 0xb000, STACK0]);
    expect(m.state.segment(CS)).toMatchObject({ selector: 8, attributes: 0xc09b });
    expect(m.state.segment(SS)).toMatchObject({ selector: 0x10, attributes: 0xc093 });
  });

  test('SYSEXIT goes to EDX and ECX in ring 3 with selectors + 16 and + 24', () => {
    const m = new TestMachine().protected();
    m.state.sysenterCs = 0x08;
    m.state.setGpr(2, 0x1000n);
    m.state.setGpr(1, 0x2000n);
    m.run('0f 35');
    expect([m.state.cpl, m.state.rip, m.state.gpr32(4)]).toEqual([3, 0x1000, 0x2000]);
    expect(m.state.segment(CS).selector).toBe(0x1b);
    expect(m.state.segment(SS).selector).toBe(0x23);
  });

  test('SYSEXIT with REX.W uses + 32 and + 40', () => {
    const m = new TestMachine().long();
    m.state.sysenterCs = 0x10;
    m.run(SYSEXITQ);
    expect(m.state.segment(CS)).toMatchObject({ selector: 0x33, attributes: 0xa0fb });
    expect(m.state.segment(SS).selector).toBe(0x3b);
  });

  test('a null IA32_SYSENTER_CS faults, as does real-address mode, and SYSEXIT outside ring 0', () => {
    expect(new TestMachine().protected(3).faultOf('0f 34')).toBe('GP(0)');
    expect(new TestMachine().real().faultOf('0f 34')).toBe('GP(0)');
    const m = new TestMachine().protected(3);
    m.state.sysenterCs = 8;
    expect(m.faultOf('0f 35')).toBe('GP(0)');
  });
});

describe('SWAPGS and the base instructions', () => {
  test('SWAPGS exchanges GS.base and IA32_KERNEL_GS_BASE', () => {
    const m = new TestMachine().long();
    m.state.segment(GS).base = 0x1000;
    m.state.kernelGsBase = -0x2000;
    m.run('0f 01 f8');
    expect([m.state.segment(GS).base, m.state.kernelGsBase]).toEqual([-0x2000, 0x1000]);
  });

  test('SWAPGS is privileged', () => {
    expect(new TestMachine().long(3).faultOf('0f 01 f8')).toBe('GP(0)');
  });

  test('WRFSBASE needs CR4.FSGSBASE and a canonical address', () => {
    const m = new TestMachine().long(3);
    expect(m.faultOf('f3 48 0f ae d0')).toBe('UD');
    m.state.cr4 |= 1 << 16;
    m.state.setGpr(0, 0xffff_8000_0000_0000n);
    m.run('f3 48 0f ae d0');
    expect(m.state.segment(FS).base).toBe(-0x8000_0000_0000);
    m.run('f3 48 0f ae c3');
    expect(m.state.gpr(3)).toBe(0xffff_8000_0000_0000n);
    m.state.setGpr(0, 1n << 56n);
    expect(m.faultOf('f3 48 0f ae d0')).toBe('GP(0)');
  });
});

describe('RDFSBASE, RDGSBASE, WRFSBASE, WRGSBASE', () => {
  const FSGSBASE = 1 << 16;
  const RBX = 3;
  const BASE = 0x1234_8765_4321;
  const instructions = [
    { name: 'RDFSBASE', segment: FS, isRead: true, narrow: 'f3 0f ae c3', wide: 'f3 48 0f ae c3' },
    { name: 'RDGSBASE', segment: GS, isRead: true, narrow: 'f3 0f ae cb', wide: 'f3 48 0f ae cb' },
    { name: 'WRFSBASE', segment: FS, isRead: false, narrow: 'f3 0f ae d3', wide: 'f3 48 0f ae d3' },
    { name: 'WRGSBASE', segment: GS, isRead: false, narrow: 'f3 0f ae db', wide: 'f3 48 0f ae db' },
  ];
  const allowed = (cpl: 0 | 3) => {
    const m = new TestMachine().long(cpl);
    m.state.cr4 |= FSGSBASE;
    return m;
  };

  test.each(instructions)('$name needs CR4.FSGSBASE, in ring 0 too', ({ narrow, wide }) => {
    for (const cpl of [0, 3]) {
      const m = new TestMachine().long(cpl);
      expect([m.faultOf(narrow), m.faultOf(wide)]).toEqual(['UD', 'UD']);
    }
  });

  test.each(instructions)('$name is for 64-bit mode alone', ({ narrow }) => {
    for (const mode of ['real', 'protected'] as const) {
      const m = new TestMachine()[mode]();
      m.state.cr4 |= FSGSBASE;
      expect(m.faultOf(narrow)).toBe('UD');
    }
    const m = allowed(0);
    m.u64(STACK - 16, BigInt(CODE));
    m.u64(STACK - 8, BigInt(sel.code32));
    m.state.setGprLinear(4, STACK - 16);
    m.run('48 cb'); // RETFQ
    expect(m.faultOf(narrow)).toBe('UD');
  });

  test.each(instructions)('$name moves 64 bits, or 32 with zeros above, at any CPL', (row) => {
    for (const cpl of [0, 3] as const) {
      const m = allowed(cpl);
      const from = BigInt(BASE);
      const run = (hex: string) => {
        m.state.segment(row.segment).base = row.isRead ? BASE : 0;
        m.state.setGpr(RBX, row.isRead ? -1n : from);
        m.run(hex);
        return row.isRead ? m.state.gpr(RBX) : BigInt(m.state.segment(row.segment).base);
      };
      expect([run(row.wide), run(row.narrow)]).toEqual([from, 0x8765_4321n]);
      const other = row.segment === FS ? GS : FS;
      expect(m.state.segment(other).base).toBe(0);
    }
  });

  test.each(instructions.filter(({ isRead }) => !isRead))(
    '$name refuses what is not canonical',
    ({ narrow, wide, segment }) => {
      const m = allowed(3);
      m.state.setGpr(RBX, 0x8000_0000_0000_0001n);
      expect(m.faultOf(wide)).toBe('GP(0)');
      m.run(narrow);
      expect(m.state.segment(segment).base).toBe(1);
    },
  );
});
