/** Exits of AMD-V that QEMU's TCG does not judge: nRIP and decode assists, and what it lets pass. */
import { describe, expect, test } from 'vitest';
import { ExitCode, FirstCode } from '../../engine/svm/exit-codes.ts';
import { DATA, GUEST_RIP, HOST_SAVE, IOPM, insn, PAGE_TABLES, SvmMachine } from './machine.ts';

const MOV_CR = 1n << 63n;

interface Row {
  readonly hex: string;
  readonly code: number;
  readonly info1?: bigint;
  readonly info2?: bigint;
  /** Bytes that nRIP skips; all of the instruction if absent. */
  readonly skips?: number;
  readonly prepare?: (machine: SvmMachine) => void;
}

const rows: Readonly<Record<string, Row>> = {
  CPUID: { hex: '0f a2', code: ExitCode.CPUID },
  INVD: { hex: '0f 08', code: ExitCode.INVD },
  RDTSCP: { hex: '0f 01 f9', code: ExitCode.RDTSCP },
  WBINVD: { hex: '0f 09', code: ExitCode.WBINVD },
  'INT n, with its vector': { hex: 'cd 2a', code: ExitCode.SWINT, info1: 0x2an },
  'MOV from CR3, with the register': { hex: '41 0f 20 d9', code: FirstCode.crRead + 3, info1: MOV_CR | 9n },
  'MOV to CR0, with the register': { hex: '0f 22 c3', code: FirstCode.crWrite, info1: MOV_CR | 3n },
  'SMSW, without': { hex: '0f 01 e3', code: FirstCode.crRead, info1: 0n },
  CLTS: { hex: '0f 06', code: FirstCode.crWrite, info1: 0n },
  'MOV to DR7, with the register': { hex: '0f 23 fe', code: FirstCode.drWrite + 7, info1: 6n },
  'INVLPG, with the address': { hex: '0f 01 3c 25 78 56 34 12', code: ExitCode.INVLPG, info1: 0x1234_5678n },
  'INT3, by its exception': { hex: 'cc', code: FirstCode.exception + 3 },
  'INT1 by its own intercept': { hex: 'f1', code: ExitCode.ICEBP },
  'INT1 by that of #DB': { hex: 'f1', code: FirstCode.exception + 1 },
  'UD2, an exception that tells no length': { hex: '0f 0b', code: FirstCode.exception + 6, skips: 0 },
  'IN from a port of the map': {
    hex: 'e4 60',
    code: ExitCode.IOIO,
    info1: 0x60_0211n,
    info2: BigInt(GUEST_RIP + 2),
    prepare: ({ physical }) => physical.writeU8(IOPM + 0x60 / 8, 1),
  },
  'OUTS through FS': {
    hex: '64 6e',
    code: ExitCode.IOIO,
    info1: 0x60_0000n | (4n << 10n) | 0x214n,
    info2: BigInt(GUEST_RIP + 2),
    prepare: ({ physical, state }) => {
      physical.writeU8(IOPM + 0x60 / 8, 1);
      state.setGpr(2, 0x60n);
    },
  },
};

describe('an exit of an instruction', () => {
  test.each(Object.entries(rows))('%s', (_name, { hex, code, info1 = 0n, info2 = 0n, skips, prepare }) => {
    const machine = new SvmMachine().intercept(code).enter();
    prepare?.(machine);
    machine.step(hex);
    expect(machine.state.svmGuest).toBe(0);
    expect(machine.exitOf()).toEqual({ code, info1, info2, skips: skips ?? hex.split(' ').length });
  });

  test('without NRIPS and decode assists, nothing of it', () => {
    const machine = new SvmMachine({ NRIPS: false, DecodeAssists: false }).intercept(ExitCode.SWINT).enter();
    machine.step('cd 2a');
    expect(machine.exitOf()).toEqual({ code: ExitCode.SWINT, info1: 0n, info2: 0n, skips: 0 });
  });

  test('a page fault tells its address and the bytes of the instruction, and leaves CR2 alone', () => {
    const machine = new SvmMachine().intercept(FirstCode.exception + 14).set({ CR2: 0x5555 });
    machine.physical.bytes.set([0x0f, 0x01, 0x1c, 0x25, 0x00, 0x00, 0x40, 0x00], GUEST_RIP);
    machine.enter().step('0f 01 1c 25 00 00 40 00');
    const { code, info1, info2 } = machine.exitOf();
    expect({ code, info1, info2 }).toEqual({ code: FirstCode.exception + 14, info1: 0n, info2: 0x40_0000n });
    expect(machine.get('CR2')).toBe(0x5555n);
    expect(machine.get('Number of bytes fetched')).toBe(15n);
    expect(machine.get('Guest instruction bytes 6:0') & 0xffff_ffff_ffffffn).toBe(0x40_0000_251c_010fn);
  });
});

