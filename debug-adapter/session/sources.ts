import type { DebugProtocol as P } from '@vscode/debugprotocol';
import { fileNameOf } from '../program/source-path.ts';

/** A source file as the client knows it. */
export function sourceOf(path: string): P.Source {
  return { name: fileNameOf(path), path };
}
