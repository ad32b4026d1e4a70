import fc from 'fast-check';
import { expect, it } from 'vitest';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { completion } from '../../extension/language-server/completion.ts';
import { diagnosticsOf } from '../../extension/language-server/diagnostics.ts';
import { Files } from '../../extension/language-server/files.ts';
import { foldingRanges } from '../../extension/language-server/folding.ts';
import { hover } from '../../extension/language-server/hover.ts';
import { definition, highlights, references } from '../../extension/language-server/navigation.ts';
import { documentSymbols } from '../../extension/language-server/outline.ts';
import { semanticTokens } from '../../extension/language-server/semantic-tokens.ts';
import { Workspace } from '../../extension/language-server/workspace.ts';

const uri = 'file:///half-typed.asm';

/** Pieces of assembly in any order: what stands in an editor while somebody types. */
const piece = fc.constantFrom(
  ...'mov eax ebx , [ ] ( ) : .loop start start: .x: $ $$ %1 %%done %define %macro %endmacro %if %else %endif %rep 3 %endrep'.split(
    ' ',
  ),
  ...'%include "a.inc" section .text struc endstruc bits 64 32 equ times db dw \'text " ` ; 0x 0x10 1e 12h rep movsb'.split(
    ' ',
  ),
  ...'cr0 cs far jmp vmread { } {k1} %[ %+ %$ \\ \n \n \n \u{1F600} \t %{1:-1} istruc at iend align incbin org'.split(
    ' ',
  ),
  ' ',
  '\n',
);
const text = fc
  .array(fc.tuple(piece, fc.constantFrom(' ', '', '\n')), { maxLength: 60 })
  .map((all) => all.flat().join(''));

it('every feature answers for any text, at any place', async () => {
  await fc.assert(
    fc.asyncProperty(text, fc.nat(40), fc.nat(20), async (source, line, character) => {
      const document = TextDocument.create(uri, 'nasm', 1, source);
      const documents = { get: (one: string) => (one === uri ? document : undefined), all: () => [document] };
      const workspace = new Workspace(new Files(documents, async () => undefined));
      const unit = await workspace.unitOf(uri);
      const parsed = unit?.sources.get(uri);
      if (!unit || !parsed) throw new Error('an open document has a unit');
      const position = { line, character };
      const found = await diagnosticsOf(unit);
      for (const { range } of [...found.values()].flat()) expect(range.start.line).toBeLessThan(document.lineCount);
      await hover(unit, uri, position);
      await completion(unit, uri, position);
      await definition(workspace, uri, position);
      await references(workspace, uri, position, true);
      highlights(unit, uri, position);
      expect(semanticTokens(unit, parsed).data.length % 5).toBe(0);
      for (const symbol of documentSymbols(parsed)) expect(symbol.range.end.line).toBeLessThan(document.lineCount);
      for (const range of foldingRanges(parsed)) expect(range.endLine).toBeGreaterThan(range.startLine);
    }),
    { numRuns: 300 },
  );
});
