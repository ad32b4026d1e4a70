import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { afterAll, expect, it } from 'vitest';
import {
  createProtocolConnection,
  DidOpenTextDocumentNotification,
  HoverRequest,
  InitializeRequest,
  PublishDiagnosticsNotification,
  StreamMessageReader,
  StreamMessageWriter,
} from 'vscode-languageserver-protocol/node';
import { bundleOptions, bundles } from '../../scripts/build.mjs';

const folder = mkdtempSync(join(tmpdir(), 'language-server-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it('serves as a process of its own, as it is shipped, reading included files itself if the client cannot', async () => {
  const bundle = bundles.find(({ entry }) => entry === 'extension/language-server/node-main.ts');
  if (!bundle) throw new Error('the language server is not among the bundles');
  const outfile = join(folder, 'language-server.js');
  await build({ ...bundleOptions(bundle), outfile, sourcemap: false });
  writeFileSync(join(folder, 'lib.inc'), 'helper: ret\n');
  const server = spawn(process.execPath, [outfile, '--stdio'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const connection = createProtocolConnection(
    new StreamMessageReader(server.stdout),
    new StreamMessageWriter(server.stdin),
  );
  const checked = new Promise((resolve) =>
    connection.onNotification(PublishDiagnosticsNotification.type, ({ diagnostics }) => resolve(diagnostics)),
  );
  connection.listen();
  await connection.sendRequest(InitializeRequest.type, { processId: null, rootUri: null, capabilities: {} });
  const uri = pathToFileURL(join(folder, 'guest.asm')).href;
  const text = 'bits 64\n%include "lib.inc"\n  call helper\n';
  await connection.sendNotification(DidOpenTextDocumentNotification.type, {
    textDocument: { uri, languageId: 'nasm', version: 1, text },
  });
  expect(await checked).toEqual([]);
  const hover = await connection.sendRequest(HoverRequest.type, {
    textDocument: { uri },
    position: { line: 2, character: 3 },
  });
  expect(JSON.stringify(hover)).toContain('Call Procedure');
  const ended = new Promise((resolve) => server.on('exit', resolve));
  await connection.sendRequest('shutdown');
  await connection.sendNotification('exit');
  expect(await ended).toBe(0);
});
