/** The adapter as a process, driven by the DAP client that VS Code's own adapters are tested with. */
import { resolve } from 'node:path';
import { DebugClient } from '@vscode/debugadapter-testsupport';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type BuiltBundle, buildBundle } from './bundle.ts';

const program = resolve(import.meta.dirname, '../../samples/rings/rings.asm');
let bundle: BuiltBundle;
let client: DebugClient;

beforeAll(async () => {
  bundle = await buildBundle('debug-adapter/node/main.ts');
  client = new DebugClient('node', bundle.path, 'ringside');
  await client.start();
});
afterAll(async () => {
  await client.stop();
  await bundle.dispose();
});

it('launches, stops at a function, steps, and runs to the end', async () => {
  await Promise.all([
    client.waitForEvent('initialized').then(async () => {
      await client.setFunctionBreakpointsRequest({ breakpoints: [{ name: 'real_mode' }] });
      await client.configurationDoneRequest();
    }),
    client.launch({ program, virtualization: 'none' }),
    client.waitForEvent('stopped'),
  ]);
  const { body } = await client.stackTraceRequest({ threadId: 1 });
  expect(body.stackFrames[0]).toMatchObject({ name: 'real_mode', source: { path: program } });
  await Promise.all([client.nextRequest({ threadId: 1 }), client.waitForEvent('stopped')]);
  const [, exited] = await Promise.all([
    client.continueRequest({ threadId: 1 }),
    client.waitForEvent('exited'),
    client.waitForEvent('terminated'),
  ]);
  expect(exited.body).toEqual({ exitCode: 0 });
});
