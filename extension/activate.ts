/** Puts the extension together; the same in both extension hosts. */
import * as vscode from 'vscode';
import { registerCommands } from './commands.ts';
import { registerConfigurationProviders } from './debug/configuration-provider.ts';
import type { Host } from './host.ts';
import { MemoryDocuments } from './memory/memory-documents.ts';
import { DebugModel, debugType } from './session/debug-model.ts';
import { keepTopFrame } from './session/top-frame.ts';
import { keepVmcsBaseline } from './session/vmcs-baseline.ts';
import { ModeStatus } from './status-bar.ts';
import { TranslationPanel } from './translation/translation-panel.ts';
import { cpuModeView } from './views/cpu-mode.ts';
import { ExitFilter } from './views/exit-filter.ts';
import { exitsView } from './views/exits.ts';
import { pageTablesView } from './views/page-tables.ts';
import type { View } from './views/row.ts';
import { SessionTree } from './views/session-tree.ts';
import { tlbView } from './views/tlb.ts';
import { virtqueuesView } from './views/virtqueues.ts';
import { vmcsView } from './views/vmcs.ts';
import { VmcsChoice } from './views/vmcs-choice.ts';

/** The views by their ids. Each is made anew for each stop, so that a changed setting takes effect. */
const views = (exitFilter: ExitFilter, vmcsChoice: VmcsChoice): Readonly<Record<string, () => View>> => ({
  'ringside.cpuMode': () => cpuModeView,
  'ringside.vmcs': () => {
    const hideZeroFields = vscode.workspace.getConfiguration('ringside').get('vmcs.hideZeroFields', false);
    return vmcsView(hideZeroFields, vmcsChoice.shown);
  },
  'ringside.pageTables': () => pageTablesView,
  'ringside.tlb': () => tlbView,
  'ringside.exits': () => exitsView(exitFilter.reasons),
  'ringside.virtqueues': () => virtqueuesView,
});

/** What other extensions, and the tests inside VS Code, get from this one. */
export interface RingsideExports {
  /** The tree views by their ids, to read what they show. */
  readonly trees: Readonly<Record<string, SessionTree>>;
  /** The Translation panel's last answer, as it was sent to the webview. */
  readonly translation: TranslationPanel;
}

export function activateRingside(context: vscode.ExtensionContext, host: Host): RingsideExports {
  const model = new DebugModel();
  const exitFilter = new ExitFilter(model);
  const vmcsChoice = new VmcsChoice(model);
  const trees = Object.fromEntries(
    Object.entries(views(exitFilter, vmcsChoice)).map(([id, makeView]) => [id, new SessionTree(model, id, makeView)]),
  );
  const memory = new MemoryDocuments(model);
  const translation = new TranslationPanel(context.extensionUri, model, memory);
  context.subscriptions.push(
    model,
    memory,
    translation,
    new ModeStatus(model),
    keepVmcsBaseline(model),
    keepTopFrame(),
    ...Object.values(trees),
    ...registerConfigurationProviders(),
    ...registerCommands({ extension: context.extensionUri, model, memory, translation, trees, exitFilter, vmcsChoice }),
    vscode.debug.registerDebugAdapterDescriptorFactory(debugType, host.adapterFactory),
    vscode.workspace.onDidChangeConfiguration((event) => {
      if (event.affectsConfiguration('ringside')) model.refresh();
    }),
  );
  void vscode.commands.executeCommand('setContext', 'ringside.isActive', true);
  void startLanguageServer(context, host);
  return { trees, translation };
}

/** Debugging does not need the language server: when it cannot start, only that is said. */
async function startLanguageServer(context: vscode.ExtensionContext, host: Host): Promise<void> {
  try {
    context.subscriptions.push(await host.startLanguageClient());
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    void vscode.window.showWarningMessage(`Ringside: the language server for assembly did not start: ${reason}`);
  }
}
