/** What the recorded vectors of FXSAVE and XSAVE cannot show: privilege, enabling, initial configurations, CPUID. */
import { describe, expect, test } from 'vitest';
import { VmExit } from '../../engine/cpu/events.ts';
import { vectorAddress } from '../../engine/cpu/state-layout.ts';
import { TestMachine } from './machine.ts';

const AREA = 0xb000;
const [RAX, RCX, RDX, RSI] = [0, 1, 2, 6];
const OSXSAVE = 0x4_0000;
const OSFXSR = 0x200;
const XSETBV = '0f 01 d1';
const XGETBV = '0f 01 d0';
const FNINIT = 'db e3';

/** 64-bit mode with XSAVE enabled, all components asked for, and an area at RSI. */
function enabled(cpl = 0): TestMachine {
  const m = new TestMachine().long(cpl);
  m.state.cr4 |= OSXSAVE | OSFXSR;
  m.state.xcr0 = 7;
  m.state.setGpr32(RAX, 7);
  m.state.setGpr32(RCX, 0);
  m.state.setGpr32(RDX, 0);
  m.state.setGpr32(RSI, AREA);
  m.run(FNINIT);
  for (let n = 0; n < 8; n++) m.state.setX87Register(n, 0n);
  m.physical.bytes.fill(0xee, AREA, AREA + 1024);
  return m;
}

const qword = (m: TestMachine, offset: number) => m.physical.readU64(AREA + offset);

describe('XSETBV and XGETBV', () => {
  test('are undefined until CR4.OSXSAVE is set, and XSETBV is for ring 0', () => {
    const m = new TestMachine().long();
    expect([m.faultOf(XSETBV), m.faultOf(XGETBV)]).toEqual(['UD', 'UD']);
    expect(enabled(3).faultOf(XSETBV)).toBe('GP(0)');
  });

  test.each([
    ['without x87', 0, 0x2, 0],
    ['with a component that does not exist', 0, 0x101, 0],
    ['with an upper half', 0, 0x3, 1],
    ['of another register', 1, 0x3, 0],
  ])('refuses a value %s', (_what, index, low, high) => {
    const m = enabled();
    m.state.setGpr32(RCX, index);
    m.state.setGpr32(RAX, low);
    m.state.setGpr32(RDX, high);
    expect(m.faultOf(XSETBV)).toBe('GP(0)');
  });

  test('set and show XCR0; with ECX = 1 what is in use', () => {
    const m = enabled();
    m.state.setGpr32(RAX, 3);
    m.run(XSETBV);
    expect(m.state.xcr0).toBe(3);
    m.state.setGpr32(RCX, 1);
    m.run(XGETBV);
    expect(m.state.gpr32(RAX)).toBe(0);
    m.run('d9 e8'); // FLD1
    m.run(XGETBV);
    expect(m.state.gpr32(RAX)).toBe(1);
    m.state.setGpr32(RCX, 2);
    expect(m.faultOf(XGETBV)).toBe('GP(0)');
  });

  test('a VM exit comes after the check of privilege', () => {
    const exit = new VmExit(55);
    const onXsetbv = () => {
      throw exit;
    };
    const m = enabled();
    m.cpu.intercepts = { onXsetbv };
    expect(() => m.run(XSETBV)).toThrow(exit);
    const user = enabled(3);
    user.cpu.intercepts = { onXsetbv };
    expect(user.faultOf(XSETBV)).toBe('GP(0)');
  });
});

