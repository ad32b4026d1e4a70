/** VM_CR, and what GIF does to breakpoints (AMD64 APM volume 2, "VM_CR MSR", "Global Interrupt Flag"). */
import { describe, expect, test } from 'vitest';
import { matchBreakpoints } from '../../engine/cpu/debug-registers.ts';
import { GuestFault } from '../../engine/cpu/events.ts';
import { VM_CR } from '../../engine/cpu/register-bits.ts';
import { ExitCode, FirstCode } from '../../engine/svm/exit-codes.ts';
import { SvmMachine, sel } from './machine.ts';

const MSR_VM_CR = 0xc001_0114;
const MSR_EFER = 0xc000_0080;

function wrmsr(machine: SvmMachine, index: number, value: number): number | undefined {
  for (const [register, half] of [value, index, 0].entries()) machine.state.setGpr(register, BigInt(half));
  try {
    machine.run('0f 30');
    return undefined;
  } catch (fault) {
    if (!(fault instanceof GuestFault)) throw fault;
    return fault.vector;
  }
}
const vmCr = ({ state, model, cpu }: SvmMachine): number => {
  expect(model.msrs.get(MSR_VM_CR)?.read(cpu)).toBe(BigInt(state.vmCr));
  return state.vmCr;
};
function host(): SvmMachine {
  const machine = new SvmMachine();
  machine.state.vmCr = 0;
  machine.state.globalInterruptFlag = 1;
  return machine;
}

describe('VM_CR', () => {
  test('keeps its bits; others are reserved', () => {
    const machine = host();
    expect(wrmsr(machine, MSR_VM_CR, VM_CR.DPD | VM_CR.R_INIT | VM_CR.DIS_A20M)).toBeUndefined();
    expect(vmCr(machine)).toBe(7);
    expect(wrmsr(machine, MSR_VM_CR, 32)).toBe(13);
  });

  test('SVMDIS cannot be set while SVM is enabled, locked or not; set, it keeps EFER.SVME 0', () => {
    const machine = host();
    expect(wrmsr(machine, MSR_VM_CR, VM_CR.SVMDIS)).toBe(13);
    expect(wrmsr(machine, MSR_EFER, 0xd01)).toBeUndefined();
    expect(wrmsr(machine, MSR_VM_CR, VM_CR.SVMDIS)).toBeUndefined();
    expect(wrmsr(machine, MSR_EFER, 0x1d01)).toBe(13);
    expect(wrmsr(machine, MSR_VM_CR, 0)).toBeUndefined();
    expect(wrmsr(machine, MSR_EFER, 0x1d01)).toBeUndefined();
  });

  test('LOCK keeps itself and SVMDIS as they are; the other bits can be written', () => {
    const machine = host();
    expect(wrmsr(machine, MSR_VM_CR, VM_CR.LOCK)).toBeUndefined();
    expect(wrmsr(machine, MSR_EFER, 0xd01)).toBeUndefined();
    expect(wrmsr(machine, MSR_VM_CR, VM_CR.SVMDIS | VM_CR.R_INIT)).toBeUndefined();
    expect(vmCr(machine)).toBe(VM_CR.LOCK | VM_CR.R_INIT);
  });

  test('R_INIT has #SX with error code 1 in place of INIT, where nothing intercepts that', () => {
    const machine = host();
    machine.state.vmCr = VM_CR.R_INIT;
    machine.gate(30, sel.code64, 0x6000);
    const stack = Number(machine.state.gprLinear(4));
    expect(machine.svm.onInit()).toBe('exception');
    expect([machine.state.rip, machine.physical.readU64(Number(machine.state.gprLinear(4)))]).toEqual([0x6000, 1n]);
    expect(Number(machine.state.gprLinear(4))).toBeLessThan(stack);
    expect(machine.svm.onInit()).toBe('exception');
  });

  test('in a guest, the intercept of INIT comes first, then that of #SX', () => {
    const machine = host();
    machine.state.vmCr = VM_CR.R_INIT;
    machine.intercept(ExitCode.INIT).enter();
    expect([machine.svm.onInit(), machine.exitOf().code]).toEqual(['kept', ExitCode.INIT]);
    const other = host();
    other.state.vmCr = VM_CR.R_INIT;
    other.intercept(FirstCode.exception + 30).enter();
    expect(other.svm.onInit()).toBe('exception');
    expect(other.exitOf()).toMatchObject({ code: FirstCode.exception + 30, info1: 1n });
  });
});

test('breakpoints that are met while GIF is 0 are discarded', () => {
  const { state } = host();
  Object.assign(state, { dr0: 0x1234n, dr7: 0x401 });
  expect(matchBreakpoints(state, [0], 0x1234, 1)).toBe(1);
  state.globalInterruptFlag = 0;
  expect(matchBreakpoints(state, [0], 0x1234, 1)).toBe(0);
});
