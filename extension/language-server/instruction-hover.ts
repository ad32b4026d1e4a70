/** What the hover says of an instruction: operation, encoding, flags, faults, and what it does in which mode. */
import { type Code, CodeExt, Instruction, RflagsBits } from 'iced-x86';
import {
  type AssembledInstruction,
  type AssembledProgram,
  assemble,
  type Bits,
  type ClassifiedToken,
  formsOf,
  mnemonicEntry,
  type ParsedLine,
  type ParsedSource,
} from '../../debug-adapter/assembler/index.ts';
import {
  type Classification,
  classify,
  type DecodedInstruction,
  decodeOne,
  formOf,
  pseudoCode,
} from '../../engine/index.ts';
import { bitsAt, classifyText, icedName, instructionIn } from './instruction-form.ts';
import { instructionTitles } from './instruction-titles.ts';
import { parsedLine, sameRange, tokensOfLine } from './positions.ts';
import type { Unit } from './workspace.ts';

/** One instruction of the source, as far as it is known. */
interface Subject {
  readonly mnemonic: string;
  readonly bits: Bits;
  /** With the bytes of the program, or those of another place and other addresses (`isPlaced` is false). */
  readonly decoded: DecodedInstruction | undefined;
  readonly isPlaced: boolean;
  readonly bytes: Uint8Array;
  readonly facts: Classification | undefined;
}

/** Markdown. */
export async function instructionHover(unit: Unit, source: ParsedSource, token: ClassifiedToken): Promise<string> {
  const subject = await subjectOf(unit, source, token);
  const parts = [headline(subject), operation(subject), flagsText(subject), faultsText(subject), modesText(subject)];
  return parts.filter((part) => part !== '').join('\n\n');
}

/** The same without a place: for completion. */
export function mnemonicDescription(mnemonic: string, bits: Bits): string {
  const facts = classifyText(mnemonic, []);
  const subject: Subject = { mnemonic, bits, decoded: undefined, isPlaced: false, bytes: new Uint8Array(), facts };
  return [headline(subject), faultsText(subject), modesText(subject)].filter((part) => part !== '').join('\n\n');
}

async function subjectOf(unit: Unit, source: ParsedSource, token: ClassifiedToken): Promise<Subject> {
  const program = await unit.program();
  const mnemonic = token.text.toLowerCase();
  const found = program.instructions.find((one) => sameRange(one.range, token.range));
  const placed = found && bytesOf(program, found);
  const bits = found?.bits ?? bitsAt(source.lines, token.range.line - 1, program.defaultBits);
  const line = parsedLine(source, token.range.line - 1);
  const bytes = placed ?? assembledAlone(source, line, token, bits) ?? new Uint8Array();
  const decoded = bytes.length > 0 ? decodeOne(bytes, bits, found?.address ?? 0) : undefined;
  const operands = instructionIn(line, token.range)?.operands ?? [];
  const facts = decoded ? classify(decoded) : classifyText(mnemonic, operands);
  return { mnemonic, bits, decoded, bytes, isPlaced: placed !== undefined, facts };
}

/** The bytes of an instruction in the image; undefined while the source has errors. */
export function bytesOf(
  program: AssembledProgram,
  { address, length, range }: AssembledInstruction,
): Uint8Array | undefined {
  const isRow = (row: AssembledProgram['lines'][number]): boolean =>
    row.address === address && ((row.body ?? row).line === range.line || row.line === range.line);
  const row = program.lines.find(isRow) ?? program.lines.find((one) => one.address === address);
  const section = program.sections.find((one) => one.name === row?.section);
  if (!program.image || !section) return undefined;
  const start = section.start - program.origin + (address - section.vstart);
  return program.image.subarray(start, start + Math.min(length, MAXIMUM_INSTRUCTION_BYTES));
}

const MAXIMUM_INSTRUCTION_BYTES = 15;

/**
 * The instruction assembled without the rest of the source, its symbols standing for anything: it still has a form
 * while there are errors elsewhere, or if nothing invokes the macro it stands in.
 */
function assembledAlone(
  source: ParsedSource,
  line: ParsedLine | undefined,
  token: ClassifiedToken,
  bits: Bits,
): Uint8Array | undefined {
  const instruction = instructionIn(line, token.range);
  if (line?.kind !== 'statement' || !instruction) return undefined;
  const { tokens } = line.statement;
  const start = tokens.findIndex((one) => sameRange(one.range, token.range));
  const text = [...instruction.prefixes, ...tokens.slice(start)].map((one) => one.text).join(' ');
  const symbols = tokensOfLine(source, token.range.line - 1).filter((one) => one.role === 'symbol');
  const labels = [...new Set(symbols.map((one) => one.text))].map((name) => `${name}:`);
  const program = assemble(
    { path: 'hover.asm', text: ['start_of_hover:', ...labels, `bits ${bits}`, text].join('\n') },
    { readFile: () => undefined },
  );
  return program.image?.subarray(0, MAXIMUM_INSTRUCTION_BYTES);
}

function headline({ mnemonic, bits, decoded, isPlaced, bytes, facts }: Subject): string {
  const title = titleOf(mnemonic);
  const name = `**${mnemonic.toUpperCase()}**${title ? ` — ${title.title}` : ''}`;
  const badges = [facts?.privileged ? '*privileged*' : '', facts?.sensitive ? '*sensitive*' : ''].filter(Boolean);
  const lines = [[name, ...badges].join(' · ')];
  if (title) lines.push(title.does);
  if (decoded) lines.push(formText(decoded, isPlaced ? bytes.subarray(0, decoded.lengthBytes) : undefined, bits));
  else lines.push(formsText(mnemonic, bits));
  return lines.filter(Boolean).join('\n\n');
}

