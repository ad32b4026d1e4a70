/**
 * Random statements of a hostile guest, as assembly text: what a CPU and its devices are most easily confused by. Each
 * kind is a function; their weights are in the table at the end.
 */
import { supportedFields } from '../../../engine/vmx/vmcs.ts';
import { BITS, PIECES } from './frame.ts';
import type { Random } from './random.ts';
import { at, codeSelector, type EntryMode, SELECTORS, selectorOf } from './tables.ts';

interface Writer {
  readonly random: Random;
  readonly mode: EntryMode;
  /** A name that no other label has. */
  label(): string;
}

/** The registers as wide as the mode; the stack pointer is seldom written. */
const registers = {
  real: ['ax', 'bx', 'cx', 'dx', 'si', 'di', 'bp'],
  protected: ['eax', 'ebx', 'ecx', 'edx', 'esi', 'edi', 'ebp'],
  long: ['rax', 'rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'rbp', 'r8', 'r9', 'r12', 'r13', 'r15'],
} as const;

const DEVICES = [0xfee0_0000, 0xfeb0_0000, 0xfeb0_0200, 0xfec0_0000, 0xb_8000];
const TABLES = [
  at.pml4,
  at.pdpt,
  at.pageDirectory,
  at.pageTable,
  at.directory32,
  at.table32,
  at.paePdpt,
  at.ept + 0x3000,
];
const ROOTS = [at.pml4, at.directory32, at.paePdpt, at.pdpt];
const RAM_END = 0x20_0000;

/** An address as a literal: of data most often, of code, tables, devices, the ends of pages and of memory. */
function address({ random, mode }: Writer): string {
  if (mode === 'real') return `${random.pick([random.below(0x1_0000), 0xffff, at.code + random.below(0x600), 0x7fff])}`;
  const near = random.pick([
    at.data + random.below(0x1000),
    at.data + 0x1000 - random.below(9),
    at.code + random.below(0x1000),
    random.pick(TABLES) + 8 * random.below(512),
    random.pick(DEVICES) + 4 * random.below(0x100),
    random.pick([at.gdt, at.idt, at.tss, at.ldt, at.vmcs, at.stack]) + random.below(0x100),
    RAM_END - random.below(10),
    RAM_END + random.below(0x10_0000),
    random.value(),
  ]);
  return mode === 'long' && random.once(8)
    ? random.pick(['0x7fffffffffff', '0x800000000000', '-1', '-4096'])
    : `${near}`;
}

const register = ({ random, mode }: Writer): string => random.pick(registers[mode]);
const value = ({ random, mode }: Writer): string => (mode === 'long' ? random.value64() : `${random.value()}`);
const selector = ({ random }: Writer): number => random.below(SELECTORS) * 8 + random.pick([0, 0, 3, random.below(8)]);
/** Loads an address into a register that can be a base in every mode. */
const point = (w: Writer, base = w.mode === 'real' ? 'bx' : w.mode === 'long' ? 'rbx' : 'ebx'): [string, string] => [
  `mov ${base}, ${address(w)}`,
  `[${base}]`,
];

// ---- unprivileged ----------------------------------------------------------------------------------------------------

const OPERATIONS = ['add', 'adc', 'sub', 'sbb', 'and', 'or', 'xor', 'cmp', 'test', 'mov', 'xchg'];

function arithmetic(w: Writer): string {
  const { random } = w;
  const [a, b] = [register(w), register(w)];
  const immediate = `${random.pick([random.below(128), -1 - random.below(128)])}`;
  return random.pick([
    `${random.pick(OPERATIONS)} ${a}, ${b}`,
    `${random.pick(OPERATIONS.slice(0, 8))} ${a}, ${immediate}`,
    `${random.pick(['inc', 'dec', 'neg', 'not', 'mul', 'imul', 'div', 'idiv'])} ${a}`,
    `${random.pick(['shl', 'shr', 'sar', 'rol', 'ror', 'rcl', 'rcr'])} ${a}, ${random.below(70)}`,
    `${random.pick(['bt', 'bts', 'btr', 'btc'])} ${a}, ${b}`,
    `${random.pick(['bsf', 'bsr', 'imul', 'cmovc', 'cmovz'])} ${a}, ${b}`,
    `mov ${a}, ${value(w)}`,
    `push ${a}\npop ${b}`,
    `set${random.pick(['c', 'z', 's', 'o', 'p', 'g'])} al`,
  ]);
}

function memory(w: Writer): string {
  const { random } = w;
  const [load, operand] = point(w);
  const a = register(w);
  const prefix = random.once(5) ? random.pick(['lock ', 'cs ', 'fs ', 'ss ', 'gs ']) : '';
  const access = random.pick([
    `mov ${operand}, ${a}`,
    `mov ${a}, ${operand}`,
    `add ${operand}, ${a}`,
    `xchg ${operand}, ${a}`,
    `cmpxchg8b ${operand}`,
    `bts ${operand}, ${a}`,
    `push ${w.mode === 'long' ? 'qword ' : 'word '}${operand}`,
    `mov byte ${operand}, ${random.below(256)}`,
  ]);
  return `${load}\n${prefix}${access}`;
}

function string(w: Writer): string {
  const { random, mode } = w;
  const [di, si, cx] = { real: ['di', 'si', 'cx'], protected: ['edi', 'esi', 'ecx'], long: ['rdi', 'rsi', 'rcx'] }[
    mode
  ] as [string, string, string];
  const size = random.pick(['b', 'w', 'd']);
  const operation = random.pick(['movs', 'stos', 'lods', 'cmps', 'scas', 'ins', 'outs']);
  const prefix = operation === 'cmps' || operation === 'scas' ? random.pick(['repe', 'repne']) : 'rep';
  const count = random.once(12) ? random.pick([random.below(3000), 0xffff_ffff, random.value()]) : random.below(20);
  const port = random.pick(PORTS);
  return [
    random.pick(['cld', 'cld', 'std']),
    `mov ${di}, ${address(w)}`,
    `mov ${si}, ${address(w)}`,
    `mov ${cx}, ${mode === 'real' ? count % 0x1_0000 : count}`,
    `mov dx, ${port}`,
    random.once(4) ? `${operation}${size}` : `${prefix} ${operation}${size}`,
  ].join('\n');
}

/** A short loop, to be compiled; its body may write the code itself. */
function loop(w: Writer): string {
  const label = w.label();
  const counter = w.mode === 'real' ? 'bp' : 'ebp';
  const body = Array.from({ length: 1 + w.random.below(4) }, () => w.random.pick([arithmetic, arithmetic, memory])(w));
  const count = w.random.pick([3, 10, 60]);
  return [`mov ${counter}, ${count}`, `${label}:`, ...body, `dec ${counter}`, `jnz near ${label}`].join('\n');
}

function selfModifying(w: Writer): string {
  const { random, mode } = w;
  const label = w.label();
  const segment = mode === 'real' ? 'cs:' : '';
  const width = random.pick(['byte', 'word', 'dword']);
  const target = `${label} + ${random.below(12)}`;
  return [
    `mov ${width} [${segment}${target}], ${random.pick([0x90, random.below(256), random.below(0x1_0000)])}`,
    `${label}:`,
    ...Array.from({ length: 1 + random.below(3) }, () => arithmetic(w)),
    ...(random.once(3) ? [`jmp ${label}`] : []),
  ].join('\n');
}

const noise = ({ random }: Writer): string => `db ${random.bytes(1 + random.below(12)).join(', ')}`;

// ---- system ----------------------------------------------------------------------------------------------------------

const CR0_BITS = [0, 1, 2, 3, 5, 16, 18, 29, 30, 31];
const CR4_BITS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 18, 20, 21, 22];
const wide = (mode: EntryMode): string => (mode === 'long' ? 'rax' : 'eax');

