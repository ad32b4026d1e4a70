import { describe, expect, it } from 'vitest';
import { GuestFault, VmExit } from '../../engine/cpu/events.ts';
import { PRIMARY, SECONDARY } from '../../engine/vmx/controls.ts';
import { PAGE_TABLES, sel } from '../cpu/machine.ts';
import { bareHypervisor, exitsOf } from './bare-hypervisor.ts';
import { controls, EPT, type Values, VmxMachine } from './machine.ts';

const [VMCALL, APIC_ACCESS, APIC_WRITE] = [18, 44, 56];
const APIC = 0x5_0000;
/** Its page table lies in the APIC-access page. */
const BEHIND = 0x20_0000;
const HANDLER = 0x6800;

const accesses = (eptp = EPT | 0x1e): Values => ({
  'Secondary processor-based VM-execution controls': controls(
    'secondary',
    'Enable EPT',
    'Enable VPID',
    'Virtualize APIC accesses',
  ),
  'APIC-access address': APIC,
  'EPT pointer': eptp,
});

function guest(values: Values = accesses()): VmxMachine {
  const m = new VmxMachine().inGuest(values);
  m.u64(PAGE_TABLES + 0x2000 + 8, BigInt(APIC) | 0x27n);
  m.u64(APIC, 0x6_0067n);
  return m;
}
function read(m: VmxMachine, linear: number): VmxMachine {
  try {
    m.mmu.readU32(linear);
  } catch (event) {
    if (!(event instanceof VmExit || event instanceof GuestFault)) throw event;
    m.vmx.handleEvent(event, 0);
  }
  return m;
}
const typeOf = (m: VmxMachine): number => Number(m.read('Exit qualification') >> 12n);

describe('guest-physical accesses to the APIC-access page', () => {
  it('a paging-structure entry in the page: type 15, without the page being read', () => {
    const m = read(guest(), BEHIND);
    expect(m.exitReason).toBe(APIC_ACCESS);
    expect(typeOf(m)).toBe(15);
    expect(m.read('Guest RFLAGS') & 0x1_0000n, 'RF').toBe(0x1_0000n);
  });
  it('… also where EPT has accessed and dirty flags, which are set before', () => {
    const m = read(guest(accesses(EPT | 0x5e)), BEHIND);
    expect(typeOf(m)).toBe(15);
    expect(m.physical.readU64(m.eptEntry(APIC)) & 0x300n).toBe(0x300n);
  });
  it('during the delivery of an event: type 10, with IDT-vectoring information', () => {
    const m = guest({ ...accesses(), 'Guest RSP': BEHIND + 0x800 });
    m.gate(6, sel.code64, HANDLER);
    m.step('0f 0b');
    expect([m.exitReason, typeOf(m)]).toEqual([APIC_ACCESS, 10]);
    expect(m.read('IDT-vectoring information field')).toBe(0x8000_0306n);
  });
  it('an EPT violation of the page comes first', () => {
    const m = guest();
    m.u64(m.eptEntry(APIC), 0n);
    m.mmu.invept(2, 0);
    expect(read(m, BEHIND).exitReason).toBe(48);
  });
  it('without the control the entry is memory like any other', () => {
    const values = {
      ...accesses(),
      'Secondary processor-based VM-execution controls': controls('secondary', 'Enable EPT', 'Enable VPID'),
    };
    const m = guest(values);
    m.u32(0x6_0000, 0x1234);
    expect(m.mmu.readU32(BEHIND)).toBe(0x1234);
    expect(m.state.nonRoot).toBe(1);
  });
  it('the page-directory-pointer-table entries that MOV to CR3 loads', () => {
    const m = new VmxMachine().inGuest({
      ...accesses(),
      'VM-entry controls': controls('entry'),
      'Guest CR0': 0x8000_0021,
      'Guest CR4': 0x2020,
      'Guest CR3': 0x6000,
      'Guest CS access rights': 0xc09b,
    });
    m.state.setGpr(0, BigInt(APIC));
    m.step('0f 22 d8');
    expect([m.exitReason, typeOf(m)]).toEqual([APIC_ACCESS, 15]);
  });
});

