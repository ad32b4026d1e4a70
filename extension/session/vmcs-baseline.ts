/** The adapter marks what changed in a VMCS since it was last looked at: looks at each stop, the view open or not. */
import type * as vscode from 'vscode';
import type { DebugModel } from './debug-model.ts';

export const keepVmcsBaseline = (model: DebugModel): vscode.Disposable => model.onDidChange(() => void look(model));

async function look(model: DebugModel): Promise<void> {
  if (!model.isStopped) return;
  try {
    const { vcpus } = await model.ask('ringside/cpuMode', {});
    const mode = vcpus.find(({ vcpu }) => vcpu === model.vcpu);
    if (mode?.currentVmcs !== undefined) await model.ask('ringside/vmcs', {});
  } catch {
    // The session is ending. The VMCS view says what is wrong, if anything is.
  }
}
