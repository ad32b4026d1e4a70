/** What a random guest runs in: tables, the way into its mode, and handlers that count exceptions and skip what raised them. */
import type { Judge } from '../traces.ts';
import { hasPaging, type Kind } from './kinds.ts';

export const RAM_BYTES = 0x4_0000;
/** Each instruction has a place of its own; the handlers go on at the next one. */
export const SLOT_BYTES = 64;
export const SLOTS_AT = 0x2000;
export const SLOTS = 128;
export const STACK = 0x1f00;
/** Writable data; in 16-bit code within 64 KiB. */
export const DATA = 0xc000;
export const DATA_BYTES = 0x2000;
/** Pages, where there is paging: read-only, absent, the supervisor's; not side by side, as either could be told of what lies in both. */
export const READ_ONLY = 0xe000;
export const ABSENT = 0x1_0000;
export const SUPERVISOR = 0x1_2000;

const [TSS, GDT, COUNT, IDT] = [0x600, 0x700, 0x7f0, 0x800];
/** Of ring 0, for guests in ring 3. */
const INNER_STACK = 0x6f00;
const TABLES = 0x2_0000;
const [CODE, FLAT, CODE_64, TSS_SELECTOR] = [0x08, 0x10, 0x18, 0x38];
const [USER_CODE, USER_FLAT, USER_CODE_64] = [0x48 | 3, 0x50 | 3, 0x58 | 3];
const VECTORS = 20;
const WITH_ERROR_CODE = [8, 10, 11, 12, 13, 14, 17];
const INTERRUPT_GATE = 0x8e00;

/**
 * Code, flat data, 64-bit code, accessed; what cannot be loaded: absent, a system segment, code that cannot be read; a TSS of
 * twice the place; the first three again for ring 3, and what is absent.
 */
const DESCRIPTORS: readonly (readonly [high: number, low: number])[] = [
  [0, 0],
  [0x00cf9b00, 0x0000ffff],
  [0x00cf9300, 0x0000ffff],
  [0x00af9b00, 0x0000ffff],
  [0x00cf1200, 0x0000ffff],
  [0x00008200, 0x0000ffff],
  [0x00cf9800, 0x0000ffff],
  [0x00008900, (TSS << 16) | 0x67],
  [0, 0],
  [0x00cffb00, 0x0000ffff],
  [0x00cff300, 0x0000ffff],
  [0x00affb00, 0x0000ffff],
  [0x00cf7200, 0x0000ffff],
];
const BEYOND = 8 * DESCRIPTORS.length;

/** Selectors to load: flat data, those that fault, one beyond the table. */
export const selectors = ({ ring }: Kind): readonly number[] =>
  ring === 0
    ? [FLAT, FLAT, FLAT + 3, 0x20, 0x28, 0x30, BEYOND]
    : [USER_FLAT, USER_FLAT, USER_FLAT, USER_FLAT - 3, FLAT, FLAT + 3, 0x60 | 3, 0x28, 0x30, BEYOND | 3];

/** RAM without code. */
export function tables(kind: Kind): Uint8Array {
  const ram = new Uint8Array(RAM_BYTES);
  const view = new DataView(ram.buffer);
  for (const [n, [high, low]] of DESCRIPTORS.entries()) {
    view.setUint32(GDT + 8 * n, low, true);
    view.setUint32(GDT + 8 * n + 4, high, true);
  }
  view.setUint32(TSS + 4, INNER_STACK, true);
  if (!kind.isIa32e) view.setUint32(TSS + 8, FLAT, true);
  view.setUint16(TSS + 0x66, 0x68, true);
  if (kind.isIa32e) mapLong(view, kind);
  else mapProtected(view, kind);
  return ram;
}

const PAGE = 0x1000;
const [PRESENT, WRITABLE, USER] = [1, 2, 4];
const RIGHTS: Readonly<Record<number, number>> = {
  [READ_ONLY]: PRESENT | USER,
  [ABSENT]: 0,
  [SUPERVISOR]: PRESENT | WRITABLE,
};
/** What the user has of it: stack and code, data. */
const isUsers = (page: number): boolean => (page >= PAGE && page < 0x6000) || (page >= DATA && page < TABLES);

/** Present and writable, but for some pages; the user's in ring 3. */
function entryOf(page: number, { ring }: Kind): number {
  const rights = RIGHTS[page] ?? PRESENT | WRITABLE | (isUsers(page) ? USER : 0);
  return page | (ring === 3 ? rights : rights & ~USER);
}
const tableOf = (table: number, { ring }: Kind): number => table | PRESENT | WRITABLE | (ring === 3 ? USER : 0);

/** Where the entries of a page can be, in 64-bit and in 32-bit paging. */
export const entriesOf = (page: number): number[] => [TABLES + 3 * PAGE + page / 512, TABLES + PAGE + page / 1024];

function mapLong(view: DataView, kind: Kind): void {
  for (let level = 0; level < 3; level++)
    view.setUint32(TABLES + level * PAGE, tableOf(TABLES + (level + 1) * PAGE, kind), true);
  for (let page = 0; page < RAM_BYTES; page += PAGE)
    view.setUint32(TABLES + 3 * PAGE + page / 512, entryOf(page, kind), true);
}
function mapProtected(view: DataView, kind: Kind): void {
  view.setUint32(TABLES, tableOf(TABLES + PAGE, kind), true);
  for (let page = 0; page < RAM_BYTES; page += PAGE)
    view.setUint32(TABLES + PAGE + page / 1024, entryOf(page, kind), true);
}

