import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { QEMU_SAMPLES, SAMPLES } from './judges.ts';

interface LaunchFile {
  readonly configurations: readonly { readonly program: string }[];
}

const NAMES = [...QEMU_SAMPLES, 'tiny-hypervisor', 'broken-hypervisors', 'c-hypervisor'];
const read = (...names: string[]): LaunchFile => JSON.parse(readFileSync(path.join(SAMPLES, ...names), 'utf8'));
const [first, ...shared] = read('.vscode/launch.json').configurations;

test('F5 alone debugs the open program, with the configuration beside it', () => {
  expect(first?.program).toBe(`\${file}`);
});

test('the workspace has a configuration for each sample, and no other', () => {
  const folders = shared.map(({ program }) => program.split('/')[1]);
  expect(folders.sort()).toEqual([...NAMES].sort());
});

test.each(NAMES)("%s: the folder's launch.json is the workspace's, and its program exists", (name) => {
  const [configuration] = read(name, 'launch.json').configurations;
  expect(shared).toContainEqual(configuration);
  const program = configuration?.program.replace(/^\$\{workspaceFolder\}/, SAMPLES) ?? '';
  expect(existsSync(program), program).toBe(true);
});
