import { fileURLToPath } from 'node:url';
import { describeInHost } from './in-host.ts';

const workspace = fileURLToPath(new URL('../../samples', import.meta.url));

await describeInHost({ suite: 'debug-views', host: 'web', workspace });
// await describeInHost({ suite: 'debug-views', host: 'node', workspace });