describe('the area', () => {
  test('must be aligned, to 16 bytes for FXSAVE, to 64 for XSAVE', () => {
    const m = enabled();
    m.state.setGpr32(RSI, AREA + 8);
    expect(m.faultOf('0f ae 06')).toBe('GP(0)');
    m.state.setGpr32(RSI, AREA + 16);
    expect(m.faultOf('0f ae 26')).toBe('GP(0)');
    m.run('0f ae 06');
  });

  test('TS holds all of them off, EM only FXSAVE and FXRSTOR', () => {
    const forms = ['0f ae 06', '0f ae 0e', '0f ae 26', '0f ae 2e', '0f c7 26', '0f c7 2e'];
    const m = enabled();
    m.state.cr0 |= 8;
    expect(forms.map((form) => m.faultOf(form))).toEqual(forms.map(() => 'NM'));
    m.state.cr0 = (m.state.cr0 & ~8) | 4;
    expect([m.faultOf('0f ae 06'), m.faultOf('0f ae 0e')]).toEqual(['NM', 'NM']);
    m.run('0f ae 26');
  });

  test('XSAVE writes what is in its initial configuration, XSAVEOPT leaves it out, and both say so', () => {
    const m = enabled();
    m.state.view.setBigUint64(vectorAddress(3), 5n, true);
    m.run('0f ae 36'); // XSAVEOPT
    expect([qword(m, 0), qword(m, 512)]).toEqual([0xeeee_eeee_eeee_eeeen, 0xeeee_eeee_eeee_eeean]);
    expect(qword(m, 160 + 48)).toBe(5n);
    m.run('0f ae 26'); // XSAVE
    expect([qword(m, 0), qword(m, 512)]).toEqual([0x37fn, 0xeeee_eeee_eeee_eeean]);
    expect(qword(m, 520), 'the rest of the header is not touched').toBe(0xeeee_eeee_eeee_eeeen);
  });

  test('XSAVEC counts an MXCSR that is not initial for SSE', () => {
    const m = enabled();
    m.run('0f c7 26');
    expect([qword(m, 512), qword(m, 520)]).toEqual([0n, 0x8000_0000_0000_0007n]);
    m.state.mxcsr = 0x1fa0;
    m.run('0f c7 26');
    expect(qword(m, 512)).toBe(2n);
    expect(m.physical.readU32(AREA + 24)).toBe(0x1fa0);
  });

  test('XRSTOR gives a component that the area does not hold its initial configuration', () => {
    const m = enabled();
    m.physical.bytes.fill(0, AREA + 512, AREA + 576);
    m.u32(AREA + 24, 0x1fa0);
    m.run('d9 e8');
    m.state.view.setBigUint64(vectorAddress(3) + 16, 5n, true);
    m.run('0f ae 2e');
    expect(m.state.view.getBigUint64(vectorAddress(3) + 16, true)).toBe(0n);
    expect([m.state.fcw, m.state.fsw, m.state.ftw, m.state.mxcsr]).toEqual([0x37f, 0, 0, 0x1fa0]);
  });
});

describe('PKRU as component 9', () => {
  /** All of the area is zero, and PKRU asked for beside the others in `components`. */
  function withPkru(components: number): TestMachine {
    const m = enabled();
    m.physical.bytes.fill(0, AREA, AREA + 4096);
    m.state.xcr0 = 0x207;
    m.state.setGpr32(RAX, components | 0x200);
    m.state.pkru = 0x5555_5554;
    return m;
  }
  test.each([
    ['XSAVE', '0f ae 26', 7, 2688],
    ['XSAVEOPT', '0f ae 36', 7, 2688],
    ['XSAVEC with AVX', '0f c7 26', 7, 832],
    ['XSAVEC without AVX', '0f c7 26', 3, 576],
    ['XSAVES', '0f c7 2e', 3, 576],
  ])('%s saves it whatever CR4.PKE is, and XRSTOR restores it', (_name, save, components, offset) => {
    const m = withPkru(components);
    m.run(save);
    expect([qword(m, offset), qword(m, 512) & 0x200n]).toEqual([0x5555_5554n, 0x200n]);
    m.state.pkru = 3;
    m.run('0f ae 2e');
    expect(m.state.pkru).toBe(0x5555_5554);
  });
  test('is 0 in its initial configuration, which XSAVEOPT leaves out and XRSTOR gives back', () => {
    const m = withPkru(7);
    m.state.pkru = 0;
    m.u32(AREA + 2688, 77);
    m.run('0f ae 36');
    expect([qword(m, 2688), qword(m, 512) & 0x200n]).toEqual([77n, 0n]);
    m.state.pkru = 3;
    m.run('0f ae 2e');
    expect(m.state.pkru).toBe(0);
  });
  test('is in use if it is not 0, for XGETBV', () => {
    const m = withPkru(7);
    m.state.setGpr32(RCX, 1);
    m.run(XGETBV);
    expect(m.state.gpr32(RAX) & 0x200).toBe(0x200);
  });
});

