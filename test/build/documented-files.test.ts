/** What the documentation and comments name by a path is there. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';

const ROOT = new URL('../../', import.meta.url).pathname;
const NOT_OURS = new Set(['node_modules', 'dist', 'out', '.git', '.cache']);
/** In Markdown all names of files stand in backquotes; in code a path has a folder, so that words with a dot are none. */
const IN_MARKDOWN = /`([\w./-]+\.(?:ts|mjs|asm|inc|md))`/gu;
const IN_COMMENT = /^\s*(?:\/?\*|\/\/).*?([\w-]+(?:\/[\w-]+)*\/[\w-]+\.ts)\b/gmu;

const files = readdirSync(ROOT)
  .filter((name) => !NOT_OURS.has(name))
  .flatMap((name) => {
    if (!statSync(path.join(ROOT, name)).isDirectory()) return [name];
    const within = readdirSync(path.join(ROOT, name), { recursive: true, encoding: 'utf8' });
    return within.map((file) => `${name}/${file.replaceAll(path.sep, '/')}`);
  });
/** `NAME.asm` stands for any. */
const isPlaceholder = (name: string): boolean => /(?:^|\/)[A-Z]+\.(?!md$)/u.test(name);
const exists = (name: string): boolean => files.some((file) => file === name || file.endsWith(`/${name}`));

function missing(extension: string, names: RegExp): string[] {
  return files
    .filter((file) => file.endsWith(extension))
    .flatMap((file) =>
      [...readFileSync(path.join(ROOT, file), 'utf8').matchAll(names)]
        .map(([, name = '']) => name.replace(/^(?:\.{1,2}\/)+/u, ''))
        .filter((name) => !isPlaceholder(name) && !exists(name))
        .map((name) => `${file}: ${name}`),
    );
}

test('files named in Markdown exist', () => {
  expect(missing('.md', IN_MARKDOWN)).toEqual([]);
});
test('files named in comments exist', () => {
  expect(missing('.ts', IN_COMMENT)).toEqual([]);
});
