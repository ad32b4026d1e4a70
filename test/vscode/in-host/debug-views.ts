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
  } finally {
    await session.end();
  }
});

test('tiny-hypervisor: into the guest, over a VM exit into root mode and back; VMCS and the nested walk', async () => {
  const document = await openSource('tiny-hypervisor/tiny-hypervisor.asm');
  breakAt(document, 'STEP INTO: VMX root → non-root');
  const session = await Session.start(debugFile);
  try {
    await session.run('continue');
    assertEqual(await mode('VMX operation'), 'root (the hypervisor)', 'before VMLAUNCH');
    assert((await rowAt('cpuMode', 'Current VMCS')).memory?.startsWith('hpa:0x'), 'where the VMCS lies');
    await session.run('stepInto');
    assertEqual(await mode('VMX operation'), 'non-root (the guest of a hypervisor)', 'after VMLAUNCH');
    const groups = await rowsOf('vmcs');
    assert(groups.length > 5, `the groups of the VMCS, found ${groups.map(({ label }) => label).join(', ')}`);
    assert(
      groups.some(({ description }) => description?.includes('changed')),
      'a group with changed fields',
    );

    const { translation } = await ringside();
    await vscode.commands.executeCommand('ringside.translateAddress', 'rip');
    const shown = translation.shown;
    assert(shown?.kind === 'answer', `an answer, found ${JSON.stringify(shown)}`);
    assertEqual(shown.answer.translation.finalSteps.length > 1, true, 'EPT steps');
    assert((await rowAt('pageTables', 'EPT', 'PML4E 0')).memory?.startsWith('hpa:'), 'the EPT tree');

    breakAt(document, 'STOP HERE: every VM exit comes through here');
    await session.run('continue');
    assertEqual(await mode('VMX operation'), 'root (the hypervisor)', 'after the VM exit');
    const reason = await rowAt('vmcs', 'VM-exit information', 'Exit reason');
    assert(reason.description?.includes('changed'), `a changed exit reason, found ${reason.description}`);
  } finally {
    await session.end();
  }
});

test('virtio-block: a chain in flight', async () => {
  const document = await openSource('virtio-block/virtio-block.asm');
  breakAt(document, 'STOP HERE: the Virtqueues view has a chain in flight');
  const session = await Session.start(debugFile);
  try {
    await session.run('continue');
    const chains = await rowAt('virtqueues', 'virtio-block', 'Queue 0', 'Chains in flight');
    assertEqual(chains.description, '1', 'chains in flight');
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
