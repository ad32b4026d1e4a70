/** What a random guest runs in: tables, the way into its mode, and handlers that count exceptions and skip what raised them. */
import type { Mode } from '../../vectors/layout.ts';
import type { Judge } from '../traces.ts';

export const RAM_BYTES = 0x4_0000;
/** Each instruction has a place of its own; the handlers go on at the next one. */
export const SLOT_BYTES = 64;
export const SLOTS_AT = 0x2000;
export const SLOTS = 128;
export const STACK = 0x1f00;
/** Writable data; in 16-bit code within 64 KiB. */
export const DATA = 0xc000;
export const DATA_BYTES = 0x2000;
/** Pages, where there is paging: read-only, absent; not side by side, as either could be told of what lies in both. */
export const READ_ONLY = 0xe000;
export const ABSENT = 0x1_0000;

const [IDT, GDT, COUNT] = [0x800, 0x700, 0x7f0];
const TABLES = 0x2_0000;
const [CODE, FLAT, CODE_64] = [0x08, 0x10, 0x18];
const VECTORS = 20;
const WITH_ERROR_CODE = [8, 10, 11, 12, 13, 14, 17];
const [INTERRUPT_GATE_32, INTERRUPT_GATE_64] = [0x8e00, 0x8e00];

/** Code, flat data, 64-bit code, accessed; and what cannot be loaded: absent, a system segment, code that cannot be read. */
const DESCRIPTORS: readonly (readonly [high: number, low: number])[] = [
  [0, 0],
  [0x00cf9b00, 0x0000ffff],
  [0x00cf9300, 0x0000ffff],
  [0x00af9b00, 0x0000ffff],
  [0x00cf1200, 0x0000ffff],
  [0x00008200, 0x0000ffff],
  [0x00cf9800, 0x0000ffff],
];
/** Selectors to load: flat data, null, those that fault, one beyond the table. */
export const SELECTORS = [FLAT, FLAT, FLAT + 3, 0x20, 0x28, 0x30, 0x38];

/** Whether the mode has paging: a KVM without hardware of its own sets CR0.PG in IA-32e mode only. */
export const hasPaging = (mode: Mode, judge: Judge): boolean => mode === 64 || (mode === 32 && judge === 'qemu');

/** RAM without code. */
export function tables(mode: Mode): Uint8Array {
  const ram = new Uint8Array(RAM_BYTES);
  const view = new DataView(ram.buffer);
  for (const [n, [high, low]] of DESCRIPTORS.entries()) {
    view.setUint32(GDT + 8 * n, low, true);
    view.setUint32(GDT + 8 * n + 4, high, true);
  }
  if (mode === 64) mapLong(view);
  else mapProtected(view);
  return ram;
}

const PAGE = 0x1000;
/** Present and writable, but for two pages. */
const entryOf = (page: number): number => page | ({ [READ_ONLY]: 1, [ABSENT]: 0 }[page] ?? 3);

/** Where the entries of a page can be, in 64-bit and in 32-bit paging. */
export const entriesOf = (page: number): number[] => [TABLES + 3 * PAGE + page / 512, TABLES + PAGE + page / 1024];

function mapLong(view: DataView): void {
  for (let level = 0; level < 3; level++) view.setUint32(TABLES + level * PAGE, TABLES + (level + 1) * PAGE + 3, true);
  for (let page = 0; page < RAM_BYTES; page += PAGE)
    view.setUint32(TABLES + 3 * PAGE + page / 512, entryOf(page), true);
}
function mapProtected(view: DataView): void {
  view.setUint32(TABLES, TABLES + PAGE + 3, true);
  for (let page = 0; page < RAM_BYTES; page += PAGE) view.setUint32(TABLES + PAGE + page / 1024, entryOf(page), true);
}

/** The code around the slots, from its origin. */
export function boot(mode: Mode, judge: Judge): string {
  const entry = { 16: realMode(), 32: protectedMode(hasPaging(mode, judge)), 64: longMode() }[mode];
  return ['org 1000h', 'bits 16', 'start:', ...entry, ...handlers(mode)].join('\n');
}