describe('selective and virtualized registers', () => {
  test('a write of CR0 that changes TS and MP only is none of CR0_SEL_WRITE', () => {
    const machine = new SvmMachine().intercept(ExitCode.CR0_SEL_WRITE).enter();
    machine.state.setGpr(3, BigInt(machine.state.cr0) ^ 0xan);
    machine.step('0f 22 c3');
    expect(machine.state.svmGuest).toBe(1);
    machine.state.setGpr(3, BigInt(machine.state.cr0) ^ 0x1_0000n);
    machine.step('0f 22 c3');
    expect(machine.exitOf()).toMatchObject({ code: ExitCode.CR0_SEL_WRITE, info1: MOV_CR | 3n });
  });

  test('the TSC of the guest has the offset', () => {
    const machine = new SvmMachine().set({ TSC_OFFSET: -5n }).enter();
    machine.clock = 100n;
    machine.step('0f 31');
    expect(machine.state.gpr(0)).toBe(95n);
  });

  test('EFER.SVME must be 1 for the instructions, and VM_HSAVE_PA a page', () => {
    const machine = new SvmMachine();
    machine.state.setGpr(1, 0xc001_0117n);
    machine.state.setGpr(0, 0x3008n);
    expect(() => machine.run('0f 30')).toThrow(expect.objectContaining({ vector: 13 }));
    machine.state.efer &= ~0x1000;
    expect(() => machine.run(insn.vmmcall)).toThrow(expect.objectContaining({ vector: 6 }));
  });
});

describe('PAUSE', () => {
  const pauses = (machine: SvmMachine): number => {
    let count = 0;
    while (machine.state.svmGuest && count < 50) {
      machine.clock += 10n;
      machine.step('f3 90');
      count++;
    }
    return count;
  };

  test('is intercepted at once without a filter', () => {
    expect(pauses(new SvmMachine().intercept(ExitCode.PAUSE).enter())).toBe(1);
  });
  test('as many pass as the filter count has', () => {
    expect(pauses(new SvmMachine().intercept(ExitCode.PAUSE).set({ 'PAUSE filter count': 4 }).enter())).toBe(4);
  });
  test('rare ones pass for ever', () => {
    const filter = { 'PAUSE filter count': 4, 'PAUSE filter threshold': 5 } as const;
    expect(pauses(new SvmMachine().intercept(ExitCode.PAUSE).set(filter).enter())).toBe(50);
  });
});

describe('interrupts', () => {
  test('a physical interrupt waits for GIF', () => {
    const { svm, state } = new SvmMachine();
    state.flagsOther |= 0x200;
    state.globalInterruptFlag = 0;
    expect(svm.wantsInterrupt(true)).toBe(false);
    state.globalInterruptFlag = 1;
    expect(svm.wantsInterrupt(true)).toBe(true);
  });

  test('INTERRUPT_SHADOW keeps a virtual one for an instruction, and its priority against V_TPR counts', () => {
    const irq = (control: number) => new SvmMachine().set({ RFLAGS: 0x202, 'Virtual interrupt control': control });
    expect(irq(0x4_0100).enter().svm.wantsInterrupt(false)).toBe(true);
    expect(irq(0x4_0100).set({ INTERRUPT_SHADOW: 1 }).enter().svm.wantsInterrupt(false)).toBe(false);
    expect(irq(0x4_0105).enter().svm.wantsInterrupt(false)).toBe(false);
    expect(irq(0x14_0105).enter().svm.wantsInterrupt(false)).toBe(true);
  });

  test('an NMI that is intercepted stays pending, and is held by GIF then', () => {
    const machine = new SvmMachine().intercept(ExitCode.NMI).enter();
    expect(machine.svm.offerNmi()).toEqual({ happened: true, isTaken: false });
    expect(machine.exitOf().code).toBe(ExitCode.NMI);
    expect(machine.svm.offerNmi()).toEqual({ happened: false, isTaken: false });
  });

  test('INIT is held by GIF, exits, or resets', () => {
    const machine = new SvmMachine();
    machine.state.globalInterruptFlag = 0;
    expect(machine.svm.onInit()).toBe('blocked');
    expect(machine.intercept(ExitCode.INIT).enter().svm.onInit()).toBe('kept');
    expect(new SvmMachine().enter().svm.onInit()).toBe('reset');
  });
});

