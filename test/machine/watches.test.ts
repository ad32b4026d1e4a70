/** Watches on everything that is not plain data: who is told of, with which values, forwards and backwards. */
import { describe, expect, test } from 'vitest';
import type { Watch, WatchHit, WatchTarget } from '../../engine/index.ts';
import type { Machine } from '../../engine/machine/machine.ts';
import { SECONDARY } from '../../engine/vmx/controls.ts';
import { offsetOf } from '../../engine/vmx/vmcs.ts';
import { interruptTable } from '../support/interrupt-table.ts';
import { guestFromSource } from '../vmm/run-guest.ts';
import { type BareHypervisor, bareHypervisor, encoding, SKIP, write } from '../vmx/bare-hypervisor.ts';

const VMCS = 0x23_0000;
const LSTAR = 0xc000_0082;

const watching = (target: WatchTarget, access: 'read' | 'write' | 'readWrite'): Watch => ({
  target,
  read: access !== 'write',
  write: access !== 'read',
});
const hex = (value: bigint | undefined): string => (value === undefined ? '?' : value.toString(16));
const show = ({ access, by, before, after }: WatchHit): string => `${access} by ${by}: ${hex(before)} → ${hex(after)}`;

/** Every stop to the end, each with what it tells and where the machine stands. */
function stopsOf(machine: Machine): string[] {
  const all: string[] = [];
  for (let stop = machine.run(); stop.kind !== 'exited'; stop = machine.run()) {
    if (stop.kind !== 'watch') throw new Error(`stopped by ${JSON.stringify(stop)}`);
    all.push(`${stop.hits.map(show).join(', ')} @${machine.instructionCount}`);
    if (all.length > 200) throw new Error('the guest does not end');
  }
  return all;
}

/** The same backwards, from the end. */
function stopsBack(machine: Machine): string[] {
  const all: string[] = [];
  for (;;) {
    const reverse = machine.history.reverse(() => true);
    let result = reverse.next();
    while (!result.done) result = reverse.next();
    const stop = result.value;
    if (stop?.kind !== 'watch') return all;
    all.push(`${stop.hits.map(show).join(', ')} @${machine.instructionCount}`);
  }
}

/** What a watch tells of a run, without the places; the same must be told backwards. */
async function told(program: BareHypervisor, target: WatchTarget, access: 'read' | 'write' | 'readWrite') {
  const { machine } = await bareHypervisor(program);
  machine.setWatches([watching(target, access)]);
  machine.history.checkpoint();
  const forth = stopsOf(machine);
  expect(stopsBack(machine)).toEqual([...forth].reverse());
  return forth.map((text) => text.replace(/ @.*/, ''));
}

test('CR8 is written by MOV to it and by a store to the task-priority register of the APIC', async () => {
  const setUp = 'mov eax, 5 \n mov cr8, rax \n mov edi, 0xfee00080 \n mov dword [rdi], 0x34';
  expect(await told({ setUp, guest: 'nop' }, { kind: 'control-register', name: 'cr8' }, 'write')).toEqual([
    'write by MOV: 0 → 5',
    'write by MOV: 5 → 3',
  ]);
});

