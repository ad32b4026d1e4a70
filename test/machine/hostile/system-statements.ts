/** Statements of a hostile guest about the state of the system: registers, tables, transfers, ports, devices, page tables. */

import { PORTS, point, ROOTS, selector, TABLES, value, type Writer } from './operands.ts';
import { at, codeSelector, type EntryMode, SELECTORS, selectorOf } from './tables.ts';

const CR0_BITS = [0, 1, 2, 3, 5, 16, 18, 29, 30, 31];
const CR4_BITS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 18, 20, 21, 22];
const wide = (mode: EntryMode): string => (mode === 'long' ? 'rax' : 'eax');

export function controlRegister(w: Writer): string {
  const { random, mode } = w;
  const rax = wide(mode);
  const flip = (name: string, bits: readonly number[]): string =>
    `mov ${rax}, ${name}\nxor eax, ${2 ** random.pick(bits)}\nmov ${name}, ${rax}`;
  return random.pick([
    flip('cr0', CR0_BITS),
    flip('cr4', CR4_BITS),
    `mov eax, ${random.pick(ROOTS) + random.pick([0, 0, random.below(4096)])}\nmov cr3, ${rax}`,
    `mov eax, ${random.pick(ROOTS)}\nmov cr3, ${rax}\n${flip('cr0', [31])}`,
    `mov ${rax}, ${mode === 'long' ? random.value64() : random.value()}\nmov ${random.pick(['cr0', 'cr2', 'cr3', 'cr4'])}, ${rax}`,
    mode === 'long' ? `mov eax, ${random.below(20)}\nmov cr8, rax` : 'clts',
    `mov ax, ${random.below(16)}\nlmsw ax`,
    `smsw ax`,
    `mov ${rax}, ${random.pick(['cr0', 'cr2', 'cr3', 'cr4'])}`,
  ]);
}

export function debugRegister(w: Writer): string {
  const { random, mode } = w;
  const rax = wide(mode);
  const breakpoint = `mov eax, ${at.code + random.below(0x800)}\nmov dr${random.below(4)}, ${rax}`;
  const control = `mov eax, ${random.pick([0x401, 0x403, 0xd_0402, 0x1_0401, 0x2400, random.value()])}\nmov dr7, ${rax}`;
  return random.pick([
    breakpoint,
    `${breakpoint}\n${control}`,
    `mov ${rax}, dr${random.below(8)}`,
    `mov ${rax}, ${value(w)}\nmov dr${random.below(8)}, ${rax}`,
  ]);
}

const MSRS = [
  ...[0x10, 0x17, 0x1b, 0x3a, 0x79, 0x8b, 0xfe, 0x174, 0x175, 0x176, 0x179, 0x17a, 0x1a0, 0x1d9, 0x200, 0x201, 0x250],
  ...[0x268, 0x277, 0x2ff, 0x3b, 0x122, 0x480, 0x481, 0x485, 0x486, 0x48b, 0x491, 0x6e0, 0x800, 0x802, 0x80b, 0x830],
  ...[0xc000_0080, 0xc000_0081, 0xc000_0082, 0xc000_0083, 0xc000_0084, 0xc000_0100, 0xc000_0101, 0xc000_0102],
  ...[0xc000_0103, 0xda0, 0x4000_0000],
];

export function msr(w: Writer): string {
  const { random } = w;
  const index = random.once(10) ? random.value() : random.pick(MSRS);
  const low = random.pick([at.recover, random.value(), 0x901, 0x501, 0xfee0_0900, 0xfee0_0c00]);
  const write = `mov eax, ${low}\nmov edx, ${random.pick([0, 0, 0x80008, 0xffff_ffff, random.value()])}\nwrmsr`;
  return `mov ecx, ${index}\n${random.pick(['rdmsr', write, write, 'rdpmc', 'xgetbv', 'xsetbv'])}`;
}

