/** What the recorded vectors of the x87 cannot show: availability, pointers and selectors, FERR#, formats of other modes. */

import { describe, expect, test } from 'vitest';
import { plus } from '../../engine/isa/linear-address.ts';
import { CODE, sel, TestMachine } from './machine.ts';

const AREA = 0xb000;
const [MP, EM, TS, NE] = [2, 4, 8, 0x20];
const [FNINIT, FLD1, FLDZ, FDIV, FWAIT, FNSTSW_AX] = ['db e3', 'd9 e8', 'd9 ee', 'd8 f1', '9b', 'df e0'];
const RAX = 0;

/** A quotient by zero is pending, unmasked. */
function withPending(m: TestMachine): TestMachine {
  m.run(FNINIT);
  m.state.fcw = 0x37b;
  for (const code of [FLDZ, FLD1, FDIV]) m.run(code);
  return m;
}

describe('availability', () => {
  test('EM and TS hold off all but WAIT, which heeds TS together with MP', () => {
    const m = new TestMachine().protected();
    m.state.cr0 |= NE;
    m.run(FNINIT);
    for (const bit of [EM, TS]) {
      m.state.cr0 |= bit;
      expect([m.faultOf(FLD1), m.faultOf(FNSTSW_AX), m.faultOf(FWAIT)]).toEqual(['NM', 'NM', 'none']);
      m.state.cr0 &= ~bit;
    }
    m.state.cr0 |= TS | MP;
    expect(m.faultOf(FWAIT)).toBe('NM');
  });

  test('FNENI, FNDISI and FNSETPM do nothing', () => {
    const m = new TestMachine().protected();
    const before = m.state.fsw;
    for (const code of ['db e0', 'db e1', 'db e4']) m.run(code);
    expect([m.state.fsw, m.state.rip]).toEqual([before, CODE + 6]);
  });
});

describe('a pending exception', () => {
  test('is reported by the next waiting instruction as #MF, with CR0.NE = 1', () => {
    const m = new TestMachine().protected();
    m.state.cr0 |= NE;
    withPending(m);
    expect([m.faultOf(FLD1), m.faultOf(FWAIT)]).toEqual(['MF', 'MF']);
    m.run(FNSTSW_AX);
    expect(m.state.gpr32(RAX) & 0x80ff).toBe(0x8084);
    m.run('db e2'); // FNCLEX
    m.run(FWAIT);
  });

  test('asserts FERR# with CR0.NE = 0, and is waited for unless IGNNE# is asserted', () => {
    const m = new TestMachine().protected();
    let [changes, ignored] = [0, false];
    m.cpu.fpuErrors = { changed: () => changes++, ignoresErrors: () => ignored };
    withPending(m);
    expect(changes).toBeGreaterThan(0);
    const at = m.state.rip;
    m.run(FLD1);
    expect([m.state.rip, (m.state.fsw >> 11) & 7]).toEqual([at, 6]);
    ignored = true;
    m.run(FLD1);
    expect([m.state.rip, (m.state.fsw >> 11) & 7]).toEqual([plus(at, 2), 5]);
  });
});

describe('the last instruction', () => {
  test('leaves its opcode, its address and that of its operand, with selectors; control instructions do not', () => {
    const m = new TestMachine().protected();
    m.run(FNINIT);
    m.state.setGpr32(RAX, AREA);
    const at = m.state.rip;
    m.run('dd 40 08'); // FLD QWORD [EAX+8]
    m.run('d9 2d 00 b0 00 00'); // FLDCW [AREA]
    const { fop, fip, fdp, fcs, fds } = m.state;
    expect([fop, fip, fdp, fcs, fds]).toEqual([0x540, at, AREA + 8, sel.code32, sel.data]);
    m.run('d8 c0'); // FADD ST, ST
    expect([m.state.fop, m.state.fip, m.state.fdp]).toEqual([0xc0, plus(at, 9), AREA + 8]);
  });

  test('is stored by linear address in real-address mode, in both sizes', () => {
    const m = new TestMachine().real();
    m.run(FNINIT);
    Object.assign(m.state, { fop: 0x345, fip: 0x2345, fcs: 0x1230, fdp: 0x8765, fds: 0x4000 });
    m.run('d9 36 00 b0'); // FNSTENV [AREA], 14 bytes
    const words = Array.from({ length: 7 }, (_, n) => m.physical.readU16(AREA + 2 * n));
    expect(words).toEqual([0x37f, 0, 0xffff, 0x4645, 0x1345, 0x8765, 0x4000]);
    m.run('66 d9 36 40 b0'); // 28 bytes
    const doublewords = Array.from({ length: 7 }, (_, n) => m.physical.readU32(AREA + 64 + 4 * n));
    expect(doublewords).toEqual([0xffff_037f, 0xffff_0000, 0xffff_ffff, 0xffff_4645, 0x1345, 0xffff_8765, 0x4000]);
    m.run('66 d9 26 40 b0'); // FLDENV
    const { fop, fip, fdp, fcs, fds } = m.state;
    expect([fop, fip, fdp, fcs, fds]).toEqual([0x345, 0x1_4645, 0x4_8765, 0, 0]);
  });
});