const EACH = Array.from({ length: VECTORS }, (_, vector) => vector);
const handlerOf = (vector: number): string => (WITH_ERROR_CODE.includes(vector) ? 'with_code' : 'without_code');

const realMode = (): string[] => [
  ...EACH.map((vector) => `mov word [${4 * vector}], without_code`),
  `jmp 0:${SLOTS_AT}`,
];

/** Writes the gates with the code segment's selector, and goes to protected mode. */
const intoProtectedMode = (): string[] => [
  'lgdt [cs:gdtr]',
  'lidt [cs:idtr]',
  'mov eax, cr0',
  'or al, 1',
  'mov cr0, eax',
  `jmp dword ${CODE}:protected`,
  `gdtr: dw ${8 * DESCRIPTORS.length - 1}`,
  `dd ${GDT}`,
  `idtr: dw ${16 * VECTORS - 1}`,
  `dd ${IDT}`,
  'bits 32',
  'protected:',
  `mov eax, ${FLAT}`,
  ...['ds', 'es', 'ss', 'fs', 'gs'].map((name) => `mov ${name}, eax`),
  `mov esp, ${STACK}`,
];

const gate = (vector: number, bytes: number, selector: number, attributes: number): string[] => [
  `mov word [${IDT + bytes * vector}], ${handlerOf(vector)}`,
  `mov word [${IDT + bytes * vector + 2}], ${selector}`,
  `mov word [${IDT + bytes * vector + 4}], ${attributes}`,
];

const protectedMode = (paging: boolean): string[] => [
  ...intoProtectedMode(),
  ...EACH.flatMap((vector) => gate(vector, 8, CODE, INTERRUPT_GATE_32)),
  'mov eax, cr4',
  'or eax, 600h',
  'mov cr4, eax',
  ...(paging ? [`mov eax, ${TABLES}`, 'mov cr3, eax', 'mov eax, cr0', 'or eax, 80010000h', 'mov cr0, eax'] : []),
  `jmp ${SLOTS_AT}`,
];

const longMode = (): string[] => [
  ...intoProtectedMode(),
  ...EACH.flatMap((vector) => gate(vector, 16, CODE_64, INTERRUPT_GATE_64)),
  ...['mov eax, cr4', 'or eax, 620h', 'mov cr4, eax', `mov eax, ${TABLES}`, 'mov cr3, eax'],
  ...['mov ecx, 0c0000080h', 'rdmsr', 'or eax, 100h', 'wrmsr'],
  ...['mov eax, cr0', 'or eax, 80010000h', 'mov cr0, eax'],
  `jmp dword ${CODE_64}:${SLOTS_AT}`,
];

/** The steppers want OUT E0H at the beginning, see the README. */
function handlers(mode: Mode): string[] {
  const reload = [
    mode === 16 ? 'xor cx, cx' : `mov ecx, ${FLAT}`,
    ...['ds', 'es', 'ss'].map((name) => `mov ${name}, cx`),
  ];
  const goOn = (register: string, count: string) => [
    ...reload,
    `inc dword [${count}]`,
    `or ${register}, ${SLOT_BYTES - 1}`,
    `inc ${register}`,
    `jmp ${register}`,
  ];
  const bits = `bits ${mode}`;
  if (mode === 16) return [bits, 'without_code:', 'out 0e0h, al', 'pop ax', ...goOn('ax', `${COUNT}`)];
  const [at, count] = mode === 64 ? ['rsp', `abs ${COUNT}`] : ['esp', `${COUNT}`];
  const register = mode === 64 ? 'rax' : 'eax';
  return [
    ...[bits, 'without_code:', 'out 0e0h, al', `mov ${register}, [${at}]`, 'jmp go_on'],
    ...['with_code:', 'out 0e0h, al', `mov ${register}, [${at} + ${mode / 8}]`, `mov dword [${at}], 0`],
    ...['go_on:', ...goOn(register, count)],
  ];
}