describe('an MSR', () => {
  const areas = `
align 16
entry_area: dd ${LSTAR}, 0
  dq 7
exit_area: dd ${LSTAR}, 0
  dq 9`;
  const program: BareHypervisor = {
    fields: {
      'VM-entry MSR-load count': 1,
      'VM-entry MSR-load address': 'entry_area',
      'VM-exit MSR-load count': 1,
      'VM-exit MSR-load address': 'exit_area',
    },
    setUp: `mov ecx, ${LSTAR}\n mov eax, 5\n xor edx, edx\n wrmsr\n rdmsr\n wrmsr`,
    guest: 'nop',
    data: areas,
  };
  test('WRMSR, RDMSR, and the MSR areas of VM entry and exit', async () => {
    expect(await told(program, { kind: 'msr', index: LSTAR }, 'readWrite')).toEqual([
      'write by WRMSR: 0 → 5',
      'read by RDMSR: 5 → 5',
      'write by WRMSR: 5 → 5',
      'write by VM entry (VMLAUNCH): 5 → 7',
      'write by VM exit 18 (VMCALL): 7 → 9',
    ]);
  });
  test('another one is not told of', async () => {
    expect(await told(program, { kind: 'msr', index: 0xc000_0081 }, 'readWrite')).toEqual([]);
  });
  test('RDMSR that exits reads nothing', async () => {
    const guest = `mov ecx, ${LSTAR}\n rdmsr`;
    const exiting = { ...program, guest, handlers: { 31: SKIP }, setUp: '', fields: {} };
    expect(await told(exiting, { kind: 'msr', index: LSTAR }, 'readWrite')).toEqual([]);
  });
  test('SWAPGS writes two', async () => {
    const setUp = 'mov ecx, 0xc0000101\n mov eax, 0x1000\n xor edx, edx\n wrmsr\n swapgs\n swapgs';
    expect(await told({ setUp, guest: '' }, { kind: 'msr', index: 0xc000_0102 }, 'write')).toEqual([
      'write by SWAPGS: 0 → 1000',
      'write by SWAPGS: 1000 → 0',
    ]);
  });
});

describe('a device in memory', () => {
  // The task-priority register of the local APIC; the guest's tables map it by a page of 2 MiB at 1 GiB.
  const setUp = `mov rax, cr3
 mov rbx, [rax]
 and rbx, -4096
 mov qword [rbx + 8], 0x205003
 mov dword [0x205000], 0xfee00083
 mov dword [0x205004], 0
 mov edi, 0x40000080
 mov dword [rdi], 0x30
 mov eax, [rdi]
 mov eax, [rdi + 0x10]`;
  const target: WatchTarget = { kind: 'memory', address: 0xfee0_0080n, lengthBytes: 4 };
  test('is told of reads and writes, with what went over the bus', async () => {
    expect(await told({ setUp, guest: '' }, target, 'readWrite')).toEqual([
      'write by MOV: ? → 30',
      'read by MOV: ? → 30',
    ]);
    expect(await told({ setUp, guest: '' }, target, 'read')).toEqual(['read by MOV: ? → 30']);
  });
});

describe('a control register', () => {
  test('CR0: MOV, CLTS, VM entry and exit; LMSW', async () => {
    const program: BareHypervisor = {
      setUp: `mov rbx, cr0\n or bl, 8\n mov rdx, rbx\n ${write('Guest CR0', 'rdx')}`,
      guest: 'clts\n mov rbx, cr0\n or ebx, 8\n lmsw bx\n smsw eax',
    };
    expect(await told(program, { kind: 'control-register', name: 'cr0' }, 'write')).toEqual([
      'write by MOV: 80010031 → 80010031',
      'write by VM entry (VMLAUNCH): 80010031 → 80010039',
      'write by CLTS: 80010039 → 80010031',
      'write by LMSW: 80010031 → 80010039',
      'write by VM exit 18 (VMCALL): 80010039 → 80010031',
    ]);
    const reads = await told(program, { kind: 'control-register', name: 'cr0' }, 'read');
    expect(reads.map((text) => text.split(':')[0])).toEqual([
      'read by MOV',
      'read by MOV',
      'read by MOV',
      'read by MOV',
      'read by SMSW',
    ]);
  });
  test('CR2: the delivery of a page fault', async () => {
    const { machine } = await guestFromSource(
      `bits 64
org 0x100000
  lidt [idtr]
  mov rsp, 0x90000
  mov rbx, 0x123456789000
  mov al, [rbx]
handler:
  mov rax, cr2
  mov cr2, rax
  mov al, 0
  out 0xf4, al
${interruptTable({ 14: 'handler' })}
`,
      { virtualization: 'none' },
    );
    machine.setWatches([watching({ kind: 'control-register', name: 'cr2' }, 'write')]);
    expect(stopsOf(machine).map((text) => text.replace(/ @.*/, ''))).toEqual([
      'write by delivery of #PF: 0 → 123456789000',
      'write by MOV: 123456789000 → 123456789000',
    ]);
  });
});