const titleOf = (mnemonic: string) => instructionTitles.get((icedName(mnemonic) ?? mnemonic).toLowerCase());

function formText(decoded: DecodedInstruction, bytes: Uint8Array | undefined, bits: Bits): string {
  const info = CodeExt.opCode(decoded.code);
  const { instructionString, opCodeString } = info;
  info.free();
  const place = bytes
    ? `\n\nBytes \`${hexBytes(bytes)}\` at \`${decoded.ip.toString(16).toUpperCase()}h\`, ${bits}-bit code`
    : `\n\n${bits}-bit code`;
  return `\`${instructionString}\` is encoded as \`${opCodeString}\`${place}`;
}

export const hexBytes = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).toUpperCase().padStart(2, '0')).join(' ');

const SHOWN_FORMS = 8;

function formsText(mnemonic: string, bits: Bits): string {
  const forms = (mnemonicEntry(mnemonic)?.mnemonics ?? []).flatMap(formsOf).filter((form) => form.modes[bits]);
  if (forms.length === 0) return `It does not exist in ${bits}-bit code.`;
  const texts = [...new Set(forms.map((form) => instructionString(form.code)))];
  const more = texts.length > SHOWN_FORMS ? `, and ${texts.length - SHOWN_FORMS} more` : '';
  return `${texts
    .slice(0, SHOWN_FORMS)
    .map((text) => `\`${text}\``)
    .join(', ')}${more}`;
}

function instructionString(code: Code): string {
  const info = CodeExt.opCode(code);
  const text = info.instructionString;
  info.free();
  return text;
}

/** The manual's Operation, printed from what the engine executes. */
function operation({ decoded, bits }: Subject): string {
  const form = decoded && formOf(decoded, bits);
  const lines = form ? pseudoCode(form) : [];
  return lines.length > 0 ? ['```', ...lines, '```'].join('\n') : '';
}

const flagNames: readonly (readonly [RflagsBits, string])[] = [
  [RflagsBits.CF, 'CF'],
  [RflagsBits.PF, 'PF'],
  [RflagsBits.AF, 'AF'],
  [RflagsBits.ZF, 'ZF'],
  [RflagsBits.SF, 'SF'],
  [RflagsBits.OF, 'OF'],
  [RflagsBits.DF, 'DF'],
  [RflagsBits.IF, 'IF'],
  [RflagsBits.AC, 'AC'],
];

function flagsText({ decoded }: Subject): string {
  if (!decoded) return '';
  const instruction = new Instruction();
  instruction.code = decoded.code;
  const { rflagsRead, rflagsWritten, rflagsCleared, rflagsSet, rflagsUndefined } = instruction;
  instruction.free();
  const list = (verb: string, bits: number): string[] => {
    const names = flagNames.filter(([bit]) => bits & bit).map(([, name]) => name);
    return names.length > 0 ? [`${verb} ${names.join(', ')}`] : [];
  };
  const parts = [
    ...list('reads', rflagsRead),
    ...list('writes', rflagsWritten),
    ...list('clears', rflagsCleared),
    ...list('sets', rflagsSet),
    ...list('leaves undefined', rflagsUndefined),
  ];
  return `**Flags** ${parts.length > 0 ? parts.join('; ') : 'neither read nor changed'}`;
}

/** Faults of its own, then those of its privileges and its memory operands. */
function faultsText({ mnemonic, decoded, facts }: Subject): string {
  const own = titleOf(mnemonic)?.faults ?? [];
  const privileges: Readonly<Record<string, string>> = {
    'ring-0': `${facts?.ring3.startsWith('It raises #UD') ? '#UD' : '#GP(0)'} if CPL > 0`,
    iopl: '#GP(0) if CPL > IOPL (for ports, unless the I/O permission bitmap allows them)',
    cr4: '#GP(0) if CPL > 0 and CR4 forbids it',
  };
  const privilege = facts ? privileges[facts.privilege] : undefined;
  const all = [...own, ...(privilege === undefined ? [] : [privilege]), ...memoryFaults(decoded)];
  return all.length > 0 ? `**Faults** ${all.join('; ')}` : '';
}

function memoryFaults(decoded: DecodedInstruction | undefined): string[] {
  if (!decoded) return [];
  const info = CodeExt.opCode(decoded.code);
  const { isStackInstruction, canUseLockPrefix } = info;
  info.free();
  const accesses = decoded.memory !== undefined && (decoded.memory.sizeBytes > 0 || decoded.mnemonic === 'Lgdt');
  const lock = canUseLockPrefix ? ['#UD if LOCK is used without a memory destination'] : [];
  if (!accesses && !isStackInstruction) return lock;
  return [
    ...(accesses ? ['#GP(0) or #SS(0) if the memory operand is outside its segment or not canonical'] : []),
    '#PF(code) by the page tables',
    '#AC(0) if alignment is checked',
    ...lock,
  ];
}

function modesText({ facts }: Subject): string {
  const rows = facts
    ? [
        ['Ring 0', facts.ring0],
        ['Ring 3', facts.ring3],
        ['VMX non-root', facts.nonRoot],
      ]
    : [['Ring 0, ring 3, VMX non-root', 'The same everywhere: unprivileged, no VM exit of its own.']];
  const table = ['| Mode | |', '|---|---|', ...rows.map((row) => `| ${row.join(' | ')} |`)].join('\n');
  if (!facts?.sensitive) return table;
  const verdict = facts.privileged
    ? 'Sensitive and privileged: it traps, so that a monitor can emulate it.'
    : 'Sensitive, but not privileged (a critical instruction): it does not trap, so that a monitor cannot see it without VT-x, binary translation or a changed guest.';
  return `${table}\n\n${verdict}`;
}
