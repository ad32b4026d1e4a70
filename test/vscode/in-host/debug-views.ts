/** Ringside's views inside VS Code, on the samples, in whichever extension host runs this. */
import * as vscode from 'vscode';
import { assert, assertEqual, test } from './runner.ts';
import { breakAt, openSource, ringside, rowAt, rowsOf, Session, samplesFolder } from './session.ts';

const debugFile = () => vscode.commands.executeCommand('ringside.debugFile');
const mode = async (row: string) => (await rowAt('cpuMode', row)).description;

test('opening a source makes it NASM, and starts the extension', async () => {
  const document = await openSource('rings/rings.asm');
  assertEqual(document.languageId, 'nasm', 'language');
  await ringside();
  assertEqual(await rowsOf('cpuMode'), [], 'rows without a session');
});

test('a program is debugged without a launch.json: rings, from real mode to ring 3', async () => {
  const document = await openSource('rings/rings.asm');
  for (const marker of ['STOP HERE: real mode', 'STOP HERE: protected mode', 'STOP HERE: ring 3']) {
    breakAt(document, marker);
  }
  const session = await Session.start(debugFile);
  try {
    await session.run('continue');
    assertEqual(await mode('Ring'), '0 (kernel)', 'ring');
    assert((await mode('Operating mode'))?.toLowerCase().includes('real'), 'real mode');
    await session.run('continue');
    assert((await mode('Operating mode'))?.toLowerCase().includes('protected'), 'protected mode');
    await session.run('continue');
    assertEqual(await mode('Ring'), '3 (user)', 'ring');
    assert((await mode('Operating mode'))?.includes('64-bit'), '64-bit mode');
  } finally {
    await session.end();
  }
  assertEqual(await rowsOf('cpuMode'), [], 'rows after the session');
});

test('F5 on an open source, or a part of it, takes the configuration beside it', async () => {
  for (const [file, program, virtualization] of [
    ['virtio-block/virtio-block.asm', 'virtio-block.asm', 'hardware'],
    ['tiny-hypervisor/vmcs.inc', 'tiny-hypervisor.asm', 'none'],
    ['c-hypervisor/main.c', 'c-hypervisor.elf', 'none'],
  ] as const) {
    await openSource(file);
    const session = await Session.start(() => vscode.debug.startDebugging(samplesFolder(), 'Debug the open program'));
    try {
      const configuration = vscode.debug.activeDebugSession?.configuration;
      assertEqual(configuration?.virtualization, virtualization, 'virtualization');
      assert(configuration?.program.endsWith(`/${program}`), `the program, found ${configuration?.program}`);
    } finally {
      await session.end();
    }
  }
});

test('F5 without a program ends at once, whatever becomes of the message, so that the next F5 works', async () => {
  await vscode.commands.executeCommand('workbench.action.closeAllEditors');
  const started = await vscode.debug.startDebugging(samplesFolder(), 'Debug the open program');
  assertEqual(started, false, 'whether a session has started');
  await openSource('rings/rings.asm');
  const session = await Session.start(() => vscode.debug.startDebugging(samplesFolder(), 'Debug the open program'));
  await session.end();
});

