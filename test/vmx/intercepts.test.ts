import { describe, expect, it } from 'vitest';
import { GuestFault } from '../../engine/cpu/events.ts';
import {
  controls,
  GUEST_RIP,
  IO_BITMAP_A,
  IO_BITMAP_B,
  insn,
  MSR_BITMAPS,
  POINTER,
  type Values,
  VmxMachine,
} from './machine.ts';

const RAX = 0;
const RCX = 1;
const RDX = 2;
const RDI = 7;

const PRIMARY = 'Primary processor-based VM-execution controls';
const SECONDARY = 'Secondary processor-based VM-execution controls';
const primary = (...names: string[]): Values => ({
  [PRIMARY]: controls('primary', 'Activate secondary controls', 'Use MSR bitmaps', ...names),
  'Address of MSR bitmaps': MSR_BITMAPS,
});
const secondary = (...names: string[]): Values => ({
  [SECONDARY]: controls('secondary', 'Enable VPID', 'Enable EPT', ...names),
});

/** Runs an instruction in a guest and gives the basic exit reason, `#vector` for a fault in the guest, or `none`. */
function outcome(m: VmxMachine, hex: string): number | string {
  try {
    m.run(hex);
  } catch (event) {
    if (event instanceof GuestFault) return `#${event.vector}`;
    m.vmx.handleEvent(event, hex.split(' ').length);
    return m.exitReason;
  }
  return 'none';
}
const run = (values: Values, hex: string, prepare?: (m: VmxMachine) => void) => {
  const m = new VmxMachine().inGuest(values);
  m.state.setGpr(RDI, 0x5_0000n);
  prepare?.(m);
  return { m, result: outcome(m, hex) };
};

describe('unconditional exits', () => {
  it.each([
    ['CPUID', insn.cpuid, 10],
    ['INVD', '0f 08', 13],
    ['VMCALL', insn.vmcall, 18],
    ['VMCLEAR', insn.vmclear, 19],
    ['VMLAUNCH', insn.vmlaunch, 20],
    ['VMPTRLD', insn.vmptrld, 21],
    ['VMPTRST', insn.vmptrst, 22],
    ['VMREAD', insn.vmreadRcxRax, 23],
    ['VMRESUME', insn.vmresume, 24],
    ['VMWRITE', insn.vmwriteRaxRcx, 25],
    ['VMXOFF', insn.vmxoff, 26],
    ['VMXON', insn.vmxon, 27],
    ['INVEPT', insn.inveptRax, 50],
    ['INVVPID', insn.invvpidRax, 53],
  ])('%s', (_, hex, reason) => {
    const { m, result } = run(primary(), hex);
    expect(result).toBe(reason);
    expect(m.read('VM-exit instruction length')).toBe(BigInt(hex.split(' ').length));
    expect(m.read('Guest RIP')).toBe(BigInt(GUEST_RIP));
  });

  it('VMX instructions exit from ring 3 too', () => {
    const { result } = run(primary(), insn.vmcall, (m) => {
      m.state.cpl = 3;
      m.mmu.privilegeChanged();
    });
    expect(result).toBe(18);
  });
});

describe('a control decides', () => {
  it.each([
    ['HLT exiting', insn.hlt, 12],
    ['INVLPG exiting', '0f 01 3f', 14],
    ['RDPMC exiting', '0f 33', 15],
    ['RDTSC exiting', '0f 31', 16],
    ['CR3-load exiting', '0f 22 d8', 28],
    ['CR3-store exiting', '0f 20 d8', 28],
    ['CR8-load exiting', '44 0f 22 c0', 28],
    ['CR8-store exiting', '44 0f 20 c0', 28],
    ['MOV-DR exiting', '0f 21 f8', 29],
    ['Unconditional I/O exiting', 'e4 60', 30],
    ['PAUSE exiting', 'f3 90', 40],
  ])('"%s" = 1 exits, 0 does not', (control, hex, reason) => {
    expect(run(primary(control), hex).result).toBe(reason);
    expect(run(primary(), hex).result).not.toBe(reason);
  });

  it.each([
    ['WBINVD exiting', '0f 09', 54],
    ['Descriptor-table exiting', '0f 01 17', 46],
    ['Descriptor-table exiting', '0f 00 c8', 47],
  ])('"%s" = 1 makes %s exit', (control, hex, reason) => {
    expect(run({ ...primary(), ...secondary(control) }, hex).result).toBe(reason);
    expect(run(primary(), hex).result).not.toBe(reason);
  });

  it.each([
    ['RDTSCP', 'Enable RDTSCP', 'RDTSC exiting', '0f 01 f9', 51],
    ['INVPCID', 'Enable INVPCID', 'INVLPG exiting', '66 0f 38 82 07', 58],
  ])('%s: #UD without "%s"; with it "%s" decides', (_, enable, exiting, hex, reason) => {
    expect(run(primary(exiting), hex).result).toBe('#6');
    expect(run({ ...primary(), ...secondary(enable) }, hex).result).toBe('none');
    expect(run({ ...primary(exiting), ...secondary(enable) }, hex).result).toBe(reason);
  });

  it('the secondary controls count as 0 unless they are activated', () => {
    const { result } = run({ [PRIMARY]: controls('primary'), [SECONDARY]: 0xffff_ffff, 'Guest CR3': 0x4000 }, '0f 09');
    expect(result).toBe('none');
  });

  it('"use TSC offsetting" adds the TSC offset to what RDTSC gives', () => {
    const { m } = run({ ...primary('Use TSC offsetting'), 'TSC offset': -5n }, '0f 31', (m) => {
      m.clock = 0x1_0000_0003n;
    });
    expect((m.state.gpr(RDX) << 32n) | m.state.gpr(RAX)).toBe(0xffff_fffen);
  });
});

