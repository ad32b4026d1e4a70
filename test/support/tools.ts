import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { describe } from 'vitest';
import { requireAll } from './chromium.ts';

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Path of a program of this machine (nasm, qemu-system-x86_64, …), or undefined. */
export function toolPath(name: string): string | undefined {
  const folders = (process.env.PATH ?? '').split(delimiter).filter((folder) => folder !== '');
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

/** `describe` for tests that need other programs: skipped, saying which, where one is missing and may be. */
export function describeWithTools(tools: readonly string[], name: string, body: () => void): void {
  const missing = tools.filter((tool) => toolPath(tool) === undefined);
  if (missing.length === 0 || requireAll) {
    describe(name, body);
    return;
  }
  console.warn(`skipped: ${name} (not installed: ${missing.join(', ')})`);
  describe.skip(`${name} (needs ${missing.join(', ')})`, body);
}