export function descriptorTable(w: Writer): string {
  const { random } = w;
  const [load, operand] = point(w);
  const table = random.pick(['lgdt', 'lidt']);
  const [limit, base] = [
    random.pick([0, 7, 0x7f, 0xffff, random.below(0x1_0000)]),
    random.pick([at.gdt, at.idt, at.data, random.value()]),
  ];
  const own = w.mode === 'real' ? 0x600 : at.data;
  return random.pick([
    `mov word [${own}], ${limit}\nmov dword [${own} + 2], ${base}\n${table} [${own}]`,
    'lgdt [gdtr]\nlidt [idtr]',
    `${load}\n${random.pick([table, 'sgdt', 'sidt'])} ${operand}`,
    `mov ax, ${selector(w)}\n${random.pick(['lldt', 'ltr', 'verr', 'verw'])} ax`,
    `mov ax, ${selector(w)}\n${random.pick(['lar', 'lsl'])} cx, ax`,
    `${random.pick(['sldt', 'str', 'smsw'])} ax`,
    `mov dword [${at.gdt} + ${8 * random.below(SELECTORS) + 4 * random.below(2)}], ${random.value()}`,
    `mov dword [${at.idt} + ${4 * random.below(128)}], ${random.value()}`,
    `mov dword [${at.tss} + ${4 * random.below(26)}], ${random.value()}`,
  ]);
}

export function segmentLoad(w: Writer): string {
  const { random, mode } = w;
  const chosen = mode === 'real' ? random.value() % 0x1_0000 : selector(w);
  const name = random.pick(['ds', 'es', 'fs', 'gs', 'ss']);
  const [load, operand] = point(w);
  return random.pick([
    `mov ax, ${chosen}\nmov ${name}, ax`,
    `push ${chosen}\npop ${mode === 'long' ? 'fs' : name}`,
    `${load}\n${random.pick(['lss', 'lfs', 'lgs'])} ${mode === 'real' ? 'cx' : 'ecx'}, ${operand}`,
    mode === 'long' ? 'swapgs' : `${load}\n${random.pick(['lds', 'les'])} cx, ${operand}`,
  ]);
}

export function farTransfer(w: Writer): string {
  const { random, mode } = w;
  const label = w.label();
  const chosen =
    mode === 'real' ? random.pick([0, 0, random.below(0x1_0000)]) : random.pick([selector(w), codeSelector[mode]]);
  const cells = mode === 'real' ? 0x610 : at.data + 0x10;
  const far = random.pick(['jmp', 'call']);
  const size = random.pick(['o16 ', '', '']);
  const direct =
    mode === 'long'
      ? `mov dword [${cells}], ${label}\nmov word [${cells} + 4], ${chosen}\n${far} far [${cells}]`
      : `${far} ${chosen}:${label}`;
  return random.pick([
    `${direct}\n${label}:`,
    `push ${chosen}\npush ${label}\n${size}retf\n${label}:`,
    `push ${chosen}\npush ${label}\nretf ${random.below(64)}\n${label}:`,
    `mov word [${cells} + 4], ${chosen}\n${far} far [${cells}]\n${label}:`,
  ]);
}

/** Without VM, whose mode ends the run: that comes with any value. */
const FLAG_BITS = [0, 2, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 18, 19, 20, 21];
const flags = ({ random }: Writer): number =>
  random.pick([2, 0x202, 0x3202, 2 + 2 ** random.pick(FLAG_BITS), random.below(2 ** (random.once(10) ? 22 : 17))]);

export function interruptReturn(w: Writer): string {
  const { random, mode } = w;
  const label = w.label();
  const code =
    mode === 'real'
      ? 0
      : random.pick([selector(w), codeSelector[mode], selectorOf('userCode32') + 3, selectorOf('userCode64') + 3]);
  const stack = random.pick([selector(w), selectorOf('userData') + 3]);
  const iret = { real: 'iret', protected: 'iretd', long: random.pick(['iretq', 'iretq', 'iretd', 'iret']) }[mode];
  const outer = [`push ${stack}`, `push ${at.stack - 0x200}`];
  const frame = [`push ${flags(w) % (mode === 'real' ? 0x1_0000 : 2 ** 32)}`, `push ${code}`, `push ${label}`];
  return [...(mode === 'real' ? [] : outer), ...frame, iret, `${label}:`].join('\n');
}

