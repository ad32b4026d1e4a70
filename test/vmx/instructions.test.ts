import { describe, expect, it } from 'vitest';
import { STATE_ADDRESS } from '../../engine/cpu/memory-map.ts';
import { fieldAddress } from '../../engine/cpu/state-layout.ts';
import { plus } from '../../engine/isa/linear-address.ts';
import { VMCS_REVISION } from '../../engine/vmx/vmcs.ts';
import { sel } from '../cpu/machine.ts';
import { GUEST_RIP, insn, OTHER_VMCS, VMCS_REGION, VMXON_REGION, VmxMachine } from './machine.ts';

const RAX = 0;
const RCX = 1;

/** Every VMX instruction but VMCALL and VMFUNC, whose checks differ. */
const rootOnly = Object.entries(insn).filter(([name]) => !['vmcall', 'vmfunc', 'vmxon', 'cpuid', 'hlt'].includes(name));

describe('faults, before anything else', () => {
  it.each([...rootOnly, ['vmcall', insn.vmcall] as const])('%s outside VMX operation: #UD', (_, hex) => {
    expect(new VmxMachine().faultOf(hex)).toBe('UD');
  });

  it.each([...rootOnly, ['vmcall', insn.vmcall] as const, ['vmxon', insn.vmxon] as const])(
    '%s in ring 3 of root operation: #GP(0)',
    (_, hex) => {
      const m = new VmxMachine().ready();
      m.state.cpl = 3;
      m.mmu.privilegeChanged();
      expect(m.faultOf(hex)).toBe('GP(0)');
    },
  );

  it('VMFUNC: #UD everywhere, as there are no VM functions', () => {
    expect(new VmxMachine().ready().faultOf(insn.vmfunc)).toBe('UD');
    expect(new VmxMachine().inGuest().faultOf(insn.vmfunc)).toBe('UD');
  });

  it('VMXON without CR4.VMXE: #UD', () => {
    const m = new VmxMachine();
    m.state.cr4 &= ~(1 << 13);
    expect(m.faultOf(insn.vmxon)).toBe('UD');
  });
  it.each([
    ['IA32_FEATURE_CONTROL not locked', (m: VmxMachine) => (m.state.featureControl = 4)],
    ['VMXON not allowed by IA32_FEATURE_CONTROL', (m: VmxMachine) => (m.state.featureControl = 1)],
    ['CR0.NE = 0', (m: VmxMachine) => (m.state.cr0 &= ~0x20)],
  ])('VMXON with %s: #GP(0)', (_, change) => {
    const m = new VmxMachine();
    change(m);
    expect(m.faultOf(insn.vmxon)).toBe('GP(0)');
  });
});

describe('VMXON and VMXOFF', () => {
  it('VMXON enters VMX operation without a current VMCS', () => {
    const m = new VmxMachine().vmxon();
    expect(m.state.vmxOperation).toBe(1);
    expect(m.state.vmxonPointer).toBe(VMXON_REGION);
    expect(m.state.currentVmcsValid).toBe(0);
    expect(m.flags() & 0x8d5).toBe(0);
  });
  it.each([
    ['unaligned', VMXON_REGION + 8],
    ['beyond the physical-address width', 0x80_0000_0000],
    ['without the revision identifier', 0x3_0000],
    ['outside RAM', 0x4000_0000],
  ])('VMXON with a pointer that is %s: VMfailInvalid', (_, pointer) => {
    const m = new VmxMachine().withPointer(insn.vmxon, pointer);
    expect(m.flags() & 1).toBe(1);
    expect(m.state.vmxOperation).toBe(0);
  });
  it('VMXON in root operation: error 15, or VMfailInvalid without a current VMCS', () => {
    expect(new VmxMachine().ready().withPointer(insn.vmxon, VMXON_REGION).status()).toBe(15);
    expect(new VmxMachine().vmxon().withPointer(insn.vmxon, VMXON_REGION).status()).toBe('invalid');
  });
  it('VMXOFF leaves VMX operation', () => {
    const m = new VmxMachine().ready();
    m.step(insn.vmxoff);
    expect(m.state.vmxOperation).toBe(0);
  });
  it('CR4.VMXE and CR0.PG cannot be cleared in VMX operation', () => {
    const m = new VmxMachine().ready();
    m.state.setGpr(RAX, 0x20n);
    expect(m.faultOf('0f 22 e0'), 'MOV CR4, RAX').toBe('GP(0)');
    m.state.setGpr(RAX, 0x21n);
    expect(m.faultOf('0f 22 c0'), 'MOV CR0, RAX').toBe('GP(0)');
  });
});

