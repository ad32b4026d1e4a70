/** The sample guests that come with the extension. */
import * as vscode from 'vscode';

const samples = [
  ['rings', 'rings.asm', 'Real mode to long mode, ring 0 to 3 and back'],
  ['sensitive', 'sensitive.asm', 'Which sensitive instructions trap in ring 3, and which do not'],
  ['paging', 'paging.asm', 'Pages of 4 KiB, 2 MiB and 1 GiB, and a stale TLB entry'],
  ['tiny-hypervisor', 'tiny-hypervisor.asm', 'VMXON, VMCS, EPT, VM entries and exits, from both sides'],
  ['tiny-svm', 'tiny-svm.asm', 'The same on AMD-V: VMRUN, VMCB, nested paging'],
  ['c-hypervisor', 'main.c', 'A hypervisor in C: a 16-bit and a 64-bit machine, three vCPUs in turn'],
  ['broken-hypervisors', 'host-tr.asm', 'Fourteen classic bugs of hypervisors, and what Ringside shows of each'],
  ['virtio-block', 'virtio-block.asm', 'A virtqueue at work, under the built-in hypervisor'],
  ['c-program', 'main.c', 'Compiled C with line information'],
] as const;

/** Lets the user choose a sample and opens its source and its README beside. */
export async function openSample(extension: vscode.Uri): Promise<void> {
  const items = samples.map(([label, file, description]) => ({ label, file, description }));
  const chosen = await vscode.window.showQuickPick(items, { title: 'Open a Sample Guest', matchOnDescription: true });
  if (!chosen) return;
  const folder = vscode.Uri.joinPath(extension, 'samples', chosen.label);
  await vscode.window.showTextDocument(vscode.Uri.joinPath(folder, chosen.file), { preview: false });
  await vscode.commands.executeCommand('markdown.showPreviewToSide', vscode.Uri.joinPath(folder, 'README.md'));
}
