import { describe, expect, it } from 'vitest';
import { EXIT, PIN, PRIMARY, SECONDARY } from '../../engine/vmx/controls.ts';
import { type BareHypervisor, bareHypervisor, exitsOf, type HypervisorRun } from './bare-hypervisor.ts';

const APIC = 0x26_0000;
const VAPIC = 0x27_0000;
const DESCRIPTOR = 0x28_0000;
const RESULT = 0x30_0000;
const [VMCALL, BELOW, ACCESS, EOI, WRITE] = [18, 43, 44, 45, 56];
const STATUS = 'Guest interrupt status';
const IF = 0x202;

const shadow = PRIMARY['Use TPR shadow'];
const accesses = SECONDARY['Virtualize APIC accesses'];
const registers = SECONDARY['APIC-register virtualization'];
const x2apic = SECONDARY['Virtualize x2APIC mode'];
const delivery = SECONDARY['Virtual-interrupt delivery'];

type Program = Omit<BareHypervisor, 'primary'> & { primary?: number; page?: Readonly<Record<number, number>> };
/** With a TPR shadow; `page` is what the virtual-APIC page holds by offset. */
const program = ({ primary = shadow, page = {}, fields, pin = 0, ...more }: Program): BareHypervisor => ({
  primary,
  pin: (more.secondary ?? 0) & delivery ? pin | PIN['External-interrupt exiting'] : pin,
  fields: { 'Virtual-APIC address': VAPIC, 'APIC-access address': APIC, ...fields },
  setUp: Object.entries(page)
    .map(([offset, value]) => `mov dword [${VAPIC + Number(offset)}], ${value}`)
    .join('\n'),
  ...more,
});
const exits = (wanted: Program) => exitsOf(program(wanted));
async function ran(wanted: Program): Promise<HypervisorRun & { word(at: number): number }> {
  const run = await bareHypervisor(program(wanted));
  run.machine.run({ instructions: 100_000 });
  return { ...run, word: (at) => run.machine.host.physical.readU32(at) };
}

describe('TPR shadow', () => {
  it('MOV to and from CR8 access the virtual-APIC page', async () => {
    const { word, machine } = await ran({
      guest: `mov eax, 5\n mov cr8, rax\n mov rbx, cr8\n mov [${RESULT}], ebx`,
      page: { 128: 0xffff_ff3c },
    });
    expect([word(VAPIC + 0x80), word(RESULT)]).toEqual([0x50, 5]);
    expect(machine.vcpus[0]?.readRegister('cr8')).toBe(0n);
  });
  it('reserved bits of CR8 fault', async () => {
    const fields = { 'Exception bitmap': 1 << 13 };
    expect(await exits({ guest: 'mov eax, 16\n mov cr8, rax', fields })).toMatchObject([{ reason: 0, rip: 5 }]);
  });
  it('below the threshold exits after MOV to CR8; at it, nothing does', async () => {
    const fields = { 'TPR threshold': 4 };
    const found = await exits({
      guest: 'mov eax, 4\n mov cr8, rax\n dec eax\n mov cr8, rax',
      fields,
      page: { 128: 0x50 },
    });
    expect(found).toMatchObject([{ reason: BELOW, rip: 15 }]);
  });
  it('"CR8-load exiting" and "CR8-store exiting" come first', async () => {
    const primary = shadow | PRIMARY['CR8-load exiting'];
    expect(await exits({ primary, guest: 'mov cr8, rax' })).toMatchObject([{ reason: 28 }]);
  });
  it('below the threshold exits at VM entry, if APIC accesses are virtualized', async () => {
    const fields = { 'TPR threshold': 4 };
    const found = await exits({ guest: 'nop', secondary: accesses, fields, page: { 128: 0x3f } });
    expect(found).toMatchObject([{ reason: BELOW, rip: 0 }]);
  });
  it('… before a pending MTF VM exit', async () => {
    const fields = { 'TPR threshold': 4, 'VM-entry interruption-information field': 0x8000_0700 };
    expect(await exits({ guest: 'nop', secondary: accesses, fields })).toMatchObject([{ reason: BELOW }]);
  });
});

