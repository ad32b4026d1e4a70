/**
 * Prints an Operation as the manual's Operation sections are written: for hovers, and to read what a form does. The
 * lines come from the same graph that is executed. An Operation computes all values before it changes anything; so that
 * its lines may be read one after the other, values that a change before them would spoil are given names first.
 */
import type { Expr } from '../expr/expr.ts';
import type { InstructionForm } from './form.ts';
import type { FlagsCommit, FlagValue, Operation, RaiseStatement, StatusFlag } from './operation.ts';
import { statusFlags } from './operation.ts';
import { ExpressionPrinter } from './pseudo-code-expressions.ts';

/** Names of exceptions that an Operation raises. */
const exceptionNames: Readonly<Record<number, string>> = {
  0: '#DE',
  5: '#BR',
  6: '#UD',
  13: '#GP(0)',
  16: '#MF',
  19: '#XM',
};

/**
 * The lines of a form's pseudo-code. `operandTexts`: the operands as the program spells them (`rax`, `[rbx+8]`); without,
 * they are DEST and SRC.
 */
export function pseudoCode(form: InstructionForm, operandTexts?: readonly string[]): string[] {
  const texts = operandTexts ?? operandNames(form.operation);
  const { lines, operation } = { lines: [] as string[], operation: form.operation };
  const printer = new ExpressionPrinter(operation, (position) => texts[position] ?? 'OPERAND', lines);
  printChecks(operation, printer, lines);
  const changes = changesOf(operation, printer);
  const flags = flagLines(operation.flags, printer);
  nameSpoiltValues(changes, printer);
  lines.push(...flags, ...changes.map(changeLine));
  return lines;
}

/** DEST is what the instruction writes; the others are sources. */
function operandNames(operation: Operation): string[] {
  const { commits, stores, operands } = operation;
  const isFirst = (place: { kind: string; position?: number }) => place.kind === 'operand' && place.position === 0;
  const writes = commits.some((c) => isFirst(c.register)) || stores.some((s) => isFirst(s.address));
  const sources = operands.length - (writes ? 1 : 0);
  const numbered = Array.from({ length: sources }, (_, i) => (sources > 1 ? `SRC${i + 1}` : 'SRC'));
  return writes ? ['DEST', ...numbered] : numbered;
}

function printChecks({ guard, reads }: Operation, printer: ExpressionPrinter, lines: string[]): void {
  if (guard) lines.push(`IF ${printer.negated(guard)} THEN end`);
  for (const statement of reads) {
    // Loads are printed where their values are used.
    if (statement.kind !== 'raise') continue;
    const condition = printer.condition(statement.condition);
    lines.push(`IF ${condition} THEN ${exceptionText(statement)}`);
  }
}

function exceptionText({ vector, instead }: RaiseStatement): string {
  const name = exceptionNames[vector] ?? `exception ${vector}`;
  return instead ? `${name} or ${exceptionNames[instead.vector] ?? `exception ${instead.vector}`}` : name;
}

/** An assignment, or a transfer, which has a condition perhaps. */
interface Change {
  readonly place: string;
  condition: string;
  value: string;
}

const changeLine = ({ place, condition, value }: Change): string =>
  (condition && `IF ${condition} THEN `) + (place && `${place} := `) + value;

function changesOf({ stores, commits, directionFlag, transfer }: Operation, printer: ExpressionPrinter): Change[] {
  const assign = (place: string, value: Expr): Change => ({ place, condition: '', value: printer.expression(value) });
  const changes = stores.map((store) => assign(printer.address(store.address), store.value));
  // Where two name the same register the first one's value stays: it is the last to be assigned.
  for (const { register, value } of [...commits].reverse()) changes.push(assign(printer.register(register), value));
  if (directionFlag) changes.push(assign('DF', directionFlag));
  if (transfer?.kind === 'indirect') changes.push(assign('RIP', transfer.target));
  else if (transfer) {
    const condition = transfer.condition ? printer.condition(transfer.condition) : '';
    const isRepeat = transfer.kind === 'repeat';
    changes.push({ place: isRepeat ? '' : 'RIP', condition, value: isRepeat ? 'repeat' : 'target' });
  }
  return changes;
}

/** Gives a name to the value of a change that reads what a change before it writes. */
function nameSpoiltValues(changes: Change[], printer: ExpressionPrinter): void {
  changes.forEach((change, i) => {
    const before = changes.slice(0, i).map(({ place }) => place.toLowerCase());
    if (isSpoilt(change.value, before)) change.value = printer.name(change.value);
    if (isSpoilt(change.condition, before)) change.condition = printer.name(change.condition);
  });
}

/** Whether a text reads one of the places, or memory when one of them is memory. */
function isSpoilt(text: string, places: readonly string[]): boolean {
  if (text.includes('[') && places.some((place) => place.includes('['))) return true;
  const words = new Set(text.toLowerCase().match(/[a-z]\w*/g));
  return places.some((place) => words.has(place));
}

function flagLines(flags: FlagsCommit | undefined, printer: ExpressionPrinter): string[] {
  if (!flags) return [];
  const { condition, values, partOf } = flags;
  const present = statusFlags.filter((flag) => values[flag] !== undefined);
  const undefinedOnes = present.filter((flag) => isUndefined(values[flag]));
  const prefix = condition ? `IF ${printer.condition(condition)} THEN ` : '';
  const lines = partOf
    ? [`${present.join(', ')} := those of ${printer.expression(partOf.result)}`]
    : definedFlags(values, printer);
  const last = undefinedOnes.length > 0 ? [`${undefinedOnes.join(', ')} undefined`] : [];
  return [...lines, ...last].map((line) => prefix + line);
}

function definedFlags(values: FlagsCommit['values'], printer: ExpressionPrinter): string[] {
  const result = sharedResult(values);
  const lines = result ? [`PF, ZF, SF := those of ${printer.expression(result)}`] : [];
  const byText = new Map<string, StatusFlag[]>();
  for (const flag of statusFlags) {
    const value = values[flag];
    if (!value || 'undefined' in value || (result && (flag === 'PF' || flag === 'ZF' || flag === 'SF'))) continue;
    const text = printer.expression(value);
    byText.set(text, [...(byText.get(text) ?? []), flag]);
  }
  return [...lines, ...[...byText].map(([text, flags]) => `${flags.join(', ')} := ${text}`)];
}

const isUndefined = (value: FlagValue | undefined): boolean => value !== undefined && 'undefined' in value;

/** The expression whose parity, zeroness and sign the three flags are, if they are defined and of one. */
function sharedResult({ PF, ZF, SF }: FlagsCommit['values']): Expr | undefined {
  if (!PF || !ZF || !SF || 'undefined' in PF || 'undefined' in ZF || 'undefined' in SF) return undefined;
  const result = PF.node.kind === 'unary' && PF.node.op === 'parity' ? PF.node.a : undefined;
  return ZF.node.kind === 'compare' && ZF.node.op === 'eq' && ZF.node.a === result ? result : undefined;
}