describe('VMCLEAR, VMPTRLD, VMPTRST', () => {
  it.each([
    ['VMCLEAR', insn.vmclear, VMCS_REGION + 1, 2],
    ['VMCLEAR', insn.vmclear, 0x80_0000_0000, 2],
    ['VMCLEAR', insn.vmclear, VMXON_REGION, 3],
    ['VMPTRLD', insn.vmptrld, VMCS_REGION + 1, 9],
    ['VMPTRLD', insn.vmptrld, 0x80_0000_0000, 9],
    ['VMPTRLD', insn.vmptrld, VMXON_REGION, 10],
    ['VMPTRLD', insn.vmptrld, OTHER_VMCS, 11],
    ['VMPTRLD', insn.vmptrld, 0x4000_0000, 11],
  ])('%s (%s) of %i: error %i', (_, hex, pointer, error) => {
    expect(new VmxMachine().ready().withPointer(hex, pointer).status()).toBe(error);
  });

  it('VMPTRLD of a region with another revision: error 11', () => {
    const m = new VmxMachine().ready();
    m.u32(OTHER_VMCS, VMCS_REVISION + 1);
    expect(m.withPointer(insn.vmptrld, OTHER_VMCS).status()).toBe(11);
  });

  it('VMPTRLD makes a VMCS current, VMPTRST stores which, VMCLEAR of it leaves none', () => {
    const m = new VmxMachine().ready();
    m.step(insn.vmptrst);
    expect(m.physical.readU64(0x1_c000)).toBe(BigInt(VMCS_REGION));
    m.withPointer(insn.vmclear, VMCS_REGION);
    m.step(insn.vmptrst);
    expect(m.physical.readU64(0x1_c000)).toBe(0xffff_ffff_ffff_ffffn);
    m.step(insn.vmlaunch);
    expect(m.flags() & 1).toBe(1);
  });

  it('two VMCSs keep their fields apart', () => {
    const m = new VmxMachine().vmxon().current(OTHER_VMCS).write({ 'Guest RIP': 1 });
    m.current().write({ 'Guest RIP': 2 });
    m.withPointer(insn.vmptrld, OTHER_VMCS);
    expect(m.read('Guest RIP')).toBe(1n);
  });
});

describe('VMREAD and VMWRITE', () => {
  const write = (m: VmxMachine, encoding: number, value: bigint) => {
    m.state.setGpr(RAX, BigInt(encoding));
    m.state.setGpr(RCX, value);
    m.step(insn.vmwriteRaxRcx);
    return m.status();
  };
  const read = (m: VmxMachine, encoding: number) => {
    m.state.setGpr(RAX, BigInt(encoding));
    m.state.setGpr(RCX, 0x5555n);
    m.step(insn.vmreadRcxRax);
    return m.state.gpr(RCX);
  };

  it.each([
    ['16-bit', 0x0802, 0x1234n],
    ['32-bit', 0x4016, 0x5678_1234n],
    ['64-bit', 0x2010, 0x1122_3344_5678_1234n],
    ['natural-width', 0x681e, 0x1122_3344_5678_1234n],
  ])('a %s field keeps as many low bits as it has', (_, encoding, kept) => {
    const m = new VmxMachine().ready();
    expect(write(m, encoding, 0x1122_3344_5678_1234n)).toBe('ok');
    expect(read(m, encoding)).toBe(kept);
  });

  it('the access type "high" names the upper half of a 64-bit field', () => {
    const m = new VmxMachine().ready();
    write(m, 0x2010, 0x1111_1111_2222_2222n);
    write(m, 0x2011, 0x3333_3333n);
    expect(read(m, 0x2010)).toBe(0x3333_3333_2222_2222n);
    expect(read(m, 0x2011)).toBe(0x3333_3333n);
  });

  it.each([
    ['VMWRITE to a field of a control that is not supported', 0x202e, 12],
    ['VMWRITE to a field that there is not', 0x6fff, 12],
    ['VMWRITE with high bits in the encoding', 0x1_0000_681e, 12],
    ['VMWRITE to the upper half of a natural-width field', 0x681f, 12],
  ])('%s: error', (_, encoding, error) => {
    expect(write(new VmxMachine().ready(), encoding, 1n)).toBe(error);
  });
  it('VMWRITE may write to any field, VM-exit information among them (IA32_VMX_MISC bit 29)', () => {
    const m = new VmxMachine().ready();
    expect(write(m, 0x4402, 0x1234n)).toBe('ok');
    expect(read(m, 0x4402)).toBe(0x1234n);
  });
  it('without a current VMCS: VMfailInvalid', () => {
    const m = new VmxMachine().vmxon();
    expect(write(m, 0x681e, 1n)).toBe('invalid');
  });
  it('a 32-bit host reads the low half of a 64-bit field into a register and 4 bytes into memory', () => {
    const m = new VmxMachine().ready({ 'TSC offset': 0x1122_3344_5566_7788n });
    m.state.segment(1).attributes = 0xc09b;
    m.state.segment(1).selector = sel.code32;
    m.state.efer = 0;
    m.state.mode = 4;
    m.state.setGpr(RAX, 0x2010n);
    m.step('0f 78 c1');
    expect(m.state.gpr(RCX)).toBe(0x5566_7788n);
  });
});

