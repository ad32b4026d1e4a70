/**
 * The frame around random statements: handlers that survive nearly every exception by starting the next piece of the
 * program with fresh tables, segments and a fresh stack. The program can destroy all of that; then it ends in a triple fault,
 * which is an end like another.
 */
import { allowedSettings, type ControlGroupName } from '../../../engine/vmx/controls.ts';
import type { VmcsFieldName } from '../../../engine/vmx/fields.ts';
import { fieldByName } from '../../../engine/vmx/vmcs.ts';
import { at, codeSelector, type EntryMode, GDT_LIMIT, selectorOf } from './tables.ts';

/** A power of two. */
export const PIECES = 32;
export const BITS = { real: 16, protected: 32, long: 64 } as const;

/** The whole source: `pieces` are what runs between two recoveries. */
export function programSource(mode: EntryMode, pieces: readonly string[]): string {
  const entrySize = { real: 'dw', protected: 'dd', long: 'dq' }[mode];
  return [
    `bits ${BITS[mode]}`,
    `org ${at.code}`,
    'jmp start',
    `times ${at.recover - at.code} - ($ - $$) db 0x90`,
    ...recovery(mode),
    'start:',
    ...start(mode),
    ...pieces.flatMap((piece, index) => [`piece${index}:`, piece, `jmp ${at.recover}`]),
    'align 8',
    'jumps:',
    ...Array.from({ length: PIECES }, (_, index) => `${entrySize} piece${index % pieces.length}`),
    `gdtr: dw ${GDT_LIMIT}`,
    `dq ${at.gdt}`,
    `idtr: dw ${256 * (mode === 'long' ? 16 : 8) - 1}`,
    `dq ${at.idt}`,
    ...(mode === 'long' ? vmxSetUp() : []),
  ].join('\n');
}

function loadSegments(selector: number): string[] {
  return [`mov ax, ${selector}`, ...['ds', 'es', 'ss'].map((segment) => `mov ${segment}, ax`)];
}

/** The handler of all exceptions and interrupts: fresh descriptor tables, a fresh stack, and the next piece in turn. */
function recovery(mode: EntryMode): string[] {
  if (mode === 'real') {
    return [
      ...loadSegments(0),
      'mov sp, 0x7000',
      'jmp 0:next',
      'next:',
      'inc word [cs:0x7ff0]',
      'mov bx, [cs:0x7ff0]',
      `and bx, ${PIECES - 1}`,
      'shl bx, 1',
      'jmp [cs:jumps + bx]',
    ];
  }
  const [stack, index, size] = mode === 'long' ? ['rsp', 'rax', 8] : ['esp', 'eax', 4];
  return [
    ...['lgdt [cs:gdtr]', 'lidt [cs:idtr]'],
    ...loadSegments(selectorOf('data')),
    `mov ${stack}, ${at.stack}`,
    `inc dword [${at.counter}]`,
    `mov eax, [${at.counter}]`,
    `and eax, ${PIECES - 1}`,
    `jmp [jumps + ${index} * ${size}]`,
  ];
}

function start(mode: EntryMode): string[] {
  if (mode === 'real') {
    // Every vector of the table at 0 leads to the recovery.
    const fill = ['ivt:', `mov word [di], ${at.recover}`, 'mov word [di + 2], ax', 'add di, 4', 'cmp di, 1024'];
    return ['xor ax, ax', 'mov ds, ax', 'xor di, di', ...fill, 'jne ivt', `jmp 0:${at.recover}`];
  }
  const task = ['lgdt [gdtr]', `mov ax, ${selectorOf('tss')}`, 'ltr ax'];
  if (mode === 'protected') return [...task, `jmp ${codeSelector.protected}:${at.recover}`];
  // The CS of the boot loader's table is another one: a far return loads that of the program's.
  const reload = [`push qword ${codeSelector.long}`, `push qword ${at.recover}`, 'retfq'];
  return [...task, `mov eax, ${at.pml4}`, 'mov cr3, rax', ...reload];
}

const encoding = (name: string): number => {
  const field = fieldByName(name);
  if (!field) throw new Error(`no VMCS field ${name}`);
  return field.encoding;
};

