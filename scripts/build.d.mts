import type { BuildOptions } from 'esbuild';

export interface Bundle {
  readonly entry: string;
  readonly out: string;
  readonly host: BuildOptions;
}
export const bundles: readonly Bundle[];
export function bundleOptions(bundle: Bundle): BuildOptions & { metafile: true };
