/** A hypervisor under the built-in hypervisor: it must find what it finds on the bare machine. */
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { type GuestRun, guestFromFile, guestFromSource, MIB, runToEnd } from './run-guest.ts';

const SAMPLES = path.join(path.dirname(fileURLToPath(import.meta.url)), '../../samples');
const file = (program: string, virtualization: 'none' | 'hardware') =>
  guestFromFile(path.join(SAMPLES, program), { virtualization, memoryBytes: 64 * MIB });

/** What comes out, and how it ends; loops without end are cut. */
async function outcome(program: string, virtualization: 'none' | 'hardware'): Promise<string> {
  const guest = await file(program, virtualization);
  const stop = guest.machine.run({ instructions: 2_000_000 });
  return `${guest.output()} ${stop.kind}`;
}

const broken = [
  'cr4-vmxe',
  'ept-violation-loop',
  'host-stack',
  'host-tr',
  'inject-with-if-clear',
  'lost-event',
  'lost-registers',
  'missing-invept',
  'missing-invvpid',
  'msr-bitmap',
  'rip-not-advanced',
  'sti-shadow',
  'tsc-offset',
  'vmlaunch-again',
].map((name) => `broken-hypervisors/${name}.asm`);

test.each(['tiny-hypervisor/tiny-hypervisor.asm', 'c-hypervisor/c-hypervisor.elf', ...broken])(
  '%s runs as on the bare machine',
  async (program) => {
    expect(await outcome(program, 'hardware')).toBe(await outcome(program, 'none'));
  },
);

describe('the run of a hypervisor and its guest', () => {
  const program = 'tiny-hypervisor/tiny-hypervisor.asm';

  /** Stopped at an EPT violation of the guest's guest. */
  async function atViolation() {
    const guest = await file(program, 'hardware');
    guest.machine.history.checkpoint();
    guest.machine.setFilter('ept-violation', true, () => levels(guest)?.length === 3);
    expect(guest.machine.run()).toMatchObject({ kind: 'event' });
    return guest;
  }
  const levels = ({ machine }: GuestRun) =>
    machine.vcpus[0]?.mode().levels.map(({ level, isRunning }) => (isRunning ? level : -1));

  test('the exit log tells exits of L1 and L2 apart, and which of them L1 handles', async () => {
    const [nested, bare] = [await file(program, 'hardware'), await file(program, 'none')];
    nested.machine.history.checkpoint();
    for (const { machine } of [nested, bare]) machine.run();
    const exits = () => nested.machine.exitLog({ limit: 10_000 }).exits;
    const kinds = new Set(exits().map(({ levels }) => `${levels?.from} to ${levels?.to}`));
    expect([...kinds].sort()).toEqual(['L1 to L0', 'L2 to L0', 'L2 to L1']);
    // What L1 handles is what it handles on the bare machine.
    const names = (list: readonly { readonly name: string }[]) => list.map(({ name }) => name).reverse();
    const handled = names(exits().filter(({ levels }) => levels?.to === 'L1'));
    expect(handled).toEqual(names(bare.machine.exitLog({ limit: 10_000 }).exits));
    expect(bare.machine.exitLog().exits[0]?.levels).toBeUndefined();
    // And there is a way back to each kind, right behind other exits too.
    const before = exits();
    for (const kind of kinds) {
      const of = before.filter(({ levels }) => `${levels?.from} to ${levels?.to}` === kind);
      for (const { number } of [of[0], of.at(-1), of.at(-2)].flatMap((exit) => exit ?? [])) {
        expect(nested.machine.history.goToExit(number), `${kind}, ${number}`).toBe(true);
        expect(nested.machine.exitLog().total).toBe(number + 1);
        expect(nested.machine.run()).toMatchObject({ kind: 'exited' });
      }
    }
    expect(exits()).toEqual(before);
  });

  test.each([1, 7, 100])('is the same, cut into slices of %i instructions', async (slice) => {
    const [whole, cut] = [await file(program, 'hardware'), await file(program, 'hardware')];
    runToEnd(whole);
    let stop = cut.machine.run({ instructions: slice });
    while (stop.kind === 'limit') stop = cut.machine.run({ instructions: slice });
    expect(cut.output()).toBe(whole.output());
    expect(cut.machine.stateHash()).toBe(whole.machine.stateHash());
  });

  test('is the same after it was taken back from the guest’s guest', async () => {
    const guest = await atViolation();
    const { machine } = guest;
    expect(levels(guest)).toEqual([0, -1, -1]);
    machine.setFilter('ept-violation', false);
    const { history } = machine;
    const [there, hash] = [history.position, machine.stateHash()];
    machine.run({ instructions: 60 });
    const [later, after] = [history.position, machine.stateHash()];
    runToEnd(guest);
    for (const [position, expected] of [
      [there, hash],
      [later, after],
      [there, hash],
    ] as const) {
      expect(history.goTo(position)).toBe(true);
      expect(machine.stateHash()).toBe(expected);
    }
  });

  test('shows three levels', async () => {
    expect(levels(await file(program, 'hardware'))).toEqual([-1, 1]);
    const guest = await atViolation();
    expect(levels(guest)).toEqual([0, -1, -1]);
    const seen = new Set<string>();
    for (let step = 0; step < 3000; step++) {
      guest.machine.run({ instructions: 1 });
      seen.add(String(levels(guest)));
    }
    expect([...seen]).toEqual(expect.arrayContaining(['-1,1,-1', '-1,-1,2']));
  });
});

