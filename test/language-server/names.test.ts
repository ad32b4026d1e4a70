/** What the language server knows of names: definitions, references, renaming. */
import { describe, expect, it } from 'vitest';
import type { DocumentHighlight, Location, WorkspaceEdit } from 'vscode-languageserver-protocol';
import { opened, uri } from './opened.ts';

const program = `bits 64
‹start›start:
        call    ‹use›helper
‹local›.again:
        jmp     ‹jump›.again
        jmp     start.again
helper:
        dec     ecx
        jnz     start
        ret
`;

describe('names', () => {
  it('goes to definitions, local ones too', async () => {
    const { client, at } = await opened(program);
    const definition = (mark: string) => client.at<Location[]>('textDocument/definition', uri, at(mark));
    expect((await definition('use'))[0]?.range.start).toEqual({ line: 6, character: 0 });
    expect((await definition('jump'))[0]?.range.start).toEqual({ line: 3, character: 0 });
  });

  it('goes to a definition in an included file, and to the file', async () => {
    const include = 'file:///work/lib.inc';
    const { client, at } = await opened('%include "‹file›lib.inc"\n call ‹use›helper\n', {
      [include]: '\nhelper: ret\n',
    });
    const [found] = await client.at<Location[]>('textDocument/definition', uri, at('use'));
    expect(found).toMatchObject({ uri: include, range: { start: { line: 1, character: 0 } } });
    const [file] = await client.at<Location[]>('textDocument/definition', uri, at('file'));
    expect(file?.uri).toBe(include);
  });

  it('goes to a label that a macro defines', async () => {
    const { client, at } = await opened('%macro routine 1\n%1: ret\n%endmacro\n routine print\n call ‹use›print\n');
    const [found] = await client.at<Location[]>('textDocument/definition', uri, at('use'));
    expect(found?.range.start).toEqual({ line: 3, character: 9 });
  });

  it('knows the labels of a macro apart', async () => {
    const macro = (name: string, mark: string) => `%macro ${name} 0\n jmp ‹${mark}›%%done\n%%done:\n%endmacro\n`;
    const { client, at, text } = await opened(macro('one', 'first') + macro('two', 'second'));
    const [found] = await client.at<Location[]>('textDocument/definition', uri, at('second'));
    expect(found?.range.start).toEqual({ line: 6, character: 0 });
    const edit = await client.at<WorkspaceEdit>('textDocument/rename', uri, at('first'), { newName: '%%end' });
    const lines = text.split('\n');
    expect(applied(text, edit)).toBe(
      [...lines.slice(0, 4).join('\n').replaceAll('%%done', '%%end').split('\n'), ...lines.slice(4)].join('\n'),
    );
  });

  it('finds references with and without the definition', async () => {
    const { client, at } = await opened(program);
    const lines = async (includeDeclaration: boolean) =>
      (
        await client.at<Location[]>('textDocument/references', uri, at('local'), { context: { includeDeclaration } })
      ).map(({ range }) => range.start.line);
    expect(await lines(true)).toEqual([3, 4, 5]);
    expect(await lines(false)).toEqual([4, 5]);
  });

  it('highlights with the definition as a write', async () => {
    const { client, at } = await opened(program);
    const found = await client.at<DocumentHighlight[]>('textDocument/documentHighlight', uri, at('start'));
    expect(found.map(({ range, kind }) => [range.start.line, kind])).toEqual([
      [1, 3],
      [8, 2],
    ]);
  });

  it('renames a label, also in front of its local ones', async () => {
    const { client, at, text } = await opened(program);
    const edit = await client.at<WorkspaceEdit>('textDocument/rename', uri, at('start'), { newName: 'entry' });
    expect(applied(text, edit)).toBe(text.replaceAll('start', 'entry'));
  });

  it('renames a local label with its dot', async () => {
    const { client, at, text } = await opened(program);
    const edit = await client.at<WorkspaceEdit>('textDocument/rename', uri, at('jump'), { newName: '.round' });
    expect(applied(text, edit)).toBe(text.replaceAll('.again', '.round'));
  });

  it.each([
    ['helper', "'helper' is already defined"],
    ['mov', "'mov' is a word"],
    ['2nd', 'expected a name'],
  ])('refuses to rename to %s', async (newName, message) => {
    const { client, at } = await opened(program);
    await expect(client.at('textDocument/rename', uri, at('start'), { newName })).rejects.toThrow(message);
  });

  it('refuses to rename what is no name', async () => {
    const { client } = await opened(program);
    await expect(client.at('textDocument/prepareRename', uri, { line: 7, character: 9 })).rejects.toThrow(
      'expected a label',
    );
  });
});

function applied(text: string, edit: WorkspaceEdit): string {
  const lines = text.split('\n');
  const edits = [...(edit.changes?.[uri] ?? [])].sort(
    (a, b) => b.range.start.line - a.range.start.line || b.range.start.character - a.range.start.character,
  );
  for (const { range, newText } of edits) {
    const line = lines[range.start.line] ?? '';
    lines[range.start.line] = line.slice(0, range.start.character) + newText + line.slice(range.end.character);
  }
  return lines.join('\n');
}