export function flagsAndWaits(w: Writer): string {
  const { random, mode } = w;
  const popf = mode === 'long' ? 'popfq' : mode === 'real' ? 'popf' : 'popfd';
  return random.pick([
    `push ${flags(w) % (mode === 'real' ? 0x1_0000 : 2 ** 32)}\n${popf}`,
    'sti',
    'cli',
    'sti\nhlt',
    'pause',
    random.once(8) ? 'hlt' : 'nop',
    'mov ax, ss\nmov ss, ax',
    'sti\nmov ax, ss\nmov ss, ax\nnop',
    'cpuid',
    'rdtsc',
    'rdtscp',
    'lfence',
    'wbinvd',
    'invd',
    'rsm',
    'monitor\nmwait',
    'ud2',
  ]);
}

export function interrupt(w: Writer): string {
  const { random, mode } = w;
  const legacy =
    mode === 'long' ? [] : ['into', 'aaa', 'aam 0', 'bound eax, [eax]', 'pusha', 'popa', 'arpl ax, bx', 'salc'];
  const calls = ['int3', 'int1', `int ${random.below(256)}`, 'syscall', 'sysenter', 'sysexit', 'sysret', 'int 0x80'];
  return random.pick([...calls, ...legacy]);
}

export function portAccess(w: Writer): string {
  const { random } = w;
  const accumulator = random.pick(['al', 'al', 'ax', 'eax']);
  // The ports that end the run come seldom, or programs would be over before they began.
  const port = random.once(300) ? random.pick([0x92, 0xf4, 0x604, 0x8900]) : random.pick(PORTS);
  const load = `mov dx, ${port}\nmov eax, ${random.pick([random.below(256), random.value()])}`;
  return `${load}\n${random.pick([`in ${accumulator}, dx`, `out dx, ${accumulator}`, `out dx, ${accumulator}`])}`;
}

/** The registers of virtio-mmio and of the local APIC, with addresses of queues in the guest's memory. */
export function deviceMemory(w: Writer): string {
  const { random, mode } = w;
  if (mode === 'real') return portAccess(w);
  const virtio =
    0xfeb0_0000 +
    0x200 * random.below(3) +
    random.pick([0x10, 0x14, 0x20, 0x24, 0x30, 0x38, 0x44, 0x50, 0x64, 0x70, 0x80, 0x84, 0x90, 0xa0, 0x100, 0x104]);
  const apic = 0xfee0_0000 + 0x10 * random.below(0x40);
  const stored = random.pick([random.below(16), at.data, at.data + 0x100, random.value()]);
  const queue = [
    '0x30, 0',
    '0x38, 4',
    `0x80, ${at.data}`,
    `0x90, ${at.data + 0x40}`,
    `0xa0, ${at.data + 0x80}`,
    '0x44, 1',
    '0x70, 15',
    '0x50, 0',
  ];
  const setUp = queue.map((pair) => `mov dword [ebx + ${pair.replace(',', '], dword')}`);
  const base = 0xfeb0_0000 + 0x200 * random.below(2);
  return random.pick([
    `mov ebx, ${virtio}\nmov dword [ebx], ${stored}`,
    `mov ebx, ${apic}\nmov dword [ebx], ${stored}`,
    `mov ebx, ${random.pick([virtio, apic])}\nmov eax, [ebx]`,
    `mov ebx, ${base}\n${setUp.join('\n')}`,
    `mov dword [${at.data} + ${4 * random.below(64)}], ${random.pick([at.data, 0x1_0000 * random.below(8) + random.below(64), random.value()])}`,
  ]);
}

export function pageTables(w: Writer): string {
  const { random, mode } = w;
  if (mode === 'real') return controlRegister(w);
  const entry =
    random.pick(TABLES) +
    8 * random.pick([random.below(4), random.below(512), at.data >> 12, at.data >> 12, at.code >> 12]);
  const frame = 4096 * random.pick([random.below(512), at.pageTable >> 12, at.data >> 12, at.code >> 12]);
  const spoil = `mov dword [${entry + random.pick([0, 0, 0, 4])}], ${random.pick([frame + random.below(4096), frame + 7, random.value(), 0])}`;
  const [load, operand] = point(w);
  const invalidation = random.pick([`${load}\ninvlpg ${operand}`, `mov ${wide(mode)}, cr3\nmov cr3, ${wide(mode)}`]);
  return random.pick([
    spoil,
    `${spoil}\n${invalidation}`,
    invalidation,
    `mov eax, ${random.below(4)}\n${load}\ninvpcid ${wide(mode)}, ${operand}`,
  ]);
}