describe('APIC accesses', () => {
  const read = (offset: number) => `mov eax, [${APIC + offset}]`;
  const write = (offset: number) => `mov dword [${APIC + offset}], 0x55`;
  it.each([
    ['a read', read(0x30), 0x0030],
    ['a write', write(0xb0), 0x10b0],
    ['a read of the TPR that is too wide', `mov rax, [${APIC + 0x80}]`, 0x0080],
    ['a read of the TPR beyond its 4 bytes', `mov ax, [${APIC + 0x83}]`, 0x0083],
    ['a fetch', `mov rax, ${APIC + 0x10}\n jmp rax`, 0x2010],
  ])('%s exits with offset and type', async (_, guest, qualification) => {
    const [exit] = await exits({ guest, secondary: accesses });
    expect(exit).toMatchObject({ reason: ACCESS, qualification: BigInt(qualification) });
  });
  it('an access while an event is delivered', async () => {
    const fields = { 'Guest RSP': APIC + 0x800 };
    const found = await exits({ guest: 'int 0x20', secondary: accesses, fields });
    expect(found).toMatchObject([{ reason: ACCESS, rip: 0 }]);
    expect(Number(found[0]?.qualification ?? 0n) >> 12).toBe(3);
  });
  it('the TPR is virtual with its shadow, and exits without', async () => {
    expect(await exits({ guest: read(0x80), secondary: accesses })).toMatchObject([{ reason: VMCALL }]);
    expect(await exits({ guest: read(0x80), secondary: accesses, primary: 0 })).toMatchObject([{ reason: ACCESS }]);
  });
  it('the TPR: bytes 3:1 are cleared, and the threshold counts', async () => {
    const guest = `mov dword [${APIC + 0x80}], 0x12345630\n nop`;
    const { word, exits: found } = await ran({
      guest,
      secondary: accesses,
      page: { 128: 0x50 },
      fields: { 'TPR threshold': 4 },
    });
    expect(word(VAPIC + 0x80)).toBe(0x30);
    expect(found()).toMatchObject([{ reason: BELOW }]);
    expect(found()[0]?.rip).toBeGreaterThan(0);
  });
  it.each([
    0x20, 0x30, 0x80, 0xb0, 0xd0, 0xe0, 0xf0, 0x100, 0x170, 0x180, 0x1f0, 0x200, 0x270, 0x280, 0x300, 0x310, 0x320,
    0x370, 0x380, 0x3e0,
  ])('with APIC-register virtualization, %i is read from the page', async (offset) => {
    const guest = `${read(offset)}\n mov [${RESULT}], eax`;
    const { word } = await ran({ guest, secondary: accesses | registers, page: { [offset]: 0x77 } });
    expect(word(RESULT)).toBe(0x77);
  });
  it.each([0x10, 0x40, 0x90, 0xa0, 0xc0, 0x2f0, 0x390, 0x3f0])('but %i exits', async (offset) => {
    const [exit] = await exits({ guest: read(offset), secondary: accesses | registers });
    expect(exit?.reason).toBe(ACCESS);
  });
  it.each([0x20, 0xb0, 0xd0, 0xe0, 0xf0, 0x280, 0x300, 0x320, 0x380, 0x3e0])(
    'a write to %i is made to the page, then exits',
    async (offset) => {
      const { word, exits: found } = await ran({ guest: write(offset), secondary: accesses | registers });
      expect(word(VAPIC + offset)).toBe(0x55);
      expect(word(APIC + offset)).toBe(0);
      expect(found()).toMatchObject([{ reason: WRITE, qualification: BigInt(offset) }]);
      expect(found()[0]?.rip).toBeGreaterThan(0);
    },
  );
  it.each([0x30, 0x100, 0x200, 0x3f0])('a write to %i exits instead', async (offset) => {
    const [exit] = await exits({ guest: write(offset), secondary: accesses | registers });
    expect(exit?.qualification).toBe(BigInt(0x1000 | offset));
  });
  it('a write to the upper half of ICR keeps the destination, without an exit', async () => {
    const { word, exits: found } = await ran({
      guest: `mov dword [${APIC + 0x310}], -1`,
      secondary: accesses | registers,
    });
    expect(word(VAPIC + 0x310)).toBe(0xff00_0000);
    expect(found()).toMatchObject([{ reason: VMCALL }]);
  });
});