describe('CR0 and CR4 guest/host masks and read shadows', () => {
  const TS = 8;
  const owned = { ...primary(), 'CR0 guest/host mask': TS, 'CR0 read shadow': 0 };

  it('the guest reads host-owned bits from the shadow', () => {
    const { m } = run({ ...primary(), 'CR4 guest/host mask': 0x2000, 'CR4 read shadow': 0 }, '0f 20 e0');
    expect(m.state.gpr(RAX)).toBe(0x20n);
  });
  it('MOV to CR0 that changes a host-owned bit exits; others keep it', () => {
    const exits = run(owned, '0f 22 c1', (m) => m.state.setGpr(RCX, 0x8001_0029n));
    expect(exits.result).toBe(28);
    expect(exits.m.read('Exit qualification')).toBe(0x100n);
    const passes = run(owned, '0f 22 c1', (m) => {
      m.state.cr0 |= TS;
      m.state.setGpr(RCX, 0x8001_0021n);
    });
    expect(passes.result).toBe('none');
    expect(passes.m.state.cr0 & TS, 'the host’s TS').toBe(TS);
  });
  it('CLTS: exits if owned and shown as 1, does nothing if owned and shown as 0, else clears TS', () => {
    const setTs = (m: VmxMachine) => {
      m.state.cr0 |= TS;
    };
    const shown = run({ ...owned, 'CR0 read shadow': TS }, '0f 06', setTs);
    expect(shown.result).toBe(28);
    expect(shown.m.read('Exit qualification')).toBe(0x20n);
    const hidden = run(owned, '0f 06', setTs);
    expect([hidden.result, hidden.m.state.cr0 & TS]).toEqual(['none', TS]);
    const free = run(primary(), '0f 06', setTs);
    expect([free.result, free.m.state.cr0 & TS]).toEqual(['none', 0]);
  });
  it('LMSW that changes a host-owned bit exits with its operand', () => {
    const { m, result } = run(owned, '0f 01 f1', (m) => m.state.setGpr(RCX, 9n));
    expect(result).toBe(28);
    expect(m.read('Exit qualification')).toBe(0x9_0030n);
  });
  it('MOV to CR3 of a CR3-target value does not exit', () => {
    const values = { ...primary('CR3-load exiting'), 'CR3-target count': 2, 'CR3-target value 1': 0x4000 };
    expect(run(values, '0f 22 d9', (m) => m.state.setGpr(RCX, 0x4000n)).result).toBe('none');
    expect(run(values, '0f 22 d9', (m) => m.state.setGpr(RCX, 0x5000n)).result).toBe(28);
  });
  it('the qualification names register, direction and operand', () => {
    const { m } = run(primary('CR3-store exiting'), '41 0f 20 d9');
    expect(m.read('Exit qualification'), 'MOV R9, CR3').toBe(0x913n);
  });
});

