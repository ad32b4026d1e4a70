/** Completion: mnemonics of the code size at hand, directives, macros, registers, names, and VMCS field encodings. */
import { type CompletionItem, CompletionItemKind, type Position } from 'vscode-languageserver';
import {
  type Bits,
  type Definition,
  directiveNames,
  formsOf,
  mnemonicEntry,
  mnemonicNames,
  type ParsedSource,
  type RegisterInfo,
  registerNamed,
  registerNames,
} from '../../debug-adapter/assembler/index.ts';
import { isReadOnly, vmcsFields, widthBitsOf } from '../../engine/index.ts';
import { bitsAt, icedName } from './instruction-form.ts';
import { mnemonicDescription } from './instruction-hover.ts';
import { instructionTitles } from './instruction-titles.ts';
import { isLocal, localPart } from './symbols.ts';
import type { Unit } from './workspace.ts';

const preprocessorDirectives = (
  'define idefine xdefine ixdefine undef assign iassign defstr deftok strlen strcat substr macro imacro endmacro ' +
  'unmacro exitmacro rotate rep endrep exitrep include error warning fatal push pop repl if ifdef ifndef ifmacro ' +
  'ifidn ifidni ifid ifnum ifstr iftoken ifempty elif elifdef else endif comment endcomment'
).split(' ');

const operandKeywords = 'byte word dword qword tword oword yword zword short near far rel abs strict'.split(' ');

/** What may stand where the cursor is. */
type Context = 'preprocessor' | 'statement' | 'operand' | 'value' | 'nothing';

export async function completion(unit: Unit, uri: string, position: Position): Promise<CompletionItem[]> {
  const source = unit.sources.get(uri);
  if (!source) return [];
  const line = unit.text(uri).split(/\r\n|\n|\r/u)[position.line] ?? '';
  const before = line.slice(0, position.character);
  switch (contextOf(before)) {
    case 'preprocessor':
      return preprocessorItems(position, before);
    case 'statement': {
      const bits = await codeSizeAt(unit, source, position.line);
      return [
        ...mnemonicItems(bits),
        ...directiveItems,
        ...macroItems(unit),
        ...(before.trim() === '' ? [] : nameItems(unit, source, position)),
      ];
    }
    case 'operand': {
      const bits = await codeSizeAt(unit, source, position.line);
      const vmcs = expectsField(before) ? fieldItems(position, before, /^\s*(?:\S+:\s*)?vmwrite\b/iu.test(before)) : [];
      return [...registerItems(bits), ...keywordItems, ...nameItems(unit, source, position), ...vmcs];
    }
    case 'value':
      return [...nameItems(unit, source, position), ...fieldItems(position, before, false)];
    default:
      return [];
  }
}

function contextOf(before: string): Context {
  if (isInCommentOrString(before)) return 'nothing';
  if (/^\s*%\w*$/u.test(before)) return 'preprocessor';
  if (/^\s*%i?x?define\s+\S*$/iu.test(before) || /^\s*%i?macro\b/iu.test(before)) return 'nothing';
  if (/^\s*%/u.test(before)) return 'value';
  if (/\b(?:equ|d[bwdqtoyz]|res[bwdqtoyz])\s/iu.test(before)) return 'value';
  const afterLabel = before.replace(/^\s*[^\s:;]+:/u, '').replace(/^\s*(?:(?:lock|rep\w*|times\s+\S+)\s+)*/iu, '');
  return /^\s*[\w.$@?]*$/u.test(afterLabel) ? 'statement' : 'operand';
}

function isInCommentOrString(before: string): boolean {
  let quote = '';
  for (const character of before) {
    if (quote) quote = character === quote ? '' : quote;
    else if (character === ';') return true;
    else if (`"'\``.includes(character)) quote = character;
  }
  return quote !== '';
}

/** Where the number of a VMCS field may stand: an operand of VMREAD or VMWRITE, or what a register is loaded with. */
const expectsField = (before: string): boolean =>
  /\bvm(?:read|write)\b/iu.test(before) || /\bmov\s+(?:dword\s+|qword\s+)?[er]\w+\s*,\s*\w*$/iu.test(before);

/** In an included file without BITS of its own: as the root that includes it got there. */
async function codeSizeAt(unit: Unit, source: ParsedSource, line: number): Promise<Bits> {
  if (source.file === unit.root) return bitsAt(source.lines, line, 16);
  const { lines, defaultBits } = await unit.program();
  const row = lines.find((one) => one.file === source.file || one.body?.file === source.file);
  return bitsAt(source.lines, line, row?.bits ?? defaultBits);
}

const mnemonicsByBits = new Map<Bits, CompletionItem[]>();

function mnemonicItems(bits: Bits): CompletionItem[] {
  let items = mnemonicsByBits.get(bits);
  if (!items) {
    const exists = (name: string): boolean =>
      (mnemonicEntry(name)?.mnemonics ?? []).some((mnemonic) => formsOf(mnemonic).some((form) => form.modes[bits]));
    items = mnemonicNames()
      .filter(exists)
      .map((name) => mnemonicItem(name, bits));
    mnemonicsByBits.set(bits, items);
  }
  return items;
}

