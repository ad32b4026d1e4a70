/** The adapter as a process of its own: DAP on standard input and output. */
import { createInProcessAdapter } from '../in-process.ts';
import { nodeFiles } from './file-reader.ts';

const adapter = createInProcessAdapter(nodeFiles);
adapter.on('close', () => process.exit(0));
adapter.on('error', () => process.exit(1));
adapter.start(process.stdin, process.stdout);