describe('x2APIC mode', () => {
  const rdmsr = (index: number) => `mov ecx, ${index}\n rdmsr\n mov [${RESULT}], eax\n mov [${RESULT + 4}], edx`;
  const wrmsr = (index: number, value: number) => `mov ecx, ${index}\n mov eax, ${value}\n xor edx, edx\n wrmsr`;
  const primary = shadow | PRIMARY['Use MSR bitmaps'];
  const fields = { 'Address of MSR bitmaps': 0x29_0000, 'Exception bitmap': 1 << 13 };
  const base = { primary, fields };
  it('RDMSR of the TPR', async () => {
    const { word } = await ran({ ...base, guest: rdmsr(0x808), secondary: x2apic, page: { 128: 0x60, 132: 7 } });
    expect([word(RESULT), word(RESULT + 4)]).toEqual([0x60, 7]);
  });
  it('other registers need APIC-register virtualization', async () => {
    const page = { 848: 9 };
    expect((await ran({ ...base, guest: rdmsr(0x835), secondary: x2apic | registers, page })).word(RESULT)).toBe(9);
    expect(await exits({ ...base, guest: rdmsr(0x835), secondary: x2apic, page })).toMatchObject([{ reason: 0 }]);
  });
  it('WRMSR of the TPR', async () => {
    const { word } = await ran({ ...base, guest: wrmsr(0x808, 0x60), secondary: x2apic });
    expect(word(VAPIC + 0x80)).toBe(0x60);
    expect(await exits({ ...base, guest: wrmsr(0x808, 0x160), secondary: x2apic })).toMatchObject([{ reason: 0 }]);
  });
  it('without the control, the MSRs of the processor are meant', async () => {
    expect(await exits({ ...base, guest: rdmsr(0x808), secondary: 0 })).toMatchObject([{ reason: 0 }]);
  });
  it('the MSR bitmaps come first', async () => {
    expect(await exits({ fields, guest: rdmsr(0x808), secondary: x2apic })).toMatchObject([{ reason: 31 }]);
  });
  it('EOI must be 0, and a self-IPI a vector', async () => {
    const secondary = x2apic | delivery;
    expect(await exits({ ...base, guest: wrmsr(0x80b, 1), secondary })).toMatchObject([{ reason: 0 }]);
    expect(await exits({ ...base, guest: wrmsr(0x83f, 0x100), secondary })).toMatchObject([{ reason: 0 }]);
    expect(await exits({ ...base, guest: wrmsr(0x83f, 5), secondary })).toMatchObject([
      { reason: WRITE, qualification: 0x3f0n },
    ]);
  });
  it('a self-IPI is delivered', async () => {
    const run = await ran({ ...base, guest: `sti\n ${wrmsr(0x83f, 0x20)}\n cli`, secondary: x2apic | delivery });
    expect(run.ticks()).toBe(1);
  });
});