function controlRegister(w: Writer): string {
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

function debugRegister(w: Writer): string {
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

function msr(w: Writer): string {
  const { random } = w;
  const index = random.once(10) ? random.value() : random.pick(MSRS);
  const low = random.pick([at.recover, random.value(), 0x901, 0x501, 0xfee0_0900, 0xfee0_0c00]);
  const write = `mov eax, ${low}\nmov edx, ${random.pick([0, 0, 0x80008, 0xffff_ffff, random.value()])}\nwrmsr`;
  return `mov ecx, ${index}\n${random.pick(['rdmsr', write, write, 'rdpmc', 'xgetbv', 'xsetbv'])}`;
}

function descriptorTable(w: Writer): string {
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

function segmentLoad(w: Writer): string {
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

function farTransfer(w: Writer): string {
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

function interruptReturn(w: Writer): string {
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

function flagsAndWaits(w: Writer): string {
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

function interrupt(w: Writer): string {
  const { random, mode } = w;
  const legacy =
    mode === 'long' ? [] : ['into', 'aaa', 'aam 0', 'bound eax, [eax]', 'pusha', 'popa', 'arpl ax, bx', 'salc'];
  const calls = ['int3', 'int1', `int ${random.below(256)}`, 'syscall', 'sysenter', 'sysexit', 'sysret', 'int 0x80'];
  return random.pick([...calls, ...legacy]);
}

const PORTS = [
  ...[0x20, 0x21, 0xa0, 0xa1, 0x40, 0x41, 0x42, 0x43, 0x60, 0x61, 0x64, 0x70, 0x71, 0x80, 0x3f8, 0x3f9, 0x3fa, 0x3fb],
  ...[0x3fc, 0x3fd, 0x3fe, 0x3ff, 0xe9, 0xcf8, 0xcfc, 0xffff, 0x1ce],
];

function portAccess(w: Writer): string {
  const { random } = w;
  const accumulator = random.pick(['al', 'al', 'ax', 'eax']);
  // The ports that end the run come seldom, or programs would be over before they began.
  const port = random.once(300) ? random.pick([0x92, 0xf4, 0x604, 0x8900]) : random.pick(PORTS);
  const load = `mov dx, ${port}\nmov eax, ${random.pick([random.below(256), random.value()])}`;
  return `${load}\n${random.pick([`in ${accumulator}, dx`, `out dx, ${accumulator}`, `out dx, ${accumulator}`])}`;
}

/** The registers of virtio-mmio and of the local APIC, with addresses of queues in the guest's memory. */
function deviceMemory(w: Writer): string {
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

function pageTables(w: Writer): string {
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

// ---- VMX -------------------------------------------------------------------------------------------------------------

function vmxField(w: Writer): string {
  const { random } = w;
  const field = random.once(12) ? random.value() : random.pick(supportedFields).encoding + random.pick([0, 0, 0, 1]);
  const flip = `mov ecx, ${field}\nvmread rax, rcx\nbtc rax, ${random.below(64)}\nvmwrite rcx, rax`;
  return random.pick([flip, flip, `mov ecx, ${field}\nmov rax, ${random.value64()}\nvmwrite rcx, rax`]);
}

const POINTERS = ['vmxon', 'vmclear', 'vmptrld', 'vmptrst'];

function vmx(w: Writer): string {
  const { random, mode } = w;
  if (mode !== 'long') return random.pick(['vmcall', 'vmlaunch', 'vmxoff', 'db 0x0f, 0x01, 0xd4']);
  const region = random.pick([at.vmxon, at.vmcs, at.data, at.vmcs + 0x1000, random.value(), RAM_END]);
  const spoiled = Array.from({ length: random.pick([0, 1, 1, 2, 5]) }, () => vmxField(w));
  return random.pick([
    ['call vmx_set_up', ...spoiled, random.pick(['vmlaunch', 'vmlaunch', 'vmresume'])].join('\n'),
    ['call vmx_set_up', ...spoiled, 'vmlaunch'].join('\n'),
    [...spoiled, random.pick(['vmlaunch', 'vmresume', 'vmresume'])].join('\n'),
    `mov qword [${at.pointer}], ${region}\n${random.pick(POINTERS)} [${at.pointer}]`,
    random.pick(['vmcall', 'vmxoff', 'db 0x0f, 0x01, 0xd4']),
    `mov eax, ${random.below(5)}\n${random.pick(['invept', 'invvpid'])} rax, [${at.pointer}]`,
    `mov dword [${at.vmcs + 4 * random.below(256)}], ${random.value()}`,
    `mov dword [${random.pick([at.ioBitmaps, at.msrBitmaps]) + 4 * random.below(2048)}], ${random.value()}`,
  ]);
}

// ---- programs --------------------------------------------------------------------------------------------------------

const kinds: readonly (readonly [weight: number, statement: (w: Writer) => string])[] = [
  [14, arithmetic],
  [10, memory],
  [4, string],
  [3, loop],
  [4, selfModifying],
  [4, noise],
  [4, controlRegister],
  [3, debugRegister],
  [4, msr],
  [4, descriptorTable],
  [5, segmentLoad],
  [4, farTransfer],
  [4, interruptReturn],
  [5, flagsAndWaits],
  [4, interrupt],
  [5, portAccess],
  [4, deviceMemory],
  [5, pageTables],
  [6, vmx],
];
const total = kinds.reduce((sum, [weight]) => sum + weight, 0);

function statement(w: Writer): string {
  let chosen = w.random.below(total);
  for (const [weight, make] of kinds) {
    chosen -= weight;
    if (chosen < 0) return make(w);
  }
  throw new Error('the weights do not add up');
}

/** The pieces of a program in its mode's code size. */
export function randomPieces(mode: EntryMode, random: Random): string[] {
  let labels = 0;
  const writer: Writer = { random, mode, label: () => `label${labels++}` };
  return Array.from({ length: PIECES }, () =>
    [`bits ${BITS[mode]}`, ...Array.from({ length: 1 + random.below(8) }, () => statement(writer))].join('\n'),
  );
}