describe('XSAVES and XRSTORS', () => {
  test('are for ring 0, and XRSTORS takes the compacted format only', () => {
    const user = enabled(3);
    expect([user.faultOf('0f c7 2e'), user.faultOf('0f c7 1e')]).toEqual(['GP(0)', 'GP(0)']);
    const m = enabled();
    m.run('0f ae 26');
    m.physical.bytes.fill(0, AREA + 512, AREA + 576);
    expect(m.faultOf('0f c7 1e')).toBe('GP(0)');
    m.run('0f c7 2e');
    m.run('0f c7 1e');
    expect(m.state.fcw).toBe(0x37f);
  });

  test('XSAVES saves what is in use of what is asked for, says so, and what the format has room for', () => {
    const m = enabled();
    m.run('d9 e8'); // FLD1
    m.state.setGpr32(RAX, 5);
    m.run('48 0f c7 2e'); // XSAVES64
    expect([qword(m, 512), qword(m, 520)]).toEqual([1n, 0x8000_0000_0000_0005n]);
    expect(qword(m, 528), 'the rest of the header is not touched').toBe(0xeeee_eeee_eeee_eeeen);
    expect(qword(m, 576), 'AVX is not written').toBe(0xeeee_eeee_eeee_eeeen);
  });

  test('XSAVES64 and XRSTORS64 have pointers of 64 bits', () => {
    const m = enabled();
    m.state.setGpr32(RAX, 1);
    m.physical.bytes.fill(0, AREA, AREA + 576);
    m.u64(AREA + 520, (1n << 63n) | 1n);
    const pointer = 0x1234_5678_9abc;
    m.u64(AREA + 8, BigInt(pointer));
    m.u64(AREA + 512, 1n);
    m.run('48 0f c7 1e');
    m.u64(AREA + 8, 0n);
    m.run('48 0f c7 2e');
    expect(qword(m, 8)).toBe(BigInt(pointer));
    m.run('0f c7 2e');
    expect(m.physical.readU32(AREA + 8)).toBe(pointer % 2 ** 32);
  });

  test('XRSTORS gives what is asked for and not held its initial configuration, leaves what is not asked for', () => {
    const m = enabled();
    m.physical.bytes.fill(0, AREA + 512, AREA + 576);
    m.run('0f c7 2e');
    m.run('d9 e8');
    m.state.view.setBigUint64(vectorAddress(3), 5n, true);
    m.state.setGpr32(RAX, 1);
    m.run('0f c7 1e');
    expect([m.state.ftw, m.state.view.getBigUint64(vectorAddress(3), true)]).toEqual([0, 5n]);
    m.state.setGpr32(RAX, 2);
    m.run('0f c7 1e');
    expect(m.state.view.getBigUint64(vectorAddress(3), true)).toBe(0n);
  });

  test('IA32_XSS has no bits', () => {
    const xss = new TestMachine().model.msrs.get(0xda0);
    const { cpu } = new TestMachine().long();
    expect(xss?.read(cpu)).toBe(0n);
    expect(() => xss?.write?.(cpu, 1n)).toThrow();
  });
});