describe('a VMCS field', () => {
  test('VMWRITE, VMREAD and the VM exit', async () => {
    const program: BareHypervisor = {
      guest: 'nop\n vmcall\n nop',
      handlers: { 18: `cmp r15, 0x200020\n jne over\n ${SKIP}` },
      data: 'over: mov al, 18\n out 0xf4, al',
    };
    const target: WatchTarget = { kind: 'vmcs-field', name: 'Guest RIP' };
    const writes = await told(program, target, 'write');
    const [set, exit, skipped, last] = writes.map((text) => text.replace(/:.*/, ''));
    expect([set, exit, skipped, last]).toEqual([
      'write by VMWRITE',
      'write by VM exit 18 (VMCALL)',
      'write by VMWRITE',
      'write by VM exit 18 (VMCALL)',
    ]);
    expect((await told(program, target, 'read')).every((text) => text.startsWith('read by VMREAD'))).toBe(true);
  });
  test('a plain store to the region', async () => {
    const at = VMCS + offsetOf('Host FS base');
    const setUp = `mov dword [${at}], 5`;
    expect(await told({ setUp, guest: '' }, { kind: 'vmcs-field', name: 'Host FS base' }, 'write')).toEqual([
      'write by MOV: 0 → 5',
    ]);
  });
  test('of the shadow VMCS: the guest’s VMWRITE, VMREAD and plain store', async () => {
    const [SHADOW, BITMAPS] = [0x26_0000, 0x27_0000];
    const program: BareHypervisor = {
      secondary: SECONDARY['VMCS shadowing'],
      fields: { 'VMCS link pointer': SHADOW, 'VMREAD-bitmap address': BITMAPS, 'VMWRITE-bitmap address': BITMAPS },
      setUp: `mov eax, [${VMCS}]\n or eax, 0x80000000\n mov [${SHADOW}], eax`,
      guest: `mov eax, ${encoding('Host FS base')}\n mov ecx, 5\n vmwrite rax, rcx\n vmread rdx, rax
  mov byte [${SHADOW + offsetOf('Host FS base')}], 7`,
    };
    expect(await told(program, { kind: 'vmcs-field', name: 'Host FS base' }, 'readWrite')).toEqual([
      'write by VMWRITE: 0 → 5',
      'read by VMREAD: 5 → 5',
      'write by MOV: 5 → 7',
    ]);
  });
  test('the same as memory: written by VMWRITE and by exits, which no instruction of the guest does', async () => {
    const address = BigInt(VMCS + offsetOf('Exit reason'));
    expect(await told({ guest: '' }, { kind: 'memory', address, lengthBytes: 4 }, 'write')).toEqual([
      'write by VM exit 18 (VMCALL): 0 → 12',
    ]);
  });
});

describe('an I/O port', () => {
  test('OUT, IN, and wider accesses that touch it', async () => {
    const setUp = `mov al, 1\n out 0x80, al\n in al, 0x70\n mov dx, 0x6f\n in ax, dx\n mov rdi, 0x90000\n mov dx, 0x70\n insb`;
    const port: WatchTarget = { kind: 'port', port: 0x70, lengthBytes: 1 };
    const all = await told({ setUp, guest: '' }, port, 'readWrite');
    expect(all.map((text) => text.replace(/:.*/, ''))).toEqual(['read by IN', 'read by IN', 'read by INSB']);
    const out: WatchTarget = { kind: 'port', port: 0x80, lengthBytes: 1 };
    expect(await told({ setUp, guest: '' }, out, 'write')).toEqual(['write by OUT: ? → 1']);
  });
});

/** A loop that stores to another 2-MByte page from the middle on; then a read and a write of one that nobody has used. */
const touching = (turns: number): string => `bits 64
org 0x100000
  mov ecx, ${turns}
  mov rsi, 0x600000
  xor ebx, ebx
again:
  add rax, [0x200000]
  cmp ecx, ${Math.floor(turns / 2)}
  jne over
  mov ebx, 0x200000
over:
  mov [0x200000 + rbx], rax
  dec ecx
  jnz again
  mov eax, [rsi]
  mov [rsi], eax
  mov al, 0
  out 0xf4, al
`;

