/**
 * An instruction form: what all instructions share that differ only in which registers, which address and which
 * immediate they name. A form has one Operation, recorded once.
 */
import { type DecodedInstruction, symbolicOperands } from './decode.ts';
import { ALL_EXTENSIONS, EXTENSION } from './extensions.ts';
import { instructionSet } from './instruction-set.ts';
import type { Operand } from './operand.ts';
import type { Operation } from './operation.ts';
import { inMmxMode } from './semantics/mmx-state.ts';
import { type InstructionSizes, Semantics } from './semantics-builder.ts';

export interface InstructionForm {
  /** Same key, same Operation. */
  readonly key: string;
  readonly operation: Operation;
  readonly operands: readonly Operand[];
  readonly sizes: InstructionSizes;
}

const forms = new Map<string, InstructionForm>();
const FORMS_KEPT = 16_384;

/** What was found for an instruction before: decoding and compiling ask several times. */
const found = new WeakMap<DecodedInstruction, { stackSize: number; form: InstructionForm | undefined }>();

/**
 * The form of a decoded instruction, or undefined if the instruction has no recorded semantics (system or unknown), or
 * needs an extension that is not among those enabled (a mask of EXTENSION).
 */
export function formOf(
  instruction: DecodedInstruction,
  stackSize: 16 | 32 | 64,
  enabled: number = ALL_EXTENSIONS,
): InstructionForm | undefined {
  if (instruction.extensions & ~enabled) return undefined;
  const known = found.get(instruction);
  if (known?.stackSize === stackSize) return known.form;
  const form = findForm(instruction, stackSize);
  found.set(instruction, { stackSize, form });
  return form;
}

function findForm(instruction: DecodedInstruction, stackSize: 16 | 32 | 64): InstructionForm | undefined {
  const semantics = instructionSet[semanticsKey(instruction)];
  if (!semantics || hasOtherSemantics(instruction)) return undefined;
  const { operandSize, addressSize, codeSize, repeat, mnemonic, vex } = instruction;
  const operands = symbolicOperands(instruction);
  const kinds = operands.map(describeOperand).join(',');
  const key = `${mnemonic} ${kinds} ${codeSize}/${operandSize}/${addressSize}/${stackSize} ${repeat}${vex ? ' vex' : ''}`;
  let form = forms.get(key);
  if (!form) {
    const sizes = { codeSize, operandSize, addressSize, stackSize, repeat, vex };
    const m = new Semantics(operands, sizes);
    if (instruction.extensions & EXTENSION.MMX) inMmxMode(m, () => semantics(m, ...operands));
    else semantics(m, ...operands);
    // A guest can make ever new ones, of immediates that are part of the form.
    if (forms.size >= FORMS_KEPT) forms.clear();
    forms.set(key, (form = { key, operation: m.finish(mnemonic), operands, sizes }));
  }
  return form;
}

/** Of some mnemonics there are forms of another kind: scalar moves and comparisons, permutations by an immediate. */
function semanticsKey({ mnemonic, repeat, operands }: DecodedInstruction): string {
  if (mnemonic === 'Movsd' || mnemonic === 'Cmpsd') {
    return operands.some((o) => o.register) && repeat === 'none' ? `${mnemonic} xmm` : mnemonic;
  }
  const byImmediate = mnemonic.startsWith('Vpermilp') && operands.some((o) => o.kind === 'immediate');
  return byImmediate ? `${mnemonic} immediate` : mnemonic;
}

const describeOperand = ({ kind, width, usesStackPointer, constant, file, halves }: Operand): string =>
  `${kind[0]}${width}${file ?? ''}${halves === 2 ? 'x2' : ''}${usesStackPointer ? '+sp' : ''}${constant === undefined ? '' : `=${constant}`}`;

const farPointerInMemory = /^(Jmp|Call)_m16(16|32|64)$/;

/**
 * Forms that share only the name with a general-purpose instruction: MOV, PUSH, POP with other registers, far JMP and
 * CALL, AMD's BEXTR with an immediate.
 */
function hasOtherSemantics({ operands, codeName }: DecodedInstruction): boolean {
  const files = operands.map((o) => o.register?.kind);
  if (files.some((kind) => kind !== undefined && kind !== 'gpr' && kind !== 'vector' && kind !== 'mmx')) return true;
  if (operands.some((o) => o.kind === 'far-branch')) return true;
  return farPointerInMemory.test(codeName) || codeName.startsWith('XOP_');
}