test('paging: the stale TLB entry is marked; the Translation panel and the page tables show the walk', async () => {
  const document = await openSource('paging/paging.asm');
  breakAt(document, 'STOP HERE: the TLB view marks the entry as stale');
  const session = await Session.start(() =>
    vscode.debug.startDebugging(samplesFolder(), 'paging: page sizes and a stale TLB entry'),
  );
  try {
    await session.run('continue');
    const entry = await rowAt('tlb', 'Linear mappings', '0x0000008000000000');
    assertEqual(entry.icon, 'warning', 'icon of the stale entry');
    assert(entry.description?.includes('the tables now map the page to physical address'), 'the reason');

    const { translation } = await ringside();
    await vscode.commands.executeCommand('ringside.translateAddress', '0x8000000000');
    const shown = translation.shown;
    assert(shown?.kind === 'answer', `an answer, found ${JSON.stringify(shown)}`);
    const view = shown.answer.translation;
    assertEqual(
      view.steps.map(({ level, index }) => `${level} ${index}`),
      ['PML4E 1', 'PDPTE 0', 'PDE 0', 'PTE 0'],
      'steps',
    );
    assertEqual(view.pageBytes, { guest: 4096, effective: 4096 }, 'page size');
    assert(view.cached?.stale, 'the stale mapping in the answer');

    const pte = await rowAt('pageTables', 'Guest paging', 'PML4E 1', 'PDPTE 0', 'PDE 0', 'PTE 0');
    assert(pte.description?.includes('4 KiB page'), `a 4 KiB page, found ${pte.description}`);
    const huge = await rowAt('pageTables', 'Guest paging', 'PML4E 1', 'PDPTE 1');
    assert(huge.description?.includes('1 GiB page 0x0'), `a 1 GiB page, found ${huge.description}`);
    assert((await rowAt('pageTables', 'EPT')).description, 'why there is no EPT');

    assert(pte.memory, 'the memory of the PTE');
    await vscode.commands.executeCommand('ringside.showRowMemory', pte);
    const editor = vscode.window.activeTextEditor;
    assertEqual(editor?.document.uri.scheme, 'ringside-memory', 'what is open');
    const firstBytes = editor?.document.lineAt(0).text.split(/\s+/)[1];
    assertEqual(firstBytes, pte.value?.slice(-2), 'the lowest byte of the PTE in memory');

    await vscode.commands.executeCommand('ringside.breakOnWrite', pte);
    const added = vscode.debug.breakpoints.find((one) => one instanceof vscode.FunctionBreakpoint);
    assert(added instanceof vscode.FunctionBreakpoint, 'a breakpoint on the PTE');
    assertEqual(added.functionName, `write qword ${pte.memory.replace(':', ':[')}]`, 'what it says');
    vscode.debug.removeBreakpoints([added]);
  } finally {
    await session.end();
  }
});

test('values are copied and views are written out', async () => {
  await openSource('rings/rings.asm');
  const session = await Session.start(debugFile);
  try {
    const row = await rowAt('cpuMode', 'Ring');
    await vscode.commands.executeCommand('ringside.copyValue', row);
    assertEqual(
      await (await ringside()).trees['ringside.cpuMode']?.text().then((text) => text.split('\n')[1]),
      'Ring\t0 (kernel)',
      'text',
    );
  } finally {
    await session.end();
  }
});

test('a sample that comes with the extension is debugged where it lies, with its own configuration', async () => {
  const extension = vscode.extensions.getExtension('ringside.ringside');
  assert(extension, 'the extension');
  const program = vscode.Uri.joinPath(extension.extensionUri, 'samples/virtio-block/virtio-block.asm');
  const session = await Session.start(() => vscode.commands.executeCommand('ringside.debugFile', program));
  try {
    assertEqual(session.session.configuration.virtualization, 'hardware', 'virtualization');
    assert((await rowsOf('virtqueues')).length > 0, 'virtio devices');
  } finally {
    await session.end();
  }
});

test('each of several vCPUs has its rows', async () => {
  const program = (await openSource('rings/rings.asm')).uri;
  const path = program.scheme === 'file' ? program.fsPath : program.toString();
  const configuration = { type: 'ringside', name: 'two', request: 'launch', program: path, cpus: 2, stopOnEntry: true };
  const session = await Session.start(() => vscode.debug.startDebugging(samplesFolder(), configuration));
  try {
    assertEqual(
      (await rowsOf('cpuMode')).map(({ label }) => label),
      ['vCPU 0', 'vCPU 1'],
      'rows',
    );
    assertEqual((await rowAt('cpuMode', 'vCPU 1', 'Ring')).description, '0 (kernel)', 'ring of the second');
  } finally {
    await session.end();
  }
});
