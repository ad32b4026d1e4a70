import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { complaintsAbout, importsOf } from '../../scripts/check-imports.mjs';

const script = fileURLToPath(new URL('../../scripts/check-imports.mjs', import.meta.url));

/** Runs the command on a made-up source tree. */
function check(files: Record<string, string>) {
  const root = mkdtempSync(join(tmpdir(), 'ringside-imports-'));
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  const { status, stderr } = spawnSync(process.execPath, [script, root], { encoding: 'utf8' });
  rmSync(root, { recursive: true });
  return { status, stderr };
}

describe('the import check', () => {
  it('accepts imports that go downwards', () => {
    const tree = {
      'engine/index.ts': "export * from './machine/machine.ts';",
      'engine/machine/machine.ts': "import { Cpu } from '../cpu/cpu.ts';\nimport { Decoder } from 'iced-x86';",
      'debug-adapter/engine-target.ts': "import { Machine } from '../engine/index.ts';",
      'debug-adapter/node/main.ts': "import { readFileSync } from 'node:fs';",
      'extension/extension-node.ts':
        "import type { T } from '../debug-adapter/protocol/t.ts';\nimport * as vscode from 'vscode';",
      'extension/language-server/check.ts': "import { assemble } from '../../debug-adapter/assembler/index.ts';",
    };
    expect(check(tree)).toEqual({ status: 0, stderr: '' });
  });

  it('fails on one that goes upwards, naming file and line', () => {
    const { status, stderr } = check({ 'engine/cpu/cpu.ts': "\nimport { S } from '../../debug-adapter/session.ts';" });
    expect(status).toBe(1);
    expect(stderr).toContain('engine/cpu/cpu.ts:2: imports ../../debug-adapter/session.ts');
  });

  it.each([
    ['engine to extension', 'engine/cpu/a.ts', '../../extension/b.ts'],
    ['engine to Node', 'engine/cpu/a.ts', 'node:fs'],
    ['engine to Node, old spelling', 'engine/cpu/a.ts', 'fs'],
    ['engine to vscode', 'engine/cpu/a.ts', 'vscode'],
    ['engine to another package', 'engine/cpu/a.ts', 'elfinfo'],
    ['engine against its own order', 'engine/cpu/a.ts', '../machine/b.ts'],
    ['engine to its own door', 'engine/cpu/a.ts', '../index.ts'],
    ['a folder that the design does not have', 'engine/misc/a.ts', '../expr/b.ts'],
    ['debug-adapter past the door', 'debug-adapter/a.ts', '../engine/cpu/b.ts'],
    ['debug-adapter to extension', 'debug-adapter/a.ts', '../extension/b.ts'],
    ['debug-adapter to vscode', 'debug-adapter/a.ts', 'vscode'],
    ['the adapter’s core to Node', 'debug-adapter/a.ts', 'node:fs'],
    ['extension into the adapter', 'extension/a.ts', '../debug-adapter/session.ts'],
    ['extension to the engine', 'extension/a.ts', '../engine/index.ts'],
    ['extension to protocol for a value', 'extension/a.ts', '../debug-adapter/protocol/b.ts'],
    ['a webview to vscode', 'extension/webview/a.ts', 'vscode'],
  ])('refuses %s', (_, file, specifier) => {
    expect(complaintsAbout(file, `import { x } from '${specifier}';`)).toHaveLength(1);
  });

  it('finds every way to write an import, and no import in a comment', () => {
    const text = [
      "import 'a';",
      "import type { B } from 'b';",
      'import {',
      '  c,',
      "} from 'c';",
      "export * from 'd';",
      "const e = await import('e');",
      "// import 'f';",
      " * import { g } from 'g';",
      "export const h = 'h';",
    ].join('\n');
    expect(importsOf(text)).toEqual([
      { specifier: 'a', typesOnly: false, line: 1 },
      { specifier: 'b', typesOnly: true, line: 2 },
      { specifier: 'c', typesOnly: false, line: 5 },
      { specifier: 'd', typesOnly: false, line: 6 },
      { specifier: 'e', typesOnly: false, line: 7 },
    ]);
  });
});
