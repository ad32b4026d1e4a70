/** The bytes of every instruction behind its line, if the user wants to see them. */
import type { InlayHint, Range } from 'vscode-languageserver';
import { bytesOf, hexBytes } from './instruction-hover.ts';
import type { Unit } from './workspace.ts';

const lengthOfLine = (text: string): number => text.replace(/\s*(?:;.*)?$/u, '').length;

/** None while the source has errors. Instructions that a macro produces have no line to stand behind. */
export async function inlayHints(unit: Unit, uri: string, range: Range): Promise<InlayHint[]> {
  const program = await unit.program();
  if (!program.image) return [];
  const lines = unit.text(uri).split(/\r\n|\n|\r/u);
  const hints = new Map<number, InlayHint>();
  for (const instruction of program.instructions) {
    const line = instruction.range.line - 1;
    const inside = instruction.range.file === uri && line >= range.start.line && line <= range.end.line;
    const bytes = inside && !hints.has(line) ? bytesOf(program, instruction) : undefined;
    if (!bytes) continue;
    const position = { line, character: lengthOfLine(lines[line] ?? '') };
    hints.set(line, { position, label: hexBytes(bytes), paddingLeft: true });
  }
  return [...hints.values()];
}
