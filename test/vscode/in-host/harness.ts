import * as vscode from 'vscode';
import { assert, assertEqual, once, test } from './runner.ts';

const uiKind = () => (vscode.env.uiKind === vscode.UIKind.Web ? 'web' : 'desktop');

test('the mock debugger is installed and the workspace is open', () => {
  assert(vscode.extensions.getExtension('ringside.mock-debugger'), 'the extension mock-debugger');
  assertEqual(
    vscode.workspace.workspaceFolders?.map(({ name }) => name),
    ['workspace'],
    'workspace folders',
  );
  assertEqual(uiKind(), 'web', 'kind of window');
});

test('a session starts, stops and ends', async () => {
  const folder = vscode.workspace.workspaceFolders?.[0];
  assert(folder, 'a workspace folder');
  const stopped = once(vscode.debug.onDidChangeActiveStackItem, (item) => item !== undefined, 'a stop');
  assert(await vscode.debug.startDebugging(folder, 'Mock program'), 'the session to start');
  await stopped;
  const session = vscode.debug.activeDebugSession;
  assert(session, 'an active session');
  assertEqual(
    await session.customRequest('evaluate', { expression: 'x' }),
    { result: 'x = 1', variablesReference: 0 },
    'evaluate',
  );
  const ended = once(vscode.debug.onDidTerminateDebugSession, ({ id }) => id === session.id, 'the end of the session');
  await vscode.debug.stopDebugging(session);
  await ended;
});

test('this one fails, to prove that a failure is seen', () => {
  assertEqual(1, 2, 'one and two');
});
