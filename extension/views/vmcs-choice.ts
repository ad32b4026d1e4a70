/** Which VMCS the view shows, and since which VM exit it shows differences: of the session, until something else is chosen. */
import * as vscode from 'vscode';
import type { DebugModel } from '../session/debug-model.ts';
import type { VmcsShown } from './vmcs.ts';

const isOtherKey = 'ringside.vmcs.isOther';
const isComparedKey = 'ringside.vmcs.isCompared';
/** So many exits are offered. */
const OFFERED = 500;

export class VmcsChoice {
  readonly #model: DebugModel;
  #sessionId: string | undefined;
  #shown: VmcsShown = {};

  constructor(model: DebugModel) {
    this.#model = model;
  }

  get shown(): VmcsShown {
    return this.#sessionId === this.#model.session?.id ? this.#shown : {};
  }

  /** Another VMCS than the current one; without an address, the current one. */
  show(address?: string): void {
    this.#choose({ address });
  }

  /** Lets the user pick the exit since which differences are to be shown. */
  async compare(): Promise<void> {
    const { address } = this.shown;
    const { vmcs } = await this.#model.request('ringside/vmcs', address === undefined ? {} : { address });
    if (!vmcs) throw new Error('no VMCS is current; there is nothing to compare');
    const { exits } = await this.#model.request('ringside/exitLog', { limit: OFFERED });
    const items = exits
      .filter((exit) => exit.vmcs === vmcs.address)
      .map(({ number, name, subject, symbol }) => ({
        label: `#${number} ${name}`,
        description: [subject, symbol ?? ''].filter((word) => word !== '').join(' · '),
        number,
      }));
    if (items.length === 0) throw new Error(`no VM exit with the VMCS at ${vmcs.address} is in the log`);
    const placeHolder = 'Compare the VMCS with itself just after which VM exit?';
    const picked = await vscode.window.showQuickPick(items, { placeHolder, matchOnDescription: true });
    if (picked) this.since(picked.number);
  }

  /** Shows differences since an exit, or none. */
  since(exit?: number): void {
    this.#choose({ ...this.shown, since: exit });
  }

  #choose(shown: VmcsShown): void {
    this.#sessionId = this.#model.session?.id;
    this.#shown = shown;
    void vscode.commands.executeCommand('setContext', isOtherKey, shown.address !== undefined);
    void vscode.commands.executeCommand('setContext', isComparedKey, shown.since !== undefined);
    this.#model.refresh();
  }
}
