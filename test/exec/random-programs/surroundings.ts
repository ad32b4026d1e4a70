/** What a random program needs around it: handlers that return, timers, paging with holes, the way to ring 3. */
import type { Random } from '../../machine/hostile/random.ts';
import { at, codeSelector, type EntryMode, selectorOf } from '../../machine/hostile/tables.ts';
import { deviceNotAvailableHandler, enableVectors } from './vector-statements.ts';
import { cell, data, entryOf, READ_ONLY_PAGE, UNMAPPED_PAGE, wide } from './writer.ts';

const VECTOR = {
  debug: 1,
  notAvailable: 7,
  generalProtection: 13,
  pageFault: 14,
  pit: 0x20,
  software: 0x41,
  apic: 0x42,
} as const;
const APIC = 0xfee0_0000;

/** Every so many faults the handler gives up. */
const PATIENCE_MASK = 7;

export function handlers(mode: EntryMode): string[] {
  const { ticks, faults } = cell(mode);
  const w = { mode };
  const [ax, bx, di] = [wide(w, 'ax'), wide(w, 'bx'), wide(w, 'di')];
  // With 32-bit addressing in 16-bit code, whose SP cannot be a base.
  const sp = mode === 'long' ? 'rsp' : 'esp';
  const iret = { real: 'iret', protected: 'iretd', long: 'iretq' }[mode];
  const size = { real: 2, protected: 4, long: 8 }[mode];
  return [
    'fault_handler:',
    ...[`inc byte [${faults}]`, `test byte [${faults}], ${PATIENCE_MASK}`, `jz near ${at.recover}`],
    // What faults goes through BX or DI; it is tried again.
    ...[`mov ${bx}, ${data[mode]}`, `mov ${di}, ${data[mode]}`],
    ...(mode === 'real' ? [] : [`add ${sp}, ${size}`]),
    iret,
    ...deviceNotAvailableHandler(mode),
    ...['debug_handler:', `inc byte [${ticks}]`, `test byte [${ticks}], 7`, 'jnz debug_over'],
    ...[`and word [${sp} + ${2 * size}], 0xfeff`, 'debug_over:', iret],
    ...['software_handler:', `inc byte [${ticks}]`, `xor byte [${sp} + ${2 * size}], 1`, 'add al, 3', iret],
    ...['pit_handler:', `push ${ax}`, `inc byte [${ticks} + 1]`, 'mov al, 0x20', 'out 0x20, al', `pop ${ax}`, iret],
    ...(mode === 'real' ? [] : apicHandler(ax, ticks, iret)),
    ...(mode === 'long' ? longModeHelpers() : []),
  ];
}

function apicHandler(ax: string, ticks: number, iret: string): string[] {
  const endOfInterrupt = [`mov eax, ${APIC + 0xb0}`, `mov dword [${ax}], 0`];
  return ['apic_handler:', `push ${ax}`, `inc byte [${ticks} + 2]`, ...endOfInterrupt, `pop ${ax}`, iret];
}

/** SYSCALL comes back without SYSRET, which leads to ring 3. */
function longModeHelpers(): string[] {
  const frame = [`push ${selectorOf('userData') + 3}`, `push ${at.stack - 0x1000}`, 'push 0x3202'];
  return [
    ...['syscall_handler:', 'push r11', 'popfq', 'jmp rcx'],
    ...['to_ring3:', 'pop rax', ...frame, `push ${selectorOf('userCode64') + 3}`, 'push rax', 'iretq'],
  ];
}