describe('VMLAUNCH and VMRESUME', () => {
  it('VMLAUNCH of a launched VMCS: error 4; VMRESUME of a clear one: error 5', () => {
    const m = new VmxMachine().inGuest();
    m.step(insn.cpuid);
    m.step(insn.vmlaunch);
    expect(m.status()).toBe(4);
    const clear = new VmxMachine().ready();
    clear.step(insn.vmresume);
    expect(clear.status()).toBe(5);
  });
  it('blocking by MOV SS: error 26', () => {
    const m = new VmxMachine().ready();
    m.state.interruptibility = 2;
    m.step(insn.vmlaunch);
    m.state.interruptibility = 0;
    expect(m.status()).toBe(26);
  });
  it('a refused VM entry changes nothing but flags and the error field', () => {
    const m = new VmxMachine().ready({ 'Host CR0': 0 });
    const before = m.state.bytes.slice();
    const { rip } = m.state;
    m.step(insn.vmlaunch);
    expect(m.state.rip).toBe(plus(rip, 3));
    m.state.rip = rip;
    m.cpu.writeFlags(2);
    const flags = [fieldAddress.flagsResult, fieldAddress.flagsAux].map((address) => address - STATE_ADDRESS);
    const isFlag = (at: number) => flags.some((start) => at >= start && at < start + 8);
    const changed = [...m.state.bytes.keys()].filter((at) => m.state.bytes[at] !== before[at] && !isFlag(at));
    expect(changed).toEqual([]);
  });
  it('VMCALL in root operation: error 1', () => {
    const m = new VmxMachine().ready();
    m.step(insn.vmcall);
    expect(m.status()).toBe(1);
  });
});

describe('INVEPT and INVVPID', () => {
  const run = (hex: string, type: bigint, low: bigint, high = 0n) => {
    const m = new VmxMachine().ready();
    m.state.setGpr(RAX, type);
    return m.withPointer(hex, low, high).status();
  };
  const EPTP = 0x1_401en;
  it.each([
    [1n, EPTP, 'ok'],
    [2n, 0n, 'ok'],
    [0n, EPTP, 28],
    [3n, EPTP, 28],
    [1n, 0x1_4006n, 28],
    [1n, 1n << 63n, 28],
  ])('INVEPT type %i, EPTP %i: %s', (type, eptp, expected) => {
    expect(run(insn.inveptRax, type, eptp)).toBe(expected);
  });
  it.each([
    [0n, 1n, 0x1000n, 'ok'],
    [1n, 1n, 0n, 'ok'],
    [2n, 0n, 0n, 'ok'],
    [3n, 1n, 0n, 'ok'],
    [4n, 1n, 0n, 28],
    [0n, 1n, 1n << 56n, 28],
    [1n, 0n, 0n, 28],
    [3n, 0x1_0000n, 0n, 28],
  ])('INVVPID type %i, VPID %i, address %i: %s', (type, vpid, linear, expected) => {
    expect(run(insn.invvpidRax, type, vpid, linear)).toBe(expected);
  });

  it('a stale EPT translation serves until INVEPT', () => {
    const m = new VmxMachine().inGuest();
    m.u32(0x5_0000, 0x11);
    m.u32(0x6_0000, 0x22);
    expect(m.cpu.memory.readU32(0x5_0000, 0)).toBe(0x11);
    m.step(insn.cpuid);
    m.u64(m.eptEntry(0x5_0000), 0x6_0037n);
    m.write({ 'Guest RIP': GUEST_RIP }).step(insn.vmresume);
    expect(m.cpu.memory.readU32(0x5_0000, 0), 'VPID keeps it').toBe(0x11);
    m.step(insn.cpuid);
    m.state.setGpr(RAX, 1n);
    m.withPointer(insn.inveptRax, EPTP);
    m.step(insn.vmresume);
    expect(m.cpu.memory.readU32(0x5_0000, 0)).toBe(0x22);
  });
});
