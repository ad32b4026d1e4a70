import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { FileReader } from '../program/loaded-program.ts';

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file',
  EISDIR: 'a folder',
  EACCES: 'no permission to read it',
  ENOTDIR: 'a file where a folder is expected',
};

/** Files of this computer, by path or `file:` URI. */
export const nodeFiles: FileReader = {
  async read(path) {
    try {
      return await readFile(path.startsWith('file:') ? fileURLToPath(path) : path);
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? String(error.code) : '';
      throw new Error(REASONS[code] ?? (error instanceof Error ? error.message : String(error)));
    }
  },
};