/** VMXON, and a VMCS whose guest is the program itself. CR0, CR3 and CR4 are those of the moment. */
function vmxSetUp(): string[] {
  const pointers = [
    ...[`mov qword [${at.pointer}], ${at.vmxon}`, `vmxon [${at.pointer}]`],
    ...[`mov qword [${at.pointer}], ${at.vmcs}`, `vmclear [${at.pointer}]`, `vmptrld [${at.pointer}]`],
  ];
  const now = ['CR0', 'CR3', 'CR4'].flatMap((register) => [
    `mov rax, ${register}`,
    ...['Host', 'Guest'].flatMap((side) => [`mov ecx, ${encoding(`${side} ${register}`)}`, 'vmwrite rcx, rax']),
  ]);
  return [
    ...['vmx_set_up:', 'mov rax, cr4', 'or rax, 0x2000', 'mov cr4, rax', 'mov rax, cr0', 'or rax, 0x20'],
    ...['mov cr0, rax', 'mov ecx, 0x3a', 'rdmsr', 'test al, 1', 'jnz .locked', 'mov al, 5', 'wrmsr', '.locked:'],
    ...pointers,
    ...['mov rsi, vmx_fields', 'mov edi, (vmx_fields_end - vmx_fields) / 16', '.field:'],
    ...['mov rcx, [rsi]', 'mov rax, [rsi + 8]', 'vmwrite rcx, rax', 'add rsi, 16', 'dec edi', 'jnz .field'],
    ...now,
    'ret',
    'vmx_fields:',
    ...[...controlFields(), ...hostFields(), ...guestFields()].map(
      ([name, value]) => `dq ${encoding(name)}, ${value < 0 ? value : value >>> 0}`,
    ),
    'vmx_fields_end:',
  ];
}

type Fields = readonly (readonly [VmcsFieldName, number])[];
const required = (group: ControlGroupName): number => allowedSettings(group).trueAllowed0;
const bit = (number: number): number => 2 ** number;

function controlFields(): Fields {
  return [
    ['Pin-based VM-execution controls', required('pin')],
    ['Primary processor-based VM-execution controls', required('primary') + bit(31)],
    ['Secondary processor-based VM-execution controls', bit(1) + bit(5)],
    ['Primary VM-exit controls', required('exit') + bit(9)],
    ['VM-entry controls', required('entry') + bit(9)],
    ['EPT pointer', at.ept + 0x1e],
    ['Virtual-processor identifier', 1],
    ['VMCS link pointer', -1],
    ['Address of I/O bitmap A', at.ioBitmaps],
    ['Address of I/O bitmap B', at.ioBitmaps + 4096],
    ['Address of MSR bitmaps', at.msrBitmaps],
  ];
}

function hostFields(): Fields {
  return [
    ['Host RSP', at.stack],
    ['Host RIP', at.recover],
    ['Host CS selector', codeSelector.long],
    ...(['SS', 'DS', 'ES'] as const).map((name) => [`Host ${name} selector`, selectorOf('data')] as const),
    ['Host TR selector', selectorOf('tss')],
    ['Host TR base', at.tss],
    ['Host GDTR base', at.gdt],
    ['Host IDTR base', at.idt],
  ];
}

function guestFields(): Fields {
  return [
    ...(['ES', 'CS', 'SS', 'DS', 'FS', 'GS'] as const).flatMap((name) => [
      [`Guest ${name} selector`, name === 'CS' ? codeSelector.long : selectorOf('data')] as const,
      [`Guest ${name} limit`, 0xffff_ffff] as const,
      [`Guest ${name} access rights`, name === 'CS' ? 0xa09b : 0xc093] as const,
    ]),
    ['Guest LDTR access rights', 0x1_0000],
    ['Guest TR selector', selectorOf('tss')],
    ['Guest TR base', at.tss],
    ['Guest TR limit', 0x67],
    ['Guest TR access rights', 0x8b],
    ['Guest DR7', 0x400],
    ['Guest RSP', at.stack - 0x400],
    ['Guest RIP', at.recover],
    ['Guest RFLAGS', 2],
    ['Guest GDTR base', at.gdt],
    ['Guest GDTR limit', GDT_LIMIT],
    ['Guest IDTR base', at.idt],
    ['Guest IDTR limit', 4095],
  ];
}
