/** From an instruction as written to what the engine knows of it, without its bytes. */

import { Mnemonic } from '../../debug-adapter/assembler/forms.ts';
import type { SourceRange } from '../../debug-adapter/assembler/index.ts';
import { type Bits, mnemonicEntry, type Operand, type ParsedLine } from '../../debug-adapter/assembler/index.ts';
import type { InstructionBody, StatementBody } from '../../debug-adapter/assembler/syntax.ts';
import { type Classification, classify, type DecodedInstruction } from '../../engine/index.ts';
import { sameRange } from './positions.ts';

/** iced-x86's name of a mnemonic as NASM writes it: `Jae` for `jnc`. */
export function icedName(mnemonic: string): string | undefined {
  const [first] = mnemonicEntry(mnemonic.toLowerCase())?.mnemonics ?? [];
  return first === undefined ? undefined : Mnemonic[first];
}

type OperandFacts = DecodedInstruction['operands'][number];
const registerKinds: Readonly<Record<string, 'segment' | 'control' | 'debug'>> = {
  segment: 'segment',
  cr: 'control',
  dr: 'debug',
};

function operandFacts(operand: Operand): OperandFacts {
  if (operand.kind !== 'register') return { kind: operand.kind === 'memory' ? 'memory' : 'immediate', widthBits: 0 };
  const { class: registerClass, number, high, sizeBits, name } = operand.register;
  const kind = registerKinds[registerClass] ?? (/^r\d/u.test(registerClass) ? 'gpr' : 'other');
  return { kind: 'register', register: { kind, number, high, width: sizeBits, name }, widthBits: sizeBits };
}

const isFar = (operand: Operand): boolean => operand.kind === 'far' || operand.distance === 'far';

/** Whether the instruction is privileged or sensitive, as far as its text tells. */
export function classifyText(mnemonic: string, operands: readonly Operand[]): Classification | undefined {
  const name = icedName(mnemonic);
  if (name === undefined) return undefined;
  const codeName = operands.some(isFar) ? `${name}_ptr1632` : name;
  return classify({ mnemonic: name, codeName, operands: operands.map(operandFacts) });
}

/** The instruction in a line whose mnemonic stands at `range`; also the one that fills an ALIGN. */
export function instructionIn(line: ParsedLine | undefined, range: SourceRange): InstructionBody | undefined {
  const inBody = (body: StatementBody | undefined): InstructionBody | undefined => {
    if (body?.kind === 'align') return inBody(body.fill);
    if (body?.kind !== 'instruction' || !body.mnemonic) return undefined;
    return sameRange(body.mnemonic.range, range) ? body : undefined;
  };
  return line?.kind === 'statement' ? inBody(line.statement.body) : undefined;
}

const codeSizes: ReadonlySet<number> = new Set([16, 32, 64]);

/** The code size at a line (from 0): by the last BITS before it in the same source, else `otherwise`. */
export function bitsAt(lines: readonly ParsedLine[], line: number, otherwise: Bits): Bits {
  let bits = otherwise;
  for (const one of lines) {
    if (one.kind !== 'statement') continue;
    if (one.statement.range.line > line + 1) break;
    const { body } = one.statement;
    if (body.kind !== 'directive') continue;
    const word = body.name.text.toLowerCase();
    const size = word === 'bits' ? Number(body.arguments[0]?.text) : Number(/^use(\d\d)$/u.exec(word)?.[1]);
    if (codeSizes.has(size)) bits = size as Bits;
  }
  return bits;
}
