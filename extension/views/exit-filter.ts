/** Which VM exits the view shows: those of the reasons picked, for as long as VS Code runs. */
import * as vscode from 'vscode';
import type { DebugModel } from '../session/debug-model.ts';
import { hex } from './text.ts';

const isFilteredKey = 'ringside.exits.isFiltered';

export class ExitFilter {
  readonly #model: DebugModel;
  #reasons: readonly number[] = [];

  constructor(model: DebugModel) {
    this.#model = model;
  }

  /** Basic exit reasons or exit codes; none for all. */
  get reasons(): readonly number[] {
    return this.#reasons;
  }

  /** Lets the user pick from the reasons that have occurred. */
  async pick(): Promise<void> {
    const { reasons, structure } = await this.#model.request('ringside/exitLog', { limit: 0 });
    const items = reasons.map(({ reason, name, count }) => ({
      label: name,
      description: `${structure === 'VMCB' ? hex(reason) : reason} · ${count}`,
      picked: this.#reasons.includes(reason),
      reason,
    }));
    const placeHolder = 'Show VM exits with these reasons only';
    const picked = await vscode.window.showQuickPick(items, { canPickMany: true, placeHolder });
    if (picked) this.show(picked.map(({ reason }) => reason));
  }

  show(reasons: readonly number[]): void {
    this.#reasons = reasons;
    void vscode.commands.executeCommand('setContext', isFilteredKey, reasons.length > 0);
    this.#model.refresh();
  }
}
