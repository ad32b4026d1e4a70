/** Ringside's views of virtualization inside VS Code: VM exits from both sides, the VMCS, virtqueues. */
import * as vscode from 'vscode';
import { assert, assertEqual, test } from './runner.ts';
import { breakAt, eventually, openSource, ringside, rowAt, rowsOf, Session } from './session.ts';

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
    await session.run('continue');
    await lookAtExits(session);
    await showViolatedRule();
  } finally {
    await session.end();
  }
});

/** Two exits have taken place: from the list to the instruction of one, and back in time to it. */
async function lookAtExits(session: Session): Promise<void> {
  const exit = await rowAt('exits', '#0 CPUID');
  assert((await rowAt('exits', 'By reason', 'CPUID')).description?.startsWith('1 '), 'one exit by CPUID');
  await vscode.commands.executeCommand('ringside.openRowSource', exit);
  const editor = vscode.window.activeTextEditor;
  const line = editor?.document.lineAt(editor.selection.active.line).text;
  assert(line?.includes('cpuid'), `the instruction that exited, found ${line}`);
  const stop = await session.after(() => vscode.commands.executeCommand('ringside.goToExit', exit));
  assert(stop.text?.includes('CPUID'), JSON.stringify(stop));
  assertEqual((await rowsOf('exits')).length, 2, 'the exit that was gone back to, and the sums');
}

/** A field is broken; the rule that this breaks leads to the field. */
async function showViolatedRule(): Promise<void> {
  const tree = (await ringside()).trees['ringside.vmcs'];
  const check = await rowAt('vmcs', 'VMRESUME now');
  assertEqual(check.description, 'passes all checks', 'VM entry');
  await vscode.debug.activeDebugSession?.customRequest('ringside/setVmcsField', { field: 'Guest RFLAGS', value: '0' });
  const rule = await eventually(() => rowAt('vmcs', 'VMRESUME now', 'Guest RFLAGS = 0x0'));
  await vscode.commands.executeCommand('ringside.vmcs.showField', rule);
  assertEqual(tree?.selection[0]?.label, 'Guest RFLAGS', 'the row that is selected');
}

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
