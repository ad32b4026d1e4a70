/** Ringside's views of virtualization inside VS Code: VM exits from both sides, the VMCS, virtqueues. */
import * as vscode from 'vscode';
import { assert, assertEqual, test } from './runner.ts';
import { breakAt, openSource, ringside, rowAt, rowsOf, Session } from './session.ts';

const debugFile = () => vscode.commands.executeCommand('ringside.debugFile');
const mode = async (row: string) => (await rowAt('cpuMode', row)).description;

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

    const { translation } = await ringside();
    await vscode.commands.executeCommand('ringside.translateAddress', 'rip');
    const shown = translation.shown;
    assert(shown?.kind === 'answer', `an answer, found ${JSON.stringify(shown)}`);
    assertEqual(shown.answer.translation.finalSteps.length > 1, true, 'EPT steps');
    assert((await rowAt('pageTables', 'EPT', 'PML4E 0')).memory?.startsWith('hpa:'), 'the EPT tree');

    breakAt(document, 'STOP HERE: every VM exit comes through here');
    await session.run('continue');
    assertEqual(await mode('VMX operation'), 'root (the hypervisor)', 'after the VM exit');
    const reason = await rowAt('vmcs', 'VM-Exit Information', 'Exit reason');
    assert(reason.description?.includes('changed'), `a changed exit reason, found ${reason.description}`);
  } finally {
    await session.end();
  }
});

test('a VM exit with a condition and a sensitive instruction stop the guest, and say what they are', async () => {
  await openSource('tiny-hypervisor/tiny-hypervisor.asm');
  const exits = await Session.start(debugFile);
  try {
    await exits.stopAt('vm-exit', 'reason == 48');
    const stop = await exits.run('continue');
    assert(stop.description?.includes('EPT violation') || stop.text?.includes('EPT violation'), JSON.stringify(stop));
    assert((await rowAt('vmcs', 'VM-Exit Information', 'Exit reason')).value === '0x00000030', 'the exit reason');
    assertEqual(await mode('VMX operation'), 'root (the hypervisor)', 'after the VM exit');
  } finally {
    await exits.end();
  }
  await openSource('sensitive/sensitive.asm');
  const sensitive = await Session.start(debugFile);
  try {
    await sensitive.stopAt('sensitive-instruction', 'ring == 3');
    const stop = await sensitive.run('continue');
    assert(/sensitive/i.test(`${stop.description} ${stop.text}`), JSON.stringify(stop));
    assertEqual(await mode('Ring'), '3 (user)', 'ring');
  } finally {
    await sensitive.end();
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
