/** Links from the file names after %include and INCBIN. */
import type { DocumentLink } from 'vscode-languageserver';
import type { ParsedSource } from '../../debug-adapter/assembler/index.ts';
import { toRange } from './positions.ts';
import type { Workspace } from './workspace.ts';

/** Only for files that are there. */
export async function documentLinks(workspace: Workspace, source: ParsedSource): Promise<DocumentLink[]> {
  const links: DocumentLink[] = [];
  for (const { path, range } of source.includes) {
    const target = await workspace.resolve(path, source.file);
    const { start, end } = toRange(range);
    const inside = {
      start: { ...start, character: start.character + 1 },
      end: { ...end, character: end.character - 1 },
    };
    if (target !== undefined) links.push({ range: inside, target, tooltip: path });
  }
  return links;
}
