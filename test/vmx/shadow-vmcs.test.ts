import { describe, expect, it } from 'vitest';
import { GuestFault } from '../../engine/cpu/events.ts';
import { SHADOW_VMCS, VMCS_REVISION } from '../../engine/vmx/vmcs.ts';
import {
  controls,
  IO_BITMAP_A,
  insn,
  MSR_BITMAPS,
  OTHER_VMCS,
  type Values,
  VMCS_REGION,
  VmxMachine,
} from './machine.ts';

const RAX = 0;
const RCX = 1;
const VMREAD = 23;
const VMWRITE = 25;
const GUEST_RIP_FIELD = 0x681e;
const EXIT_REASON_FIELD = 0x4402;
const INSTRUCTION_ERROR = 0x4400;

const shadowing: Values = {
  'Secondary processor-based VM-execution controls': controls(
    'secondary',
    'Enable EPT',
    'Enable VPID',
    'VMCS shadowing',
  ),
  'VMREAD-bitmap address': IO_BITMAP_A,
  'VMWRITE-bitmap address': MSR_BITMAPS,
  'VMCS link pointer': OTHER_VMCS,
};

function shadowed(values: Values = {}): VmxMachine {
  const m = new VmxMachine().ready({ ...shadowing, ...values });
  m.u32(OTHER_VMCS, VMCS_REVISION + SHADOW_VMCS);
  m.step(insn.vmlaunch);
  expect(m.state.nonRoot).toBe(1);
  return m;
}
const shadow = (m: VmxMachine, encoding: number): bigint => m.vmx.parts.vmcs.readEncoding(encoding, OTHER_VMCS);
const read = (m: VmxMachine, encoding: number): bigint => {
  m.state.setGpr(RAX, BigInt(encoding));
  m.step(insn.vmreadRcxRax);
  return m.state.gpr(RCX);
};
const write = (m: VmxMachine, encoding: number, value: bigint): void => {
  m.state.setGpr(RAX, BigInt(encoding));
  m.state.setGpr(RCX, value);
  m.step(insn.vmwriteRaxRcx);
};
const ZF = 0x40;
const CF = 1;

describe('VMCS shadowing', () => {
  it('VMWRITE and VMREAD of the guest access the shadow VMCS', () => {
    const m = shadowed();
    write(m, GUEST_RIP_FIELD, 0x1234_5678_9abc_def0n);
    expect(m.state.nonRoot).toBe(1);
    expect(shadow(m, GUEST_RIP_FIELD)).toBe(0x1234_5678_9abc_def0n);
    expect(m.read('Guest RIP')).not.toBe(0x1234_5678_9abc_def0n);
    expect(read(m, GUEST_RIP_FIELD)).toBe(0x1234_5678_9abc_def0n);
  });
  it.each([
    ['VMREAD', IO_BITMAP_A, VMREAD, read],
    ['VMWRITE', MSR_BITMAPS, VMWRITE, (m: VmxMachine, encoding: number) => write(m, encoding, 1n)],
  ] as const)('a bit of the bitmap of %s makes it exit, the bits beside it do not', (_, bitmap, reason, access) => {
    const others = shadowed();
    others.physical.writeU8(bitmap + (GUEST_RIP_FIELD >>> 3), ~(1 << (GUEST_RIP_FIELD & 7)) & 0xff);
    access(others, GUEST_RIP_FIELD);
    expect(others.state.nonRoot).toBe(1);
    const m = shadowed();
    m.physical.writeU8(bitmap + (GUEST_RIP_FIELD >>> 3), 1 << (GUEST_RIP_FIELD & 7));
    access(m, GUEST_RIP_FIELD);
    expect(m.exitReason).toBe(reason);
  });
  it.each([0x8000, 0x1_0000_681e])('an encoding beyond 15 bits exits: %i', (encoding) => {
    const m = shadowed();
    read(m, encoding);
    expect(m.exitReason).toBe(VMREAD);
  });
  it('without the control all exit', () => {
    const m = new VmxMachine().inGuest();
    read(m, GUEST_RIP_FIELD);
    expect(m.exitReason).toBe(VMREAD);
  });
  it('a field that there is not: VMfailValid, error 12 in the current VMCS', () => {
    const m = shadowed();
    read(m, 0x6ffe);
    expect(m.flags() & ZF).toBe(ZF);
    expect(m.read('VM-instruction error')).toBe(12n);
    expect(shadow(m, INSTRUCTION_ERROR)).toBe(0n);
  });
  it('VMWRITE to VM-exit information', () => {
    const m = shadowed();
    write(m, EXIT_REASON_FIELD, 1n);
    expect(m.flags() & ZF).toBe(0);
    expect(shadow(m, EXIT_REASON_FIELD)).toBe(1n);
  });
  it('without a shadow VMCS: VMfailInvalid', () => {
    const m = shadowed({ 'VMCS link pointer': -1n });
    read(m, GUEST_RIP_FIELD);
    expect(m.flags() & CF).toBe(CF);
  });
  it('#GP(0) outside of ring 0, after the exit', () => {
    const m = shadowed();
    m.state.cpl = 3;
    m.state.setGpr(RAX, BigInt(GUEST_RIP_FIELD));
    expect(() => m.run(insn.vmreadRcxRax)).toThrow(GuestFault);
    m.physical.writeU8(IO_BITMAP_A + (GUEST_RIP_FIELD >>> 3), 0xff);
    read(m, GUEST_RIP_FIELD);
    expect(m.exitReason).toBe(VMREAD);
  });
});

describe('shadow VMCSs', () => {
  const current = (indicator: number): VmxMachine => {
    const m = new VmxMachine().ready();
    m.u32(VMCS_REGION, VMCS_REVISION + indicator);
    return m;
  };
  it('can be loaded by VMPTRLD, read and written', () => {
    const m = new VmxMachine().vmxon();
    m.u32(OTHER_VMCS, VMCS_REVISION + SHADOW_VMCS);
    m.withPointer(insn.vmclear, OTHER_VMCS).withPointer(insn.vmptrld, OTHER_VMCS);
    write(m, GUEST_RIP_FIELD, 7n);
    expect([m.status(), read(m, GUEST_RIP_FIELD)]).toEqual(['ok', 7n]);
  });
  it('cannot be entered: VMfailInvalid', () => {
    const m = current(SHADOW_VMCS);
    m.step(insn.vmlaunch);
    expect(m.status()).toBe('invalid');
  });
  it('the same VMCS without the indicator can', () => {
    const m = current(0);
    m.step(insn.vmlaunch);
    expect(m.state.nonRoot).toBe(1);
  });
  it('are no VMXON regions', () => {
    const m = new VmxMachine();
    m.u32(OTHER_VMCS, VMCS_REVISION + SHADOW_VMCS);
    m.withPointer(insn.vmxon, OTHER_VMCS);
    expect(m.state.vmxOperation).toBe(0);
  });
});