export function setUp(mode: EntryMode, random: Random): string[] {
  const gates = [
    gate(mode, VECTOR.debug, 'debug_handler'),
    gate(mode, VECTOR.notAvailable, 'not_available_handler'),
    gate(mode, VECTOR.generalProtection, 'fault_handler'),
    gate(mode, VECTOR.pageFault, 'fault_handler'),
    gate(mode, VECTOR.pit, 'pit_handler'),
    gate(mode, VECTOR.software, 'software_handler'),
    ...(mode === 'real' ? [] : [gate(mode, VECTOR.apic, 'apic_handler')]),
  ].flat();
  const paging = mode === 'long' || (mode === 'protected' && random.once(2));
  const { ready } = cell(mode);
  return [
    // Once: timers go on running when the pieces begin anew.
    ...[`cmp byte [${ready}], 1`, `je near ${at.recover}`, `mov byte [${ready}], 1`],
    ...gates,
    ...enableVectors(mode),
    ...(paging ? pagingOn(mode) : []),
    ...(random.once(2) ? pit(random) : []),
    ...(mode !== 'real' && random.once(3) ? apicTimer(mode, random) : []),
    ...(mode === 'long' ? systemCalls() : []),
  ];
}

function gate(mode: EntryMode, vector: number, label: string): string[] {
  if (mode === 'real') return [`mov word [${4 * vector}], ${label}`];
  const entry = at.idt + vector * (mode === 'long' ? 16 : 8);
  return [`mov eax, ${label}`, `mov [${entry}], ax`, 'shr eax, 16', `mov [${entry + 6}], ax`];
}

function pagingOn(mode: EntryMode): string[] {
  const map = (page: number, entry: number) => `mov dword [${entryOf(mode, page)}], ${entry}`;
  const exchange = (page: number, other: number) => [map(page, other + 7), map(other, page + 7)];
  const tables = [
    map(UNMAPPED_PAGE, 0),
    map(READ_ONLY_PAGE, READ_ONLY_PAGE + 5),
    // Linear pages that follow one another lie apart.
    ...exchange(at.data + 0x1000, at.data + 0x2000),
    ...exchange(at.stack - 0x2000, at.stack - 0x3000),
  ];
  if (mode === 'long')
    return [...tables, 'mov rax, cr0', 'or eax, 0x10000', 'mov cr0, rax', 'mov rax, cr3', 'mov cr3, rax'];
  return [
    ...tables,
    ...['mov eax, cr4', 'or eax, 0x10', 'mov cr4, eax', `mov eax, ${at.directory32}`, 'mov cr3, eax'],
    ...['mov eax, cr0', 'or eax, 0x80010000', 'mov cr0, eax'],
  ];
}

const out = (port: number, value: number): string[] => [`mov al, ${value}`, `out ${port}, al`];

/** Channel 0 every few thousand instructions; vectors from 0x20 on; nothing but IRQ 0. */
function pit(random: Random): string[] {
  const controller = [out(0x20, 0x11), out(0x21, 0x20), out(0x21, 4), out(0x21, 1), out(0x21, 0xfe)].flat();
  return [...controller, ...out(0x43, 0x34), ...out(0x40, 2 + random.below(9)), ...out(0x40, 0)];
}

function apicTimer(mode: EntryMode, random: Random): string[] {
  const bx = wide({ mode }, 'bx');
  const write = (register: number, value: number): string[] => [
    `mov ebx, ${APIC + register}`,
    `mov dword [${bx}], ${value}`,
  ];
  const periodic = 0x2_0000 + VECTOR.apic;
  return [write(0xf0, 0x1ff), write(0x3e0, 0xb), write(0x320, periodic), write(0x380, 500 + random.below(3000))].flat();
}

function systemCalls(): string[] {
  const write = (msr: number, low: string | number, high = 0): string[] => [
    `mov ecx, ${msr}`,
    `mov eax, ${low}`,
    `mov edx, ${high}`,
    'wrmsr',
  ];
  return [
    ...['mov ecx, 0xc0000080', 'rdmsr', 'or eax, 1', 'wrmsr'],
    ...write(0xc000_0081, 0, codeSelector.long),
    ...write(0xc000_0082, 'syscall_handler'),
    ...write(0xc000_0084, 0x700),
  ];
}