describe('after a write that is virtualized, in the same instruction', () => {
  const written = (): VmxMachine => {
    const primary = controls('primary', 'Activate secondary controls', 'Use TPR shadow');
    const m = guest({
      ...accesses(),
      'Primary processor-based VM-execution controls': primary,
      'Virtual-APIC address': 0x5_1000,
    });
    m.mmu.writeU16(APIC + 0x80, 0x20);
    expect(m.state.nonRoot).toBe(1);
    return m;
  };
  it('a read exits', () => {
    const m = read(written(), APIC + 0x80);
    expect([m.exitReason, m.read('Exit qualification')]).toEqual([APIC_ACCESS, 0x80n]);
  });
  it.each([
    ['at another offset', (m: VmxMachine) => m.mmu.writeU16(APIC + 0x82, 0)],
    ['of another size', (m: VmxMachine) => m.mmu.writeU8(APIC + 0x80, 0)],
  ])('a write %s exits', (_, write) => {
    expect(() => write(written())).toThrow(VmExit);
  });
  it('the same write does not', () => {
    const m = written();
    m.mmu.writeU16(APIC + 0x80, 0x30);
    expect(m.physical.readU16(0x5_1080)).toBe(0x30);
  });
  it('the next instruction may read', () => {
    const m = written();
    m.vmx.completeInstruction();
    expect(m.mmu.readU32(APIC + 0x80)).toBe(0x20);
  });
});

describe('accesses of one instruction to the APIC-access page', () => {
  const [PAGE, VIRTUAL] = [0x26_0000, 0x27_0000];
  const program = (code: string, secondary = 0) => ({
    guest: code,
    primary: PRIMARY['Use TPR shadow'],
    secondary: SECONDARY['Virtualize APIC accesses'] | secondary,
    fields: { 'Virtual-APIC address': VIRTUAL, 'APIC-access address': PAGE },
  });
  const registers = SECONDARY['APIC-register virtualization'];
  it.each([
    ['a read-modify-write is a write', `add dword [${PAGE + 0x30}], 1`, 0x1030],
    ['one of a register that can be read but not written', `or dword [${PAGE + 0x100}], 1`, 0x1100],
    ['an exchange', `xchg [${PAGE + 0x30}], eax`, 0x1030],
    ['MONITOR has a type of its own', `mov eax, ${PAGE + 0x40}\n xor ecx, ecx\n monitor`, 0x4040],
  ])('%s', async (_, code, qualification) => {
    const [exit] = await exitsOf(program(code, registers));
    expect(exit).toMatchObject({ reason: APIC_ACCESS, qualification: BigInt(qualification) });
  });
  it('a read-modify-write of a register that is virtual is made in the virtual-APIC page', async () => {
    const run = await bareHypervisor({
      ...program(`add dword [${PAGE + 0x80}], 0x10`),
      setUp: `mov dword [${VIRTUAL + 0x80}], 0x20`,
    });
    run.machine.run({ instructions: 100_000 });
    expect(run.machine.host.physical.readU32(VIRTUAL + 0x80)).toBe(0x30);
    expect(run.exits()).toMatchObject([{ reason: VMCALL }]);
  });
  it('a read by MOVS, and then a write to the same page', async () => {
    const code = `mov rsi, ${PAGE + 0x20}\n mov rdi, ${PAGE + 0x80}\n movsd`;
    const [exit] = await exitsOf(program(code, registers));
    expect(exit).toMatchObject({ reason: VMCALL });
  });
  it('a string of writes is one of instructions, each with its own effects', async () => {
    const code = `mov rdi, ${PAGE + 0x280}\n mov ecx, 1\n rep stosd`;
    const [exit] = await exitsOf(program(code, registers));
    expect(exit).toMatchObject({ reason: APIC_WRITE, qualification: 0x280n });
  });
});
