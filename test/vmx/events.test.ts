import { describe, expect, it } from 'vitest';
import { GuestFault } from '../../engine/cpu/events.ts';
import { IDT, sel } from '../cpu/machine.ts';
import { controls, GUEST_RIP, insn, type Values, VmxMachine } from './machine.ts';

const PIN = 'Pin-based VM-execution controls';
const PRIMARY = 'Primary processor-based VM-execution controls';
const EXIT = 'Primary VM-exit controls';
const INJECT = 'VM-entry interruption-information field';
const PF_MASK = 'Page-fault error-code mask';
const PF_MATCH = 'Page-fault error-code match';
const HANDLER = 0x6000;
const IF = 0x202;
const HLT = 1;

const pin = (...names: string[]): Values => ({ [PIN]: controls('pin', ...names) });
const primary = (...names: string[]): Values => ({
  [PRIMARY]: controls('primary', 'Activate secondary controls', ...names),
});
const guest = (values: Values): VmxMachine => {
  const m = new VmxMachine();
  for (const vector of [3, 6, 8, 13, 14, 0x20, 0x80]) m.gate(vector, sel.code64, HANDLER);
  return m.inGuest(values);
};
const inject = (type: number, vector: number, more = 0): number => (0x8000_0000 | (type << 8) | vector | more) >>> 0;

describe('exceptions and the exception bitmap', () => {
  it('a bit of the bitmap makes the exception exit, with its vector, type and error code', () => {
    const m = guest({ 'Exception bitmap': 1 << 13 });
    m.vmx.handleEvent(new GuestFault(13, 0x18), 2);
    expect(m.exitReason).toBe(0);
    expect(m.read('VM-exit interruption information')).toBe(0x8000_0b0dn);
    expect(m.read('VM-exit interruption error code')).toBe(0x18n);
    expect(m.read('Guest RFLAGS') & 0x1_0000n, 'RF').toBe(0x1_0000n);
  });
  it('otherwise the guest’s own IDT has it', () => {
    const m = guest({});
    m.vmx.handleEvent(new GuestFault(13, 0x18), 2);
    expect(m.state.nonRoot).toBe(1);
    expect(m.state.rip).toBe(HANDLER);
  });
  it.each([
    ['bit 14 set, code matches', { 'Exception bitmap': 1 << 14 }, true],
    ['bit 14 set, code does not match', { 'Exception bitmap': 1 << 14, [PF_MASK]: 2, [PF_MATCH]: 0 }, false],
    ['bit 14 clear, code matches', { [PF_MASK]: 2, [PF_MATCH]: 2 }, false],
    ['bit 14 clear, code does not match', { [PF_MASK]: 2, [PF_MATCH]: 0 }, true],
  ])('page faults: %s', (_, values: Values, exits) => {
    const m = guest(values);
    m.vmx.handleEvent(new GuestFault(14, 2, 0x1234), 3);
    expect(m.state.nonRoot).toBe(exits ? 0 : 1);
    if (exits) expect(m.read('Exit qualification')).toBe(0x1234n);
    expect(m.state.cr2, 'CR2 changes with delivery only').toBe(exits ? 0n : 0x1234n);
  });
  it('INT3 exits as a software exception with its length', () => {
    const m = guest({ 'Exception bitmap': 1 << 3 });
    m.step('cc');
    expect(m.read('VM-exit interruption information')).toBe(0x8000_0603n);
    expect(m.read('VM-exit instruction length')).toBe(1n);
    expect(m.read('Guest RIP')).toBe(BigInt(GUEST_RIP));
  });
  it('a triple fault exits with reason 2 and no IDT-vectoring information', () => {
    const m = new VmxMachine().inGuest({ 'Guest IDTR limit': 0 });
    m.step('0f 0b');
    expect(m.exitReason).toBe(2);
    expect(m.read('IDT-vectoring information field')).toBe(0n);
  });
});