/** The host-physical address of the entry that maps a linear address. */
function entryAddress(machine: Machine, linear: bigint): bigint {
  const { steps } = (machine.vcpus[0] as Machine['vcpus'][number]).translate(linear);
  return BigInt(steps.at(-1)?.entryAddress.hostPhysical ?? 0);
}

describe('a page-table entry', () => {
  const armed = async (linear: bigint, hotAfter: number) => {
    const { machine } = await guestFromSource(touching(20_000), {
      virtualization: 'none',
      hotSpots: { hotAfter, sampleEvery: 100, watchedBlocks: 8 },
    });
    const address = entryAddress(machine, linear);
    machine.setWatches([watching({ kind: 'memory', address, lengthBytes: 8 }, 'write')]);
    machine.history.checkpoint();
    return machine;
  };
  test('accessed and dirty flags, which walks set', async () => {
    const machine = await armed(0x60_0000n, 1_000_000);
    const walk = 'write by the page walk for linear address 0x600000, which sets accessed or dirty flags';
    const forth = stopsOf(machine);
    expect(forth.map((text) => text.replace(/ @.*/, ''))).toEqual([
      `${walk}: 600083 → 6000a3`,
      `${walk}: 6000a3 → 6000e3`,
    ]);
    expect(stopsBack(machine)).toEqual([...forth].reverse());
  });
  test('in the middle of compiled code, at the same place', async () => {
    const interpreted = stopsOf(await armed(0x40_0000n, 1_000_000));
    const compiled = await armed(0x40_0000n, 1);
    expect(stopsOf(compiled)).toEqual(interpreted);
    expect(interpreted.length).toBe(1);
  });
});

describe('under the built-in hypervisor', () => {
  const source = `bits 64
org 0x100000
  mov ecx, 3
again:
  cpuid
  mov ecx, 1
  loop again
  mov al, 'x'
  out 0xe9, al
  mov al, 0
  out 0xf4, al
`;
  const started = async (...watches: Watch[]): Promise<Machine> => {
    const { machine } = await guestFromSource(source, { virtualization: 'hardware' });
    machine.setWatches(watches);
    machine.history.checkpoint();
    return machine;
  };
  const field: WatchTarget = { kind: 'vmcs-field', name: 'Exit reason' };
  test('VM exits write its VMCS', async () => {
    const machine = await started(watching(field, 'write'));
    const forth = stopsOf(machine);
    expect(forth.some((text) => text.startsWith('write by VM exit 10 (CPUID)'))).toBe(true);
    expect(forth.every((text) => text.startsWith('write by VM exit'))).toBe(true);
    expect(stopsBack(machine)).toEqual([...forth].reverse());
  });
  test('ports are reached by its device models', async () => {
    const machine = await started(watching({ kind: 'port', port: 0xe9, lengthBytes: 1 }, 'write'));
    expect(stopsOf(machine).map((text) => text.replace(/ @.*/, ''))).toEqual([
      'write by VM exit 30 (I/O instruction): ? → 78',
    ]);
  });
  test('who watches changes nothing', async () => {
    const plain = await started();
    plain.run();
    const msr: WatchTarget = { kind: 'msr', index: 0xc000_0080 };
    const machine = await started(watching(field, 'write'), watching(msr, 'readWrite'));
    stopsOf(machine);
    expect(machine.stateHash()).toBe(plain.stateHash());
  });
});

test('who watches changes nothing', async () => {
  const program: BareHypervisor = { guest: 'mov rbx, cr3\n mov cr3, rbx\n cpuid', handlers: { 28: SKIP, 10: SKIP } };
  const plain = (await bareHypervisor(program)).machine;
  plain.run();
  const { machine } = await bareHypervisor(program);
  machine.setWatches([
    watching({ kind: 'vmcs-field', name: 'Guest RIP' }, 'readWrite'),
    watching({ kind: 'control-register', name: 'cr3' }, 'readWrite'),
    watching({ kind: 'msr', index: LSTAR }, 'readWrite'),
    watching({ kind: 'port', port: 0xf4, lengthBytes: 1 }, 'readWrite'),
  ]);
  expect(stopsOf(machine).length).toBeGreaterThan(5);
  expect(machine.stateHash()).toBe(plain.stateHash());
});