describe('I/O', () => {
  const bitmaps: Values = {
    ...primary('Use I/O bitmaps', 'Unconditional I/O exiting'),
    'Address of I/O bitmap A': IO_BITMAP_A,
    'Address of I/O bitmap B': IO_BITMAP_B,
  };
  const at = (port: number) => (m: VmxMachine) => m.state.setGpr(RDX, BigInt(port));
  const marked = (port: number) => (m: VmxMachine) => {
    m.physical.writeU8(port < 0x8000 ? IO_BITMAP_A + 0x510 / 8 : IO_BITMAP_B + 1, 1 << (port & 7));
  };

  it.each([
    ['OUT DX, AL', 'ee', 0x510, 0x510, 30],
    ['OUT DX, AL beside the marked port', 'ee', 0x511, 0x510, 'none'],
    ['OUT DX, EAX that covers the marked port', 'ef', 0x50e, 0x510, 30],
    ['IN AL, DX in bitmap B', 'ec', 0x8009, 0x8009, 30],
    ['IN EAX, DX that wraps around FFFFH', 'ed', 0xfffe, 0x510, 30],
  ])('bitmaps: %s', (_, hex, port, mark, expected) => {
    const { result } = run(bitmaps, hex, (m) => {
      at(port)(m);
      marked(mark)(m);
    });
    expect(result).toBe(expected);
  });

  it.each([
    ['OUT 60H, AL', 'e6 60', 0x60_0040n],
    ['IN AL, 60H', 'e4 60', 0x60_0048n],
    ['IN EAX, DX', 'ed', 0x510_000bn],
    ['OUT DX, AX', '66 ef', 0x510_0001n],
    ['REP INSB', 'f3 6c', 0x510_0038n],
    ['OUTSD', '6f', 0x510_0013n],
  ])('qualification of %s', (_, hex, expected) => {
    const { m, result } = run(primary('Unconditional I/O exiting'), hex, (machine) => {
      at(0x510)(machine);
      machine.state.setGpr(RCX, 3n);
    });
    expect(result).toBe(30);
    expect(m.read('Exit qualification')).toBe(expected);
  });
  it('INS reports the linear address, address size and segment', () => {
    const { m } = run(primary('Unconditional I/O exiting'), '6c', at(0x510));
    expect(m.read('Guest-linear address')).toBe(0x5_0000n);
    expect(m.read('VM-exit instruction information')).toBe(2n << 7n);
  });
});

describe('RDMSR and WRMSR', () => {
  const mark = (area: number, bit: number) => (m: VmxMachine) =>
    m.physical.writeU8(MSR_BITMAPS + area + (bit >> 3), 1 << (bit & 7));
  const STAR = 0xc000_0081;
  it.each([
    ['RDMSR', '0f 32', 0x10, 0, 0x10, 31],
    ['RDMSR', '0f 32', STAR, 1024, 0x81, 31],
    ['WRMSR', '0f 30', 0x174, 2048, 0x174, 32],
    ['WRMSR', '0f 30', STAR, 3072, 0x81, 32],
    ['RDMSR beside the marked one', '0f 32', 0x174, 0, 0x10, 'none'],
    ['WRMSR where reads are marked', '0f 30', 0x174, 0, 0x174, 'none'],
    ['RDMSR out of both ranges', '0f 32', 0x4000_0000, 0, 0, 31],
  ])('%s (%s) of MSR %i', (_, hex, msr, area, bit, expected) => {
    const { result } = run(primary(), hex, (m) => {
      m.state.setGpr(RCX, BigInt(msr));
      m.state.setGpr(RAX, 0n);
      m.state.setGpr(RDX, 0n);
      mark(area, bit)(m);
    });
    expect(result).toBe(expected);
  });
  it('without bitmaps every access exits', () => {
    expect(run({}, '0f 32', (m) => m.state.setGpr(RCX, 0x10n)).result).toBe(31);
  });
});

describe('instruction information', () => {
  it('VMREAD of a register: operands in bits 6:3 and 31:28', () => {
    expect(run({}, insn.vmreadRcxRax).m.read('VM-exit instruction information')).toBe(0x508n);
  });
  it('VMPTRLD with base, index, scale, segment; the displacement is the qualification', () => {
    // VMPTRLD FS:[RBX + RSI*4 - 16]
    const { m } = run({}, '64 0f c7 74 b3 f0');
    expect(m.read('VM-exit instruction information')).toBe(BigInt((3 << 23) | (6 << 18) | (4 << 15) | (2 << 7) | 2));
    expect(m.read('Exit qualification')).toBe(0xffff_ffff_ffff_fff0n);
  });
  it('a RIP-relative operand: no registers, and RIP in the qualification', () => {
    const { m } = run({}, '0f c7 35 10 00 00 00');
    expect(m.read('Exit qualification')).toBe(BigInt(GUEST_RIP + 7 + 16));
    expect(m.read('VM-exit instruction information')).toBe(BigInt((1 << 27) | (1 << 22) | (3 << 15) | (2 << 7)));
  });
  it('INVVPID: register in bits 31:28', () => {
    const { m } = run({}, '66 0f 38 81 0f');
    expect(Number(m.read('VM-exit instruction information')) >>> 28).toBe(RCX);
  });
  it('LIDT: identity 3 in bits 29:28', () => {
    const { m } = run({ ...primary(), ...secondary('Descriptor-table exiting') }, '0f 01 1f', (machine) => {
      machine.state.setGpr(RDI, BigInt(POINTER));
    });
    expect((Number(m.read('VM-exit instruction information')) >>> 28) & 3).toBe(3);
  });
});

