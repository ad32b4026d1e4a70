/** Ring and mode of the focused vCPU in the status bar, while a guest is being debugged. */
import * as vscode from 'vscode';
import type { DebugModel } from './session/debug-model.ts';
import { modeInShort } from './views/cpu-mode.ts';

export class ModeStatus implements vscode.Disposable {
  readonly #item: vscode.StatusBarItem;
  readonly #model: DebugModel;
  readonly #subscriptions: vscode.Disposable[];

  constructor(model: DebugModel) {
    this.#model = model;
    this.#item = vscode.window.createStatusBarItem('ringside.mode', vscode.StatusBarAlignment.Left, 40);
    this.#item.name = 'Ringside: CPU Mode';
    this.#item.command = 'ringside.cpuMode.focus';
    this.#subscriptions = [this.#item, model.onDidChange(() => void this.#show())];
  }

  dispose(): void {
    for (const subscription of this.#subscriptions) subscription.dispose();
  }

  async #show(): Promise<void> {
    const isWanted = vscode.workspace.getConfiguration('ringside').get('statusBar.enabled', true);
    if (!this.#model.session || !isWanted) this.#item.hide();
    else if (this.#model.isStopped) await this.#showMode();
  }

  async #showMode(): Promise<void> {
    const { vcpu } = this.#model;
    try {
      const { vcpus } = await this.#model.ask('ringside/cpuMode', {});
      const mode = vcpus.find((one) => one.vcpu === vcpu);
      if (!mode) return;
      const which = vcpus.length > 1 ? `vCPU ${vcpu}: ` : '';
      this.#item.text = `$(chip) ${which}${modeInShort(mode)}`;
      this.#item.tooltip = `vCPU ${vcpu} at the last stop. Select to see the CPU mode view.`;
      this.#item.show();
    } catch {
      this.#item.hide(); // The session is ending; the views say if something is wrong.
    }
  }
}