function mnemonicItem(name: string, bits: Bits): CompletionItem {
  const title = instructionTitles.get((icedName(name) ?? name).toLowerCase());
  const item: CompletionItem = {
    label: name,
    kind: CompletionItemKind.Keyword,
    // What is explained comes before the rest: general-purpose and system instructions are what kernels are made of.
    sortText: `${title ? 1 : 2}${name}`,
    data: { mnemonic: name, bits },
  };
  return title ? { ...item, detail: title.title } : item;
}

/** Adds the documentation of the item that the user has selected. */
export function resolveCompletion(item: CompletionItem): CompletionItem {
  const data = item.data as { mnemonic?: unknown; bits?: unknown } | undefined;
  if (typeof data?.mnemonic !== 'string') return item;
  const bits = data.bits === 32 || data.bits === 64 ? data.bits : 16;
  return { ...item, documentation: { kind: 'markdown', value: mnemonicDescription(data.mnemonic, bits) } };
}

const directiveItems: readonly CompletionItem[] = directiveNames().map((label) => ({
  label,
  kind: CompletionItemKind.Module,
  sortText: `1${label}`,
}));

const keywordItems: readonly CompletionItem[] = operandKeywords.map((label) => ({
  label,
  kind: CompletionItemKind.Keyword,
  sortText: `3${label}`,
}));

function preprocessorItems(position: Position, before: string): CompletionItem[] {
  const start = { line: position.line, character: before.lastIndexOf('%') };
  return preprocessorDirectives.map((name) => ({
    label: `%${name}`,
    kind: CompletionItemKind.Keyword,
    textEdit: { range: { start, end: position }, newText: `%${name}` },
  }));
}

function macroItems(unit: Unit): CompletionItem[] {
  const macros = definitionsIn(unit).filter((one) => one.kind === 'macro');
  return macros.map(({ name, parameters }) => ({
    label: name,
    kind: CompletionItemKind.Method,
    detail: `macro ${parameters ?? ''}`.trim(),
    sortText: `0${name}`,
  }));
}

const in64BitCode = ({ class: kind, number, needsRex }: RegisterInfo): boolean =>
  kind === 'r64' || needsRex || (number >= 8 && kind !== 'cr') || (kind === 'cr' && number === 8);

const existingControlRegisters: ReadonlySet<number> = new Set([0, 2, 3, 4, 8]);

function isUsable(register: RegisterInfo, bits: Bits): boolean {
  if (register.class === 'cr' && !existingControlRegisters.has(register.number)) return false;
  if ((register.class === 'dr' && register.number >= 8) || register.class === 'tr') return false;
  return bits === 64 || !in64BitCode(register);
}

function registerItems(bits: Bits): CompletionItem[] {
  return registerNames()
    .filter((name) => {
      const register = registerNamed(name);
      return register !== undefined && isUsable(register, bits);
    })
    .map((label) => ({
      label,
      kind: CompletionItemKind.Variable,
      sortText: `${/\d\d?$/u.test(label) ? 2 : 1}${label}`,
    }));
}

const definitionsIn = (unit: Unit): Definition[] => [...unit.sources.values()].flatMap((source) => source.definitions);

const completionKinds: Readonly<Record<Definition['kind'], CompletionItemKind>> = {
  label: CompletionItemKind.Function,
  equ: CompletionItemKind.Constant,
  define: CompletionItemKind.Constant,
  structure: CompletionItemKind.Struct,
  section: CompletionItemKind.Module,
  macro: CompletionItemKind.Method,
};

/** Labels, constants and structures; of the label around the cursor the local ones in short. */
function nameItems(unit: Unit, source: ParsedSource, position: Position): CompletionItem[] {
  const scope = scopeAt(source, position.line);
  const names = new Map<string, CompletionItem>();
  for (const { name, kind } of definitionsIn(unit)) {
    if (kind === 'macro' || kind === 'section') continue;
    const isNear = scope !== '' && isLocal(name) && name.startsWith(`${scope}.`);
    const label = isNear ? localPart(name) : name;
    names.set(label, { label, kind: completionKinds[kind], detail: kind, sortText: `${isNear ? 0 : 1}${label}` });
  }
  return [...names.values()];
}

/** The label that local names at a line (from 0) belong to. */
function scopeAt(source: ParsedSource, line: number): string {
  const owners = source.definitions.filter(
    ({ kind, name, range }) => kind === 'label' && !isLocal(name) && !name.startsWith('.') && range.line <= line + 1,
  );
  return owners.reduce((last, one) => (one.range.line >= last.line ? { line: one.range.line, name: one.name } : last), {
    line: 0,
    name: '',
  }).name;
}

/** VMCS fields by the manual's names; what is inserted is the encoding. */
function fieldItems(position: Position, before: string, toWrite: boolean): CompletionItem[] {
  const typed = /[\w.]*$/u.exec(before)?.[0].length ?? 0;
  const range = { start: { line: position.line, character: position.character - typed }, end: position };
  return vmcsFields
    .filter(({ encoding }) => !toWrite || !isReadOnly(encoding))
    .map(({ name, encoding, group, doc }) => {
      const value = `0x${encoding.toString(16).toUpperCase().padStart(4, '0')}`;
      return {
        label: name,
        labelDetails: { description: value },
        kind: CompletionItemKind.EnumMember,
        detail: `VMCS field ${value}, ${widthBitsOf(encoding)} bits`,
        documentation: `${group}: ${doc}`,
        filterText: name.toUpperCase().replace(/\W+/gu, '_'),
        sortText: `5${name}`,
        textEdit: { range, newText: value },
      };
    });
}