/** The code around the slots, from its origin. */
export function boot(kind: Kind, judge: Judge): string {
  const entry = kind.isIa32e
    ? longMode(kind)
    : kind.mode === 16
      ? realMode()
      : protectedMode(kind, hasPaging(kind, judge));
  return ['org 1000h', 'bits 16', 'start:', ...entry, ...handlers(kind)].join('\n');
}

const EACH = Array.from({ length: VECTORS }, (_, vector) => vector);
const handlerOf = (vector: number): string => (WITH_ERROR_CODE.includes(vector) ? 'with_code' : 'without_code');

const realMode = (): string[] => [
  ...EACH.map((vector) => `mov word [${4 * vector}], without_code`),
  `mov ax, ${SLOTS_AT}`,
  'jmp enter',
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

const gate = (vector: number, bytes: number, selector: number): string[] => [
  `mov word [${IDT + bytes * vector}], ${handlerOf(vector)}`,
  `mov word [${IDT + bytes * vector + 2}], ${selector}`,
  `mov word [${IDT + bytes * vector + 4}], ${INTERRUPT_GATE}`,
];

const toSlots = ({ ring }: Kind): string[] => [
  ...[`mov eax, ${TSS_SELECTOR}`, 'ltr ax', `mov eax, ${ring === 3 ? USER_FLAT : FLAT}`],
  ...['ds', 'es', 'fs', 'gs'].map((name) => `mov ${name}, eax`),
  ...[`mov eax, ${SLOTS_AT}`, 'jmp enter'],
];

const protectedMode = (kind: Kind, paging: boolean): string[] => [
  ...intoProtectedMode(),
  ...EACH.flatMap((vector) => gate(vector, 8, CODE)),
  'mov eax, cr4',
  'or eax, 600h',
  'mov cr4, eax',
  ...(paging ? [`mov eax, ${TABLES}`, 'mov cr3, eax', 'mov eax, cr0', 'or eax, 80010000h', 'mov cr0, eax'] : []),
  ...toSlots(kind),
];

const longMode = (kind: Kind): string[] => [
  ...intoProtectedMode(),
  ...EACH.flatMap((vector) => gate(vector, 16, CODE_64)),
  ...['mov eax, cr4', 'or eax, 620h', 'mov cr4, eax', `mov eax, ${TABLES}`, 'mov cr3, eax'],
  ...['mov ecx, 0c0000080h', 'rdmsr', 'or eax, 100h', 'wrmsr'],
  ...['mov eax, cr0', 'or eax, 80010000h', 'mov cr0, eax'],
  `jmp dword ${CODE_64}:long`,
  'bits 64',
  'long:',
  ...toSlots(kind),
];

/** Goes on at AX, EAX or RAX. */
function enter({ mode, isIa32e, ring }: Kind): string[] {
  if (mode === 16) return ['enter: jmp ax'];
  const [register, size] = isIa32e ? ['rax', 'q'] : ['eax', 'd'];
  if (ring === 3) {
    const code = mode === 64 ? USER_CODE_64 : USER_CODE;
    const frame = [USER_FLAT, STACK, 2, code].map((value) => `push ${isIa32e ? '' : 'dword '}${value}`);
    return ['enter:', ...frame, `push ${register}`, `iret${size}`];
  }
  return isIa32e && mode === 32 ? [`enter: push ${CODE}`, 'push rax', 'retfq'] : [`enter: jmp ${register}`];
}

const LAST = SLOTS_AT + (SLOTS + 1) * SLOT_BYTES;

/** The steppers want OUT E0H at the beginning, see the README. */
function handlers(kind: Kind): string[] {
  const { mode, isIa32e, ring } = kind;
  const bits = isIa32e ? 64 : mode;
  const reload = [
    mode === 16 ? 'xor cx, cx' : `mov ecx, ${ring === 3 ? USER_FLAT : FLAT}`,
    ...['ds', 'es', ...(ring === 3 ? [] : ['ss'])].map((name) => `mov ${name}, cx`),
  ];
  const goOn = (register: string, count: string) => [
    ...reload,
    `inc dword [${count}]`,
    `or ${register}, ${SLOT_BYTES - 1}`,
    `inc ${register}`,
    // HLT at the end faults in ring 3.
    ...(ring === 3
      ? [`cmp ${register}, ${LAST}`, 'jae halt', `mov ${bits === 64 ? 'rsp' : 'esp'}, ${INNER_STACK}`]
      : []),
    ...enter(kind),
    ...(ring === 3 ? ['halt: hlt'] : []),
  ];
  if (mode === 16) return [`bits ${bits}`, 'without_code:', 'out 0e0h, al', 'pop ax', ...goOn('ax', `${COUNT}`)];
  const [at, count] = bits === 64 ? ['rsp', `abs ${COUNT}`] : ['esp', `${COUNT}`];
  const register = bits === 64 ? 'rax' : 'eax';
  return [
    ...[`bits ${bits}`, 'without_code:', 'out 0e0h, al', `mov ${register}, [${at}]`, 'jmp go_on'],
    ...['with_code:', 'out 0e0h, al', `mov ${register}, [${at} + ${bits / 8}]`, `mov dword [${at}], 0`],
    ...['go_on:', ...goOn(register, count)],
  ];
}
