import { fileURLToPath } from 'node:url';
import { describeInHost } from './in-host.ts';

const workspace = fileURLToPath(new URL('../../samples', import.meta.url));

for (const host of ['web', 'node'] as const) {
  for (const suite of ['debug-views', 'vmx-views']) await describeInHost({ suite, host, workspace });
}
