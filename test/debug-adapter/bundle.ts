/** Builds a shipped bundle into a temporary folder, with the options of the build. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { bundleOptions, bundles } from '../../scripts/build.mjs';

export interface BuiltBundle {
  readonly path: string;
  dispose(): Promise<void>;
}

export async function buildBundle(entry: string): Promise<BuiltBundle> {
  const bundle = bundles.find((one) => one.entry === entry);
  if (bundle === undefined) throw new Error(`no bundle of ${entry}`);
  const folder = await mkdtemp(join(tmpdir(), 'ringside-'));
  const path = join(folder, 'bundle.cjs');
  await build({ ...bundleOptions(bundle), outfile: path });
  return { path, dispose: () => rm(folder, { recursive: true, force: true }) };
}