describe('random numbers', () => {
  it.each([
    ['RDRAND exiting', '0f c7 f1', 57, (1 << 3) | (1 << 11)],
    ['RDRAND exiting', '66 0f c7 f0', 57, 0],
    ['RDSEED exiting', '49 0f c7 f9', 61, (9 << 3) | (2 << 11)],
  ])('"%s": %s tells destination and size', (control, hex, reason, information) => {
    const { m, result } = run({ ...primary(), ...secondary(control) }, hex);
    expect(result).toBe(reason);
    expect(m.read('VM-exit instruction information')).toBe(BigInt(information));
    expect(m.read('VM-exit instruction length')).toBe(BigInt(hex.split(' ').length));
    expect(run({ ...primary(), ...secondary() }, hex).result).toBe('none');
  });
});

describe('the time-stamp counter of the guest', () => {
  const tsc = (values: Values, hex = '0f 31', prepare?: (m: VmxMachine) => void): bigint => {
    const { m } = run(values, hex, (machine) => {
      machine.clock = 1000n;
      prepare?.(machine);
    });
    return (m.state.gpr(RDX) << 32n) | m.state.gpr(RAX);
  };
  const half = { 'TSC multiplier': 1n << 47n, 'TSC offset': 7n };
  const scaling = secondary('Use TSC scaling', 'Enable RDTSCP');
  it('"use TSC offsetting" adds the offset', () => {
    expect(tsc({ ...primary('Use TSC offsetting'), ...half })).toBe(1007n);
  });
  it.each([
    ['RDTSC', '0f 31'],
    ['RDTSCP', '0f 01 f9'],
  ])('"use TSC scaling" multiplies before the offset is added: %s', (_, hex) => {
    expect(tsc({ ...primary('Use TSC offsetting'), ...scaling, ...half }, hex)).toBe(507n);
  });
  it('so does RDMSR of IA32_TIME_STAMP_COUNTER', () => {
    const values = { ...primary('Use TSC offsetting'), ...scaling, ...half };
    expect(tsc(values, '0f 32', (m) => m.state.setGpr(RCX, 0x10n))).toBe(507n);
  });
  it('without offsetting there is no scaling', () => {
    expect(tsc({ ...primary(), ...scaling, ...half })).toBe(1000n);
  });
});

describe('PAUSE-loop exiting', () => {
  const values = { ...primary(), ...secondary('PAUSE-loop exiting'), PLE_Gap: 10, PLE_Window: 30 };
  /** PAUSEs at times; the number of the one that exits. */
  const exitsAt = (times: readonly number[], more: Values = {}, prepare?: (m: VmxMachine) => void): number => {
    const m = new VmxMachine().inGuest({ ...values, ...more });
    prepare?.(m);
    return times.findIndex((time) => {
      m.clock = BigInt(time);
      return outcome(m, 'f3 90') === 40;
    });
  };
  it('exits once a loop has taken longer than the window', () => {
    expect(exitsAt([100, 110, 120, 130, 131])).toBe(4);
  });
  it('a gap begins another loop', () => {
    expect(exitsAt([100, 110, 121, 131, 141, 151])).toBe(-1);
  });
  it('only in ring 0', () => {
    const userMode = (m: VmxMachine) => {
      m.state.cpl = 3;
      m.mmu.privilegeChanged();
    };
    expect(exitsAt([100, 110, 120, 130, 140], {}, userMode)).toBe(-1);
  });
  it('"PAUSE exiting" comes first', () => {
    expect(exitsAt([100], primary('PAUSE exiting'))).toBe(0);
  });
  it('VM entry begins anew', () => {
    const m = new VmxMachine().inGuest(values);
    m.clock = 100n;
    expect(outcome(m, 'f3 90')).toBe('none');
    m.step(insn.cpuid);
    m.step(insn.vmresume);
    m.clock = 131n;
    expect(outcome(m, 'f3 90')).toBe('none');
  });
});