describe('the header of the area', () => {
  const [XRSTOR, XRSTORS] = ['0f ae 2e', '0f c7 1e'];
  const COMPACTED = 1n << 63n;
  /** XCR0 has x87, SSE and AVX; XSTATE_BV, XCOMP_BV, and the qword `offset` bytes behind them. */
  const withHeader = (held: bigint, compaction: bigint, offset = 0, value = 0n) => {
    const m = enabled();
    m.physical.bytes.fill(0, AREA, AREA + 1024);
    m.u64(AREA + 512, held);
    m.u64(AREA + 520, compaction);
    if (value !== 0n) m.u64(AREA + 528 + offset, value);
    return m;
  };

  test.each([
    ['XRSTOR', XRSTOR, 7n, 0n, 'none'],
    ['XRSTOR', XRSTOR, 8n, 0n, 'GP(0)'],
    ['XRSTOR', XRSTOR, 1n << 62n, 0n, 'GP(0)'],
    ['XRSTOR', XRSTOR, 7n, 1n, 'GP(0)'],
    ['XRSTOR', XRSTOR, 7n, COMPACTED | 7n, 'none'],
    ['XRSTOR', XRSTOR, 3n, COMPACTED | 7n, 'none'],
    ['XRSTOR', XRSTOR, 7n, COMPACTED | 3n, 'GP(0)'],
    ['XRSTOR', XRSTOR, 0n, COMPACTED | 8n, 'GP(0)'],
    ['XRSTOR', XRSTOR, COMPACTED, COMPACTED | 7n, 'GP(0)'],
    ['XRSTORS', XRSTORS, 7n, COMPACTED | 7n, 'none'],
    ['XRSTORS', XRSTORS, 0n, COMPACTED, 'none'],
    ['XRSTORS', XRSTORS, 7n, 7n, 'GP(0)'],
    ['XRSTORS', XRSTORS, 0n, 0n, 'GP(0)'],
    ['XRSTORS', XRSTORS, 4n, COMPACTED | 3n, 'GP(0)'],
    ['XRSTORS', XRSTORS, 0n, COMPACTED | (1n << 8n), 'GP(0)'],
  ])('%s (%s) with XSTATE_BV %x and XCOMP_BV %x: %s', (_name, code, held, compaction, fault) => {
    expect(withHeader(held, compaction).faultOf(code)).toBe(fault);
  });

  test('its other bytes are zero: the first eight in the standard format, all in the compacted one', () => {
    const faults = (compaction: bigint) =>
      [0, 8, 40].map((offset) => withHeader(7n, compaction, offset, 1n).faultOf(XRSTOR));
    expect(faults(0n)).toEqual(['GP(0)', 'none', 'none']);
    expect(faults(COMPACTED | 7n)).toEqual(['GP(0)', 'GP(0)', 'GP(0)']);
    expect(withHeader(7n, COMPACTED | 7n, 40, 1n).faultOf(XRSTORS)).toBe('GP(0)');
  });

  test('and MXCSR has no reserved bits, where it is read', () => {
    const m = withHeader(7n, COMPACTED | 7n);
    m.u32(AREA + 24, 0x1_0000);
    expect([m.faultOf(XRSTOR), m.faultOf(XRSTORS)]).toEqual(['GP(0)', 'GP(0)']);
    m.u64(AREA + 512, 5n);
    expect(m.faultOf(XRSTORS)).toBe('none');
  });
});

describe('CPUID leaf 0DH', () => {
  test('gives the components, the sizes for XCR0 and for all, and the forms of saving', () => {
    const m = enabled();
    const { eax: supported, ecx: largest } = m.model.cpuid(m.state, 0xd, 0);
    expect(supported & 3).toBe(3);
    expect(supported & ~7).toBe(0x200);
    expect(largest).toBe(2696);
    expect(m.model.cpuid(m.state, 0xd, 0).ebx).toBe(832);
    m.state.xcr0 = 1;
    expect(m.model.cpuid(m.state, 0xd, 0).ebx).toBe(576);
    expect(m.model.cpuid(m.state, 0xd, 1)).toEqual({ eax: 15, ebx: 576, ecx: 0, edx: 0 });
    expect(m.model.cpuid(m.state, 0xd, 9)).toEqual({ eax: 8, ebx: 2688, ecx: 0, edx: 0 });
    m.state.xcr0 = 0x203;
    expect(m.model.cpuid(m.state, 0xd, 0).ebx).toBe(2696);
    expect(m.model.cpuid(m.state, 0xd, 1).ebx, 'without room for AVX').toBe(584);
    m.state.xcr0 = 0x207;
    expect(m.model.cpuid(m.state, 0xd, 1).ebx).toBe(840);
    expect(m.model.cpuid(m.state, 0xd, 3)).toEqual({ eax: 0, ebx: 0, ecx: 0, edx: 0 });
  });
});
