import { describe, expect, it } from 'vitest';
import { CS, SS, TR } from '../../engine/cpu/state.ts';
import { CODE, GUEST_RIP, HOST_RIP, insn, STACK, VMCS_REGION, VmxMachine } from './machine.ts';

describe('a guest from VMLAUNCH to VM exit and back', () => {
  it('VMLAUNCH loads the guest state', () => {
    const m = new VmxMachine().inGuest({ 'Guest RIP': 0x8123, 'Guest RSP': 0x8ff8, 'Guest RFLAGS': 0x246 });
    expect(m.state.nonRoot).toBe(1);
    expect(m.state.rip).toBe(0x8123);
    expect(m.state.gpr(4)).toBe(0x8ff8n);
    expect(m.state.flagsOther & 0x200).toBe(0x200);
    expect(m.mmu.context).toMatchObject({ vpid: 1, ept: { root: 0x1_4000 } });
  });

  it('CPUID exits to the host with reason 10 and its length', () => {
    const m = new VmxMachine().inGuest();
    m.step(insn.cpuid);
    expect(m.exitReason).toBe(10);
    expect(m.read('VM-exit instruction length')).toBe(2n);
    expect(m.read('Guest RIP')).toBe(BigInt(GUEST_RIP));
    expect(m.state.rip).toBe(HOST_RIP);
    expect(m.state.gprLinear(4)).toBe(STACK);
    expect(m.state.flagsOther & 0x200).toBe(0);
    expect(m.mmu.context).toEqual({ vpid: 0, ept: undefined });
    expect(m.state.segment(CS).attributes & 0x2000).toBe(0x2000);
    expect(m.state.segment(SS).limit).toBe(0xffff_ffff);
    expect(m.state.segment(TR).limit).toBe(0x67);
  });

  it('VMRESUME goes on where the host says', () => {
    const m = new VmxMachine().inGuest();
    m.step(insn.cpuid);
    m.write({ 'Guest RIP': GUEST_RIP + 2 });
    m.step(insn.vmresume);
    expect(m.state.nonRoot).toBe(1);
    expect(m.state.rip).toBe(CODE + 2);
    m.step(insn.hlt);
    expect(m.exitReason).toBe(12);
    expect(m.vmx.exitLog.totals()).toMatchObject([
      { reason: 10, count: 1 },
      { reason: 12, count: 1 },
    ]);
  });

  it('tells who watches', () => {
    const m = new VmxMachine();
    const seen: string[] = [];
    m.vmx.onVmEntry = ({ launch, rip, vmcs }) => seen.push(`entry ${launch} ${rip.toString(16)} ${vmcs.toString(16)}`);
    m.vmx.onVmExit = ({ name, rip }) =>
      seen.push(`exit ${name} at ${rip.toString(16)}, now ${m.state.rip.toString(16)}`);
    m.inGuest().step(insn.cpuid);
    expect(seen).toEqual([`entry true 8000 ${VMCS_REGION.toString(16)}`, 'exit CPUID at 8000, now 7000']);
  });

  it('an EPT violation reports both addresses and leaves RIP at the instruction', () => {
    const m = new VmxMachine().inGuest();
    m.u64(m.eptEntry(0x5_0000), 0n);
    const exit = () => m.cpu.memory.writeU8(0x5_0010, 1, 0);
    try {
      exit();
      expect.unreachable();
    } catch (event) {
      m.vmx.handleEvent(event, 3);
    }
    expect(m.exitReason).toBe(48);
    expect(m.read('Exit qualification')).toBe(0x782n);
    expect(m.read('Guest-physical address')).toBe(0x5_0010n);
    expect(m.read('Guest-linear address')).toBe(0x5_0010n);
    expect(m.read('Guest RIP')).toBe(BigInt(GUEST_RIP));
  });
});