describe('exits during the delivery of an event', () => {
  it('an EPT violation while #UD is delivered reports #UD as IDT-vectoring information', () => {
    const m = guest({});
    m.u64(m.eptEntry(IDT), 0n);
    m.step('0f 0b');
    expect(m.exitReason).toBe(48);
    expect(m.read('IDT-vectoring information field')).toBe(0x8000_0306n);
    expect(m.read('Guest RIP')).toBe(BigInt(GUEST_RIP));
    expect(m.cpu.delivering).toBeUndefined();
  });
  it('an exception that exits while INT 80H is delivered reports both, and the length of INT', () => {
    const m = guest({ 'Exception bitmap': 1 << 11 });
    m.u32(IDT + 0x80 * 16 + 4, 0);
    m.gate(0x80, sel.code64, HANDLER, { dpl: 3 });
    m.u32(IDT + 0x80 * 16 + 4, 0x6e00);
    m.step('cd 80');
    expect(m.exitReason).toBe(0);
    expect(m.read('VM-exit interruption information')).toBe(0x8000_0b0bn);
    expect(m.read('IDT-vectoring information field')).toBe(0x8000_0480n);
    expect(m.read('VM-exit instruction length')).toBe(2n);
  });
});

describe('event injection', () => {
  it('an external interrupt: handler entered with the return address of RIP', () => {
    const m = guest({ [INJECT]: inject(0, 0x20), 'Guest RFLAGS': IF });
    expect(m.state.rip).toBe(HANDLER);
    expect(m.stack(1, 8)[0]).toBe(GUEST_RIP);
  });
  it('a hardware exception with its error code; CR2 is left alone', () => {
    const m = guest({ [INJECT]: inject(3, 14, 0x800), 'VM-entry exception error code': 6 });
    expect(m.stack(2, 8)).toEqual([6, GUEST_RIP]);
    expect(m.state.cr2).toBe(0n);
  });
  it('a software interrupt returns behind the instruction', () => {
    const m = guest({ [INJECT]: inject(4, 0x80), 'VM-entry instruction length': 2 });
    expect(m.stack(1, 8)[0]).toBe(GUEST_RIP + 2);
  });
  it('a software event may have a length of 0 (IA32_VMX_MISC bit 30): it comes again', () => {
    const m = guest({ [INJECT]: inject(4, 0x80), 'VM-entry instruction length': 0 });
    expect(m.stack(1, 8)[0]).toBe(GUEST_RIP);
  });
  it('into HLT state: the guest wakes', () => {
    const m = guest({ [INJECT]: inject(0, 0x20), 'Guest RFLAGS': IF, 'Guest activity state': HLT });
    expect(m.state.activityState).toBe(0);
  });
  it('a VM exit clears the valid bit, so that the event is injected once', () => {
    const m = guest({ [INJECT]: inject(0, 0x20), 'Guest RFLAGS': IF });
    m.step(insn.cpuid);
    expect(m.read(INJECT)).toBe(0x20n);
  });
  it('a VM exit during injection reports the event; VMLAUNCH has succeeded', () => {
    const m = new VmxMachine().ready({ [INJECT]: inject(3, 6) });
    m.u64(m.eptEntry(IDT), 0n);
    m.step(insn.vmlaunch);
    expect(m.exitReason).toBe(48);
    expect(m.read('IDT-vectoring information field')).toBe(0x8000_0306n);
    expect(m.state.rip).toBe(0x7000);
  });
});

