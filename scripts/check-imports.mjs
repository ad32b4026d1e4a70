#!/usr/bin/env node
/**
 * Refuses imports that go upwards: extension → debug-adapter → engine, and inside engine the order of `engineOrder`.
 * Usage: check-imports.mjs [ROOT]. Prints one line per refused import and exits with 1 if there is any.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { dirname, join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folders of engine/: each may import those before it. */
export const engineOrder = [
  'float',
  'expr',
  'wasm',
  'isa',
  'cpu',
  'mmu',
  'vmx',
  'svm',
  'exec',
  'devices',
  'vmm',
  'inspect',
  'machine',
];

const layers = ['engine', 'debug-adapter', 'extension'];
const engineDoor = 'engine/index.ts';
const nodeBuiltins = new Set(builtinModules);

const isNodeBuiltin = (specifier) => specifier.startsWith('node:') || nodeBuiltins.has(specifier);
const isPackage = (specifier, name) => specifier === name || specifier.startsWith(`${name}/`);
const isUnder = (path, ...folders) => folders.some((folder) => path.startsWith(`${folder}/`));

/** Every module specifier in `text`, with its line (from 1) and whether only types are imported. */
export function importsOf(text) {
  const statement = /^[ \t]*(?:import|export)\s+(?:(type)\s)?(?:[^'";]*?\sfrom\s+)?['"]([^'"\n]+)['"]/gm;
  const expression = /\bimport\(\s*['"]([^'"\n]+)['"]/g;
  const line = (index) => text.slice(0, index).split('\n').length;
  return [
    ...Array.from(text.matchAll(statement), (m) => ({
      specifier: m[2],
      typesOnly: m[1] === 'type',
      line: line(m.index + m[0].length),
    })),
    ...Array.from(text.matchAll(expression), (m) => ({ specifier: m[1], typesOnly: false, line: line(m.index) })),
  ];
}

function engineComplaint(file, target) {
  if (!isUnder(target, 'engine')) return 'engine may import nothing above it';
  if (file === engineDoor) return undefined;
  if (target === engineDoor) return 'inside engine, import the file itself, not the public door';
  const from = engineOrder.indexOf(file.split('/')[1]);
  const to = engineOrder.indexOf(target.split('/')[1]);
  if (from < 0 || to < 0) return `expected files of engine in one of its folders: ${engineOrder.join(', ')}`;
  return to > from
    ? `engine/${engineOrder[from]} may import only ${engineOrder.slice(0, from + 1).join(', ')}`
    : undefined;
}

function debugAdapterComplaint(target) {
  if (isUnder(target, 'debug-adapter') || target === engineDoor) return undefined;
  return isUnder(target, 'engine')
    ? `from engine, import ${engineDoor} only`
    : 'debug-adapter may import only engine and itself';
}

function extensionComplaint(file, target, typesOnly) {
  if (isUnder(target, 'extension')) return undefined;
  if (isUnder(target, 'debug-adapter/protocol')) {
    return typesOnly ? undefined : 'debug-adapter/protocol holds types: use `import type`';
  }
  const languageServer = isUnder(file, 'extension/language-server');
  if (languageServer && (isUnder(target, 'debug-adapter/assembler') || target === engineDoor)) return undefined;
  return 'extension may import debug-adapter/protocol (types) and, in language-server, debug-adapter/assembler and engine/index.ts';
}

function relativeComplaint(file, target, typesOnly) {
  if (isUnder(file, 'engine')) return engineComplaint(file, target);
  if (isUnder(file, 'debug-adapter')) return debugAdapterComplaint(target);
  return extensionComplaint(file, target, typesOnly);
}

function packageComplaint(file, specifier) {
  if (isUnder(file, 'engine')) {
    return isPackage(specifier, 'iced-x86') ? undefined : 'engine may import no package but iced-x86';
  }
  if (isUnder(file, 'debug-adapter')) {
    if (isPackage(specifier, 'vscode')) return 'debug-adapter never imports vscode';
    const forNode = isUnder(file, 'debug-adapter/node', 'debug-adapter/cli');
    return isNodeBuiltin(specifier) && !forNode
      ? 'debug-adapter runs in browsers too: only debug-adapter/node and debug-adapter/cli may import Node modules'
      : undefined;
  }
  const withoutVscode = isUnder(file, 'extension/webview', 'extension/language-server');
  return withoutVscode && isPackage(specifier, 'vscode')
    ? 'webviews and the language server run without vscode'
    : undefined;
}

/** The refused imports of one file. `file` is relative to the root, with forward slashes. */
export function complaintsAbout(file, text) {
  return importsOf(text).flatMap(({ specifier, typesOnly, line }) => {
    const relative = specifier.startsWith('.');
    const target = posix.normalize(posix.join(posix.dirname(file), specifier));
    const complaint = relative ? relativeComplaint(file, target, typesOnly) : packageComplaint(file, specifier);
    return complaint === undefined ? [] : [`${file}:${line}: imports ${specifier}: ${complaint}`];
  });
}

function sourceFiles(root, layer) {
  if (!existsSync(join(root, layer))) return [];
  return readdirSync(join(root, layer), { recursive: true })
    .map((name) => posix.join(layer, name.replaceAll('\\', '/')))
    .filter((path) => /\.(?:ts|mts|mjs|js)$/.test(path) && !path.includes('node_modules/'));
}

function main(root) {
  const files = layers.flatMap((layer) => sourceFiles(root, layer));
  const complaints = files.flatMap((file) => complaintsAbout(file, readFileSync(join(root, file), 'utf8')));
  for (const complaint of complaints) console.error(complaint);
  console.log(`${files.length} files, ${complaints.length} refused imports`);
  process.exit(complaints.length === 0 ? 0 : 1);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  main(process.argv[2] ?? join(dirname(fileURLToPath(import.meta.url)), '..'));
}