describe('virtual-interrupt delivery', () => {
  const ISR_20 = VAPIC + 0x110;
  const IRR_20 = VAPIC + 0x210;
  const status = async (run: HypervisorRun) => run.machine.vcpus[0]?.readVmcs(STATUS);
  it('the interrupt requested in RVI is delivered, and serviced from then on', async () => {
    const run = await ran({
      guest: 'nop',
      secondary: delivery,
      fields: { [STATUS]: 0x20, 'Guest RFLAGS': IF },
      page: { 528: 1 },
    });
    expect(run.ticks()).toBe(1);
    expect([run.word(ISR_20), run.word(IRR_20), run.word(VAPIC + 0xa0)]).toEqual([1, 0, 0x20]);
    expect(await status(run)).toBe(0x2000n);
  });
  it('RVI becomes the next request', async () => {
    const run = await ran({
      guest: 'nop',
      secondary: delivery,
      fields: { [STATUS]: 0x20, 'Guest RFLAGS': IF },
      page: { 528: 1, 512: 1 << 18 },
    });
    expect(await status(run)).toBe(0x2012n);
  });
  it('waits for IF and the shadow of STI', async () => {
    const guest = `sti\n mov al, [${0x20_f000}]\n mov [${RESULT}], al\n cli`;
    const run = await ran({ guest, secondary: delivery, fields: { [STATUS]: 0x20 }, page: { 528: 1 } });
    expect([run.word(RESULT) & 0xff, run.ticks()]).toEqual([0, 1]);
  });
  it('waits for the task priority, by CR8', async () => {
    const guest = 'sti\n nop\n nop\n mov eax, 1\n mov cr8, rax\n cli';
    const run = await ran({ guest, secondary: delivery, fields: { [STATUS]: 0x20 }, page: { 528: 1, 128: 0x20 } });
    expect(run.ticks()).toBe(1);
    const kept = await ran({
      guest: 'sti\n nop\n cli',
      secondary: delivery,
      fields: { [STATUS]: 0x20 },
      page: { 128: 0x20 },
    });
    expect(kept.ticks()).toBe(0);
  });
  it('wakes a guest that halts', async () => {
    const fields = { [STATUS]: 0x20, 'Guest RFLAGS': IF, 'Guest activity state': 1 };
    expect((await ran({ guest: 'nop', secondary: delivery, fields })).ticks()).toBe(1);
  });
  it('gives way to "interrupt-window exiting"', async () => {
    const primary = shadow | PRIMARY['Interrupt-window exiting'];
    const fields = { [STATUS]: 0x20, 'Guest RFLAGS': IF };
    expect(await exits({ primary, guest: 'nop', secondary: delivery, fields })).toMatchObject([{ reason: 7 }]);
  });
  const eoi = `mov dword [${APIC + 0xb0}], 0`;
  it('EOI ends the service, and the next is delivered', async () => {
    const fields = { [STATUS]: 0x2020, 'Guest RFLAGS': IF };
    const run = await ran({ guest: `${eoi}\n nop`, secondary: delivery | accesses, fields, page: { 272: 1, 528: 1 } });
    expect(run.ticks()).toBe(1);
    expect(run.word(ISR_20)).toBe(1);
  });
  it('EOI of a vector in the EOI-exit bitmap exits after the instruction', async () => {
    const fields = { [STATUS]: 0x2000, 'EOI-exit bitmap 0': '1 << 32' };
    const run = await ran({ guest: eoi, secondary: delivery | accesses, fields, page: { 272: 1 } });
    expect(run.exits()).toMatchObject([{ reason: EOI, qualification: 0x20n }]);
    expect([run.word(ISR_20), await status(run)]).toEqual([0, 0n]);
  });
  it.each([
    ['a self-IPI by ICR', 0x4_0020, 1, VMCALL],
    ['… level and mode ignored', 0x4_4820, 1, VMCALL],
    ['an IPI to others', 0xc_0020, 0, WRITE],
    ['one with a vector below 10H', 0x4_000f, 0, WRITE],
    ['an NMI to itself', 0x4_0420, 0, WRITE],
  ])('%s', async (_, icr, ticks, reason) => {
    const guest = `sti\n mov dword [${APIC + 0x300}], ${icr}\n nop\n cli`;
    const run = await ran({ guest, secondary: delivery | accesses });
    expect(run.ticks()).toBe(ticks);
    expect(run.exits()).toMatchObject([{ reason }]);
  });
  it('is the same however the run is cut', async () => {
    const guest = `sti\n mov ecx, 20\n .again: mov dword [${APIC + 0x300}], 0x40020\n ${eoi}\n loop .again\n cli`;
    const whole = await ran({ guest, secondary: delivery | accesses });
    const cut = await bareHypervisor(program({ guest, secondary: delivery | accesses }));
    while (cut.machine.run({ instructions: 1 }).kind === 'limit');
    expect(whole.ticks()).toBe(20);
    expect(cut.machine.stateHash()).toBe(whole.machine.stateHash());
  });
});

describe('posted interrupts', () => {
  const posted: Program = {
    secondary: delivery,
    pin: PIN['Process posted interrupts'],
    exit: EXIT['Acknowledge interrupt on exit'],
    fields: { 'Posted-interrupt notification vector': 0x20, 'Posted-interrupt descriptor address': DESCRIPTOR },
    page: { [DESCRIPTOR + 4 - VAPIC]: 1, [DESCRIPTOR + 32 - VAPIC]: 3 },
    guest: '',
  };
  it('the notification delivers what was posted, without an exit', async () => {
    const run = await ran({
      ...posted,
      guest: `call start_timer\n sti\n .wait: cmp byte [${0x20_f000}], 0\n je .wait\n cli`,
    });
    expect(run.ticks()).toBe(1);
    expect(run.exits()).toMatchObject([{ reason: VMCALL }]);
    expect([run.word(DESCRIPTOR + 4), run.word(DESCRIPTOR + 32)]).toEqual([0, 2]);
  });
  it('to a guest that halts', async () => {
    const run = await ran({ ...posted, guest: 'call start_timer\n sti\n hlt\n cli' });
    expect(run.ticks()).toBe(1);
    expect(run.exits()).toMatchObject([{ reason: VMCALL }]);
  });
  it('another vector exits', async () => {
    const fields = { ...posted.fields, 'Posted-interrupt notification vector': 0x21 };
    const found = await exits({ ...posted, fields, guest: 'call start_timer\n jmp $' });
    expect(found).toMatchObject([{ reason: 1, interruption: 0x8000_0020 }]);
  });
});