describe('external interrupts', () => {
  const acknowledge = () => 0x20;
  const never = () => {
    throw new Error('acknowledged');
  };

  it('"external-interrupt exiting": exit with reason 1, whatever IF says, the interrupt still pending', () => {
    const m = guest(pin('External-interrupt exiting'));
    expect(m.vmx.onExternalInterruptPending(never)).toBe('vm-exit');
    expect(m.exitReason).toBe(1);
    expect(m.read('VM-exit interruption information')).toBe(0n);
  });
  it('"acknowledge interrupt on exit" reports the vector', () => {
    const exit = { [EXIT]: controls('exit', 'Host address-space size', 'Acknowledge interrupt on exit') };
    const m = guest({ ...pin('External-interrupt exiting'), ...exit });
    m.vmx.onExternalInterruptPending(acknowledge);
    expect(m.read('VM-exit interruption information')).toBe(0x8000_0020n);
  });
  it('without the control the guest’s IDT has them, once IF is 1', () => {
    expect(guest({}).vmx.onExternalInterruptPending(never)).toBe('blocked');
    const m = guest({ 'Guest RFLAGS': IF });
    expect(m.vmx.onExternalInterruptPending(acknowledge)).toBe('delivered');
    expect(m.state.rip).toBe(HANDLER);
  });
  it('a halted guest exits with activity state HLT', () => {
    const m = guest({ ...pin('External-interrupt exiting'), 'Guest activity state': HLT });
    m.vmx.onExternalInterruptPending(never);
    expect(m.read('Guest activity state')).toBe(1n);
    expect(m.state.activityState).toBe(0);
  });
  it('one that waits in MWAIT exits as active, and monitors no longer', () => {
    const m = guest(pin('External-interrupt exiting'));
    m.state.setGpr(0, BigInt(HANDLER));
    m.state.setGpr(1, 0n);
    for (const monitorOrMwait of ['0f 01 c8', '0f 01 c9']) m.step(monitorOrMwait);
    expect(m.state.activityState).toBe(HLT);
    m.vmx.onExternalInterruptPending(never);
    expect(m.read('Guest activity state')).toBe(0n);
    expect([m.state.activityState, m.state.monitorArmed]).toEqual([0, 0]);
  });
  it('the host takes its interrupts itself', () => {
    const m = new VmxMachine().ready();
    m.gate(0x20, sel.code64, HANDLER);
    expect(m.vmx.onExternalInterruptPending(never)).toBe('blocked');
    m.state.flagsOther |= 0x200;
    expect(m.vmx.onExternalInterruptPending(acknowledge)).toBe('delivered');
    expect(m.state.rip).toBe(HANDLER);
  });
});

describe('windows', () => {
  it('interrupt window: exit 7 as soon as IF is 1 and nothing blocks', () => {
    const m = guest(primary('Interrupt-window exiting'));
    expect(m.vmx.interruptWindowExit()).toBe(false);
    m.step('fb');
    expect(m.vmx.interruptWindowExit(), 'blocking by STI').toBe(false);
    m.state.interruptibility = 0;
    expect(m.vmx.interruptWindowExit()).toBe(true);
    expect(m.exitReason).toBe(7);
  });
  it('NMI window: exit 8 while there is no virtual-NMI blocking', () => {
    const values = { ...pin('NMI exiting', 'Virtual NMIs'), ...primary('NMI-window exiting') };
    expect(guest({ ...values, 'Guest interruptibility state': 8 }).vmx.exitBeforeNmis()).toBe(false);
    const m = guest(values);
    expect(m.vmx.exitBeforeNmis()).toBe(true);
    expect(m.exitReason).toBe(8);
  });
  it('no window in root operation', () => {
    expect(new VmxMachine().ready(primary('Interrupt-window exiting')).vmx.interruptWindowExit()).toBe(false);
  });
});

describe('NMIs', () => {
  it('"NMI exiting": exit 0 with vector 2; the host has NMIs blocked until IRET', () => {
    const m = guest(pin('NMI exiting'));
    expect(m.vmx.onNmiPending()).toBe('vm-exit');
    expect(m.read('VM-exit interruption information')).toBe(0x8000_0202n);
    expect(m.state.interruptibility).toBe(8);
  });
  it('blocked by NMI', () => {
    expect(guest({ 'Guest interruptibility state': 8 }).vmx.onNmiPending()).toBe('blocked');
  });
});