/** Long mode, VMX operation being possible; ends with the flags of the instruction under test on port 80H. */
const source = (body: string) => `
        bits 64
        org 0x10000
        mov     ecx, 0x3a
        mov     eax, 5
        xor     edx, edx
        wrmsr
        mov     rax, cr4
        or      eax, 1 << 13
        mov     cr4, rax
        mov     rax, cr0
        or      eax, 1 << 5
        mov     cr0, rax
        mov     ecx, 0x480
        rdmsr
        and     eax, 0x7fffffff
        mov     [region], eax
        mov     [vmcs], eax
        vmxon   [region_pointer]
${body}
        pushf
        pop     rax
        and     eax, 0x41
        mov     bl, al
        mov     ecx, 0x4400
        vmread  rax, rcx
        mov     bh, al
        mov     al, bl
        mov     dx, 0x3f8
        out     dx, al
        mov     al, bh
        out     dx, al
        hlt
        align   8
region_pointer: dq region
vmcs_pointer:   dq vmcs
beyond:         dq 0x7000000000
        align   16
descriptor:     dq 0, 0
        align   4096
region:         times 4096 db 0
vmcs:           times 4096 db 0
other:          times 4096 db 0xff
`;

/** Lower byte: CF and ZF; upper: the VM-instruction error of the current VMCS. */
async function status(body: string): Promise<string> {
  const guest = await guestFromSource(source(body), { memoryBytes: 16 * MIB });
  guest.machine.run({ instructions: 10_000 });
  return Buffer.from(guest.serial(), 'latin1').toString('hex');
}

describe('VMX instructions of the guest tell', () => {
  const current = 'vmclear [vmcs_pointer]\nvmptrld [vmcs_pointer]\n';

  test.each([
    ['success', 'vmptrld [vmcs_pointer]', '0000'],
    ['VMfailInvalid without a current VMCS', 'vmwrite rax, rax', '01'],
    ['VMCLEAR with invalid physical address', `${current}vmclear [beyond]`, '4002'],
    ['VMCLEAR with VMXON pointer', `${current}vmclear [region_pointer]`, '4003'],
    ['VMRESUME with non-launched VMCS', `${current}vmresume`, '4005'],
    ['VM entry with invalid control fields', `${current}vmlaunch`, '4007'],
    ['VMPTRLD with invalid physical address', `${current}vmptrld [beyond]`, '4009'],
    ['VMPTRLD with VMXON pointer', `${current}vmptrld [region_pointer]`, '400a'],
    ['VMPTRLD with incorrect VMCS revision identifier', `${current}push qword other\nvmptrld [rsp]`, '400b'],
    ['VMREAD of an unsupported component', `${current}mov eax, 0x7ffe\nvmread rbx, rax`, '400c'],
    ['success of VMWRITE to a field that tells of exits', `${current}mov eax, 0x4402\nvmwrite rax, rax`, '0000'],
    ['VMXON in VMX root operation', `${current}vmxon [region_pointer]`, '400f'],
    ['an invalid operand of INVEPT', `${current}mov eax, 5\ninvept rax, [descriptor]`, '401c'],
    ['an invalid operand of INVVPID', `${current}mov eax, 1\ninvvpid rax, [descriptor]`, '401c'],
    ['success of INVEPT', `${current}mov eax, 2\ninvept rax, [descriptor]`, '0000'],
  ])('%s', async (_, body, expected) => {
    const found = await status(body);
    // Without a current VMCS the error field cannot be read.
    expect(found.slice(0, expected.length)).toBe(expected);
  });
});