describe('ASIDs', () => {
  const PAGE = 0x20_0000;
  /** A guest that reads a page through a table of its own, whose entry is at DATA. */
  const guest = () => {
    const machine = new SvmMachine();
    machine.u64(PAGE_TABLES + 0x2008, BigInt(DATA) | 7n);
    machine.physical.writeU32(DATA, 0x1_a007);
    machine.physical.writeU8(0x1_a000, 1);
    machine.physical.writeU8(0x1_b000, 2);
    machine.enter();
    expect(machine.mmu.readU8(PAGE)).toBe(1);
    machine.step(insn.vmmcall);
    machine.physical.writeU32(DATA, 0x1_b007);
    return machine;
  };

  test('translations stay over exits, each under its ASID', () => {
    const machine = guest();
    expect(machine.mmu.readU8(PAGE)).toBe(2);
    machine.enter();
    expect(machine.mmu.readU8(PAGE)).toBe(1);
    machine.step(insn.vmmcall).set({ 'Guest ASID': 2 }).enter();
    expect(machine.mmu.readU8(PAGE)).toBe(2);
  });

  test.each([1, 3, 7])('TLB_CONTROL %i drops them', (control) => {
    const machine = guest().set({ TLB_CONTROL: control }).enter();
    expect(machine.mmu.readU8(PAGE)).toBe(2);
  });

  test('INVLPGA drops one', () => {
    const machine = guest();
    machine.state.setGpr(0, BigInt(PAGE));
    machine.state.setGpr(1, 1n);
    machine.step('0f 01 df').enter();
    expect(machine.mmu.readU8(PAGE)).toBe(2);
  });
});

describe('the edges of a guest', () => {
  test('SKINIT stops the run by its name', () => {
    const machine = new SvmMachine();
    expect(() => machine.run('0f 01 de')).toThrow(expect.objectContaining({ what: 'instruction SKINIT' }));
  });

  test.each([
    ['real mode has ring 0', { CR0: 0x10, EFER: 0x1000, CR4: 0, CPL: 3 }, 0],
    ['virtual-8086 mode has ring 3', { CR0: 0x11, EFER: 0x1000, CR4: 0, CPL: 0, RFLAGS: 0x2_0002 }, 3],
    ['all others what CPL says', { CPL: 3 }, 3],
  ])('%s', (_name, values, ring) => {
    expect(new SvmMachine().set(values).enter().state.cpl).toBe(ring);
  });

  test('segment bases are made canonical', () => {
    const { state } = new SvmMachine().set({ 'DS base': 0x1234_8000_0000_0000n }).enter();
    expect(state.segment(3).base).toBe(-0x8000_0000_0000);
  });

  test('an exit to a host with registers that there are not shuts the processor down', () => {
    const machine = new SvmMachine().enter();
    machine.physical.writeU32(HOST_SAVE + 0x4d0, 0xffff_ffff);
    machine.step(insn.vmmcall);
    expect(machine.state.activityState).toBe(2);
  });

  test('a task switch tells its selector and cause', () => {
    const machine = new SvmMachine().intercept(ExitCode.TASK_SWITCH).enter();
    expect(() => machine.cpu.intercepts?.onTaskSwitch?.(0x28, 'jmp')).toThrow(
      expect.objectContaining({ reason: ExitCode.TASK_SWITCH, qualification: 0x28n, secondInformation: 1n << 38n }),
    );
  });

  test('a wait of the FPU for FERR# exits', () => {
    const machine = new SvmMachine().intercept(ExitCode.FERR_FREEZE).enter();
    const { state } = machine;
    state.cr0 &= ~0x20;
    state.fcw = 0x37e;
    state.fsw = 0x81;
    machine.step('9b');
    expect(machine.exitOf().code).toBe(ExitCode.FERR_FREEZE);
  });

  test('an intercept of what there is not stops the run by its name', () => {
    const machine = new SvmMachine().set({ 'Intercept vector 5': 1 });
    expect(() => machine.enter()).toThrow(expect.objectContaining({ what: 'the SVM intercept of INVLPGB' }));
  });
});
